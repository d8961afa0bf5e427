"""The open body's face: expression components, the jaw's blend weights, and where face landmarks lie on the skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.scripts.open_body.makehuman import MakeHuman
from bodyfit.scripts.open_body.rig import JOINT_INDEX, Surface
from bodyfit.scripts.open_body.shape import vertex_areas

ACTION_FOLDER = "faceunits01/targets/faceunits"
# Gaze, tongue and jaw are posed by joints; mouthClose compensates jawOpen and is invalid alone.
SIDED_ACTIONS = (
    "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown",
    "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
)  # fmt: skip
MIDDLE_ACTIONS = (
    "browInnerUp",
    "cheekPuff",
    "mouthFunnel",
    "mouthPucker",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
)
SIDEWAYS_ACTIONS = ("mouthLeft", "mouthRight")

# Landmarks of the right half and the midline as MakeHuman vertices with weights; the left half mirrors the right.
_RIGHT_LANDMARKS: dict[str, dict[int, float]] = {
    "right_eye_brow1": {207: 1},
    "right_eye_brow2": {206: 0.5, 224: 0.5},
    "right_eye_brow3": {204: 0.5, 222: 0.5},
    "right_eye_brow4": {205: 0.65, 223: 0.35},
    "right_eye_brow5": {208: 1},
    "nose1": {132: 1},
    "nose2": {135: 0.5, 131: 0.5},
    "nose3": {164: 1},
    "nose4": {294: 1},
    "right_nose_2": {286: 1},
    "right_nose_1": {313: 1},
    "nose_middle": {317: 1},
    "right_eye1": {21: 1},
    "right_eye2": {0: 1},
    "right_eye3": {54: 1},
    "right_eye4": {70: 1},
    "right_eye5": {47: 1},
    "right_eye6": {41: 1},
    "right_mouth_1": {425: 1},
    "right_mouth_2": {5351: 1},
    "right_mouth_3": {450: 1},
    "mouth_top": {455: 1},
    "mouth_bottom": {496: 0.5, 492: 0.5},
    "right_mouth_4": {490: 0.5, 486: 0.5},
    "right_mouth_5": {478: 0.5, 406: 0.5},
    "right_lip_1": {431: 1},
    "right_lip_2": {470: 1},
    "lip_top": {474: 1},
    "lip_bottom": {523: 1},
    "right_lip_3": {518: 1},
}

# The face's outline in SMPL-X's head frame, metres from the midpoint between the eyeballs: heights of right_contour_1
# to 8, and the jaw line seen from the side as (z, y) from before the ear down the jaw's angle to the chin's underside.
CONTOUR_HEIGHTS = (-0.002, -0.020, -0.038, -0.056, -0.074, -0.090, -0.101, -0.1095)
JAW_LINE = np.array(
    [
        (-0.059, 0.010),
        (-0.058, -0.040),
        (-0.059, -0.052),
        (-0.053, -0.078),
        (-0.038, -0.097),
        (-0.023, -0.103),
        (-0.003, -0.109),
        (0.011, -0.1135),
    ]
)
CONTOUR_YAWS_DEGREES = tuple(
    -row if row < 40 else row - 39 for row in range(79)
)  # turn about +y of each row of smplx's table


def face_actions(source: MakeHuman, surface: Surface) -> dict[str, Float[np.ndarray, "V 3"]]:
    """Displacements of the skin by MakeHuman's face actions; heads are upright in both poses, so they carry over."""
    names = [f"{action}{side}" for action in SIDED_ACTIONS for side in ("Left", "Right")]
    names += [*MIDDLE_ACTIONS, *SIDEWAYS_ACTIONS, "jawOpen"]
    return {name: source.target(name, ACTION_FOLDER)[surface.vertex_ids] for name in names}


def fit_expressions(
    actions: dict[str, np.ndarray], template: np.ndarray, faces: np.ndarray, count: int = 10, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Principal components, one standard deviation each, of mixtures of a few actions; zero stays the neutral face.

    Returns:
        components (V, 3, count) and the cumulative share of the variance they explain (count,).
    """
    rng = np.random.default_rng(seed)
    names = [name for name in actions if name != "jawOpen"]
    basis = np.stack([actions[name] for name in names])
    strengths = np.zeros((4000, len(names)))
    for row in strengths:
        for action in rng.choice(SIDED_ACTIONS, 4, replace=False):
            both, tilt = rng.uniform(0, 1), rng.normal(0, 0.2)
            row[names.index(f"{action}Left")] = np.clip(both + tilt, 0, 1)
            row[names.index(f"{action}Right")] = np.clip(both - tilt, 0, 1)
        for action in rng.choice(MIDDLE_ACTIONS, 2, replace=False):
            row[names.index(action)] = rng.uniform(0, 1)
        row[names.index(rng.choice(SIDEWAYS_ACTIONS))] = rng.uniform(0, 1) * (rng.uniform() < 0.3)
    strengths -= strengths.mean(0)
    area = np.sqrt(vertex_areas(template, faces) + 1e-12)[:, None]
    flat = (basis * area).reshape(len(names), -1)
    # The samples live in the span of the actions: principal components there, by the actions' Gram matrix.
    gram, covariance = flat @ flat.T, strengths.T @ strengths / (len(strengths) - 1)
    values, vectors = np.linalg.eigh(gram)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    variance, directions = np.linalg.eigh(root @ covariance @ root)
    order = np.argsort(variance)[::-1][:count]
    mixtures = np.linalg.pinv(root) @ directions[:, order] * np.sqrt(variance[order])
    mixtures *= np.where(mixtures.sum(0) < 0, -1, 1)
    return np.einsum("ak,avc->vck", mixtures, basis), np.cumsum(variance[order]) / variance.sum()


@dataclass(frozen=True)
class JawFit:
    """Blend weights that let the jaw joint open the mouth."""

    weights: Float[np.ndarray, "V 55"]
    degrees: float  # turn of the jaw that reproduces MakeHuman's fully open mouth best
    rms: float  # metres, over the skin that moves


def fit_jaw_weights(
    surface: Surface, template: Float[np.ndarray, "V 3"], jaw: Float[np.ndarray, " 3"], opening: np.ndarray
) -> JawFit:
    """Blend weights with which turning the jaw joint best reproduces MakeHuman's `jawOpen`, displacements (V, 3)."""
    moved = np.linalg.norm(opening, axis=1) > 2e-4
    best = None
    for degrees in np.arange(8.0, 30.0, 0.5):
        angle = np.radians(degrees)
        turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        full = (template - jaw) @ (turn - np.eye(3)).T
        share = np.clip((full * opening).sum(1) / ((full * full).sum(1) + 1e-12), 0, 1) * moved
        share = (share + share[surface.mirror]) / 2
        rms = np.sqrt(((share[:, None] * full - opening)[moved] ** 2).sum(1).mean())
        if best is None or rms < best.rms:
            best = JawFit(_with_jaw(surface.weights, share), float(degrees), float(rms))
    return best


def _with_jaw(weights: Float[np.ndarray, "V 55"], share: Float[np.ndarray, " V"]) -> Float[np.ndarray, "V 55"]:
    """Weights in which the jaw takes `share`, all else in proportion; MakeHuman's own jaw goes to the head."""
    weights = weights.copy()
    weights[:, JOINT_INDEX["head"]] += weights[:, JOINT_INDEX["jaw"]]
    weights[:, JOINT_INDEX["jaw"]] = 0
    weights *= (1 - share)[:, None]
    weights[:, JOINT_INDEX["jaw"]] = share
    return weights


def face_landmarks(source: MakeHuman, surface: Surface) -> tuple[Int[np.ndarray, " 51"], Float[np.ndarray, "51 3"]]:
    """Triangle and barycentric coordinates of the 51 inner face landmarks, in iBUG's order."""
    places = dict(_RIGHT_LANDMARKS)
    for name, vertices in _RIGHT_LANDMARKS.items():
        if name.startswith("right_"):
            places["left_" + name.removeprefix("right_")] = {int(source.mirror[v]): w for v, w in vertices.items()}
    names = [LANDMARK_NAMES[index] for index in range(76, 127)]
    found = [_on_triangle(surface, {surface.index(v): w for v, w in places[name].items()}, name) for name in names]
    return np.array([face for face, _ in found]), np.stack([weights for _, weights in found])


def _on_triangle(surface: Surface, vertices: dict[int, float], name: str) -> tuple[int, Float[np.ndarray, " 3"]]:
    holds = np.all([(surface.faces == vertex).any(1) for vertex in vertices], axis=0)
    if not holds.any():
        raise ValueError(
            f"landmark {name}: no triangle holds vertices {surface.vertex_ids[list(vertices)].tolist()} together"
        )
    face = int(np.flatnonzero(holds)[0])
    return face, np.array([vertices.get(int(vertex), 0.0) for vertex in surface.faces[face]])


def face_contour(
    surface: Surface, template: np.ndarray, eyes: Float[np.ndarray, " 3"], fineness: int = 8
) -> tuple[Int[np.ndarray, "79 17"], Float[np.ndarray, "79 17 3"]]:
    """The face's outline as a camera in front of the body sees it, for every head yaw of smplx's table.

    The face ends at the jaw line and before the ears. At each of eight heights a side, the outline is the point of that
    face farthest to the side in the picture: the jaw line on the side turned to the camera, the cheek's silhouette on
    the other. The chin stays.

    Args:
        eyes: midpoint of the eyeballs in the template.
    """
    faces, barycentric, points = _sample_face(surface, template, eyes, fineness)
    right, chin = [], _chin(points)
    for yaw in CONTOUR_YAWS_DEGREES:
        angle = np.radians(yaw)
        sideways = points[:, 0] * np.cos(angle) + points[:, 2] * np.sin(angle)
        right.append([_farthest(points, -sideways, points[:, 0] < 0.004, height) for height in CONTOUR_HEIGHTS])
    mirror_face = _mirror_faces(surface)
    rows = []
    mirrored_row = {yaw: CONTOUR_YAWS_DEGREES.index(-yaw) for yaw in CONTOUR_YAWS_DEGREES}
    for row, yaw in enumerate(CONTOUR_YAWS_DEGREES):
        ours = [(faces[i], barycentric[i]) for i in right[row]]
        others = [(faces[i], barycentric[i]) for i in right[mirrored_row[yaw]]]
        left = [_mirror_place(surface, mirror_face, face, weights) for face, weights in others]
        rows.append([*ours, (faces[chin], barycentric[chin]), *left[::-1]])
    return np.array([[face for face, _ in row] for row in rows]), np.array(
        [[weights for _, weights in row] for row in rows]
    )


def _sample_face(
    surface: Surface, template: np.ndarray, eyes: np.ndarray, fineness: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points spread over the face's skin: triangle, barycentric coordinates, and place from between the eyes."""
    relative = template - eyes
    behind = np.interp(relative[:, 1], JAW_LINE[::-1, 1], JAW_LINE[::-1, 0])
    head = surface.weights[:, [JOINT_INDEX["head"], JOINT_INDEX["jaw"]]].sum(1) > 0.3
    front = (
        head & (relative[:, 2] > behind - 0.012) & (relative[:, 1] < 0.03) & (relative[:, 1] > JAW_LINE[-1, 1] - 0.012)
    )
    kept = np.flatnonzero(front[surface.faces].all(1))
    steps = [(a, b, fineness - a - b) for a in range(fineness + 1) for b in range(fineness + 1 - a)]
    grid = np.array(steps) / fineness
    points = np.einsum("gi,fic->fgc", grid, relative[surface.faces[kept]]).reshape(-1, 3)
    limit = np.interp(points[:, 1], JAW_LINE[::-1, 1], JAW_LINE[::-1, 0])
    inside = (points[:, 2] >= limit) & (points[:, 1] >= JAW_LINE[-1, 1])
    return np.repeat(kept, len(grid))[inside], np.tile(grid, (len(kept), 1))[inside], points[inside]


def _farthest(points: np.ndarray, outward: np.ndarray, side: np.ndarray, height: float, band: float = 0.0008) -> int:
    candidates = np.flatnonzero(side & (np.abs(points[:, 1] - height) < band))
    return int(candidates[outward[candidates].argmax()])


def _chin(points: np.ndarray) -> int:
    middle = np.flatnonzero(np.abs(points[:, 0]) < 1e-6)
    return int(middle[points[middle, 1].argmin()])


def _mirror_faces(surface: Surface) -> dict[frozenset[int], int]:
    return {frozenset(face.tolist()): index for index, face in enumerate(surface.faces)}


def _mirror_place(
    surface: Surface, index_of: dict[frozenset[int], int], face: int, weights: np.ndarray
) -> tuple[int, np.ndarray]:
    mirrored = surface.mirror[surface.faces[face]].tolist()
    other = index_of[frozenset(mirrored)]
    return other, np.array([weights[mirrored.index(vertex)] for vertex in surface.faces[other].tolist()])
