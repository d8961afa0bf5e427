"""Feet and the floor: the points of the feet that can touch it, and the plane that those of many moments lie in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.landmark_places import has_landmark

FOOT_POINTS = tuple(f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel"))
"""Points on the skin of both feet, three each."""
SEEN_BY = ("ankle", "big_toe", "small_toe", "heel")
"""Keypoints of a side of which one must be seen, else where that foot is nobody knows."""
_ROUNDS = 20


@dataclass(frozen=True)
class GroundChoice:
    """Whether feet are held on the ground, and what is known of it."""

    on: bool = False
    """Feet that rest do not slide, and stand on a common floor."""
    gravity: tuple[float, float, float] | None = None
    """Which way things fall, in the frame of the fit: the camera's (x right, y down, z forward), or the world's of
    several cameras; None: unknown."""

    @property
    def up(self) -> tuple[float, float, float] | None:
        """Against gravity, unit length; None: unknown.

        Raises:
            BodyfitError: for a gravity that is no direction.
        """
        if self.gravity is None:
            return None
        length = math.sqrt(sum(value * value for value in self.gravity))
        if not 0 < length < math.inf:
            raise BodyfitError(f"--gravity is {self.gravity}. Expected a direction, such as 0 1 0: not zero, finite.")
        x, y, z = (-value / length for value in self.gravity)
        return x, y, z


@dataclass(frozen=True)
class Floor:
    """A plane that people stand on."""

    normal: tuple[float, float, float]
    """Unit length, pointing up, in the frame of the fit (the camera's, or the world's)."""
    offset_m: float
    """normal . point = offset for points of the floor, m."""
    source: str = ""
    """What it was found from."""

    def height(self, points: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B"]:
        """Height of points above the floor, m."""
        return points @ points.new_tensor(self.normal) - self.offset_m

    def to_array(self) -> Float[np.ndarray, " 4"]:
        """Normal and offset."""
        return np.array([*self.normal, self.offset_m])


class Feet:
    """The points of the feet that can touch the floor.

    Args:
        body: the body.
        model: landmarks, with FOOT_POINTS among them as far as the body has them.

    Attributes:
        landmarks: places of the points among the model's landmarks.
        side: 0 for points of the left foot, 1 for those of the right.
        clearance_m: height of each point above the sole of a foot that stands flat, on the mean body.
    """

    def __init__(self, body: BodyModel, model: LandmarkModel):
        names = [name for name in FOOT_POINTS if name in model.names]
        like = {"device": model.device}
        self.landmarks = torch.tensor([model.names.index(name) for name in names], dtype=torch.long, **like)
        self.side = torch.tensor([int(name.startswith("right")) for name in names], dtype=torch.long, **like)
        self.clearance_m = torch.tensor([_clearance(body, n) for n in names], dtype=model.dtype, **like)

    def __len__(self) -> int:
        return len(self.landmarks)


def foot_points(body: BodyModel) -> tuple[str, ...]:
    """Those of FOOT_POINTS that a body has."""
    return tuple(name for name in FOOT_POINTS if has_landmark(body, name))


def seen_sides(weights: Float[Tensor, "B K"], names: Sequence[str]) -> Bool[Tensor, "B 2"]:
    """Whether anything was seen of the left and of the right foot.

    Args:
        weights: of keypoints; 0 where unseen.
        names: of the keypoints.
    """
    sides = [
        weights[:, [n for n, name in enumerate(names) if name in {f"{side}_{part}" for part in SEEN_BY}]]
        for side in ("left", "right")
    ]
    return torch.stack([(some > 0).any(1) for some in sides], 1)


def _clearance(body: BodyModel, name: str) -> float:
    """How high a point is above the lowest skin of its foot, with the body at rest."""
    here = body.v_template[body.extra_vertex_ids[name], 1]
    foot = [body.joint_names.index(f"{name.split('_')[0]}_{joint}") for joint in ("ankle", "foot")]
    skin = body.v_template[body.weights[:, foot].sum(1) > 0.5, 1]
    return float(here - skin.min())


def fit_plane(
    points: Float[Tensor, "N 3"],
    weights: Float[Tensor, " N"],
    up: Float[Tensor, " 3"],
    *,
    up_sigma: float,
    spread_m: float,
) -> tuple[Float[Tensor, " 3"], Float[Tensor, ""], Float[Tensor, " N"]]:
    """The plane that most points lie in, near a given direction of its normal.

    Geman-McClure weights let go of points that lie elsewhere; they narrow from four times the scale.

    Args:
        points: in metres.
        weights: of each point.
        up: unit vector, what is known of the normal beforehand.
        up_sigma: how well, rad.
        spread_m: how far points of the plane are from it.

    Returns:
        normal (unit length, on the side of `up`), offset, and the share of its weight that each point kept.
    """
    points, weights, up = points.double(), weights.double(), up.double()
    normal, scale = up, 4 * spread_m
    offset = _weighted_median(points @ up, weights)
    kept = torch.ones_like(weights)
    for _ in range(_ROUNDS):
        away = points @ normal - offset
        kept = (1 + (away / scale).square()).pow(-2)
        trust = weights * kept
        middle = (trust[:, None] * points).sum(0) / trust.sum().clamp_min(1e-12)
        normal = _normal(points - middle, trust, up, spread_m / up_sigma)
        offset = middle @ normal
        scale = max(0.7 * scale, 2 * spread_m)
    return normal, offset, kept


def _normal(away: Tensor, trust: Tensor, up: Tensor, lever_m: float) -> Float[Tensor, " 3"]:
    """The normal of least squares with a Gaussian about `up`: small tilts in two directions across it."""
    first = torch.linalg.cross(up, torch.eye(3).to(up)[int(up.abs().argmin())])
    first = first / first.norm()
    across = torch.stack([first, torch.linalg.cross(up, first)], 1)  # (3, 2)
    # Least squares of up.p + tilt.(across^T p), tilts weighted as if points lay one lever away.
    flat, high = away @ across, away @ up
    matrix = (trust[:, None] * flat).T @ flat + lever_m**2 * torch.eye(2).to(up)
    tilt = torch.linalg.solve(matrix, -(trust[:, None] * flat).T @ high)
    normal = up + across @ tilt
    return normal / normal.norm()


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    order = values.argsort()
    total = weights[order].cumsum(0)
    return values[order[int(torch.searchsorted(total, total[-1] / 2).clamp(max=len(values) - 1))]]
