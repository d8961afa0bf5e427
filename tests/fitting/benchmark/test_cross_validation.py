"""Leave one source out: a fold never sees its source, is finished once, and is compared with that of another run."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.benchmark import cross_validation
from bodyfit.fitting.benchmark.cross_validation import SHORT_PRIOR, SHORT_START, CrossValidationConfig
from bodyfit.fitting.benchmark.fold_table import as_markdown
from bodyfit.fitting.benchmark.folds import fold_of, make_folds, read_sources
from bodyfit.fitting.start.network import StartNetworkConfig
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.scripts.cli import main
from bodyfit.scripts.prior_cross_validate import PriorCrossValidate

TINY = CrossValidationConfig(
    prior=replace(SHORT_PRIOR, epochs=1, steps_per_epoch=2, batch=16, mixture_components=2, measured_poses=320),
    start=replace(SHORT_START, steps=2, batch=8, poses=60, examples=400),
    network=StartNetworkConfig(32, 1, 2),
    people=4, far=3, floor=3, poses=40,
)  # fmt: skip


def write_source(folder, name, frames, tilt=0.0, clips=2):
    rng = np.random.default_rng(len(name))
    (folder / name).mkdir(parents=True)
    for number in range(clips):
        poses = 0.3 * rng.standard_normal((frames, 66))
        poses[:, :3] = [tilt, 0.0, 0.0]
        np.savez(folder / name / f"{number}.npz", poses=poses, mocap_frame_rate=15.0)


@pytest.fixture(scope="module")
def motion(tmp_path_factory):
    """Two large sources, and two small ones, one of them lying on the ground."""
    folder = tmp_path_factory.mktemp("motion")
    write_source(folder, "lab", 90)
    write_source(folder, "studio", 80)
    write_source(folder, "toys", 30)
    write_source(folder, "floor", 40, tilt=1.5)
    (folder / "lab" / "shape.npz").write_bytes(b"no archive")
    return folder


@pytest.fixture(scope="module")
def command(motion, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return PriorCrossValidate(motion, out, device="cpu", config=TINY, least_frames=100)


@pytest.fixture(scope="module")
def finished(command):
    assert replace(command, fold=("floor+toys",)).run() == 0
    return json.loads((command.out / "cross_validation.json").read_text())["folds"]


def test_small_sources_are_one_fold_and_no_fold_knows_its_own_clips(motion):
    sources = read_sources(motion)
    assert list(make_folds(sources, 100)) == ["lab", "studio", "floor+toys"]
    fold = fold_of("floor+toys", sources, 100)
    assert set(fold.unseen.clips) == {f"{name}/{n}.npz" for name in ("floor", "toys") for n in (0, 1)}
    assert set(fold.known.clips) == {f"{name}/{n}.npz" for name in ("lab", "studio") for n in (0, 1)}
    assert len(fold.unseen) == 140 and len(fold.known) == 340
    first = fold.known.clips.index("studio/0.npz")
    assert torch.equal(fold.known.body_pose[fold.known.clip == first], sources["studio"].body_pose[:80])
    assert set(fold.splits()) == set(fold.known.clips) and set(fold.splits().values()) == {"train", "validation"}


def test_figures_of_a_fold(finished):
    (row,) = finished
    assert row["fold"] == "floor+toys" and (row["unseen_frames"], row["known_frames"]) == (140, 340)
    assert set(row["fits"]) == {"random", "far", "floor"} and row["fits"]["far"]["nearest_mm"] > 0
    assert all(0 < fits["pa_mpjpe_mm"] < 1000 and fits["people"] > 0 for fits in row["fits"].values())
    assert row["prior"]["joints_mm"] > 0 and all(0 <= row["prior"][f"auc_{k}"] <= 1 for k in ("turned", "swapped"))
    assert row["start"]["expected_mm"] > 0


def test_weights_are_a_pair_for_fits_and_were_trained_without_the_fold(command, finished):
    folder = command.out / "floor+toys"
    assert load_prior(folder).path == folder / "prior.safetensors" and (folder / "start.safetensors").is_file()
    sources = [json.loads(line)["source"] for line in (folder / "poses" / "clips.jsonl").read_text().splitlines()]
    assert {source.split("/")[-2] for source in sources} == {"lab", "studio"}


def test_a_finished_fold_is_not_trained_again_and_an_interrupted_one_goes_on(command, finished, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(cross_validation, "train_prior", refuse)
    monkeypatch.setattr(cross_validation, "train_start", refuse)
    again = replace(command, fold=("floor+toys",))
    assert again.run() == 0
    (command.out / "floor+toys" / "fold.json").unlink()  # interrupted while judging: the same figures come again
    assert again.run() == 0
    (row,) = json.loads((command.out / "cross_validation.json").read_text())["folds"]
    assert {**row, "seconds": 0} == {**finished[0], "seconds": 0}


def test_other_settings_or_data_need_another_folder(command, finished, motion, open_body):
    with pytest.raises(BodyfitError, match="another config"):
        replace(command, fold=("floor+toys",), config=replace(TINY, people=5)).run()
    sources = read_sources(motion)
    sources["lab"].body_pose[0] += 1
    fold = fold_of("floor+toys", sources, 100)
    with pytest.raises(BodyfitError, match="another motion"):
        cross_validation.run_fold(motion, fold, command.out / "floor+toys", open_body, TINY, torch.device("cpu"))


def run_of(mean, fold="lab"):
    return {"fold": fold, "fits": {"random": {"pa_mpjpe_mm": mean}}, "prior": {"auc_turned": 0.99}}


def test_the_table_has_folds_their_mean_and_the_change_from_another_run():
    both = [run_of(30.0), run_of(40.0, "a+b")]
    table = as_markdown(both)
    assert "| unseen | lab | a + b | mean |" in table and "| 30.0 | 40.0 | 35.0 |" in table
    assert "far" not in table  # no fold has such a figure
    beside = as_markdown(both, [run_of(40.0)])
    assert "| unseen | lab | mean |" in beside and "| 40.0 → 30.0 (-25 %) | 40.0 → 30.0 (-25 %) |" in beside


def failed(*arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(["prior", "cross-validate", *map(str, arguments)])
    assert end.value.code == 2
    return capsys.readouterr().err


def test_what_cannot_be_done_is_one_clear_error(motion, tmp_path, capsys):
    write_source(tmp_path / "one", "lab", 5)
    assert "two sources" in failed(tmp_path / "one", "-o", tmp_path / "out", capsys=capsys)
    write_source(tmp_path / "one", "tiny", 5)
    few = failed(tmp_path / "one", "-o", tmp_path / "out", "--least-frames", "1", capsys=capsys)
    assert "10 frames of motion, expected 100" in few
    unknown = failed(motion, "-o", tmp_path / "out", "--fold", "cmu", "--least-frames", "100", capsys=capsys)
    assert "no such fold" in unknown and "lab, studio, floor+toys" in unknown
    assert "not found" in failed(motion, "-o", tmp_path / "out", "--beside", tmp_path, capsys=capsys)
    for setting in ("--prior.synthetic", "--start.synthetic"):
        assert "between 0 and 1" in failed(
            *(motion, "-o", tmp_path / "out", "--fold", "lab", "--least-frames", "100", setting, "2"), capsys=capsys
        )
    assert not (tmp_path / "out").exists()
