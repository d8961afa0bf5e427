"""Adult or child over time: one decision for each person, taken over all moments, by the costs of both joint fits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.results.track import Track
from bodyfit.fitting.energy.levenberg_marquardt import CONVERGED, Solution
from bodyfit.fitting.sequence.places import in_cameras, pelvis_at_rest
from bodyfit.fitting.sequence.windows import GroupSolver
from bodyfit.fitting.solve.ages import FIRST_KID, LAST_KID, Screened, as_child, screen
from bodyfit.fitting.solve.fitter import Fitter

_SCREENED = 48
"""Views, spread over the clip, of which it is asked what a kid axis would gain."""
_LEAST_GAIN = 0.5
"""Mean gain of a view from which on a person is fitted as a child, too; less than in single photos, since errors that
differ from view to view average out."""
_SHORT_M = 1.5
"""Where cameras are calibrated, size is seen: people shorter than this are fitted as children in any case."""


@dataclass(frozen=True)
class Age:
    """What kind of body a person has."""

    said: str = ""
    """As in a FitResult."""
    margin: float = float("nan")
    """By how much the other kind costs more; NaN: it was not tried."""


def of_right_age(solver: GroupSolver, x: Float[Tensor, "T D"]) -> tuple[GroupSolver, Float[Tensor, "T D"], Age]:
    """Fit a person as a child as well, where children are tried and the proportions speak for one, and decide.

    Args:
        solver: of the person.
        x: the solution, as an adult where both kinds are tried.

    Returns:
        solver and solution of the better kind.
    """
    fitter = solver.fitter
    if fitter.children is None:
        given, kind = fitter.make.given_age, "child" if fitter.body.has_kid_axis else "adult"
        return solver, x, Age(f"{kind}, given" if given else f"{kind}: the body knows no children")
    screened = _screened(solver, x)
    placed = bool((solver.views.translation != 0).any())
    short = placed and _stature(fitter, x) < _SHORT_M
    if float(screened.gain.mean()) < _LEAST_GAIN and not short:
        return solver, x, Age("adult, by proportions")
    kid = float(screened.kid.mean().clamp(FIRST_KID, LAST_KID))
    kids = _for_children(solver)
    as_kid = kids.solve(_start(fitter, x, kid, placed))
    evidence = _evidence(solver, (solver.cost(x), kids.cost(as_kid)), float(screened.weight.mean()))
    if evidence > 0 and float(as_kid[0, kids.shape.stop - 1]) > LAST_KID:
        # Whom only a body at the end of the axis, or beyond it, explains is not told apart by age.
        return solver, x, Age("adult: as a child, smaller than a newborn")
    if evidence > 0:
        return kids, as_kid, Age("child, by proportions", evidence)
    return solver, x, Age("adult, by proportions", -evidence)


def fitter_of(fitter: Fitter, track: Track) -> Fitter:
    """The fitter whose body a track has: that of children for those who were found to be some."""
    if track.kid_axis and not fitter.body.has_kid_axis and fitter.children is not None:
        return fitter.children
    return fitter


def _screened(solver: GroupSolver, x: Float[Tensor, "T D"]) -> Screened:
    """What a kid axis would gain in some views."""
    rows, fitter, views = _spread(len(solver.views.moment), x), solver.fitter, solver.views
    there = in_cameras(fitter, x[views.moment[rows]], views.rotation[rows], views.translation[rows])
    zero = torch.zeros_like(there[:, 0])
    done = torch.full_like(rows, CONVERGED)
    seen = views.seen.select(rows)
    return screen(fitter, fitter.children, seen, solver.model, Solution(there, zero, done, done))


def _spread(count: int, like: Tensor) -> Int[Tensor, " n"]:
    return torch.linspace(0, count - 1, min(count, _SCREENED), device=like.device).round().long()


def _for_children(solver: GroupSolver) -> GroupSolver:
    """The same person, to be fitted as a child; `views` have their predicted poses already."""
    kids = solver.fitter.children
    model = kids.landmarks.model_of(solver.model.names)
    _ = kids.afterwards  # made here, before threads need it
    return GroupSolver(kids, model, solver.views, solver.fps, solver.given, solver.map)


def _start(fitter: Fitter, x: Float[Tensor, "T D"], kid: float, placed: bool) -> Float[Tensor, "T E"]:
    """The poses of the adult for an average child, where the child has the same size in the picture; where cameras are
    calibrated, at the same place."""
    kids = fitter.children
    out, columns = as_child(x, fitter, kids), kids.unknowns.layout["betas"]
    out[:, columns] = 0
    out[:, columns.stop - 1] = kid
    if kids.unknowns.age_curve is not None:
        out[:, columns.start : columns.stop - 1] = kids.unknowns.age_curve.at(out.new_tensor([kid]))[0]
    out = kids.config.shape.applied(out, kids.unknowns)
    transl, ratio = fitter.unknowns.layout["transl"], 1.0
    if not placed:
        ratio = _stature(kids, out) / _stature(fitter, x)
    place = ratio * (pelvis_at_rest(fitter, x) + x[:, transl])
    out[:, kids.unknowns.layout["transl"]] = place - pelvis_at_rest(kids, out)
    return out


def _stature(fitter: Fitter, x: Float[Tensor, "T D"]) -> float:
    return float(fitter.unknowns.stature(x[:1, fitter.unknowns.layout["betas"]])[0][0])


def _evidence(solver: GroupSolver, costs: tuple[float, float], weight: float) -> float:
    """By how much the fit as a child is better than it has to be, in the cost of one photo; negative: an adult.

    Errors of keypoints and poses are alike in neighbouring moments, so that n views count as little as they do for the
    shape (`SequenceConfig.shape_per_moment`).
    """
    count, age = len(solver.views.moment), solver.fitter.config.age
    times = 1 + solver.config.shape_per_moment * (count - 1)
    adult, child = (cost / count for cost in costs)
    asked = age.asked(torch.tensor([min(adult, child)]), torch.tensor([weight]))[0]
    return times * (adult - child) - float(asked)
