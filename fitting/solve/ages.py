"""Adults and children: bodies of both kinds are tried, and proportions say which one a person is.

One photo does not show size, so a child is known by a large head and short limbs. Everybody is fitted as an adult
first. At that solution the local model of the cost says what a free kid axis would gain. Where that is enough to
matter, the person is fitted as a child as well, and one of the two stays, by their costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.body.age_shapes import ADULT_YEARS, average_betas
from bodyfit.data.body.body_model import BodyModel, kid_template_of, with_kid_axis, without_kid_axis
from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import BODY, LANDMARK_NAMES
from bodyfit.fitting.energy.age_prior import ShapeOfAge
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import Linearization, Solution, minimise, quadratic, slice_or_index
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.terms import Reprojection
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.solve.landmark_sets import LandmarkSets
from bodyfit.fitting.solve.stages import GIVEN_UP

OLDEST_YEARS = 120.0
USUAL_AGES = ((0.0, 1.0, 3.0, 6.0, 10.0, 14.0, 18.0), (1.0, 0.79, 0.62, 0.45, 0.27, 0.07, 0.0))
"""Years, and the kid beta of each, where the body's file does not say: the share of the way from an adult's to a
newborn's stature, by growth charts."""
FIRST_KID, LAST_KID = 0.15, 0.95
"""Where fits of children start on the kid axis."""
BODY_NAMES = frozenset(LANDMARK_NAMES[i] for i in BODY) - {
    f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")
}
"""Head, trunk and limbs, without hands, feet and the face."""
_SCHOOL_CHILD = 0.5
"""The kid beta at which the local model's straight line meets the average children: those who are hard to tell."""


@dataclass(frozen=True)
class AgeConfig:
    """Adults, children, or whatever the proportions say."""

    kind: str = "auto"
    """adult, child, auto, or the age in years ("7.5"). Bodies without a kid axis are adults under auto."""
    screen: float = 1.0
    """auto: people are also fitted as children where a free kid axis lowers the cost by more than this, by the local
    model of the cost at the adult solution; more where keypoints are explained badly."""
    adult_advantage: float = 1.1
    """auto: a person is a child where the fit as a child costs less than that as an adult by more than this ..."""
    usual_misfit: float = 0.9
    """... and by more where even the better fit explains the keypoints badly: its cost per weight of a keypoint is
    beyond what synthetic people reach, so that the body, not the person, may be what does not fit ..."""
    misfit_asks: float = 8.0
    """... by this much for each such cost above the usual one, ..."""
    most_misfit: float = 2.0
    """... up to so many."""
    body_says: float = 0.0
    """auto: a person is a child only where the keypoints of head, trunk and limbs alone are explained better by a
    child, by more than this: hands, shoes and weak points of the face can look large for other reasons."""
    years_sigma: float = 0.03
    """Standard deviation of the kid beta about that of a given age."""

    @property
    def years(self) -> float | None:
        """The given age; None: none was given.

        Raises:
            BodyfitError: for a kind that is neither a word nor an age.
        """
        if self.kind in ("adult", "child", "auto"):
            return None
        try:
            years = float(self.kind)
        except ValueError:
            years = math.nan
        if not 0 <= years <= OLDEST_YEARS:
            raise BodyfitError(f"age '{self.kind}' is not understood. Expected adult, child, auto or years (0 to 120).")
        return years

    def bodies(self, body: BodyModel, betas: int) -> tuple[BodyModel, BodyModel | None]:
        """The body that everybody is fitted with, and the one that children are tried with under auto.

        Args:
            body: the user's.
            betas: how many shape numbers are known; one more than the body has: the last is the kid axis.

        Raises:
            BodyfitError: for children of a body that knows none.
        """
        years = self.years
        adult = without_kid_axis(body)
        if betas:
            is_child = betas == adult.num_betas + 1 and _knows_children(body)
            return (with_kid_axis(body) if is_child else adult), None
        if self.kind == "child" or (years is not None and years < ADULT_YEARS):
            return with_kid_axis(body), None
        if self.kind == "auto" and _knows_children(body):
            return adult, with_kid_axis(body)
        return adult, None

    def asked(self, cost: Float[Tensor, " B"], weight: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """How much less a child must cost than an adult, given the cost of the better fit and all keypoints' weight."""
        misfit = cost / weight.clamp_min(1e-6) / self.usual_misfit
        return self.adult_advantage + self.misfit_asks * (misfit - 1).clamp(0, self.most_misfit)

    def energy(self, energy: EnergyConfig, body: BodyModel) -> EnergyConfig:
        """The energy with a given age in it: a child's kid beta, or the mean betas of an old adult."""
        if self.years is None:
            return energy
        if not body.has_kid_axis:
            old = average_betas(body, self.years) if self.years >= ADULT_YEARS else np.zeros(0)
            return replace(energy, betas_mean=tuple(old.tolist())) if old.any() else energy
        known = USUAL_AGES if body.kid_ages is None else body.kid_ages
        kid = float(np.interp(self.years, *known))
        narrower = energy.child_betas_sigma * (1 - 0.6 * kid)  # in metres, small children differ less
        return replace(energy, kid_mean=kid, kid_sigma=self.years_sigma, child_betas_sigma=narrower)


def _knows_children(body: BodyModel) -> bool:
    return body.has_kid_axis or kid_template_of(body) is not None


def years_of(body: BodyModel, kid: float) -> float:
    """The age in years that goes with a kid beta."""
    years, places = USUAL_AGES if body.kid_ages is None else body.kid_ages
    return float(np.interp(-kid, -np.asarray(places), np.asarray(years)))  # falling in years


class OneKind(Protocol):
    """What is used of the fitters of adults and of children (`solver.Solver`)."""

    unknowns: Unknowns
    config: Any
    landmarks: LandmarkSets

    def problem(self, seen: Observations, model: LandmarkModel, *, collisions: bool = False) -> BodyProblem: ...

    def in_groups(self, work: Callable[[Tensor], Any], people: int) -> list[Any]: ...

    def free(self) -> Tensor: ...


@dataclass(frozen=True)
class Children:
    """Who of some people is a child."""

    rows: Int[Tensor, " C"]
    """Those who are."""
    solution: Solution
    """Their fits as children."""
    margin: Float[Tensor, " B"]
    """Of everybody: by how much the other kind costs more; NaN for adults whose proportions spoke so little for a child
    that it was not tried."""


class AsChildren:
    """People at their solutions as adults, in the problem of children: posed and linearised once, for whoever asks.

    Args:
        problem: of children.
        x: the solutions (`as_child`).
    """

    def __init__(self, problem: BodyProblem, x: Float[Tensor, "B D"]):
        self.problem = problem
        self.at = problem.at(x, torch.arange(len(x), device=x.device), derivatives=True)
        lin, shape = problem.linearized(self.at), problem.unknowns.layout["betas"]
        kid, adult, sigma = shape.stop - 1, slice(shape.start, shape.stop - 1), problem.energy.betas_sigma
        slope, diagonal = lin.diagonal_slope.clone(), lin.diagonal.clone()
        slope[:, kid] = diagonal[:, kid] = 0
        slope[:, adult], diagonal[:, adult] = 1 / sigma, x[:, adult] / sigma
        self.lin = replace(lin, diagonal=diagonal, diagonal_slope=slope)
        if problem.unknowns.age_curve is not None:
            rows = problem.rows[ShapeOfAge.name]
            self.lin.residuals[:, rows] = self.lin.jacobian[:, rows] = 0
        """With the priors of adults, and none on the kid axis."""

    def screened(self) -> Screened:
        """What a free kid axis would gain."""
        reprojection = next(term for term in self.problem.terms if isinstance(term, Reprojection))
        gain, kid = what_a_kid_axis_gains(self.problem, self._towards_average_children())
        return Screened(gain, kid, reprojection.point_weights(self.at.seen).sum(1))

    def _towards_average_children(self) -> Linearization:
        """With the kid beta leading along the average children: other betas are what a person differs from them by."""
        curve, columns = self.problem.unknowns.age_curve, self.problem.unknowns.layout["betas"]
        if curve is None:
            return self.lin
        jacobian, kid = self.lin.jacobian.clone(), columns.stop - 1
        jacobian[..., kid] += jacobian[..., columns.start : kid] @ curve.chord(_SCHOOL_CHILD)
        return replace(self.lin, jacobian=jacobian)


class Screened(NamedTuple):
    """How much each person's proportions speak for a child."""

    gain: Float[Tensor, " B"]
    """By how much a free kid axis lowers the cost, by the local model at the adult solution."""
    kid: Float[Tensor, " B"]
    """Where on it."""
    weight: Float[Tensor, " B"]
    """Of all keypoints together."""


def screen(
    adults: OneKind, children: OneKind, seen: Observations, model: LandmarkModel, solution: Solution
) -> Screened:
    """`AsChildren.screened` of people who were fitted as adults; the arguments are those of `find_children`."""

    def work(rows: Tensor) -> Screened:
        problem = children.problem(seen.select(rows), children.landmarks.model_of(model.names))
        return AsChildren(problem, as_child(solution.x[rows], adults, children)).screened()

    return Screened(*(torch.cat(some) for some in zip(*adults.in_groups(work, len(seen)), strict=True)))


def find_children(
    adults: OneKind,
    children: OneKind,
    seen: Observations,
    model: LandmarkModel,
    solution: Solution,
    screened: Screened | None = None,
) -> Children:
    """Fit as children those whose proportions speak for it, and decide.

    Args:
        adults, children: fitters of both bodies.
        seen, model, solution: the people, and their fits as adults.
        screened: what `screen` says of them, where that is known already.
    """
    config, there = adults.config.age, children.landmarks.model_of(model.names)
    whole = torch.arange(len(seen), device=seen.size_px.device)
    gain, kid, weight = screen(adults, children, seen, model, solution) if screened is None else screened
    least = config.screen + (config.asked(solution.cost - gain, weight) - config.adult_advantage) / 4
    tried = ((gain > least) & torch.isfinite(solution.cost)).nonzero()[:, 0]
    margin = torch.full_like(solution.cost, torch.nan)
    if not len(tried):
        return Children(tried, solution_of(solution, tried), margin)

    def solve(rows: Tensor) -> tuple[Solution, Tensor]:
        who = tried[rows]
        start = as_child(solution.x[who], adults, children)
        columns = children.unknowns.layout["betas"]
        start[:, columns] = 0
        start[:, columns.stop - 1] = place = kid[who].clamp(FIRST_KID, LAST_KID)
        if children.unknowns.age_curve is not None:
            start[:, columns.start : columns.stop - 1] = children.unknowns.age_curve.at(place)[0]
        start = children.config.shape.applied(start, children.unknowns)
        problem = children.problem(seen.select(who), there)
        start, _ = problem.placed(start)
        options = children.config.solver
        out = minimise(
            problem.evaluate, children.unknowns.retract, start, options, cost=problem.costs, free=children.free()
        )
        as_adults = adults.problem(seen.select(who), model).cost_of(BODY_NAMES, solution.x[who])
        return out, as_adults - problem.cost_of(BODY_NAMES, out.x)

    solved, by_body = zip(*children.in_groups(solve, len(tried)), strict=True)
    names = ("x", "cost", "status", "iterations")
    fits = Solution(*(torch.cat([getattr(one, name) for one in solved]) for name in names))
    better = torch.minimum(solution.cost[tried], fits.cost)
    less = solution.cost[tried] - fits.cost - config.asked(better, weight[tried])
    less = torch.minimum(less, torch.cat(by_body) - config.body_says)
    is_child = torch.isfinite(fits.cost) & (less > 0)
    margin[tried] = less.abs()
    chosen = is_child.nonzero()[:, 0]
    rows = whole[tried][chosen]
    return Children(rows, _out_of_themselves(children, seen.select(rows), there, solution_of(fits, chosen)), margin)


def _out_of_themselves(children: OneKind, seen: Observations, model: LandmarkModel, fits: Solution) -> Solution:
    """Those who are children once more with the term that keeps bodies out of themselves, as adults have it in their
    last stage; who would lose keypoints for it stays."""
    if not len(seen) or math.isinf(children.config.energy.collision_sigma_m):
        return fits

    def solve(rows: Tensor) -> tuple[Tensor, Tensor]:
        x, problem = fits.x[rows], children.problem(seen.select(rows), model, collisions=True)
        retract, options = children.unknowns.retract, children.config.solver
        out = minimise(problem.evaluate, retract, x, options, cost=problem.costs, free=children.free())
        kept = problem.given_up(out.x) <= problem.given_up(x) + GIVEN_UP
        kept &= torch.isfinite(out.cost)
        return torch.where(kept[:, None], out.x, x), torch.where(kept, out.cost, fits.cost[rows])

    x, cost = (torch.cat(some) for some in zip(*children.in_groups(solve, len(seen)), strict=True))
    return replace(fits, x=x, cost=cost)


def solution_of(solution: Solution, rows: Int[Tensor, " C"]) -> Solution:
    """Some people's."""
    return Solution(*(getattr(solution, name)[rows] for name in ("x", "cost", "status", "iterations")))


def as_child(x: Float[Tensor, "B D"], adults: OneKind, children: OneKind) -> Float[Tensor, "B E"]:
    """The same bodies among the unknowns with a kid axis, at 0."""
    end = adults.unknowns.layout["betas"].stop
    out = x.new_zeros(len(x), children.unknowns.layout.size)
    out[:, :end], out[:, end + 1 :] = x[:, :end], x[:, end:]
    return out


def what_a_kid_axis_gains(problem: BodyProblem, lin: Linearization) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """By how much the cost would fall if the kid axis were free at an adult's solution, and where on it.

    By the local model, without the children's priors: with Schur's complement h of all else and the slope g that it
    leaves, the step is -g / h and the gain g^2 / h. Zero where the step leads away from children.

    Args:
        problem: of children.
        lin: as `AsChildren` has it.
    """
    layout = problem.unknowns.layout
    kid = layout["betas"].stop - 1
    free = slice_or_index(~layout.mask("log_focal"), layout.size)
    model = quadratic(lin, free, 1.0)
    rest = torch.arange(model.hessian.shape[1], device=lin.residuals.device) != kid
    scale = model.hessian.diagonal(dim1=1, dim2=2).clamp_min(1e-12).rsqrt()
    # In double precision: size, distance and the kid axis are nearly one direction.
    hessian = (model.hessian * scale[:, :, None] * scale[:, None]).double()
    gradient = (model.gradient * scale).double()
    matrix = hessian[:, rest][:, :, rest]
    matrix.diagonal(dim1=1, dim2=2).add_(1e-7)
    factor, info = torch.linalg.cholesky_ex(matrix)
    across = hessian[:, kid][:, rest]
    solved = torch.cholesky_solve(torch.stack([gradient[:, rest], across], -1), factor)
    g = gradient[:, kid] - (across * solved[..., 0]).sum(1)
    h = (hessian[:, kid, kid] - (across * solved[..., 1]).sum(1)).clamp_min(1e-9)
    good = (info == 0) & torch.isfinite(g) & (g < 0)
    zero = torch.zeros_like(g)
    gain, place = torch.where(good, g * g / h, zero), torch.where(good, -g / h * scale[:, kid], zero)
    return gain.to(lin.residuals), place.to(lin.residuals)
