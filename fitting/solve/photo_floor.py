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
CHILD_SIZE_SIGMA = 0.15
"""The same of children whose age nobody says."""
KNOWN_SIZE_SIGMA = 0.01
"""The same where stature or shape is given."""
SPREAD_M = 0.02
"""How well feet are known, m."""
IN_AIR = 0.2
"""Share of people upright who do not stand on the floor of their photo: they jump, or stand on something."""
HIGHEST_M = 1.0
"""Up to where their feet may be, m; anywhere up to there is as probable."""
SURE = 0.8
"""Probability from which on somebody is said to stand on the floor."""
LEVEL_M = 0.04
"""Points of the feet that are so little higher than the person's lowest one stand with it."""
_ALL_OF = 8
"""People up to whom all combinations of who stands are gone through: 2 to the power of them."""
_FLAT_M = 10.0
"""Standard deviation of the height of the camera beforehand, m."""


@dataclass(frozen=True)
class PhotoFloor:
    """What is known of the floor of a photo with P people."""

    floor: Floor | None
    touches: Bool[Tensor, "P F"]
    """Which points of the feet stand on it."""
    elsewhere: Bool[Tensor, " P"]
    """Who is upright but does not surely stand on it."""
    reason: str = ""
    """Why there is no floor."""

    def of(self, person: int) -> PhotoFloor:
        """What is known of one person."""
        return PhotoFloor(self.floor, self.touches[person], self.elsewhere[person], self.reason)


def photo_floor(
    feet: Float[Tensor, "P F 3"],
    pelvis: Float[Tensor, "P 3"],
    neck: Float[Tensor, "P 3"],
    clearance_m: Float[Tensor, " F"],
    seen: Bool[Tensor, "P F"],
    up: tuple[float, float, float] | None,
    size_sigma: Float[Tensor, " P"] | None = None,
) -> PhotoFloor:
    """Find the floor that people of one photo stand on.

    Args:
        feet: their points of the feet, camera frame, m.
        pelvis, neck: the joints.
        clearance_m: height of each point of the feet above the sole.
        seen: whether anything was seen of the foot that each point belongs to.
        up: against gravity, where that is known.
        size_sigma: how well the size of each is known beforehand, as a share; None: as that of adults.
    """
    nothing = torch.zeros(feet.shape[:2], dtype=torch.bool, device=feet.device)
    nobody = nothing.any(1)
    if size_sigma is None:
        size_sigma = torch.full_like(feet[:, 0, 0], SIZE_SIGMA)
    legs, trunk = (torch.nn.functional.normalize(v, dim=1) for v in (pelvis - feet.mean(1), neck - pelvis))
    standing = ((legs * trunk).sum(1) > math.cos(UPRIGHT)) & seen.any(1)
    count = int(standing.sum())
    if count == 0:
        return PhotoFloor(None, nothing, nobody, "none: nobody stands upright on feet that are seen")
    if up is None and count == 1:
        reason = "none: one person who stands shows no floor; give --gravity"
        return PhotoFloor(None, nothing, nobody, reason)
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
    least = 2 if up is None else 1
    sizes = size_sigma[standing].double()
    found = _Standing(lowest[standing].double(), sizes, first.double(), sigma, least).solve()
    on = torch.zeros_like(standing)
    on[standing] = found.on
    if 2 * int(on.sum()) <= count:
        return PhotoFloor(None, nothing, nobody, f"none: the feet of {people} lie in no common plane")
    floor = Floor(tuple(found.normal.tolist()), float(found.offset), source)
    level = heights < heights.amin(1, keepdim=True) + LEVEL_M
    return PhotoFloor(floor, level & seen & on[:, None], standing & ~on)


@dataclass(frozen=True)
class _Plane:
    """A plane, and who stands on it."""

    on: Bool[Tensor, " P"]
    normal: Float[Tensor, " 3"]
    offset: Float[Tensor, ""]


class _Standing:
    """Who of people upright stands on the floor, and where it is: by Bayes' rule over combinations of who stands.

    With tilt t in two directions across `up` and offset o, feet at p that stand have p.up + t.(p across) - o = 0 up to
    an error of size and keypoints; those of others are anywhere above. A plane through few people bends to whoever is
    in the air, so that no distance from one plane tells; the combinations are weighed with all planes integrated out.

    Args:
        points: the lowest point of each person's feet, m.
        size_sigma: how well each person's size is known, as a share.
        up: what is known of the normal beforehand, unit length.
        up_sigma: how well, rad.
        least: how many stand at least.
    """

    def __init__(
        self,
        points: Float[Tensor, "P 3"],
        size_sigma: Float[Tensor, " P"],
        up: Float[Tensor, " 3"],
        up_sigma: float,
        least: int,
    ):
        self.up, self.least = up, least
        self.across = torch.linalg.svd(up[None], full_matrices=True)[2][1:]
        self.height = points @ up
        self.rows = torch.cat([points @ self.across.T, -torch.ones_like(points[:, :1])], 1)
        self.variance = (size_sigma * self.height).square() + SPREAD_M**2
        self.before = up.new_tensor([up_sigma**-2, up_sigma**-2, _FLAT_M**-2]).diag()

    def solve(self) -> _Plane:
        """Those who surely stand, and the plane through them."""
        who = self._all() if len(self.height) <= _ALL_OF else self._likely()
        weight = self._log_evidence(who)[0].softmax(0)
        on = (weight[:, None] * who).sum(0) > SURE
        unknowns = self._log_evidence(on[None])[1][0]
        normal = self.up + unknowns[:2] @ self.across
        length = normal.norm()
        return _Plane(on, normal / length, unknowns[2] / length)

    def _all(self) -> Bool[Tensor, "K P"]:
        """Every combination of enough people."""
        count = len(self.height)
        number = torch.arange(2**count, device=self.up.device)
        who = (number[:, None] >> torch.arange(count, device=self.up.device)) % 2 == 1
        return who[who.sum(1) >= self.least]

    def _likely(self) -> Bool[Tensor, "K P"]:
        """The most probable combination, found one person after the other, and those that differ in one or two."""
        one = torch.eye(len(self.height), dtype=torch.bool, device=self.up.device)
        best = torch.ones_like(one[0])
        for _ in range(len(one)):
            near = torch.cat([best[None], best ^ one])
            near = near[near.sum(1) >= self.least]
            winner = near[self._log_evidence(near)[0].argmax()]
            if bool((winner == best).all()):
                break
            best = winner
        first, second = torch.triu_indices(len(one), len(one), device=one.device)
        near = torch.cat([best[None], best ^ (one[first] | one[second])])
        return near[near.sum(1) >= self.least]

    def _log_evidence(self, who: Bool[Tensor, "K P"]) -> tuple[Float[Tensor, " K"], Float[Tensor, "K 3"]]:
        """Of combinations of people who stand, up to a constant; and the plane of each: tilt and offset."""
        on = who.to(self.height)
        precision = self.before + torch.einsum("kp,pi,pj->kij", on / self.variance, self.rows, self.rows)
        right = -(on * self.height / self.variance) @ self.rows
        covariance = torch.linalg.inv(precision)
        plane = (covariance @ right[..., None])[..., 0]
        misfit = on @ (self.height.square() / self.variance) - (plane * right).sum(1)
        stand = -0.5 * (misfit + torch.logdet(precision) + on @ (2 * math.pi * self.variance).log())
        above = self.height + plane @ self.rows.T
        spread = (self.variance + torch.einsum("pi,kij,pj->kp", self.rows, covariance, self.rows)).sqrt()
        within = torch.special.ndtr(above / spread) - torch.special.ndtr((above - HIGHEST_M) / spread)
        in_air = (IN_AIR / HIGHEST_M * within.clamp_min(1e-12)).log()
        return stand + (on * math.log(1 - IN_AIR) + (1 - on) * in_air).sum(1), plane
