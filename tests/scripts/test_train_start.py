"""`bodyfit prior train-start`: from a folder of motion to a network that loads, with a record of how it was made."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.start.network import StartNetworkConfig, load_start_network
from bodyfit.fitting.start.training import StartTrainingConfig
from bodyfit.prior.model.checkpoint import load_prior, save_prior
from bodyfit.scripts.cli import main
from bodyfit.scripts.prior_train_start import PriorTrainStart

TINY = {
    "training": StartTrainingConfig(steps=2, batch=8, poses=30, examples=20),
    "network": StartNetworkConfig(32, 1, 2),
}


@pytest.fixture
def motion(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "motion"
    folder.mkdir()
    arrays = {"poses": 0.2 * rng.standard_normal((9, 66)), "trans": np.zeros((9, 3)), "mocap_frame_rate": 15.0}
    np.savez(folder / "clip.npz", **arrays, gender="neutral", betas=np.zeros(10))
    (folder / "splits.json").write_text(json.dumps({"train": ["clip.npz"], "validation": ["clip.npz"]}))
    return folder


def test_weights_and_record_are_written(motion, tmp_path, standin_smplx_path):
    assert PriorTrainStart(motion, tmp_path / "run", body=standin_smplx_path, **TINY).run() == 0
    network = load_start_network(tmp_path / "run")
    record = json.loads((tmp_path / "run" / "start.json").read_text())
    assert record["training"]["steps"] == 2 and record["network"]["width"] == network.config.width == 32
    assert set(record["figures"]) == {"validation"} and record["figures"]["validation"]["expected_mm"] > 0
    frames = torch.from_numpy(np.load(motion / "clip.npz")["poses"][:, 3:]).float()
    assert torch.cdist(network.examples[0], frames).amin(1).max() < 0.01


def test_a_part_of_a_collection_with_the_splits_of_all_of_it_is_one_clear_error(motion, tmp_path):
    (motion / "splits.json").write_text(json.dumps({"train": ["clip.npz", "gone/a.npz", "gone/b.npz"]}))
    with pytest.raises(BodyfitError, match=r"splits.json.*'train' names 3 clips, of which 2 are not in .*gone/a.npz"):
        PriorTrainStart(motion, tmp_path / "run", **TINY).run()


def test_examples_can_be_the_priors_instead_of_the_datas(motion, tmp_path, standin_smplx_path):
    PriorTrainStart(motion, tmp_path / "run", body=standin_smplx_path, examples_of="prior", **TINY).run()
    true, _ = load_start_network(tmp_path / "run").examples
    frames = torch.from_numpy(np.load(motion / "clip.npz")["poses"][:, 3:]).float()
    assert len(true) == 20 and torch.cdist(true, frames).min() > 0.5


@pytest.mark.parametrize("folder", ["", "snapshots"])
def test_fits_begin_from_the_network_beside_their_prior(motion, tmp_path, folder):
    """As the help promises: train-start's file, put beside a prior of one's own, is what `fit --prior` uses."""
    some = {**TINY, "training": replace(TINY["training"], examples=400)}
    PriorTrainStart(motion, tmp_path / "run", examples_of="prior", **some).run()
    mine = tmp_path / "mine"
    save_prior(load_prior(), mine / folder / "prior.safetensors")
    without = Fitter(prior=load_prior(mine / folder)).networks.start
    shutil.copy(tmp_path / "run" / "start.safetensors", mine)
    network = Fitter(prior=load_prior(mine / folder)).networks.start
    assert without.config.width == load_start_network().config.width != network.config.width == 32
    samples = Path(__file__).parents[2] / "data" / "assets" / "samples"
    costs = []
    for number, prior in enumerate(([], ["--prior", str(mine / folder)])):
        out = tmp_path / f"out{number}"
        with pytest.raises(SystemExit):
            photo = str(samples / "keypoints" / "two_people_keypoints.json")
            main(["fit", photo, "-o", str(out), "--no-meshes", "--no-overlays", *prior])
        costs.append([row["cost"] for row in json.loads((out / "summary.json").read_text())["people"]])
    assert len(costs[0]) == 2 and costs[0] != costs[1]


def test_a_share_of_the_poses_can_be_synthetic(motion, tmp_path, standin_smplx_path):
    some = {**TINY, "training": replace(TINY["training"], synthetic=0.5, poses=40)}
    PriorTrainStart(motion, tmp_path / "run", body=standin_smplx_path, held_out=(), **some).run()
    assert json.loads((tmp_path / "run" / "start.json").read_text())["training"]["synthetic"] == 0.5
    frames = torch.from_numpy(np.load(motion / "clip.npz")["poses"][:, 3:]).float()
    near = torch.cdist(load_start_network(tmp_path / "run").examples[0], frames).amin(1) < 0.01
    assert 0 < near.sum() < 20


@pytest.mark.parametrize("share", ["synthetic", "synthetic_whole", "at_hips", "keep"])
def test_a_share_beyond_one_is_refused(motion, tmp_path, standin_smplx_path, share):
    much = {**TINY, "training": replace(TINY["training"], **{share: 30})}
    with pytest.raises(BodyfitError, match="between 0 and 1, got 30"):
        PriorTrainStart(motion, tmp_path / "run", body=standin_smplx_path, **much).run()


def test_a_missing_device_is_refused(motion, tmp_path, standin_smplx_path):
    with pytest.raises(BodyfitError, match="cuda:99"):
        PriorTrainStart(motion, tmp_path / "run", body=standin_smplx_path, device="cuda:99", **TINY).run()
