"""How far Laplace's covariances are off on synthetic people: variances of residuals, and factors and floors of joints.

They were fitted by

    bodyfit benchmark-uncertainty --poses MOCAP --split validation --elsewhere 0.5 --seed 1 --refit WHOM

with for WHOM

    --people 1024 --noise 0.004 0.008
    --clips 48
    --clips 48 --cameras 3 --moments 15

on subjects that neither prior nor start network were trained on, half of them as if another laboratory had measured
them. They belong to the prior and start network that ship, under the default energy.
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
            **{"pelvis": (0.671, 0), "spine1": (0.752, 0), "spine2": (0.794, 0.006), "spine3": (0.862, 0.01)},
            **{"neck": (0.653, 0.012), "head": (0.774, 0), "collars": (0.565, 0.014), "shoulders": (0.697, 0)},
            **{"elbows": (0.742, 0), "wrists": (1.154, 0), "hips": (0.668, 0), "knees": (0.623, 0)},
            **{"ankles": (0.619, 0), "feet": (0.641, 0), "face": (0.763, 0), "hands": (0.946, 0)},
        },
        ROOT_RELATIVE: {
            **{"pelvis": (1, 0), "spine1": (0.813, 0.002), "spine2": (1.159, 0), "spine3": (1.25, 0)},
            **{"neck": (0.965, 0), "head": (0.868, 0), "collars": (0.929, 0.006), "shoulders": (1.011, 0)},
            **{"elbows": (0.924, 0), "wrists": (0.931, 0), "hips": (0.904, 0), "knees": (0.842, 0)},
            **{"ankles": (0.806, 0), "feet": (0.766, 0), "face": (0.882, 0), "hands": (0.884, 0)},
        },
    },
    CLIP: {
        CAMERA: {
            **{"pelvis": (1.244, 0), "spine1": (1.319, 0), "spine2": (1.536, 0), "spine3": (1.601, 0.01)},
            **{"neck": (1.881, 0), "head": (1.232, 0), "collars": (1.597, 0.012), "shoulders": (1.277, 0)},
            **{"elbows": (1.276, 0), "wrists": (1.203, 0), "hips": (1.251, 0), "knees": (1.348, 0)},
            **{"ankles": (1.32, 0), "feet": (1.309, 0), "face": (1.232, 0), "hands": (1.203, 0)},
        },
        ROOT_RELATIVE: {
            **{"pelvis": (1, 0), "spine1": (0.241, 0.004), "spine2": (0.946, 0), "spine3": (1.169, 0.006)},
            **{"neck": (1.382, 0.004), "head": (1.303, 0), "collars": (1.43, 0.004), "shoulders": (0.954, 0)},
            **{"elbows": (0.792, 0), "wrists": (0.902, 0), "hips": (1.078, 0.002), "knees": (1.411, 0)},
            **{"ankles": (1.439, 0), "feet": (1.328, 0), "face": (1.303, 0), "hands": (0.902, 0)},
        },
    },
    VIEWS: {
        CAMERA: {
            **{"pelvis": (0.272, 0.004), "spine1": (0.557, 0.002), "spine2": (0.713, 0), "spine3": (1.427, 0)},
            **{"neck": (0.2, 0.01), "head": (0.31, 0), "collars": (2.047, 0), "shoulders": (0.25, 0.002)},
            **{"elbows": (0.274, 0), "wrists": (0.264, 0), "hips": (0.337, 0), "knees": (0.265, 0)},
            **{"ankles": (0.217, 0), "feet": (0.208, 0.002), "face": (0.31, 0), "hands": (0.264, 0)},
        },
        ROOT_RELATIVE: {
            **{"pelvis": (1, 0), "spine1": (1.029, 0), "spine2": (0.998, 0), "spine3": (0.231, 0.012)},
            **{"neck": (0.89, 0.006), "head": (0.395, 0), "collars": (1.603, 0), "shoulders": (0.545, 0)},
            **{"elbows": (0.262, 0.006), "wrists": (0.391, 0), "hips": (0.895, 0.002), "knees": (0.574, 0)},
            **{"ankles": (0.2, 0.006), "feet": (0.327, 0.002), "face": (0.395, 0), "hands": (0.391, 0)},
        },
    },
}
"""Of each part, by how people are seen and by frame."""

OVERALL = {PHOTO: 0.86, CLIP: 1.28, VIEWS: 0.61}
"""Factor on the covariance of all unknowns together, from which samples are drawn, by how people are seen; of clips
by the commands above with --clips 101 --seed 101, that is with all validation subjects' motions."""


def part_of(name: str) -> str:
    """The part of a joint or another landmark: finger tips are of the hands, heels and toes of the feet."""
    for part, names in JOINT_PARTS.items():
        if name in names:
            return part
    side, _, rest = name.partition("_")
    if side in ("left", "right") and rest in ("thumb", "index", "middle", "ring", "pinky"):
        return "hands"
    return "feet" if rest in ("heel", "big_toe", "small_toe") else "face"
