"""One person over many moments as one least-squares problem: the sum of all views, priors and temporal terms.

Each moment has unknowns of its own (root, translation, pose, expression, jaw, hands); betas are shared: `ArrowSystem`.
The temporal terms are in `Smoothness`. Moments that nobody saw have no priors: only temporal terms hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.energy.config import EnergyConfig, energy_terms
from bodyfit.fitting.energy.floor import FOOT_POINTS
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import Quadratic, geman_mcclure, quadratic, total_cost
from bodyfit.fitting.energy.observations import Observations, PredictedPose
from bodyfit.fitting.energy.problem import Problem
from bodyfit.fitting.energy.shared_space import OtherPeople
from bodyfit.fitting.energy.terms import Evaluation, RelativeReprojection, Reprojection, write_point_jacobian
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.sequence.arrow_system import ArrowSystem, in_order
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.contacts import Contacts, GroundConfig
from bodyfit.fitting.sequence.ground_terms import GroundTerms
from bodyfit.fitting.sequence.shape_prior import ShapePrior
from bodyfit.fitting.sequence.smoothness import SMOOTHED, BodyMotion, Smoothness, moved_columns
from bodyfit.fitting.sequence.views import PointInformation, Views, point_information
from bodyfit.prior.model.vposer import VPoser

_SHARED, _FIXED = ("betas",), ("log_focal",)


@dataclass(frozen=True)
class Held:
    """What does not move while a part of a clip is solved."""

    moments: Bool[Tensor, " T"]
    shape: bool = False
    """Whether betas are held, too."""


@dataclass(frozen=True)
class Jacobians:
    """What derivatives of a model's landmarks the joint problem needs. They take some milliseconds to build."""

    seen: RotationJacobian
    """Of all landmarks, with 2 numbers each, or 3 where a moment may have several views."""
    motion: RotationJacobian
    """Of the positions of those whose motion is held: the smooth ones first."""

    @classmethod
    def of(cls, unknowns: Unknowns, model: LandmarkModel, each: int, feet: Sequence[str] = ()) -> Jacobians:
        """Of a model.

        Args:
            unknowns, model: unknowns and landmarks.
            each: numbers per landmark of `seen`.
            feet: names of further landmarks whose motion is held.
        """
        held = [model.names.index(name) for name in dict.fromkeys((*SMOOTHED, *feet)) if name in model.names]
        return cls(RotationJacobian(unknowns, model, each), RotationJacobian(unknowns, model, each=3, some=held))


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
        jacobians: of the same unknowns and model; with feet where there are contacts.
        linked: for moments 1 to T - 2, whether they are next to the one before and the one after; all are by default.
        blocks: names of the blocks of unknowns that move; all but the focal length by default.
        held: what does not move.
        contacts: where feet rest; None: nothing is asked of feet.
        others: the term of other people, a row of obstacles for each moment; None: they may be passed through.
        map_: how chunks of moments are mapped: `in_order`, or in threads.

    Attributes:
        own, shared: columns of the unknowns that each moment has, and of the shared ones.
        seen: moments that somebody saw.
        shape_prior: what is expected of the shared unknowns.
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
        jacobians: Jacobians | None = None,
        *,
        linked: Bool[Tensor, " T-2"] | None = None,
        blocks: Sequence[str] | None = None,
        held: Held | None = None,
        contacts: Contacts | None = None,
        others: OtherPeople | None = None,
        map_: Callable = in_order,
    ):
        self.unknowns, self.model, self.views, self.moments, self.map = unknowns, model, views, moments, map_
        self.held, self.others = held, others
        if jacobians is None:
            each = 3 if len(views.moment.unique()) < len(views.moment) else 2
            jacobians = Jacobians.of(unknowns, model, each, FOOT_POINTS if contacts is not None else ())
        self.jacobians = jacobians
        terms = energy_terms(unknowns, model, prior, views.seen, energy, rotation_jacobian=jacobians.seen)
        if any(isinstance(term, RelativeReprojection) for term in terms):
            raise BodyfitError("relative_hands and relative_face must be 0 in fits of several moments or views.")
        self.reprojection = next(term for term in terms if isinstance(term, Reprojection))
        layout, left_out = unknowns.layout, (*ShapePrior.NAMES, *_FIXED)
        moving = [n for n in blocks or layout.slices if n not in (*_SHARED, *_FIXED)]
        self.own, self.shared = layout.mask(*moving).nonzero()[:, 0].to(model.device), layout["betas"]
        self._spans = _consecutive([layout[name] for name in moving])
        self._width = max(span.stop for _, span in [*self._spans, (None, self.shared)])
        priors = [t for t in terms if not (isinstance(t, Reprojection) or t.name in left_out)]
        self.seen = torch.zeros(moments, dtype=torch.bool, device=model.device)
        self.seen[views.moment] = True
        self.priors = Problem(unknowns, model, priors, _of_moments(views, moments), energy.softness)
        times = 1 + config.shape_per_moment * max(int(self.seen.sum()) - 1, 0)
        self.shape_prior = ShapePrior(terms, times)
        if linked is None:
            linked = torch.ones(max(moments - 2, 0), dtype=torch.bool, device=model.device)
        self.smoothness = Smoothness(unknowns, model, self.own, terms, self.seen, linked, fps, config)
        self.ground = None
        if contacts is not None:
            given = (contacts, fps, config.ground or GroundConfig(), self.smoothness.size)
            columns = moved_columns(unknowns, model, contacts.feet.landmarks)
            self.ground = GroundTerms(unknowns, contacts.feet, columns, self.own, *given)
            places = jacobians.motion.some.tolist()
            self._feet = self.own.new_tensor([places.index(k) for k in contacts.feet.landmarks.tolist()])
        parts = 2 * -(-moments // (2 * config.chunk))  # an even number: two threads are busy in short clips, too
        edges = sorted({moments * n // parts for n in range(parts + 1)})
        self._chunks = [(a, b, views.between(a, b)) for a, b in pairwise(edges)]

    def cost(self, x: Float[Tensor, "T D"]) -> Float[Tensor, ""]:
        """Cost at x; infinite where it is not a number."""
        costs, points = zip(*self.map(lambda chunk: self._cost(x, *chunk), self._chunks), strict=True)
        total = torch.stack(costs).sum() + self.shape_prior.at(x[0, self.shared])[0].square().sum()
        points = torch.cat(points)
        total = total + self.smoothness.cost(points.index_select(1, self.smoothness.smoothed), x)
        if self.ground is not None:
            total = total + self.ground.cost(points.index_select(1, self.ground.feet.landmarks), x)
        return torch.where(torch.isfinite(total), total, torch.inf)

    def _cost(self, x: Tensor, first: int, last: int, views: Views) -> tuple[Tensor, Tensor]:
        """Of the moments first to last - 1 by themselves, and their landmarks."""
        at = self.priors.at(x[first:last], torch.arange(first, last, device=x.device))
        cost = torch.where(self.seen[first:last], total_cost(self.priors.linearization(at)), 0.0).sum()
        through, term = views.through_cameras(at.points), self.reprojection
        loss = geman_mcclure(term.residuals(through), term.robust_scale(through))[0]
        if self.others is not None:
            cost = cost + self.others.residuals(at).square().sum()
        return cost + (term.weights(through) * loss).sum(), at.points

    def follow_motion(self, x: Float[Tensor, "T D"]) -> None:
        """Hold accelerations from now on as suits the motion at x, see `Smoothness.follow_motion`."""
        points = torch.cat(self.map(lambda chunk: self._cost(x, *chunk)[1], self._chunks))
        self.smoothness.follow_motion(points.index_select(1, self.smoothness.smoothed), x)

    def evaluate(self, x: Float[Tensor, "T D"], floor: float = 1.0) -> ArrowSystem:
        """The normal equations at x, a batch of one."""
        shared = self.shared.stop - self.shared.start
        system = ArrowSystem.zeros(1, self.moments, len(self.own), shared, x)
        parts = self.map(lambda chunk: self._add_moments(system, x, *chunk, floor), self._chunks)
        costs, corners, shared_gradients, motions = zip(*parts, strict=True)
        system.cost += torch.stack(costs).sum()
        system.corner[0] += torch.stack(corners).sum(0)
        system.shared_gradient[0] += torch.stack(shared_gradients).sum(0)
        body, feet = zip(*motions, strict=True)
        self.smoothness.add(system, BodyMotion.joined(body), x, floor, self.map)
        if self.ground is not None:
            self.ground.add(system, BodyMotion.joined(feet), x, floor, self.map)
        residual, slope = self.shape_prior.at(x[0, self.shared])
        system.cost += residual.square().sum()
        system.shared_gradient[0] += residual @ slope
        system.corner[0] += slope.mT @ slope
        if self.held is not None:
            system.hold(self.held.moments, self.held.shape)
        return system

    def _add_moments(
        self, system: ArrowSystem, x: Tensor, first: int, last: int, views: Views, floor: float
    ) -> tuple[Tensor, Tensor, Tensor, tuple[BodyMotion, BodyMotion | None]]:
        """Add views and priors of moments first to last - 1 to the moments' blocks.

        Returns:
            their share of the cost, of the corner and of the shared gradient, and the motion of body and feet.
        """
        rows = slice(first, last)
        at = self.priors.at(x[rows], torch.arange(first, last, device=x.device), derivatives=True)
        prior, told, flat = self._prior_model(at, floor), *self.seen_rows(at, views, floor)
        hessian, gradient, seen = prior.hessian, prior.gradient, self.seen[rows].to(x.dtype)
        hessian = hessian.mul_(seen[:, None, None]).baddbmm_(flat.mT, flat)
        gradient = seen[:, None] * gradient + (told.residual.flatten(1)[:, None] @ flat)[:, 0]
        cost = told.cost + (seen * prior.cost).sum()
        if self.others is not None:
            residual, rows_of = self._other_rows(at)
            cost = cost + residual.square().sum()
            hessian.baddbmm_(rows_of.mT, rows_of)
            gradient += (residual[:, None] @ rows_of)[:, 0]
        for here, span in self._spans:
            for there, other in self._spans:
                system.band[0, 0, rows, here, there] = hessian[:, span, other]
            system.edge[0, rows, here] = hessian[:, span, self.shared]
            system.gradient[0, rows, here] = gradient[:, span]
        corner = hessian[:, self.shared, self.shared]
        return cost, corner.sum(0), gradient[:, self.shared].sum(0), self._motion(at)

    def seen_rows(self, at: Evaluation, views: Views, floor: float) -> tuple[PointInformation, Float[Tensor, "W R C"]]:
        """What views say of landmarks, and the derivative of its rows in the first unknowns, up to the last that
        moves."""
        seen = self.jacobians.seen
        told = point_information(views, self.reprojection, at.points, floor, seen.each)
        jacobian = at.x.new_zeros(*told.residual.shape, self._width)
        write_point_jacobian(self.unknowns, seen, at, jacobian, told.root)
        return told, jacobian.flatten(1, 2)

    def _other_rows(self, at: Evaluation) -> tuple[Float[Tensor, "W R"], Float[Tensor, "W R C"]]:
        """Residuals of the term of other people, and their derivative. Moments that nobody saw have them, too: who is
        hidden behind somebody is not in him."""
        residual = self.others.residuals(at)
        jacobian = at.x.new_zeros(*residual.shape, self._width)
        self.others.jacobian(at, jacobian)
        return residual, jacobian

    def _motion(self, at: Evaluation) -> tuple[BodyMotion, BodyMotion | None]:
        """Of the smooth landmarks, and of the feet where these are held."""
        smooth, ground, motion = self.smoothness, self.ground, self.jacobians.motion
        columns = max(smooth.columns, 0 if ground is None else ground.columns)
        jacobian = at.x.new_zeros(len(at.x), len(motion.some), 3, min(columns, self._width))
        write_point_jacobian(self.unknowns, motion, at, jacobian)
        rows = jacobian.flatten(1, 2)
        own = torch.cat([rows[..., span] for _, span in self._spans], 2)
        whole = BodyMotion(at.points.index_select(1, motion.some), own, rows[..., self.shared])
        if ground is None:
            return whole, None
        return whole.of(slice(0, len(smooth.smoothed)), smooth.count), whole.of(self._feet, ground.count)

    def _prior_model(self, at: Evaluation, floor: float) -> Quadratic:
        """The local model of the priors, in the first unknowns, up to the last that moves."""
        jacobian = at.x.new_zeros(len(at.x), self.priors.rows.size, self._width)
        for term in self.priors.dense:
            at.jacobians[term] = jacobian[:, self.priors.rows[term.name]]
            term.jacobian(at, at.jacobians[term])
        return quadratic(self.priors.linearization(at, jacobian), slice(0, self._width), floor)

    def retract(self, x: Float[Tensor, "T D"], own: Float[Tensor, "T d"], shared: Float[Tensor, " S"]) -> Tensor:
        """Take a step."""
        step = torch.zeros_like(x)
        step[:, self.own], step[:, self.shared] = own, shared
        return self.unknowns.retract(x, step)


def _consecutive(blocks: Sequence[slice]) -> list[tuple[slice, slice]]:
    """Places of blocks when they are put one after the other, and their own; neighbours as one."""
    spans: list[tuple[slice, slice]] = []
    at = 0
    for block in blocks:
        size = block.stop - block.start
        if spans and spans[-1][1].stop == block.start:
            here, span = spans.pop()
            spans.append((slice(here.start, at + size), slice(span.start, block.stop)))
        else:
            spans.append((slice(at, at + size), block))
        at += size
    return spans


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
