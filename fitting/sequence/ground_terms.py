"""The terms of feet that rest: they do not slide, and they stand on the floor where one was found.

* Speeds of resting points of the feet, relative to the size of the body like accelerations (`smoothness`), robust: a
  foot that moves after all is let go. They couple a moment to the next.
* Heights of resting points above the floor, robust: feet on a stair are let go. Points below the floor are pushed up,
  whether they rest or not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.energy.floor import Feet
from bodyfit.fitting.energy.levenberg_marquardt import geman_mcclure
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.sequence.arrow_system import ArrowSystem
from bodyfit.fitting.sequence.config import REFERENCE_FPS
from bodyfit.fitting.sequence.contacts import Contacts, GroundConfig
from bodyfit.fitting.sequence.smoothness import BodyMotion, Unit, add_differences, difference

_STENCIL = (-1.0, 1.0)


class GroundTerms:
    """The terms of a person's feet over time.

    Args:
        unknowns: the unknowns.
        feet: points of the feet among the model's landmarks.
        columns: how many of the first unknowns these depend on.
        own: columns of each moment's unknowns, ascending.
        contacts: where they rest, and on what.
        fps: moments per second.
        config: the weights.
        size: `Smoothness.size`.
    """

    def __init__(
        self,
        unknowns: Unknowns,
        feet: Feet,
        columns: int,
        own: Tensor,
        contacts: Contacts,
        fps: float,
        config: GroundConfig,
        size: Callable[[Tensor], tuple[Tensor, Tensor]],
    ):
        self.feet, self.columns, self.size = feet, columns, size
        self.count, self.floor = int((own < columns).sum()), contacts.floor if contacts.held else None
        like = feet.clearance_m
        root = (REFERENCE_FPS / fps) ** 0.5
        self.by_speed = root * fps / config.slide_sigma
        self.slide_scale = like.new_full((1, 1), root * config.slide_robust_sigmas)
        self.links = contacts.links.to(like).repeat_interleave(3, 1)
        self.standing = contacts.standing.to(like)
        # Heights of neighbouring moments are alike: as much per second at any rate.
        self.by_height, self.by_depth = root / config.height_sigma_m, root / config.sink_sigma_m
        self.height_scale = like.new_full((1, 1), root * config.height_robust_sigmas)

    def cost(self, points: Float[Tensor, "T F 3"], x: Float[Tensor, "T D"]) -> Float[Tensor, ""]:
        """Of all moments."""
        total = points.new_zeros(())
        if len(x) > 1:
            rows = self.by_speed * self.size(x)[0] * difference(points.flatten(1), _STENCIL)
            total = total + (self.links * geman_mcclure(rows, self.slide_scale)[0]).sum()
        if self.floor is not None:
            rows, _ = self._floor_rows(points)
            total = total + geman_mcclure(rows, self.height_scale)[0].sum()
        return total

    def add(
        self, system: ArrowSystem, motion: BodyMotion, x: Float[Tensor, "T D"], least_weight: float, map_: Callable
    ) -> None:
        """Add the normal equations to those of a batch of one; `least_weight` as `floor` in `add_differences`, like
        `map_`."""
        if len(x) > 1:
            unit = Unit(self.by_speed, *self.size(x))
            add_differences(system, motion, _STENCIL, unit, self.links, self.slide_scale, least_weight, map_)
        if self.floor is not None:
            self._add_floor(system, motion, least_weight)

    def _floor_rows(self, points: Float[Tensor, "T F 3"]) -> tuple[Float[Tensor, "T F"], Float[Tensor, "T F"]]:
        """Residuals of heights, and their derivative in height: of points that rest or are below the floor."""
        height = self.floor.height(points) - self.feet.clearance_m
        slope = torch.where(self.standing > 0, self.by_height, torch.where(height < 0, self.by_depth, 0.0))
        return slope * height, slope

    def _add_floor(self, system: ArrowSystem, motion: BodyMotion, least_weight: float) -> None:
        residuals, slope = self._floor_rows(motion.points)
        loss, weight, curvature = geman_mcclure(residuals, self.height_scale)
        normal = residuals.new_tensor(self.floor.normal)
        moved = (part.unflatten(1, (-1, 3)) for part in (motion.own, motion.shared))
        own, shared = ((normal @ part) * slope[..., None] for part in moved)  # (T, F, d), (T, F, B)
        pull, bend = weight * residuals, torch.maximum(curvature, least_weight * weight)
        count = own.shape[2]
        bent_own, bent_shared = bend[..., None] * own, bend[..., None] * shared
        system.cost += loss.sum()
        system.gradient[0, :, :count] += (pull[:, None] @ own)[:, 0]
        system.band[0, 0, :, :count, :count] += own.mT @ bent_own
        system.edge[0, :, :count] += own.mT @ bent_shared
        system.shared_gradient[0] += (pull[:, None] @ shared)[:, 0].sum(0)
        system.corner[0] += shared.flatten(0, 1).mT @ bent_shared.flatten(0, 1)
