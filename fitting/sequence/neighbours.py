"""One person of a shot beside others: where his spheres are over time, and how deep they are in those of somebody."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.fitting.energy.shared_space import SKIN_M
from bodyfit.fitting.sequence.contacts import Contacts
from bodyfit.fitting.sequence.windows import GroupSolver
from bodyfit.fitting.solve.photo_floor import CHILD_SIZE_SIGMA, KNOWN_SIZE_SIGMA, SIZE_SIGMA
from bodyfit.fitting.solve.plausible import FAR_OFF, FEWEST_POINTS, LARGEST_ERROR

AT_ONCE = 64
"""Moments whose spheres are compared together."""


@dataclass(eq=False)
class Neighbour:
    """One person of a shot, fitted over time, while he changes."""

    solver: GroupSolver
    x: Float[Tensor, "T D"]
    first: int
    """The moment of the clip that is the first of x."""
    one_camera: bool
    """Whether a single camera saw the person, so that size and distance are known by the shape alone."""
    contacts: Contacts | None = None
    """What held the feet in x."""
    alone: Float[Tensor, "T D"] = field(init=False)
    """x before anybody moved."""
    there: Bool[Tensor, " T"] = field(init=False)
    """When he takes up space."""
    _spheres: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        self.alone, self.there = self.x, explained(self.solver, self.x)

    @property
    def moved(self) -> bool:
        """Whether he is somewhere else than alone."""
        return self.x is not self.alone

    def place(self, x: Float[Tensor, "T D"]) -> None:
        """Put him somewhere else."""
        self.x, self._spheres = x, None

    def give_up(self) -> None:
        """Put him where he was alone."""
        self.place(self.alone)

    @property
    def size_sigma(self) -> float:
        """How well his size is known, as a share; 0 where it cannot change, or several cameras measured it."""
        fitter = self.solver.fitter
        config = fitter.config
        if config.shape.betas or not self.one_camera:
            return 0.0
        on_floor = self.contacts is not None and self.contacts.floor is not None
        if on_floor or config.energy.height_m is not None:
            return KNOWN_SIZE_SIGMA
        return CHILD_SIZE_SIGMA if fitter.body.has_kid_axis and config.age.years is None else SIZE_SIGMA

    def shared_with(self, other: Neighbour) -> tuple[slice, slice]:
        """The moments of both, as rows of each; empty where they never are there together."""
        low = max(self.first, other.first)
        high = max(low, min(self.first + len(self.x), other.first + len(other.x)))
        return slice(low - self.first, high - self.first), slice(low - other.first, high - other.first)

    def spheres(self, rows: slice = slice(None)) -> tuple[Float[Tensor, "R S 3"], Float[Tensor, "R S"]]:
        """Centres and radii at some moments; of radius minus infinity where nobody is there."""
        if self._spheres is None:
            parts = [self._posed(x) for x in self.x.split(AT_ONCE)]
            centres, radii = (torch.cat(some) for some in zip(*parts, strict=True))
            self._spheres = centres, radii.masked_fill(~self.there[:, None], -torch.inf)
        return self._spheres[0][rows], self._spheres[1][rows]

    def _posed(self, x: Float[Tensor, "W D"]) -> tuple[Float[Tensor, "W S 3"], Float[Tensor, "W S"]]:
        unknowns, spheres = self.solver.fitter.unknowns, self.solver.fitter.spheres
        shape = unknowns.shape(x)
        bones = self.solver.model.kinematics(unknowns.rotations(x, unknowns.decode(x)), shape, derivatives=False)
        centres = spheres.centres(bones, shape).transpose(0, 1) + x[:, None, unknowns.layout["transl"]]
        return centres, spheres.radii(shape)

    def depth_in(self, other: Neighbour) -> Float[Tensor, " R"]:
        """How deep the deepest pair of spheres of both overlaps at each shared moment beyond what skin may, m."""
        mine, theirs = self.shared_with(other)
        both = (*self.spheres(mine), *other.spheres(theirs))
        parts = [overlaps(*some).amax((1, 2)) for some in zip(*(part.split(AT_ONCE) for part in both), strict=True)]
        return torch.cat(parts)


def overlaps(
    centres: Float[Tensor, "T S 3"],
    radii: Float[Tensor, "T S"],
    there: Float[Tensor, "T O 3"],
    sizes: Float[Tensor, "T O"],
) -> Float[Tensor, "T S O"]:
    """How deep each pair of spheres of two people overlaps beyond what skin may, m; negative where they do not."""
    return radii[..., None] + sizes[:, None] - torch.cdist(centres, there) - SKIN_M


def explained(solver: GroupSolver, x: Float[Tensor, "T D"]) -> Bool[Tensor, " T"]:
    """At which moments a person explains the keypoints of some view, as of photos (`solve.plausible`), or was not seen:
    at others nobody is there."""
    views = solver.views
    through = views.through_cameras(solver.landmarks(x))
    seen = views.seen.weights > 0
    off = (through.points_px - views.seen.targets_px).norm(dim=2) / views.seen.size_px[:, None]
    far = ((off > LARGEST_ERROR) & seen).sum(1) / seen.sum(1).clamp_min(1)
    typical = off.masked_fill(~seen, torch.nan).nanmedian(1).values
    wrong = (typical > LARGEST_ERROR) | ((far > FAR_OFF) & (seen.sum(1) >= FEWEST_POINTS))
    told, good = (x.new_zeros(len(x)).index_add(0, views.moment, some.to(x)) for some in (seen.any(1), ~wrong))
    return (told == 0) | (good > 0)
