"""People of detectors that give COCO-WholeBody's 133 points, in `LANDMARK_NAMES` order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.keypoints.formats import COCO_WHOLEBODY_133
from bodyfit.data.landmarks import LANDMARK_INDEX, LANDMARK_NAMES

MIN_CONFIDENCE = 0.3
"""RTMPose and RTMW give about this to points that they do not see, and place them anyway."""


def from_wholebody(
    points: Float[np.ndarray, "P 133 2"],
    scores: Float[np.ndarray, "P 133"],
    *,
    name: str,
    image_size: tuple[int, int],
) -> Detections:
    """Detections of points in pixels; neck and pelvis are added as OpenPose has them, as means of two."""
    if points.shape[1:] != (len(COCO_WHOLEBODY_133), 2) or scores.shape != points.shape[:2]:
        raise BodyfitError(
            f"{name}: found points of shape {points.shape} and scores of shape {scores.shape}. "
            "Expected a whole-body model: (people, 133, 2) and (people, 133)."
        )
    source, target = COCO_WHOLEBODY_133.known
    xy, confidence = np.zeros((len(points), len(LANDMARK_NAMES), 2)), np.zeros((len(points), len(LANDMARK_NAMES)))
    seen = scores >= MIN_CONFIDENCE
    xy[:, target] = np.where(seen[..., None], points, 0.0)[:, source]
    confidence[:, target] = np.where(seen, scores.clip(0, 1), 0.0)[:, source]
    for middle, sides in (("neck", ("left_shoulder", "right_shoulder")), ("pelvis", ("left_hip", "right_hip"))):
        pair = [LANDMARK_INDEX[side] for side in sides]
        confidence[:, LANDMARK_INDEX[middle]] = confidence[:, pair].min(axis=1)
        both = confidence[:, LANDMARK_INDEX[middle]] > 0
        xy[both, LANDMARK_INDEX[middle]] = xy[both][:, pair].mean(axis=1)
    order = np.argsort(-(np.ptp(points, axis=1).max(axis=1) if len(points) else np.zeros(0)), kind="stable")
    return Detections.from_points(xy[order], confidence[order], format=name, source=Path(), image_size=image_size)
