"""Whether fits over time know how sure they are: as `calibration`, of the body's joints in synthetic clips."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.fitting.benchmark.calibration import FRAMES, Errors
from bodyfit.fitting.benchmark.sequences import Clip, track_joints
from bodyfit.fitting.sequence.group import fit_group
from bodyfit.fitting.solve.fitter import Fitter

log = logging.getLogger(__name__)


def errors_over_time(fitter: Fitter, clips: Iterable[Clip]) -> Errors:
    """Errors of the body's joints at all moments that were seen; the other joints are NaN.

    Args:
        fitter: estimates uncertainty.
        clips: of one camera, or of several.
    """
    apart, covariances = [], {name: [] for name in FRAMES.values()}
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
        log.info("clip %d, %d moments", number, len(track))
    return Errors.of(np.concatenate(apart), {name: np.concatenate(some) for name, some in covariances.items()})
