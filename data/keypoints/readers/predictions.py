"""Lists of people: COCO results (Detectron2, ViTPose, MMPose), AlphaPose, OpenPifPaf, TensorFlow.js, posenet, YOLO.

A list with an object for each person, {"keypoints": ..., "image_id": ...}; the points are x, y, score in a row, pairs
with scores beside them, objects with names, or YOLO's {"x": [...], "y": [...], "visible": [...]}.
"""

from collections.abc import Mapping
from typing import Any

from bodyfit.data.keypoints.people import ONLY_IMAGE, ImagePeople, KeypointError
from bodyfit.data.keypoints.readers.coco import people_of
from bodyfit.data.keypoints.readers.common import Source, image_key, named_points, size_in, size_of, tracking_number

_KEYS = ("keypoints", "kpts", "landmarks", "joints", "pred_keypoints")


def is_people(content: Any) -> bool:
    """Whether this is a list of objects with keypoints; an empty list is, too."""
    return isinstance(content, list) and all(isinstance(item, dict) and _KEYS[0] in item for item in content)


def read(entries: list[Mapping[str, Any]], source: Source, names: Any = None) -> dict[str, ImagePeople]:
    """People by the image that they name; `names` of the points where the file has them for all people."""
    entries = _only_people(entries)
    bodies, all_names = [], []
    for entry in entries:
        named = named_points(entry["keypoints"])
        scores = next((entry[k] for k in ("keypoint_scores", "keypoints_scores", "scores") if k in entry), None)
        if named:
            words, value = named
            all_names.append(words if not all(w.isdigit() for w in words) else names)
            bodies.append(source.points(value, "keypoints"))
        else:
            all_names.append(entry.get("keypoint_names", names))
            bodies.append(source.points(entry["keypoints"], "keypoints", scores))
    images: dict[str, ImagePeople] = {}
    for entry, person in zip(entries, people_of(entries, bodies, all_names, source), strict=True):
        key = image_key(entry, ONLY_IMAGE)
        image = images.setdefault(key, ImagePeople(size=_size(entry)))
        image.people.append(person)
        image.ids.append(tracking_number(entry))
    return _without_repeated_ids(images) or {ONLY_IMAGE: ImagePeople()}


def read_json_lines(frames: list[Any], source: Source) -> dict[str, ImagePeople]:
    """OpenPifPaf's results of a video: a document a line, {"frame": 1, "predictions": [...]}."""
    images: dict[str, ImagePeople] = {}
    for number, frame in enumerate(frames):
        if not isinstance(frame, dict):
            raise KeypointError(
                f"{source.path}: line {number + 1} is not an object. Expected a JSON document per line."
            )
        people = frame.get("predictions", frame.get("people", frame.get("instances")))
        if people is None and "keypoints" in frame:
            people = [frame]
        entries = [{"keypoints": (), **item} for item in source.objects(people, "predictions")]
        found = read([{k: v for k, v in e.items() if k not in ("image_id", "frame")} for e in entries], source)
        (only,) = found.values()
        images[image_key(frame, str(number))] = ImagePeople(only.people, size_in(frame) or only.size, only.ids)
    return images


def _only_people(entries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without YOLO results named otherwise than person, and without other categories than 1, where there are such."""
    any_named = any(_is_yolo(entry) and entry["name"].lower() == "person" for entry in entries)
    any_first = any(entry.get("category_id") == 1 for entry in entries)

    def is_a_thing(entry: Mapping[str, Any]) -> bool:
        if _is_yolo(entry):
            return any_named and entry["name"].lower() != "person"
        category = entry.get("category_id")
        return any_first and isinstance(category, int) and category != 1

    return [entry for entry in entries if not is_a_thing(entry)]


def _is_yolo(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("name"), str) and isinstance(entry.get("class"), int)


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    shape = entry.get("orig_shape")  # YOLO's is (height, width)
    return size_of(shape[::-1]) if isinstance(shape, list) and len(shape) == 2 else size_in(entry)


def _without_repeated_ids(images: dict[str, ImagePeople]) -> dict[str, ImagePeople]:
    """AlphaPose writes idx 0 for everybody when it does not track; such numbers follow nobody."""
    for key, image in images.items():
        known = [number for number in image.ids if number is not None]
        if len(set(known)) < len(known):
            images[key] = ImagePeople(image.people, image.size, [None] * len(image.people), image.unit)
    return images
