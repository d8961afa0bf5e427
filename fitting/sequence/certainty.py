"""How sure a person is over time: covariances of joints at every moment, from the joint problem's own Hessian.

Laplace's approximation, as for photos (`fitting.uncertainty.laplace`): the Hessian has all views, priors, temporal and
ground terms, and the shared shape. `arrow_inverse` gives each moment's block of its inverse. The error of keypoints is
estimated from the residuals of a part of the clip (`_noise`). How far the result is off, mainly because errors of
neighbouring moments are alike, is measured: clips have temperatures of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.energy.levenberg_marquardt import geman_mcclure
from bodyfit.fitting.energy.terms import Evaluation
from bodyfit.fitting.sequence.arrow_factor import Elimination, Rows
from bodyfit.fitting.sequence.arrow_inverse import Marginal, marginals
from bodyfit.fitting.sequence.arrow_system import ArrowSystem
from bodyfit.fitting.sequence.clip_flips import flips_over_time
from bodyfit.fitting.sequence.contacts import Contacts
from bodyfit.fitting.sequence.problem import GroupProblem
from bodyfit.fitting.sequence.views import Views
from bodyfit.fitting.sequence.windows import GroupSolver
from bodyfit.fitting.uncertainty.laplace import PointCovariance, keypoint_parts, variance_of
from bodyfit.fitting.uncertainty.temperature import CLIP, VIEWS

REACH = 2
"""Moments on either side that a moment's terms reach."""
KEYPOINT_SECONDS, PRIOR_SECONDS = 0.25, 0.3
"""How long errors of keypoints, and of the poses that the prior expects, stay alike. What they say of moments within
this time does not add up: its weight is less by the number of moments in twice that time."""
NOISE_MOMENTS = 40
"""Moments whose residuals say how large keypoint errors are, at most."""
ASSUMED_ROWS = 5.0
"""The variance of keypoint errors is estimated as if so many more residuals had the assumed one."""


def covariances_of(
    solver: GroupSolver, x: Float[Tensor, "T D"], contacts: Contacts | None = None
) -> dict[str, Float[Tensor, "T N 3 3"]]:
    """Covariances of joints, by their names in a Track; in the frame of the fit, m^2. Of a single camera, also the
    `flip_probability` of limbs.

    Args:
        solver: with the views, and a fitter that estimates uncertainty.
        x: the solution.
        contacts: where feet were held in it.

    Raises:
        ValueError: where the Hessian has no inverse.
    """
    estimator = solver.fitter.afterwards.estimator
    hessian, seen = counted(solver, x, contacts), seen_as(solver)
    with_flips = seen == CLIP and bool(estimator.limbs)
    parts = []
    for one in hessian.marginals(0, len(x)):
        camera, relative, bones = hessian.moved(one, estimator.points, estimator.bones if with_flips else None)
        parts.append(estimator.named(camera, relative, seen) | {"bones": bones})
    found = {name: torch.cat([part[name] for part in reversed(parts)]) for name in parts[0]}
    bones = found.pop("bones")
    return found | ({"flip_probability": flips_over_time(solver, x, bones)} if with_flips else {})


def counted(solver: GroupSolver, x: Float[Tensor, "T D"], contacts: Contacts | None = None) -> Hessian:
    """The Hessian at a solution that says how sure it is: keypoints have the errors that residuals show, and what they
    and the pose prior say counts once while their errors are alike. Arguments, and what is raised, as of
    `covariances_of`."""
    variance = _noise(Hessian(solver, x, solver.views, contacts), *_middle(len(x), NOISE_MOMENTS))
    alike = variance * _times(KEYPOINT_SECONDS, solver)
    told = replace(solver.views.seen, weights=solver.views.seen.weights / alike)
    return Hessian(solver, x, replace(solver.views, seen=told), contacts, _times(PRIOR_SECONDS, solver))


def seen_as(solver: GroupSolver) -> str:
    """How the person was seen: which of `temperature.SCALES` holds."""
    return VIEWS if solver.several_views else CLIP


def _times(seconds: float, solver: GroupSolver) -> float:
    """How many moments with a sighting are within twice this time: they say as much as one."""
    seen = len(solver.views.moment.unique())
    return float(min(max(2 * seconds * solver.fps, 1.0), seen))


def _middle(count: int, window: int) -> tuple[int, int]:
    """First and last + 1 of moments in the middle, a window at most."""
    length = min(count, window)
    return (count - length) // 2, (count - length) // 2 + length


class Hessian:
    """The Hessian at a solution, evaluated a window at a time.

    Args:
        solver, x, contacts: as in `covariances_of`.
        views: those of the solver, with whatever weights.
        prior_variance: of the predicted poses, in units of that of single fits; None: as the solver has it. The shape's
            prior then counts once.
    """

    def __init__(
        self,
        solver: GroupSolver,
        x: Float[Tensor, "T D"],
        views: Views,
        contacts: Contacts | None,
        prior_variance: float | None = None,
    ):
        self.solver, self.x, self.views, self.contacts = solver, x, views, contacts
        self.energy, single = solver.energy, solver.fitter.config.energy
        if prior_variance is not None:
            self.energy = replace(single, predicted_sigma=prior_variance**0.5 * single.predicted_sigma)
        self.whole = self._problem(0, len(x))
        if not solver.several_views:
            self.whole.follow_motion(x)
        if prior_variance is not None:
            self.whole.shape_prior.times = 1.0
        self.shape_information = self.whole.shape_prior.information(x[0, self.whole.shared])

    def _problem(self, first: int, last: int) -> GroupProblem:
        """Of moments first to last - 1 alone."""
        solver, fitter = self.solver, self.solver.fitter
        contacts = None if self.contacts is None else self.contacts.between(first, last)
        start = (fitter.unknowns, solver.model, fitter.prior, self.views.between(first, last), last - first)
        weights = (self.energy, solver.fps, solver.config, solver.jacobians(contacts))
        return GroupProblem(*start, *weights, contacts=contacts, map_=solver.map)

    def _terms_within(self, first: int, last: int) -> ArrowSystem:
        """Normal equations of the terms that are about moments first to last - 1 alone, but for the shape's prior."""
        problem = self._problem(first, last)
        problem.smoothness.by_acceleration = self.whole.smoothness.by_acceleration[first : max(last - 2, first)]
        problem.shape_prior.times = 0.0
        return problem.evaluate(self.x[first:last], self.solver.config.solver.curvature_floor)

    def eliminated(self, low: int, high: int) -> Elimination:
        """The block Cholesky factor of moments low to high - 1, as if there were no others."""
        step = self.solver.config.window // 2 * 2
        windows = [(a, min(a + step, high)) for a in range(low, high, step)]

        def rows_of(first: int, last: int) -> Rows:
            start, end = max(first - REACH, low), min(last + REACH, high)
            system = self._terms_within(start, end)
            corner, some = system.corner[0], slice(first - start, last - start)
            if first > low:  # these were in the rows before
                corner = corner - self._terms_within(first - REACH, min(first + REACH, high)).corner[0]
            return Rows(system.band[0, :, some], system.edge[0, some], corner)

        return Elimination(rows_of, self.shape_information, windows)

    def marginals(self, low: int, high: int) -> Iterator[Marginal]:
        """Covariances of the unknowns of moments low to high - 1, from the last to the first, as if there were no
        others."""
        return marginals(self.eliminated(low, high), shared_known=self.shape_known)

    @property
    def shape_known(self) -> bool:
        """Whether the shape was given, and is no source of doubt."""
        return bool(self.solver.fitter.config.shape.betas)

    def moved(
        self, one: Marginal, points: PointCovariance, bones: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Float[Tensor, "W K 3 3"], Float[Tensor, "W K 3 3"], Float[Tensor, "W B 3 3"]]:
        """Covariances of points at some moments, in the frame of the fit and relative to the first point, and of the
        second point of each of `bones` relative to the first; none where these are None."""

        def work(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
            jacobian = points.jacobian(self._posed(one.first, rows))
            pelvis = jacobian[:, :1]
            # Depth moves the whole body: differences are taken before they are multiplied by its large variance.
            moves = self._moves(one, rows, torch.cat([jacobian - pelvis, pelvis], 1))
            relative = moves[:-1]
            pairs = moves[:0] if bones is None else relative[bones[1]] - relative[bones[0]]
            return tuple(some.covariance() for some in (relative + moves[-1:], relative, pairs))

        return tuple(torch.cat(some) for some in zip(*self.solver.map(work, self._chunks(one)), strict=True))

    def leverage(self, one: Marginal) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"], Float[Tensor, " P"]]:
        """Of keypoints of the body, hands and face at some moments: their weighted squared residuals, their weights,
        and how much of these the unknowns take up."""
        problem, floor = self.whole, self.solver.config.solver.curvature_floor
        parts = keypoint_parts(self.solver.model.names, self.x)

        def work(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
            at, span = self._posed(one.first, rows), (one.first + rows.start, one.first + rows.stop)
            views = self.views.between(*span)
            told, jacobian = problem.seen_rows(at, views, floor)
            moves = self._moves(one, rows, jacobian.view(*told.residual.shape, -1))
            taken = (moves.through * moves.jacobian).sum((0, 2, 3))
            through, term = views.through_cameras(at.points), problem.reprojection
            residuals, trust = term.residuals(through), term.weights(through)
            _, weight, curvature = geman_mcclure(residuals, term.robust_scale(through))
            bent = trust * torch.maximum(curvature, floor * weight)
            squares = (bent * residuals.square()).nan_to_num()
            return squares.sum(0) @ parts, trust.sum(0) @ parts, taken @ parts[::2]

        return tuple(torch.stack(some).sum(0) for some in zip(*self.solver.map(work, self._chunks(one)), strict=True))

    def _chunks(self, one: Marginal) -> list[slice]:
        count, chunk = len(one.own), self.solver.config.chunk
        return [slice(a, min(a + chunk, count)) for a in range(0, count, chunk)]

    def _posed(self, first: int, rows: slice) -> Evaluation:
        some = torch.arange(first + rows.start, first + rows.stop, device=self.x.device)
        return self.whole.priors.at(self.x[some], some, derivatives=True)

    def _moves(self, one: Marginal, rows: slice, jacobian: Float[Tensor, "W K E D"]) -> _Moves:
        """Of numbers of points at some of these moments, given their derivative in the unknowns."""
        inner, cross = one.own[rows], one.cross[rows]
        below = torch.cat([cross.mT, one.shared.expand(len(inner), -1, -1)], 2)
        whole = torch.cat([torch.cat([inner, cross], 2), below], 1)
        own, shared = self.whole.own, self.whole.shared
        order = torch.cat([own, torch.arange(shared.start, shared.stop, device=own.device)]).argsort()
        whole = whole.index_select(1, order).index_select(2, order).to(jacobian)
        jacobian = jacobian[..., : len(order)]
        return _Moves(jacobian, (jacobian.flatten(1, 2) @ whole).view_as(jacobian))


@dataclass(frozen=True)
class _Moves:
    """How points move with the unknowns."""

    jacobian: Float[Tensor, "W K E C"]
    """E numbers of each."""
    through: Float[Tensor, "W K E C"]
    """The same times the covariance of the unknowns."""

    def __getitem__(self, points: slice | Tensor) -> _Moves:
        return _Moves(self.jacobian[:, points], self.through[:, points])

    def __add__(self, other: _Moves) -> _Moves:
        return _Moves(self.jacobian + other.jacobian, self.through + other.through)

    def __sub__(self, other: _Moves) -> _Moves:
        return _Moves(self.jacobian - other.jacobian, self.through - other.through)

    def covariance(self) -> Float[Tensor, "W K E E"]:
        """Of the numbers of each point."""
        return self.through @ self.jacobian.mT


def _noise(hessian: Hessian, first: int, last: int) -> Float[Tensor, " K"]:
    """Variance of the keypoint errors of each landmark in units of the assumed one, from moments first to last - 1: the
    squared residuals over their degrees of freedom."""
    found = [hessian.leverage(one) for one in hessian.marginals(first, last)]
    squares, weights, taken = (torch.stack(some).sum(0) for some in zip(*found, strict=True))
    variance = variance_of(squares, weights - taken, ASSUMED_ROWS)
    return variance @ keypoint_parts(hessian.solver.model.names, variance)[::2].T
