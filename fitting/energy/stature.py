"""The stature of a body as a function of its shape numbers."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel

_NEAR_THE_ENDS = 0.05
"""Of the body's height: the highest and the lowest vertex of every shape lie this near to the ends of the mean body."""


class Stature:
    """Floor to the top of the head in pose zero, as `data.body.measures` has it, of any number of shapes at once.

    Stature is the difference of two maxima of functions that are linear in the shape numbers, so its gradient is that
    of the two vertices that are the highest and the lowest.
    """

    def __init__(self, body: BodyModel, dtype: torch.dtype, device: torch.device):
        heights = body.v_template[:, 1]
        margin = _NEAR_THE_ENDS * np.ptp(heights)
        to = {"dtype": dtype, "device": device}
        self._ends = []
        for near in (heights > heights.max() - margin, heights < heights.min() + margin):
            rows = np.flatnonzero(near)
            self._ends.append(
                (torch.as_tensor(heights[rows], **to), torch.as_tensor(body.shapedirs[rows, 1], **to).contiguous())
            )

    def __call__(self, betas: Float[Tensor, "B S"]) -> tuple[Float[Tensor, " B"], Float[Tensor, "B S"]]:
        """Stature, m, and its derivative in the shape numbers."""
        (top, top_dirs), (sole, sole_dirs) = self._ends
        highest, first = (top + betas @ top_dirs.T).max(1)
        lowest, last = (sole + betas @ sole_dirs.T).min(1)
        return highest - lowest, top_dirs[first] - sole_dirs[last]

    def nearest(self, betas: Float[Tensor, "B S"], height_m: float) -> Float[Tensor, "B S"]:
        """The shapes of this stature that differ least from the given ones."""
        for _ in range(4):  # linear but for a change of the highest or lowest vertex
            stature, slope = self(betas)
            missing = (height_m - stature) / slope.square().sum(1).clamp_min(1e-12)
            betas = betas + missing[:, None] * slope
        return betas
