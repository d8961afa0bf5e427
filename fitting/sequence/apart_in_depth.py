"""People whom one camera saw, moved along their lines of sight until they do not pass through each other.

Who is larger is farther away, and the picture stays: that is what one camera knows least, and it is wrong for the whole
clip at once. Bodies that are deep in each other would else push each other to all sides.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.energy.shared_space import ROWS
from bodyfit.fitting.sequence.neighbours import Neighbour, overlaps
from bodyfit.fitting.sequence.standing import resized

_WITHIN_SIGMAS = 3.0
_STEP = 0.0025
_MOMENTS = 60
"""Moments that are looked at, at most."""


def size_factors(people: Sequence[Neighbour]) -> list[float]:
    """How much larger, and farther away, each would have to be; 1 for those who are in nobody.

    Args:
        people: of one shot.
    """
    logs = [0.0] * len(people)
    deep = {}
    for a, b in itertools.combinations(range(len(people)), 2):
        depth = people[a].depth_in(people[b])
        deep[a, b] = float(depth.max()) if len(depth) else 0.0
    for (a, b), depth in sorted(deep.items(), key=lambda pair: -pair[1]):
        variances = [people[n].size_sigma ** 2 for n in (a, b)]
        if depth <= 0 or not sum(variances):
            continue
        farther = _farther(people[a], people[b], (logs[a], logs[b]), sum(variances)) / sum(variances)
        logs[a], logs[b] = logs[a] - farther * variances[0], logs[b] + farther * variances[1]
    return [math.exp(log) for log in logs]


def _farther(one: Neighbour, other: Neighbour, logs: tuple[float, float], variance: float) -> float:
    """By how much, as a logarithm, the other should be farther away relative to the one than they are."""
    parts = [
        _thinned(person.spheres(rows), math.exp(log))
        for person, rows, log in zip((one, other), one.shared_with(other), logs, strict=True)
    ]
    reach = _WITHIN_SIGMAS * variance**0.5
    tries = torch.arange(-reach, reach + _STEP / 2, _STEP)
    tries = tries - tries[tries.abs().argmin()]  # where they are is one of them
    sigma, times = type(one.solver.energy).collision_sigma_m, one.solver.config.shape_per_moment
    costs = []
    for log in tries.tolist():
        depth = overlaps(*_scaled(parts[0], -log / 2), *_scaled(parts[1], log / 2)).clamp_min(0)
        deepest = depth.flatten(1).topk(min(ROWS, depth[0].numel()), dim=1).values / sigma
        # Overlaps of neighbouring moments are alike, as all that clips say of the shape.
        costs.append(times * float(deepest.square().sum()) + log**2 / variance)
    return float(tries[costs.index(min(costs))])


def _thinned(
    spheres: tuple[Float[Tensor, "T S 3"], Float[Tensor, "T S"]], factor: float
) -> tuple[Float[Tensor, "W S 3"], Float[Tensor, "W S"]]:
    centres, radii = spheres
    rows = torch.linspace(0, len(radii) - 1, min(len(radii), _MOMENTS), device=radii.device).round().long()
    return centres[rows] * factor, radii[rows] * factor


def _scaled(
    spheres: tuple[Float[Tensor, "T S 3"], Float[Tensor, "T S"]], log: float
) -> tuple[Float[Tensor, "T S 3"], Float[Tensor, "T S"]]:
    return spheres[0] * math.exp(log), spheres[1] * math.exp(log)


def of_size(one: Neighbour, factor: float) -> Float[Tensor, "T D"]:
    """The unknowns of a person who is larger by a factor, and farther away."""
    if factor == 1:
        return one.x
    return resized(one.solver.fitter.unknowns, one.solver.model, one.x, factor)
