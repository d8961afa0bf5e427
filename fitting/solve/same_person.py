"""One shape for several photos of one person: all photos are solved together, each with its own pose and place.

The shape numbers s are shared, everything else belongs to a photo, so the normal equations are an arrow,

    [ A_1           E_1 ] [ x_1 ]   [ a_1 ]
    [      ...      ... ] [ ... ] = [ ... ]
    [           A_n E_n ] [ x_n ]   [ a_n ]
    [ E_1^T ... E_n^T C ] [  s  ]   [  b  ]

and the Schur complement C - sum E^T A^-1 E gives s exactly, at the cost of the single fits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.data.words import counted
from bodyfit.fitting.energy.age_prior import ShapeOfAge
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions, quadratic, total_cost
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.terms import Gaussian
from bodyfit.fitting.solve.ages import find_children
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.known_shape import KnownShape

log = logging.getLogger(__name__)

_WELL_FITTED = ("converged", "max_iterations")


def main_people(frames: Sequence[Frame]) -> list[Frame]:
    """Each photo with its largest person alone; says how many others are left out."""
    chosen = [frame.chosen("main") for frame in frames]
    others = sum(len(frame.detections) - len(one.detections) for frame, one in zip(frames, chosen, strict=True))
    if others:
        log.warning("photos of one person: %d smaller people in them are left out", others)
    return chosen


@torch.no_grad()
def shape_of_one_person(fitter: Fitter, frames: Sequence[Frame]) -> KnownShape:
    """The shape of the person whom all frames show, from a joint fit of all of them.

    Args:
        fitter: body, prior and weights; a height that it knows is reached.
        frames: of one person each; those whose own fit fails or is implausible do not count.

    Raises:
        BodyfitError: where not one photo can be fitted.
    """
    if fitter.config.shape.betas:
        raise BodyfitError("one shape for all photos was asked for, but shape numbers were given. Give one of them.")
    reasons = [problem for frame in frames for problem in frame.detections.problems if problem is not None]
    people = [(f, i) for f in frames for i, problem in enumerate(f.detections.problems) if problem is None]
    good: list[int] = []
    if people:
        seen, model = fitter.observations(people)
        solution, other = fitter.solve(seen, model)
        if fitter.children is not None:
            children = find_children(fitter, fitter.children, seen, model, solution)
            if 2 * len(children.rows) > len(people):
                fitter, model = fitter.children, fitter.children.landmarks.model_of(model.names)
                solution, other = fitter.solve(seen, model)
        results = fitter.make.results(people, seen, solution, other, 0.0)
        good = [n for n, result in enumerate(results) if result.status in _WELL_FITTED]
        reasons += [result.reason for result in results if result.status not in _WELL_FITTED]
    if not good:
        raise BodyfitError(
            f"none of {counted(len(frames), 'photo', 'photos')} of one person can be fitted; the first: "
            f"{(reasons or ['nobody in it'])[0]}"
        )
    rows = torch.tensor(good, device=seen.size_px.device)
    problem = fitter.problem(seen.select(rows), model)
    x = minimise_with_shared_shape(problem, solution.x[rows], fitter.config.solver)
    columns = fitter.unknowns.layout["betas"]
    source = f"one shape for {counted(len(good), 'photo', 'photos')}"
    height = f", {fitter.config.shape.said}" if fitter.config.shape.said else ""
    betas = tuple(float(f"{b:.5f}") for b in x[0, columns])
    return KnownShape(betas=betas, source=source + height, body=fitter.body.name)


def minimise_with_shared_shape(
    problem: BodyProblem, x: Float[Tensor, "N D"], options: SolverOptions
) -> Float[Tensor, "N D"]:
    """Lower the sum of all photos' costs, with the prior on the shape counted once, from x and its median shape."""
    shared = problem.unknowns.layout["betas"]
    x = x.clone()
    x[:, shared] = x[:, shared].median(0).values
    cost, damping, quiet = _cost(problem, x), options.damping, 0
    for _ in range(options.max_iterations):
        step, promised = _step(problem, x, damping, options.curvature_floor)
        accepted = False
        for share in (1.0, options.shortened) if step is not None else ():
            trial = problem.unknowns.retract(x, share * step)
            there = _cost(problem, trial)
            if there < cost:
                quiet = quiet + 1 if cost - there < options.tolerance * cost else 0
                accepted, x, cost = True, trial, there
                break
        damping = max(damping * (options.damping_down if accepted else options.damping_up), options.damping_min)
        if not accepted:
            quiet += step is None or promised < options.tolerance * cost
        if quiet >= 2 or damping > options.damping_max:
            break
    return x


def _cost(problem: BodyProblem, x: Float[Tensor, "N D"]) -> float:
    counted = (len(x) - 1) * _shape_priors(problem, x[0, problem.unknowns.layout["betas"]])[0].square().sum()
    return float(problem.costs(x).double().sum() - counted)


def _shape_priors(problem: BodyProblem, shape: Float[Tensor, " n"]) -> tuple[Float[Tensor, " M"], Float[Tensor, "M n"]]:
    """Residuals of all priors on the shape alone, and their Jacobian in it."""
    residuals, slopes = [], []
    for term in problem.terms:
        if isinstance(term, Gaussian) and term.name == "betas":
            residuals.append((shape - term.mean) / term.sigma)
            slopes.append(torch.diag(1 / term.sigma))
        elif isinstance(term, ShapeOfAge):
            away, slope = term.away(shape[None])
            residuals.append(away[0])
            slopes.append(slope[0])
    return torch.cat(residuals).double(), torch.cat(slopes).double()


def _moving(problem: BodyProblem) -> tuple[Bool[Tensor, " D"], Bool[Tensor, " D"]]:
    layout = problem.unknowns.layout
    own = ~layout.mask("betas", "log_focal")
    return own, layout.mask("betas")


def _step(
    problem: BodyProblem, x: Float[Tensor, "N D"], damping: float, floor: float
) -> tuple[Float[Tensor, "N D"] | None, float]:
    """The damped step of all photos and the shape, and what it promises; None where there is no such step."""
    lin = problem.evaluate(x, torch.arange(len(x), device=x.device))
    if not torch.isfinite(total_cost(lin)).all():
        return None, 0.0
    model = quadratic(lin, slice(0, x.shape[1]), floor)
    hessian, gradient = model.hessian.double(), model.gradient.double()
    own, shared = (mask.nonzero()[:, 0].to(x.device) for mask in _moving(problem))
    a, e = hessian[:, own][:, :, own], hessian[:, own][:, :, shared]
    c, b = hessian[:, shared][:, :, shared].sum(0), gradient[:, shared].sum(0)
    away, slopes = _shape_priors(problem, x[0, shared])
    once, pull = (len(x) - 1) * slopes.mT @ slopes, (len(x) - 1) * slopes.mT @ away
    c = c - once
    b = b - pull
    a.diagonal(dim1=1, dim2=2).mul_(1 + damping)
    c_damped = c.clone()
    c_damped.diagonal().mul_(1 + damping)
    factor, info = torch.linalg.cholesky_ex(a)
    if bool(info.any()):
        return None, 0.0
    solved = torch.cholesky_solve(torch.cat([-gradient[:, own, None], e], 2), factor)
    by_shape = solved[..., 1:]
    schur = c_damped - (e.mT @ by_shape).sum(0)
    right = -b - (e.mT @ solved[..., :1]).sum(0)[:, 0]
    s, info = torch.linalg.solve_ex(schur, right)
    if bool(info) or not torch.isfinite(s).all():
        return None, 0.0
    step = torch.zeros_like(x)
    step[:, own] = (solved[..., 0] - by_shape @ s).to(x)
    step[:, shared] = s.to(x)
    moved = step.double()
    linear = (gradient * moved).sum() - (pull * s).sum()
    curved = (moved[:, None] @ hessian @ moved[..., None]).sum() - (once @ s) @ s
    return step, float(-(2 * linear + curved))


def with_shape(fitter: Fitter, shape: KnownShape) -> Fitter:
    """The same fitter with a known shape."""
    energy = replace(fitter.config.energy, height_m=None)
    config = replace(fitter.config, shape=shape, energy=energy)
    return Fitter(fitter.body, config=config, like=fitter)
