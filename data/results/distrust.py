"""What to distrust about a fit, in words: the parts of the body whose place is least sure, and why.

Places are relative to the pelvis: how far away the whole person is says nothing about a part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bodyfit.data.landmarks import JOINT_NAMES, LANDMARK_INDEX
from bodyfit.data.results.result import FitResult

PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "head": ("head", ("nose", "left_eye", "right_eye", "left_ear", "right_ear")),
    **{
        f"{side} {part}": (f"{side}_{part}", (f"{side}_{part}",))
        for side in ("left", "right")
        for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    },
}
"""Parts that are named: the joint whose place counts, and keypoints that show it, any of them."""
SEEN = 0.1
"""Confidence above which a keypoint counts as seen."""


@dataclass(frozen=True)
class Weakness:
    """How unsure the place of a part is."""

    part: str
    seen: bool
    """Whether there is a keypoint of it."""
    deviation_m: float
    """Standard deviation along the direction in which it is least sure."""
    in_depth: bool
    """Whether that is rather the direction of view than across it."""

    def __str__(self) -> str:
        seen = "" if self.seen else "not seen, "
        return f"{self.part}: {seen}+- {centimetres(self.deviation_m)} {'in depth' if self.in_depth else 'across'}"


def centimetres(metres: float) -> str:
    """A length as people say it: whole centimetres, millimetres below one of them."""
    return f"{100 * metres:.0f} cm" if metres >= 0.01 else f"{1000 * metres:.0f} mm"


def weaknesses(result: FitResult) -> list[Weakness]:
    """All named parts, the least sure first; empty where the covariances are not known."""
    if not result.joint_covariance_root_relative.size:
        return []
    found = []
    for part, (joint, shown_by) in PARTS.items():
        row = JOINT_NAMES.index(joint)
        covariance = result.joint_covariance_root_relative[row].astype(float)
        if not np.isfinite(covariance).all():
            continue
        variances, directions = np.linalg.eigh(covariance)
        view = result.landmarks[LANDMARK_INDEX[joint]]
        along = abs(directions[:, -1] @ view) / max(float(np.linalg.norm(view)), 1e-9)
        seen = any(result.keypoint_confidence[LANDMARK_INDEX[name]] > SEEN for name in shown_by)
        deviation = float(np.sqrt(max(variances[-1], 0.0)))
        found.append(Weakness(part, seen, deviation, bool(along > np.sqrt(0.5))))
    return sorted(found, key=lambda one: -one.deviation_m)


def weakest_part(result: FitResult) -> str:
    """The least sure part in words, "right ankle: not seen, +- 24 cm in depth"; empty where nothing is known."""
    found = weaknesses(result)
    return str(found[0]) if found else ""
