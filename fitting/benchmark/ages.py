"""Adults and children told apart: synthetic people of all ages, who is called what, and their errors."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel, with_kid_axis
from bodyfit.fitting.benchmark.measure import Bench
from bodyfit.fitting.solve.ages import find_children
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions

AGES: dict[str, tuple[float, float] | None] = {
    "adult": None,
    "0 to 3": (0.0, 3.0),
    "3 to 6": (3.0, 6.0),
    "6 to 10": (6.0, 10.0),
    "10 to 14": (10.0, 14.0),
}
"""Groups, in years."""


@torch.no_grad()
def ages_told_apart(fitter: Fitter, poses: Tensor, seed: int) -> dict[str, dict[str, float]]:
    """For each group of ages: the share called children, errors as everybody's better kind and as adults, seconds.

    Args:
        fitter: with children to try (`AgeConfig.kind` "auto").
        poses: of the people of each group; all of them are seen whole.
        seed: draws them.
    """
    children = fitter.children
    if children is None:
        raise ValueError("the body knows no children")
    found = {}
    for name, ages in AGES.items():
        body: BodyModel = fitter.body if ages is None else with_kid_axis(fitter.body)
        people = PeopleMaker(body, SyntheticOptions(ages=ages, cropped=0.0), device=fitter.device).make(
            poses, seed=seed
        )
        if ages is None:  # errors of all are of the body with the kid axis
            people = PeopleMaker.with_kid_beta(people)
        bench = Bench(fitter, people)
        seen = bench.observations(people)
        began = time.perf_counter()
        solution, _ = fitter.solve(seen, bench.model)
        told = time.perf_counter()
        kids = find_children(fitter, children, seen, bench.model, solution)
        done = time.perf_counter()
        end = fitter.unknowns.layout["betas"].stop
        x = torch.cat([solution.x[:, :end], torch.zeros_like(solution.x[:, :1]), solution.x[:, end:]], 1)
        errors = Bench(children, people)
        as_adults = errors.errors(people, x)
        better = errors.errors(people, x.index_copy(0, kids.rows, kids.solution.x))
        found[name] = {
            "people": float(len(people)),
            "called_children": len(kids.rows) / len(people),
            "pa_vertex_mm": float(better["pa_vertex_mm"].mean()),
            "pa_vertex_mm_as_adults": float(as_adults["pa_vertex_mm"].mean()),
            "mpjpe_mm": float(better["mpjpe_mm"].mean()),
            "mpjpe_mm_as_adults": float(as_adults["mpjpe_mm"].mean()),
            "seconds": told - began,
            "seconds_for_ages": done - told,
        }
    return found
