"""Several worker processes: the same results as one, and an end."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from bodyfit.data.results.store import open_results
from bodyfit.fitting.run.parts import Part
from bodyfit.fitting.run.processes import InProcesses

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"
SCRIPT = """
import sys
from pathlib import Path
from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.fitting.run.config_files import OutputOptions, RunConfig
from bodyfit.fitting.run.executors import InThreads
from bodyfit.fitting.run.folder_run import FolderRun
from bodyfit.fitting.run.processes import InProcesses
from bodyfit.fitting.solve.fitter import Fitter

if __name__ == "__main__":
    samples, out = map(Path, sys.argv[1:])
    config, fitter = RunConfig(batch=1, output=OutputOptions(meshes=False, overlays=False)), Fitter()
    inputs = find_inputs(samples)
    FolderRun(out / "one", fitter, config, InThreads()).run(inputs)
    FolderRun(out / "two", fitter, config, InProcesses(["cpu", "cpu"], 1, helpers=1)).run(inputs)
"""


def test_workers_with_helpers_agree_with_one_process_and_end(tmp_path):
    """A worker that ends must not wait for helpers that wait for it: `--device cuda:all` starts such workers."""
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(SAMPLES), str(tmp_path)]
    subprocess.run(command, check=True, timeout=240)
    one, two = open_results(tmp_path / "one"), open_results(tmp_path / "two")
    assert one.names == two.names and len(one) == 6
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.landmarks, b.landmarks, rtol=0, atol=1e-5)  # metres; other numbers of threads


def children_of(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def fit_96(tmp_path_factory) -> list[str]:
    """The command that fits 96 people in batches of 4; "one" beside its folder is what one process makes of them."""
    place = tmp_path_factory.mktemp("people")
    (place / "in").mkdir()
    document = json.loads((SAMPLES / "keypoints" / "portrait_keypoints.json").read_text())
    for n in range(96):
        document["people"][0]["pose_keypoints_2d"][0] += 0.5
        (place / "in" / f"p{n:02d}_keypoints.json").write_text(json.dumps(document))
    command = [sys.executable, "-m", "bodyfit.scripts.cli", "fit", str(place / "in"), "--no-meshes", "--no-overlays"]
    command += ["--batch", "4", "--device", "cpu"]
    subprocess.run([*command, "-o", str(place / "one"), "--workers", "1"], check=True, timeout=240)
    return command


def started(command: list[str], out: Path, *options: str) -> subprocess.Popen[str]:
    """The command at work, with something in its journal."""
    process = subprocess.Popen([*command, "-o", str(out), *options], stderr=subprocess.PIPE, text=True)
    journal, until = out / "journal.jsonl", time.monotonic() + 120
    while not (journal.exists() and journal.stat().st_size) and time.monotonic() < until:
        time.sleep(0.02)
    return process


def assert_as_undisturbed(command: list[str], out: Path, atol: float = 1e-5) -> None:
    """Within some metres, that are rounding: other numbers of threads; people of other batches agree less exactly."""
    one, two = open_results(Path(command[4]).with_name("one")), open_results(out)
    assert one.names == two.names and len(two) == 96
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.landmarks, b.landmarks, rtol=0, atol=atol)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds worker processes through /proc")
def test_a_worker_that_is_killed_costs_nothing_but_time(fit_96, tmp_path):
    """Its parts are begun again by a new one: every person is there once, as in a run that nobody disturbed."""
    process = started(fit_96, tmp_path / "two", "--workers", "2")
    workers = [pid for pid in children_of(process.pid) if "libtorch" in Path(f"/proc/{pid}/maps").read_text()]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert_as_undisturbed(fit_96, tmp_path / "two")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds worker processes through /proc")
def test_a_killed_run_goes_on_with_another_number_of_processes(fit_96, tmp_path):
    """The number is no setting that results depend on; workers end with the leading process, even by kill -9, and hold
    no lock."""
    process = started(fit_96, tmp_path / "out", "--workers", "2")
    workers = children_of(process.pid)
    process.kill()
    process.communicate(timeout=60)
    until = time.monotonic() + 20
    while any(_runs(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in workers)
    done = len((tmp_path / "out" / "journal.jsonl").read_text().splitlines())
    again = subprocess.run(
        [*fit_96, "-o", str(tmp_path / "out"), "--workers", "1"], capture_output=True, text=True, timeout=240
    )
    assert again.returncode == 0 and 0 < done < 96
    assert f"done already and left as before: {done} of 96 photos" in again.stderr and "anew" not in again.stderr
    assert_as_undisturbed(fit_96, tmp_path / "out")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="copies of a process are made on Linux")
def test_a_process_per_core_by_default(fit_96, tmp_path):
    """It is said; and workers are copies, which have the leading process's pages."""
    command = [*fit_96[:7], *fit_96[9:], "--batch", "48"]
    with_two = "import os; os.sched_getaffinity = lambda pid: {0, 1}; from bodyfit.scripts.cli import main; main()"
    command = [sys.executable, "-c", with_two, *command[3:]]
    process = subprocess.Popen([*command, "-o", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True)
    shared, until = 0.0, time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        for pid in children_of(process.pid):
            shared = max(shared, anonymous_mb(pid) - private_mb(pid))
        time.sleep(0.05)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0 and "2 solving processes for 2 cores" in said
    assert shared > 100
    assert_as_undisturbed(fit_96, tmp_path / "out", atol=5e-5)


def anonymous_mb(pid: int) -> float:
    return _rolled_up(pid, "Anonymous")


def private_mb(pid: int) -> float:
    return _rolled_up(pid, "Private_Dirty")


def _rolled_up(pid: int, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds worker processes through /proc")
def test_ctrl_c_while_workers_start_is_one_line(tmp_path):
    """Workers import PyTorch for seconds: they must not print a traceback each when the user stops the run there."""
    command = [sys.executable, "-m", "bodyfit.scripts.cli", "fit", str(SAMPLES), "-o", str(tmp_path / "out")]
    command += ["--device", "cpu", "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 120
    while len(children_of(process.pid)) < 2 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert (
        process.returncode == 130
        and "Traceback" not in error
        and error.strip().endswith("stopped; the same command goes on where it was")
    )


def test_parts_of_two_workers_that_finish_at_the_same_moment_are_both_taken():
    """Whoever waits wakes up to both: what is done with the one must not need the other one still to be waited for."""

    class AtOnce:
        def submit(self, work, part):
            done = Future()
            done.set_result(part)
            return done

    backend = InProcesses(["cpu", "cpu"])
    parts = [Part(n, (), str(n)) for n in range(5)]
    assert set(backend._finished(parts, [b"", b""], [AtOnce(), AtOnce()])) == set(parts)
