"""SMPL-X's skeleton on MakeHuman's body: joints, merged blend weights, and shapes brought into the T-pose.

MakeHuman has 163 bones, SMPL-X 55 joints. A joint takes the blend weights of all bones that merge into it. Joint places
are linear in MakeHuman's vertices (means of joint cubes, some shifted to where the joint is in an anatomy book).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.scripts.open_body.makehuman import EYE_GROUPS, MakeHuman

JOINT_INDEX = {name: index for index, name in enumerate(JOINT_NAMES)}
FINGERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}  # MakeHuman counts fingers from the thumb

# MakeHuman puts the hip joint 115 mm from the midplane of a body 1.84 m tall; femoral heads lie about 90 mm out.
HIP_LATERAL_SCALE = 0.78

_MIDLINE_PARENTS = {
    "pelvis": None,
    "spine1": "pelvis",
    "spine2": "spine1",
    "spine3": "spine2",
    "neck": "spine3",
    "head": "neck",
    "jaw": "head",
}
_SIDE_PARENTS = {
    "hip": "pelvis", "knee": "hip", "ankle": "knee", "foot": "ankle",
    "collar": "spine3", "shoulder": "collar", "elbow": "shoulder", "wrist": "elbow", "eye_smplhf": "head",
}  # fmt: skip

# The bone (or bones) whose head is the joint.
_MIDLINE_BONES = {
    "spine1": "spine03",
    "spine2": "spine02",
    "spine3": "spine01",
    "neck": "neck01",
    "head": "head",
    "jaw": "jaw",
}
_SIDE_BONES = {
    "hip": "upperleg01", "knee": "lowerleg01", "ankle": "foot", "collar": "clavicle", "shoulder": "upperarm01",
    "elbow": "lowerarm01", "wrist": "wrist", "eye_smplhf": "eye",
}  # fmt: skip
# Bones that start a new joint's territory; a bone not listed belongs to the nearest listed ancestor.
_TERRITORY = {
    "root": "pelvis",
    "spine03": "spine1",
    "spine02": "spine2",
    "spine01": "spine3",
    "neck01": "neck",
    "head": "head",
    "jaw": "jaw",
}
_SIDE_TERRITORY = {bone: joint for joint, bone in _SIDE_BONES.items()} | {f"toe{i}-1": "foot" for i in range(1, 6)}


def joint_parents() -> Int[np.ndarray, " 55"]:
    """Parent of each of SMPL-X's joints, -1 for the pelvis."""
    parents = dict(_MIDLINE_PARENTS)
    for side in ("left", "right"):
        for joint, parent in _SIDE_PARENTS.items():
            parents[f"{side}_{joint}"] = f"{side}_{parent}" if parent in _SIDE_PARENTS else parent
        for finger in FINGERS:
            parents[f"{side}_{finger}1"] = f"{side}_wrist"
            for phalanx in (2, 3):
                parents[f"{side}_{finger}{phalanx}"] = f"{side}_{finger}{phalanx - 1}"
    return np.array([-1 if parents[name] is None else JOINT_INDEX[parents[name]] for name in JOINT_NAMES])


@dataclass(frozen=True)
class Surface:
    """The part of MakeHuman's mesh that becomes the body: skin and eyeballs. V vertices, F triangles."""

    vertex_ids: Int[np.ndarray, " V"]  # in MakeHuman's numbering
    faces: Int[np.ndarray, "F 3"]
    mirror: Int[np.ndarray, " V"]
    weights: Float[np.ndarray, "V 55"]

    def index(self, makehuman_vertex: int) -> int:
        """This mesh's number of one of MakeHuman's vertices."""
        return int(np.searchsorted(self.vertex_ids, makehuman_vertex))


def make_surface(source: MakeHuman, example: Float[np.ndarray, "N 3"]) -> Surface:
    """Skin and eyes with triangles and blend weights that are mirror images of each other, left to right.

    Args:
        example: a symmetric body; quads are split along the diagonal that is shorter on it.
    """
    quads = [face for group in ("body", *EYE_GROUPS) for face in source.groups[group]]
    vertex_ids = np.unique([vertex for face in quads for vertex in face])
    faces = np.searchsorted(vertex_ids, np.array([_split_quad(face, example) for face in quads]).reshape(-1, 3))
    mirror = np.searchsorted(vertex_ids, source.mirror[vertex_ids])
    return Surface(vertex_ids, faces, mirror, _merged_weights(source, vertex_ids, mirror))


def _split_quad(face: list[int], vertices: Float[np.ndarray, "N 3"]) -> list[list[int]]:
    a, b, c, d = face
    across_ac, across_bd = np.linalg.norm(vertices[a] - vertices[c]), np.linalg.norm(vertices[b] - vertices[d])
    if across_ac <= across_bd + 1e-6:  # the tolerance keeps mirrored quads, equal up to rounding, mirrored
        return [[a, b, c], [a, c, d]]
    return [[a, b, d], [b, c, d]]


def _merged_weights(
    source: MakeHuman, vertex_ids: Int[np.ndarray, " V"], mirror: Int[np.ndarray, " V"]
) -> Float[np.ndarray, "V 55"]:
    weights = np.zeros((len(source.vertices), len(JOINT_NAMES)))
    for bone, entries in source.weights.items():
        if entries:
            vertices, values = zip(*entries, strict=True)
            np.add.at(weights[:, JOINT_INDEX[_territory(source, bone)]], np.array(vertices), values)
    for side, group in (("left", EYE_GROUPS[0]), ("right", EYE_GROUPS[1])):  # eyeballs turn as one piece
        ball = np.unique(source.groups[group])
        weights[ball] = np.eye(len(JOINT_NAMES))[JOINT_INDEX[f"{side}_eye_smplhf"]]
    weights = weights[vertex_ids]
    weights = weights + weights[mirror][:, mirrored_joints()]
    weights[weights < 1e-3 * weights.sum(1, keepdims=True)] = 0
    return weights / weights.sum(1, keepdims=True)


def _territory(source: MakeHuman, bone: str) -> str:
    while True:
        stem, _, suffix = bone.partition(".")
        side = {"L": "left", "R": "right"}.get(suffix)
        if stem in _TERRITORY:
            return _TERRITORY[stem]
        if side and stem in _SIDE_TERRITORY:
            # MakeHuman weighs the lids with the eye bones' siblings, which belong to the head.
            return f"{side}_{_SIDE_TERRITORY[stem]}"
        if side and stem.startswith("finger"):
            number, phalanx = stem.removeprefix("finger").split("-")
            finger = next(name for name, count in FINGERS.items() if count == int(number))
            return f"{side}_{finger}{phalanx}"
        bone = source.bones[bone]["parent"]


def mirrored_joints() -> Int[np.ndarray, " 55"]:
    """For each joint, the joint on the other side."""
    swap = {"left": "right", "right": "left"}
    parts = [name.partition("_") for name in JOINT_NAMES]
    return np.array([JOINT_INDEX[swap.get(side, side) + bar + rest] for side, bar, rest in parts])


def place_joints(source: MakeHuman, vertices: Float[np.ndarray, "*S N 3"]) -> Float[np.ndarray, "*S 55 3"]:
    """Joints of bodies in MakeHuman's own pose, linear in their vertices."""

    def head(bone: str) -> np.ndarray:
        return vertices[..., source.bone_end(bone), :].mean(-2)

    places = {name: head(bone) for name, bone in _MIDLINE_BONES.items()}
    # SMPL-X's pelvis lies some 93 mm above the hip joints; MakeHuman's spine04 starts there, but further back.
    places["pelvis"] = np.stack(
        [0 * head("spine04")[..., 0], head("spine04")[..., 1], head("spine05")[..., 2]], axis=-1
    )
    for side, mark in (("left", "L"), ("right", "R")):
        for joint, bone in _SIDE_BONES.items():
            places[f"{side}_{joint}"] = head(f"{bone}.{mark}")
        places[f"{side}_hip"] = places[f"{side}_hip"] * np.array([HIP_LATERAL_SCALE, 1, 1])
        places[f"{side}_foot"] = np.mean([head(f"toe{i}-1.{mark}") for i in range(1, 6)], axis=0)
        for finger, number in FINGERS.items():
            for phalanx in (1, 2, 3):
                places[f"{side}_{finger}{phalanx}"] = head(f"finger{number}-{phalanx}.{mark}")
    joints = np.stack([places[name] for name in JOINT_NAMES], axis=-2)
    mirrored = joints[..., mirrored_joints(), :] * np.array([-1, 1, 1])
    return (joints + mirrored) / 2


@dataclass(frozen=True)
class TPosed:
    """Bodies in SMPL-X's rest pose, pelvis at the origin."""

    vertices: Float[np.ndarray, "S V 3"]
    joints: Float[np.ndarray, "S 55 3"]


# The T-pose: thighs lean out as far as MakeHuman's, lower legs are vertical, arms and fingers lie along x.
THIGH = np.array([0.139, -1.0, 0.0])
SPLAY_DEGREES = {"index": 5.0, "middle": 0.0, "ring": -4.0, "pinky": -9.0}


def bring_to_t_pose(source: MakeHuman, surface: Surface, vertices: Float[np.ndarray, "S N 3"]) -> TPosed:
    """Undo MakeHuman's pose by the inverse of its blended transforms, x_T = (sum_j w_j A_j)^-1 x.

    With the inverse, posing the T-posed body back gives MakeHuman's sculpted shape exactly, so arms hanging down look
    as sculpted.

    Args:
        vertices: S symmetric bodies in MakeHuman's pose.
    """
    posed, rest = [], []
    sparse_weights = scipy.sparse.csr_matrix(surface.weights)
    parents = joint_parents()
    for body in vertices.astype(float):
        joints = place_joints(source, body)
        rotations = _rotations_from_t_pose(source, body, joints)
        t_joints = np.zeros_like(joints)
        for joint, parent in enumerate(parents):
            if parent >= 0:
                t_joints[joint] = t_joints[parent] + rotations[parent].T @ (joints[joint] - joints[parent])
        shifts = joints - np.einsum("jab,jb->ja", rotations, t_joints)
        blended = (sparse_weights @ np.concatenate([rotations, shifts[:, :, None]], axis=2).reshape(-1, 12)).reshape(
            -1, 3, 4
        )
        skin = body[surface.vertex_ids]
        posed.append(np.linalg.solve(blended[:, :, :3], (skin - blended[:, :, 3])[:, :, None])[:, :, 0])
        rest.append(t_joints)
    return TPosed(np.stack(posed), np.stack(rest))


def _rotations_from_t_pose(
    source: MakeHuman, body: np.ndarray, joints: Float[np.ndarray, "55 3"]
) -> Float[np.ndarray, "55 3 3"]:
    """Global rotation of each joint that takes the T-pose to MakeHuman's pose."""
    at = {name: joints[index] for name, index in JOINT_INDEX.items()}
    tips = {finger: body[source.bone_end(f"finger{number}-3.L", "tail")].mean(0) for finger, number in FINGERS.items()}
    down, along, up = np.array([0.0, -1, 0]), np.array([1.0, 0, 0]), np.array([0.0, 1, 0])
    rotation = {name: np.eye(3) for name in JOINT_NAMES}
    rotation["left_hip"] = _shortest_rotation(THIGH, at["left_knee"] - at["left_hip"])
    rotation["left_knee"] = _shortest_rotation(down, at["left_ankle"] - at["left_knee"])

    upper_arm, forearm = at["left_elbow"] - at["left_shoulder"], at["left_wrist"] - at["left_elbow"]
    hinge = np.cross(upper_arm, forearm)  # the elbow turns about it; in the T-pose it bends forward, about -y
    rotation["left_shoulder"] = _frame(upper_arm, hinge) @ _frame(along, -up).T
    rotation["left_elbow"] = _frame(forearm, hinge) @ _frame(along, -up).T
    back_of_hand = np.cross(at["left_index1"] - at["left_wrist"], at["left_pinky1"] - at["left_wrist"])
    hand = _frame(at["left_middle1"] - at["left_wrist"], back_of_hand) @ _frame(along, up).T
    rotation["left_wrist"] = hand
    for phalanx in (1, 2, 3):
        rotation[f"left_thumb{phalanx}"] = hand
    for finger, degrees in SPLAY_DEGREES.items():
        straight = np.array([np.cos(np.radians(degrees)), 0, np.sin(np.radians(degrees))])
        ends = [at[f"left_{finger}{phalanx}"] for phalanx in (1, 2, 3)] + [tips[finger]]
        turn = hand
        for phalanx in (1, 2, 3):  # each phalanx turns on from the one before, without twist
            turn = _shortest_rotation(turn @ straight, ends[phalanx] - ends[phalanx - 1]) @ turn
            rotation[f"left_{finger}{phalanx}"] = turn
    flip = np.diag([-1.0, 1, 1])
    for name in JOINT_NAMES:
        if name.startswith("right_"):
            rotation[name] = flip @ rotation["left_" + name.removeprefix("right_")] @ flip
    return np.stack([rotation[name] for name in JOINT_NAMES])


def _shortest_rotation(start: Float[np.ndarray, " 3"], end: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    x, y, z = np.cross(start, end)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + skew + skew @ skew / (1 + start @ end)


def _frame(first: Float[np.ndarray, " 3"], second: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Right-handed orthonormal frame with `first` as first column and `second`, made orthogonal to it, as second."""
    a = first / np.linalg.norm(first)
    b = second - a * (a @ second)
    b /= np.linalg.norm(b)
    return np.stack([a, b, np.cross(a, b)], axis=1)
