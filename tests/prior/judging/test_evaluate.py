"""All protocols run on a small set, the table has a column a model, and the figures say what they should."""

import json

import numpy as np
import pytest
import torch
import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.prior.judging.evaluate import EvaluateConfig, as_markdown, evaluate, worst_reconstructions
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.prior.training.prepare import PrepareConfig, prepare_motion
from bodyfit.scripts.prior_prepare import PriorPrepare
from bodyfit.scripts.prior_sample import PriorSample


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Samples of the prior itself, as motion."""
    folder = tmp_path_factory.mktemp("judged")
    prior = load_prior()
    for seed, name in enumerate(("CMU/1/a", "CMU/2/b", "SFU/1/c")):
        poses = prior.decode_axis_angle(prior.sample(120, torch.Generator().manual_seed(seed))).double().numpy()
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "in" / f"{name}.npz", root_orient=np.zeros((120, 3)), pose_body=poses, mocap_frame_rate=10)
    prepare_motion([folder / "in"], folder / "poses", PrepareConfig(trim=0, duplicate_degrees=0))
    return folder / "poses"


@pytest.fixture(scope="module")
def document(prepared):
    config = EvaluateConfig(poses=100, samples=120, training=500, completed=2, denoised=2)
    return evaluate({"ours": load_prior()}, prepared, config)


def test_every_protocol_has_its_figures(document):
    figures = document["models"]["ours"]
    assert set(figures) == {
        "generation",
        "reconstruction",
        "active_dimensions",
        "separation",
        "completion",
        "denoising",
    }
    assert set(document["models"]) == {"ours", "Gaussian mixture"}
    assert "reconstruction" not in document["models"]["Gaussian mixture"]
    json.dumps(document)


def test_a_prior_knows_its_own_samples(document):
    ours = document["models"]["ours"]
    assert ours["reconstruction"]["validation"]["mean_joints_mm"] < 40
    assert ours["generation"]["apd_cm"] == pytest.approx(document["real"]["validation"]["apd_cm"], rel=0.3)
    assert ours["denoising"]["validation"]["100mm_after_mm"] < ours["denoising"]["validation"]["100mm_before_mm"]
    completion = ours["completion"]["validation"]
    assert completion["legs_best_mm"] < completion["legs_mean_mm"]


def test_the_table_names_every_model_once(document):
    lines = as_markdown(document).splitlines()
    assert lines[0] == "| figure | ours | Gaussian mixture | real poses |"
    assert any(line.startswith("| reconstruction validation mean_joints_mm |") for line in lines)


def test_the_worst_reconstructions_are_of_different_clips(prepared):
    recorded, result, labels = worst_reconstructions(load_prior(), prepared, "train")
    assert recorded.shape == result.shape == (2, 63)
    assert len({label.split()[0] for label in labels}) == 2


def test_the_command_samples_to_a_file(tmp_path, capsys):
    out = tmp_path / "s.npz"
    command = tyro.cli(PriorSample, args=["-n", "3", "-o", str(out), "--seed", "2", "--json"])
    assert command.run() == 0
    written = np.load(out)
    assert written["body_pose"].shape == (3, 63) and written["latent"].shape == (3, 32)
    assert len(json.loads(capsys.readouterr().out)["scores"]) == 3


def test_the_command_completes_a_pose_from_a_file(tmp_path):
    np.savez(tmp_path / "a.npz", body_pose=np.zeros(63))
    out = tmp_path / "c.npz"
    args = ["-n", "2", "-o", str(out), "--complete", str(tmp_path / "a.npz"), "--part", "legs"]
    assert tyro.cli(PriorSample, args=args).run() == 0
    poses = np.load(out)["body_pose"]
    assert np.allclose(poses[0], 0) and np.allclose(poses[:, 3 * 17 : 3 * 18], 0, atol=1e-4)


def test_a_file_without_a_pose_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", betas=np.zeros(10))
    args = ["-o", str(tmp_path / "c.npz"), "--complete", str(tmp_path / "a.npz")]
    with pytest.raises(BodyfitError, match=r"a\.npz.*betas"):
        tyro.cli(PriorSample, args=args).run()


def test_the_command_prepares_and_prints_the_manifest(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in/a.npz", poses=np.zeros((30, 66)), mocap_frame_rate=15.0)
    args = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json", "--split", "clip", "--test-share", "0"]
    assert tyro.cli(PriorPrepare, args=args).run() == 0
    assert sum(split["poses"] for split in json.loads(capsys.readouterr().out)["splits"].values()) == 1
