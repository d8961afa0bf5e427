"""How far Laplace's covariances are off on synthetic people: variances of residuals, and factors and floors of joints.

They were fitted by

    bodyfit benchmark-uncertainty --poses MOCAP --split validation --people 1024 --noise 0.004 0.008 --seed 1 --refit
    bodyfit benchmark-uncertainty --poses MOCAP --split validation --clips 48 --seed 1 --refit
    bodyfit benchmark-uncertainty --poses MOCAP --split validation --clips 48 --cameras 3 --moments 15 --seed 1 --refit

on subjects that neither prior nor start network were trained on, and belong to the prior and start network that ship,
under the default energy.
"""

from __future__ import annotations

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.fitting.uncertainty.laplace import Variances

VARIANCES = Variances(pose_prior=1.6, assumed_rows=0.5)


def _pair(name: str) -> tuple[str, str]:
    return f"left_{name}", f"right_{name}"


JOINT_PARTS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("pelvis", "spine1", "spine2", "spine3", "neck", "head")},
    "collars": _pair("collar"),
    "shoulders": _pair("shoulder"),
    "elbows": _pair("elbow"),
    "wrists": _pair("wrist"),
    "hips": _pair("hip"),
    "knees": _pair("knee"),
    "ankles": _pair("ankle"),
    "feet": _pair("foot"),
    "face": ("jaw", "left_eye_smplhf", "right_eye_smplhf"),
    "hands": JOINT_NAMES[25:],
}

PHOTO, CLIP, VIEWS = "photo", "clip", "views"
"""A person in one photo, over time by one camera, and by several calibrated cameras."""
CAMERA, ROOT_RELATIVE = "camera", "root_relative"
"""Places in the frame of the fit, and relative to the pelvis."""

Scale = tuple[float, float]
"""A factor on a covariance, and a standard deviation in m that is added in all directions: what the body and the
definition of its joints are wrong by, however many keypoints there are."""

SCALES: dict[str, dict[str, dict[str, Scale]]] = {
    PHOTO: {
        CAMERA: {
            **{"pelvis": (0.627, 0), "spine1": (0.657, 0), "spine2": (0.722, 0), "spine3": (0.896, 0)},
            **{"neck": (0.777, 0.002), "head": (0.69, 0), "collars": (0.804, 0), "shoulders": (0.645, 0)},
            **{"elbows": (0.703, 0), "wrists": (0.898, 0), "hips": (0.635, 0), "knees": (0.629, 0)},
            **{"ankles": (0.632, 0), "feet": (0.64, 0.002), "face": (0.702, 0), "hands": (0.909, 0)},
        },
        ROOT_RELATIVE: {
            **{"pelvis": (1, 0), "spine1": (0.843, 0), "spine2": (0.965, 0), "spine3": (1.126, 0)},
            **{"neck": (0.719, 0.01), "head": (0.803, 0), "collars": (0.897, 0), "shoulders": (0.828, 0)},
            **{"elbows": (0.726, 0.004), "wrists": (0.758, 0), "hips": (0.842, 0), "knees": (0.801, 0)},
            **{"ankles": (0.763, 0), "feet": (0.708, 0), "face": (0.813, 0), "hands": (0.744, 0)},
        },
    },
    CLIP: {
        CAMERA: {
            **{"pelvis": (0.964, 0), "spine1": (1.033, 0), "spine2": (1.061, 0), "spine3": (1.217, 0)},
            **{"neck": (1.228, 0), "head": (0.937, 0), "collars": (1.26, 0), "shoulders": (0.947, 0)},
            **{"elbows": (0.936, 0), "wrists": (0.824, 0), "hips": (0.97, 0), "knees": (1.005, 0)},
            **{"ankles": (0.91, 0), "feet": (0.936, 0), "face": (0.937, 0), "hands": (0.824, 0)},
        },
        ROOT_RELATIVE: {
            **{"pelvis": (1, 0), "spine1": (0.739, 0), "spine2": (0.753, 0), "spine3": (1.111, 0)},
            **{"neck": (0.737, 0.01), "head": (0.84, 0.008), "collars": (1.097, 0.004), "shoulders": (0.783, 0.004)},
            **{"elbows": (0.694, 0), "wrists": (0.68, 0), "hips": (0.325, 0.006), "knees": (1.113, 0)},
            **{"ankles": (1.088, 0), "feet": (0.977, 0), "face": (0.84, 0.008), "hands": (0.68, 0)},
        },
    },
    VIEWS: {
        CAMERA: {
            **{"pelvis": (0.359, 0), "spine1": (0.28, 0.006), "spine2": (0.517, 0), "spine3": (0.694, 0)},
            **{"neck": (0.278, 0.004), "head": (0.224, 0.002), "collars": (0.79, 0), "shoulders": (0.23, 0)},
            **{"elbows": (0.248, 0), "wrists": (0.217, 0), "hips": (0.324, 0), "knees": (0.246, 0.002)},
            **{"ankles": (0.2, 0), "feet": (0.2, 0.002), "face": (0.224, 0.002), "hands": (0.217, 0)},
        },
        ROOT_RELATIVE: {
            **{"pelvis": (1, 0), "spine1": (0.676, 0), "spine2": (0.532, 0.002), "spine3": (0.214, 0.008)},
            **{"neck": (0.587, 0), "head": (0.322, 0), "collars": (0.852, 0), "shoulders": (0.2, 0.006)},
            **{"elbows": (0.347, 0), "wrists": (0.242, 0.004), "hips": (0.612, 0.002), "knees": (0.584, 0)},
            **{"ankles": (0.247, 0.004), "feet": (0.295, 0.002), "face": (0.322, 0), "hands": (0.242, 0.004)},
        },
    },
}
"""Of each part, by how people are seen and by frame."""

OVERALL = 0.763
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
