"""What the points of each keypoint detector are, as tables from their order to landmark names.

A name that is not in `LANDMARK_NAMES` (head_top, left_pupil, ...) is a point that SMPL-X does not have; it is not used.
Because left and right are said in the names, `landmarks.mirrored_name` mirrors every one of these formats.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bodyfit.data.landmarks import LANDMARK_INDEX, LANDMARK_NAMES


@dataclass(frozen=True)
class KeypointFormat:
    """The points of one detector (or of one part: a hand, a face) in its own order."""

    name: str
    points: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of the points that are landmarks: in this format, and in `LANDMARK_NAMES`."""
        pairs = [(i, LANDMARK_INDEX[name]) for i, name in enumerate(self.points) if name in LANDMARK_INDEX]
        return tuple(np.array(column) for column in zip(*pairs, strict=True))


def find_body_format(name: str) -> KeypointFormat | None:
    """The format of this name, or the only one whose name ends in it ("body25" for "openpose_body25"); else None.

    Case, hyphens and underscores make no difference.
    """

    def plain(text: str) -> str:
        return "".join(letter for letter in text.lower() if letter.isalnum())

    asked = plain(name)
    names = {plain(known): known for known in BODY_FORMATS}
    if asked in names:
        return BODY_FORMATS[names[asked]]
    ending = [known for text, known in names.items() if text.endswith(asked)] if asked and asked[0].isalpha() else []
    return BODY_FORMATS[ending[0]] if len(ending) == 1 else None


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_COCO_17 = _words("""
    nose left_eye right_eye left_ear right_ear
    left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist
    left_hip right_hip left_knee right_knee left_ankle right_ankle
""")
_FEET_6 = _words("left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel")

# OpenPose's neck is the middle of the shoulders and its mid-hip the middle of the hips: near SMPL-X's neck and pelvis,
# not on them, which is why the fitting trusts these two less.
OPENPOSE_BODY_25 = KeypointFormat(
    "openpose_body25",
    _words("""
    nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist
    pelvis right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear
""")
    + _FEET_6,
)
OPENPOSE_BODY_25B = KeypointFormat("openpose_body25b", (*_COCO_17, "upper_neck", "head_top", *_FEET_6))
OPENPOSE_COCO_18 = KeypointFormat(
    "openpose_coco18",
    _words("""
    nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist
    right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear
"""),
)
COCO_17 = KeypointFormat("coco17", _COCO_17)
HALPE_26 = KeypointFormat(
    "halpe26",
    _COCO_17
    + _words("""
    head_top neck pelvis left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel
"""),
)

# BlazePose's corners of eyes and mouth are iBUG points; its hand points are knuckles; "foot index" is the big toe.
MEDIAPIPE_33 = KeypointFormat(
    "mediapipe33",
    _words("""
    nose left_eye4 left_eye left_eye1 right_eye4 right_eye right_eye1 left_ear right_ear left_mouth_1 right_mouth_1
    left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist
    left_pinky1 right_pinky1 left_index1 right_index1 left_thumb_knuckle right_thumb_knuckle
    left_hip right_hip left_knee right_knee left_ankle right_ankle left_heel right_heel left_big_toe right_big_toe
"""),
)


def _hand(side: str) -> KeypointFormat:
    fingers = [
        f"{side}_{finger}{part}"
        for finger in ("thumb", "index", "middle", "ring", "pinky")
        for part in ("1", "2", "3", "")  # three joints, then the tip
    ]
    return KeypointFormat(f"{side}_hand21", (f"{side}_wrist", *fingers))


LEFT_HAND_21, RIGHT_HAND_21 = _hand("left"), _hand("right")
FACE_68 = KeypointFormat("face68", LANDMARK_NAMES[127:144] + LANDMARK_NAMES[76:127])
FACE_70 = KeypointFormat("face70", (*FACE_68.points, "right_pupil", "left_pupil"))

COCO_WHOLEBODY_133 = KeypointFormat(
    "coco_wholebody133", _COCO_17 + _FEET_6 + FACE_68.points + LEFT_HAND_21.points + RIGHT_HAND_21.points
)
HALPE_136 = KeypointFormat("halpe136", HALPE_26.points + FACE_68.points + LEFT_HAND_21.points + RIGHT_HAND_21.points)

# Vertices of MediaPipe's 468-point face mesh that lie on the 68 iBUG points, in iBUG order.
MEDIAPIPE_FACE_68 = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),  # contour
    *(46, 53, 52, 65, 55, 285, 295, 282, 283, 276),  # brows
    *(168, 197, 195, 4, 98, 97, 2, 326, 327),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)


def _fingers(side: str, thumb_to_pinky: tuple[str, ...], parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{side}_{finger}{part}" for finger in thumb_to_pinky for part in parts)


_FINGER_ORDER = ("thumb", "index", "middle", "ring", "pinky")

# OpenPose's whole-body model: BODY_25B, then 20 points for each hand (no wrist) and the 70 of the face.
OPENPOSE_BODY_135 = KeypointFormat(
    "openpose_body135",
    OPENPOSE_BODY_25B.points + LEFT_HAND_21.points[1:] + RIGHT_HAND_21.points[1:] + FACE_70.points,
)
OPENPOSE_MPI_15 = KeypointFormat(
    "openpose_mpi15",
    _words("""
    head_top neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist
    right_hip right_knee right_ankle left_hip left_knee left_ankle chest
"""),
)
# DWPose and rtmlib rearrange COCO-WholeBody to OpenPose's 18 body points, which adds a neck.
DWPOSE_134 = KeypointFormat("dwpose134", OPENPOSE_COCO_18.points + COCO_WHOLEBODY_133.points[17:])

# Sapiens: body, feet, right hand from tips to knuckles, then the left; of its 238 face points none is an iBUG point by
# definition, so they are not used. (Its own names: right_thumb4 is the tip, right_thumb_third_joint the first joint.)
_SAPIENS_BODY = _words("""
    nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow
    left_hip right_hip left_knee right_knee left_ankle right_ankle
""")
_SAPIENS_REST = _words("""
    left_olecranon right_olecranon left_cubital_fossa right_cubital_fossa left_acromion right_acromion neck
""")


def _sapiens_hand(side: str) -> tuple[str, ...]:
    return (*_fingers(side, _FINGER_ORDER, ("", "3", "2", "1")), f"{side}_wrist")


SAPIENS_308 = KeypointFormat(
    "sapiens308",
    _SAPIENS_BODY
    + _FEET_6
    + _sapiens_hand("right")
    + _sapiens_hand("left")
    + _SAPIENS_REST
    + tuple(f"face_{i}" for i in range(238)),
)

# "thorax" lies between the shoulders, where SMPL-X's neck joint is; "neck_base" is nearer to the chin.
H36M_17 = KeypointFormat(
    "h36m17",
    _words("""
    pelvis right_hip right_knee right_ankle left_hip left_knee left_ankle spine neck chin head_top
    left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist
"""),
)
POSETRACK_17 = KeypointFormat(
    "posetrack17", ("nose", "head_bottom", "head_top", "left_ear", "right_ear", *_COCO_17[5:])
)
MPII_16 = KeypointFormat(
    "mpii16",
    _words("""
    right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck head_top
    right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist
"""),
)
LSP_14 = KeypointFormat(
    "lsp14",
    _words("""
    right_ankle right_knee right_hip left_hip left_knee left_ankle
    right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist upper_neck head_top
"""),
)
AIC_14 = KeypointFormat(
    "aic14",
    _words("""
    right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist
    right_hip right_knee right_ankle left_hip left_knee left_ankle head_top upper_neck
"""),
)
CROWDPOSE_14 = KeypointFormat(
    "crowdpose14",
    _words("""
    left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist
    left_hip right_hip left_knee right_knee left_ankle right_ankle head_top upper_neck
"""),
)

BODY_FORMATS: dict[str, KeypointFormat] = {
    table.name: table
    for table in (
        OPENPOSE_BODY_25,
        OPENPOSE_BODY_25B,
        OPENPOSE_BODY_135,
        OPENPOSE_COCO_18,
        OPENPOSE_MPI_15,
        COCO_17,
        COCO_WHOLEBODY_133,
        DWPOSE_134,
        HALPE_26,
        HALPE_136,
        MEDIAPIPE_33,
        SAPIENS_308,
        H36M_17,
        POSETRACK_17,
        MPII_16,
        LSP_14,
        AIC_14,
        CROWDPOSE_14,
    )
}
"""Formats that `read_keypoints(format=...)` takes."""

_ONLY_BY_NAME = (OPENPOSE_BODY_25B, H36M_17, POSETRACK_17, LSP_14, AIC_14, CROWDPOSE_14)

BY_COUNT: dict[int, KeypointFormat] = {
    len(table): table for table in BODY_FORMATS.values() if table not in _ONLY_BY_NAME
}
"""What a list of so many points is where nothing else says so. 25 points are looked at: `order`."""
