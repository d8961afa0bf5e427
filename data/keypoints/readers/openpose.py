"""OpenPose's layout, {"people": [{"pose_keypoints_2d": ...}]}, and programs that write as it does.

These include ControlNet and DWPose ("canvas_width", "canvas_height", coordinates in pixels or shares, empty parts as
null, one object per image in a list), rtmlib, ViTPose, tf-pose, AlphaPose's "open" and "cmu" results (an object for
each image, or "bodies" with "joints").
"""

from collections.abc import Mapping
from typing import Any

from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.people import ONLY_IMAGE, ImagePeople, Person
from bodyfit.data.keypoints.readers.common import Source, add_parts, first_of, image_key, size_in, tracking_number

_PARTS = (
    (("hand_left_keypoints_2d", "hand_left_keypoints"), ("hand_left_keypoints_2d", (kf.LEFT_HAND_21,))),
    (("hand_right_keypoints_2d", "hand_right_keypoints"), ("hand_right_keypoints_2d", (kf.RIGHT_HAND_21,))),
    (("face_keypoints_2d", "face_keypoints"), ("face_keypoints_2d", (kf.FACE_70, kf.FACE_68))),
)


def is_openpose(content: Any) -> bool:
    """Whether an object is one image's people in this layout."""
    return isinstance(content, Mapping) and any(isinstance(content.get(key), list) for key in ("people", "bodies"))


def read_image(content: Mapping[str, Any], source: Source) -> ImagePeople:
    """The people of one image."""
    key = "people" if isinstance(content.get("people"), list) else "bodies"
    entries = source.objects(content[key], key)
    bodies = [
        source.points(first_of(entry, "pose_keypoints_2d", "pose_keypoints", "joints", "keypoints"), "pose")
        for entry in entries
    ]
    people: list[Person] = []
    for entry, body, table in zip(entries, bodies, source.body_tables(bodies, "'pose_keypoints_2d'"), strict=True):
        person: Person = [(table, body)] if table is not None else []
        people.append(person + add_parts(source, entry, _PARTS))
    detector = content.get("detector")
    return ImagePeople(
        people,
        size_in(content),
        [tracking_number(entry) for entry in entries],
        detector=detector if isinstance(detector, str) else "",
    )


def read_many(contents: list[Mapping[str, Any]], source: Source) -> dict[str, ImagePeople]:
    """A list of images: ControlNet's nodes write one object for each."""
    if len(contents) == 1:
        return {ONLY_IMAGE: read_image(contents[0], source)}
    return {image_key(content, str(i)): read_image(content, source) for i, content in enumerate(contents)}


def read_by_name(content: Mapping[str, Any], source: Source) -> dict[str, ImagePeople]:
    """An object for each image under its file name (AlphaPose's --format open and cmu)."""
    return {name: read_image(image, source) for name, image in content.items()}
