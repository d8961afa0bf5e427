"""What goes wrong with one item is that item's, whether anybody foresaw it or not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions
from bodyfit.fitting.run import parts
from bodyfit.fitting.run.config_files import OutputOptions, RunConfig
from bodyfit.fitting.run.folder_run import FolderRun
from bodyfit.fitting.run.previous import InitError, PreviousResults
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.hypotheses import StartConfig

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"
QUICK = FitConfig(start=StartConfig(followed=1, finished=1), solver=SolverOptions(max_iterations=3))


@pytest.fixture(scope="module")
def fitter() -> Fitter:
    return Fitter(config=QUICK)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three photos of one person each."""
    target = tmp_path / "in"
    target.mkdir()
    for name in "abc":
        shutil.copy(SAMPLES / "images" / "portrait.jpg", target / f"{name}.jpg")
        shutil.copy(SAMPLES / "keypoints" / "portrait_keypoints.json", target / f"{name}_keypoints.json")
    return target


def _run(fitter: Fitter, folder: Path, out: Path, overlays: bool = False) -> dict:
    output = OutputOptions(meshes=False, overlays=overlays)
    FolderRun(out, fitter, RunConfig(fit=QUICK, output=output)).run(find_inputs(folder, exclude=[out]))
    return json.loads((out / "summary.json").read_text())


def _statuses(summary: dict) -> dict[str, str]:
    return {row["image"]: row["status"] for row in summary["people"]}


@pytest.mark.parametrize("place", ["read_frame", "fit", "save"])
def test_an_unforeseen_error_fails_its_item_and_leaves_a_traceback(fitter, folder, tmp_path, monkeypatch, place):
    original_read, original_fit, original_save = parts.read_frame, fitter.fit, FitResult.save

    def read_frame(item, *args, **kwargs):
        if item.name == "b":
            raise ZeroDivisionError("while reading")
        return original_read(item, *args, **kwargs)

    def fit(frames, **kwargs):
        if any(frame.name == "b" for frame in frames):
            raise ZeroDivisionError("while fitting")
        return original_fit(frames, **kwargs)

    def save(self, path):
        if "/b/" in path.as_posix():
            raise ZeroDivisionError("while saving")
        return original_save(self, path)

    target, name, replacement = {
        "read_frame": (parts, "read_frame", read_frame),
        "fit": (fitter, "fit", fit),
        "save": (FitResult, "save", save),
    }[place]
    monkeypatch.setattr(target, name, replacement)
    summary = _run(fitter, folder, tmp_path / "out")
    statuses = _statuses(summary)
    assert statuses.pop("b") == "failed" and set(statuses.values()) <= {"converged", "max_iterations"}
    (reason,) = [row["reason"] for row in summary["people"] if row["image"] == "b"]
    assert "ZeroDivisionError" in reason and "errors.log" in reason
    text = (tmp_path / "out" / "errors.log").read_text()
    assert "Traceback" in text and "ZeroDivisionError" in text and " b\n" in text


def test_without_errors_there_is_no_log(fitter, folder, tmp_path):
    _run(fitter, folder, tmp_path / "out")
    assert not (tmp_path / "out" / "errors.log").exists()


def test_an_implausible_person_is_kept_and_counted_apart(fitter, folder, tmp_path):
    document = json.loads((folder / "b_keypoints.json").read_text())
    numbers = np.array(document["people"][0]["pose_keypoints_2d"]).reshape(-1, 3)
    numbers[:, :2] = np.random.default_rng(0).random((len(numbers), 2)) * 500
    document["people"][0] = {"pose_keypoints_2d": np.where(numbers[:, 2:] > 0, numbers, 0).ravel().tolist()}
    (folder / "b_keypoints.json").write_text(json.dumps(document))
    summary = _run(fitter, folder, tmp_path / "out")
    assert _statuses(summary)["b"] == "implausible" and summary["counts"]["implausible"] == 1
    assert summary["counts"]["failed"] == 0 and summary["fitted_now"] == 2
    kept = FitResult.load(tmp_path / "out" / "results" / "b" / "000.npz")
    assert kept.status == "implausible" and len(kept.reason) > 20
    again = _run(fitter, folder, tmp_path / "out")
    assert again["counts"] == summary["counts"] and again["fitted_now"] == 0


@pytest.mark.parametrize(
    "rows",
    [
        [{}],
        5,
        [{"image": "a", "status": "converged", "result": "../../../etc/passwd"}],
        [{"image": "a", "status": "converged", "result": 5}],
        [{"image": "other", "status": "converged"}],
    ],
)
def test_a_damaged_line_of_the_journal_means_fitting_anew(fitter, folder, tmp_path, rows):
    _run(fitter, folder, tmp_path / "out")
    journal = tmp_path / "out" / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    damaged = [line | {"rows": rows} if line["name"] == "a" else line for line in lines]
    journal.write_text("[" * 100_000 + "\n" + "".join(json.dumps(line) + "\n" for line in damaged))
    again = _run(fitter, folder, tmp_path / "out")
    assert again["fitted_now"] == 1 and again["people"][0].keys() >= {"status", "result"}


def test_keypoints_alone_at_30_000_px_are_drawn_on_a_page_of_bounded_size(fitter, folder, tmp_path):
    document = json.loads((folder / "b_keypoints.json").read_text())
    numbers = np.array(document["people"][0]["pose_keypoints_2d"]).reshape(-1, 3)
    numbers[:, :2] *= 30_000 / numbers[:, :2].max()
    document["people"] = [{"pose_keypoints_2d": numbers.ravel().tolist()}]
    for path in folder.iterdir():
        path.unlink()
    (folder / "b_keypoints.json").write_text(json.dumps(document))
    _run(fitter, folder, tmp_path / "out", overlays=True)
    from PIL import Image

    with Image.open(tmp_path / "out" / "images" / "b.jpg") as picture:
        assert 10**6 < picture.width * picture.height < 17 * 10**6


def _starts(**changes) -> dict:
    return {"global_orient": np.zeros((1, 3)), "body_pose": np.zeros((1, 63)), **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"global_orient": np.array(1.0)},
        {"global_orient": np.array("text")},
        {"global_orient": np.zeros((0, 3))},
        {"global_orient": np.zeros((2, 3))},
        {"body_pose": np.full((1, 63), np.nan)},
        {"body_pose": np.full((1, 63), 1e300)},
        {"body_pose": np.zeros((1, 63), dtype=complex)},
        {"betas": np.array("text")},
        {"betas": np.zeros(())},
        {"transl": np.zeros((3, 1))},
    ],
)
def test_starts_that_are_none_are_one_clear_error(tmp_path, changes):
    np.savez(tmp_path / "x.npz", **_starts(**changes))
    with pytest.raises(InitError, match=r"x\.npz"):
        PreviousResults(tmp_path / "x.npz")


def test_a_damaged_previous_result_is_started_anew(fitter, folder, tmp_path):
    _run(fitter, folder, tmp_path / "first")
    (tmp_path / "first" / "results" / "b" / "000.npz").write_bytes(b"PK no more")
    config = RunConfig(fit=QUICK, output=OutputOptions(meshes=False, overlays=False), init=tmp_path / "first")
    FolderRun(tmp_path / "second", fitter, config).run(find_inputs(folder))
    summary = json.loads((tmp_path / "second" / "summary.json").read_text())
    assert set(_statuses(summary).values()) <= {"converged", "max_iterations"} and len(_statuses(summary)) == 3
