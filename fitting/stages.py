"""From rough starts to the minimum: one problem, solved under ever sharper versions of its energy.

Two things make the cost hard to follow from afar: the robust loss, which gives up on limbs that start far off, and the
kinks of the prior's decoder, which is linear in pieces. Each stage narrows the one and sharpens the other, and only a
person's best start goes on to the last ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.fitting.levenberg_marquardt import Solution, SolverOptions, minimise
from bodyfit.fitting.observations import Observations
from bodyfit.fitting.problem import BodyProblem, EnergyConfig
from bodyfit.fitting.unknowns import Chart

MakeProblem = Callable[[Observations, EnergyConfig], BodyProblem]

OTHER_FACING = 0.35  # rad: two solutions farther apart than one of these are two readings of a photo
OTHER_LATENT = 2.0


@dataclass(frozen=True)
class StageConfig:
    """The stages before the last, which runs under the energy itself with the solver's own options."""

    wide_iterations: int = 6
    """Steps of every start under a wide robust scale, so that far-off hands and feet still pull."""
    wide_robust_sigmas: float = 30.0
    """That scale."""
    wide_softness: float = 0.2
    """Rounding of the decoder's kinks there."""
    soft_iterations: int = 8
    """Steps of every start under the energy's own scale with a rounded decoder; then the best start is chosen."""
    soft_softness: float = 0.05
    """Rounding there."""
    sharp_iterations: int = 8
    """Steps of the best start with a less rounded decoder."""
    sharp_softness: float = 0.02
    """Rounding there."""
    tolerance: float = 1e-2
    """When a stage before the last is done, as in the solver's options."""


def solve_in_stages(
    make_problem: MakeProblem,
    seen: Observations,
    starts: Float[Tensor, "B F D"],
    energy: EnergyConfig,
    chart: Chart,
    *,
    free: Bool[Tensor, " D"],
    stages: StageConfig | None = None,
    options: SolverOptions | None = None,
) -> tuple[Solution, Float[Tensor, " B"]]:
    """Fit people, each from several starts.

    Returns:
        the best solution of each person, with the iterations of all its starts and stages, and the cost of the best
        start that leads to another reading of the photo, as compared with the winner's where the choice was made,
        times the winner's final cost (NaN where all starts came to the same).
    """
    stages, options = stages or StageConfig(), options or SolverOptions()
    people, tries, size = starts.shape
    several = seen.repeat(tries)

    def stage(x: Tensor, who: Observations, limit: int, **changes) -> Solution:
        problem = make_problem(who, replace(energy, **changes))
        early = replace(options, max_iterations=limit, tolerance=max(stages.tolerance, options.tolerance))
        return minimise(problem.evaluate, chart.retract, x, early, cost=problem.costs, free=free)

    wide = max(stages.wide_robust_sigmas, energy.robust_sigmas)
    first = stage(
        starts.flatten(0, 1), several, stages.wide_iterations, robust_sigmas=wide, softness=stages.wide_softness
    )
    second = stage(first.x, several, stages.soft_iterations, softness=stages.soft_softness)
    cost = second.cost.view(people, tries)
    best = cost.argmin(dim=1)
    rows = torch.arange(people, device=starts.device)
    x = second.x.view(people, tries, size)[rows, best]
    third = stage(x, seen, stages.sharp_iterations, softness=stages.sharp_softness)
    problem = make_problem(seen, energy)
    last = minimise(problem.evaluate, chart.retract, third.x, options, cost=problem.costs, free=free)
    early = (first.iterations + second.iterations).view(people, tries).sum(1)
    margin = _second_reading(second.x.view(people, tries, size), cost, best, chart)
    iterations = early + third.iterations + last.iterations
    return Solution(last.x, last.cost, last.status, iterations), margin * last.cost


def _second_reading(
    x: Float[Tensor, "B F D"], cost: Float[Tensor, "B F"], best: Int[Tensor, " B"], chart: Chart
) -> Float[Tensor, " B"]:
    """Cost of the cheapest start that is posed or turned otherwise than the winner, as a multiple of the winner's."""
    rows = torch.arange(len(x), device=x.device)
    latent, facing = x[..., chart.layout["latent"]], roma.rotvec_to_rotmat(x[..., chart.layout["global_orient"]])
    turned = roma.rotmat_geodesic_distance(facing[rows, best][:, None].expand_as(facing), facing)
    apart = (latent - latent[rows, best][:, None]).norm(dim=-1)
    other = (turned > OTHER_FACING) | (apart > OTHER_LATENT)
    second = torch.where(other, cost, torch.full_like(cost, torch.nan)).nan_to_num(torch.inf).amin(dim=1)
    ratio = second / cost[rows, best].clamp_min(torch.finfo(cost.dtype).tiny)
    return torch.where(torch.isfinite(ratio), ratio, torch.full_like(ratio, torch.nan))
