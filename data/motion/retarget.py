"""From another skeleton's motion to the SMPL family's body pose, by the two rest poses.

Every target joint copies how its source joint has turned since the source's rest pose. Where the two rest poses differ
(arms out or hanging) a constant rotation first brings the target's bones to the source's rest directions. So limbs
point where the source's point, whatever the proportions.
"""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from bodyfit.data.body.skeleton import PARENTS, REST_OFFSETS
from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.data.motion.bvh import BvhError, BvhMotion

# Names that motion files give to a joint, without side, prefix, case and punctuation.
_LIMB_NAMES = {
    "hip": ("upleg", "thigh", "hip", "femur", "upperleg"),
    "knee": ("leg", "shin", "knee", "tibia", "calf", "lowerleg"),
    "ankle": ("foot", "ankle"),
    "foot": ("toebase", "toe", "toes", "ball"),
    "collar": ("clavicle", "collar"),
    "shoulder": ("arm", "upperarm", "uparm", "humerus"),
    "elbow": ("forearm", "lowerarm", "lowarm", "elbow", "radius"),
    "wrist": ("hand", "wrist"),
}
_MIDDLE_NAMES = {
    "pelvis": ("hips", "hip", "pelvis", "root"),
    "neck": ("neck", "lowerneck"),
    "head": ("head",),
}
# Sides in the styles LeftUpLeg or left_thigh, lThigh or L_Thigh, lfemur, thigh.L or thigh_l.
_SIDES = (
    r"(?i:(?P<side>left|right)[_. ]?(?P<word>.+))",
    r"(?P<side>[lLrR])[_. ]?(?P<word>[A-Z].*)",
    r"(?P<side>[lr])_?(?P<word>femur|tibia|foot|toes|clavicle|humerus|radius|hand|wrist|thigh|shin|calf|upperarm|forearm)",
    r"(?P<word>.+)[_. ](?P<side>[lLrR]|[lL]eft|[rR]ight)",
)
# Limbs whose direction is reported: joint -> the next along the limb.
_LIMBS = {"hip": "knee", "knee": "ankle", "ankle": "foot", "shoulder": "elbow", "elbow": "wrist"}


@dataclass(frozen=True)
class Retargeted:
    """A body pose and how well its limbs follow the source's."""

    body_pose: Float[np.ndarray, "T 63"]
    root_orient: Float[np.ndarray, "T 3"]
    direction_error_degrees: dict[str, float]
    """Largest angle over the clip between source and result, a limb ("left_hip" is the thigh's)."""


def retarget(motion: BvhMotion, source: str) -> Retargeted:
    """Body pose in radians of a BVH motion; `source` names the file in errors.

    Raises BvhError when hips, knees, shoulders or elbows are not found by their names.
    """
    joint_of = match_joints(motion, source)
    spine = _spine_chain(motion, joint_of)
    rest = _rest_positions(motion)
    _check_rest(joint_of, rest, source)
    alignments = _alignments(motion, joint_of, rest)
    count = len(motion.orientations)
    globals_ = np.empty((count, 22, 3, 3))
    for index, name in enumerate(JOINT_NAMES[:22]):
        parent = PARENTS[index]
        if name.startswith("spine"):
            turned = _along_spine(motion, spine, int(name[-1]) / 3)
        elif name in joint_of:
            turned = motion.orientations[:, joint_of[name]]
        else:
            # The source has no such joint: it stays at rest with respect to its parent.
            globals_[:, index] = globals_[:, parent]
            continue
        globals_[:, index] = turned @ alignments[name]
    local = np.empty((count, 22, 3, 3))
    local[:, 0] = globals_[:, 0]
    for index in range(1, 22):
        local[:, index] = np.swapaxes(globals_[:, PARENTS[index]], -1, -2) @ globals_[:, index]
    pose = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(count, 66)
    return Retargeted(pose[:, 3:], pose[:, :3], _direction_errors(motion, joint_of, globals_))


def _check_rest(joint_of: dict[str, int], rest: np.ndarray, source: str) -> None:
    """Refuse rest poses without a left, right and up, such as those with all offsets zero."""
    corners = [rest[joint_of[name]] for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")]
    left, up = corners[0] - corners[1], (corners[2] + corners[3]) - (corners[0] + corners[1])
    across = np.linalg.norm(np.cross(left, up))
    if not across > 1e-6 * np.linalg.norm(left) * np.linalg.norm(up):
        raise BvhError(
            f"{source}: in its rest pose hips and shoulders lie on one line. Expected a skeleton with offsets"
        )


def match_joints(motion: BvhMotion, source: str) -> dict[str, int]:
    """SMPL joint name -> the file's joint, by the names that CMU's, Mixamo's and similar skeletons use."""
    found: dict[str, int] = {}
    shoulders: dict[str, int] = {}
    for index, raw in enumerate(motion.names):
        if raw.endswith("_end"):
            continue
        side, word = _split_side(raw)
        if side and word == "shoulder":
            shoulders.setdefault(side, index)
        elif side:
            for target in (target for target, words in _LIMB_NAMES.items() if word in words):
                found.setdefault(f"{side}_{target}", index)
        else:
            for target in (target for target, words in _MIDDLE_NAMES.items() if word in words):
                found.setdefault(target, index)
    found.setdefault("pelvis", 0)
    for side, index in shoulders.items():
        # "LeftShoulder" is a collar where there is a "LeftArm" as well, else the shoulder itself.
        found.setdefault(f"{side}_collar" if f"{side}_shoulder" in found else f"{side}_shoulder", index)
    needed = [f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "knee", "shoulder", "elbow")]
    if missing := [name for name in needed if name not in found]:
        raise BvhError(
            f"{source}: no joint recognised as {', '.join(missing)} among {', '.join(motion.names[:12]):.200}, ..."
        )
    return found


def _split_side(raw: str) -> tuple[str, str]:
    """("left", "upleg") of mixamorig:LeftUpLeg; ("", "neck") of Neck."""
    name = raw.split(":")[-1].removeprefix("mixamorig").lstrip("_")
    for pattern in _SIDES:
        if match := re.fullmatch(pattern, name):
            side = "left" if match["side"][0] in "lL" else "right"
            return side, re.sub(r"[^a-z0-9]", "", match["word"].lower())
    return "", re.sub(r"[^a-z0-9]", "", name.lower())


def _chain_to(motion: BvhMotion, joint: int, ancestor: int) -> list[int]:
    """Joints from just below the ancestor down to the joint."""
    chain = []
    while joint not in (ancestor, -1):
        chain.append(joint)
        joint = motion.parents[joint]
    return chain[::-1]


def _spine_chain(motion: BvhMotion, joint_of: dict[str, int]) -> list[int]:
    """What lies between the pelvis and where neck and arms branch off."""
    pelvis = joint_of["pelvis"]
    branches = [
        _chain_to(motion, joint_of[name], pelvis)
        for name in ("left_shoulder", "right_shoulder", "neck")
        if name in joint_of
    ]
    shared = []
    for joints in zip(*branches, strict=False):
        if len(set(joints)) > 1 or joints[0] in joint_of.values():
            break
        shared.append(joints[0])
    return shared


def _along_spine(motion: BvhMotion, spine: list[int], share: float) -> Float[np.ndarray, "T 3 3"]:
    """Orientation at this share of the way up from the pelvis (0) to the uppermost spine joint (1)."""
    chain = [_pelvis_of(motion, spine), *spine]
    position = share * (len(chain) - 1)
    below = min(int(position), len(chain) - 1)
    above = min(below + 1, len(chain) - 1)
    low, high = motion.orientations[:, chain[below]], motion.orientations[:, chain[above]]
    step = Rotation.from_matrix(np.swapaxes(low, -1, -2) @ high).as_rotvec()
    return low @ Rotation.from_rotvec((position - below) * step).as_matrix()


def _pelvis_of(motion: BvhMotion, spine: list[int]) -> int:
    return motion.parents[spine[0]] if spine else 0


def _rest_positions(motion: BvhMotion) -> Float[np.ndarray, "N 3"]:
    positions = np.zeros_like(motion.offsets)
    for index, parent in enumerate(motion.parents):
        if parent >= 0:
            positions[index] = positions[parent] + motion.offsets[index]
    return positions


_TARGET_REST = np.zeros((22, 3))
for _index in range(1, 22):
    _TARGET_REST[_index] = _TARGET_REST[PARENTS[_index]] + np.array(REST_OFFSETS[_index])
_TARGET_INDEX = {name: index for index, name in enumerate(JOINT_NAMES[:22])}


def _alignments(motion: BvhMotion, joint_of: dict[str, int], rest: np.ndarray) -> dict[str, np.ndarray]:
    """For each target joint the rotation that takes the target's rest pose to the source's."""
    body = (
        _body_frame(*(rest[joint_of[name]] for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")))
        @ _body_frame(
            *(
                _TARGET_REST[_TARGET_INDEX[name]]
                for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
            )
        ).T
    )
    result = {}
    for index, name in enumerate(JOINT_NAMES[:22]):
        parent = JOINT_NAMES[PARENTS[index]] if index else None
        inherited = result[parent] if parent and not name.startswith("spine") else body
        source = _rest_direction(motion, joint_of, rest, name)
        side, _, limb = name.partition("_")
        following = f"{side}_{_LIMBS[limb]}" if limb in _LIMBS else None
        if following is None or source is None:
            result[name] = inherited
            continue
        target = inherited @ (_TARGET_REST[_TARGET_INDEX[following]] - _TARGET_REST[index])
        result[name] = _shortest_rotation(target, source) @ inherited
    return result


def _rest_direction(motion: BvhMotion, joint_of: dict[str, int], rest: np.ndarray, name: str) -> np.ndarray | None:
    side, _, limb = name.partition("_")
    following = f"{side}_{_LIMBS[limb]}" if limb in _LIMBS else None
    if name not in joint_of or following not in joint_of:
        return None
    direction = rest[joint_of[following]] - rest[joint_of[name]]
    return direction if np.linalg.norm(direction) > 1e-9 else None


def _body_frame(
    left_hip: np.ndarray, right_hip: np.ndarray, left_shoulder: np.ndarray, right_shoulder: np.ndarray
) -> np.ndarray:
    """Columns left, up, forward of a standing skeleton."""
    left = left_hip - right_hip
    up = (left_shoulder + right_shoulder) - (left_hip + right_hip)
    left = left / np.linalg.norm(left)
    up = up - (up @ left) * left
    up = up / np.linalg.norm(up)
    return np.stack([left, up, np.cross(left, up)], axis=1)


def _shortest_rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(start, end)
    sine, cosine = np.linalg.norm(axis), start @ end
    if sine < 1e-9:
        if cosine > 0:
            return np.eye(3)
        axis, sine = np.cross(start, np.eye(3)[np.abs(start).argmin()]), 0.0
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.arctan2(sine, cosine)).as_matrix()


def _direction_errors(motion: BvhMotion, joint_of: dict[str, int], globals_: np.ndarray) -> dict[str, float]:
    errors = {}
    for side in ("left", "right"):
        for limb, following in _LIMBS.items():
            name, child = f"{side}_{limb}", f"{side}_{following}"
            if name not in joint_of or child not in joint_of:
                continue
            chain = _chain_to(motion, joint_of[child], joint_of[name])
            source = sum(motion.orientations[:, motion.parents[joint]] @ motion.offsets[joint] for joint in chain)
            index = _TARGET_INDEX[name]
            result = globals_[:, index] @ (_TARGET_REST[_TARGET_INDEX[child]] - _TARGET_REST[index])
            lengths = np.linalg.norm(source, axis=-1) * np.linalg.norm(result, axis=-1)
            sine = np.linalg.norm(np.cross(source, result), axis=-1)
            angle = np.arctan2(sine, (source * result).sum(-1))
            errors[name] = float(np.degrees(angle[lengths > 1e-9].max(initial=0.0)))
    return errors
