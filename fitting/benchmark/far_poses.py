"""Poses unlike those of training: the test frames farthest from all training poses, and floor and acrobatic frames.

The usual test people mostly stand, so their mean error says little about poses that nobody recorded. These two sets do.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import read_json
from bodyfit.data.motion.mocap import MocapError, read_motion
from bodyfit.fitting.start.pose_sources import split_clips, y_up
from bodyfit.prior.model.rotations import matrices_from_axis_angle, mirror
from bodyfit.prior.model.skeleton import pose_skeleton

log = logging.getLogger(__name__)

FRAMES_A_SECOND = 5.0
"""Frames of a clip that are looked at: between these a pose hardly changes."""
PER_CLIP = 10
"""Most frames of one clip in a set."""
APART_S = 0.5
"""Least time between two frames of one clip in a set, seconds."""
TILT_DEG = 45.0
"""Tilt of the pelvis from upright from which a frame is one of floor or acrobatics."""
INVERTED_DEG = 100.0
LOW_SHARE = 0.55
"""Height of the pelvis above the lowest joint, as a share of that of the standing skeleton, below which it is low."""


@dataclass(frozen=True)
class MotionFrames:
    """Frames of motion clips, clip after clip."""

    body_pose: Float[Tensor, "N 63"]
    """Axis-angle, radians."""
    root_orient: Float[Tensor, "N 3"]
    """Axis-angle, in a world with y up."""
    clip: Int[np.ndarray, " N"]
    """Index of the clip."""
    seconds: Float[np.ndarray, " N"]
    """Time within the clip."""
    clips: tuple[str, ...]
    """Paths of the clips, relative to the folder."""

    def __len__(self) -> int:
        return len(self.clip)

    def thinned(self, rate: float = FRAMES_A_SECOND) -> MotionFrames:
        """At most `rate` frames per second of each clip."""
        moment = np.floor(self.seconds * rate + 1e-6)
        kept = np.concatenate([[True], (moment[1:] != moment[:-1]) | (self.clip[1:] != self.clip[:-1])])
        return self.select(torch.from_numpy(np.flatnonzero(kept)))

    def select(self, rows: Int[Tensor, " M"]) -> MotionFrames:
        """Some of the frames."""
        at = rows.numpy()
        return MotionFrames(
            self.body_pose[rows], self.root_orient[rows], self.clip[at], self.seconds[at], self.clips
        )  # fmt: skip


def read_frames(folder: Path, clips: Sequence[Path], rate: float = FRAMES_A_SECOND) -> MotionFrames:
    """Frames of some clips of a folder, at most `rate` per second. Files that hold no motion are left out with a
    warning; raises BodyfitError where nothing remains."""
    poses, roots, places, times, names = [], [], [], [], []
    for path in clips:
        try:
            motion = read_motion(path)
        except MocapError as error:
            log.warning("left out: %s", error)
            continue
        rows = np.arange(0, len(motion.body_pose), max(1, round(motion.frame_rate / rate)))
        root = motion.root_orient[rows]
        poses.append(motion.body_pose[rows])
        roots.append(root if motion.flavour == "root and body" else y_up(root))
        places.append(np.full(len(rows), len(names)))
        times.append(rows / motion.frame_rate)
        names.append(path.relative_to(folder).as_posix())
    if not poses:
        raise BodyfitError(f"{folder}: no motion to choose frames from")
    body, root = (torch.from_numpy(np.concatenate(rows).astype(np.float32)) for rows in (poses, roots))
    return MotionFrames(body, root, np.concatenate(places), np.concatenate(times), tuple(names))


def random_rows(frames: MotionFrames, count: int, *, seed: int) -> Int[Tensor, " K"]:
    """A random frame of a random clip, `count` times."""
    sizes = np.bincount(frames.clip, minlength=len(frames.clips))
    weights = torch.from_numpy(1.0 / sizes[frames.clip])
    return torch.multinomial(weights, count, replacement=True, generator=torch.Generator().manual_seed(seed))


def held_out_splits(folder: Path, *beginnings: str) -> list[str]:
    """Names of the splits of a folder's splits.json that begin with one of these words; BodyfitError if none does."""
    path = folder / "splits.json"
    if not path.is_file():
        raise BodyfitError(f"{path}: not found. Far and floor poses need lists of clips by split name: train, test")
    names = [name for name in read_json(path) if name.startswith(beginnings)]
    if not names:
        raise BodyfitError(f"{path}: no split whose name begins with {' or '.join(beginnings)}")
    return names


def joint_positions(body_pose: Float[Tensor, "N 63"], *, mirrored: bool = False) -> Float[Tensor, "N 63"]:
    """Positions of the 21 joints relative to the pelvis in its own frame, m, on the prior's fixed skeleton."""
    parts = []
    for some in body_pose.split(4096):
        rotations = matrices_from_axis_angle(some)
        parts.append(pose_skeleton(mirror(rotations) if mirrored else rotations)[0][:, 1:].flatten(1))
    return torch.cat(parts)


def distance_from_training(poses: Float[Tensor, "N 63"], training: Float[Tensor, "M 63"]) -> Float[Tensor, " N"]:
    """Root mean square distance of the 21 joints, with pelvis on pelvis, from the nearest training pose or the mirror
    image of one, mm. Neither the orientation of the body nor its shape plays a part."""
    known = torch.cat([joint_positions(training), joint_positions(training, mirrored=True)])
    nearest = [torch.cdist(some, known).amin(1) for some in joint_positions(poses).split(512)]
    return 1000 * torch.cat(nearest) / 21**0.5


def spread_out(frames: MotionFrames, order: Int[Tensor, " M"], count: int) -> Int[Tensor, " K"]:
    """The first `count` rows of an order, but at most PER_CLIP of a clip, and these APART_S apart."""
    chosen: list[int] = []
    times: dict[int, list[float]] = {}
    for row in order.tolist():
        taken = times.setdefault(int(frames.clip[row]), [])
        now = float(frames.seconds[row])
        if len(taken) < PER_CLIP and all(abs(now - other) >= APART_S for other in taken):
            taken.append(now)
            chosen.append(row)
            if len(chosen) == count:
                break
    return torch.tensor(chosen, dtype=torch.long)


def far_frames(frames: MotionFrames, training: Float[Tensor, "M 63"], count: int) -> tuple[MotionFrames, Tensor]:
    """The frames farthest from the training poses (`distance_from_training`), spread over clips, and their distances,
    mm, farthest first; fewer than `count` if there are not as many."""
    if not count:
        return frames.select(torch.zeros(0, dtype=torch.long)), torch.zeros(0)
    distance = distance_from_training(frames.body_pose, training)
    rows = spread_out(frames, distance.argsort(descending=True, stable=True), count)
    return frames.select(rows), distance[rows]


def floor_kinds(frames: MotionFrames) -> dict[str, Int[Tensor, " M"]]:
    """Rows of the frames whose pelvis is tilted by more than TILT_DEG from upright: "inverted", "low" (lying, crawling,
    sitting on the ground: the pelvis is near the lowest joint) and "leaning" (all others)."""
    turns = roma.rotvec_to_rotmat(frames.root_orient)
    tilt = torch.rad2deg(torch.arccos(turns[:, 1, 1].clamp(-1, 1)))
    height = joint_positions(frames.body_pose).unflatten(1, (21, 3)) @ turns.transpose(1, 2)
    standing = -joint_positions(torch.zeros(1, 63)).unflatten(1, (21, 3))[..., 1].amin()
    low = -height[..., 1].amin(1) < LOW_SHARE * standing
    inverted = tilt > INVERTED_DEG
    kinds = {"inverted": inverted, "low": low & ~inverted, "leaning": ~low & ~inverted}
    return {name: torch.nonzero((tilt > TILT_DEG) & rows).flatten() for name, rows in kinds.items()}


def floor_frames(frames: MotionFrames, count: int, *, seed: int = 0) -> tuple[MotionFrames, dict[str, int]]:
    """Random floor and acrobatic frames, spread over clips: equally many of each of `floor_kinds` as far as there are,
    and how many of each; fewer than `count` if there are not as many."""
    generator, kinds = torch.Generator().manual_seed(seed), floor_kinds(frames)
    found = {
        name: spread_out(frames, rows[torch.randperm(len(rows), generator=generator)], count)
        for name, rows in kinds.items()
    }
    chosen: list[Tensor] = []
    taken, left = {}, count
    for place, name in enumerate(sorted(found, key=lambda name: len(found[name]))):  # the rarest kind first
        rows = found[name][: left // (len(found) - place)]
        taken[name], left = len(rows), left - len(rows)
        chosen.append(rows)
    return frames.select(torch.cat(chosen)), taken


def far_and_floor(
    folder: Path, *, far: int, floor: int, seed: int = 0
) -> tuple[tuple[MotionFrames, Tensor], tuple[MotionFrames, dict[str, int]]]:
    """The two sets of a folder of motion: of its test splits the frames farthest from the split "train", with their
    distances, mm; of its test and validation splits floor and acrobatic ones, with the number of each kind.

    Raises:
        BodyfitError: without a splits.json with "train" and a split whose name begins with "test".
    """
    tests = held_out_splits(folder, "test")
    training = read_frames(folder, split_clips(folder, "train"))
    test = read_frames(folder, [clip for name in tests for clip in split_clips(folder, name)])
    held_out = held_out_splits(folder, "test", "validation")
    others = read_frames(folder, [clip for name in held_out for clip in split_clips(folder, name)])
    return far_frames(test, training.body_pose, far), floor_frames(others, floor, seed=seed)
