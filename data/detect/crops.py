"""Turned square regions of a picture: cutting them out for the networks, and bringing points found in them back.

Points are in pixels with (0, 0) the centre of the top-left pixel, as everywhere in this package. Inside a region, a
point is a share of its side: (0, 0) is the top-left corner, (1, 1) the bottom-right one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Regions:
    """N squares in a picture, each turned so that `up` is its upward direction."""

    center: Float[np.ndarray, "N 2"]
    side: Float[np.ndarray, " N"]
    up: Float[np.ndarray, "N 2"]
    """Unit vectors; (0, -1) is upright, because y points down."""

    def __len__(self) -> int:
        return len(self.side)

    def __getitem__(self, which: Int[np.ndarray, " M"] | Bool[np.ndarray, " N"] | slice) -> Regions:
        return Regions(self.center[which], self.side[which], self.up[which])

    @classmethod
    def around(
        cls, center: Float[np.ndarray, "N 2"], top: Float[np.ndarray, "N 2"], scale: float | Float[np.ndarray, " N"]
    ) -> Regions:
        """Squares whose centre and upward direction two points give, `scale` times their distance wide."""
        arrow = top - center
        length = np.linalg.norm(arrow, axis=1)
        safe = np.maximum(length, 1e-6)[:, None]
        up = np.where(length[:, None] > 1e-6, arrow / safe, np.array([0.0, -1.0]))
        return cls(center, np.maximum(scale * length, 1.0), up)

    @property
    def axes(self) -> Float[np.ndarray, "N 2 2"]:
        """Vectors along the sides, in pixels: to the right and down."""
        right = np.stack([-self.up[:, 1], self.up[:, 0]], axis=1)
        return np.stack([right, -self.up], axis=1) * self.side[:, None, None]

    def to_picture(self, points: Float[np.ndarray, "N K 2"]) -> Float[np.ndarray, "N K 2"]:
        """Shares of the side -> pixels."""
        return self.center[:, None] + np.einsum("nki,nij->nkj", points - 0.5, self.axes)


class Picture:
    """A picture with copies of half, a quarter, ... its size, so that small crops of large people are not jagged."""

    def __init__(self, image: UInt8[np.ndarray, "H W 3"]):
        self.levels = [Image.fromarray(image)]
        while min(self.levels[-1].size) >= 64:
            self.levels.append(self.levels[-1].reduce(2))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return self.levels[0].size

    def crops(self, regions: Regions, pixels: int) -> Float[Tensor, "N 3 S S"]:
        """Each region as a square of `pixels`, RGB in [0, 1]; black outside the picture."""
        out = np.empty((len(regions), pixels, pixels, 3), np.uint8)
        for i in range(len(regions)):
            out[i] = self.cut(regions.center[i], regions.axes[i], (pixels, pixels))
        return torch.from_numpy(out).permute(0, 3, 1, 2).to(torch.float32) / 255

    def cut(
        self, center: Float[np.ndarray, " 2"], axes: Float[np.ndarray, "2 2"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """A parallelogram as a picture of `size` (width, height); `axes` are its sides, to the right and down."""
        per_pixel = axes / np.array(size)[:, None]
        step = np.linalg.norm(per_pixel, axis=1).min()
        source = self.levels[int(np.clip(np.log2(max(step, 1e-6)), 0, len(self.levels) - 1))]
        shrink = np.array(source.size) / self.size
        corner = center + 0.5 - axes.sum(axis=0) / 2  # Pillow counts from the corner of the top-left pixel
        rows = np.column_stack([per_pixel.T, corner]) * shrink[:, None]
        cut = source.transform(size, Image.Transform.AFFINE, tuple(rows.ravel()), Image.Resampling.BILINEAR)
        return np.asarray(cut)

    def resized(self, long_side: int) -> tuple[UInt8[np.ndarray, "h w 3"], float]:
        """The whole picture with its longer side `long_side`, and how many of its own pixels one of those is."""
        shrink = long_side / max(self.size)
        source = next((level for level in reversed(self.levels) if max(level.size) >= long_side), self.levels[0])
        width, height = (max(round(side * shrink), 1) for side in self.size)
        smaller = max(source.size) >= long_side
        kind = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
        return np.asarray(source.resize((width, height), kind)), 1 / shrink
