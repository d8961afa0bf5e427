"""Terms of people who share a space: feet on one floor, and bodies that do not pass through each other.

People are solved one by one, so that the floor, and where the others are, are given to these terms as numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.fitting.energy.collisions import Overlaps, write_rotations
from bodyfit.fitting.energy.floor import Feet
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.sphere_model import SphereModel
from bodyfit.fitting.energy.terms import Evaluation, Term, write_point_jacobian
from bodyfit.fitting.energy.unknowns import Unknowns

SKIN_M = 0.01
"""Spheres of two people may overlap by so much: skin gives way where people touch."""
ROWS = 24
"""Pairs of spheres per person that count: the deepest."""


@dataclass(frozen=True)
class FloorOf:
    """The floor of each person's photo."""

    normal: Float[Tensor, "N 3"]
    """Unit length, pointing up."""
    offset_m: Float[Tensor, " N"]
    touches: Bool[Tensor, "N F"]
    """Which points of the feet are on it; none where a person's photo has no floor, like `given`."""
    given: Bool[Tensor, " N"]
    """Whether there is a floor."""

    def of(self, rows: Int[Tensor, " R"]) -> FloorOf:
        """Of some of the people."""
        return FloorOf(self.normal[rows], self.offset_m[rows], self.touches[rows], self.given[rows])


class FloorContact(Term):
    """Heights of points of the feet that touch the floor, and of those below it, robust.

    Args:
        unknowns, rotation_jacobian: of the landmarks, with 3 numbers each.
        feet: points of the feet among the landmarks.
        floor: of each person.
        sigma_m: the height that costs one.
        robust_sigmas: Geman-McClure scale in those units.
    """

    name = "floor"

    def __init__(
        self,
        unknowns: Unknowns,
        rotation_jacobian: RotationJacobian,
        feet: Feet,
        floor: FloorOf,
        *,
        sigma_m: float,
        robust_sigmas: float,
    ):
        self.unknowns, self.rotation_jacobian, self.feet = unknowns, rotation_jacobian, feet
        self.floor, self.sigma_m, self.rows = floor, sigma_m, len(feet)
        self._scale = floor.normal.new_full((1, self.rows), robust_sigmas)

    def residuals(self, at: Evaluation) -> Float[Tensor, "B F"]:
        """Height / sigma; 0 for points in the air that do not touch the floor."""
        height = self._height(at)
        return height * self._counts(at, height) / self.sigma_m

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B F D"]) -> None:
        """That of the points, along the floor's normal."""
        moved = out.new_zeros(len(out), at.points.shape[1], 3, out.shape[2])
        write_point_jacobian(self.unknowns, self.rotation_jacobian, at, moved)
        up = self.floor.normal[at.items][:, None, None]
        feet = (up @ moved.index_select(1, self.feet.landmarks))[:, :, 0]
        out.copy_(feet * (self._counts(at, self._height(at)) / self.sigma_m)[..., None])

    def robust_scale(self, at: Evaluation) -> Float[Tensor, "1 F"]:
        """The same for all."""
        return self._scale

    def _height(self, at: Evaluation) -> Float[Tensor, "B F"]:
        points = at.points.index_select(1, self.feet.landmarks)
        up = (points @ self.floor.normal[at.items][..., None])[..., 0]
        return up - self.floor.offset_m[at.items][:, None] - self.feet.clearance_m

    def _counts(self, at: Evaluation, height: Tensor) -> Float[Tensor, "B F"]:
        counted = self.floor.touches[at.items] | (height < 0)
        return (counted & self.floor.given[at.items][:, None]).to(height)


@dataclass(frozen=True)
class Obstacles:
    """Spheres of the other people of each person's photo, where they stand now."""

    centres: Float[Tensor, "N O 3"]
    """In the camera's frame, m."""
    radii: Float[Tensor, "N O"]
    """Negative infinity where a person has fewer obstacles."""

    def of(self, rows: Int[Tensor, " R"]) -> Obstacles:
        """Of some of the people."""
        return Obstacles(self.centres[rows], self.radii[rows])

    def overlaps_of(
        self, centres: Float[Tensor, "B S 3"], radii: Float[Tensor, "B S"], items: Int[Tensor, " B"], most: int
    ) -> Overlaps:
        """The deepest pairs of people's own spheres and obstacles; `second` numbers obstacles."""
        there, theirs = self.centres[items], self.radii[items]
        with torch.no_grad():
            depth = radii[..., None] + theirs[:, None] - torch.cdist(centres, there) - SKIN_M
            item, first, second = (depth > 0).nonzero().unbind(1)
        between = centres[item, first] - there[item, second]
        distance = between.norm(dim=1).clamp_min(1e-6)
        depth = radii[item, first] + theirs[item, second] - distance - SKIN_M
        order = depth.detach().argsort(descending=True)
        order = order[item[order].argsort(stable=True)]  # by person, then by depth
        row = torch.arange(len(order), device=item.device) - torch.searchsorted(item[order], item[order])
        order, row = order[row < most], row[row < most]
        direction = between[order] / distance[order][:, None]
        return Overlaps(item[order], row, first[order], second[order], depth[order], direction)


class OtherPeople(Term):
    """Depth to which a body's spheres overlap with those of other people.

    Args:
        unknowns: the unknowns.
        spheres: the body's.
        others: of each person.
        sigma_m: the depth that costs one.
    """

    name, rows = "other_people", ROWS

    def __init__(self, unknowns: Unknowns, spheres: SphereModel, others: Obstacles, *, sigma_m: float):
        self.unknowns, self.spheres, self.others, self.sigma_m = unknowns, spheres, others, sigma_m

    def residuals(self, at: Evaluation) -> Float[Tensor, "B M"]:
        """Depth of the deepest pairs / sigma; zeros after them."""
        found = self._overlaps(at)
        rows = at.x.new_zeros(len(at.x), self.rows)
        return rows.index_put((found.item, found.row), found.depth / self.sigma_m)

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B M D"]) -> None:
        """Of the same pairs: the body moves, the others stay."""
        found = self._overlaps(at)
        if not len(found.item):
            return
        layout, shape = self.unknowns.layout, self.unknowns.shape(at.x)
        toward = -found.direction / self.sigma_m
        by_turn, by_shape = self.spheres.moved_along(at.kinematics, shape, found.item, found.first, toward)
        out[found.item, found.row, layout["transl"]] = toward
        by_shape = by_shape + self.spheres.radius_dirs[found.first] / self.sigma_m
        out[found.item, found.row, layout.span("betas", "expression")] = by_shape
        who, place = found.item.unique_consecutive(return_inverse=True)
        most = int(found.row.max()) + 1
        turned = by_turn.new_zeros(len(who), most, *by_turn.shape[1:]).index_put((place, found.row), by_turn)
        write_rotations(self.unknowns, at, who, turned, out)
        out[who, :most, layout["global_orient"]] = turned[:, :, 0] @ at.left_jacobians[who, 0]

    def _overlaps(self, at: Evaluation) -> Overlaps:
        if self not in at.kept:
            shape = self.unknowns.shape(at.x)
            centres = self.spheres.centres(at.kinematics, shape).transpose(0, 1)
            centres = centres + at.x[:, None, self.unknowns.layout["transl"]]
            at.kept[self] = self.others.overlaps_of(centres, self.spheres.radii(shape), at.items, self.rows)
        return at.kept[self]
