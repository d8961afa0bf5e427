"""Whether a solution can be a person in the photo: a solver converges on any numbers.

The bounds were chosen on 75 people in photos with keypoints of six programs, 3 000 synthetic ones, half of them with
bad keypoints, and on nonsense made of the same files: random and permuted points, other scales, wrong focal lengths.
docs/security.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from bodyfit.data.few_numbers import median
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.energy.observations import CONFIDENT

LARGEST_ERROR = 0.15
"""Median distance from the keypoints to the body as a share of the person's size: people reach 0.045."""
FAR_OFF = 0.32
"""Share of the keypoints that may be further away than that: people in photos reach 0.06, synthetic ones with every
tenth point an outlier and legs exchanged 0.30 ..."""
FEWEST_POINTS = 10
"""... where at least so many points are seen."""
NEAREST_M, FARTHEST_M = 0.15, 300.0
"""Depth of the pelvis: people in photos are at 0.9 to 25 m, and at 250 m with a focal length ten times too long."""
SMALLEST_PX = 5.0
"""Longer side of the box around a person's keypoints: people in photos have 42 and more."""


@dataclass(frozen=True)
class Placed:
    """What is looked at of a solution, by the names of a FitResult."""

    keypoints_px: Float[np.ndarray, "144 2"]
    keypoint_confidence: Float[np.ndarray, " 144"]
    landmarks: Float[np.ndarray, "144 3"]
    landmarks_px: Float[np.ndarray, "144 2"]
    image_size: tuple[int, int]
    focal_px: float
    focal_source: str


def why_implausible(result: FitResult | Placed) -> str | None:
    """What no person explains about a solution, and what to look at; None for a plausible one."""
    seen = result.keypoint_confidence > CONFIDENT
    if not seen.any():
        return None
    points, (width, height) = result.keypoints_px[seen], result.image_size
    size = float(np.ptp(points, axis=0).max())
    if size < SMALLEST_PX:
        return (
            f"all its keypoints lie within {size:.1f} px, in which nobody can be seen. Are they in pixels of the photo?"
        )
    outside = ((points < -np.array([width, height])) | (points > 2 * np.array([width, height]))).any(axis=1)
    if (share := float(outside.mean())) > 0.5:
        return (
            f"{share:.0%} of its keypoints lie far outside the photo of {width} x {height} px. Are they of this photo, "
            "and in its pixels?"
        )
    return _far_from(result, seen, size) or _out_of_reach(result)


def _far_from(result: FitResult | Placed, seen: Bool[np.ndarray, " 144"], size: float) -> str | None:
    """Whether the body misses the keypoints."""
    advice = "no person explains them. Are they in the order that their format says, and of one person?"
    shares = _error_shares(result, seen, size)
    if not len(shares):
        return None
    if (typical := median(shares)) > LARGEST_ERROR:
        return f"in the median the body is {typical:.0%} of the person's size away from the keypoints: {advice}"
    far = float((shares > LARGEST_ERROR).mean())
    if len(shares) >= FEWEST_POINTS and far > FAR_OFF:
        return f"{far:.0%} of the keypoints are over {LARGEST_ERROR:.0%} of the person's size off the body: {advice}"
    return None


def _error_shares(result: FitResult | Placed, seen: Bool[np.ndarray, " 144"], size: float) -> Float[np.ndarray, " N"]:
    distance = np.linalg.norm(result.landmarks_px - result.keypoints_px, axis=-1)
    return distance[seen & np.isfinite(distance)] / size


def _out_of_reach(result: FitResult | Placed) -> str | None:
    """Whether the person stands where no camera sees them."""
    depth = float(result.landmarks[0, 2])
    if NEAREST_M <= depth <= FARTHEST_M:
        return None
    where = f"{depth:.4g} m from the camera" if depth > 0 else "behind the camera"
    return (
        f"the person would be {where}. Expected {NEAREST_M} to {FARTHEST_M:.0f} m: look at the focal length "
        f"({result.focal_px:.0f} px, {result.focal_source}) and at the scale of the keypoints."
    )
