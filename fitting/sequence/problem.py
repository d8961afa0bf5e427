"""One person over many moments as one least-squares problem: the sum of all views, priors and temporal terms.

Each moment has unknowns of its own (root, translation, pose, expression, jaw, hands); betas are shared. Temporal terms
are second differences over three consecutive moments, of two kinds:

* accelerations of body landmarks relative to the size of the body, robust, so that fast motion costs no more than it
  must. In metres alone they would shrink the body and bring it nearer to a single camera;
* second derivatives of the latent, expression, jaw and hands, for what the body's landmarks do not show. They are plain
  squares. Root rotations have none: rotation vectors jump at half a turn, landmarks do not.

Both couple a moment to the next two and no further, and to betas: `ArrowSystem`. Each sum of squares is multiplied by
30 / fps, so that it approximates the same integral over time at any frame rate. Moments that nobody saw have no priors:
only temporal terms hold them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.fitting.energy.config import EnergyConfig, energy_terms
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import Quadratic, geman_mcclure, quadratic, total_cost
from bodyfit.fitting.energy.observations import Observations, PredictedPose
from bodyfit.fitting.energy.problem import Problem
from bodyfit.fitting.energy.terms import Evaluation, Gaussian, RelativeReprojection, Reprojection, write_point_jacobian
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.sequence.arrow_system import ArrowSystem
from bodyfit.fitting.sequence.config import REFERENCE_FPS, SequenceConfig
from bodyfit.fitting.sequence.views import Views, point_information
from bodyfit.prior.model.vposer import VPoser

SMOOTHED = (*JOINT_NAMES[:22], "nose", "left_big_toe", "right_big_toe")
"""Landmarks whose accelerations are held: the body's."""
_SHARED, _FIXED = ("betas",), ("log_focal",)
_SMOOTH_BLOCKS = ("latent", "expression", "jaw_pose", "left_hand", "right_hand")
_STENCIL = (1.0, -2.0, 1.0)


@dataclass(frozen=True)
class _Prepared:
    """Posed moments with their derivatives."""

    at: Evaluation
    points: Float[Tensor, "T K 3"]
    jacobian: Float[Tensor, "T K 3 D"]


class GroupProblem:
    """One person at T consecutive moments.

    Args:
        unknowns, model: unknowns and landmarks; the model has those of SMOOTHED that the body has.
        prior: the pose prior.
        views: all sightings.
        moments: how many moments there are, T.
        energy: weights of the terms that single fits have.
        fps: moments per second.
        config: weights of the temporal terms.
        rotation_jacobian: of the same unknowns and model, with 3 numbers per landmark.

    Attributes:
        own, shared: columns of the unknowns that each moment has, and of the shared ones.
        seen: moments that somebody saw.
    """

    def __init__(
        self,
        unknowns: Unknowns,
        model: LandmarkModel,
        prior: VPoser,
        views: Views,
        moments: int,
        energy: EnergyConfig,
        fps: float,
        config: SequenceConfig,
        rotation_jacobian: RotationJacobian | None = None,
    ):
        self.unknowns, self.model, self.views, self.moments, self.config = unknowns, model, views, moments, config
        self.rotation_jacobian = rotation_jacobian or RotationJacobian(unknowns, model, each=3)
        terms = energy_terms(unknowns, model, prior, views.seen, energy, rotation_jacobian=self.rotation_jacobian)
        if any(isinstance(term, RelativeReprojection) for term in terms):
            raise BodyfitError("relative_hands and relative_face must be 0 in fits of several moments or views.")
        self.reprojection = next(term for term in terms if isinstance(term, Reprojection))
        layout, left_out = unknowns.layout, (*_SHARED, *_FIXED)
        self.own = layout.mask(*(name for name in layout.slices if name not in left_out)).nonzero()[:, 0]
        self.own = self.own.to(model.device)
        self.shared = layout["betas"]
        self.betas = next(term for term in terms if term.name == "betas")
        priors = [t for t in terms if not (isinstance(t, Reprojection) or t.name in left_out)]
        self.priors = Problem(unknowns, model, priors, _of_moments(views, moments), energy.softness)
        self.seen = torch.zeros(moments, dtype=torch.bool, device=model.device)
        self.seen[views.moment] = True
        self._prepare_smoothing(terms, fps)

    def _prepare_smoothing(self, terms: list, fps: float) -> None:
        """Which landmarks and unknowns are smooth, and how much."""
        config, layout, model = self.config, self.unknowns.layout, self.model
        self.smoothed = torch.tensor([model.names.index(n) for n in SMOOTHED if n in model.names], device=model.device)
        root = (REFERENCE_FPS / fps) ** 0.5
        self.by_acceleration = root * fps**2 / config.acceleration_sigma
        self.robust_scale = torch.full((1, 1), root * config.acceleration_robust_sigmas)
        self.robust_scale = self.robust_scale.to(model.device, model.dtype)
        sigmas = {term.name: term.sigma for term in terms if isinstance(term, Gaussian)}
        by_unknown = torch.zeros(layout.size, dtype=model.dtype, device=model.device)
        for name in _SMOOTH_BLOCKS:
            sigma = config.latent_sigma if name == "latent" else config.detail_sigma * sigmas.get(name, 1.0)
            by_unknown[layout[name]] = root * fps**2 / sigma
        self.by_unknown = by_unknown[self.own]

    def cost(self, x: Float[Tensor, "T D"]) -> Float[Tensor, ""]:
        """Cost at x; infinite where it is not a number."""
        points, total = [], 0.0
        for first in range(0, self.moments, self.config.chunk):
            last = min(first + self.config.chunk, self.moments)
            items = torch.arange(first, last, device=x.device)
            at = self.priors.at(x[first:last], items)
            total = total + torch.where(self.seen[first:last], total_cost(self.priors.linearization(at)), 0.0).sum()
            total = total + self._reprojection_cost(first, last, at.points)
            points.append(at.points[:, self.smoothed])
        total = total + self._betas_residual(x).square().sum() + self._smoothness_cost(torch.cat(points), x)
        return torch.where(torch.isfinite(total), total, torch.inf)

    def _reprojection_cost(self, first: int, last: int, points: Tensor) -> Tensor:
        at, term = self.views.between(first, last).through_cameras(points), self.reprojection
        return (term.weights(at) * geman_mcclure(term.residuals(at), term.robust_scale(at))[0]).sum()

    def _betas_residual(self, x: Tensor) -> Float[Tensor, " S"]:
        return (x[0, self.shared] - self.betas.mean) / self.betas.sigma

    def _smoothness_cost(self, points: Float[Tensor, "T K 3"], x: Tensor) -> Tensor:
        if self.moments < 3:
            return points.new_zeros(())
        rows = self.by_acceleration * _second_difference(points).flatten(1)
        rows = rows * self._size(x)[0]
        bends = self.by_unknown * _second_difference(x[:, self.own])
        return geman_mcclure(rows, self.robust_scale)[0].sum() + bends.square().sum()

    def _size(self, x: Tensor) -> tuple[Float[Tensor, ""], Float[Tensor, " S"]]:
        """Length of the mean body's bones over that of this shape's, and its derivative in betas."""
        count = len(self.betas.sigma)
        shape = torch.zeros_like(self.unknowns.shape(x[:1])).repeat(2, 1)
        shape[:1, :count] = x[:1, self.shared]
        still = torch.eye(3, dtype=x.dtype, device=x.device).expand(2, len(self.unknowns.names), 3, 3)
        joints, model = self.model.kinematics(still, shape, derivatives=True), self.model
        ranks, above = model.level_rank[1:22], model.level_rank[model.parents[1:22]]
        bones = joints.positions[ranks] - joints.positions[above]
        lengths = bones.norm(dim=-1)
        here, mean = lengths.sum(0)
        moved = (joints.shape_jacobian[ranks] - joints.shape_jacobian[above])[:, 0, :, :count]
        slope = ((bones[:, 0] / lengths[:, :1])[:, None] @ moved).sum((0, 1))
        return mean / here, -mean / here**2 * slope

    def evaluate(self, x: Float[Tensor, "T D"], floor: float = 1.0) -> ArrowSystem:
        """The normal equations at x, a batch of one."""
        shared = self.shared.stop - self.shared.start
        system = ArrowSystem.zeros(1, self.moments, len(self.own), shared, x)
        for first in range(0, self.moments, self.config.chunk):
            last = min(first + self.config.chunk, self.moments)
            # Accelerations of the chunk's moments need one more on either side.
            low, high = max(first - 1, 0), min(last + 1, self.moments)
            posed = self._pose(x, low, high)
            self._add_moments(system, posed, first, last, low, floor)
            self._add_accelerations(system, posed, low, floor)
        self._add_betas(system, x)
        self._add_bends(system, x)
        return system

    def _pose(self, x: Tensor, low: int, high: int) -> _Prepared:
        at = self.priors.at(x[low:high], torch.arange(low, high, device=x.device), derivatives=True)
        jacobian = x.new_zeros(high - low, len(self.model.names), 3, self.unknowns.layout.size)
        write_point_jacobian(self.unknowns, self.rotation_jacobian, at, jacobian)
        return _Prepared(at, at.points, jacobian)

    def _add_moments(self, system: ArrowSystem, posed: _Prepared, first: int, last: int, low: int, floor: float):
        """Views and priors of moments first to last - 1."""
        here, rows = slice(first - low, last - low), slice(first, last)
        jacobian = posed.jacobian[here]
        told = point_information(self.views.between(first, last), self.reprojection, posed.points[here], floor)
        flat = jacobian.flatten(1, 2)
        hessian = flat.mT @ (told.hessian @ jacobian).flatten(1, 2)
        gradient = (told.gradient.flatten(1)[:, None] @ flat)[:, 0]
        prior = self._prior_model(posed.at, here, floor)
        seen = self.seen[rows]
        system.cost += told.cost + torch.where(seen, prior.cost, 0.0).sum()
        hessian = hessian + torch.where(seen[:, None, None], prior.hessian, 0.0)
        gradient = gradient + torch.where(seen[:, None], prior.gradient, 0.0)
        system.band[0, 0, rows] += hessian[:, self.own][:, :, self.own]
        system.edge[0, rows] += hessian[:, self.own, self.shared]
        system.corner[0] += hessian[:, self.shared, self.shared].sum(0)
        system.gradient[0, rows] += gradient[:, self.own]
        system.shared_gradient[0] += gradient[:, self.shared].sum(0)

    def _prior_model(self, at: Evaluation, here: slice, floor: float) -> Quadratic:
        """The local model of the priors, in all unknowns."""
        jacobian = at.x.new_zeros(len(at.x), self.priors.rows.size, self.unknowns.layout.size)
        for term in self.priors.dense:
            at.jacobians[term] = jacobian[:, self.priors.rows[term.name]]
            term.jacobian(at, at.jacobians[term])
        local = quadratic(self.priors.linearization(at, jacobian), slice(0, self.unknowns.layout.size), floor)
        return Quadratic(local.cost[here], local.gradient[here], local.hessian[here])

    def _add_accelerations(self, system: ArrowSystem, posed: _Prepared, low: int, floor: float) -> None:
        """Accelerations of body landmarks about all moments but the first and the last posed."""
        count = len(posed.points) - 2
        if count < 1:
            return
        relative, slope = self._size(posed.at.x)
        by_acceleration = relative * self.by_acceleration
        residuals = by_acceleration * _second_difference(posed.points[:, self.smoothed]).flatten(1)
        loss, weight, curvature = geman_mcclure(residuals, self.robust_scale)
        system.cost += loss.sum()
        pull, bend = weight * residuals, torch.maximum(curvature, floor * weight).sqrt()[..., None]
        whole = by_acceleration * posed.jacobian[:, self.smoothed].flatten(1, 2)
        own = [factor * whole[k : k + count][..., self.own] for k, factor in enumerate(_STENCIL)]
        shared = _second_difference(whole[..., self.shared]) + residuals[..., None] * (slope / relative)
        scaled, scaled_shared = [bend * part for part in own], bend * shared
        for k, part in enumerate(own):
            rows = slice(low + k, low + k + count)
            system.gradient[0, rows] += (pull[:, None] @ part)[:, 0]
            system.edge[0, rows] += scaled[k].mT @ scaled_shared
            for ahead in range(3 - k):
                system.band[0, ahead, rows] += scaled[k].mT @ scaled[k + ahead]
        system.shared_gradient[0] += (pull[:, None] @ shared)[:, 0].sum(0)
        system.corner[0] += (scaled_shared.mT @ scaled_shared).sum(0)

    def _add_betas(self, system: ArrowSystem, x: Tensor) -> None:
        """The prior of the shape, once for the person."""
        residual, slope = self._betas_residual(x), 1 / self.betas.sigma
        system.cost += residual.square().sum()
        system.shared_gradient[0] += slope * residual
        system.corner[0].diagonal().add_(slope.square())

    def _add_bends(self, system: ArrowSystem, x: Tensor) -> None:
        """Second derivatives of unknowns: the same diagonal for all moments."""
        count = self.moments - 2
        if count < 1:
            return
        residuals = self.by_unknown * _second_difference(x[:, self.own])
        system.cost += residuals.square().sum()
        square = self.by_unknown.square()
        for k, factor in enumerate(_STENCIL):
            rows = slice(k, k + count)
            system.gradient[0, rows] += factor * self.by_unknown * residuals
            for ahead in range(3 - k):
                blocks = system.band[0, ahead, rows].diagonal(dim1=-2, dim2=-1)
                blocks.add_(factor * _STENCIL[k + ahead] * square)

    def retract(self, x: Float[Tensor, "T D"], own: Float[Tensor, "T d"], shared: Float[Tensor, " S"]) -> Tensor:
        """Take a step."""
        step = torch.zeros_like(x)
        step[:, self.own], step[:, self.shared] = own, shared
        return self.unknowns.retract(x, step)


def _second_difference(values: Tensor) -> Tensor:
    """About all moments (the first dimension) but the first and the last."""
    return values[:-2] - 2 * values[1:-1] + values[2:]


def _of_moments(views: Views, moments: int) -> Observations:
    """What priors ask of observations: each moment's predicted pose, the mean of its views'."""
    seen = views.seen
    count = torch.zeros(moments, dtype=seen.size_px.dtype, device=seen.size_px.device)
    count.index_add_(0, views.moment, torch.ones_like(seen.size_px))
    predicted = seen.predicted
    if predicted is not None:
        total = predicted.mean.new_zeros(moments, predicted.mean.shape[1]).index_add(0, views.moment, predicted.mean)
        predicted = PredictedPose(total / count.clamp_min(1)[:, None], predicted.whitener)
    blank = [value.new_zeros(moments, *value.shape[1:]) for value in (seen.targets_px, seen.weights)]
    one = torch.ones_like(count)
    return replace(
        seen,
        targets_px=blank[0],
        weights=blank[1],
        size_px=one,
        focal_px=one,
        center_px=seen.center_px.new_zeros(moments, 2),
        predicted=predicted,
    )
