"""From rough starts to the minimum: annealing, one problem solved under ever sharper versions of its energy.

Two things make the cost hard to minimise from far away: the robust loss, which has no gradient for limbs that start
far off, and the kinks of the prior's decoder, which is piecewise linear. Each stage narrows the one and sharpens the
other, and only a person's best start goes on to the last ones. Far from the minimum fingers and faces do not matter, so
the first stage uses the body's landmarks alone, where a step costs half. Collisions count in the last stage only:
before, limbs may have to pass through each other, and starts are chosen by what was seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.levenberg_marquardt import Solution, SolverOptions, minimise
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.unknowns import Unknowns

MakeProblem = Callable[[Observations, EnergyConfig], BodyProblem]

ALTERNATIVE_FACING = 0.35  # rad: two solutions farther apart than one of these are two hypotheses about a photo
ALTERNATIVE_LATENT = 2.0
GIVEN_UP = 0.1
"""Share of a person's keypoints that may be given up to get the body out of itself."""


@dataclass(frozen=True)
class StageConfig:
    """The stages before the last, which runs under the energy itself with the solver's own options."""

    wide_iterations: int = 3
    """Steps of every start under a wide robust scale, so that far-off hands and feet still have a gradient."""
    wide_robust_sigmas: float = 30.0
    """That scale."""
    wide_softness: float = 0.2
    """Rounding of the decoder's kinks there."""
    keep_within: float = 1.25
    """Starts whose cost after that is more than so many times the best one's are dropped."""
    soft_iterations: int = 3
    """Steps of the starts left under the energy's own scale with a rounded decoder; then the best one is chosen."""
    soft_softness: float = 0.05
    """Rounding there."""
    sharp_iterations: int = 8
    """Steps of the best start with a less rounded decoder; only for decoders with kinks."""
    sharp_softness: float = 0.02
    """Rounding there."""
    tolerance: float = 1e-2
    """When a stage before the last is done, as in the solver's options."""


@dataclass(frozen=True)
class Alternative:
    """The alternative hypothesis of each person."""

    x: Float[Tensor, "B D"]
    """Unknowns where the choice between starts was made: nearly solved."""
    cost: Float[Tensor, " B"]
    """Its cost there relative to the best start's, times the final cost; NaN where all starts led to one solution."""


def coarse_unknowns(unknowns: Unknowns) -> Bool[Tensor, " D"]:
    """The unknowns that the body's landmarks depend on."""
    return unknowns.layout.mask("global_orient", "transl", "latent", "betas", "log_focal")


def _stage(
    problem: BodyProblem,
    unknowns: Unknowns,
    x: Float[Tensor, "B D"],
    limit: int,
    movable: Bool[Tensor, " D"],
    stages: StageConfig,
    options: SolverOptions,
) -> Solution:
    """A few steps of a stage before the last."""
    early = replace(options, max_iterations=limit, tolerance=max(stages.tolerance, options.tolerance))
    return minimise(problem.evaluate, unknowns.retract, x, early, cost=problem.costs, free=movable)


def follow(
    make_coarse: MakeProblem,
    seen: Observations,
    starts: Float[Tensor, "B F D"],
    energy: EnergyConfig,
    unknowns: Unknowns,
    *,
    free: Bool[Tensor, " D"],
    stages: StageConfig,
    options: SolverOptions,
) -> tuple[Int[Tensor, " n"], Solution]:
    """The first stage: some steps of every start on the body's landmarks, under a wide robust scale.

    Returns:
        which of the B x F starts there are, and their solutions.
    """
    x, body = starts.flatten(0, 1), free & coarse_unknowns(unknowns).to(free.device)
    given = (~x[:, 0].isnan()).nonzero()[:, 0]
    wide = {"robust_sigmas": max(stages.wide_robust_sigmas, energy.robust_sigmas), "softness": stages.wide_softness}
    problem = make_coarse(seen.repeat(starts.shape[1]).select(given), replace(energy, **wide))
    return given, _stage(problem, unknowns, x[given], stages.wide_iterations, body, stages, options)


def solve_in_stages(
    make_problem: MakeProblem,
    make_coarse: MakeProblem,
    seen: Observations,
    starts: Float[Tensor, "B F D"],
    energy: EnergyConfig,
    unknowns: Unknowns,
    *,
    free: Bool[Tensor, " D"],
    stages: StageConfig | None = None,
    options: SolverOptions | None = None,
) -> tuple[Solution, Alternative]:
    """Fit people, each from several starts.

    Args:
        make_problem, make_coarse: the problem of some people under an energy, and the same on the body's landmarks.
        seen: the people.
        starts: F of each; NaN where a person has fewer, but the first is there.
        energy: what is to be lowered.
        unknowns: the unknowns.
        free: those that may move.

    Returns:
        the best solution of each person, with the iterations of all its starts and stages, and the best start that
        leads to an alternative hypothesis.
    """
    stages, options = stages or StageConfig(), options or SolverOptions()
    people, tries, size = starts.shape

    def stage(make: MakeProblem, x: Tensor, who: Observations, limit: int, movable: Tensor, **changes) -> Solution:
        return _stage(
            make(who, replace(energy, collision_sigma_m=math.inf, **changes)),
            unknowns,
            x,
            limit,
            movable,
            stages,
            options,
        )

    several = seen.repeat(tries)
    given, first = follow(make_coarse, seen, starts, energy, unknowns, free=free, stages=stages, options=options)
    x = starts.flatten(0, 1)
    owner = given // tries
    least = torch.full_like(x[:people, 0], torch.inf).scatter_reduce(0, owner, first.cost, "amin")
    rows = (first.cost <= stages.keep_within * least[owner]).nonzero()[:, 0]
    kept = given[rows]
    soft = {"softness": stages.soft_softness}
    second = stage(make_problem, first.x[rows], several.select(kept), stages.soft_iterations, free, **soft)
    x = x.index_copy(0, given, first.x).index_copy(0, kept, second.x)
    iterations = torch.zeros_like(several.size_px, dtype=torch.long).index_copy(0, given, first.iterations)
    iterations = iterations.index_add(0, kept, second.iterations)
    cost = torch.full_like(x[:, 0], torch.inf).index_copy(0, kept, second.cost).view(people, tries)
    best = cost.argmin(dim=1)
    x = x.view(people, tries, size)
    chosen, iterations = x[torch.arange(people, device=x.device), best], iterations.view(people, tries).sum(1)
    if unknowns.softness < stages.sharp_softness:  # a decoder with kinks
        third = stage(make_problem, chosen, seen, stages.sharp_iterations, free, softness=stages.sharp_softness)
        chosen, iterations = third.x, iterations + third.iterations
    last = _last_stage(make_problem, seen, chosen, energy, unknowns, free, options)
    other, ratio = _alternative(x, cost, best, unknowns)
    solution = Solution(last.x, last.cost, last.status, iterations + last.iterations)
    return solution, Alternative(other, ratio * last.cost)


def _last_stage(
    make_problem: MakeProblem,
    seen: Observations,
    x: Float[Tensor, "B D"],
    energy: EnergyConfig,
    unknowns: Unknowns,
    free: Bool[Tensor, " D"],
    options: SolverOptions,
) -> Solution:
    """To the minimum of the energy itself. Where several limbs would have to be in one place, the cheapest way out of
    the body can be to give keypoints up. People who keep theirs only without collisions are solved without them."""

    def solved(problem: BodyProblem, start: Tensor) -> Solution:
        return minimise(problem.evaluate, unknowns.retract, start, options, cost=problem.costs, free=free)

    problem = make_problem(seen, energy)
    last = solved(problem, x)
    if math.isinf(energy.collision_sigma_m):
        return last
    lost = problem.given_up(last.x)
    rows = (lost > GIVEN_UP).nonzero()[:, 0]
    if not len(rows):
        return last
    free_of_it = make_problem(seen.select(rows), replace(energy, collision_sigma_m=math.inf))
    again = solved(free_of_it, x[rows])
    kept = free_of_it.given_up(again.x) < lost[rows] - GIVEN_UP
    rows = rows[kept]
    x, cost, status, more = (values[kept] for values in (again.x, again.cost, again.status, again.iterations))
    return Solution(
        last.x.index_copy(0, rows, x),
        last.cost.index_copy(0, rows, cost),
        last.status.index_copy(0, rows, status),
        last.iterations.index_add(0, rows, more),
    )


def _alternative(
    x: Float[Tensor, "B F D"], cost: Float[Tensor, "B F"], best: Int[Tensor, " B"], unknowns: Unknowns
) -> tuple[Float[Tensor, "B D"], Float[Tensor, " B"]]:
    """The cheapest start with another pose or orientation than the best one, and its cost relative to that one's."""
    rows = torch.arange(len(x), device=x.device)
    latent, facing = x[..., unknowns.layout["latent"]], roma.rotvec_to_rotmat(x[..., unknowns.layout["global_orient"]])
    turned = roma.rotmat_geodesic_distance(facing[rows, best][:, None].expand_as(facing), facing)
    apart = (latent - latent[rows, best][:, None]).norm(dim=-1)
    other = (turned > ALTERNATIVE_FACING) | (apart > ALTERNATIVE_LATENT)
    second, which = torch.where(other, cost.nan_to_num(torch.inf, posinf=torch.inf), torch.inf).min(dim=1)
    ratio = second / cost[rows, best].clamp_min(torch.finfo(cost.dtype).tiny)
    return x[rows, which], torch.where(torch.isfinite(ratio), ratio, torch.full_like(ratio, torch.nan))
