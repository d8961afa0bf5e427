"""The floor that several people of a clip stand on: one plane, and how high above it each of them seems to be.

One camera does not know how large people are: each may be a few percent too near or too far, with feet too high or too
low by as many percent of the camera's height. So everybody has a height above the common plane, near zero, and people
whose feet are farther off than that explains (they stand on something, or never stand) leave the plane alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.fitting.energy.floor import Floor
from bodyfit.fitting.sequence.contacts import Contacts, GroundConfig

_ROUNDS = 20
_POINTS = 200
"""Resting points per person that the plane is found from, at most."""
_LEAST_OFFSET_M = 0.3
"""Height of the camera above the floor from which on it says something of people's size."""


@dataclass(frozen=True)
class Resting:
    """The resting feet of one person."""

    contacts: Contacts
    """With the floor that these feet alone say."""
    points: Float[Tensor, "T F 3"]
    """The points of the feet, m."""
    size_sigma: float
    """How well the size of the person is known beforehand, as a share; 0 where several cameras measure it."""

    @property
    def lowest(self) -> Float[Tensor, "N 3"]:
        """Resting points, and below each the sole of a flat foot, in double precision."""
        resting, floor = self.contacts.moments, self.contacts.floor
        clearance = self.contacts.feet.clearance_m.expand(len(self.points), -1)[resting]
        normal = self.points.new_tensor(floor.normal) if floor is not None else self.points.new_zeros(3)
        return (self.points[resting] - clearance[:, None] * normal).double()


@dataclass(frozen=True)
class OnFloor:
    """One person and the floor."""

    contacts: Contacts
    size_factor: float = 1.0
    """By how much the person would have to be larger, and farther away, to stand on it."""


def on_common_floor(people: Sequence[Resting], config: GroundConfig) -> list[OnFloor]:
    """Everybody's contacts with the floor of all, as far as there is one.

    Those who stand vote. Where more than half of them, and two at least, agree, their plane is the floor of all; who
    stands elsewhere keeps a floor of his own. Where one person alone stands, others who rest at that height stand
    there, too. Where they disagree, everybody has what his own feet say.
    """
    voters = [n for n, one in enumerate(people) if one.contacts.floor is not None]
    if not voters or len(people) == 1:
        return [OnFloor(one.contacts) for one in people]
    above = {voters[0]: 0.0}
    floor = people[voters[0]].contacts.floor
    if len(voters) > 1:
        floor, heights = _plane([people[n] for n in voters], config)
        above = dict(zip(voters, heights, strict=True))
        on = [n for n in voters if abs(above[n]) < config.far_sigmas * _sigma_m(people[n], floor, config)]
        if len(on) < 2 or 2 * len(on) <= len(voters):
            return [OnFloor(_alone(one.contacts, "alone: others stand elsewhere")) for one in people]
        floor = replace(floor, source=f"{floor.source} of {len(on)} people")
    return [_placed(one, floor, above.get(n), config) for n, one in enumerate(people)]


def _placed(one: Resting, floor: Floor, above: float | None, config: GroundConfig) -> OnFloor:
    """One person and the floor of all.

    Args:
        one, floor: these.
        above: how high his feet are above it, m; None: he does not stand.
    """
    contacts, voted = one.contacts, above is not None
    resting = contacts.moments
    height = floor.height(one.points) - contacts.feet.clearance_m
    if above is None:
        above = float(height[resting].median()) if bool(resting.any()) else torch.inf
    if not abs(above) < config.far_sigmas * _sigma_m(one, floor, config):
        if voted:
            side = "above" if above > 0 else "below"
            return OnFloor(_alone(contacts, f"{abs(above):.2f} m {side} the floor of others"))
        return OnFloor(replace(contacts, floor=floor, reason="", held=False))
    level = resting & ((height - above).abs() < 3 * config.spread_m)
    offset, factor = floor.offset_m, 1.0
    if one.size_sigma > 0 and offset < -_LEAST_OFFSET_M:
        factor = offset / (offset + above)
    return OnFloor(replace(contacts, floor=floor, reason="", level=level), factor)


def _alone(contacts: Contacts, why: str) -> Contacts:
    if contacts.floor is None:
        return contacts
    return replace(contacts, floor=replace(contacts.floor, source=f"{contacts.floor.source}, {why}"))


def _sigma_m(one: Resting, floor: Floor, config: GroundConfig) -> float:
    """How far a person's feet may seem to be from the floor that they stand on, one standard deviation."""
    return ((one.size_sigma * floor.offset_m) ** 2 + config.spread_m**2) ** 0.5


def _plane(voters: Sequence[Resting], config: GroundConfig) -> tuple[Floor, list[float]]:
    """The plane of several people by robust least squares, and how high above it each of them is."""
    points, weights, owner = _thinned(voters, config)
    ups = torch.stack([torch.as_tensor(one.contacts.up, dtype=torch.float64) for one in voters]).to(points.device)
    up = torch.nn.functional.normalize(ups.mean(0), dim=0)
    up_sigma = config.gravity_sigma if config.up is not None else config.up_sigma / len(voters) ** 0.5
    across = torch.linalg.svd(up[None], full_matrices=True)[2][1:]  # two directions
    sigma = points.new_tensor([_sigma_m(one, one.contacts.floor, config) for one in voters])
    people = torch.eye(len(voters)).to(points)[owner]
    rows = torch.cat([points @ across.T, -torch.ones_like(points[:, :1]), -people], 1)
    right = points @ up
    offset = torch.stack([right[owner == n].median() for n in range(len(voters))]).median()
    drift = config.drift_share if max(one.size_sigma for one in voters) > 0 else 0.0
    spread = config.spread_about(float(offset), drift)
    unknowns = torch.cat([up.new_zeros(2), offset[None], up.new_zeros(len(voters))])
    for _ in range(_ROUNDS):
        away = (rows @ unknowns + right) / (2 * spread)
        trust = weights * (1 + away.square()).pow(-2) / spread**2
        near = (1 + (unknowns[3:] / (config.far_sigmas * sigma)).square()).pow(-2)  # of people
        prior = torch.cat([up.new_full((2,), up_sigma**-2), up.new_full((1,), 1e-9), near / sigma.square()])
        matrix = (trust[:, None] * rows).T @ rows + prior.diag()
        unknowns = torch.linalg.solve(matrix, -(trust[:, None] * rows).T @ right)
    normal = up + unknowns[:2] @ across
    length = normal.norm()
    source = voters[0].contacts.floor.source
    floor = Floor(tuple((normal / length).tolist()), float(unknowns[2] / length), source)
    return floor, (unknowns[3:] / length).tolist()


def _thinned(
    voters: Sequence[Resting], config: GroundConfig
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, " N"], Tensor]:
    """Resting points on everybody's own floor, evenly spread over time; the weight of each, and whose it is."""
    points, weights, owner = [], [], []
    for n, one in enumerate(voters):
        mine = one.lowest
        mine = mine[_on(one.contacts.floor, mine, config)]
        mine = mine[torch.linspace(0, len(mine) - 1, min(len(mine), _POINTS)).long().to(mine.device)]
        points.append(mine)
        weights.append(mine.new_full((len(mine),), min(1.0, config.independent / max(len(mine), 1))))
        owner.append(torch.full((len(mine),), n, device=mine.device))
    return torch.cat(points), torch.cat(weights), torch.cat(owner)


def _on(floor: Floor | None, points: Float[Tensor, "N 3"], config: GroundConfig) -> Bool[Tensor, " N"]:
    assert floor is not None
    return floor.height(points).abs() < 3 * config.spread_about(floor.offset_m, config.drift_share)
