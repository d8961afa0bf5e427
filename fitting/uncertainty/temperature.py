"""How far Laplace's covariances are off on synthetic people: variances of residuals, and temperatures of joints.

They belong to the prior and the start network that ship, under the default energy.
"""

from __future__ import annotations

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.fitting.uncertainty.laplace import Variances

VARIANCES = Variances(pose_prior=1.6, assumed_rows=5.0)

JOINT_PARTS: dict[str, tuple[str, ...]] = {
    "trunk": ("pelvis", "spine1", "spine2", "spine3", "neck", "left_collar", "right_collar", "head"),
    "hips": ("left_hip", "right_hip"),
    "shoulders": ("left_shoulder", "right_shoulder"),
    "arms": ("left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    "knees": ("left_knee", "right_knee"),
    "feet": ("left_ankle", "right_ankle", "left_foot", "right_foot"),
    "face": ("jaw", "left_eye_smplhf", "right_eye_smplhf"),
    "hands": JOINT_NAMES[25:],
}

TEMPERATURES: dict[str, dict[str, float]] = {
    "camera": dict.fromkeys(JOINT_PARTS, 1.0),
    "root_relative": dict.fromkeys(JOINT_PARTS, 1.0),
}
"""Factors on the covariances of joints in the camera frame, and relative to the pelvis."""

OVERALL = 1.0
"""Factor on the covariance of all unknowns together, from which samples are drawn."""


def part_of(name: str) -> str:
    """The part of a joint or another landmark: finger tips are of the hands, heels and toes of the feet."""
    for part, names in JOINT_PARTS.items():
        if name in names:
            return part
    side, _, rest = name.partition("_")
    if side in ("left", "right") and rest in ("thumb", "index", "middle", "ring", "pinky"):
        return "hands"
    return "feet" if rest in ("heel", "big_toe", "small_toe") else "face"
