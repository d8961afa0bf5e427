"""The term that keeps a body out of itself: the depth to which spheres that fill it overlap.

Most pairs of spheres are far from each other, so pairs are looked for anew at each evaluation. One matrix product finds
those of all people that overlap by more than their allowance; the deepest few of each person become residuals. The sum
of the k largest squares is continuous, and smooth where a pair starts to touch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.fitting.energy.sphere_model import SphereModel
from bodyfit.fitting.energy.terms import Evaluation, Term
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.prior.model.parts import NUM_BODY_JOINTS

ROWS = 16
"""Pairs per person that count: the deepest."""
FAR_M2 = 1e3
"""A squared distance at which nothing touches."""
AT_A_TIME = {"cpu": 8, "cuda": 4096}
"""People whose pairs are looked through together."""


@dataclass(frozen=True)
class Overlaps:
    """E pairs of spheres that overlap, of a batch of people."""

    item: Int[Tensor, " E"]
    """The person's place in the batch."""
    row: Int[Tensor, " E"]
    """The pair's place among the person's residuals."""
    first: Int[Tensor, " E"]
    second: Int[Tensor, " E"]
    """The two spheres."""
    depth: Float[Tensor, " E"]
    """Metres beyond the allowance."""
    direction: Float[Tensor, "E 3"]
    """From the second centre to the first, unit length."""


class SelfCollision(Term):
    """Depth to which pairs of a body's spheres overlap beyond what is allowed to them.

    Args:
        unknowns: the unknowns.
        spheres: the body's.
        sigma_m: the depth that costs one.
        rows: pairs per person that count.
    """

    name = "self_collision"

    def __init__(self, unknowns: Unknowns, spheres: SphereModel, *, sigma_m: float, rows: int = ROWS):
        self.unknowns, self.spheres, self.sigma_m, self.rows = unknowns, spheres, sigma_m, rows
        apart = torch.isfinite(spheres.allowance)
        once = apart & torch.ones_like(apart).tril(-1)
        self._barred = torch.where(once, 0.0, FAR_M2).to(spheres.allowance)  # added to squared distances

    def residuals(self, at: Evaluation) -> Float[Tensor, "B M"]:
        """Depth of the deepest pairs / sigma; zeros after them."""
        found = self.overlaps(at)
        rows = at.x.new_zeros(len(at.x), self.rows)
        return rows.index_put((found.item, found.row), found.depth / self.sigma_m)

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B M D"]) -> None:
        """Of the same pairs; the root and the translation move both spheres alike."""
        found = self.overlaps(at)
        if not len(found.item):
            return
        layout, shape = self.unknowns.layout, self.unknowns.shape(at.x)
        both = [(found.first, -found.direction), (found.second, found.direction)]
        item, sphere = found.item.repeat(2), torch.cat([s for s, _ in both])
        moved = self.spheres.moved_along(
            at.kinematics, shape, item, sphere, torch.cat([direction for _, direction in both]) / self.sigma_m
        )
        by_turn, by_shape = (first + second for first, second in (part.chunk(2) for part in moved))
        radii = self.spheres.radius_dirs
        by_shape = by_shape + (radii[found.first] + radii[found.second]) / self.sigma_m
        out[found.item, found.row, layout.span("betas", "expression")] = by_shape
        # Rows of people who touch themselves, as many as the person with most of them has.
        who, place = found.item.unique_consecutive(return_inverse=True)
        most = int(found.row.max()) + 1
        turned = by_turn.new_zeros(len(who), most, *by_turn.shape[1:]).index_put((place, found.row), by_turn)
        write_rotations(self.unknowns, at, who, turned, out)

    def overlaps(self, at: Evaluation) -> Overlaps:
        """The pairs that count; looked for once per evaluation."""
        if self not in at.kept:
            at.kept[self] = self._find(at)
        return at.kept[self]

    @torch.no_grad()
    def _search(self, centres: Float[Tensor, "B N 3"], radii: Float[Tensor, "B N"]) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs nearer than the sum of their radii: person, first and second sphere."""
        # |a - b|^2 < (r + s)^2 as one product: (|a|^2 - r^2) + (|b|^2 - s^2) - 2 (a.b + r s) < 0.
        power = (centres.square().sum(-1) - radii.square())[..., None]
        one = torch.ones_like(power)
        left = torch.cat([-2 * centres, -2 * radii[..., None], power, one], dim=2)
        right = torch.cat([centres, radii[..., None], one, power], dim=2).transpose(1, 2)
        # Few spheres have a partner: these first, then their partners. Few people at a time stay in the cache.
        many = AT_A_TIME["cpu" if centres.device.type == "cpu" else "cuda"]
        groups = zip(left.split(many), right.split(many), strict=True)
        nearest = torch.cat([torch.baddbmm(self._barred, some, others).amin(2) for some, others in groups])
        item, first = (nearest < 0).nonzero().unbind(1)
        rows = (left[item, first][:, None] @ right[item])[:, 0] + self._barred[first]
        place, second = (rows < 0).nonzero().unbind(1)
        return item[place], first[place], second

    def _find(self, at: Evaluation) -> Overlaps:
        shape = self.unknowns.shape(at.x)
        centres, radii = self.spheres.centres(at.kinematics, shape).transpose(0, 1), self.spheres.radii(shape)
        item, first, second = self._search(centres, radii)
        between = centres[item, first] - centres[item, second]
        distance = between.norm(dim=1).clamp_min(1e-6)
        depth = radii[item, first] + radii[item, second] - distance - self.spheres.allowance[first, second]
        order = depth.detach().argsort(descending=True)
        order = order[depth.detach()[order] > 0]
        order = order[item[order].argsort(stable=True)]  # by person, then by depth
        start = torch.searchsorted(item[order], item[order])
        row = torch.arange(len(order), device=item.device) - start
        order, row = order[row < self.rows], row[row < self.rows]
        direction = between[order] / distance[order][:, None]
        return Overlaps(item[order], row, first[order], second[order], depth[order], direction)


def write_rotations(
    unknowns: Unknowns,
    at: Evaluation,
    who: Int[Tensor, " W"],
    turned: Float[Tensor, "W M J 3"],
    out: Float[Tensor, "B R D"],
) -> None:
    """Write derivatives in the unknowns that rotate joints, but for the root, of rows that any joint may turn.

    Args:
        unknowns: the unknowns.
        at: with derivatives.
        who: the people of the batch whose rows these are.
        turned: derivative of the first M of their rows in a small world rotation of each joint.
        out: rows of all people, filled in place.
    """
    layout, world, rows = unknowns.layout, at.kinematics.rotations, slice(0, turned.shape[1])
    body = world.index_select(0, unknowns.body_parents)[:, who].transpose(0, 1) @ at.tangent[who]
    out[who, rows, layout["latent"]] = turned[:, :, 1 : NUM_BODY_JOINTS + 1].flatten(2) @ body.flatten(1, 2)
    if len(unknowns.direct_parents) == 0:
        return
    rotated = world.index_select(0, unknowns.direct_parents)[:, who].transpose(0, 1) @ at.left_jacobians[who, 1:]
    if unknowns.has_jaw:
        out[who, rows, layout["jaw_pose"]] = turned[:, :, unknowns.names.index("jaw")] @ rotated[:, 0]
    for side, fingers in zip(unknowns.hands, rotated[:, int(unknowns.has_jaw) :].split(15, dim=1), strict=True):
        joints, _, basis = unknowns.hands[side]
        tangent = (fingers @ basis.T.unflatten(0, (15, 3))).flatten(1, 2)
        out[who, rows, layout[f"{side}_hand"]] = turned[:, :, joints].flatten(2) @ tangent
