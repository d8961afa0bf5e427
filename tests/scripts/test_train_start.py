"""`bodyfit prior train-start`: from a folder of motion to a network that loads, with a record of how it was made."""

import json

import numpy as np
import pytest
import torch

from bodyfit.fitting.start.network import StartNetworkConfig, load_start_network
from bodyfit.fitting.start.training import StartTrainingConfig
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


def test_examples_can_be_the_priors_instead_of_the_datas(motion, tmp_path, standin_smplx_path):
    PriorTrainStart(motion, tmp_path / "run", body=standin_smplx_path, examples_of="prior", **TINY).run()
    true, _ = load_start_network(tmp_path / "run").examples
    frames = torch.from_numpy(np.load(motion / "clip.npz")["poses"][:, 3:]).float()
    assert len(true) == 20 and torch.cdist(true, frames).min() > 0.5
