"""How far Laplace's covariances are off on synthetic people: variances of residuals, and temperatures of joints.

They were fitted by

    bodyfit benchmark-uncertainty --poses MOCAP --split validation --people 768 --noise 0.004 0.008 --seed 1 --refit

on subjects that neither prior nor start network were trained on, and belong to the prior and start network that ship,
under the default energy.
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
    "camera": {
        **{"trunk": 0.819, "hips": 0.719, "shoulders": 0.708, "arms": 0.839, "knees": 0.707, "feet": 0.732},
        **{"face": 0.746, "hands": 0.908},
    },
    "root_relative": {
        **{"trunk": 0.949, "hips": 0.871, "shoulders": 0.902, "arms": 0.845, "knees": 0.891, "feet": 0.803},
        **{"face": 0.845, "hands": 0.817},
    },
}
"""Factors on the covariances of joints in the camera frame, and relative to the pelvis."""

OVERALL = 0.827
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
