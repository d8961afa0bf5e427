"""Levenberg-Marquardt for one person over time: the steps come from an `ArrowSystem`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.energy.levenberg_marquardt import CONVERGED, FAILED, MAX_ITERATIONS, SolverOptions
from bodyfit.fitting.sequence.arrow_system import ArrowSystem
from bodyfit.fitting.sequence.problem import GroupProblem


@dataclass(frozen=True)
class GroupSolution:
    """Where the solver ended."""

    x: Float[Tensor, "T D"]
    cost: float
    status: int
    """CONVERGED, MAX_ITERATIONS or FAILED, as single fits have them."""
    iterations: int


def minimise_group(problem: GroupProblem, x: Float[Tensor, "T D"], options: SolverOptions) -> GroupSolution:
    """Lower the cost from x. Stopping and damping are those of `levenberg_marquardt.minimise`."""
    system: ArrowSystem | None = problem.evaluate(x, options.curvature_floor)
    cost, damping, quiet = float(system.cost), options.damping, 0
    if not cost < torch.inf:
        return GroupSolution(x, cost, FAILED, 0)
    for iteration in range(options.max_iterations):
        if system is None:
            system = problem.evaluate(x, options.curvature_floor)
        own, shared, promised, good = system.step(system.cost.new_full((1,), damping), problem.map)
        accepted, whole, gain = False, False, max(float(promised), 0.0)
        for share in (1.0, options.shortened) if bool(good) else ():
            trial = problem.retract(x, (share * own[0]).to(x), (share * shared[0]).to(x))
            there = float(problem.cost(trial))
            if there < cost:
                accepted, whole, gain, x = True, share == 1.0, cost - there, trial
                break
        little = options.tolerance * cost
        still = bool(good) and gain < little
        sure = still and float(promised) < little and damping <= options.damping
        quiet = quiet + 1 + sure if still else 0
        trusted = gain > options.trusted_share * float(promised)
        if accepted:
            cost, system = there, None
            damping *= options.damping_down if whole and trusted else 1.0
        else:
            damping *= options.damping_up
        damping = max(damping, options.damping_min)
        if quiet >= 2 or damping > options.damping_max or cost == 0:
            return GroupSolution(x, cost, CONVERGED, iteration + 1)
    return GroupSolution(x, cost, MAX_ITERATIONS, options.max_iterations)
