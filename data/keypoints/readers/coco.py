"""COCO annotation files: COCO, COCO-WholeBody, Halpe, PoseTrack, COCO-annotator, CVAT: many images, points by name."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.people import ImagePeople, KeypointError, Person
from bodyfit.data.keypoints.readers.common import Source, add_parts, size_of, tracking_number

log = logging.getLogger(__name__)

_FEET = kf.KeypointFormat("feet6", kf.COCO_WHOLEBODY_133.points[17:23])
PARTS = (
    (("foot_kpts",), ("foot_kpts", (_FEET,))),
    (("face_kpts",), ("face_kpts", (kf.FACE_68,))),
    (("lefthand_kpts",), ("lefthand_kpts", (kf.LEFT_HAND_21,))),
    (("righthand_kpts",), ("righthand_kpts", (kf.RIGHT_HAND_21,))),
)
_PEOPLE = {"person", "people", "persons", "human", "humans", "pedestrian", "body"}
_ANIMAL_WORDS = ("tail", "paw", "withers", "hoof", "throat", "beak", "wing")


def read(content: Mapping[str, Any], source: Source) -> dict[str, ImagePeople]:
    """People of every image, by its `file_name`."""
    images: dict[Any, tuple[str, ImagePeople]] = {}
    for image in source.objects(content["images"], "images"):
        size = size_of((image.get("width"), image.get("height")))
        images[image.get("id")] = (str(image.get("file_name", image.get("id"))), ImagePeople(size=size))
    categories = content.get("categories")
    categories = {c.get("id"): c for c in categories if isinstance(c, dict)} if isinstance(categories, list) else {}
    entries = [e for e in source.objects(content["annotations"], "annotations") if _is_person(e, categories, source)]
    for entry in entries:
        if entry.get("image_id") not in images:
            raise KeypointError(f"{source.path}: a person is in image {entry.get('image_id')!r}, not in 'images'.")
    bodies = [source.points(e["keypoints"], "keypoints", e.get("keypoint_scores")) for e in entries]
    names = [categories.get(e.get("category_id"), {}).get("keypoints") for e in entries]
    for entry, person in zip(entries, people_of(entries, bodies, names, source), strict=True):
        people = images[entry["image_id"]][1]
        people.people.append(person)
        people.ids.append(tracking_number(entry, ("track_id", "tracking_id", "person_id")))
    return dict(images.values())


def _is_person(entry: Mapping[str, Any], categories: dict[Any, Mapping[str, Any]], source: Source) -> bool:
    """Not a thing, nor an animal, nor a crowd (whose one outline stands for many people)."""
    if entry.get("keypoints") is None or entry.get("iscrowd") in (1, True):
        return False
    category = categories.get(entry.get("category_id"))
    if category is None:
        return True
    name = str(category.get("name", "")).lower()
    if name in _PEOPLE:
        return True
    if any(str(other.get("name", "")).lower() in _PEOPLE for other in categories.values()):
        return False
    points = category.get("keypoints")
    points = [str(p).lower() for p in points] if isinstance(points, list) else []
    if any(word in point for point in points for word in _ANIMAL_WORDS):
        log.warning("%s: '%s' has points of an animal and is left out", source.path, name)
        return False
    return True


def people_of(
    entries: list[Mapping[str, Any]], bodies: list[np.ndarray], names: list[Any], source: Source
) -> list[Person]:
    """A person for each entry: the body by its names, where the file has them, else by its number of points."""
    tables = []
    unnamed = [n for n, body in enumerate(bodies) if len(body)]
    for n, body in enumerate(bodies):
        named = isinstance(names[n], list) and len(body)
        tables.append(source.named_table(names[n], len(body), "'keypoints'") if named else None)
    unnamed = [n for n in unnamed if tables[n] is None]
    by_count = source.body_tables([bodies[n] for n in unnamed], "'keypoints'")
    for n, table in zip(unnamed, by_count, strict=True):
        tables[n] = table
    people = []
    for entry, body, table in zip(entries, bodies, tables, strict=True):
        person: Person = [(table, body)] if table is not None else []
        parts = add_parts(source, entry, PARTS)
        if parts and person and table.points == kf.COCO_17.points:
            person[0] = (kf.KeypointFormat(kf.COCO_WHOLEBODY_133.name, kf.COCO_17.points), body)
        people.append(person + parts)
    return people
