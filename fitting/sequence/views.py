"""The sightings of one person: keypoints and cameras of all views, and the moments they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.fitting.energy.levenberg_marquardt import geman_mcclure
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.projection import project, projection_jacobian
from bodyfit.fitting.energy.terms import Evaluation, Reprojection


@dataclass(frozen=True)
class Views:
    """V views of one person."""

    seen: Observations
    moment: Int[Tensor, " V"]
    """Of each view; ascending."""
    rotation: Float[Tensor, "V 3 3"]
    """From the world to the camera; the identity where there is but one camera."""
    translation: Float[Tensor, "V 3"]

    def between(self, first: int, last: int) -> Views:
        """The views of moments first to last - 1, counted from the first."""
        rows = ((self.moment >= first) & (self.moment < last)).nonzero()[:, 0]
        return Views(self.seen.select(rows), self.moment[rows] - first, self.rotation[rows], self.translation[rows])

    def of_landmarks(self, columns: Int[Tensor, " C"]) -> Views:
        """The same views of some of the landmarks."""
        return replace(self, seen=self.seen.of_landmarks(columns))

    @classmethod
    def joined(cls, parts: Sequence[Views]) -> Views:
        """Views of several parts of a clip as one; their moments stay as they are."""
        seen = [part.seen for part in parts]
        names = ("targets_px", "weights", "size_px", "focal_px", "center_px")
        predicted = seen[0].predicted
        if predicted is not None:
            predicted = replace(predicted, mean=torch.cat([s.predicted.mean for s in seen]))
        together = Observations(*(torch.cat([getattr(s, name) for s in seen]) for name in names), predicted)
        rest = (torch.cat([getattr(part, name) for part in parts]) for name in ("moment", "rotation", "translation"))
        return cls(together, *rest)

    def through_cameras(self, points: Float[Tensor, "T K 3"]) -> Evaluation:
        """What `Reprojection` is computed from, for each view, given all moments' landmarks in the world."""
        there = points.index_select(0, self.moment) @ self.rotation.mT + self.translation[:, None]
        pixels = project(there, self.seen.focal_px, self.seen.center_px)
        empty = there.new_zeros(len(there), 0)
        return Evaluation(empty, self.moment, empty, there, self.seen, self.seen.focal_px, pixels)

    def slope(self, at: Evaluation, sigma_share: float) -> Float[Tensor, "V K 2 3"]:
        """Derivative of the residuals in the landmarks of the world; 0 where unseen."""
        visible = (self.seen.weights > 0).to(at.points.dtype)[..., None, None]
        in_camera = projection_jacobian(at.points, self.seen.focal_px / (sigma_share * self.seen.size_px))
        return (in_camera * visible) @ self.rotation[:, None]


@dataclass(frozen=True)
class PointInformation:
    """What all views of each moment say about its landmarks: a quadratic in their positions."""

    cost: Float[Tensor, ""]
    gradient: Float[Tensor, "T K 3"]
    hessian: Float[Tensor, "T K 3 3"]


def point_information(
    views: Views, reprojection: Reprojection, points: Float[Tensor, "T K 3"], floor: float
) -> PointInformation:
    """Sum up the views of each moment: the normal equations then cost the same for one camera as for many.

    Args:
        views: of these moments.
        reprojection: gives residuals, weights and robust scale.
        points: landmarks in the world.
        floor: least robust weight in the Hessian, see `SolverOptions.curvature_floor`.
    """
    at = views.through_cameras(points)
    residuals, trust = reprojection.residuals(at), reprojection.weights(at)
    loss, weight, curvature = geman_mcclure(residuals, reprojection.robust_scale(at))
    slope = views.slope(at, reprojection.sigma_share)
    pull = (trust * weight * residuals).unflatten(1, (-1, 2))[..., None, :] @ slope
    bent = trust * torch.maximum(curvature, floor * weight)
    bend = slope.mT @ (bent.unflatten(1, (-1, 2))[..., None] * slope)
    gradient = torch.zeros_like(points).index_add(0, views.moment, pull[..., 0, :])
    hessian = points.new_zeros(*points.shape, 3).index_add(0, views.moment, bend)
    return PointInformation((trust * loss).sum(), gradient, hessian)
