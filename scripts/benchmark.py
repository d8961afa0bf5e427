"""`bodyfit benchmark`: accuracy and speed on synthetic people with known truth."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.benchmark.ages import ages_told_apart
from bodyfit.fitting.benchmark.clip_groups import measure_shared_clips, shared_clips
from bodyfit.fitting.benchmark.clip_table import as_table, measure_clips, some_clips
from bodyfit.fitting.benchmark.far_poses import MotionFrames, far_and_floor
from bodyfit.fitting.benchmark.groups import GroupMaker, with_and_without_floor
from bodyfit.fitting.benchmark.measure import Bench, accuracy, cost_of_cropping, usable
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter, pick_device
from bodyfit.fitting.start.pose_sources import mocap_poses, prior_poses, split_clips
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions, SyntheticPeople
from bodyfit.prior.model.checkpoint import load_prior

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkCommand:
    """Measure accuracy and speed on synthetic people with known truth.

    Bodies with random shapes, in poses of a mocap folder or of the prior, in front of random cameras, with noisy
    detections. The plain reference (one person at a time, torch's L-BFGS on the whole mesh of smplx) runs on a few of
    them in the same run.
    """

    people: int = 128
    """People whose accuracy is measured."""
    batch: tuple[int, ...] | None = None
    """Batch sizes whose speed and memory are measured. Default: 1 8 64 512, and 4096 on a GPU."""
    poses: Path | None = None
    """Folder of motion files (.npz) to take poses from. Default: samples of the prior."""
    split: str | None = None
    """Which split of the folder's splits.json, such as test; all clips by default."""
    body: Path | None = None
    """Body model file or folder. Default: the shipped open body."""
    prior: Path | None = None
    """Pose prior. Default: the one shipped."""
    focal: Literal["known", "diagonal"] = "known"
    """`known`: fits get the true focal length; `diagonal`: they guess the image diagonal, as without EXIF."""
    refine_focal: bool = False
    """Fits also refine the focal length."""
    crop: str = "edge"
    """Where cropped people are cropped: edge, hips or knees."""
    cropped: float = 0.1
    """Share of people who are cropped."""
    known_starts: int = 8
    """Random starts per person, each run to convergence, for the best known cost. 0: none."""
    known_people: int = 32
    """People for whom the best known cost is searched."""
    crops: int = 64
    """People cropped at the hips, and at the knees, to compare their joints in view with those of the same people
    uncropped; their focal length is known. 0: none."""
    ages: int = 64
    """People of each group of ages (adults, 0 to 3, 3 to 6, 6 to 10, 10 to 14 years), to see who is called a child, and
    at what errors; seen whole. 0: none."""
    reference: int = 2
    """People fitted by the plain reference; it takes seconds to minutes for each. 0: none."""
    far: int = 0
    """People in those poses of the test splits of `--poses` that are farthest from its split "train". 0: none."""
    floor: int = 0
    """People in floor and acrobatic poses of its test and validation splits (pelvis tilted by more than 45 degrees).
    0: none."""
    smplify_x: int = 32
    """People that are also fitted by SMPLify-X's energy and stages. 0: none."""
    sequence: bool = False
    """Measure clips instead: one person over time by one camera, all frames together against frame by frame."""
    views: int = 0
    """Measure clips instead that so many calibrated cameras around the person see."""
    ground: bool = False
    """Of clips, or of --groups, also measure fits whose feet stand on the ground."""
    groups: int = 0
    """Measure photos of four people who stand on one floor instead, in poses of --poses; with --ground, also when it is
    looked for."""
    jumping: float = 0.0
    """Share of these people who are 0.3 m above the floor."""
    children: float = 0.0
    """Share of the people of --groups who are children of 2 to 7 years; fits find out."""
    clips: int = 12
    """How many clips are measured."""
    together: int = 1
    """With --sequence --ground: people per clip, who stand on one floor; --jumping: a share of them stands 0.3 m above
    it."""
    moments: int = 90
    """Frames of each clip at most."""
    fps: float = 30.0
    """Frame rate of clips."""
    seed: int = 0
    """The same seed gives the same people."""
    device: str = "auto"
    """cpu, cuda, cuda:1, or auto: CUDA if available."""
    threads: int = 0
    """CPU threads; 0: as PyTorch chooses."""
    json: bool = False
    """Print one JSON document on stdout, and nothing else."""

    def run(self) -> int:
        """Measure and print."""
        if self.threads:
            torch.set_num_threads(self.threads)
        if self.together != 1:
            document = {"clips": self.measure_shared_clips()}
            print(json.dumps(document) if self.json else groups_as_text(document["clips"]))
            return 0
        if self.sequence or self.views:
            document = self.measure_clips()
            print(json.dumps(document) if self.json else as_table(document))
            return 0
        if self.groups:
            document = {"groups": self.measure_groups()}
            print(json.dumps(document) if self.json else groups_as_text(document["groups"]))
            return 0
        if self.ground:
            raise BodyfitError("--ground goes with --sequence, --views or --groups.")
        document = self.measure()
        print(json.dumps(document) if self.json else as_text(document))
        return 0

    def measure_groups(self) -> dict[str, dict[str, float]]:
        """Photos of people on one floor, as numbers."""
        if self.poses is None or self.groups < 1 or not 0 <= self.jumping <= 1:
            raise BodyfitError("--groups needs --poses, a number of at least 1, and a share from 0 to 1 as --jumping.")
        fitter = Fitter(load_body_model(self.body), load_prior(self.prior), device=pick_device(self.device))
        if not 0 <= self.children <= 1 or (self.children and fitter.children is None):
            raise BodyfitError("--children is a share from 0 to 1, of a body that knows children.")
        seen = fitter.children if self.children else fitter
        maker = GroupMaker(seen, self.poses, self.split, self.seed, self.children)
        photos = maker.on_floor(self.groups, 4, jumping=self.jumping)
        found = with_and_without_floor(fitter, photos)
        return found if self.ground else {"without": found["without"]}

    def measure_shared_clips(self) -> dict[str, dict[str, float]]:
        """Clips of several people on one floor, as numbers."""
        if not (self.sequence and self.ground and self.poses) or self.together < 1 or not 0 <= self.jumping <= 1:
            raise BodyfitError(
                "--together needs --sequence, --ground and --poses, at least 1 person, and a share from 0 to 1 as "
                "--jumping."
            )
        fitter = Fitter(load_body_model(self.body), load_prior(self.prior), device=pick_device(self.device))
        motions = split_clips(self.poses, self.split) if self.split else sorted(self.poses.rglob("*.npz"))
        settings = {"count": self.clips, "people": self.together, "lifted": self.jumping, "seed": self.seed}
        settings |= {"fps": self.fps, "moments": self.moments}
        return measure_shared_clips(fitter, shared_clips(fitter, motions, **settings))

    def measure_clips(self) -> dict:
        """Joint fits of clips, as numbers."""
        if self.sequence and self.views:
            raise BodyfitError("--sequence is one camera, --views several calibrated ones: give one of them.")
        if self.views == 1 or self.views < 0:
            raise BodyfitError(f"--views is {self.views}. Expected 2 cameras or more; --sequence measures one.")
        if self.clips < 1 or self.moments < 3 or not 0 < self.fps < math.inf:
            raise BodyfitError("Expected at least one of --clips, 3 --moments, and a positive number as --fps.")
        fitter = Fitter(load_body_model(self.body), load_prior(self.prior), device=pick_device(self.device))
        motions: list[Path] = []
        if self.poses is not None:
            motions = split_clips(self.poses, self.split) if self.split else sorted(self.poses.rglob("*.npz"))
            if not motions:
                raise BodyfitError(f"{self.poses}: no .npz motion files. Expected a folder of AMASS-like clips")
        settings = {"count": self.clips, "cameras": self.views or 1, "fps": self.fps, "moments": self.moments}
        clips = some_clips(fitter, motions, seed=self.seed, **settings)
        document = measure_clips(fitter, clips, ground=self.ground)
        return document | {"settings": settings, "machine": machine(fitter.device)}

    def measure(self) -> dict:
        """All requested measurements, as numbers."""
        if (self.far or self.floor) and self.poses is None:
            raise BodyfitError("--far and --floor take poses of a folder of motion: give it as --poses MOCAP.")
        unusual = self._unusual() if self.far or self.floor else None  # first: what is missing is said at once
        bench = self._bench()
        people = bench.people
        rows = []
        for batch in self._batches(bench.fitter.device):  # first, so that the peak memory is theirs
            log.info("speed, batch %d", batch)
            rows.append(bench.timed(batch))
        log.info("%d people, accuracy", len(people))
        shared = self._accuracy(bench)
        if self.reference:
            log.info("the plain reference, %d people", self.reference)
            shared |= bench.reference(people.select(slice(0, self.reference)))
        for row in rows:
            row |= shared
            if self.reference:
                row["times_reference"] = row["people_per_second"] / row["reference_people_per_second"]
        document = {"settings": self._settings(), "machine": machine(bench.fitter.device), "rows": rows}
        if self.crops:
            document["crops"] = {at: self._crop(bench.fitter, at) for at in ("hips", "knees")}
        if self.ages and bench.fitter.children is not None:
            log.info("%d people of each group of ages", self.ages)
            poses = prior_poses(bench.fitter.prior.cpu(), self.ages, seed=self.seed)
            bench.fitter.prior.to(bench.fitter.device)
            document["ages"] = ages_told_apart(bench.fitter, poses, self.seed)
        if unusual is not None:
            document |= self._errors_in(bench.fitter, unusual)
        if self.smplify_x:
            log.info("SMPLify-X's energy and stages")
            some = people.select(slice(0, self.smplify_x))
            document["smplify_x"] = bench.smplify_x(some, min(self.reference, len(some)))
        return document

    def _batches(self, device: torch.device) -> tuple[int, ...]:
        return self.batch or (1, 8, 64, 512) + (() if device.type == "cpu" else (4096,))

    def _bench(self) -> Bench:
        body, prior = load_body_model(self.body), load_prior(self.prior)
        fitter = Fitter(body, prior, FitConfig(refine_focal=self.refine_focal), device=pick_device(self.device))
        options = SyntheticOptions(crop=self.crop, cropped=self.cropped)
        people = self._people(fitter, self.people, options)
        if self.focal == "diagonal":
            people = replace(people, focal_px=people.image_size.norm(dim=1))
        return Bench(fitter, people.select(usable(people)))

    def _people(self, fitter: Fitter, count: int, options: SyntheticOptions) -> SyntheticPeople:
        orient = None
        if self.poses is None:
            poses = prior_poses(fitter.prior.cpu(), count, seed=self.seed)
            fitter.prior.to(fitter.device)
        else:
            poses, orient = mocap_poses(self.poses, count, seed=self.seed, split=self.split)
        return PeopleMaker(fitter.body, options, device=fitter.device).make(poses, orient, seed=self.seed)

    def _crop(self, fitter: Fitter, at: str) -> dict[str, float]:
        log.info("%d people cut at the %s", self.crops, at)
        cropped, whole = (
            self._people(fitter, self.crops, SyntheticOptions(crop=at, cropped=share)) for share in (1.0, 0.0)
        )
        rows = usable(cropped)
        return cost_of_cropping(fitter, cropped.select(rows), whole.select(rows))

    def _unusual(self) -> dict[str, tuple[MotionFrames, dict[str, float]]]:
        """Far poses, and floor and acrobatic ones, each with what is to be said of them."""
        assert self.poses is not None
        (far, distance), (floor, kinds) = far_and_floor(self.poses, far=self.far, floor=self.floor, seed=self.seed)
        about_far = {"farthest_mm": float(distance.max()), "nearest_mm": float(distance.min())} if len(far) else {}
        return {"far": (far, about_far), "floor": (floor, {name: float(count) for name, count in kinds.items()})}

    def _errors_in(
        self, fitter: Fitter, sets: dict[str, tuple[MotionFrames, dict[str, float]]]
    ) -> dict[str, dict[str, float]]:
        """Errors of people in these poses; seen whole or cropped as all others are."""
        maker = PeopleMaker(fitter.body, SyntheticOptions(crop=self.crop, cropped=self.cropped), device=fitter.device)
        people = {
            name: maker.make(frames.body_pose, frames.root_orient, seed=self.seed)
            for name, (frames, _) in sets.items()
            if len(frames)
        }
        log.info("%d people in far, floor and acrobatic poses", sum(map(len, people.values())))
        rows = accuracy(fitter, people) if people else {}
        for name, row in rows.items():
            frames, about = sets[name]
            row |= {"clips": float(len(set(frames.clip.tolist())))} | about
        return rows

    def _accuracy(self, bench: Bench) -> dict[str, float]:
        people = bench.people
        solution = bench.solve(people)
        row = {
            "people": len(people),
            "converged_share": float((solution.status == 1).double().mean()),
            "iterations": float(solution.iterations.double().mean()),
        }
        for name, values in bench.errors(people, solution.x).items():
            row[name], row[f"{name}_median"] = float(values.mean()), float(values.median())
        if self.known_starts:
            some = people.select(slice(0, self.known_people))
            log.info("best known cost of %d people over %d random starts", len(some), self.known_starts)
            ours = solution.cost[: len(some)].cpu()
            best = torch.minimum(bench.best_known(some, self.known_starts, self.seed), ours)
            row["within_1.05_of_best_share"] = float((ours <= 1.05 * best).double().mean())
            row["within_1.2_of_best_share"] = float((ours <= 1.2 * best).double().mean())
        return row

    def _settings(self) -> dict:
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def machine(device: torch.device) -> dict:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": str(device),
        "name": name,
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def groups_as_text(document: dict[str, dict[str, float]]) -> str:
    """A row for each figure of photos of several people."""
    names = list(dict.fromkeys(name for figures in document.values() for name in figures))
    lines = [f"{'floors':36}" + "".join(f"{name:>12}" for name in document)]
    for name in names:
        shown = (f"{figures[name]:>12.4g}" if name in figures else " " * 12 for figures in document.values())
        lines.append(f"{name:36}" + "".join(shown))
    return "\n".join(lines)


def as_text(document: dict) -> str:
    """The document as text tables."""
    rows, first = document["rows"], document["rows"][0]
    columns = ("batch", "people_per_second", "solve_only_seconds", "peak_memory_mb", "times_reference")
    shown = [c for c in columns if c in first]
    lines = ["  ".join(f"{c:>18}" for c in shown)]
    lines += ["  ".join(f"{row[c]:>18.4g}" for c in shown) for row in rows]
    rest = {k: v for k, v in first.items() if k not in (*columns, "seconds")}
    lines += ["", *(f"{name:32} {value:10.4g}" for name, value in rest.items())]
    for at, figures in document.get("crops", {}).items():
        lines += ["", f"joints in view of people cut at the {at}"]
        lines += [f"{name:32} {value:10.4g}" for name, value in figures.items()]
    for name, what in (("far", "in the poses farthest from training"), ("floor", "on the floor and in acrobatics")):
        if name in document:
            lines += ["", f"people {what}"]
            lines += [f"{name:32} {value:10.4g}" for name, value in document[name].items()]
    for years, figures in document.get("ages", {}).items():
        lines += ["", "adults" if years == "adult" else f"children of {years} years"]
        lines += [f"{name:32} {value:10.4g}" for name, value in figures.items()]
    if "smplify_x" in document:
        lines += ["", "SMPLify-X's energy and stages, on the same solver"]
        lines += [f"{name:32} {value:10.4g}" for name, value in document["smplify_x"].items()]
    lines += ["", ", ".join(f"{k} {v}" for k, v in document["machine"].items())]
    return "\n".join(lines)
