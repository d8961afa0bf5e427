"""What all readers share: turning what a file holds into blocks of points, with messages that name the file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.names import landmark_of, table_of_names
from bodyfit.data.keypoints.order import tell_body_25, tell_order
from bodyfit.data.keypoints.people import Block, KeypointError, Person

EXPECTED = (
    "Expected keypoints of OpenPose ('people'), COCO annotations ('images' and 'annotations'), a list of predictions "
    "('keypoints'), MMPose ('instance_info'), MediaPipe ('pose_landmarks') or another format of docs/keypoints.md"
)

_XY_PAIRS = (("x", "y"),)
_SCORES = ("score", "confidence", "visibility", "conf", "visible", "v", "c", "likelihood", "prob")
_TRACK_KEYS = ("track_id", "tracking_id", "person_id", "instance_id", "id_", "idx", "trackId")
_IMAGE_KEYS = (
    *("image_id", "file_name", "filename", "image", "image_path", "img_path", "image_name", "img_name", "img", "path"),
    *("frame", "frame_id", "frame_index", "frame_idx", "frame_number"),
)


@dataclass(frozen=True)
class Source:
    """A keypoint file that is being read: its path for messages, and the format that the caller asked for."""

    path: Path
    format: kf.KeypointFormat | None = None

    def objects(self, value: Any, key: str) -> list[Mapping[str, Any]]:
        """`value`, if it is a list of objects."""
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise KeypointError(f"{self.path}: '{key}' is not a list of objects. {EXPECTED}.")
        return value

    def points(self, value: Any, key: str, scores: Any = None) -> np.ndarray:
        """(n, 3) of x, y, c, x, y, c, ...; of [[x, y], ...] with scores; or of {"x": [...], "y": [...]} (YOLO)."""
        if isinstance(value, Mapping) and isinstance(value.get("x"), list):
            scores = next((value[k] for k in _SCORES if value.get(k) is not None), scores)
            value = list(zip(value["x"], value.get("y", ()), strict=True))
        points = self.array(value if value is not None else [], key)
        while points.ndim > 2 and len(points) == 1:  # one person in a batch of one
            points = points[0]
        if points.ndim == 2 and points.shape[1] == 2:
            confidence = np.ones(len(points)) if scores is None else self.array(scores, "keypoint_scores").ravel()
            if confidence.shape != (len(points),):
                raise KeypointError(f"{self.path}: {len(points)} '{key}' but {confidence.size} scores.")
            return np.column_stack([points, confidence])
        if points.ndim == 2 and points.shape[1] == 4:  # x, y, z, score
            return points[:, [0, 1, 3]]
        if points.size % 3:
            raise KeypointError(f"{self.path}: '{key}' holds {points.size} numbers, expected three a point: x, y, c.")
        return points.reshape(-1, 3)

    def array(self, value: Any, key: str) -> np.ndarray:
        """`value` as numbers; null becomes NaN: a point that was not seen."""
        try:
            return np.array(value, dtype=np.float64)
        except (TypeError, ValueError) as cause:
            raise KeypointError(f"{self.path}: '{key}' is not a list of numbers.") from cause

    def body_tables(self, bodies: Sequence[np.ndarray], key: str) -> list[kf.KeypointFormat | None]:
        """The table of each person's body points; people of one file with equally many points share it."""
        chosen: dict[int, kf.KeypointFormat | None] = {0: None}
        for count in {len(body) for body in bodies} - {0}:
            chosen[count] = self._body_table([body for body in bodies if len(body) == count], count, key)
        return [chosen[len(body)] for body in bodies]

    def _body_table(self, bodies: list[np.ndarray], count: int, key: str) -> kf.KeypointFormat:
        if self.format is not None:
            if len(self.format) != count:
                raise KeypointError(
                    f"{self.path}: {key} holds {count} points. Expected {len(self.format)} (format "
                    f"'{self.format.name}')."
                )
            return self.format
        if count == 25:
            return tell_body_25(bodies)
        table = tell_order(bodies, kf.BY_COUNT.get(count), self.path)
        if table is None:
            counts = ", ".join(map(str, sorted(kf.BY_COUNT)))
            several = [name for name, table in kf.BODY_FORMATS.items() if len(table) == count]
            hint = f"say which with --format: {', '.join(several)}" if several else f"Expected {counts} points"
            raise KeypointError(
                f"{self.path}: {key} holds {count} points. {hint[0].upper()}{hint[1:]}, or names of the points."
            )
        return table

    def part_table(self, count: int, choices: tuple[kf.KeypointFormat, ...], key: str) -> kf.KeypointFormat:
        """The one of `choices` with so many points."""
        for table in choices:
            if len(table) == count:
                return table
        wanted = " or ".join(str(len(table)) for table in choices)
        raise KeypointError(f"{self.path}: '{key}' holds {count} points. Expected {wanted}, or none.")

    def named_table(self, names: Sequence[Any], count: int, key: str) -> kf.KeypointFormat | None:
        """The table of a file that names its points; None where the names are no words (1, 2, 3, ... are not).

        Raises KeypointError for words of which too few mean points of a body.
        """
        names = [str(name) for name in names]
        if self.format is not None or len(names) != count or all(name.strip().isdigit() for name in names):
            return None
        # A name without a side, hip or shoulder, is worth reading only where left and right are said elsewhere.
        known = {landmark for name in names if (landmark := landmark_of(name)) is not None}
        if len(known) < min(6, count):
            return (
                None if not known and count in kf.BY_COUNT and _are_generic(names) else self._refuse(names, known, key)
            )
        return table_of_names(names, _title(names))

    def _refuse(self, names: Sequence[str], known: Iterable[str], key: str) -> None:
        unknown = [name for name in names if landmark_of(name) is None]
        raise KeypointError(
            f"{self.path}: {key} names its points, but only {len(set(known))} of them mean points of a human body. "
            f"Not understood: {', '.join(unknown[:6])}. Expected names such as left_shoulder, or say --format."
        )


def _are_generic(names: Sequence[str]) -> bool:
    """keypoint_0, kp1, p3: words that only count."""
    return len({"".join(c for c in name if not c.isdigit()) for name in names}) == 1


def _title(names: Sequence[str]) -> str:
    """The known format of just these points, else `named` and how many."""
    points = table_of_names(names).points
    same = [
        table.name
        for table in kf.BODY_FORMATS.values()
        if len(table) == len(points)
        and all(a == b for a, b in zip(points, table.points, strict=True) if not a.startswith("point_"))
    ]
    return same[0] if same else f"named{len(names)}"


def named_points(entries: Any) -> tuple[list[str], list[tuple[Any, Any, Any]]] | None:
    """Names and (x, y, score) of a list of objects, one a point: TensorFlow.js, posenet, MediaPipe-like; else None."""
    if not isinstance(entries, list) or not entries or not all(isinstance(item, Mapping) for item in entries):
        return None
    names, rows = [], []
    for i, item in enumerate(entries):
        at = next((item[k] for k in ("position", "point", "coordinates") if isinstance(item.get(k), Mapping)), item)
        if "x" not in at or "y" not in at:
            return None
        names.append(str(next((item[k] for k in ("name", "part", "label", "type", "bodyPart") if k in item), i)))
        rows.append((at["x"], at["y"], next((item[k] for k in _SCORES if item.get(k) is not None), 1.0)))
    return names, rows


def first_of(entry: Mapping[str, Any], *keys: str) -> Any:
    """The first of the values under `keys` that is not empty."""
    return next((entry[key] for key in keys if entry.get(key)), None)


def tracking_number(entry: Mapping[str, Any], keys: Sequence[str] = _TRACK_KEYS) -> int | None:
    """The number that follows a person through a video; None where there is none (OpenPose writes [-1])."""
    for key in keys:
        value = entry.get(key)
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and 0 <= value < 10**9
            and value == int(value)
        ):
            return int(value)
        if isinstance(value, str) and value.isdigit() and len(value) < 10:
            return int(value)
    return None


def image_key(entry: Mapping[str, Any], default: str = "") -> str:
    """The image that an entry names, by file name, path or number."""
    for key in _IMAGE_KEYS:
        if isinstance(entry.get(key), str | int) and not isinstance(entry.get(key), bool):
            return str(entry[key])
    return default


def size_of(value: Any) -> tuple[int, int] | None:
    """(width, height), if that is what `value` holds."""
    try:
        width, height = (int(n) for n in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def size_in(content: Mapping[str, Any]) -> tuple[int, int] | None:
    """(width, height) where an object says for which image its coordinates are, in one of the usual ways."""
    for width, height in (
        ("canvas_width", "canvas_height"),
        ("image_width", "image_height"),
        ("img_width", "img_height"),
        ("width", "height"),
    ):
        if content.get(width) is not None and content.get(height) is not None:
            return size_of((content[width], content[height]))
    return size_of(content.get("image_size")) or size_of(content.get("resolution"))


Part = tuple[str, tuple[kf.KeypointFormat, ...]]


def add_parts(source: Source, entry: Mapping[str, Any], parts: Iterable[tuple[tuple[str, ...], Part]]) -> list[Block]:
    """Blocks of hands, face and feet that stand beside the body under keys of their own."""
    blocks: Person = []
    for keys, (name, choices) in parts:
        points = source.points(first_of(entry, *keys), name)
        if len(points):
            blocks.append((source.part_table(len(points), choices, name), points))
    return blocks
