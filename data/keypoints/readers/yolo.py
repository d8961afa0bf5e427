"""YOLO pose: results as JSON (a list with "box" and "keypoints") are in `predictions`; here are the .txt labels.

A line for each person: class, box (centre x, y, width, height), then x, y and visibility or score of each point, all
coordinates shares of the image; in predictions the score of the box may follow, and then a tracking number.
"""

import itertools
from pathlib import Path

import numpy as np

from bodyfit.data.keypoints.people import ONLY_IMAGE, ImagePeople, KeypointError, Person
from bodyfit.data.keypoints.readers.common import Source

_COUNTS = (17, 26, 133, 136, 18, 25, 14, 15, 16)


def read(path: Path, source: Source) -> dict[str, ImagePeople]:
    """People of the one image of a label file; lines of other classes than the person's are left out."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = [np.array(line, dtype=np.float64) for line in lines]
    except (ValueError, UnicodeDecodeError) as cause:
        raise KeypointError(
            f"{path}: not a label file of YOLO pose ({cause}). Expected numbers: class, box, then x y v of each point."
        ) from cause
    classes = {int(row[0]) for row in rows if len(row)}
    rows = [row for row in rows if len(classes) == 1 or row[0] == 0]
    bodies, ids = [], []
    for number, row in enumerate(rows, 1):
        points, track = _points(row, source, number)
        bodies.append(points)
        ids.append(track)
    tables = source.body_tables(bodies, "a line")
    people: list[Person] = [[(t, body)] if t else [] for t, body in zip(tables, bodies, strict=True)]
    return {ONLY_IMAGE: ImagePeople(people, None, ids if len(set(ids)) == len(ids) else [], unit="shares")}


def _points(row: np.ndarray, source: Source, number: int) -> tuple[np.ndarray, int | None]:
    counts = (len(source.format),) if source.format else _COUNTS
    for count, dims, extra in itertools.product(counts, (3, 2), (0, 1, 2)):
        if len(row) != 5 + count * dims + extra:
            continue
        points = row[5 : 5 + count * dims].reshape(-1, dims)
        if dims == 2:  # no score: (0, 0) is how YOLO says "nowhere"
            points = np.column_stack([points, points.any(axis=1)])
        return points, int(row[-1]) if extra == 2 and 0 <= row[-1] < 10**9 else None
    raise KeypointError(
        f"{source.path}: line {number} holds {len(row)} numbers. Expected class, box (4) and x y v of "
        f"{', '.join(map(str, sorted(counts)))} points; a detection label without keypoints has only 5."
    )
