"""The names of the 144 points of an SMPL-X body that a photo can show, in the order of smplx's own joints.

Everything that a detector writes, a body model computes or a result stores is told apart by these names. The order is
that of `smplx.joint_names.JOINT_NAMES`, which is also the order of the `joints` that `smplx.SMPLX.forward` returns with
`use_face_contour=True`: 55 joints, 21 points on the skin, 51 face points in iBUG order, 17 points of the face contour.
"""

import itertools


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_BODY_JOINTS = _words("""
    pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot right_foot
    neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist
""")
_HEAD_JOINTS = ("jaw", "left_eye_smplhf", "right_eye_smplhf")  # the two eyeballs, in smplx's words

FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def _finger_joints(side: str) -> tuple[str, ...]:
    return tuple(f"{side}_{finger}{i}" for finger in ("index", "middle", "pinky", "ring", "thumb") for i in (1, 2, 3))


def _finger_tips(side: str) -> tuple[str, ...]:
    return tuple(f"{side}_{finger}" for finger in FINGERS)


_HEAD_AND_FEET = _words("""
    nose right_eye left_eye right_ear left_ear
    left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel
""")

# Points 17 to 67 of the iBUG 68-point scheme.
_FACE_POINTS = _words("""
    right_eye_brow1 right_eye_brow2 right_eye_brow3 right_eye_brow4 right_eye_brow5
    left_eye_brow5 left_eye_brow4 left_eye_brow3 left_eye_brow2 left_eye_brow1
    nose1 nose2 nose3 nose4 right_nose_2 right_nose_1 nose_middle left_nose_1 left_nose_2
    right_eye1 right_eye2 right_eye3 right_eye4 right_eye5 right_eye6
    left_eye4 left_eye3 left_eye2 left_eye1 left_eye6 left_eye5
    right_mouth_1 right_mouth_2 right_mouth_3 mouth_top left_mouth_3 left_mouth_2 left_mouth_1
    left_mouth_5 left_mouth_4 mouth_bottom right_mouth_4 right_mouth_5
    right_lip_1 right_lip_2 lip_top left_lip_2 left_lip_1 left_lip_3 lip_bottom right_lip_3
""")

# Points 0 to 16 of the iBUG scheme, from the right ear around the chin to the left ear.
_CONTOUR_POINTS = _words("""
    right_contour_1 right_contour_2 right_contour_3 right_contour_4 right_contour_5 right_contour_6 right_contour_7
    right_contour_8 contour_middle left_contour_8 left_contour_7 left_contour_6 left_contour_5 left_contour_4
    left_contour_3 left_contour_2 left_contour_1
""")

JOINT_NAMES: tuple[str, ...] = _BODY_JOINTS + _HEAD_JOINTS + _finger_joints("left") + _finger_joints("right")
"""The 55 joints of SMPL-X; `parents`, `weights` and `joint_regressor` of a body model are in this order."""

SMPLH_JOINT_NAMES: tuple[str, ...] = _BODY_JOINTS + _finger_joints("left") + _finger_joints("right")
SMPL_JOINT_NAMES: tuple[str, ...] = (*_BODY_JOINTS, "left_hand", "right_hand")

SKIN_POINT_NAMES: tuple[str, ...] = _HEAD_AND_FEET + _finger_tips("left") + _finger_tips("right")
"""The 21 points that are single vertices of the mesh: `LANDMARK_NAMES[55:76]`."""

LANDMARK_NAMES: tuple[str, ...] = JOINT_NAMES + SKIN_POINT_NAMES + _FACE_POINTS + _CONTOUR_POINTS
LANDMARK_INDEX: dict[str, int] = {name: i for i, name in enumerate(LANDMARK_NAMES)}


def landmark_indices(names: tuple[str, ...]) -> tuple[int, ...]:
    """Places of `names` in `LANDMARK_NAMES`; KeyError for a name that SMPL-X does not have."""
    return tuple(LANDMARK_INDEX[name] for name in names)


# Every landmark belongs to exactly one part. Wrists are body: the arm places them, the fingers hang on them.
BODY: tuple[int, ...] = landmark_indices(_BODY_JOINTS + _HEAD_AND_FEET)
LEFT_HAND: tuple[int, ...] = landmark_indices(_finger_joints("left") + _finger_tips("left"))
RIGHT_HAND: tuple[int, ...] = landmark_indices(_finger_joints("right") + _finger_tips("right"))
FACE: tuple[int, ...] = landmark_indices(_HEAD_JOINTS + _FACE_POINTS + _CONTOUR_POINTS)


def mirrored_name(name: str) -> str:
    """The same point on the other side of the body; a point of the middle is its own mirror image."""
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    if name.startswith("right_"):
        return "left_" + name.removeprefix("right_")
    return name


MIRRORED: tuple[int, ...] = landmark_indices(tuple(mirrored_name(name) for name in LANDMARK_NAMES))
"""`points[..., MIRRORED, :]` swaps the names of left and right."""


def _chain(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple(itertools.pairwise(names))


def _body_edges(side: str) -> tuple[tuple[str, str], ...]:
    return (
        *_chain("neck", f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"),
        *_chain("pelvis", f"{side}_hip", f"{side}_knee", f"{side}_ankle", f"{side}_heel"),
        *_chain(f"{side}_ankle", f"{side}_big_toe", f"{side}_small_toe"),
        *_chain("nose", f"{side}_eye", f"{side}_ear"),
        (f"{side}_shoulder", f"{side}_hip"),
    )


def _hand_edges(side: str) -> tuple[tuple[str, str], ...]:
    fingers = (
        _chain(f"{side}_wrist", *(f"{side}_{finger}{i}" for i in (1, 2, 3)), f"{side}_{finger}") for finger in FINGERS
    )
    return tuple(edge for finger in fingers for edge in finger)


def _face_edges() -> tuple[tuple[str, str], ...]:
    p = _FACE_POINTS
    rings = (p[19:25], p[25:31], p[31:43], p[43:51])  # the two eyes, outer lips, inner lips: closed lines
    lines = (p[0:5], p[5:10], p[10:14], p[14:19], _CONTOUR_POINTS)
    return tuple(edge for ring in rings for edge in _chain(*ring, ring[0])) + tuple(
        edge for line in lines for edge in _chain(*line)
    )


SKELETON: tuple[tuple[int, int], ...] = tuple(
    (LANDMARK_INDEX[a], LANDMARK_INDEX[b])
    for a, b in (
        ("pelvis", "neck"),
        ("neck", "nose"),
        ("left_shoulder", "right_shoulder"),
        ("left_hip", "right_hip"),
        *_body_edges("left"),
        *_body_edges("right"),
        *_hand_edges("left"),
        *_hand_edges("right"),
        *_face_edges(),
    )
)
"""Pairs of landmarks to join with a line when a person's keypoints are drawn; draw those with both ends seen."""

_SIDES = ("left", "right")
LIMBS: tuple[tuple[str, str, str], ...] = tuple(
    (f"{side}_{joints[0]}", f"{side}_{joints[1]}", f"{side}_{joints[2]}")
    for side in _SIDES
    for joints in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
)
"""Joints of arms and legs, from the trunk outwards."""
LIMB_BONES: tuple[str, ...] = tuple(
    f"{side} {bone}" for side in _SIDES for bone in ("upper arm", "forearm", "thigh", "shin")
)
"""The two bones of each of LIMBS, in its order: what may point towards the camera or away from it."""
