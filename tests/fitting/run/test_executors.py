"""Several worker processes: the same results as one, and an end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bodyfit.data.results.store import open_results

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


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds worker processes through /proc")
def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path):
    """Its parts are begun again by a new one: every person is there once, as in a run that nobody disturbed."""
    (tmp_path / "in").mkdir()
    document = json.loads((SAMPLES / "keypoints" / "portrait_keypoints.json").read_text())
    for n in range(96):
        document["people"][0]["pose_keypoints_2d"][0] += 0.5
        (tmp_path / "in" / f"p{n:02d}_keypoints.json").write_text(json.dumps(document))
    command = [sys.executable, "-m", "bodyfit.scripts.cli", "fit", str(tmp_path / "in"), "--no-meshes", "--no-overlays"]
    command += ["--batch", "4", "--device", "cpu"]
    subprocess.run([*command, "-o", str(tmp_path / "one")], check=True, timeout=240)
    process = subprocess.Popen([*command, "-o", str(tmp_path / "two"), "--workers", "2"])
    journal, until = tmp_path / "two" / "journal.jsonl", time.monotonic() + 120
    while not (journal.exists() and journal.stat().st_size) and time.monotonic() < until:
        time.sleep(0.02)
    workers = [pid for pid in children_of(process.pid) if "libtorch" in Path(f"/proc/{pid}/maps").read_text()]
    os.kill(workers[0], signal.SIGKILL)
    assert process.wait(timeout=240) == 0
    one, two = open_results(tmp_path / "one"), open_results(tmp_path / "two")
    assert one.names == two.names and len(two) == 96
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.landmarks, b.landmarks, rtol=0, atol=1e-5)  # metres; other numbers of threads


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
    assert process.returncode == 130 and "Traceback" not in error and error.strip().endswith("stopped")
