"""The floor of one photo: the plane that the lowest feet of those who stand lie in.

A single camera does not know how large people are, so each of them may stand a few percent too near or too far, and
their feet too high or too low by as many percent of the camera's height above them. The plane is the one that needs the
least of that, near what is known of up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.fitting.energy.floor import Floor

UPRIGHT = 0.5
"""Angle between legs and trunk, rad, up to which somebody stands."""
LEAN_SIGMA = 0.07
"""How well the body of one person who stands says where up is, rad."""
GRAVITY_SIGMA = 0.02
"""How well a given gravity is known, rad."""
SIZE_SIGMA = 0.05
"""How well the size of a person is known beforehand, as a share."""
SPREAD_M = 0.02
"""How well feet are known, m."""
FAR_SIGMAS = 2.0
"""Feet that are so many standard deviations off the plane do not stand on it: a jump, a step."""
LEVEL_M = 0.04
"""Points of the feet that are so little higher than the person's lowest one stand with it."""
_ROUNDS = 15


@dataclass(frozen=True)
class PhotoFloor:
    """What is known of the floor of a photo with P people."""

    floor: Floor | None
    touches: Bool[Tensor, "P F"]
    """Which points of the feet stand on it."""
    reason: str = ""
    """Why there is no floor."""


def photo_floor(
    feet: Float[Tensor, "P F 3"],
    pelvis: Float[Tensor, "P 3"],
    neck: Float[Tensor, "P 3"],
    clearance_m: Float[Tensor, " F"],
    seen: Bool[Tensor, "P F"],
    up: tuple[float, float, float] | None,
) -> PhotoFloor:
    """Find the floor that people of one photo stand on.

    Args:
        feet: their points of the feet, camera frame, m.
        pelvis, neck: the joints.
        clearance_m: height of each point of the feet above the sole.
        seen: whether anything was seen of the foot that each point belongs to.
        up: against gravity, where that is known.
    """
    nothing = torch.zeros(feet.shape[:2], dtype=torch.bool, device=feet.device)
    legs, trunk = (torch.nn.functional.normalize(v, dim=1) for v in (pelvis - feet.mean(1), neck - pelvis))
    standing = ((legs * trunk).sum(1) > math.cos(UPRIGHT)) & seen.any(1)
    count = int(standing.sum())
    if count == 0:
        return PhotoFloor(None, nothing, "none: nobody stands upright on feet that are seen")
    if up is None and count == 1:
        reason = "none: one person who stands shows no floor; give --gravity"
        return PhotoFloor(None, nothing, reason)
    people = "one person who stands" if count == 1 else f"{count} people who stand"
    if up is None:
        axes = torch.nn.functional.normalize(neck - feet.mean(1), dim=1)[standing]
        first, sigma = torch.nn.functional.normalize(axes.mean(0), dim=0), LEAN_SIGMA / count**0.5
        source = f"the feet of {people}"
    else:
        first, sigma, source = feet.new_tensor(up), GRAVITY_SIGMA, f"the given gravity and the feet of {people}"
    points = feet - clearance_m[:, None] * first
    heights = torch.where(seen, points @ first, torch.inf)
    lowest = points[torch.arange(len(points), device=feet.device), heights.argmin(1)]
    normal, offset, away = _plane(lowest[standing].double(), first.double(), sigma)
    on = torch.zeros_like(standing)
    on[standing] = away.abs() < FAR_SIGMAS
    if int(on.sum()) < (2 if up is None else 1) or 2 * int(on.sum()) <= count:
        return PhotoFloor(None, nothing, f"none: the feet of {people} lie in no common plane")
    floor = Floor(tuple(normal.tolist()), float(offset), source)
    level = heights < heights.amin(1, keepdim=True) + LEVEL_M
    return PhotoFloor(floor, level & seen & on[:, None])


def _plane(
    points: Float[Tensor, "P 3"], up: Float[Tensor, " 3"], up_sigma: float
) -> tuple[Float[Tensor, " 3"], Float[Tensor, ""], Float[Tensor, " P"]]:
    """Normal and offset by robust least squares, and each point's distance in its standard deviations."""
    axes = torch.linalg.svd(up[None], full_matrices=True)[2][1:]  # two directions across
    tilt, offset = up.new_zeros(2), (points @ up).median()
    normal = up
    away = torch.zeros_like(points[:, 0])
    for _ in range(_ROUNDS):
        sigma = ((SIZE_SIGMA * (points @ normal)).square() + SPREAD_M**2).sqrt()
        away = (points @ normal - offset) / sigma
        trust = (1 + (away / FAR_SIGMAS).square()).pow(-2) / sigma.square()
        # Unknowns: the tilt of up + tilt . axes (not normalised), and the offset.
        rows = torch.cat([points @ axes.T, -torch.ones_like(points[:, :1])], 1)
        prior = torch.diag(torch.cat([up.new_full((2,), up_sigma**-2), up.new_full((1,), 1e-9)]))
        matrix = (trust[:, None] * rows).T @ rows + prior
        tilt, offset = torch.linalg.solve(matrix, -(trust[:, None] * rows).T @ (points @ up)).split([2, 1])
        length = (up + tilt @ axes).norm()
        normal, offset = (up + tilt @ axes) / length, offset[0] / length
    return normal, offset, away
