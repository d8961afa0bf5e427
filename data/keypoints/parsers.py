"""Keypoint files of every known program -> blocks of points, each with the table that names them.

A file is recognised by what is in it, never by its name:

    {"people": [...]}                       OpenPose, and those who write as it does (ViTPose, ...)
    {"images": [...], "annotations": [...]} COCO, COCO-WholeBody, Halpe annotation files: many images
    [{"keypoints": ...}, ...]               predictions: COCO results, AlphaPose (Halpe), OpenPifPaf, MMPose
    {"instance_info": [...]}                MMPose
    {"people": [{"pose_landmarks": ...}]}   MediaPipe, in the layout that `_mediapipe_person` documents
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import parse_json, read_bytes
from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.body_25_order import tell_body_25


class KeypointError(BodyfitError):
    """A keypoint file that cannot be used."""


Block = tuple[kf.KeypointFormat, np.ndarray]
"""A part's table and its points, (n, 3): x, y in pixels and confidence."""

Person = list[Block]
"""The blocks of one person; the first is the body. Empty: the file lists a person without any body points."""


@dataclass(frozen=True)
class ImagePeople:
    """The people of one image in a keypoint file."""

    people: list[Person] = field(default_factory=list)
    size: tuple[int, int] | None = None
    """(width, height) where the file says so."""


_EXPECTED = (
    "Expected keypoints of OpenPose (an object with 'people'), COCO, COCO-WholeBody or Halpe annotations ('images' and "
    "'annotations'), a list of predictions ('keypoints'), MMPose ('instance_info') or MediaPipe ('pose_landmarks')"
)
_ONLY_IMAGE = ""  # the key of the one image of files that do not name it


def read_keypoint_file(
    path: Path, format: str | None = None, image_size: tuple[int, int] | None = None
) -> dict[str, ImagePeople]:
    """All people of a file, by the image they are in ('' where the file does not name its one image).

    `format` overrides the recognised body format, `image_size` (width, height) is needed by normalised coordinates that
    come without it. Raises KeypointError naming the file, what was found and what was expected.
    """
    if format is not None and format not in kf.BODY_FORMATS:
        raise KeypointError(f"format must be one of {', '.join(kf.BODY_FORMATS)}, got '{format}'.")
    try:
        stamp = path.stat()
    except OSError as cause:
        raise KeypointError(f"{path}: no such keypoint file.") from cause
    return _read_cached(path, stamp.st_mtime_ns, stamp.st_size, format, image_size)


@lru_cache(maxsize=4)  # an annotation file is asked for once for each of its images
def _read_cached(
    path: Path, _time: int, _size: int, format: str | None, image_size: tuple[int, int] | None
) -> dict[str, ImagePeople]:
    content = read_bytes(path, KeypointError)
    try:
        content = parse_json(content, str(path), KeypointError)
    except KeypointError as cause:
        raise KeypointError(f"{path}: not complete JSON ({cause}). Was it cut off while it was written?") from cause
    try:
        people = _people_by_image(content, _Reader(path, kf.BODY_FORMATS[format] if format else None, image_size))
    except KeypointError:
        raise
    except (TypeError, ValueError, LookupError, OverflowError) as cause:  # nearly right files are wrong in many ways
        raise KeypointError(f"{path}: not quite the layout that it looks like ({cause}). {_EXPECTED}.") from cause
    if people is None:
        raise KeypointError(f"{path}: not a keypoint file: found {_describe(content)}. {_EXPECTED}.")
    return people


def _people_by_image(content: Any, reader: "_Reader") -> dict[str, ImagePeople] | None:
    """Recognise the layout and read it; None if it is none of ours."""
    if isinstance(content, dict) and isinstance(content.get("people"), list):
        return reader.people(content)
    if isinstance(content, dict) and isinstance(content.get("annotations"), list) and "images" in content:
        return reader.annotations(content)
    if isinstance(content, dict) and isinstance(content.get("instance_info"), list):
        return reader.mmpose(content)
    if isinstance(content, dict) and "pose_landmarks" in content:
        return reader.people({"people": [content], **content})
    if isinstance(content, list) and all(isinstance(item, dict) and "keypoints" in item for item in content):
        return reader.predictions(content)
    return None


def _describe(content: Any) -> str:
    if isinstance(content, dict):
        keys = ", ".join(f"'{key}'" for key in list(content)[:6])
        return f"an object with {keys}" if keys else "an empty object"
    if isinstance(content, list):
        return f"a list of {len(content)}, the first {_describe(content[0])}" if content else "an empty list"
    return f"a {type(content).__name__}"


class _Reader:
    """Parses one file; knows its path for messages, and what the caller said about it."""

    def __init__(self, path: Path, body: kf.KeypointFormat | None, image_size: tuple[int, int] | None):
        self.path = path
        self.body = body
        self.image_size = image_size

    # --- {"people": [...]} -------------------------------------------------------------------------------------------

    def people(self, content: Mapping[str, Any]) -> dict[str, ImagePeople]:
        """OpenPose's layout, or MediaPipe's in the same clothes."""
        entries = self._objects(content["people"], "people")
        size = _size_of(content.get("image_size")) or self.image_size
        if any("pose_landmarks" in entry for entry in entries):
            return {_ONLY_IMAGE: ImagePeople([self._mediapipe_person(entry, size) for entry in entries], size)}
        bodies = [self._points(_first(entry, "pose_keypoints_2d", "pose_keypoints"), "pose") for entry in entries]
        of_25 = self.body or tell_body_25([body for body in bodies if len(body) == 25])
        people = [self._openpose_person(entry, body, of_25) for entry, body in zip(entries, bodies, strict=True)]
        return {_ONLY_IMAGE: ImagePeople(people, size)}

    def _openpose_person(self, entry: Mapping[str, Any], body: np.ndarray, of_25: kf.KeypointFormat) -> Person:
        if not len(body):
            return []
        tables = {25: of_25, 18: kf.OPENPOSE_COCO_18, 17: kf.COCO_17, 26: kf.HALPE_26, 133: kf.COCO_WHOLEBODY_133}
        person: Person = [(self._body_table(len(body), tables, "'pose_keypoints_2d'"), body)]
        for key, choices in (
            ("hand_left_keypoints", (kf.LEFT_HAND_21,)),
            ("hand_right_keypoints", (kf.RIGHT_HAND_21,)),
            ("face_keypoints", (kf.FACE_70, kf.FACE_68)),
        ):
            points = self._points(_first(entry, key + "_2d", key), key)
            if len(points):
                person.append((self._part_table(len(points), choices, key + "_2d"), points))
        return person

    # --- COCO annotation files ---------------------------------------------------------------------------------------

    def annotations(self, content: Mapping[str, Any]) -> dict[str, ImagePeople]:
        """COCO-17, COCO-WholeBody or Halpe annotations of many images, by `file_name`."""
        images: dict[Any, tuple[str, ImagePeople]] = {}
        for image in self._objects(content["images"], "images"):
            size = _size_of((image.get("width"), image.get("height")))
            images[image.get("id")] = (str(image.get("file_name", image.get("id"))), ImagePeople(size=size))
        for entry in self._objects(content["annotations"], "annotations"):
            if "keypoints" not in entry:
                continue  # a thing, not a person
            if entry.get("image_id") not in images:
                raise KeypointError(f"{self.path}: a person is in image {entry.get('image_id')!r}, not in 'images'.")
            person = self._coco_person(entry)
            images[entry["image_id"]][1].people.append([(table, _visibility(points)) for table, points in person])
        return dict(images.values())

    def _coco_person(self, entry: Mapping[str, Any]) -> Person:
        body = self._points(entry["keypoints"], "keypoints", entry.get("keypoint_scores"))
        if not len(body):
            return []
        tables = {17: kf.COCO_17, 26: kf.HALPE_26, 133: kf.COCO_WHOLEBODY_133, 136: kf.HALPE_136}
        table = self._body_table(len(body), tables, "'keypoints'")
        person: Person = [(table, body)]
        feet = kf.KeypointFormat("feet6", kf.COCO_WHOLEBODY_133.points[17:23])
        for key, part in (
            ("foot_kpts", feet),
            ("face_kpts", kf.FACE_68),
            ("lefthand_kpts", kf.LEFT_HAND_21),
            ("righthand_kpts", kf.RIGHT_HAND_21),
        ):
            points = self._points(entry.get(key), key)
            if len(points):
                person.append((self._part_table(len(points), (part,), key), points))
        if table is kf.COCO_17 and len(person) > 1:
            person[0] = (kf.KeypointFormat(kf.COCO_WHOLEBODY_133.name, kf.COCO_17.points), body)
        return person

    # --- lists of predictions ----------------------------------------------------------------------------------------

    def predictions(self, content: Iterable[Any]) -> dict[str, ImagePeople]:
        """COCO results, AlphaPose, OpenPifPaf, MMPose: a list of people, with or without `image_id`."""
        images: dict[str, ImagePeople] = {}
        for entry in content:
            key = str(entry.get("image_id", entry.get("file_name", _ONLY_IMAGE)))
            images.setdefault(key, ImagePeople(size=self.image_size)).people.append(self._coco_person(entry))
        return images or {_ONLY_IMAGE: ImagePeople(size=self.image_size)}

    def mmpose(self, content: Mapping[str, Any]) -> dict[str, ImagePeople]:
        """MMPose's file for an image or a video: frames, or people straight away."""
        entries = self._objects(content["instance_info"], "instance_info")
        if not any("instances" in entry for entry in entries):
            return self.predictions(self._objects(entries, "instance_info"))
        frames = {}
        for number, entry in enumerate(entries):
            instances = self._objects(entry.get("instances"), "instances")
            people = [self._coco_person({"keypoints": (), **item}) for item in instances]
            frames[str(entry.get("frame_id", number))] = ImagePeople(people, self.image_size)
        return {_ONLY_IMAGE: next(iter(frames.values()))} if len(frames) == 1 else frames

    # --- MediaPipe ---------------------------------------------------------------------------------------------------

    def _mediapipe_person(self, entry: Mapping[str, Any], size: tuple[int, int] | None) -> Person:
        """One person of MediaPipe's Holistic or Pose, Hand and Face models.

        MediaPipe writes no files itself; this is the layout to write its results in:

            {"image_size": [width, height],
             "people": [{"pose_landmarks": [{"x": 0.51, "y": 0.2, "visibility": 0.99}, ... 33],
                         "left_hand_landmarks": [... 21], "right_hand_landmarks": [... 21],
                         "face_landmarks": [... 468 or 478]}]}

        Coordinates are MediaPipe's own, as shares of the image's width and height. A landmark may be a list
        [x, y, visibility], too. All keys but `pose_landmarks` may be left out; `left` is the person's left.
        """
        if size is None:
            raise KeypointError(
                f"{self.path}: MediaPipe landmarks are shares of the image, and its size is not known. "
                'Add "image_size": [width, height] to the file, or put the photo beside it.'
            )
        body = self._shares(entry["pose_landmarks"], "pose_landmarks", size)
        if not len(body):
            return []
        person: Person = [(self._body_table(len(body), {33: kf.MEDIAPIPE_33}, "'pose_landmarks'"), body)]
        for key, table in (("left_hand_landmarks", kf.LEFT_HAND_21), ("right_hand_landmarks", kf.RIGHT_HAND_21)):
            hand = self._shares(entry.get(key), key, size)
            if len(hand):
                person.append((self._part_table(len(hand), (table,), key), hand))
        face = self._shares(entry.get("face_landmarks"), "face_landmarks", size)
        if len(face) not in (0, 468, 478):
            raise KeypointError(f"{self.path}: 'face_landmarks' holds {len(face)} points. Expected 468 or 478.")
        if len(face):
            person.append((kf.FACE_68, face[list(kf.MEDIAPIPE_FACE_68)]))
        return person

    def _shares(self, landmarks: Any, key: str, size: tuple[int, int]) -> np.ndarray:
        """Shares of the image -> pixels; share 0 is the left edge of the pixel whose centre is at 0."""
        rows = []
        for item in landmarks or ():
            if isinstance(item, dict):
                item = (item.get("x"), item.get("y"), item.get("visibility", 1.0))
            rows.append((*item[:2], item[2] if len(item) > 2 else 1.0))
        points = self._array(rows, key).reshape(-1, 3)
        return np.column_stack([points[:, :2] * size - 0.5, points[:, 2]])

    # --- parts that all share ----------------------------------------------------------------------------------------

    def _objects(self, value: Any, key: str) -> list[Mapping[str, Any]]:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise KeypointError(f"{self.path}: '{key}' is not a list of objects. {_EXPECTED}.")
        return value

    def _points(self, value: Any, key: str, scores: Any = None) -> np.ndarray:
        """(n, 3) of a flat list x, y, c, x, y, c, ...; or of [[x, y], ...] with scores (MMPose)."""
        points = self._array(value if value is not None else [], key)
        if points.ndim == 2 and points.shape[1] == 2:
            confidence = np.ones(len(points)) if scores is None else self._array(scores, "keypoint_scores")
            if confidence.shape != (len(points),):
                raise KeypointError(f"{self.path}: {len(points)} '{key}' but {confidence.size} scores.")
            return np.column_stack([points, confidence])
        if points.size % 3:
            raise KeypointError(f"{self.path}: '{key}' holds {points.size} numbers, expected three a point: x, y, c.")
        return points.reshape(-1, 3)

    def _array(self, value: Any, key: str) -> np.ndarray:
        try:
            return np.array(value, dtype=np.float64)  # null becomes NaN: a point that was not seen
        except (TypeError, ValueError) as cause:
            raise KeypointError(f"{self.path}: '{key}' is not a list of numbers.") from cause

    def _body_table(self, count: int, tables: Mapping[int, kf.KeypointFormat], key: str) -> kf.KeypointFormat:
        table = self.body or tables.get(count)
        if table is None or len(table) != count:
            wanted = f"{len(table)} (format '{table.name}')" if table else ", ".join(map(str, sorted(tables)))
            raise KeypointError(f"{self.path}: {key} holds {count} points. Expected {wanted}.")
        return table

    def _part_table(self, count: int, choices: tuple[kf.KeypointFormat, ...], key: str) -> kf.KeypointFormat:
        for table in choices:
            if len(table) == count:
                return table
        wanted = " or ".join(str(len(table)) for table in choices)
        raise KeypointError(f"{self.path}: '{key}' holds {count} points. Expected {wanted}, or none.")


def _first(entry: Mapping[str, Any], *keys: str) -> Any:
    return next((entry[key] for key in keys if entry.get(key)), None)


def _size_of(value: Any) -> tuple[int, int] | None:
    try:
        width, height = (int(n) for n in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _visibility(points: np.ndarray) -> np.ndarray:
    """COCO's flags as confidence: 2 (seen) -> 1, 1 (placed by the annotator, though hidden) -> 0.5, 0 -> 0."""
    if np.isin(points[:, 2], (0, 1, 2)).all():
        return points * (1, 1, 0.5)
    return points
