"""The record of one fitted person: fields, units, and what each must be. `result.FitResult` can do things with it."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
from jaxtyping import Float

from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.data.results import modes, posterior
from bodyfit.data.results.checks import (
    ResultError,
    check_covariances,
    checked_image_size,
    checked_names,
    fits_shape,
    plain_value,
)

CONVENTIONS_VERSION = 1
CONVENTIONS = (
    "Metres, radians, pixels. Camera frame of OpenCV: x right, y down, z forward; pixel (0, 0) is the centre of the "
    "top-left pixel of the upright photo. The body in this frame is smplx's forward of betas, expression, "
    "global_orient, body_pose, jaw_pose, leye_pose, reye_pose, left_hand_pose, right_hand_pose, transl with "
    "use_pca=False and flat_hand_mean=True: poses are axis-angle, hands hold 45 numbers with the mean added. "
    "A point projects to focal_px * (x / z, y / z) + center_px. "
    "body_pose is what latent decodes to under the prior that is named."
)

Status = Literal["converged", "max_iterations", "interpolated", "implausible", "failed"]
"""`interpolated`: not seen in this frame of a clip; the pose comes from the frames around it. `implausible`: solved,
but with an error or a depth that no person explains; it counts as failed, its numbers are kept to be looked at."""

UNKNOWN_SIZE = "shape prior"
"""How the `size_source` of people begins whose size nobody gave."""

NAN = float("nan")

Parameters = dict[str, np.ndarray]
"""SMPL-X parameters of one person, axis-angle; at least global_orient (3) and body_pose (63)."""


def _empty() -> Float[np.ndarray, " 0"]:
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class FitRecord:
    """One person's body in one photo. Conventions are in `CONVENTIONS`, which every file repeats."""

    global_orient: Float[np.ndarray, " 3"]
    body_pose: Float[np.ndarray, " 63"]
    left_hand_pose: Float[np.ndarray, " 45"]
    right_hand_pose: Float[np.ndarray, " 45"]
    jaw_pose: Float[np.ndarray, " 3"]
    leye_pose: Float[np.ndarray, " 3"]
    reye_pose: Float[np.ndarray, " 3"]
    betas: Float[np.ndarray, " Nb"]
    expression: Float[np.ndarray, " Ne"]
    transl: Float[np.ndarray, " 3"]
    latent: Float[np.ndarray, " Z"]
    """The pose in the prior's latent space."""
    focal_px: float
    focal_source: str
    """Where the focal length comes from: what the user said, EXIF, or the image's diagonal."""
    center_px: Float[np.ndarray, " 2"]
    image_size: tuple[int, int]
    """(width, height) of the upright photo."""
    landmarks: Float[np.ndarray, "144 3"]
    """As fitted, camera frame, metres; NaN for points that the body model lacks."""
    landmarks_px: Float[np.ndarray, "144 2"]
    """As fitted, projected."""
    keypoints_px: Float[np.ndarray, "144 2"]
    """As detected; 0 where unseen."""
    keypoint_confidence: Float[np.ndarray, " 144"]
    status: Status
    body_model: str
    """Identity of the body model: betas and expressions mean nothing to another one."""
    body_gender: str
    prior: str
    """Identity of the pose prior: the latent means nothing to another one."""
    reason: str = ""
    """What ended the fit, or why it failed and what to do."""
    cost: float = NAN
    error_px: float = NAN
    """Median distance between fitted and detected landmarks over those detected with confidence."""
    error_share: float = NAN
    """The same as a share of the person's size: the longer side of the box around the confident body keypoints."""
    error_share_body: float = NAN
    error_share_hands: float = NAN
    error_share_face: float = NAN
    runner_up_cost: float = NAN
    """Cost of the alternative hypothesis: the other mode of this person, with a limb flipped in depth or from another
    start (docs/uncertainty.md)."""
    runner_up_weight: float = NAN
    """Probability that it is the right one of the two; NaN where there is none, or none was estimated."""
    runner_up_flipped: str = ""
    """What is flipped in it, "left forearm"; empty where it comes from another start."""
    runner_up_global_orient: Float[np.ndarray, " 3"] = field(default_factory=_empty)
    """Its parameters; empty, like the next three, where there is none."""
    runner_up_body_pose: Float[np.ndarray, " 63"] = field(default_factory=_empty)
    runner_up_transl: Float[np.ndarray, " 3"] = field(default_factory=_empty)
    runner_up_betas: Float[np.ndarray, " Nb"] = field(default_factory=_empty)
    further_weight: Float[np.ndarray, " M"] = field(default_factory=_empty)
    """Probabilities of further modes, less probable than the runner-up, the most probable one first; empty, like the
    next six, where there are none."""
    further_flipped: str = ""
    """What is flipped in each of them, "left shin; right forearm"."""
    further_cost: Float[np.ndarray, " M"] = field(default_factory=_empty)
    further_global_orient: Float[np.ndarray, "M 3"] = field(default_factory=_empty)
    further_body_pose: Float[np.ndarray, "M 63"] = field(default_factory=_empty)
    further_transl: Float[np.ndarray, "M 3"] = field(default_factory=_empty)
    further_betas: Float[np.ndarray, "M Nb"] = field(default_factory=_empty)
    ambiguous: bool = False
    """Whether another pose is about as good: a limb may well be flipped in depth, or another start cost nearly as much.
    """
    flip_probability: Float[np.ndarray, " 8"] = field(default_factory=_empty)
    """Probability that each bone of `modes.LIMB_BONES` (upper arm, forearm, thigh, shin; left, then right) is flipped
    in depth: points towards the camera instead of away from it, or the other way round. Empty where not estimated."""
    iterations: int = 0
    seconds: float = NAN
    person_id: str = "000"
    photo: str = ""
    """Path of the photo; empty where there was none."""
    keypoint_source: str = ""
    """Where the keypoints come from: a keypoint file and its format, or a detector."""
    age: str = ""
    """"adult" or "child", and how that is known: given, by proportions, or because the body knows adults alone."""
    age_margin: float = NAN
    """By how much the fit as the other kind costs more, less what is asked of children; NaN where only one kind was
    fitted: because the age was given, or because nothing in the proportions spoke for a child."""
    age_years: float = NAN
    """Of a child: the age that growth charts have for such a body, which one photo says roughly."""
    kid_axis: bool = False
    """Whether the last of `betas` is smplx's kid axis (age="kid"): 0 an adult, 1 the smallest child."""
    stature_m: float = NAN
    """Of the fitted shape, standing, m. How well it is known, `size_source` says."""
    size_source: str = ""
    """What absolute size rests on: a height or shape numbers that were given, or the shape prior, which one photo
    leaves undecided."""
    touching: str = ""
    """Which feet touch the ground: "left foot, right foot", one of them, or "none"; empty where that was not asked for
    (`--ground`), or cannot be told."""
    floor: Float[np.ndarray, " 4"] = field(default_factory=_empty)
    """The plane that people stand on, in the camera frame: a unit normal that points up, and the offset, m; normal .
    point = offset. Empty where none was found."""
    floor_source: str = ""
    """What that plane was found from, or why there is none."""
    lens: Float[np.ndarray, " n"] = field(default_factory=_empty)
    """The camera that took the photo where it is no ideal pinhole, as `photo.lens.Lens.to_array` writes it: fx, fy, cx,
    cy, skew, model (0: OpenCV's, 1: fisheye), distortion. Pixels here are those of the ideal camera (focal_px,
    center_px); `Lens.undistorted_image` makes the photo fit them, `Lens.distorted` leads back. Empty: ideal.
    """
    camera_rotation: Float[np.ndarray, "3 3"] = field(default_factory=_empty)
    """Where the camera stands, from its calibration: camera_rotation @ world + camera_translation is in the camera
    frame. Empty, like the next, where that is not known.
    """
    camera_translation: Float[np.ndarray, " 3"] = field(default_factory=_empty)
    joint_covariance: Float[np.ndarray, "55 3 3"] = field(default_factory=_empty)
    """Covariance of each joint of JOINT_NAMES in the camera frame, m^2 (docs/uncertainty.md); NaN for joints that the
    body lacks. Empty, like the next four, where it was not estimated.
    """
    joint_covariance_root_relative: Float[np.ndarray, "55 3 3"] = field(default_factory=_empty)
    """The same of each joint's position relative to the pelvis: without what is unsure about the whole person."""
    landmark_covariance: Float[np.ndarray, "144 3 3"] = field(default_factory=_empty)
    """The same as joint_covariance of all landmarks, where it was asked for."""
    posterior_factor: Float[np.ndarray, " n"] = field(default_factory=_empty)
    """Square root of the covariance of all unknowns, an upper triangle row by row, from which `sample` draws."""
    posterior_blocks: str = ""
    """What these unknowns are: names and sizes of blocks, "global_orient:3 transl:3 latent:32 ..."."""
    landmark_names: tuple[str, ...] = LANDMARK_NAMES
    """Names of the 144 landmarks, smplx's own."""
    conventions: str = CONVENTIONS
    conventions_version: int = CONVENTIONS_VERSION

    def __post_init__(self) -> None:
        if self.status not in _STATUSES:
            raise ResultError(f"status must be one of {', '.join(_STATUSES)}, got '{self.status}'.")
        values = self.__dict__  # frozen: it cannot be assigned to in the usual way
        for name, shape in _SHAPES.items():
            array = values[name] = np.asarray(values[name], dtype=np.float32 if name in _COVARIANCES else np.float64)
            if not fits_shape(array.shape, shape) and not (array.size == 0 and name in _MAY_BE_ABSENT):
                raise ResultError(f"{name} has shape {array.shape}, expected {shape} (-1: any length).")
        if len({values[name].size > 0 for name in RUNNER_UP}) > 1:
            raise ResultError(f"an alternative hypothesis needs all of {', '.join(RUNNER_UP)}, or none of them.")
        try:
            modes.check_further(values)
        except modes.ModesError as cause:
            raise ResultError(str(cause)) from cause
        for name in _COVARIANCES:
            check_covariances(name, values[name])
        self._check_posterior()
        if not ((values["flip_probability"] >= 0) & (values["flip_probability"] <= 1)).all():
            raise ResultError("flip_probability holds numbers that are no probabilities: expected 0 to 1.")
        for name, kind in _PLAIN.items():
            if type(values[name]) is not kind or kind is str:
                values[name] = _plain(name, kind, values[name])

    def parameters(self) -> dict[str, Float[np.ndarray, "1 n"]]:
        """What smplx's forward, and `pose_body`, take: each parameter under its name, as a batch of one."""
        return {name: getattr(self, name)[None] for name in PARAMETERS}

    def _check_posterior(self) -> None:
        """Raises ResultError for numbers that do not fit their blocks."""
        factor = np.asarray(self.posterior_factor, dtype=np.float32)
        if factor.size or self.posterior_blocks:
            try:
                posterior.check(factor, str(self.posterior_blocks))
            except posterior.PosteriorError as cause:
                raise ResultError(str(cause)) from cause
        object.__setattr__(self, "posterior_factor", factor)


PARAMETERS = (
    *("betas", "expression", "global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose"),
    *("left_hand_pose", "right_hand_pose", "transl"),
)
RUNNER_UP = tuple(f"runner_up_{name}" for name in ("global_orient", "body_pose", "transl", "betas"))
FURTHER = tuple(f"further_{name}" for name in ("global_orient", "body_pose", "transl", "betas"))
_COVARIANCES = ("joint_covariance", "joint_covariance_root_relative", "landmark_covariance")
_CAMERA = ("lens", "camera_rotation", "camera_translation")
_MAY_BE_ABSENT = frozenset((*RUNNER_UP, *FURTHER, *_CAMERA, *_COVARIANCES, "floor", "flip_probability"))
_STATUSES = get_args(Status)
_SHAPES: dict[str, tuple[int, ...]] = {
    **{name: (3,) for name in ("global_orient", "jaw_pose", "leye_pose", "reye_pose", "transl")},
    **{name: (-1,) for name in ("betas", "expression", "latent")},
    **{"body_pose": (63,), "left_hand_pose": (45,), "right_hand_pose": (45,), "center_px": (2,), "floor": (4,)},
    **dict(zip(_CAMERA, ((-1,), (3, 3), (3,)), strict=True)),
    **dict(zip(RUNNER_UP, ((3,), (63,), (3,), (-1,)), strict=True)),
    **dict(zip(FURTHER, ((-1, 3), (-1, 63), (-1, 3), (-1, -1)), strict=True)),
    **{"further_weight": (-1,), "further_cost": (-1,), "flip_probability": (8,)},
    **dict(zip(_COVARIANCES, ((55, 3, 3), (55, 3, 3), (144, 3, 3)), strict=True)),
    **{"landmarks": (144, 3), "landmarks_px": (144, 2), "keypoints_px": (144, 2), "keypoint_confidence": (144,)},
}
_PLAIN: dict[str, Any] = {
    name: hint for name, hint in get_type_hints(FitRecord).items() if hint in (float, int, bool, str)
} | {
    "image_size": checked_image_size,
    "landmark_names": lambda names: checked_names(names, LANDMARK_NAMES),
    "status": str,
}


def _plain(name: str, kind: Any, value: Any) -> Any:
    return value if value is CONVENTIONS else plain_value(name, kind, value)  # CONVENTIONS: of nearly every result
