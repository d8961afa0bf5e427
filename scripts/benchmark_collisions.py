"""`bodyfit benchmark-collisions`: what the collision term does to bodies that pass through themselves."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.fitting.benchmark import collisions
from bodyfit.fitting.benchmark.calibration import make_people
from bodyfit.fitting.benchmark.clips_apart import measure_pairs, pair_clips
from bodyfit.fitting.benchmark.groups import GroupMaker
from bodyfit.fitting.solve.ages import AgeConfig
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter, pick_device
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.start.pose_sources import split_clips

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkCollisionsCommand:
    """Measure how deep fitted bodies are inside themselves, with and without the collision term.

    Depth is measured on the mesh, by winding numbers (pip install 'bodyfit[bench]'): of synthetic people with known
    truth, of people in photos, and of samples of the pose prior.
    """

    people: int = 200
    """Synthetic people. 0: none."""
    poses: Path | None = None
    """Folder of motion files (.npz) to take poses from. Default: samples of the prior."""
    split: str | None = None
    """Which split of the folder's splits.json, such as test; all clips by default."""
    photos: tuple[Path, ...] = ()
    """Photos with keypoint files, or folders of them."""
    samples: int = 200
    """Samples of the prior. 0: none."""
    pairs: int = 0
    """Photos of two people side by side, in poses of --poses, fitted with and without --collisions people."""
    clips: int = 0
    """Clips of two people who stay near to each other, in motions of --poses, fitted with and without --collisions
    people."""
    cameras: int = 1
    """Cameras of these clips: one that is not calibrated, or as many calibrated ones."""
    moments: int = 60
    """Frames of each of these clips, at most; 30 per second."""
    ground: bool = False
    """Fit these clips with feet on the ground."""
    children: float = 0.0
    """Share of the people of --pairs who are children of 2 to 7 years; fits find out."""
    seed: int = 0
    """The same seed gives the same people."""
    device: str = "auto"
    """cpu, cuda, cuda:1, or auto: CUDA if available."""
    json: bool = False
    """Print one JSON document on stdout, and nothing else."""

    def run(self) -> int:
        """Measure and print."""
        if min(self.people, self.samples, self.pairs, self.clips) < 0:
            raise BodyfitError("--people, --samples, --pairs and --clips must be at least 0.")
        if (self.pairs or self.clips) and self.poses is None:
            raise BodyfitError("--pairs and --clips need --poses, a folder of motion files: people in them stand.")
        if self.cameras < 1 or self.moments < 3:
            raise BodyfitError("Expected at least one of --cameras, and 3 --moments.")
        fitters = collisions.with_and_without(device=pick_device(self.device))
        document: dict[str, dict[str, collisions.Figures]] = {}
        if self.people:
            log.info("%d synthetic people", self.people)
            people = make_people(fitters["with"], self.poses, self.split, self.people, self.seed, 0.004)
            document["people"] = collisions.of_people(fitters, people)
        if self.photos:
            document["photos"] = collisions.of_photos(fitters, self._frames())
        if self.samples:
            log.info("%d samples of the prior", self.samples)
            document["samples"] = collisions.of_samples(fitters["with"], self.samples, self.seed)
        if self.pairs and self.poses is not None:
            log.info("%d pairs of people", self.pairs)
            seen = Fitter()
            seen = seen.children if self.children else seen
            maker = GroupMaker(seen, self.poses, self.split, self.seed, self.children)
            document["pairs"] = collisions.of_pairs(fitters["with"], maker.side_by_side(self.pairs))
        if self.clips and self.poses is not None:
            log.info("%d clips of two people", self.clips)
            document["clips"] = self._of_clips(self.poses)
        print(json.dumps(document) if self.json else as_text(document))
        return 0

    def _of_clips(self, poses: Path) -> dict[str, collisions.Figures]:
        motions = split_clips(poses, self.split) if self.split else sorted(poses.rglob("*.npz"))
        if not motions:
            raise BodyfitError(f"{poses}: no .npz motion files. Expected a folder of AMASS-like clips")
        fitter = Fitter(
            config=FitConfig(age=AgeConfig(kind="adult"), uncertainty="off"), device=pick_device(self.device)
        )
        settings = {"count": self.clips, "cameras": self.cameras, "fps": 30.0, "moments": self.moments}
        return measure_pairs(fitter, pair_clips(fitter, motions, seed=self.seed, **settings), ground=self.ground)

    def _frames(self) -> list[Frame]:
        found = [item for path in self.photos for item in find_inputs(path) if item.keypoints is not None]
        frames = []
        for item in found:
            try:
                frames.append(Frame.from_files(item.photo, item.keypoints, image=item.image))
            except BodyfitError as error:
                log.warning("%s: left out: %s", item.name, error)
        if not frames:
            raise BodyfitError(f"{self.photos[0]}: no photo with a keypoint file that can be read.")
        log.info("%d photos", len(frames))
        return frames


def as_text(document: dict[str, dict[str, collisions.Figures]]) -> str:
    """One table for each kind of bodies."""
    lines = []
    for kind, columns in document.items():
        names = list(dict.fromkeys(name for figures in columns.values() for name in figures))
        lines += ["", f"{kind:28}" + "".join(f"{name:>12}" for name in columns)]
        for name in names:
            shown = (f"{figures[name]:>12.4g}" if name in figures else " " * 12 for figures in columns.values())
            lines.append(f"{name:28}" + "".join(shown))
    return "\n".join(lines[1:])
