"""MediaPipe: landmarks as shares of the image, in the layouts that its results are usually written in.

MediaPipe writes no files itself. Read are, for one or several people and with or without hands and face:

    {"image_size": [width, height], "people": [{"pose_landmarks": [...], "left_hand_landmarks": [...], ...}]}
    {"pose_landmarks": [...]}, {"poseLandmarks": [...]}     one person, or a list for each (the Tasks API)
    {"landmarks": [[...]], "worldLandmarks": [[...]]}       the Tasks API in JavaScript
    {"landmark": [...]}                                     MessageToDict of the Python solutions
    [{"x": 0.5, "y": 0.5, "z": 0, "visibility": 1}, ...]    a bare list of one person's, or a list of such lists

A landmark is an object with x, y and visibility, or a list [x, y, visibility] or [x, y, z, visibility]. The hands are
the person's own left and right.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.people import ONLY_IMAGE, ImagePeople, KeypointError, Person
from bodyfit.data.keypoints.readers.common import Source, size_in

_BODY = ("pose_landmarks", "poseLandmarks", "pose_landmark", "landmarks", "landmark")
_PARTS = (
    (("left_hand_landmarks", "leftHandLandmarks"), kf.LEFT_HAND_21),
    (("right_hand_landmarks", "rightHandLandmarks"), kf.RIGHT_HAND_21),
    (("face_landmarks", "faceLandmarks"), kf.FACE_68),
)


def is_mediapipe(content: Any) -> bool:
    """Whether this is one of the layouts above."""
    if isinstance(content, Mapping):
        people = content.get("people")
        if isinstance(people, list):
            return any(isinstance(entry, Mapping) and any(k in entry for k in _BODY[:3]) for entry in people)
        return any(key in content for key in _BODY)
    return _is_landmarks(content) or (isinstance(content, list) and bool(content) and all(map(_is_landmarks, content)))


def read(content: Any, source: Source) -> dict[str, ImagePeople]:
    """The people of one image."""
    if isinstance(content, list):
        content = {"pose_landmarks": content}
    entries = [content]
    if isinstance(content.get("people"), list):
        entries = source.objects(content["people"], "people")
    people = [person for entry in entries for person in _people(entry, source)]
    return {ONLY_IMAGE: ImagePeople(people, size_in(content), unit="shares")}


def _people(entry: Mapping[str, Any], source: Source) -> list[Person]:
    bodies = _lists(next((entry[key] for key in _BODY if key in entry), None))
    parts = [(keys[0], table, _lists(next((entry[k] for k in keys if k in entry), None))) for keys, table in _PARTS]
    return [_person(bodies, i, parts, source) for i in range(max(1, len(bodies)))]


def _person(bodies: list[Any], i: int, parts: list[tuple[str, kf.KeypointFormat, list]], source: Source) -> Person:
    body = _points(bodies[i], "pose_landmarks", source) if bodies else np.zeros((0, 3))
    person: Person = []
    if len(body):
        if len(body) != len(kf.MEDIAPIPE_33) and source.format is None:
            raise KeypointError(f"{source.path}: 'pose_landmarks' holds {len(body)} points. Expected 33.")
        person.append((source.body_tables([body], "'pose_landmarks'")[0], body))
    for key, table, lists in parts:
        points = _points(lists[i], key, source) if i < len(lists) else np.zeros((0, 3))
        if table is kf.FACE_68 and len(points):
            if len(points) not in (468, 478):
                raise KeypointError(f"{source.path}: 'face_landmarks' holds {len(points)} points. Expected 468 or 478.")
            points = points[list(kf.MEDIAPIPE_FACE_68)]
        if len(points):
            person.append((source.part_table(len(points), (table,), key), points))
    return person


def _lists(value: Any) -> list[Any]:
    """One list of landmarks for each person, whether the file holds one person's or several."""
    if isinstance(value, Mapping):
        value = value.get("landmark", value.get("landmarks"))
    if not value:
        return []
    if isinstance(value, list) and all(isinstance(v, Mapping) and ("landmark" in v or "landmarks" in v) for v in value):
        return [v.get("landmark", v.get("landmarks")) for v in value]
    first = value[0] if isinstance(value, list) else None
    nested = isinstance(first, list) and (not first or isinstance(first[0], Mapping | list))
    return value if nested else [value]


def _is_landmarks(value: Any) -> bool:
    """A list of 33 objects with x, y and a z or visibility."""
    return (
        isinstance(value, list)
        and len(value) == 33
        and all(
            isinstance(item, Mapping) and {"x", "y"} <= item.keys() and {"z", "visibility"} & item.keys()
            for item in value
        )
        and not any("name" in item for item in value)
    )


def _points(landmarks: Any, key: str, source: Source) -> np.ndarray:
    rows = []
    for item in landmarks or ():
        if isinstance(item, Mapping):
            item = (item.get("x"), item.get("y"), item.get("visibility", 1.0))
        score = item[3] if len(item) > 3 else item[2] if len(item) > 2 else 1.0
        rows.append((*item[:2], score))
    return source.array(rows, key).reshape(-1, 3)
