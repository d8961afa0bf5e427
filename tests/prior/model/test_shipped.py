"""The shipped weights reach what their card says on laboratories they never saw; needs the shared motion files."""

import json
import os
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from bodyfit.data.motion.mocap import read_motion
from bodyfit.prior.judging import protocols
from bodyfit.prior.judging.baselines import VaeModel
from bodyfit.prior.judging.distances import average_pairwise_distance
from bodyfit.prior.model.capsules import self_intersecting
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.prior.model.skeleton import pose_skeleton
from bodyfit.prior.training.recipes import TrainConfig

SHARED = Path(os.environ.get("BODYFIT_SHARED", Path(__file__).parents[3].parent / "shared")) / "mocap"
ASSETS = Path(str(files("bodyfit.data") / "assets" / "prior"))


def unseen(split: str, count: int = 600) -> torch.Tensor:
    if not SHARED.is_dir():
        pytest.skip(f"no motion collection at {SHARED}")
    clips = json.loads((SHARED / "splits.json").read_text())[split]
    poses = torch.cat([torch.from_numpy(read_motion(SHARED / clip).body_pose[::5]) for clip in clips]).float()
    return poses[torch.linspace(0, len(poses) - 1, count).long()]


@pytest.mark.parametrize(("split", "limit_mm"), [("test", 15.0), ("test_mhad", 20.0)])
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
    assert document["training"]["decoder_softness"] == document["architecture"]["decoder_softness"] > 0
    assert set(document["training"]) == {field.name for field in fields(TrainConfig)}


def test_the_card_is_these_weights():
    document = json.loads((ASSETS / "vposer_open.json").read_text())
    card = (ASSETS / "MODEL_CARD.md").read_text()
    assert card.startswith(f"# Pose prior {document['name']}")
    assert f"Training took {document['metrics']['training_seconds']} s" in card


def test_the_shipped_decoder_bends_without_kinks():
    """Second differences over a fifth of a unit are sixteen times those over a twentieth; not so at a kink."""
    prior = load_prior().double()
    generator = torch.Generator().manual_seed(0)
    latent, way = torch.randn(2, 200, 32, generator=generator, dtype=torch.float64)
    way = way / way.norm(dim=1, keepdim=True)
    bends = [
        prior.decode(latent + h * way) - 2 * prior.decode(latent) + prior.decode(latent - h * way) for h in (0.05, 0.2)
    ]
    ratio = bends[1].flatten(1).norm(dim=1) / bends[0].flatten(1).norm(dim=1)
    assert ratio.quantile(0.01) > 14 and ratio.quantile(0.99) < 18


def test_samples_are_as_diverse_as_people_and_seldom_run_into_themselves():
    prior = load_prior()
    rotations = prior.decode(prior.sample(2000, torch.Generator().manual_seed(0)))
    joints = pose_skeleton(rotations[:500])[0]
    assert 0.8 * 17.0 < 100 * average_pairwise_distance(joints) < 1.1 * 17.0  # 17.0 cm: the training poses
    assert self_intersecting(rotations).double().mean() < 0.04
