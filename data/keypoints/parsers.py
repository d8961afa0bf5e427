"""Which reader a keypoint file belongs to, told by what is in it and never by its name.

{"people": [...]}, a list of these, one under each file name    readers/openpose.py
{"images": [...], "annotations": [...]}                         readers/coco.py
[{"keypoints": ...}, ...], a JSON document on each line         readers/predictions.py
{"instance_info": [...]}, [[{"keypoints": ...}]]                readers/mmpose.py
{"pose_landmarks": ...} and its relatives                       readers/mediapipe.py
numbers in lines (.txt)                                         readers/yolo.py
.npy, .npz, .csv                                                readers/tables.py
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bodyfit.data.files import VIDEO_SUFFIXES, parse_json, read_bytes
from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.image_names import is_photo_name
from bodyfit.data.keypoints.people import ONLY_IMAGE, Block, ImagePeople, KeypointError, Person
from bodyfit.data.keypoints.readers import coco, mediapipe, mmpose, openpose, predictions, tables, yolo
from bodyfit.data.keypoints.readers.common import EXPECTED, Source
from bodyfit.data.keypoints.scores import to_confidence

__all__ = [
    "KEYPOINT_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Block",
    "ImagePeople",
    "KeypointError",
    "Person",
    "read_keypoint_file",
]

KEYPOINT_SUFFIXES = (".json", ".jsonl", ".txt", ".csv", ".npy", ".npz")


def read_keypoint_file(path: Path, format: str | None = None) -> dict[str, ImagePeople]:
    """All people of a file, by the image they are in ('' where the file does not name its one image).

    Coordinates are as the file has them (`ImagePeople.unit`), scores are confidences in [0, 1], cut at neither end.
    `format` overrides the recognised body format. Raises KeypointError naming the file, what was found and what was
    expected.
    """
    if format is not None and format not in kf.BODY_FORMATS:
        raise KeypointError(f"format must be one of {', '.join(kf.BODY_FORMATS)}, got '{format}'.")
    try:
        stamp = path.stat()
    except OSError as cause:
        raise KeypointError(f"{path}: no such keypoint file.") from cause
    return _read_cached(path, stamp.st_mtime_ns, stamp.st_size, format)


@lru_cache(maxsize=4)  # an annotation file is asked for once for each of its images
def _read_cached(path: Path, _time: int, _size: int, format: str | None) -> dict[str, ImagePeople]:
    source = Source(path, kf.BODY_FORMATS[format] if format else None)
    by_suffix = {".npy": tables.read_array, ".npz": tables.read_arrays, ".csv": tables.read_csv, ".txt": yolo.read}
    suffix = path.suffix.lower()
    try:
        if suffix in by_suffix:
            people, annotated = by_suffix[suffix](path, source), False
        else:
            content = _json(path, source)
            people = content if _is_read(content) else _people_by_image(content, source)
            annotated = isinstance(content, Mapping) and "annotations" in content
        if people is None:
            raise KeypointError(f"{path}: not a keypoint file: found {_describe(content)}. {EXPECTED}.")
        return _with_extent(to_confidence(people, path, flags=annotated))
    except KeypointError as error:
        raise error if str(error).startswith(str(path)) else KeypointError(f"{path}: {error}") from error
    except OSError as cause:
        raise KeypointError(f"{path}: cannot be read ({cause.strerror}).") from cause
    except (TypeError, ValueError, LookupError, OverflowError, AttributeError) as cause:  # nearly right in many ways
        raise KeypointError(f"{path}: not quite the layout that it looks like ({cause!s:.200}). {EXPECTED}.") from cause


def _with_extent(images: dict[str, ImagePeople]) -> dict[str, ImagePeople]:
    """The frames of one video have one size, also where only the points tell it."""
    if len(images) < 2:
        return images
    people = [points for image in images.values() if image.size is None for p in image.people for _, points in p]
    points = np.concatenate([block[:, :2][block[:, 2] > 0] for block in people]) if people else np.zeros((0, 2))
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points) or not 2 < points.max() < 1e6:  # shares, or noise
        return images
    width, height = (int(n) for n in np.ceil(points.max(axis=0)).clip(min=1) + 1)
    return {name: replace(image, extent=(width, height)) for name, image in images.items()}


def _json(path: Path, source: Source) -> Any:
    """A JSON document; or the people of a file with a document on each line."""
    is_video = path.suffix.lower() in VIDEO_SUFFIXES
    if is_video or is_photo_name(path.name):
        kind = "a video" if is_video else "a photo"
        raise KeypointError(f"{path}: {kind}, not keypoints. Expected one of {', '.join(KEYPOINT_SUFFIXES)}.")
    content = read_bytes(path, KeypointError)
    try:
        return parse_json(content, str(path), KeypointError)
    except KeypointError as broken:
        if "Extra data" not in str(broken):
            raise
        return predictions.read_json_lines(parse_json(content, str(path), KeypointError, lines=True), source)


def _is_read(content: Any) -> bool:
    return isinstance(content, dict) and any(isinstance(value, ImagePeople) for value in content.values())


def _people_by_image(content: Any, source: Source) -> dict[str, ImagePeople] | None:
    """Recognise the layout and read it; None if it is none of ours."""
    if mediapipe.is_mediapipe(content):
        return mediapipe.read(content, source)
    if openpose.is_openpose(content):
        return {ONLY_IMAGE: openpose.read_image(content, source)}
    if isinstance(content, Mapping) and isinstance(content.get("annotations"), list) and "images" in content:
        return coco.read(content, source)
    if isinstance(content, Mapping) and isinstance(content.get("instance_info"), list):
        return mmpose.read(content, source)
    if isinstance(content, Mapping):
        return _people_of_object(content, source)
    if not isinstance(content, list):
        return None
    if predictions.is_people(content):
        return predictions.read(content, source)
    if content and all(openpose.is_openpose(item) for item in content):
        return openpose.read_many(content, source)
    if content and all(isinstance(item, Mapping) and isinstance(item.get("predictions"), list) for item in content):
        return predictions.read_json_lines(content, source)
    if any(content) and all(isinstance(item, list) and predictions.is_people(item) for item in content):
        return mmpose.read_lists(content, source)
    return None


def _people_of_object(content: Mapping[str, Any], source: Source) -> dict[str, ImagePeople] | None:
    """Objects that hold a list of people under some key, one person, or an image's people under each file name."""
    for key in ("predictions", "instances", "poses", "results", "annotations"):
        if isinstance(content.get(key), list) and predictions.is_people(content[key]):
            names = content.get("keypoint_names", content.get("keypoints"))
            return predictions.read(content[key], source, names if isinstance(names, list) else None)
    if content.get("keypoints") is not None:
        return predictions.read([content], source)
    if content and all(openpose.is_openpose(value) for value in content.values()):
        return openpose.read_by_name(content, source)
    if (
        content
        and all(isinstance(v, list) and predictions.is_people(v) for v in content.values())
        and any(content.values())
    ):
        found = {}
        for name, people in content.items():
            (found[name],) = predictions.read([{**p, "image_id": name} for p in people], source).values()
        return found
    return None


def _describe(content: Any) -> str:
    if isinstance(content, dict):
        keys = ", ".join(f"'{key}'" for key in list(content)[:6])
        return f"an object with {keys}" if keys else "an empty object"
    if isinstance(content, list):
        return f"a list of {len(content)}, the first {_describe(content[0])}" if content else "an empty list"
    return f"a {type(content).__name__}"
