"""BODY_25 or BODY_25B? Both of OpenPose's orders have 25 points, and no file says which one it is in.

Only the points can tell. Read in the right order they form a body; in the wrong one wrists hang on ears and knees on
shoulders. How unlike a body a reading is, is the sum of three measures, each of which is blind where another sees:
bones longer than need be, bones of the wrong length for one another, and points seen whose neighbours are not.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int

from bodyfit.data.keypoints.formats import OPENPOSE_BODY_25, OPENPOSE_BODY_25B, KeypointFormat

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


def _measures(points: Float[np.ndarray, "25 3"], table: KeypointFormat) -> tuple[float, float, float]:
    """Mean length of bones in pixels; spread of the scales of all distances; share of bones with one end seen only.

    A scale is pixels a metre. Its spread is that of the logarithms about their median, cut at 1.5 because foreshortened
    bones prove nothing.
    """
    place = {name: i for i, name in enumerate(table.points)}
    seen = (points[:, 2] > _SEEN) & np.isfinite(points).all(axis=1)

    def ends(pairs: Iterable[tuple[str, str]]) -> Int[np.ndarray, "n 2"]:
        return np.array([(place[a], place[b]) for a, b in pairs])

    known = _BONES | _DISTANCES
    pairs, metres = ends(known), np.array(list(known.values()))
    whole, is_bone = seen[pairs].all(axis=1), np.arange(len(pairs)) < len(_BONES)
    if not (whole & is_bone).any():
        return float("nan"), float("nan"), float("nan")
    pixels = np.linalg.norm(points[pairs[:, 0], :2] - points[pairs[:, 1], :2], axis=1).clip(min=1e-3)
    scales = np.log(pixels / metres)[whole]
    spread = np.abs(scales - np.median(scales)).clip(max=1.5).mean()
    neighbours = seen[np.concatenate([ends(_BONES), ends(_SYMMETRIC)])]
    gaps = (neighbours.any(axis=1) & ~neighbours.all(axis=1)).sum() / neighbours.any(axis=1).sum()
    return float(pixels[whole & is_bone].mean()), float(spread), float(gaps)
