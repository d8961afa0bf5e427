"""A real Ray cluster of several node processes: the results of one machine, also when a node is lost on the way.

Needs `pip install "bodyfit[cluster]"`; skips where Ray is not installed.
"""

import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.data.results.store import open_results
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions
from bodyfit.fitting.run.config_files import OutputOptions, RunConfig
from bodyfit.fitting.run.folder_run import FolderRun
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.hypotheses import StartConfig
from bodyfit.fitting.solve.stages import StageConfig

ray = pytest.importorskip("ray")
SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"
QUICK = FitConfig(
    start=StartConfig(followed=1, iterations=2, finished=1),
    solver=SolverOptions(max_iterations=3),
    stages=StageConfig(wide_iterations=2, soft_iterations=2, sharp_iterations=2),
)
CONFIG = RunConfig(fit=QUICK, output=OutputOptions(meshes=False, overlays=False), device="cpu", batch=4)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """48 keypoint files of one person each: 6 parts of 8."""
    folder = tmp_path_factory.mktemp("photos")
    for n in range(48):
        shutil.copy(SAMPLES / "keypoints" / "portrait_keypoints.json", folder / f"p{n:02d}_keypoints.json")
    return folder


@pytest.fixture(scope="module")
def alone(photos, tmp_path_factory) -> Path:
    """The same inputs fitted on one machine."""
    out = tmp_path_factory.mktemp("alone") / "out"
    FolderRun(out, Fitter(config=QUICK), CONFIG).run(find_inputs(photos))
    return out


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": quick})
    made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


def assert_equal(out: Path, other: Path) -> None:
    ours, theirs = open_results(out), open_results(other)
    assert ours.names == theirs.names
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.body_pose, b.body_pose)
        np.testing.assert_array_equal(a.transl, b.transl)


def lines(out: Path) -> list[str]:
    return [json.loads(line)["name"] for line in (out / "journal.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("lost", [False, True], ids=["undisturbed", "a node is lost"])
def test_a_cluster_finds_what_one_machine_finds(photos, alone, cluster, tmp_path, lost):
    from bodyfit.fitting.run.cluster import OnCluster

    out, backend = tmp_path / "out", OnCluster("auto")

    def lose_one() -> None:
        while not (out / "journal.jsonl").exists() or not lines(out):
            time.sleep(0.02)
        cluster.remove_node(cluster.nodes.pop(), allow_graceful=False)

    if lost:
        threading.Thread(target=lose_one, daemon=True).start()
    summary = FolderRun(out, Fitter(config=QUICK), CONFIG, backend).run(find_inputs(photos))
    assert summary["counts"]["failed"] == 0 and summary["complete"]
    assert sorted(lines(out)) == [f"p{n:02d}" for n in range(48)]  # nothing lost, nothing twice
    assert_equal(out, alone)
    assert not list(out.rglob(".unfinished-*"))
    assert (backend.lost > 0) == lost
    assert FolderRun(out, Fitter(config=QUICK), CONFIG).run(find_inputs(photos))["fitted_now"] == 0
