"""Body models of the SMPL family as plain arrays, read from .npz or .pkl without running foreign code.

One class holds SMPL, SMPL-H, SMPL-X and the open body that ships with bodyfit, which is an SMPL-X file in every respect
but its numbers. `posing.pose_body` turns a model and its parameters into a mesh.
"""

import hashlib
import logging
import mmap
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.body.model_files import (
    FILE_VERSION,
    GENDERS,
    KINDS,
    BodyModelError,
    ModelFields,
    find_model_file,
    gender_from_name,
    numbers_of_npy,
)
from bodyfit.data.landmarks import JOINT_NAMES, SKIN_POINT_NAMES, SMPL_JOINT_NAMES, SMPLH_JOINT_NAMES

log = logging.getLogger(__name__)

_JOINTS_OF_KIND = {"smplx": JOINT_NAMES, "smplh": SMPLH_JOINT_NAMES, "smpl": SMPL_JOINT_NAMES}


@dataclass(frozen=True, eq=False)
class BodyModel:
    """A linear blend skinning body: V vertices, F triangles, J joints, Nb shape and Ne expression components.

    Lengths are metres; arrays are float64 and in the file's own joint order, which is that of `smplx`.
    """

    kind: str
    """"smplx" (55 joints), "smplh" (52) or "smpl" (24)."""
    gender: str
    name: str
    """Identity that results carry, such as "open-neutral-1" or "SMPLX_NEUTRAL sha256:0123456789ab"."""
    path: Path
    v_template: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    shapedirs: Float[np.ndarray, "V 3 Nb"]
    exprdirs: Float[np.ndarray, "V 3 Ne"]
    """No columns for SMPL and SMPL-H."""
    posedirs: Float[np.ndarray, "V 3 P"]
    """Pose correctives, P = 9 (J - 1); multiplied by the joints' rotation matrices minus identity, row by row."""
    joint_regressor: Float[np.ndarray, "J V"]
    weights: Float[np.ndarray, "V J"]
    """Blend weights; rows sum to one."""
    parents: Int[np.ndarray, " J"]
    """Parent of each joint, always before it; -1 for the root."""
    joint_names: tuple[str, ...]
    hand_mean_left: Float[np.ndarray, " 45"] | None = None
    hand_mean_right: Float[np.ndarray, " 45"] | None = None
    hand_components_left: Float[np.ndarray, "45 45"] | None = None
    """Rows are principal components of the 45 axis-angle numbers; None for SMPL."""
    hand_components_right: Float[np.ndarray, "45 45"] | None = None
    extra_vertex_ids: Mapping[str, int] = field(default_factory=dict)
    """The 21 landmarks that are single vertices: nose, eyes, ears, toes, heels, finger tips."""
    face_landmark_faces: Int[np.ndarray, " 51"] | None = None
    face_landmark_bary: Float[np.ndarray, "51 3"] | None = None
    contour_faces: Int[np.ndarray, "79 17"] | None = None
    """Triangles of the face contour, a row for each degree of head yaw (row 0 to 39: 0 to 39, then -1 to -39)."""
    contour_bary: Float[np.ndarray, "79 17 3"] | None = None
    kid_ages: Float[np.ndarray, "2 N"] | None = None
    """Ages in years, ascending, and the kid beta of each, where the file says; None: not known."""
    age_betas: Float[np.ndarray, "M 1+n"] | None = None
    """Of bodies with the kid axis: years, ascending, and the other betas of average people of these ages, where the
    file says (`age_shapes.average_betas`); None: not known."""
    has_kid_axis: bool = False
    """Whether the last shape component is the kid axis, as smplx's `age="kid"` adds it: 0 an adult, 1 the template of
    the smallest child."""
    _tensors: dict[Any, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __repr__(self) -> str:
        return (
            f"<BodyModel {self.name}: {self.kind}, {self.gender}, {self.num_vertices} vertices, "
            f"{len(self.joint_names)} joints, {self.num_betas} betas>"
        )

    @property
    def num_vertices(self) -> int:
        """V."""
        return self.v_template.shape[0]

    @property
    def num_joints(self) -> int:
        """J, counting the root."""
        return self.parents.shape[0]

    @property
    def num_betas(self) -> int:
        """Nb."""
        return self.shapedirs.shape[2]

    @property
    def num_expression(self) -> int:
        """Ne; 0 for SMPL and SMPL-H."""
        return self.exprdirs.shape[2]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that a fit takes from the body; the same body in another file has the same."""
        total = hashlib.sha256()
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, np.ndarray):
                total.update(f"{one.name} {value.shape}".encode())
                content = _correctives_of(value).digest if one.name == "posedirs" else np.ascontiguousarray(value).data
                total.update(content)
        total.update(repr((self.kind, sorted(self.extra_vertex_ids.items()))).encode())
        return total.hexdigest()[:16]

    @property
    def has_pose_correctives(self) -> bool:
        """Whether any of `posedirs` differs from zero; when none does, the product can be left out."""
        return len(_correctives_of(self.posedirs).moving) > 0

    def tensor(self, name: str, like: Tensor) -> Tensor:
        """An array of this model as a tensor on `like`'s device, floating numbers in its dtype; made once and kept."""
        key = (name, like.dtype, like.device)
        if key not in self._tensors:
            array = torch.from_numpy(np.ascontiguousarray(getattr(self, name)))
            self._tensors[key] = array.to(like.device, like.dtype if array.is_floating_point() else array.dtype)
        return self._tensors[key]


def load_body_model(
    path: Path | str | None = None,
    *,
    gender: str = "neutral",
    num_betas: int = 10,
    num_expression: int = 10,
    kind: str | None = None,
    kid: bool = False,
    kid_template: Path | str | None = None,
) -> BodyModel:
    """Read a body model.

    Args:
        path: An .npz or .pkl of SMPL, SMPL-H or SMPL-X, or a folder of models laid out as smplx wants them
            (`smplx/SMPLX_NEUTRAL.npz`, ...). None: the open body that ships with bodyfit.
        gender: "neutral", "female" or "male"; picks the file when `path` is a folder or None.
        num_betas: Shape components to keep, at most those in the file.
        num_expression: Expression components to keep, at most those in the file (SMPL and SMPL-H have none).
        kid: Add the kid axis as one more shape component, behind the num_betas others: smplx's age="kid".
        kid_template: The .npy of the smallest child for it, such as smplx_kid_template.npy. Default: what the body's
            own file holds, else smplx_kid_template.npy (smpl_kid_template.npy for SMPL) beside it.
        kind: "smplx", "smplh" or "smpl"; picks among the models of a folder (default: the first of these).

    Raises:
        BodyModelError: naming the file, what was found and what was expected.
    """
    if gender not in GENDERS:
        raise BodyModelError(f"gender must be one of {', '.join(GENDERS)}, got '{gender}'.")
    if kind is not None and kind not in KINDS:
        raise BodyModelError(f"kind must be one of {', '.join(KINDS)}, got '{kind}'.")
    if path is None:
        asset = resources.files("bodyfit.data") / "assets" / "body" / f"smplx_open_{gender}.npz"
        with resources.as_file(asset) as file:
            body = _load_file(file, gender, num_betas, num_expression)
            return with_kid_axis(body, kid_template) if kid else body
    path = Path(path).expanduser()
    if path.is_dir():
        path = find_model_file(path, gender, kind)
    elif not path.exists():
        raise BodyModelError(f"{path}: no such file or folder. Expected a body model (.npz, .pkl) or a folder of them.")
    body = _load_file(path, gender_from_name(path) or gender, num_betas, num_expression)
    return with_kid_axis(body, kid_template) if kid else body


def kid_template_of(body: BodyModel) -> Path | None:
    """Where the template of a body's kid axis is: the body's own .npz, or smplx's .npy beside it; None: nowhere."""
    if not body.path.is_file():
        return None
    if body.path.suffix.lower() == ".npz" and "kid_template" in ModelFields(body.path):
        return body.path
    places = (folder / f"{body.kind}_kid_template.npy" for folder in (body.path.parent, body.path.parent.parent))
    return next((file for file in places if file.is_file()), None)


def without_kid_axis(body: BodyModel) -> BodyModel:
    """The adult body: without the last shape component, where that is the kid axis."""
    if not body.has_kid_axis:
        return body
    shapedirs = np.ascontiguousarray(body.shapedirs[:, :, :-1])
    return replace(body, shapedirs=shapedirs, has_kid_axis=False, kid_ages=None, age_betas=None)


def with_kid_axis(body: BodyModel, template: Path | str | None = None) -> BodyModel:
    """A body with the kid axis as one more shape component: from the mean body to the template, both about their
    centre, as smplx has it. The other components stay as they are.

    Args:
        body: without a kid axis.
        template: .npy (V, 3); None: `kid_template_of` the body.

    Raises:
        BodyModelError: where there is no template, or one of another mesh.
    """
    if body.has_kid_axis:
        return body
    file = kid_template_of(body) if template is None else Path(template).expanduser()
    if file is None:
        raise BodyModelError(
            f"{body.path}: {body.name} knows no children. Expected {body.kind}_kid_template.npy (AGORA's) beside it."
        )
    ages = shapes = None
    if file.suffix.lower() == ".npz":
        content = ModelFields(file)
        kid = content.numbers("kid_template", (None, 3))
        ages = content.numbers("kid_ages", (2, None)) if "kid_ages" in content else None
        shapes = content.numbers("age_betas", (None, None)) if "age_betas" in content else None
    else:
        kid = numbers_of_npy(file)
    if kid.shape != body.v_template.shape:
        raise BodyModelError(
            f"{file}: a kid template of shape {kid.shape}, but {body.name} has {body.num_vertices} vertices. Expected "
            f"({body.num_vertices}, 3)."
        )
    # smplx moves the template's centre to zero and leaves the mean body where it is.
    axis = kid - kid.mean(0) - body.v_template
    shapedirs = np.concatenate([body.shapedirs, axis[:, :, None]], axis=2)
    return replace(body, shapedirs=shapedirs, has_kid_axis=True, kid_ages=ages, age_betas=shapes)


def _load_file(path: Path, gender: str, num_betas: int, num_expression: int) -> BodyModel:
    fields = ModelFields(path)
    _refuse_skel(fields)
    _refuse_newer(fields)
    v_template = fields.numbers("v_template", (None, 3))
    vertices = len(v_template)
    weights = fields.numbers("weights", (vertices, None))
    joints = weights.shape[1]
    kind = _kind_from_joints(path, joints)
    if np.abs(weights.sum(1) - 1).max() > 1e-3:
        raise BodyModelError(f"{path}: blend weights ('weights') of a vertex must sum to one.")
    faces = fields.indices("f", (None, 3), vertices)
    shapedirs, exprdirs = _shape_and_expression(fields, kind, vertices, num_betas, num_expression)
    model = BodyModel(
        kind=kind,
        gender=gender,
        name=fields.text("bodyfit_name") or f"{path.stem} sha256:{_sha256(path)[:12]}",
        path=path,
        v_template=v_template,
        faces=faces,
        shapedirs=shapedirs,
        exprdirs=exprdirs,
        posedirs=_without_memory_for_zeros(_pose_correctives(fields, vertices, joints)),
        joint_regressor=fields.numbers("J_regressor", (joints, vertices)),
        weights=weights,
        parents=_parents(fields, joints),
        joint_names=_JOINTS_OF_KIND[kind],
        extra_vertex_ids=_extra_vertex_ids(fields, kind, vertices),
        **_hands(fields, kind),
        **_face_landmarks(fields, len(faces)),
    )
    log.debug("%s: %s, %s, %d vertices", path, kind, model.name, vertices)
    return model


class _Correctives:
    """What is known of an array of pose correctives: bodies with other shapes share it."""

    def __init__(self, array: Float[np.ndarray, "V 3 P"], moving: Int[np.ndarray, " N"] | None = None):
        self.array, self.moving = weakref.ref(array), _moving(array) if moving is None else moving

    @cached_property
    def digest(self) -> bytes:
        """A hash of the numbers, those of vertices that move."""
        total, array = hashlib.sha256(self.moving.astype(np.int64)), self.array()
        assert array is not None
        for vertices in np.array_split(self.moving, len(self.moving) // 1000 + 1):
            total.update(np.ascontiguousarray(array[vertices], np.float64).data)
        return total.digest()


_KNOWN: dict[int, _Correctives] = {}
"""By the arrays' ids."""


def _correctives_of(array: Float[np.ndarray, "V 3 P"], moving: Int[np.ndarray, " N"] | None = None) -> _Correctives:
    known = _KNOWN.get(id(array))
    if known is None or known.array() is not array:
        known = _KNOWN[id(array)] = _Correctives(array, moving)
        weakref.finalize(array, _KNOWN.pop, id(array), None)
    return known


def _moving(array: Float[np.ndarray, "V 3 P"]) -> Int[np.ndarray, " N"]:
    """The vertices that correctives move."""
    flat = array.reshape(len(array), -1)
    return np.flatnonzero((flat.max(1, initial=0) > 0) | (flat.min(1, initial=0) < 0))


def _without_memory_for_zeros(array: Float[np.ndarray, "V 3 P"]) -> Float[np.ndarray, "V 3 P"]:
    """The same numbers in double precision, with memory only for vertices that move: of the open body's 158 MB, two
    thirds are zeros."""
    moving, size = _moving(array), 8 * array.size
    if len(moving) > len(array) // 2:
        return np.require(array, np.float64, ["C", "W"])
    # Pages that are never written take no memory. Not np.zeros, which asks for pages of 2 MB.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    untouched = np.frombuffer(mmap.mmap(-1, max(size, 1), **private), np.float64, array.size).reshape(array.shape)
    untouched[moving] = array[moving]
    _correctives_of(untouched, moving)
    return untouched


def _refuse_skel(fields: ModelFields) -> None:
    if any(key.startswith(("skel_template", "skin_template", "osim")) for key in fields.keys):
        raise BodyModelError(
            f"{fields.path}: SKEL, a body with a skeleton of its own joints, which is not posed as SMPL is. Expected "
            "SMPL, SMPL-H or SMPL-X."
        )


def _refuse_newer(fields: ModelFields) -> None:
    version = int(fields.numbers("bodyfit_version", ())) if "bodyfit_version" in fields else 1
    if version > FILE_VERSION:
        raise BodyModelError(
            f"{fields.path}: a body of a newer bodyfit (file version {version}, this one knows {FILE_VERSION}). Update."
        )


_STAR_CORRECTIVES = 93
"""Columns of STAR's pose correctives: 23 quaternions and one shape number."""


def _pose_correctives(fields: ModelFields, vertices: int, joints: int) -> np.ndarray:
    found = fields.numbers("posedirs", (vertices, 3, None), None)
    if found.shape[2] == _STAR_CORRECTIVES:
        raise BodyModelError(
            f"{fields.path}: STAR, whose pose correctives follow quaternions and the shape, which is not supported. "
            "Expected SMPL, SMPL-H or SMPL-X."
        )
    if found.shape[2] != 9 * (joints - 1):
        wanted = f"{vertices} x 3 x {9 * (joints - 1)}"
        raise BodyModelError(f"{fields.path}: 'posedirs' has shape {found.shape}, expected {wanted}.")
    return found


def _kind_from_joints(path: Path, joints: int) -> str:
    for kind, names in _JOINTS_OF_KIND.items():
        if joints == len(names):
            return kind
    others = {16: " (MANO, a hand)", 5: " (FLAME, a head)", 33: " (SMAL, an animal)", 35: " (SMAL, an animal)"}
    others[75] = " (SUPR)"
    raise BodyModelError(
        f"{path}: has {joints} joints{others.get(joints, '')}. "
        "Expected a body of 55 joints (SMPL-X), 52 (SMPL-H) or 24 (SMPL)."
    )


def _shape_and_expression(
    fields: ModelFields, kind: str, vertices: int, num_betas: int, num_expression: int
) -> tuple[np.ndarray, np.ndarray]:
    """SMPL-X keeps both in one array: 300 + 100 columns in the full files, 10 + 10 in the small ones."""
    shapedirs = fields.numbers("shapedirs", (vertices, 3, None))
    columns = shapedirs.shape[2]
    betas_end = columns
    if kind == "smplx":
        betas_end = 300 if columns >= 400 else min(10, columns)
    expression_end = min(betas_end + num_expression, columns)
    for what, asked, there in (
        ("shape", num_betas, betas_end),
        ("expression", num_expression if kind == "smplx" else 0, columns - betas_end),
    ):
        if asked > there:
            log.debug("%s: has %d %s components, %d were asked for", fields.path, there, what, asked)
    return (
        np.ascontiguousarray(shapedirs[:, :, : min(num_betas, betas_end)]),
        np.ascontiguousarray(shapedirs[:, :, betas_end:expression_end]),
    )


def _parents(fields: ModelFields, joints: int) -> np.ndarray:
    table = fields.numbers("kintree_table", (2, joints), np.int64)
    parents = table[0].copy()
    parents[0] = -1  # written as 2**32 - 1 in the files
    if (parents[1:] < 0).any() or (parents[1:] >= np.arange(1, joints)).any():
        raise BodyModelError(f"{fields.path}: 'kintree_table' must name each joint's parent before the joint.")
    return parents


def _hands(fields: ModelFields, kind: str) -> dict[str, np.ndarray]:
    if kind == "smpl":
        return {}
    return {
        "hand_mean_left": fields.numbers("hands_meanl", (45,)),
        "hand_mean_right": fields.numbers("hands_meanr", (45,)),
        "hand_components_left": fields.numbers("hands_componentsl", (45, 45)),
        "hand_components_right": fields.numbers("hands_componentsr", (45, 45)),
    }


def _face_landmarks(fields: ModelFields, num_faces: int) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    if "lmk_faces_idx" in fields:
        found["face_landmark_faces"] = fields.indices("lmk_faces_idx", (51,), num_faces)
        found["face_landmark_bary"] = fields.numbers("lmk_bary_coords", (51, 3))
    if "dynamic_lmk_faces_idx" in fields:
        found["contour_faces"] = fields.indices("dynamic_lmk_faces_idx", (79, 17), num_faces)
        found["contour_bary"] = fields.numbers("dynamic_lmk_bary_coords", (79, 17, 3))
    return found


def _smplx_word(name: str) -> str:
    """smplx.vertex_ids' word for one of the points LANDMARK_NAMES[55:76]: reye, lthumb, RBigToe, ..."""
    side, _, point = name.partition("_")
    if not point:
        return name  # nose
    if point in ("big_toe", "small_toe", "heel"):
        return side[0].upper() + point.title().replace("_", "")
    return side[0] + point


def _extra_vertex_ids(fields: ModelFields, kind: str, vertices: int) -> dict[str, int]:
    """From the file's own key where it has one, else smplx's table for the official meshes."""
    if "extra_vertex_ids" in fields:
        ids = fields.indices("extra_vertex_ids", (len(SKIN_POINT_NAMES),), vertices)
        return {name: int(i) for name, i in zip(SKIN_POINT_NAMES, ids, strict=True)}
    from smplx.vertex_ids import vertex_ids

    official = {"smplx": ("smplx", 10475), "smplh": ("smplh", 6890), "smpl": ("smplh", 6890)}
    table, expected = official[kind]
    if vertices != expected:
        raise BodyModelError(
            f"{fields.path}: has {vertices} vertices and no 'extra_vertex_ids'. Expected {expected} (the official "
            f"{kind}), or {len(SKIN_POINT_NAMES)} vertex numbers: nose, eyes, ears, feet and finger tips."
        )
    return {name: int(vertex_ids[table][_smplx_word(name)]) for name in SKIN_POINT_NAMES}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
