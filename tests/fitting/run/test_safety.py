"""Nothing lost, nothing twice: kills, two runs at once, inputs that change or vanish, disks that are full."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import WriteError
from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.data.results.store import open_results
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions
from bodyfit.fitting.run.config_files import OutputOptions, RunConfig
from bodyfit.fitting.run.folder_run import FolderRun
from bodyfit.fitting.run.journal import Journal
from bodyfit.fitting.run.lock import FolderInUse, FolderLock
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.hypotheses import StartConfig
from bodyfit.fitting.solve.stages import StageConfig

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"
QUICK = FitConfig(
    start=StartConfig(followed=1, iterations=2, finished=1),
    solver=SolverOptions(max_iterations=3),
    stages=StageConfig(wide_iterations=2, soft_iterations=2, sharp_iterations=2),
)
PLAIN = OutputOptions(meshes=False, overlays=False)


@pytest.fixture(scope="module")
def fitter() -> Fitter:
    return Fitter(config=QUICK)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Keypoint files of 24 people, no two alike."""
    folder = tmp_path / "in"
    folder.mkdir()
    document = json.loads((SAMPLES / "keypoints" / "portrait_keypoints.json").read_text())
    points = document["people"][0]["pose_keypoints_2d"]
    for n in range(24):
        moved = [v if i % 3 == 2 or v == 0 else v * (1 + 0.02 * n) for i, v in enumerate(points)]
        document["people"][0]["pose_keypoints_2d"] = moved
        (folder / f"p{n:02d}_keypoints.json").write_text(json.dumps(document))
    return folder


def run(fitter, folder, out, *, batch=4, output=PLAIN, **others):
    config = RunConfig(fit=QUICK, output=output, batch=batch, **others)
    return FolderRun(out, fitter, config).run(find_inputs(folder))


def assert_same(out: Path, other: Path) -> None:
    ours, theirs = open_results(out), open_results(other)
    assert ours.names == theirs.names
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.body_pose, b.body_pose)
        np.testing.assert_array_equal(a.landmarks, b.landmarks)


KILLED = """
import sys
from pathlib import Path
from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.fitting.run.config_files import OutputOptions, RunConfig, read_config
from bodyfit.fitting.run.folder_run import FolderRun
from bodyfit.fitting.solve.fitter import Fitter
config = read_config(sys.argv[3])
FolderRun(sys.argv[2], Fitter(config=config.fit), config).run(find_inputs(sys.argv[1]))
"""


@pytest.mark.parametrize("results", ["folders", "shards"])
def test_a_run_killed_again_and_again_ends_as_an_undisturbed_one(fitter, photos, tmp_path, results):
    """kill -9 after the first, second, ... part: equal to the bit, each photo once, nothing left over."""
    output = OutputOptions(meshes=False, overlays=False, results=results)
    run(fitter, photos, tmp_path / "whole", output=output)
    out, settings = tmp_path / "out", tmp_path / "whole" / "config.json"
    for kill in range(2):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(photos), str(out), str(settings)])
        before = len(Journal(out).entries) if out.exists() else 0
        while process.poll() is None:
            time.sleep(0.003)
            if (out / "journal.jsonl").exists() and (out / "journal.jsonl").read_bytes().count(b"\n") > before + kill:
                process.send_signal(signal.SIGKILL)
        process.wait()
        (out / "results").mkdir(exist_ok=True)
        (out / "results" / ".unfinished-x.npz").write_bytes(b"half")  # as a kill inside a write leaves
        with (out / "journal.jsonl").open("ab") as file:
            file.write(b'{"name": "p23", "key": ')  # and one inside a line
    summary = run(fitter, photos, out, output=output)
    assert summary["counts"]["failed"] == 0 and summary["complete"]
    names = [json.loads(line)["name"] for line in (out / "journal.jsonl").read_text().splitlines()]
    assert sorted(names) == [f"p{n:02d}" for n in range(24)]
    assert_same(out, tmp_path / "whole")
    assert not list(out.rglob(".unfinished-*"))
    assert run(fitter, photos, out, output=output)["fitted_now"] == 0


def test_what_is_missing_of_a_part_comes_out_as_before(fitter, photos, tmp_path):
    """A lost file is fitted in the batch that it was fitted in, and the others are left as they are."""
    out = tmp_path / "out"
    run(fitter, photos, out)
    shutil.copytree(out, tmp_path / "copy")
    stamp = (out / "results/p02/000.npz").stat().st_mtime_ns
    (out / "results/p01/000.npz").unlink()
    assert run(fitter, photos, out)["fitted_now"] == 1
    assert_same(out, tmp_path / "copy")
    assert (out / "results/p02/000.npz").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("results", ["folders", "shards"])
def test_a_result_that_was_cut_off_is_fitted_again(fitter, photos, tmp_path, caplog, results):
    out, output = tmp_path / "out", OutputOptions(meshes=False, overlays=False, results=results)
    run(fitter, photos, out, output=output)
    shutil.copytree(out, tmp_path / "copy")
    file = next(out.rglob("*.safetensors")) if results == "shards" else out / "results/p01/000.npz"
    file.write_bytes(file.read_bytes()[:-1])
    caplog.clear()
    rows = json.loads((out / "summary.json").read_text())["people"]
    lost = sum(str(file.relative_to(out)) in row.get("result", "") for row in rows)
    run(fitter, photos, out, output=output)
    said = "1 photo" if lost == 1 else f"{lost} photos"
    assert f"{said} whose results were removed or cut off" in caplog.text and "other settings" not in caplog.text
    assert_same(out, tmp_path / "copy")


def test_an_input_that_changes_while_it_is_fitted_is_fitted_again(fitter, photos, tmp_path, monkeypatch):
    """What counts is what the file was when it was read, not when its result was written."""
    solve = Fitter.fit

    def changing(self, frames, **options):
        (photos / "p03_keypoints.json").write_bytes((photos / "p04_keypoints.json").read_bytes() + b" ")
        return solve(self, frames, **options)

    monkeypatch.setattr(Fitter, "fit", changing)
    run(fitter, photos, tmp_path / "out", batch=64)
    monkeypatch.undo()
    assert run(fitter, photos, tmp_path / "out", batch=64)["fitted_now"] == 1


def test_an_input_that_vanishes_is_one_failed_row(fitter, photos, tmp_path):
    inputs = find_inputs(photos)
    (photos / "p03_keypoints.json").unlink()
    summary = FolderRun(tmp_path / "out", fitter, RunConfig(fit=QUICK, output=PLAIN)).run(inputs)
    assert summary["counts"]["failed"] == 1 and sum(summary["counts"].values()) == 24
    row = json.loads((tmp_path / "out/summary.json").read_text())["people"][3]
    assert row["image"] == "p03" and "p03_keypoints.json" in row["reason"]


def test_two_runs_into_one_folder_at_once_are_refused(fitter, photos, tmp_path):
    with FolderLock(tmp_path / "out"), pytest.raises(FolderInUse, match="another run is writing"):
        run(fitter, photos, tmp_path / "out")
    assert sum(run(fitter, photos, tmp_path / "out")["counts"].values()) == 24


def test_a_busy_folder_is_refused_before_anything_is_loaded(photos, tmp_path):
    """The check looks without touching: what a run that was killed left is still seen by the next one."""
    command = (
        "import sys\nfrom bodyfit.scripts.cli import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n    print('torch' in sys.modules)"
    )
    out = tmp_path / "out"
    with FolderLock(out):
        given = [sys.executable, "-c", command, "fit", str(photos), "-o", str(out)]
        done = subprocess.run(given, capture_output=True, text=True)
    assert done.returncode == 2 and "another run is writing into it" in done.stderr and done.stdout == "False\n"
    (out / ".running.json").write_text("{}")
    FolderLock(out).check()
    with FolderLock(out) as lock:
        assert lock.after_a_kill


@pytest.mark.parametrize(("age", "refused"), [(1, True), (500, False)])
def test_a_run_on_another_machine_holds_the_folder_while_it_gives_signs_of_life(tmp_path, age, refused):
    owner = tmp_path / ".running.json"
    owner.write_text(json.dumps({"host": "elsewhere", "process": 1}))
    os.utime(owner, (time.time() - age, time.time() - age))
    if refused:
        with pytest.raises(FolderInUse, match="elsewhere"), FolderLock(tmp_path):
            pass
    else:
        with FolderLock(tmp_path) as lock:
            assert lock.after_a_kill
        assert not owner.exists()


def test_other_settings_leave_nothing_of_the_old_ones(fitter, photos, tmp_path):
    """Rows, files and configuration belong together after a second run with fewer outputs and fewer people."""
    out = tmp_path / "out"
    run(fitter, photos, out, output=OutputOptions(overlays=False))
    assert len(list(out.rglob("*.obj"))) == 24
    summary = run(fitter, photos, out)
    assert summary["fitted_now"] > 0 and not (out / "meshes").exists()
    run(fitter, photos, out, output=OutputOptions(meshes=False, overlays=False, results="shards"))
    assert not list(out.rglob("*.npz")) and len(open_results(out)) == 24


def test_a_run_that_is_stopped_in_between_speaks_of_no_file_that_it_replaced(fitter, photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(fitter, photos, out)
    (photos / "p00_keypoints.json").write_bytes((photos / "p01_keypoints.json").read_bytes() + b" ")

    def never(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Fitter, "fit", never)
    with pytest.raises(KeyboardInterrupt):
        run(fitter, photos, out)
    summary = json.loads((out / "summary.json").read_text())
    assert not summary["complete"] and [row["image"] for row in summary["people"]] == [
        f"p{n:02d}" for n in range(1, 24)
    ]


def test_a_full_disk_ends_the_run_with_one_message_and_whole_files(fitter, photos, tmp_path, monkeypatch):
    out, written = tmp_path / "out", []
    replace = os.replace

    def full(source, target):
        if str(target).endswith(".npz"):
            written.append(target)
        if len(written) > 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(source, target)

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(WriteError, match="No space left"):
        run(fitter, photos, out)
    monkeypatch.undo()
    assert not list(out.rglob(".unfinished-*"))
    assert run(fitter, photos, out)["counts"]["failed"] == 0 and len(open_results(out)) == 24


def test_the_journal_takes_all_or_nothing(tmp_path):
    journal = Journal(tmp_path)
    journal.append([{"name": "a", "key": "1", "part": "x", "rows": []}])
    journal.redo(["a", "unknown"])
    assert Journal(tmp_path).entries == {}
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"name": "b"')
    journal = Journal(tmp_path)
    journal.append([{"name": "c", "key": "1", "part": "x", "rows": [{"image": "c"}]}])
    assert list(Journal(tmp_path).entries) == ["c"] and Journal(tmp_path).rows("c") == [{"image": "c"}]


def test_a_folder_without_results_is_said(tmp_path):
    with pytest.raises(BodyfitError, match="no results"):
        open_results(tmp_path)


@pytest.mark.parametrize("own", ["images", "images/deeper", "results", "meshes"])
def test_results_never_go_over_inputs(fitter, tmp_path, own):
    """SMPLify-X's layout with -o its own folder: the overlay of images/portrait.jpg would be images/portrait.jpg."""
    folder = tmp_path / own
    folder.mkdir(parents=True)
    photo = folder / "portrait.png"
    Image.open(SAMPLES / "images" / "portrait.jpg").resize((32, 32)).save(photo)
    shutil.copy(SAMPLES / "keypoints" / "portrait_keypoints.json", folder)
    before = photo.read_bytes()
    with pytest.raises(BodyfitError, match=r"portrait.*lies in .*Choose another output folder"):
        run(fitter, folder, tmp_path, output=OutputOptions(meshes=False))
    assert photo.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [own.split("/")[0]]
