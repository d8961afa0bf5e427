"""Arrays and tables of keypoints: .npy, .npz and .csv, with the names of their points or of their format.

.npy, .npz: (points, 2 or 3), (people, points, 2 or 3) or (images, people, points, 2 or 3): x, y and score. An .npz
holds them as `keypoints`, and may hold `scores`, `names` and `image_size` [width, height].

.csv: a line for each point (columns such as image, person, name, x, y, score), or a line for each person with columns
nose_x, nose_y, nose_score, ...
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bodyfit.data.files import MAX_ARRAY_BYTES, ArrayFile
from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.people import ONLY_IMAGE, ImagePeople, KeypointError, Person
from bodyfit.data.keypoints.readers.common import Source, size_of, tracking_number

_ARRAYS = ("keypoints", "keypoints_2d", "joints_2d", "keypoints2d", "points", "pred_keypoints", "pose", "arr_0")
_SCORES = ("scores", "keypoint_scores", "confidence", "confidences", "visibility", "score")
_NAMES = ("names", "keypoint_names", "joint_names", "landmark_names")

_IMAGE_COLUMNS = ("image", "file_name", "filename", "photo", "image_id", "frame", "frame_id", "img")
_PERSON_COLUMNS = ("person", "person_id", "track_id", "id", "subject", "instance")
_NAME_COLUMNS = ("name", "keypoint", "joint", "landmark", "point", "part", "bodypart", "label")
_SCORE_COLUMNS = ("score", "confidence", "visibility", "conf", "likelihood", "v", "c", "prob")
MAX_CSV_BYTES = 256 * 1024**2


# --- .npy, .npz ------------------------------------------------------------------------------------------------------


def read_array(path: Path, source: Source) -> dict[str, ImagePeople]:
    """People of an .npy file."""
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, OSError, EOFError) as cause:
        raise KeypointError(
            f"{path}: not an array of plain numbers ({cause}). Expected (people, points, 3)."
        ) from cause
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise KeypointError(f"{path}: not an array of plain numbers. Expected (people, points, 3): x, y, score.")
    if array.size > MAX_ARRAY_BYTES // 64:
        raise KeypointError(f"{path}: holds {array.size} numbers, too many for keypoints.")
    return _of_array(np.array(array, dtype=np.float64), None, None, None, source)


def read_arrays(path: Path, source: Source) -> dict[str, ImagePeople]:
    """People of an .npz file."""
    with ArrayFile(path, KeypointError) as file:

        def read(keys: Sequence[str]) -> np.ndarray | None:
            key = next((key for key in keys if key in file), None)
            return None if key is None else file.read(key)

        points, scores, names, size = read(_ARRAYS), read(_SCORES), read(_NAMES), read(("image_size",))
        if points is None:
            found = ", ".join(file.keys) or "nothing"
            raise KeypointError(f"{path}: holds no keypoints. Found: {found}. Expected an array 'keypoints'.")
    if points.dtype.kind not in "fiu" or (scores is not None and scores.dtype.kind not in "fiu"):
        raise KeypointError(f"{path}: 'keypoints' and their scores have to be numbers.")
    return _of_array(
        points.astype(np.float64),
        None if scores is None else scores.astype(np.float64),
        None if names is None else [str(name) for name in np.ravel(names)],
        None if size is None else size_of(np.ravel(size)),
        source,
    )


def _of_array(
    points: np.ndarray, scores: np.ndarray | None, names: list[str] | None, size: tuple[int, int] | None, source: Source
) -> dict[str, ImagePeople]:
    if points.ndim not in (2, 3, 4) or points.shape[-1] not in (2, 3):
        raise KeypointError(
            f"{source.path}: an array of shape {points.shape}. Expected (points, 2 or 3), (people, points, 2 or 3) or "
            "(images, people, points, 2 or 3): x, y and score."
        )
    if points.shape[-1] == 2 or scores is not None:
        seen = np.isfinite(points[..., :2]).all(axis=-1)
        scores = seen.astype(float) if scores is None else scores.reshape(scores.shape[: points.ndim - 1])
        if scores.shape != points.shape[:-1]:
            raise KeypointError(f"{source.path}: points of shape {points.shape} but scores of {scores.shape}.")
        points = np.concatenate([points[..., :2], scores[..., None]], axis=-1)
    images = points.reshape(-1, *points.shape[-3:]) if points.ndim == 4 else points.reshape(1, -1, *points.shape[-2:])
    people = [list(image) for image in images]
    everybody = [body for image in people for body in image]
    table = source.named_table(names, points.shape[-2], "'names'") if names else None
    tables = [table] * len(everybody) if table else source.body_tables(everybody, "the array")
    by_body = iter(zip(tables, everybody, strict=True))
    found = [ImagePeople([[next(by_body)] for _ in image], size) for image in people]
    return {ONLY_IMAGE: found[0]} if len(found) == 1 else {str(i): image for i, image in enumerate(found)}


# --- .csv ------------------------------------------------------------------------------------------------------------


def read_csv(path: Path, source: Source) -> dict[str, ImagePeople]:
    """People of a .csv file, a line for each point or for each person."""
    if path.stat().st_size > MAX_CSV_BYTES:
        raise KeypointError(f"{path}: larger than {MAX_CSV_BYTES >> 20} MB, too large for a table of keypoints.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        dialect = csv.Sniffer().sniff(text[:4000], delimiters=",;\t") if text.strip() else csv.excel
        reader = csv.DictReader(text.splitlines(), dialect=dialect)
        rows = [{str(k).strip().lower(): v for k, v in row.items() if k is not None} for row in reader]
    except (UnicodeDecodeError, csv.Error) as cause:
        raise KeypointError(f"{path}: not a table that can be read ({cause}).") from cause
    columns = list(rows[0]) if rows else []
    name_column = _first(columns, _NAME_COLUMNS)
    if name_column and "x" in columns and "y" in columns:
        return _long_table(rows, columns, name_column, source)
    wide = [c[:-2] for c in columns if c.endswith(("_x", ".x", " x")) and c[:-1] + "y" in columns]
    if not wide:
        raise KeypointError(
            f"{path}: columns {', '.join(columns[:8]) or 'none'}. Expected a line for each point (name, x, y, score; "
            "also person, image) or for each person (nose_x, nose_y, nose_score, ...)."
        )
    return _wide_table(rows, columns, wide, source)


def _long_table(rows: list[dict], columns: list[str], name_column: str, source: Source) -> dict[str, ImagePeople]:
    image_column, person_column = _first(columns, _IMAGE_COLUMNS), _first(columns, _PERSON_COLUMNS)
    score_column = _first(columns, _SCORE_COLUMNS)
    people: dict[tuple[str, str], dict[str, tuple[float, float, float]]] = {}
    for line, row in enumerate(rows, 2):
        key = (row[image_column] if image_column else ONLY_IMAGE, row[person_column] if person_column else "")
        point = tuple(_number(row.get(c), source, line) for c in ("x", "y"))
        score = _number(row.get(score_column), source, line) if score_column else 1.0
        people.setdefault(key, {})[str(row[name_column]).strip()] = (*point, score)
    found = []
    for (image, person), points in people.items():
        found.append((image, person, list(points), np.array(list(points.values()))))
    return _collected(found, source)


def _wide_table(rows: list[dict], columns: list[str], names: list[str], source: Source) -> dict[str, ImagePeople]:
    image_column, person_column = _first(columns, _IMAGE_COLUMNS), _first(columns, _PERSON_COLUMNS)
    found = []
    for line, row in enumerate(rows, 2):
        points = []
        for name in names:
            joint = next(c[-2] for c in columns if c[:-2] == name and c.endswith("x"))
            score = next((c for s in _SCORE_COLUMNS if (c := f"{name}{joint}{s}") in columns), None)
            xy = [_number(row.get(f"{name}{joint}{axis}"), source, line) for axis in "xy"]
            points.append((*xy, _number(row.get(score), source, line) if score else float(np.isfinite(xy).all())))
        image, person = (row[c] if c else "" for c in (image_column, person_column))
        found.append((image, person, names, np.array(points)))
    return _collected(found, source)


def _collected(found: list[tuple[str, str, list[str], np.ndarray]], source: Source) -> dict[str, ImagePeople]:
    images: dict[str, ImagePeople] = {}
    for image, person, names, points in found:
        table = source.named_table(names, len(points), "the table")
        table = table or source.body_tables([points], "the table")[0]
        people = images.setdefault(image, ImagePeople())
        body: Person = [(table or kf.COCO_17, points)]
        people.people.append(body)
        people.ids.append(tracking_number({"person_id": person}))
    return images or {ONLY_IMAGE: ImagePeople()}


def _first(columns: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((column for column in wanted if column in columns), None)


def _number(text: str | None, source: Source, line: int) -> float:
    if text is None or not text.strip():
        return float("nan")
    try:
        return float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except ValueError as cause:
        raise KeypointError(f"{source.path}: line {line} holds '{text}' where a number is expected.") from cause
