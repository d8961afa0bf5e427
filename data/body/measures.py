"""Body measures: stature, inseam, arm span, girths, volume and mass of a body's shape, as a tailor would take them.

Every level is found on the body at hand, from its joints, its blend weights and its surface, never from vertex numbers
of one mesh. So the open body, SMPL, SMPL-H and SMPL-X are measured by the same rules. docs/measures.md has the
definitions beside those of ISO 8559-1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.spatial import ConvexHull, QhullError

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.model_files import BodyModelError

DENSITY = 1000.0
"""kg per cubic metre, of the whole body with the air in its lungs at rest.

Tissue has 1045 kg/m^3 at 24 % fat (Siri 1961: 4950 / (fat in % + 450)). The lungs hold 2.7 to 3.4 litres after
breathing out normally (functional residual capacity of Quanjer et al. 1993), 4 % of a body of 70 litres.
"""
SCALE_NOTE = (
    "One photo does not show absolute size: a small person nearby and a tall one farther away look the same. Without a "
    "known height, sizes rest on the shape prior and are guesses, the more so where the focal length is a guess too "
    "(focal_source). Ratios of lengths are better known."
)

# Levels as shares of the way from the hip joints to the neck joint, or from the eyes to the vertex.
_WAIST = 0.33
"""ISO's waist, midway between the lowest rib and the iliac crest, stands at 0.62 of stature; hip joints at 0.52, the
neck joint at 0.85 (0.50 and 0.85 in SMPL-X)."""
_CHEST = (0.55, 0.68)
"""Where the bust points are looked for: above a belly, below the armpits."""
_HEAD = (0.25, 0.6)
"""Where the largest girth is looked for: above brows and ears."""
_HEAD_SLICES = 15
_BALANCE = 0.3
"""The crotch is skin whose blend weight with the left leg differs from that with the right one by less than this."""

_ARM = ("shoulder", "elbow", "wrist", "hand", "index", "middle", "pinky", "ring", "thumb")
_LEG = ("hip", "knee", "ankle", "foot")


@dataclass(frozen=True)
class Measures:
    """Measures of one body in pose zero (standing, legs slightly apart, arms out), metres unless said otherwise."""

    stature: float
    """Floor to the highest point of the head."""
    inseam: float
    """Floor to the crotch: ISO's inside leg length or crotch height."""
    arm_span: float
    """Finger tip to finger tip, arms stretched out to the sides."""
    head_circumference: float
    """Largest horizontal girth of the head above the ears."""
    chest_circumference: float
    """Horizontal girth of the trunk, without arms, at the level of the bust points."""
    waist_circumference: float
    """Horizontal girth midway between the lowest rib and the top of the hip bone, as far as joints tell."""
    hip_circumference: float
    """Horizontal girth at the level of the greatest protrusion of the buttocks."""
    volume: float
    """Cubic metres."""
    mass: float
    """Kilograms: the volume times `DENSITY`."""
    capped_holes: int
    """Openings of the mesh, such as eye sockets, that were closed for the volume."""


@dataclass(frozen=True, eq=False)
class Standing:
    """A body in pose zero and the levels (y, metres) of its planes."""

    vertices: Float[np.ndarray, "V 3"]
    """y up, facing +z, x to the body's left."""
    faces: Int[np.ndarray, "F 3"]
    arms: Bool[np.ndarray, " V"]
    """Vertices that belong to arms and hands by their blend weights."""
    floor: float
    vertex: float
    """The top of the head."""
    crotch: float
    chest: float
    waist: float
    hip: float
    head: float

    def girth(self, level: float) -> float:
        """Length of a tape around the horizontal section at this level, without the arms."""
        return tape_length(self.section(level))

    def section(self, level: float) -> Float[np.ndarray, "N 2"]:
        """x and z of the points where the horizontal plane cuts the body without its arms."""
        faces = self.faces[~self.arms[self.faces].any(1)]
        return _between(self.vertices[:, [0, 2]], *_cut(self.vertices, faces, 1, level))


_LARGEST_BETA = 10.0
"""Beyond this many standard deviations no body is a person's."""


def measure_body(body: BodyModel, betas: "Float[np.ndarray, ' n'] | Sequence[float] | None" = None) -> Measures:
    """Measures of the shape that `betas` give a body; fewer than it has count as zeros behind them, None as all zero.

    The body stands in pose zero, its own shape without pose correctives: arms are away from the trunk, legs apart.

    Raises:
        BodyModelError: for betas that are no numbers, too many or beyond 10 in size, and for a mesh that is not a
            standing person.
    """
    standing = stand(body, betas)
    volume, holes = closed_volume(standing.vertices, standing.faces)
    return Measures(
        stature=standing.vertex - standing.floor,
        inseam=standing.crotch - standing.floor,
        arm_span=float(np.ptp(standing.vertices[:, 0])),
        head_circumference=standing.girth(standing.head),
        chest_circumference=standing.girth(standing.chest),
        waist_circumference=standing.girth(standing.waist),
        hip_circumference=standing.girth(standing.hip),
        volume=volume,
        mass=DENSITY * volume,
        capped_holes=holes,
    )


def stand(body: BodyModel, betas: "Float[np.ndarray, ' n'] | Sequence[float] | None" = None) -> Standing:
    """The body in pose zero, with the levels at which it is measured. Raises BodyModelError as `measure_body` does."""
    vertices = body.v_template + body.shapedirs @ _checked_betas(body, betas)
    joints = dict(zip(body.joint_names, body.joint_regressor @ vertices, strict=True))
    arms = _share_of(body, _ARM) > 0.5
    trunk = vertices[~arms]
    floor, vertex = float(vertices[:, 1].min()), float(vertices[:, 1].max())
    crotch = _crotch_level(body, vertices, joints["pelvis"][0])
    hip_joints, neck = (joints["left_hip"][1] + joints["right_hip"][1]) / 2, joints["neck"][1]
    waist = hip_joints + _WAIST * (neck - hip_joints)
    eyes = np.mean([vertices[body.extra_vertex_ids[f"{side}_eye"], 1] for side in ("left", "right")])
    found = Standing(
        vertices,
        body.faces,
        arms,
        floor,
        vertex,
        crotch,
        chest=_level_of_farthest(body, trunk, *(hip_joints + share * (neck - hip_joints) for share in _CHEST), 1),
        waist=float(waist),
        hip=_level_of_farthest(body, trunk, crotch, float(waist), -1),
        head=0.0,
    )
    slices = np.linspace(*(eyes + share * (vertex - eyes) for share in _HEAD), _HEAD_SLICES)
    return Standing(**vars(found) | {"head": float(max(slices, key=found.girth))})


def tape_length(points: Float[np.ndarray, "N 2"]) -> float:
    """Length of a tape drawn tight around the points: the perimeter of their convex hull, which spans hollows.

    Raises BodyModelError where they enclose nothing.
    """
    try:
        return float(ConvexHull(points).area)  # in two dimensions, scipy's `area` is the perimeter
    except (QhullError, ValueError) as cause:
        raise BodyModelError("a measuring plane does not cut the body. Expected the mesh of a whole person.") from cause


def closed_volume(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> tuple[float, int]:
    """Cubic metres inside a mesh, and how many openings were closed for it, each by a fan to the centre of its rim."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    undirected = edges.min(1) * len(vertices) + edges.max(1)  # one number per edge: unique rows take ten times as long
    _, inverse, count = np.unique(undirected, return_inverse=True, return_counts=True)
    rim = edges[count[inverse] == 1]
    corners = [vertices[faces]]
    holes = trimesh.graph.connected_components(rim) if len(rim) else []
    for hole in holes:
        border = rim[np.isin(rim[:, 0], hole)]
        centre = np.broadcast_to(vertices[border].mean((0, 1)), (len(border), 3))
        corners.append(np.stack([vertices[border[:, 1]], vertices[border[:, 0]], centre], axis=1))
    triangles = np.concatenate(corners)
    parts = np.einsum("fi,fi->f", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2]))
    return abs(float(parts.sum()) / 6), len(holes)


def _checked_betas(body: BodyModel, betas: Any) -> Float[np.ndarray, " Nb"]:
    found = np.asarray([] if betas is None else betas, dtype=np.float64)
    if found.ndim != 1 or len(found) > body.num_betas or not np.isfinite(found).all():
        raise BodyModelError(
            f"betas have shape {found.shape}, {body.name} is measured with up to {body.num_betas} finite numbers."
        )
    if np.abs(found).max(initial=0) > _LARGEST_BETA:
        raise BodyModelError(
            f"betas reach {found[np.abs(found).argmax()]:g}. They are standard deviations of shape: expected at most "
            f"{_LARGEST_BETA:g} in size, and hardly anybody is beyond 3."
        )
    return np.pad(found, (0, body.num_betas - len(found)))


def _share_of(body: BodyModel, words: tuple[str, ...], side: str = "") -> Float[np.ndarray, " V"]:
    """How much of each vertex's blend weight is with joints of these names."""
    names = (name if name.startswith(side) else "" for name in body.joint_names)
    return body.weights[:, [any(word in name for word in words) for name in names]].sum(1)


def _cut(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], axis: int, level: float
) -> tuple[Int[np.ndarray, "N 2"], Float[np.ndarray, " N"]]:
    """Where the plane across an axis cuts the sides of triangles: the two vertices, and the share of the second."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    above = vertices[:, axis] > level
    ends = np.unique(np.sort(ends[above[ends[:, 0]] != above[ends[:, 1]]], 1), axis=0)  # two triangles share a side
    first, second = vertices[ends, axis].T
    return ends, (level - first) / (second - first)


def _between(values: np.ndarray, ends: Int[np.ndarray, "N 2"], share: Float[np.ndarray, " N"]) -> np.ndarray:
    """Values of vertices, interpolated at the points of `_cut`."""
    first, second = values[ends[:, 0]], values[ends[:, 1]]
    return first + (second - first) * share.reshape(-1, *[1] * (values.ndim - 1))


def _crotch_level(body: BodyModel, vertices: Float[np.ndarray, "V 3"], middle: float) -> float:
    """The lowest point of the midsagittal section, where neither leg prevails: a thigh across the midline is not it."""
    balance = np.abs(_share_of(body, _LEG, "left_") - _share_of(body, _LEG, "right_"))
    cut = _cut(vertices, body.faces, 0, middle)
    neither = _between(vertices[:, 1], *cut)[_between(balance, *cut) < _BALANCE]
    if not len(neither):
        raise BodyModelError(f"{body.name}: no crotch found. Expected the mesh of a whole person with legs apart.")
    return float(neither.min())


def _level_of_farthest(
    body: BodyModel, points: Float[np.ndarray, "N 3"], low: float, high: float, direction: int
) -> float:
    """y of the point between two levels that lies farthest to the front (direction 1) or the back (-1)."""
    between = points[(points[:, 1] >= low) & (points[:, 1] <= high)]
    if not len(between):
        raise BodyModelError(f"{body.name}: no trunk found. Expected the mesh of a whole person, y up, facing z.")
    return float(between[np.argmax(direction * between[:, 2]), 1])
