"""The folds of leave-one-source-out: sources of motion, and the frames that each fold knows and does not know."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.data.motion.mocap import find_motions
from bodyfit.fitting.benchmark.far_poses import MotionFrames, read_frames

TRAINING_RATE = 15.0
"""Frames per second that the start network is trained on; clips recorded slower stay as they are."""
FEWEST_FRAMES = 100
"""With fewer frames nothing can be learnt from a source, or said about it."""


@dataclass(frozen=True)
class Fold:
    """One source, or several small ones together, to be judged on, and all others to be trained on."""

    name: str
    """The names of its sources, joined by +."""
    unseen: MotionFrames
    known: MotionFrames

    def splits(self) -> dict[str, str]:
        """Clip path -> "train" or "validation" of the prior's training: every tenth known clip chooses the epoch."""
        clips = sorted(self.known.clips)
        return {name: "validation" if place % 10 == 0 else "train" for place, name in enumerate(clips)}

    def identity(self) -> dict[str, str]:
        """What tells whether a fold is the same one: its clips, by name and content."""
        digests = {}
        for name, frames in (("unseen", self.unseen), ("known", self.known)):
            digest = hashlib.sha256("\n".join(frames.clips).encode())
            digest.update(frames.body_pose.numpy().tobytes())
            digest.update(frames.root_orient.numpy().tobytes())
            digests[name] = digest.hexdigest()
        return digests


def joined(parts: Sequence[MotionFrames]) -> MotionFrames:
    """Frames of several sources, one after the other."""
    first = np.cumsum([0, *(len(part.clips) for part in parts)])
    return MotionFrames(
        torch.cat([part.body_pose for part in parts]),
        torch.cat([part.root_orient for part in parts]),
        np.concatenate([part.clip + start for part, start in zip(parts, first, strict=False)]),
        np.concatenate([part.seconds for part in parts]),
        tuple(name for part in parts for name in part.clips),
    )


def read_sources(folder: Path) -> dict[str, MotionFrames]:
    """The frames of each source, a folder in `folder`, by its name.

    Raises:
        BodyfitError: where there are fewer than two sources.
    """
    clips: dict[str, list[Path]] = {}
    for path in find_motions(folder):
        parts = path.relative_to(folder).parts
        if len(parts) > 1:
            clips.setdefault(parts[0], []).append(path)
    if len(clips) < 2:
        found = f"only {next(iter(clips))}" if clips else "none"
        raise BodyfitError(
            f"{folder}: expected two sources or more, each a folder of motion files (CMU, ACCAD, ...); found {found}. "
            "Leaving one out needs another to train on."
        )
    return {name: read_frames(folder, paths, TRAINING_RATE) for name, paths in sorted(clips.items())}


def make_folds(sources: dict[str, MotionFrames], least_frames: int) -> dict[str, list[str]]:
    """Names of the folds and of the sources of each: the large sources each by itself, those with fewer than
    `least_frames` frames together."""
    small = [name for name, frames in sources.items() if len(frames) < least_frames]
    folds = {name: [name] for name in sources if name not in small}
    return folds | ({"+".join(small): small} if small else {})


def fold_of(name: str, sources: dict[str, MotionFrames], least_frames: int) -> Fold:
    """The fold of this name.

    Raises:
        BodyfitError: where there is no such fold, or too few frames are left to train on or to judge.
    """
    folds = make_folds(sources, least_frames)
    if name not in folds:
        raise BodyfitError(f"no fold {name!r}. There are {', '.join(folds)}")
    known = [frames for source, frames in sources.items() if source not in folds[name]]
    for frames, what in ((known, "all other sources have"), ([sources[n] for n in folds[name]], f"{name} has")):
        count = sum(map(len, frames))
        if count < FEWEST_FRAMES:
            raise BodyfitError(f"fold {name}: {what} {count} frames of motion, expected {FEWEST_FRAMES} or more")
    return Fold(name, joined([sources[n] for n in folds[name]]), joined(known))
