"""Which order a list of points is in where its length leaves that open: BODY_25 or BODY_25B, or COCO's 17 and more.

Both of OpenPose's orders have 25 points, and no file says which one it is in. Only the points can tell. Read
in the right order they form a body; in the wrong one wrists hang on ears and knees on shoulders. How unlike a body a
reading is, is the sum of three measures, each of which is blind where another sees:
bones longer than need be, bones of the wrong length for one another, and points seen whose neighbours are not.
"""

import logging
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from bodyfit.data.few_numbers import median, quantile
from bodyfit.data.keypoints.formats import (
    COCO_17,
    H36M_17,
    OPENPOSE_BODY_25,
    OPENPOSE_BODY_25B,
    KeypointFormat,
)
from bodyfit.data.landmarks import LANDMARK_NAMES

log = logging.getLogger(__name__)

# Lengths in metres between neighbours on an adult's body, as detectors place them; then between points further apart.
_BONES = {
    ("nose", "S_eye"): 0.045,
    ("S_eye", "S_ear"): 0.085,
    ("S_shoulder", "S_elbow"): 0.28,
    ("S_elbow", "S_wrist"): 0.25,
    ("S_shoulder", "S_hip"): 0.50,
    ("S_hip", "S_knee"): 0.40,
    ("S_knee", "S_ankle"): 0.40,
    ("S_ankle", "S_heel"): 0.08,
    ("S_ankle", "S_big_toe"): 0.18,
}
_DISTANCES = {
    ("nose", "S_ear"): 0.11,
    ("S_ear", "S_shoulder"): 0.22,
    ("left_shoulder", "right_shoulder"): 0.35,
    ("left_hip", "right_hip"): 0.20,
    ("S_heel", "S_big_toe"): 0.22,
    ("S_big_toe", "S_small_toe"): 0.07,
}
_SYMMETRIC = [(f"left_{point}", f"right_{point}") for point in ("eye", "shoulder", "elbow", "hip", "knee", "ankle")]


def _on_both_sides(lengths: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    return {
        (a.replace("S_", f"{side}_"), b.replace("S_", f"{side}_")): length
        for side in ("left", "right")
        for (a, b), length in lengths.items()
    }


_BONES, _DISTANCES = _on_both_sides(_BONES), _on_both_sides(_DISTANCES)

_SEEN = 0.05
_MARGIN = 0.15
"""BODY_25B must be this much more like a body. On real files it is by 0.9 to 1.9 where it is the truth (upper bodies
alone: 0.2 to 2.0), and less like one by 0.9 to 2.4 where BODY_25 is (upper bodies alone: 0.8 to 1.7).
"""


def tell_body_25(people: list[Float[np.ndarray, "25 3"]]) -> KeypointFormat:
    """The order that all people of a file are in; BODY_25, OpenPose's default, where nothing speaks clearly against it.

    Args:
        people: For each person x, y and confidence of the 25 points as they stand in the file.
    """
    differences = [_unlikeness_difference(points) for points in people]
    known = [difference for difference in differences if np.isfinite(difference)]
    return OPENPOSE_BODY_25B if known and np.mean(known) < -_MARGIN else OPENPOSE_BODY_25


_MARGINS = {"h36m17": 0.6, "coco17 and more": 0.15}
"""What another reading than the usual one must be better by. Over 75 people of real files in their true order, the
other one was never better by more than 0.1 (Human3.6M's: see the test of this room). Where it
was the truth, it was by 0.8 to 1.7 for 95 % (Human3.6M's), and by 0.1 to 1.0 (COCO's in the place of Sapiens-308).
"""
_BODY_SPREAD = 0.45
"""Spread of scales below which points form a body; whole people in COCO photos have 0.1 to 0.4."""


def tell_order(
    people: Sequence[Float[np.ndarray, "n 3"]], usual: KeypointFormat | None, source: object
) -> KeypointFormat | None:
    """The `usual` table for so many points; or another one where that forms a body and the usual one does not.

    The others are COCO's order, behind whose 17 points custom models often put their own, and Human3.6M's for 17
    points. Where only the points tell, that is logged.

    Args:
        people: For each person x, y and score of the points as they stand in the file.
        usual: What such a number of points is known to be; None: nothing, so that COCO's order has to form a body.
        source: The file, for the log.

    Returns:
        None where nothing is usual and nothing is clear.
    """
    count = len(people[0])
    if count < 15 or (usual is not None and count != 17 and usual.points[:17] == COCO_17.points):
        return usual
    other, margin = H36M_17, _MARGINS["h36m17"]
    if count != 17:
        rest = (f"point_{i}" for i in range(17, count))
        other, margin = KeypointFormat("coco17", (*COCO_17.points, *rest)[:count]), _MARGINS["coco17 and more"]
    if usual is None:
        fits = bool(np.median([_measures(points, other)[1] for points in people]) < _BODY_SPREAD)
    else:
        fits = _unlikeness(people, other) < _unlikeness(people, usual) - margin
    if not fits:
        return usual
    log.warning(
        "%s: %d points that form a body in the order of %s%s: read so. Say --format if that is wrong",
        *(source, count, other.name, f", not in that of {usual.name}" if usual else ""),
    )
    return other


def _unlikeness(people: Sequence[Float[np.ndarray, "n 3"]], table: KeypointFormat) -> float:
    """How unlike a body a reading is, mean over people; tables of different points can be compared. inf: no bone."""
    values = [_scale(points, table) + sum(_measures(points, table)[1:]) for points in people]
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("inf")


def _scale(points: Float[np.ndarray, "n 3"], table: KeypointFormat) -> float:
    """Mean logarithm of pixels a metre: larger where bones run to places that they do not belong to."""
    scales = _scales(points, table)[0]
    return float(scales.mean()) if len(scales) else float("nan")


def _unlikeness_difference(points: Float[np.ndarray, "25 3"]) -> float:
    """How much less like a body the BODY_25B reading is; a reading without a single bone is one unit less like it than
    a reading with bones, and NaN means that neither has any.
    """
    (mean, spread, gaps), (mean_b, spread_b, gaps_b) = (
        _measures(points, table) for table in (OPENPOSE_BODY_25, OPENPOSE_BODY_25B)
    )
    if np.isnan(mean) != np.isnan(mean_b):
        return -1.0 if np.isnan(mean) else 1.0
    return float(np.log(mean_b / mean) + (spread_b - spread) + (gaps_b - gaps))


def _measures(points: Float[np.ndarray, "n 3"], table: KeypointFormat) -> tuple[float, float, float]:
    """Mean length of bones in pixels; spread of the scales of all distances; share of bones with one end seen only.

    A scale is pixels a metre. Its spread is that of the logarithms about their median, cut at 1.5 because foreshortened
    bones prove nothing.
    """
    scales, bones_px = _scales(points, table)
    if not len(bones_px):
        return float("nan"), float("nan"), float("nan")
    spread = np.minimum(np.abs(scales - median(scales)), 1.5).mean()
    first, second = _seen(points)[_neighbours_of(table)]
    gaps = np.count_nonzero(first != second) / np.count_nonzero(first | second)
    return float(bones_px.mean()), float(spread), gaps


def _scales(
    points: Float[np.ndarray, "n 3"], table: KeypointFormat
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " b"]]:
    """Logarithms of pixels a metre of all distances with both ends seen, and the lengths of the bones, px."""
    (first, second), metres, is_bone = _distances_of(table)
    seen = _seen(points)
    whole = seen[first] & seen[second]
    across = points[first, :2] - points[second, :2]
    pixels = np.maximum(np.sqrt(across[:, 0] ** 2 + across[:, 1] ** 2), 1e-3)
    return np.log(pixels / metres)[whole], pixels[whole & is_bone]


@lru_cache(maxsize=64)
def _distances_of(table: KeypointFormat) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of both ends of every distance that the table has, its metres, and whether it is a bone."""
    points = set(table.points)
    known = {pair: length for pair, length in (_BONES | _DISTANCES).items() if set(pair) <= points}
    return (
        _ends(known, table).T,
        np.array(list(known.values())),
        np.array([pair in _BONES for pair in known], dtype=bool),
    )


@lru_cache(maxsize=64)
def _neighbours_of(table: KeypointFormat) -> Int[np.ndarray, "2 n"]:
    """Places of points that are seen together or not at all: both ends of bones, and what is on either side."""
    return np.concatenate([_ends(_BONES, table), _ends(_SYMMETRIC, table)]).T


def _ends(pairs: Iterable[tuple[str, str]], table: KeypointFormat) -> Int[np.ndarray, "n 2"]:
    place = {name: i for i, name in enumerate(table.points)}
    return np.array([(place[a], place[b]) for a, b in pairs if a in place and b in place], dtype=int).reshape(-1, 2)


def _seen(points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    return (points[:, 2] > _SEEN) & np.isfinite(points).all(axis=1) & ((points[:, 0] != 0) | (points[:, 1] != 0))


_LANDMARKS = KeypointFormat("landmarks", LANDMARK_NAMES)


def pixels_per_metre(xy: Float[np.ndarray, "144 2"], confidence: Float[np.ndarray, " 144"]) -> float | None:
    """How many pixels an adult's metre takes at this person, the 80 % quantile over bones and distances (foreshortened
    ones are shorter); None where too few are seen.
    """
    scales = _scales(np.column_stack([xy, confidence]), _LANDMARKS)[0]
    return float(np.exp(quantile(scales, 0.8))) if len(scales) >= 4 else None
