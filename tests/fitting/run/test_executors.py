"""Several worker processes: the same results as one, and an end."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from bodyfit.data.results.store import open_results

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"
SCRIPT = """
import sys
from pathlib import Path
from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.fitting.run.config_files import OutputOptions, RunConfig
from bodyfit.fitting.run.executors import InProcesses, InThreads
from bodyfit.fitting.run.folder_run import FolderRun
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
