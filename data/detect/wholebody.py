"""People of detectors that give COCO-WholeBody's 133 points, in `LANDMARK_NAMES` order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.arrays import detections_from_arrays
from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.keypoints.formats import COCO_WHOLEBODY_133

MIN_CONFIDENCE = 0.3
"""RTMPose and RTMW give about this to points that they do not see, and place them anyway."""

MAX_CONFIDENCE = 0.99
"""Scores of these networks are no probabilities and may exceed one."""


def from_wholebody(
    points: Float[np.ndarray, "P 133 2"],
    scores: Float[np.ndarray, "P 133"],
    *,
    name: str,
    image_size: tuple[int, int],
) -> Detections:
    """Detections of points in pixels, the largest person first; points that are not seen are left out."""
    if points.shape[1:] != (len(COCO_WHOLEBODY_133), 2) or scores.shape != points.shape[:2]:
        raise BodyfitError(
            f"{name}: found points of shape {points.shape} and scores of shape {scores.shape}. "
            "Expected a whole-body model: (people, 133, 2) and (people, 133)."
        )
    seen = np.where(scores >= MIN_CONFIDENCE, scores.clip(0, MAX_CONFIDENCE), 0.0)
    order = np.argsort(-np.ptp(points, axis=1).max(axis=1), kind="stable")
    values = np.concatenate([points, seen[..., None]], axis=-1)[order]
    found = detections_from_arrays(values, COCO_WHOLEBODY_133.name, image_size=image_size, name=name)
    return replace(found, format=name)
