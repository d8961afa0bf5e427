"""33 points of each person found (BlazePose's, with feet and knuckles), made exact by heat maps.

BlazePose (Bazarevsky et al., 2020) looks at one person in a turned square. The square is laid around the points that
are known already; the network says itself where it should have been, and looks there again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.detect.crops import Picture, Regions
from bodyfit.data.detect.network import Network
from bodyfit.data.detect.people import HIPS, SEEN, SHOULDERS, People

POINTS = 33
"""In the order of `data.keypoints.formats.MEDIAPIPE_33`; two more points say where the person's square is."""
VALUES = 5
"""Numbers of a point: x, y, depth (pixels of the crop), visibility and presence (before the sigmoid)."""
REGION_SCALE = 2.5
"""Side of a person's square over the distance from the hips to the furthest point: 2 would just hold it."""
KERNEL = 7
"""Cells of a heat map around a point, a side, that are averaged to make it exact."""
SURE = 0.5
"""Heat maps with a lower peak there leave the point where it is."""


@dataclass(frozen=True)
class BodyOptions:
    """How bodies are looked at."""

    looks: int = 2
    """How often somebody is looked at who was just found: the first square is laid around the 17 points."""
    batch: int = 16
    """People at a time: limits memory in crowds."""


@dataclass(frozen=True, eq=False)
class Bodies:
    """Points of N people."""

    xy: Float[np.ndarray, "N 33 2"]
    """Pixels."""
    visibility: Float[np.ndarray, "N 33"]
    """In [0, 1], as the network says."""
    presence: Float[np.ndarray, " N"]
    """How sure the network is that there is a person, in [0, 1]."""
    regions: Regions
    """Where the network says that the next look should be."""

    def __getitem__(self, which: Int[np.ndarray, " M"]) -> Bodies:
        return Bodies(self.xy[which], self.visibility[which], self.presence[which], self.regions[which])


def read_bodies(
    network: Network, picture: Picture, regions: Regions, options: BodyOptions, device: torch.device, looks: int
) -> Bodies:
    """BlazePose's points of people in squares; after each look the squares are taken anew from its points."""
    xy, values, presence = np.zeros((0, POINTS + 2, 2)), np.zeros((0, POINTS + 2, 3)), np.zeros(0)
    for _ in range(looks if len(regions) else 0):
        values, presence = _look(network, picture, regions, options.batch, device)
        xy = regions.to_picture(values[..., :2])
        regions = Regions.around(xy[:, POINTS], xy[:, POINTS + 1], REGION_SCALE)
    return Bodies(xy[:, :POINTS], values[:, :POINTS, 2], presence, regions)


def first_regions(people: People) -> Regions:
    """Squares around the middle of the hips that hold everything seen; the shoulders say which way is up."""
    hips, shoulders = people.xy[:, HIPS].mean(axis=1), people.xy[:, SHOULDERS].mean(axis=1)
    reach = np.linalg.norm(people.xy - hips[:, None], axis=-1)
    seen = people.confidence >= SEEN
    furthest = np.where(seen, reach, 0).max(axis=1, initial=0)
    trunk = np.linalg.norm(shoulders - hips, axis=1)
    radius = np.maximum(furthest * 1.1, trunk * 1.5)  # feet and the top of the head lie beyond ankles and eyes
    up = (shoulders - hips) / np.maximum(trunk, 1e-6)[:, None]
    return Regions.around(hips, hips + up * radius[:, None], REGION_SCALE)


def _look(
    network: Network, picture: Picture, regions: Regions, batch: int, device: torch.device
) -> tuple[Float[np.ndarray, "N 35 3"], Float[np.ndarray, " N"]]:
    """Shares of the square's side and visibility of 35 points; presence."""
    values, presence = np.zeros((len(regions), POINTS + 2, 3)), np.zeros(len(regions))
    for i in range(0, len(regions), batch):
        crops = picture.crops(regions[i : i + batch], network.input_size).to(device)
        out = network(crops)
        landmarks = out["landmarks"].reshape(len(crops), -1, VALUES)
        share = _made_exact(landmarks[..., :2] / network.input_size, torch.sigmoid(out["heatmaps"]))
        both = torch.cat([share, torch.sigmoid(landmarks[..., 3:4])], dim=-1)
        values[i : i + batch] = both[:, : POINTS + 2].double().cpu().numpy()
        presence[i : i + batch] = out["presence"].reshape(-1).double().cpu().numpy()
    return values, presence


def _made_exact(share: Float[Tensor, "N K 2"], heatmaps: Float[Tensor, "N h w K"]) -> Float[Tensor, "N K 2"]:
    """Points moved to the centre of mass of their heat map around them, where that is sure."""
    maps = heatmaps.permute(0, 3, 1, 2)
    height, width = maps.shape[2:]
    column, row = (share[..., 0] * width).long(), (share[..., 1] * height).long()
    reach = torch.arange(KERNEL, device=maps.device) - KERNEL // 2
    rows, columns = row[..., None, None] + reach[:, None], column[..., None, None] + reach
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    places = (rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)).flatten(2)
    weight = maps.flatten(2).gather(2, places).reshape(inside.shape) * inside
    total = weight.sum((2, 3)).clamp(min=1e-9)
    mean = torch.stack(
        [(weight * columns).sum((2, 3)) / total / width, (weight * rows).sum((2, 3)) / total / height], -1
    )
    sure = (weight.amax((2, 3)) >= SURE) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return torch.where(sure[..., None], mean, share)
