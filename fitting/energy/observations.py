"""From detected keypoints to what the solver uses: landmarks of all people in one order, weights, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.landmarks import BODY, LANDMARK_INDEX, LANDMARK_NAMES

CONFIDENT = 0.1  # keypoints below this do not count for a person's size

# Points that annotators and detectors define differently from the body model have weights below one.
RELIABILITY = {
    "pelvis": 0.1,
    "neck": 0.3,
    "left_hip": 0.3,
    "right_hip": 0.3,
    "left_ear": 0.5,
    "right_ear": 0.5,
    **{name: 0.3 for name in LANDMARK_NAMES[127:]},  # face contour: a silhouette, not a point of the skin
}
_RELIABILITY = np.array([RELIABILITY.get(name, 1.0) for name in LANDMARK_NAMES])


@dataclass(frozen=True)
class PredictedPose:
    """The predicted pose of each person: a Gaussian in the prior's latent space, with one covariance for all."""

    mean: Float[Tensor, "B Z"]
    whitener: Float[Tensor, "Z Z"]
    """Inverse of the covariance's Cholesky factor."""


@dataclass(frozen=True)
class Observations:
    """What is known of each person: keypoints, camera, and the pose predicted from them."""

    targets_px: Float[Tensor, "B K 2"]
    weights: Float[Tensor, "B K"]
    """Confidence times reliability; 0 where unseen."""
    size_px: Float[Tensor, " B"]
    """The person's size in the image."""
    focal_px: Float[Tensor, " B"]
    center_px: Float[Tensor, "B 2"]
    predicted: PredictedPose | None = None
    """None: the aggregate posterior of the prior is used instead."""

    def __len__(self) -> int:
        return len(self.size_px)

    def repeat(self, times: int) -> Observations:
        """Each person several times in a row, for several starts."""
        return self.select(torch.arange(len(self), device=self.size_px.device).repeat_interleave(times))

    def select(self, items: Tensor) -> Observations:
        """The people `items`."""
        keypoints = (self.targets_px, self.weights, self.size_px, self.focal_px, self.center_px)
        expected = self.predicted and PredictedPose(self.predicted.mean.index_select(0, items), self.predicted.whitener)
        return Observations(*(values.index_select(0, items) for values in keypoints), expected)

    def of_landmarks(self, columns: Int[Tensor, " C"]) -> Observations:
        """The same people, some of their landmarks."""
        targets_px, weights = (values.index_select(1, columns) for values in (self.targets_px, self.weights))
        return replace(self, targets_px=targets_px, weights=weights)


def person_size(xy: Float[np.ndarray, "*P K 2"], confidence: Float[np.ndarray, "*P K"]) -> Float[np.ndarray, "*P"]:
    """Largest side, px, of the box around a person's confident body keypoints (LANDMARK_NAMES order); 0 without any."""
    body = list(BODY)
    seen = (confidence[..., body] > CONFIDENT)[..., None]
    low = np.where(seen, xy[..., body, :], np.inf).min(axis=-2)
    high = np.where(seen, xy[..., body, :], -np.inf).max(axis=-2)
    return np.where(seen.any(axis=(-2, -1)), (high - low).max(axis=-1), 0.0)


def observe(
    xy: Float[np.ndarray, "P 144 2"],
    confidence: Float[np.ndarray, "P 144"],
    focal_px: Float[np.ndarray, " P"],
    center_px: Float[np.ndarray, "P 2"],
    *,
    names: Sequence[str],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Observations:
    """Observations of people from keypoints in LANDMARK_NAMES order, reduced to the landmarks `names`.

    A weight is reliability times confidence squared: low confidences are less reliable than their value suggests.
    """
    columns = [LANDMARK_INDEX[name] for name in names]
    weights = (confidence**2 * _RELIABILITY)[:, columns]
    arrays = (xy[:, columns], weights, person_size(xy, confidence).clip(min=1.0), focal_px, center_px)
    return Observations(*(torch.as_tensor(np.array(a), dtype=dtype, device=device) for a in arrays))
