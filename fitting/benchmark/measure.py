"""What `bodyfit benchmark` measures: speed and memory of batches, accuracy against the truth, and other minimisers."""

from __future__ import annotations

import ctypes
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.body.posing import pose_body
from bodyfit.data.landmarks import BODY, LANDMARK_NAMES
from bodyfit.fitting.benchmark import smplify_x
from bodyfit.fitting.benchmark.accuracy import (
    JOINTS_WITH_PELVIS,
    body_errors,
    image_error_share,
    in_view_error_mm,
    turned_away,
)
from bodyfit.fitting.benchmark.reference import Reference
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import Solution
from bodyfit.fitting.energy.observations import Observations, observe
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.start.synthetic_people import SyntheticPeople

MIN_BODY_POINTS = 6


def usable(people: SyntheticPeople) -> Bool[Tensor, " N"]:
    """Who has enough body points to be fitted at all."""
    return (people.confidence[:, list(BODY)] > 0).sum(1) >= MIN_BODY_POINTS


class Bench:
    """People with known truth before a fitter."""

    def __init__(self, fitter: Fitter, people: SyntheticPeople):
        self.fitter, self.people = fitter, people
        self.model: LandmarkModel = fitter.landmarks.model_for(people.confidence.cpu().double().numpy())

    def observations(self, people: SyntheticPeople) -> Observations:
        """Weighted as in a fit, with predicted poses."""
        numbers = (people.keypoints_px, people.confidence, people.focal_px, people.center_px)
        arrays = (n.cpu().double().numpy() for n in numbers)
        seen = observe(*arrays, names=self.model.names, dtype=self.fitter.dtype, device=self.fitter.device)
        return self.fitter.with_predicted_pose(seen, self.model)

    def solve(self, people: SyntheticPeople) -> Solution:
        """The whole fit: start and solve."""
        return self.fitter.solve(self.observations(people), self.model)[0]

    def errors(self, people: SyntheticPeople, x: Float[Tensor, "B D"], chunk: int = 64) -> dict[str, Tensor]:
        """All measures of error, one number per person."""
        parts = [
            self._errors(people.select(rows), x[rows]) for rows in torch.arange(len(x), device=x.device).split(chunk)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    @torch.no_grad()
    def _errors(self, people: SyntheticPeople, x: Tensor) -> dict[str, Tensor]:
        unknowns, body = self.fitter.unknowns, self.fitter.body
        layout, turns = unknowns.layout, unknowns.decode(x)
        transl = x[:, layout["transl"]]
        points = self.fitter.everything(
            unknowns.rotations(x, turns), unknowns.shape(x), transl, derivatives=False
        ).points
        names = ["betas", "global_orient", "transl"]
        names += ["expression", "jaw_pose"] if body.kind == "smplx" else []
        hands = {f"{side}_hand_pose": unknowns.hand_pose(x, side) for side in unknowns.hands}
        blocks = {name: x[:, layout[name]] for name in names}
        fitted = pose_body(body, body_pose=roma.rotmat_to_rotvec(turns).flatten(1), **blocks, **hands)
        landmarks = points.new_zeros(people.landmarks.shape)
        rows = [i for i, name in enumerate(LANDMARK_NAMES) if name in self.fitter.everything.names]
        landmarks[:, rows] = points
        errors = body_errors(landmarks, fitted, people.landmarks, people.pose(body))
        focal = people.focal_px * x[:, layout["log_focal"]].squeeze(1).exp()
        pixels = project(landmarks, focal, people.center_px)
        shares = image_error_share(pixels, people.keypoints_px, people.confidence, people.size_px)
        return errors | {
            "image_error_percent": 100 * shares,
            "turned_away_percent": 100 * turned_away(x[:, layout["global_orient"]], people.global_orient),
        }

    @torch.no_grad()
    def joints(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B 22 3"]:
        """Fitted body joints, camera frame, m."""
        unknowns, everything = self.fitter.unknowns, self.fitter.everything
        rotations, transl = unknowns.rotations(x, unknowns.decode(x)), x[:, unknowns.layout["transl"]]
        return everything(rotations, unknowns.shape(x), transl, derivatives=False).points[:, :JOINTS_WITH_PELVIS]

    def timed(self, batch: int, repeats: int = 3) -> dict[str, float]:
        """Speed and memory of batches of this size; the median of the repeats, after one warm-up."""
        people = self.people.select(torch.arange(batch, device=self.fitter.device) % len(self.people))
        with PeakMemory(self.fitter.device) as memory:
            self.solve(people)
        seconds = [self._seconds(lambda: self.solve(people)) for _ in range(repeats)]
        seen, middle = self.observations(people), statistics.median(seconds)
        starts = self.fitter.best_starts(seen, self.model)
        solve_only = statistics.median(
            self._seconds(lambda: self.fitter.finish(seen, self.model, starts)) for _ in range(repeats)
        )
        return {
            "batch": batch,
            "people_per_second": batch / middle,
            "seconds": middle,
            "solve_only_seconds": solve_only,
            "peak_memory_mb": memory.megabytes,
        }

    def _seconds(self, work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        if self.fitter.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def _problem(self, seen: Observations, energy=None) -> BodyProblem:
        energy = energy or self.fitter.config.energy
        return BodyProblem(self.fitter.unknowns, self.model, self.fitter.prior, seen, energy)

    def best_known(self, people: SyntheticPeople, tries: int, seed: int) -> Float[Tensor, " B"]:
        """Lowest cost over random starts (any yaw and tilt, poses of the prior), each run to convergence."""
        fitter, unknowns = self.fitter, self.fitter.unknowns
        seen, layout = self.observations(people), unknowns.layout
        generator, best = torch.Generator().manual_seed(seed), torch.full((len(people),), torch.inf)
        problem = self._problem(seen)
        for _ in range(tries):
            x = seen.targets_px.new_zeros(len(people), layout.size)
            angles = torch.randn(len(people), 3, generator=generator) * torch.tensor([0.4, 0.0, 0.4])
            angles[:, 1] = 2 * math.pi * torch.rand(len(people), generator=generator)
            upright = torch.tensor([math.pi, 0.0, 0.0]).expand(len(people), 3)
            turned = roma.rotvec_composition([angles * torch.tensor([1.0, 0, 1]), upright])
            turned = roma.rotvec_composition([turned, angles * torch.tensor([0.0, 1, 0])])
            x[:, layout["global_orient"]] = turned.to(x)
            x[:, layout["latent"]] = fitter.prior.cpu().sample(len(people), generator).detach().to(x)
            fitter.prior.to(x)
            solution, _ = fitter.finish(seen, self.model, problem.placed(x)[0][:, None])
            best = torch.minimum(best, solution.cost.cpu())
        return best

    def reference(self, people: SyntheticPeople) -> dict[str, float]:
        """The plain minimiser on a few people, from the same starts under the same energy: its speed and final cost."""
        fitter, seen = self.fitter, self.observations(people)
        starts, ours = fitter.best_starts(seen, self.model)[:, 0], self.solve(people).cost.cpu()
        plain = Reference(fitter.body, fitter.prior, fitter.unknowns, fitter.config.energy, self.model.names)
        solutions, began = [], time.perf_counter()
        for i in range(len(people)):
            solutions.append(plain.minimise(starts[i], seen.select(torch.tensor([i], device=fitter.device))))
        seconds = time.perf_counter() - began
        theirs = torch.tensor([s.cost for s in solutions])
        return {
            "reference_people": len(people),
            "reference_people_per_second": len(people) / seconds,
            "reference_evaluations": sum(s.evaluations for s in solutions) / len(people),
            "not_above_reference_share": float((ours <= 1.0001 * theirs).double().mean()),
            "cost_ratio_to_reference": float((ours / theirs).median()),
        }

    def smplify_x(self, people: SyntheticPeople, with_reference: int = 0) -> dict[str, float]:
        """SMPLify-X's energy by its five stages: accuracy, and the final cost against the plain minimiser's."""
        fitter = self.fitter
        names, numbers = self.model.names, (people.keypoints_px, people.confidence, people.focal_px, people.center_px)
        arrays = [n.cpu().double().numpy() for n in (*numbers, people.image_size[:, 1])]
        seen = smplify_x.observe(*arrays, names=names, dtype=fitter.dtype, device=fitter.device)
        columns = [LANDMARK_NAMES.index(name) for name in names]
        torso = smplify_x.torso_only(seen, names, people.confidence[:, columns])
        procedure = smplify_x.SmplifyX(fitter.unknowns, self.model, fitter.prior)
        with torch.no_grad():
            began = time.perf_counter()
            solution = procedure.fit(seen, torso)
            seconds = time.perf_counter() - began
            start = procedure.camera_start(torso)
            plain = self.observations(people)
            starts = torch.stack([self.solve(people).x, fitter.best_starts(plain, self.model)[:, 0]], dim=1)
            ours = torch.minimum(solution.cost, procedure.fit_from(seen, starts).cost)
        row = {"people_per_second": len(people) / seconds, "iterations": float(solution.iterations.double().mean())}
        row |= {k: float(v.mean()) for k, v in self.errors(people, solution.x).items()}
        if with_reference:
            each = (seen.select(torch.tensor([i], device=fitter.device)) for i in range(with_reference))
            costs = [self._staged_reference(one, at) for one, at in zip(each, start, strict=False)]
            theirs = torch.tensor(costs)
            for name, costs in (("procedure", solution.cost), ("our_starts", ours)):
                lower = costs[:with_reference].cpu() <= 1.0001 * theirs
                row[f"{name}_not_above_reference_share"] = float(lower.double().mean())
        return row

    def _staged_reference(self, seen: Observations, x: Float[Tensor, " D"]) -> float:
        fitter = self.fitter
        for stage in smplify_x.STAGES:
            plain = Reference(fitter.body, fitter.prior, fitter.unknowns, smplify_x.energy(stage), self.model.names)
            solution = plain.minimise(x, seen, max_evaluations=300)
            x = solution.x
        return solution.cost


def accuracy(fitter: Fitter, sets: dict[str, SyntheticPeople]) -> dict[str, dict[str, float]]:
    """Mean and median errors of those people of each set who have enough points to be fitted."""
    sets = {name: people.select(usable(people)) for name, people in sets.items()}
    everybody = SyntheticPeople(
        **{f.name: torch.cat([getattr(people, f.name) for people in sets.values()]) for f in fields(SyntheticPeople)}
    )
    bench = Bench(fitter, everybody)
    x = torch.cat([bench.solve(some).x for some in everybody.split(256)])
    errors, first, rows = bench.errors(everybody, x), 0, {}
    for name, people in sets.items():
        rows[name] = {"people": float(len(people))}
        for figure in ("pa_mpjpe_mm", "pa_vertex_mm", "turned_away_percent", "image_error_percent"):
            values = errors[figure][first : first + len(people)]
            rows[name] |= {figure: float(values.mean()), f"{figure}_median": float(values.median())}
        first += len(people)
    return rows


def cost_of_cropping(fitter: Fitter, cropped: SyntheticPeople, whole: SyntheticPeople) -> dict[str, float]:
    """Errors of cropped people's joints inside the image, and of the same joints of the same people whole.

    Args:
        cropped, whole: the same people by the same cameras, who differ in where the image ends.
    """
    truth = cropped.landmarks[:, :JOINTS_WITH_PELVIS]
    pixels = project(truth, cropped.focal_px, cropped.center_px)
    in_view = ((pixels > -0.5) & (pixels < cropped.image_size[:, None] - 0.5)).all(-1)
    row = {"people": float(len(cropped)), "joints_in_view": float(in_view.sum(1).double().mean())}
    for name, people in (("cropped", cropped), ("whole", whole)):
        bench = Bench(fitter, people)
        joints, true_joints = bench.joints(bench.solve(people).x), people.landmarks[:, :JOINTS_WITH_PELVIS]
        errors = in_view_error_mm(joints, true_joints, in_view)
        row[f"{name}_in_view_mm"], row[f"{name}_in_view_mm_median"] = float(errors.mean()), float(errors.median())
    row["times_whole"] = row["cropped_in_view_mm"] / row["whole_in_view_mm"]
    return row


@dataclass
class PeakMemory:
    """Peak memory of a piece of work above what was in use before it, megabytes."""

    device: torch.device
    megabytes: float = 0.0

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        else:
            _forget_peak()
            self._before = _peak_bytes()
        return self

    def __exit__(self, *_: object) -> None:
        peak = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else _peak_bytes()
        self.megabytes = (peak - self._before) / 1e6


def _forget_peak() -> None:
    """On Linux, free unused memory and reset the peak; elsewhere the peak of the whole process counts."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
