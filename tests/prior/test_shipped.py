"""The shipped weights reach what their card says on laboratories they never saw; needs the shared motion files."""

import json
import os
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from bodyfit.data.mocap import read_motion
from bodyfit.prior import load_prior, protocols
from bodyfit.prior.baselines import VaeModel

SHARED = Path(os.environ.get("BODYFIT_SHARED", Path(__file__).parents[2].parent / "shared")) / "mocap"
ASSETS = Path(str(files("bodyfit.data") / "assets" / "prior"))


def unseen(split: str, count: int = 600) -> torch.Tensor:
    if not SHARED.is_dir():
        pytest.skip(f"no motion collection at {SHARED}")
    clips = json.loads((SHARED / "splits.json").read_text())[split]
    poses = torch.cat([torch.from_numpy(read_motion(SHARED / clip).body_pose[::5]) for clip in clips]).float()
    return poses[torch.linspace(0, len(poses) - 1, count).long()]


@pytest.mark.parametrize(("split", "limit_mm"), [("test", 20.0), ("test_mhad", 24.0)])
def test_reconstruction_of_unseen_laboratories(split, limit_mm):
    figures = protocols.reconstruction(load_prior(), unseen(split), None)
    assert figures["mean_joints_mm"] < limit_mm


@pytest.mark.parametrize("split", ["test", "test_mhad"])
def test_impossible_poses_are_told_from_unseen_people(split):
    figures = protocols.separation(VaeModel(load_prior(), "shipped"), unseen(split))
    assert min(figures.values()) >= 0.975, figures


def test_the_card_gives_what_the_sources_ask_for():
    card = (ASSETS / "MODEL_CARD.md").read_text()
    assert "mocap.cs.cmu.edu" in card and "EIA-0196217" in card
    assert "Advanced Computing Center for the Arts and Design (ACCAD)" in card and "CC BY 3.0" in card


def test_the_weights_lie_with_their_recipe():
    document = json.loads((ASSETS / "vposer_open.json").read_text())
    assert document["training"]["kl_weight"] > 0 and document["metrics"]["active_dimensions"] == 32
