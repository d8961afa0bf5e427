"""The average children along the kid axis of a body, as tensors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.age_shapes import ADULT_YEARS, age_betas_of, average_betas
from bodyfit.data.body.body_model import BodyModel


class AgeCurve(NamedTuple):
    """The betas of average children along the kid axis, piecewise linear; constant beyond its ends."""

    kid: Float[Tensor, " K"]
    """Kid betas, ascending."""
    betas: Float[Tensor, "K n"]
    """The other betas at each of them."""

    @classmethod
    def of(cls, body: BodyModel, like: Tensor) -> AgeCurve | None:
        """That of a body with the kid axis; None where its file does not say, and for other bodies."""
        if not body.has_kid_axis or body.kid_ages is None or age_betas_of(body) is None:
            return None
        years = np.flip(body.kid_ages[0][body.kid_ages[0] <= ADULT_YEARS])
        shapes = np.stack([average_betas(body, float(age)) for age in years])
        kid = np.interp(years, *body.kid_ages)
        return cls(torch.as_tensor(kid).to(like), torch.as_tensor(shapes[:, :-1]).to(like))

    def at(self, kid: Float[Tensor, " B"]) -> tuple[Float[Tensor, "B n"], Float[Tensor, "B n"]]:
        """The average betas at these kid betas, and their slopes."""
        last = len(self.kid) - 1
        after = torch.searchsorted(self.kid, kid.contiguous(), right=True).clamp(1, last)
        low, high = self.kid[after - 1], self.kid[after]
        slope = (self.betas[after] - self.betas[after - 1]) / (high - low)[:, None]
        inside = kid.clamp(self.kid[0], self.kid[-1])
        outside = (inside != kid)[:, None]
        return self.betas[after - 1] + slope * (inside - low)[:, None], slope.masked_fill(outside, 0)

    def chord(self, kid: float) -> Float[Tensor, " n"]:
        """The mean slope between the adult and this kid beta."""
        return self.at(self.kid.new_tensor([kid]))[0][0] / kid
