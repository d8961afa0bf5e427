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

_LEAST_BEND = 1e-6
"""Least robust weight in the Hessian, as a share of that in the gradient, so that roots have inverses."""


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
    """What all views of each moment say about its landmarks: a quadratic in their positions, c + 2 g.d + d.H d."""

    cost: Float[Tensor, ""]
    root: Float[Tensor, "T K E 3"]
    """H = root^T root."""
    residual: Float[Tensor, "T K E"]
    """g = root^T residual."""


def point_information(
    views: Views, reprojection: Reprojection, points: Float[Tensor, "T K 3"], floor: float, each: int
) -> PointInformation:
    """Sum up the views of each moment: the normal equations then cost the same for two cameras as for many.

    Args:
        views: of these moments.
        reprojection: gives residuals, weights and robust scale.
        points: landmarks in the world.
        floor: least robust weight in the Hessian, see `SolverOptions.curvature_floor`.
        each: E, numbers of each landmark: 2 where no moment has several views, else 3.
    """
    at = views.through_cameras(points)
    residuals, trust = reprojection.residuals(at), reprojection.weights(at)
    loss, weight, curvature = geman_mcclure(residuals, reprojection.robust_scale(at))
    bend, trusted = torch.maximum(curvature, max(floor, _LEAST_BEND) * weight).sqrt(), trust.sqrt()
    slope = views.slope(at, reprojection.sigma_share)
    root = (trusted * bend).unflatten(1, (-1, 2))[..., None] * slope
    residual = (trusted * weight * residuals / bend).unflatten(1, (-1, 2))
    if each == 3:
        root, residual = _summed(root, residual, views.moment, len(points))
    elif len(root) < len(points):
        root = root.new_zeros(len(points), *root.shape[1:]).index_copy(0, views.moment, root)
        residual = residual.new_zeros(len(points), *residual.shape[1:]).index_copy(0, views.moment, residual)
    return PointInformation((trust * loss).sum(), root, residual)


def _summed(
    root: Float[Tensor, "V K 2 3"], residual: Float[Tensor, "V K 2"], moment: Int[Tensor, " V"], moments: int
) -> tuple[Float[Tensor, "T K 3 3"], Float[Tensor, "T K 3"]]:
    """Root and residual of the sum of each moment's views: Cholesky's factorisation, written out, since libraries are
    slow with matrices this small. Rows of what no view tells are zero."""
    both = torch.cat([root, residual[..., None]], -1)
    rest = root.new_zeros(moments, root.shape[1], 3, 4).index_add(0, moment, root.mT @ both)
    least = 4 * torch.finfo(root.dtype).eps * rest.diagonal(dim1=-2, dim2=-1)
    rows = []
    for n in range(3):
        pivot, known = rest[..., n, n], rest[..., n, n] > least[..., n]
        row = rest[..., n, :] * (torch.where(known, pivot, 1.0).rsqrt() * known)[..., None]
        rows.append(row)
        rest = rest - row[..., :3, None] * row[..., None, :]
    whole = torch.stack(rows, -2)
    return whole[..., :3], whole[..., 3]
