"""Names that programs give to keypoints, in whatever spelling -> the names of `LANDMARK_NAMES`."""

import re
from collections.abc import Sequence

from bodyfit.data.keypoints.formats import FACE_68, KeypointFormat
from bodyfit.data.landmarks import FINGERS, LANDMARK_INDEX

_POINTS = {
    "eye": ("eye", "eyes"),
    "ear": ("ear", "ears"),
    "shoulder": ("shoulder", "sho", "shld", "shoul", "shoulders"),
    "elbow": ("elbow", "elb"),
    "wrist": ("wrist", "wri", "wrs", "handroot"),
    "hip": ("hip", "hips"),
    "knee": ("knee", "kne"),
    "ankle": ("ankle", "ank", "foot"),
    "big_toe": ("bigtoe", "toe", "footindex", "toes"),
    "small_toe": ("smalltoe", "littletoe", "pinkytoe"),
    "heel": ("heel",),
}
_SIDED = {word: point for point, words in _POINTS.items() for word in words}
_MIDDLE = {
    "nose": "nose",
    "neck": "neck",
    "thorax": "neck",
    **dict.fromkeys(("pelvis", "root", "midhip", "hip", "hips", "hipcenter", "hipcentre", "bodycenter"), "pelvis"),
}
_FINGER_WORDS = {
    **{finger: finger for finger in FINGERS},
    **{f"{finger}finger": finger for finger in FINGERS},
    "forefinger": "index",
    "little": "pinky",
    "littlefinger": "pinky",
}
_PARTS = {"1": "1", "2": "2", "3": "3", "4": "", "tip": "", "thirdjoint": "1", "knuckle": "1"}
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}


def landmark_of(name: str) -> str | None:
    """The landmark that a keypoint's name means, None for a point that SMPL-X does not have or an unknown word.

    Understands left_shoulder, LShoulder, lsho, "Left Shoulder", shoulder_l, leftShoulder, l-shoulder, Sapiens' and
    MMPose's fingers (left_forefinger1, left_thumb4 for the tip) and face points (face-30).
    """
    if name in LANDMARK_INDEX:
        return name
    spread = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    words = re.sub(r"(?<=[A-Z])(?=[A-Z][a-z])", " ", spread).lower()
    words = re.findall(r"[a-z]+|[0-9]+", words)
    if words[:1] == ["face"] and len(words) == 2 and words[1].isdigit():
        return FACE_68.points[int(words[1])] if int(words[1]) < len(FACE_68) else None
    side, rest = _side_and_rest(words)
    if side is None:
        return _MIDDLE.get(rest)
    if rest in _SIDED:
        return f"{side}_{_SIDED[rest]}"
    found = re.fullmatch(r"(?:hand)?([a-z]+?)(1|2|3|4|tip|thirdjoint|knuckle)", rest)
    if found and found[1] in _FINGER_WORDS:
        return f"{side}_{_FINGER_WORDS[found[1]]}{_PARTS[found[2]]}"
    return None


def _side_and_rest(words: list[str]) -> tuple[str | None, str]:
    """The side and what is left, joined; the side may be a word, or the first letter of a word such as lsho."""
    sides = [word for word in words if word in _SIDES]
    if len(sides) == 1:
        return _SIDES[sides[0]], "".join(word for word in words if word not in _SIDES)
    joined = "".join(words)
    for start in ("left", "right", "l", "r"):
        rest = joined.removeprefix(start)
        if rest != joined and (rest in _SIDED or re.sub(r"\d|tip$", "", rest) in _FINGER_WORDS):
            return _SIDES[start], rest
    for end in ("left", "right"):
        if joined.endswith(end):
            return end, joined.removesuffix(end)
    return None, joined


def table_of_names(names: Sequence[str], title: str = "named") -> KeypointFormat:
    """The format whose points have these names; those that mean no landmark keep their own and are not used.

    Sapiens writes the fingertip as "4" and the first joint as "third_joint": its 2 and 3 are the second and third joint
    there too. Where two names mean the same landmark, the first counts.
    """
    found = [landmark_of(str(name)) for name in names]
    if not {"left_ankle", "right_ankle"} & set(found):  # Human3.6M calls the ankle a foot
        found = [landmark and re.sub("_foot$", "_ankle", landmark) for landmark in found]
    if "spine1" not in found:  # a head that is no joint of SMPL-X's is the top of the head
        found = [None if landmark == "head" else landmark for landmark in found]
    points: list[str] = []
    for i, (name, landmark) in enumerate(zip(names, found, strict=True)):
        points.append(landmark if landmark and landmark not in points else f"point_{i}_{name}")
    return KeypointFormat(title, tuple(points))
