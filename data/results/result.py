"""What a fit found out about one person, and its files: .npz (complete), .json (the same), .pkl (SMPLify-X's)."""

import copy
import json
import math
import pickle
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_type_hints

import numpy as np
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import ArrayFile, read_json, write_bytes_atomically
from bodyfit.data.landmarks import JOINT_NAMES, LANDMARK_NAMES
from bodyfit.data.lazy import LazyModule
from bodyfit.data.results import modes, posterior
from bodyfit.data.results.npz import npz_bytes

if TYPE_CHECKING:
    import torch
    import trimesh

    from bodyfit.data.body import body_model as body_models  # body_model is a field of FitResult
    from bodyfit.data.body import measures, posing
else:  # results are read, compared and put into tables without any of these, which take seconds
    torch, trimesh = LazyModule("torch"), LazyModule("trimesh")
    body_models, posing = LazyModule("bodyfit.data.body.body_model"), LazyModule("bodyfit.data.body.posing")
    measures = LazyModule("bodyfit.data.body.measures")

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

_MAX_FIELD_BYTES = 16 * 1024**2
"""Far above any field of a result, and above all of them written as JSON."""
_LARGEST_IMAGE = 1_000_000
"""Pixels of a side, above any photo's."""
_LONGEST_TEXT = 10_000

UNKNOWN_SIZE = "shape prior"
"""How the `size_source` of people begins whose size nobody gave."""

NAN = float("nan")

Parameters = dict[str, np.ndarray]
"""SMPL-X parameters of one person, axis-angle; at least global_orient (3) and body_pose (63)."""


class ResultError(BodyfitError):
    """A result file that cannot be read or written."""


def _empty() -> Float[np.ndarray, " 0"]:
    return np.zeros(0)


class Joints(NamedTuple):
    """The joints of a fitted body: `names, xyz, px = result.joints()`."""

    names: tuple[str, ...]
    """Of the J joints: all 55 of SMPL-X, or those that the body has."""
    xyz: Float[np.ndarray, "J 3"]
    """Metres, in the camera frame."""
    px: Float[np.ndarray, "J 2"]
    """Where they are in the photo."""


@dataclass(frozen=True, eq=False)
class FitResult:
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
            if not _fits(array.shape, shape) and not (array.size == 0 and name in _MAY_BE_ABSENT):
                raise ResultError(f"{name} has shape {array.shape}, expected {shape} (-1: any length).")
        if len({values[name].size > 0 for name in _RUNNER_UP}) > 1:
            raise ResultError(f"an alternative hypothesis needs all of {', '.join(_RUNNER_UP)}, or none of them.")
        try:
            modes.check_further(values)
        except modes.ModesError as cause:
            raise ResultError(str(cause)) from cause
        for name in _COVARIANCES:
            _check_covariances(name, values[name])
        self._check_posterior()
        if not ((values["flip_probability"] >= 0) & (values["flip_probability"] <= 1)).all():
            raise ResultError("flip_probability holds numbers that are no probabilities: expected 0 to 1.")
        for name, kind in _PLAIN.items():
            if type(values[name]) is not kind or kind is str:
                values[name] = _plain(name, kind, values[name])

    def parameters(self) -> dict[str, Float[np.ndarray, "1 n"]]:
        """What smplx's forward, and `pose_body`, take: each parameter under its name, as a batch of one."""
        return {name: getattr(self, name)[None] for name in _PARAMETERS}

    def smplx_parameters(self, dtype: "torch.dtype | None" = None) -> "dict[str, torch.Tensor]":
        """`parameters` as tensors on the CPU, float32 unless `dtype` says otherwise.

            model = smplx.create(path, "smplx", use_pca=False, flat_hand_mean=True, num_betas=10)
            vertices = model(**result.smplx_parameters()).vertices

        Raises ResultError for a person whose fit failed.
        """
        self._must_be_fitted()
        return {name: torch.as_tensor(value, dtype=dtype or torch.float32) for name, value in self.parameters().items()}

    def mesh(self, body: "body_models.BodyModel | None" = None) -> "trimesh.Trimesh":
        """The body as a mesh: metres, in the camera frame, vertices and faces in the body model's order.

        Args:
            body: The body model that this result was fitted with; None: the open body, where it was that.

        Raises:
            ResultError: where the fit failed, or the result belongs to another body than the one at hand.
        """
        body = self._body_at_hand(body)
        vertices = posing.pose_body(body, **self.smplx_parameters(torch.float64)).vertices[0].numpy()
        return trimesh.Trimesh(vertices, body.faces, process=False)

    def measure(self, body: "body_models.BodyModel | None" = None) -> "measures.Measures":
        """Stature, inseam, arm span, girths, volume and mass of the person's shape: metres, m^3, kg.

        The pose does not matter: the shape is measured standing, in pose zero. From one photo, absolute size is a guess
        (`data.body.measures.SCALE_NOTE`).

        Args:
            body: The body model that this result was fitted with; None: the open body, where it was that.

        Raises:
            ResultError: where the fit failed, or the result belongs to another body than the one at hand.
        """
        return measures.measure_body(self._body_at_hand(body), self.betas)

    def joints(self) -> Joints:
        """Names and positions of the joints. The rest (skin and face points) is in `landmarks`.

        Raises ResultError for a person whose fit failed.
        """
        self._must_be_fitted()
        rows = [self.landmark_names.index(name) for name in JOINT_NAMES]
        there = [row for row in rows if np.isfinite(self.landmarks[row]).all()]
        names = tuple(self.landmark_names[row] for row in there)
        return Joints(names, self.landmarks[there], self.landmarks_px[there])

    def block_covariance(self, block: str) -> Float[np.ndarray, "n n"]:
        """Covariance of a block of unknowns: global_orient, transl, latent, betas, expression, jaw_pose, left_hand or
        right_hand (coefficients of the hands' components), log_focal where it was refined.

        Raises ResultError where the posterior was not kept, or has no such block.
        """
        rows = self._posterior_rows()
        if block not in rows:
            raise ResultError(f"no block '{block}' in the posterior. It has {', '.join(rows)}.")
        return rows[block] @ rows[block].T

    def sample(
        self,
        count: int,
        *,
        prior: "posterior.Decodes | None" = None,
        body: "body_models.BodyModel | None" = None,
        seed: int = 0,
    ) -> dict[str, Float[np.ndarray, "N n"]]:
        """Draws from this person's posterior: parameters that explain the keypoints, by name, as `pose_body` takes.

        They tell how sure whatever is computed from the parameters is: compute it of each, and look at the spread.

        Args:
            count: how many.
            prior: the pose prior that the person was fitted with; None: it, where this result comes from a fit in this
                program. Results that were read from files do not hold it: `prior=bodyfit.load_prior()`.
            body: The body model that this result was fitted with; None: the open body, where it was that.
            seed: the same seed draws the same.

        Raises:
            ResultError: where the posterior was not kept, or the prior or the body is another one.
        """
        rows = self._posterior_rows()
        prior = prior if prior is not None else self.__dict__.get("_prior")
        if prior is None:
            raise ResultError(
                f"sample() needs the pose prior that person {self.person_id} was fitted with ('{self.prior}'): "
                "sample(n, prior=bodyfit.load_prior()) for the shipped one."
            )
        if prior.name != self.prior:
            raise ResultError(f"person {self.person_id} was fitted with the prior '{self.prior}', not '{prior.name}'.")
        body = self._body_at_hand(body)
        given = self.parameters()
        return posterior.sample(given, self.latent, self.focal_px, rows, count, prior=prior, body=body, seed=seed)

    def with_prior(self, prior: "posterior.Decodes") -> "FitResult":
        """The same result, which knows its prior: `sample` then needs none. Files and pickles do not keep it."""
        known = copy.copy(self)
        object.__setattr__(known, "_prior", prior)
        return known

    def without_posterior(self) -> "FitResult":
        """The same result without what `sample` draws from, which is as large as all the rest."""
        known = copy.copy(self)
        object.__setattr__(known, "posterior_factor", np.zeros(0, np.float32))
        object.__setattr__(known, "posterior_blocks", "")
        return known

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_prior"}

    def _posterior_rows(self) -> dict[str, Float[np.ndarray, "k D"]]:
        self._must_be_fitted()
        if not self.posterior_factor.size:
            raise ResultError(
                f"person {self.person_id}: the posterior was not kept. `bodyfit fit --posterior` writes it to files."
            )
        return posterior.unpacked(self.posterior_factor, self.posterior_blocks)

    def _check_posterior(self) -> None:
        """Raises ResultError for numbers that do not fit their blocks."""
        factor = np.asarray(self.posterior_factor, dtype=np.float32)
        if factor.size or self.posterior_blocks:
            try:
                posterior.check(factor, str(self.posterior_blocks))
            except posterior.PosteriorError as cause:
                raise ResultError(str(cause)) from cause
        object.__setattr__(self, "posterior_factor", factor)

    def _body_at_hand(self, body: "body_models.BodyModel | None") -> "body_models.BodyModel":
        """The body given, or the open one. Raises ResultError as `mesh` says."""
        self._must_be_fitted()
        if body is None:
            count = len(self.betas) - self.kid_axis
            body = _open_body(self.body_gender, count, len(self.expression), self.kid_axis)
        if body.name != self.body_model:
            raise ResultError(
                f"person {self.person_id} was fitted with the body '{self.body_model}', but the one at hand is "
                f"'{body.name}': numbers mean nothing to another body. Give the right one to mesh() or measure()."
            )
        return body

    def _must_be_fitted(self) -> None:
        if self.status == "failed":
            raise ResultError(f"person {self.person_id} of {self.photo or 'no photo'} was not fitted: {self.reason}")

    @property
    def has_runner_up(self) -> bool:
        """Whether the body of the alternative hypothesis was kept."""
        return self.runner_up_body_pose.size > 0

    def runner_up_parameters(self) -> dict[str, Float[np.ndarray, "1 n"]]:
        """`parameters` of the alternative hypothesis; hands, jaw, eyes and expression are this one's.

        Raises ResultError where there is no alternative hypothesis.
        """
        if not self.has_runner_up:
            raise ResultError(
                f"person {self.person_id} of {self.photo or 'no photo'}: no alternative hypothesis was kept."
            )
        other = {name.removeprefix("runner_up_"): getattr(self, name)[None] for name in _RUNNER_UP}
        return self.parameters() | other

    def further_parameters(self, n: int) -> dict[str, Float[np.ndarray, "1 n"]]:
        """`runner_up_parameters` of a further mode, counted from 0."""
        other = {name.removeprefix("further_"): getattr(self, name)[n : n + 1] for name in _FURTHER}
        return self.parameters() | other

    @property
    def modes(self) -> "tuple[modes.Mode, ...]":
        """The poses that this person may have, with weights: the best one, then the alternatives that were kept, the
        most probable one first.

        for mode in result.modes:
            mode.weight, mode.words, mode.parameters["body_pose"]
        """
        return modes.modes(self)

    def save(self, path: Path | str) -> Path:
        """Write .npz, .json or .pkl, by the suffix. Raises ResultError for another one."""
        path = Path(path)
        content = {".npz": self._npz, ".json": self._json, ".pkl": self._pkl}.get(path.suffix.lower())
        if content is None:
            raise ResultError(f"{path}: a result ends in .npz, .json or .pkl, not '{path.suffix}'.")
        return write_bytes_atomically(path, content())

    @classmethod
    def load(cls, path: Path | str) -> "FitResult":
        """Read what `save` wrote as .npz or .json.

        A .pkl holds too little to be a result. Raises ResultError naming what is missing or does not fit.
        """
        path = Path(path)
        reader = {".npz": _read_npz, ".json": _read_json}.get(path.suffix.lower())
        if reader is None:
            raise ResultError(f"{path}: expected a result in .npz or .json, found '{path.suffix}'.")
        content = reader(path)
        missing = [f.name for f in fields(cls) if f.name not in content and _is_required(f)]
        if missing:
            raise ResultError(f"{path}: not a complete result, it has no {', '.join(missing)}. Was bodyfit its writer?")
        version = content.get("conventions_version", 0)
        if not isinstance(version, int) or isinstance(version, bool):
            raise ResultError(f"{path}: conventions_version is {version!r:.40}, expected a whole number.")
        if version > CONVENTIONS_VERSION:
            raise ResultError(
                f"{path}: written by a newer bodyfit (conventions {content['conventions_version']}, this one knows "
                f"{CONVENTIONS_VERSION}). Update bodyfit."
            )
        try:
            result = cls(**content)
            if not all(np.isfinite(array).all() for array in (*result.parameters().values(), result.center_px)):
                raise ResultError("its parameters are not finite numbers.")
            if not 0 < result.focal_px < math.inf:
                raise ResultError(f"its focal length is {result.focal_px} px, expected more than 0.")
            return result
        except (TypeError, ValueError, OverflowError) as cause:
            raise ResultError(f"{path}: {cause!s:.300}") from cause

    def _npz(self) -> bytes:
        arrays = {name: np.asarray(getattr(self, name)) for name in _FIELDS}
        return npz_bytes(arrays | {"landmark_names": _as_array(self.landmark_names)})

    def _json(self) -> bytes:
        content = {name: _to_json(getattr(self, name)) for name in _FIELDS}
        return json.dumps(content, indent=1, allow_nan=False).encode()

    def _pkl(self) -> bytes:
        return pickle.dumps(self.smplify_x(), protocol=2)

    def smplify_x(self, latent: Float[np.ndarray, " Z"] | None = None) -> dict[str, Float[np.ndarray, "1 n"]]:
        """SMPLify-X's keys and shapes: the body stands in its own frame and the camera is moved, which is the same.

        `body_pose` holds 63 axis-angle numbers, or the `latent` of the VPoser that SMPLify-X is to be used with, as its
        own files do. A hand holds 45 where it wrote 12.
        """
        content = {name: value.astype(np.float32) for name, value in self.parameters().items() if name != "transl"}
        if latent is not None:
            content["body_pose"] = np.asarray(latent, dtype=np.float32)[None]
        camera = {
            "camera_rotation": np.eye(3, dtype=np.float32)[None],
            "camera_translation": self.transl[None].astype(np.float32),
        }
        return camera | content


@lru_cache(maxsize=6)
def _open_body(gender: str, num_betas: int, num_expression: int, kid: bool) -> "body_models.BodyModel":
    return body_models.load_body_model(gender=gender, num_betas=num_betas, num_expression=num_expression, kid=kid)


@lru_cache(maxsize=4)
def _as_array(names: tuple[str, ...]) -> np.ndarray:
    """Texts as an array: the same in every result."""
    return np.asarray(names)


_FIELDS = tuple(f.name for f in fields(FitResult))
_PARAMETERS = (
    *("betas", "expression", "global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose"),
    *("left_hand_pose", "right_hand_pose", "transl"),
)
_RUNNER_UP = tuple(f"runner_up_{name}" for name in ("global_orient", "body_pose", "transl", "betas"))
_FURTHER = tuple(f"further_{name}" for name in ("global_orient", "body_pose", "transl", "betas"))
_COVARIANCES = ("joint_covariance", "joint_covariance_root_relative", "landmark_covariance")
_CAMERA = ("lens", "camera_rotation", "camera_translation")
_MAY_BE_ABSENT = frozenset((*_RUNNER_UP, *_FURTHER, *_CAMERA, *_COVARIANCES, "floor", "flip_probability"))
_STATUSES = get_args(Status)
_SHAPES: dict[str, tuple[int, ...]] = {
    **{name: (3,) for name in ("global_orient", "jaw_pose", "leye_pose", "reye_pose", "transl")},
    **{name: (-1,) for name in ("betas", "expression", "latent")},
    **{"body_pose": (63,), "left_hand_pose": (45,), "right_hand_pose": (45,), "center_px": (2,), "floor": (4,)},
    **dict(zip(_CAMERA, ((-1,), (3, 3), (3,)), strict=True)),
    **dict(zip(_RUNNER_UP, ((3,), (63,), (3,), (-1,)), strict=True)),
    **dict(zip(_FURTHER, ((-1, 3), (-1, 63), (-1, 3), (-1, -1)), strict=True)),
    **{"further_weight": (-1,), "further_cost": (-1,), "flip_probability": (8,)},
    **dict(zip(_COVARIANCES, ((55, 3, 3), (55, 3, 3), (144, 3, 3)), strict=True)),
    **{"landmarks": (144, 3), "landmarks_px": (144, 2), "keypoints_px": (144, 2), "keypoint_confidence": (144,)},
}
_PLAIN: dict[str, Any] = {
    name: hint for name, hint in get_type_hints(FitResult).items() if hint in (float, int, bool, str)
} | {
    "image_size": lambda size: _checked_image_size(size),
    "landmark_names": lambda names: _checked_names(names),
    "status": str,
}


def _plain(name: str, kind: Any, value: Any) -> Any:
    """A number, truth value or text of Python. Raises ResultError for what is none, and for a text like a book."""
    if value is CONVENTIONS:  # of nearly every result
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    wanted = {float: (int, float), int: (int,), bool: (bool,), str: (str,)}.get(kind, object)
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind in (int, float)):
        raise ResultError(f"{name} is {value!r:.60}, expected {kind.__name__}.")
    if kind is str and (len(value) > _LONGEST_TEXT or "\0" in value):
        raise ResultError(f"{name} is a text of {len(value)} letters, expected at most {_LONGEST_TEXT}, without NUL.")
    return kind(value)


def _check_covariances(name: str, covariances: np.ndarray) -> None:
    """Raises ResultError for matrices that are no covariances; NaN is a joint that is not there."""
    if not covariances.size:
        return
    known = covariances[np.isfinite(covariances).all(axis=(-2, -1))]
    if not known.size:
        raise ResultError(f"{name} holds no finite matrix. Expected an empty array where nothing is known.")
    size = np.einsum("kii->ki", known)
    if (size < 0).any() or np.abs(known - known.swapaxes(1, 2)).max() > 1e-4 * size.max():
        raise ResultError(
            f"{name} has matrices that are no covariances: expected symmetric ones, diagonals of 0 or more."
        )


def _checked_image_size(size: Any) -> tuple[int, int]:
    if type(size) is tuple and len(size) == 2 and all(type(n) is int and 0 < n <= _LARGEST_IMAGE for n in size):
        return size
    numbers = np.asarray(size)
    whole = numbers.shape == (2,) and numbers.dtype.kind in "iuf" and (numbers == np.round(numbers)).all()
    if not whole or not ((numbers > 0) & (numbers <= _LARGEST_IMAGE)).all():
        raise ResultError(f"image_size is {size!r:.60}, expected width and height, each 1 to {_LARGEST_IMAGE}.")
    return int(numbers[0]), int(numbers[1])


def _checked_names(names: Any) -> tuple[str, ...]:
    if names is LANDMARK_NAMES:
        return names
    names = tuple(str(name) for name in names)
    if len(names) != len(LANDMARK_NAMES):
        raise ResultError(f"landmark_names holds {len(names)} names, expected {len(LANDMARK_NAMES)}.")
    return names


def _is_required(one: Field) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _fits(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    if found == expected:
        return True
    return len(found) == len(expected) and all(n in (-1, m) for n, m in zip(expected, found, strict=True))


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray | tuple):
        return [_to_json(item) for item in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN
    return value


def _read_json(path: Path) -> dict[str, Any]:
    content = read_json(path, ResultError, most=_MAX_FIELD_BYTES)
    if not isinstance(content, dict):
        raise ResultError(f"{path}: not a result: expected a JSON object.")
    known = {f.name for f in fields(FitResult)}
    nan_for_null = {name: NAN if value is None else value for name, value in content.items()}
    return {name: value for name, value in nan_for_null.items() if name in known}


def _read_npz(path: Path) -> dict[str, Any]:
    with ArrayFile(path, ResultError) as file:
        arrays = {f.name: file.read(f.name, most=_MAX_FIELD_BYTES) for f in fields(FitResult) if f.name in file}
    return {name: array.item() if array.ndim == 0 else array for name, array in arrays.items()}
