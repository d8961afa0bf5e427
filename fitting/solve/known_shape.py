"""What is known of people's shape before a fit, and how it enters the fit: height, or the shape numbers themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.unknowns import Unknowns

SHORTEST_M, TALLEST_M = 0.35, 2.75
"""Heights of people, from early newborns to the tallest man on record (2.72 m)."""


@dataclass(frozen=True)
class KnownShape:
    """What is known of the shape of everybody who is fitted."""

    height_m: float | None = None
    """Stature, m."""
    betas: tuple[float, ...] = ()
    """Shape numbers, which are held; fewer than the body has count as zeros behind them. Empty: unknown."""
    source: str = ""
    """Where the shape numbers come from."""
    body: str = ""
    """Name of the body that the numbers belong to, where that is known."""

    def check(self, body: BodyModel) -> None:
        """Raise BodyfitError for what nobody can have, what contradicts itself, or what the body has no numbers for."""
        if self.height_m is not None and self.betas:
            raise BodyfitError("a height and shape numbers were given, which already say the height. Give one of them.")
        if self.height_m is not None and not SHORTEST_M <= self.height_m <= TALLEST_M:
            guess = f" Did you mean {self.height_m / 100:.2f}?" if 35 <= self.height_m <= 275 else ""
            raise BodyfitError(
                f"the height is {self.height_m:g} m. Expected {SHORTEST_M} to {TALLEST_M} metres.{guess}"
            )
        if self.betas and self.body not in ("", body.name):
            raise BodyfitError(
                f"{self.source or 'the shape numbers'}: of the body '{self.body}', but '{body.name}' is fitted, and "
                "numbers mean nothing to another body. Choose the body (and gender) that they were made with."
            )
        if not all(map(math.isfinite, self.betas)):
            raise BodyfitError(f"betas are {', '.join(f'{b:g}' for b in self.betas)}. Expected finite numbers.")
        if len(self.betas) > body.num_betas:
            raise BodyfitError(
                f"{len(self.betas)} shape numbers were given, but {body.name} is fitted with {body.num_betas}. Give as "
                "many or fewer, or raise num_betas."
            )

    @property
    def held(self) -> tuple[str, ...]:
        """Blocks of unknowns that do not move."""
        return ("betas",) if self.betas else ()

    @property
    def said(self) -> str:
        """How results say where their size comes from; empty where nothing is known."""
        if self.height_m is not None:
            return f"height given as {self.height_m:g} m"
        return (self.source or "shape numbers given") if self.betas else ""

    def energy(self, energy: EnergyConfig) -> EnergyConfig:
        """The energy with what is known in it."""
        return energy if self.height_m is None else replace(energy, height_m=self.height_m)

    def applied(self, x: Float[Tensor, "*B D"], unknowns: Unknowns) -> Float[Tensor, "*B D"]:
        """Starts with the known shape: that of the known numbers, or the nearest one of the known height."""
        columns = unknowns.layout["betas"]
        if self.betas:
            x = x.clone()
            x[..., columns] = 0
            x[..., columns][..., : len(self.betas)] = torch.tensor(self.betas, dtype=x.dtype, device=x.device)
        elif self.height_m is not None:
            x = x.clone()
            flat = x[..., columns].reshape(-1, columns.stop - columns.start)
            x[..., columns] = unknowns.stature.nearest(flat, self.height_m).view_as(x[..., columns])
        return x
