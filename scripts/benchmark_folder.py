"""`bodyfit benchmark-folder`: rates, memory and start-up of runs over folders, beside the solver alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bodyfit.data.errors import BodyfitError

PLAIN = ("--no-meshes", "--no-overlays", "--image-size", "640", "480")


@dataclass(frozen=True)
class BenchmarkFolderCommand:
    """Measure `bodyfit fit` on folders made of the sample people, each moved, scaled and disturbed a little.

    Every figure is that of the command as a user starts it. Rates are people per second of the run. They stand beside
    two rates of batches of 512 of the same people in memory, measured before and after: of the solver alone, and of
    all that a run computes (uncertainty, children and results, too), without reading and writing.
    """

    people: int = 2000
    """People, one per keypoint file."""
    many: int = 0
    """Also measure memory for this many people (10000 for the table in docs/scale.md; it takes minutes)."""
    photos: int = 0
    """Also measure meshes and overlays for this many photos of 640 x 480."""
    ray: bool = False
    """Also measure a local Ray cluster of two nodes of one core. Needs bodyfit[cluster]."""
    workers: tuple[int, ...] = ()
    """Also measure these numbers of solving processes: 1 2. The other runs have as many as `bodyfit fit` takes."""
    batch: int | None = None
    """People that runs solve together. Default: that of `bodyfit fit`."""
    device: str = "auto"
    """Where to solve: "auto", "cpu", "cuda", "cuda:1", or "cuda:all" for a solving process per GPU."""
    json: bool = False
    """Print one JSON document on stdout, and nothing else."""

    def run(self) -> int:
        """Measure and print."""
        if self.people < 2:
            raise BodyfitError("--people must be at least 2.")
        if self.ray and find_spec("ray") is None:
            raise BodyfitError('--ray needs Ray: pip install "bodyfit[cluster]".')
        figures: dict[str, Any] = {"cores": os.cpu_count(), "people": self.people}
        with tempfile.TemporaryDirectory() as place:
            figures |= self._measured(Path(place))
        print(json.dumps(figures) if self.json else "\n".join(f"{k:52}{_shown(v)}" for k, v in figures.items()))
        return 0

    def _measured(self, place: Path) -> dict[str, Any]:
        inputs, found = make_inputs(place / "in", self.people), {}
        few = make_inputs(place / "few", max(self.people // 10, 2))
        plain, one = (*PLAIN, "--device", self.device), self.device.removesuffix(":all")
        plain += () if self.batch is None else ("--batch", str(self.batch))
        before = computing_rates(inputs, device=one)
        for layout in ("folders", "shards"):
            run = timed_fit(inputs, place / layout, *plain, "--results", layout)
            found[f"people/s, {layout}"] = run["rate"]
            found |= _memory(run, layout) | {f"CPU s, {layout}": run["cpu_seconds"]}
        again = timed_fit(inputs, place / "shards", *plain, "--results", "shards")
        start = timed_fit(few, place / "start", *plain)
        after = computing_rates(inputs, device=one)
        for what in before:
            found[f"{what}, people/s (batch 512)"] = rate = (before[what][0] + after[what][0]) / 2
            found[f"{what}, CPU ms per person"] = (before[what][1] + after[what][1]) / 2
            found |= {f"share of {what}, {x}": found[f"people/s, {x}"] / rate for x in ("folders", "shards")}
        for layout in ("folders", "shards"):  # without start-up, which both have
            more = found[f"CPU s, {layout}"] - start["cpu_seconds"]
            found[f"CPU ms per person, {layout}"] = 1000 * more / (self.people - max(self.people // 10, 2))
        found |= {"start-up, s": start["seconds"] - start["run_seconds"], "again, s": again["seconds"]}
        found["again, s beyond start-up"] = again["run_seconds"]
        if self.many:
            fewer = timed_fit(make_inputs(place / "k1", self.many // 10), place / "o1", *plain)
            more = timed_fit(make_inputs(place / "k10", self.many), place / "o10", *plain)
            found |= _memory(fewer, f"{self.many // 10} people") | _memory(more, f"{self.many} people")
        if self.photos:
            found |= self._pictures(place)
        for count in self.workers:
            run = timed_fit(inputs, place / f"workers{count}", *plain, "--workers", str(count))
            found |= {f"people/s, --workers {count}": run["rate"]} | _memory(run, f"--workers {count}")
        if self.ray:
            found["people/s, Ray, two nodes of one core"] = ray_rate(inputs, place / "ray")
        return found

    def _pictures(self, place: Path) -> dict[str, Any]:
        inputs, found = make_inputs(place / "photos", self.photos, photos=True), {}
        kinds = {"meshes and overlays": (), "meshes": ("--no-overlays",), "overlays": ("--no-meshes",)}
        for name, options in kinds.items():
            options = (*options, "--device", self.device)
            found[f"people/s, {name}"] = timed_fit(inputs, place / name.replace(" ", "-"), *options)["rate"]
        return found


def make_inputs(folder: Path, count: int, *, photos: bool = False) -> Path:
    """A folder of keypoint files of one person each; with `photos`, each beside a picture of 640 x 480."""
    samples = resources.files("bodyfit.data") / "assets" / "samples" / "keypoints"
    files = sorted((f for f in samples.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    people = [person for file in files for person in json.loads(file.read_text())["people"]]
    folder.mkdir(parents=True)
    rng = random.Random(0)
    for n in range(count):
        person = {key: list(value) for key, value in people[n % len(people)].items() if key.endswith("_2d")}
        seen = [(p[i], p[i + 1]) for p in person.values() for i in range(0, len(p), 3) if p[i + 2] > 0]
        low, high = ([pick(axis) for axis in zip(*seen, strict=True)] for pick in (min, max))
        size = [b - a for a, b in zip(low, high, strict=True)]
        scale = rng.uniform(0.6, 0.95) * min(640 / size[0], 480 / size[1])
        shift = [rng.uniform(0, side - scale * s) - scale * a for side, s, a in zip((640, 480), size, low, strict=True)]
        for points in person.values():
            for i in range(0, len(points), 3):
                if points[i + 2] > 0:
                    points[i : i + 2] = [scale * points[i + j] + shift[j] + rng.gauss(0, 1) for j in (0, 1)]
        (folder / f"p{n:06d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": [person]}))
        if photos:
            from PIL import Image, ImageFilter

            noise = Image.effect_noise((640, 480), 60).filter(ImageFilter.GaussianBlur(2)).convert("RGB")
            noise.save(folder / f"p{n:06d}.jpg", quality=90)
    return folder


def computing_rates(folder: Path, batch: int = 512, device: str = "auto") -> dict[str, tuple[float, float]]:
    """People per second, and CPU time per person in ms, of `Fitter.solve` alone and of `Fitter.fit`, in one process on
    people of a folder: medians of three batches after one."""
    found = [float(word) for word in _python(_SOLVER, str(folder), str(batch), device).split()[-4:]]
    return {"the solver alone": (found[0], found[1]), "the same work in memory": (found[2], found[3])}


_SOLVER = """
import statistics, sys, time, torch
from itertools import cycle, islice
import numpy as np
from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.fitting.energy.observations import observe
from bodyfit.fitting.solve.fitter import Fitter, pick_device
from bodyfit.fitting.solve.frames import CameraOptions, read_frame
device = pick_device(sys.argv[3])
batch, camera, fitter = int(sys.argv[2]), CameraOptions(image_size=(640, 480)), Fitter(device=device)
frames = list(islice(cycle([read_frame(i, camera) for i in find_inputs(sys.argv[1])[:batch]]), batch))
xy, seen = (np.concatenate([getattr(f.detections, n) for f in frames]) for n in ("xy", "confidence"))
model = fitter.landmarks.model_for(seen)
focal, center = np.array([f.focal_px for f in frames]), np.array([f.center_px for f in frames])
people = observe(xy, seen, focal, center, names=model.names, dtype=fitter.dtype, device=device)
def solve():
    with torch.no_grad():
        fitter.solve(people, model)
for work in (solve, lambda: fitter.fit(frames)):
    times, cpu = [], []
    for _ in range(4):
        began, used = time.perf_counter(), time.process_time()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    print(batch / statistics.median(times[1:]), 1000 * statistics.median(cpu[1:]) / batch)
"""


def timed_fit(inputs: Path, out: Path, *options: str) -> dict[str, float]:
    """`bodyfit fit` in a process of its own: seconds in all, of the run alone, its rate, the CPU seconds of all
    its processes, and memory (`_watch`)."""
    command = [sys.executable, "-m", "bodyfit.scripts.cli", "fit", str(inputs), "-o", str(out), *options]
    cpu = _cpu_of_children()
    began, process = time.perf_counter(), subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    peak = {"largest_mb": 0.0, "all_mb": 0.0}
    threading.Thread(target=_watch, args=(process, peak), daemon=True).start()
    _, errors = process.communicate()
    seconds = time.perf_counter() - began
    if process.returncode not in (0, 1):
        raise BodyfitError(f"bodyfit fit failed: {errors[-500:]}")
    summary = json.loads((out / "summary.json").read_text())
    rate = summary["fitted_now"] / summary["seconds"]
    cpu = _cpu_of_children() - cpu
    took = {"seconds": seconds, "run_seconds": summary["seconds"], "cpu_seconds": cpu}
    return took | {"rate": rate} | peak


def _cpu_of_children() -> float:
    """CPU seconds of all processes that this one started, and theirs, once they have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _watch(process: subprocess.Popen[str], peak: dict[str, float]) -> None:
    """Memory from /proc (0 where there is none), MB, at most: of the largest process, what is resident of it; of all
    processes of a run, helpers included, their proportional shares together, in which pages that several have count
    once."""
    while process.poll() is None:
        family = list(_family(process.pid))
        resident = [_kilobytes(pid, "status", "VmHWM") / 1024 for pid in family]
        peak["largest_mb"] = max(peak["largest_mb"], *resident)
        peak["all_mb"] = max(peak["all_mb"], sum(_kilobytes(pid, "smaps_rollup", "Pss") / 1024 for pid in family))
        time.sleep(0.2)


def _family(pid: int) -> Iterator[int]:
    """A process, its children, and theirs."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has ended since
            for child in task.read_text().split():
                yield from _family(int(child))


def _kilobytes(pid: int, file: str, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    except (OSError, StopIteration, ValueError):
        return 0.0


def _memory(run: dict[str, float], what: str) -> dict[str, float]:
    return {f"peak MB, largest process, {what}": run["largest_mb"], f"peak MB, all together, {what}": run["all_mb"]}


def ray_rate(inputs: Path, out: Path) -> float:
    """People per second on a local Ray cluster of two nodes of one core."""
    return float(_python(_RAY, str(inputs), str(out), *PLAIN).split()[-1])


_RAY = """
import json, sys
import ray
from ray.cluster_utils import Cluster
from bodyfit.scripts import cli
if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        cli.main(["fit", sys.argv[1], "-o", sys.argv[2], "--cluster", "auto", *sys.argv[3:]])
    except SystemExit:
        pass
    summary = json.load(open(sys.argv[2] + "/summary.json"))
    ray.shutdown()
    cluster.shutdown()
    print(summary["fitted_now"] / summary["seconds"])
"""


def _python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise BodyfitError(f"a measurement failed: {done.stderr[-800:]}")
    return done.stdout


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) and value < 100 else f"{value:.0f}"
