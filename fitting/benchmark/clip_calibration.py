"""Whether fits over time know how sure they are: as `calibration` and `flips`, of the body in synthetic clips."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.fitting.benchmark.calibration import FRAMES, Errors
from bodyfit.fitting.benchmark.flips import of_probabilities
from bodyfit.fitting.benchmark.sequences import Clip, track_joints
from bodyfit.fitting.sequence.group import fit_group
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.uncertainty.flip_probability import fitted_offset
from bodyfit.fitting.uncertainty.flips import flipped_bones

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipFlips:
    """Flipped bones at all M moments that were seen, of clips by one camera."""

    flipped: Bool[np.ndarray, "M 8"]
    probability: Float[np.ndarray, "M 8"]
    seconds: tuple[float, ...]
    """How long each bone stays flipped without a break."""


def study_over_time(fitter: Fitter, clips: Iterable[Clip]) -> tuple[Errors, ClipFlips | None]:
    """Errors of the body's joints at all moments that were seen, the other joints are NaN; and flipped bones, None of
    several cameras.

    Args:
        fitter: estimates uncertainty.
        clips: of one camera, or of several.
    """
    apart, covariances = [], {name: [] for name in FRAMES.values()}
    flipped, probability, seconds = [], [], []
    for number, clip in enumerate(clips, 1):
        track = fit_group(fitter, clip.sightings, fps=clip.fps)
        seen = track.views > 0
        if not len(track.joint_covariance):
            log.warning("clip %d has no covariances: left out", number)
            continue
        joints, truth = track_joints(fitter, track).double().numpy(), clip.joints[track.moments].double().numpy()
        away = np.full((len(track), len(JOINT_NAMES), 3), np.nan)
        away[:, : joints.shape[1]] = joints - truth
        apart.append(away[seen])
        for name, some in covariances.items():
            some.append(getattr(track, name)[seen])
        if len(track.flip_probability):
            wrong = flipped_bones(torch.as_tensor(joints), torch.as_tensor(truth)).numpy()
            flipped.append(wrong[seen])
            probability.append(track.flip_probability[seen])
            seconds += [length / clip.fps for column in wrong.T for length in _lengths(column)]
        log.info("clip %d, %d moments", number, len(track))
    errors = Errors.of(np.concatenate(apart), {name: np.concatenate(some) for name, some in covariances.items()})
    if not flipped:
        return errors, None
    return errors, ClipFlips(np.concatenate(flipped), np.concatenate(probability), tuple(seconds))


def _lengths(flipped: Bool[np.ndarray, " T"]) -> list[int]:
    """Of each run of moments at which a bone is flipped."""
    return [len(list(run)) for yes, run in itertools.groupby(flipped.tolist()) if yes]


def figures(flips: ClipFlips) -> dict[str, Any]:
    """As `flips.of_probabilities`, of moments; and how long flips last, s: `median_seconds`, `longest_seconds`."""
    found = of_probabilities(flips.flipped, flips.probability)
    if flips.seconds:
        found |= {"median_seconds": float(np.median(flips.seconds)), "longest_seconds": max(flips.seconds)}
    return found


def refitted_offset(flips: ClipFlips, shipped: float) -> float:
    """`flip_coefficients.CLIP_OFFSET` by these clips, given the one that ships."""
    found = fitted_offset(torch.as_tensor(flips.probability), torch.as_tensor(flips.flipped))
    return round(shipped + found, 2)
