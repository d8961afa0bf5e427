"""People as other laboratories would have measured them: their skeletons have rest poses of their own.

Each laboratory converts its markers to joint angles in its own way: what one of them calls a straight back, dropped
shoulders or a level foot is a few degrees off in another. A prior and a start network know the laboratories that they
were trained on, and fits of anybody else are wrong by such differences, however many keypoints there are.
"""

from __future__ import annotations

import math

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.landmarks import JOINT_NAMES

BODY = JOINT_NAMES[1:22]
DEGREES: dict[str, tuple[float, float, float]] = {
    **{"spine1": (5, 0, 0), "spine2": (4, 0, 0), "spine3": (4, 0, 0), "neck": (8, 0, 0), "head": (6, 0, 0)},
    **{"collar": (12, 12, 12), "shoulder": (3, 3, 3), "elbow": (3, 3, 3), "wrist": (12, 12, 12)},
    **{"hip": (3, 3, 3), "knee": (3, 1, 1), "ankle": (5, 5, 5), "foot": (4, 1, 1)},
}
"""Standard deviations about the axes of each joint, left and right alike: between the means of standing people of the
training laboratories for trunk, neck and head; between independent conversions of the same motion for limbs; collars as
far as shoulders of people differ, since most of the training laboratories never measured them."""


def offsets(count: int, seed: int) -> Float[Tensor, "N 21 3"]:
    """Rotation vectors of laboratories drawn at random, mirrored between left and right."""
    draw = torch.Generator().manual_seed(seed)
    found = torch.zeros(count, len(BODY), 3)
    for place, name in enumerate(BODY):
        side, _, part = name.rpartition("_")
        if side == "right":
            found[:, place] = found[:, BODY.index(f"left_{part}")] * torch.tensor([1.0, -1.0, -1.0])
        else:
            sigma = torch.tensor(DEGREES[part]) * math.pi / 180
            found[:, place] = torch.randn(count, 3, generator=draw) * sigma
    return found


def measured_elsewhere(pose: Float[Tensor, "*N 21 3"], by: Float[Tensor, "*N 21 3"]) -> Float[Tensor, "*N 21 3"]:
    """Poses as laboratories with these offsets have them."""
    return roma.rotvec_composition([pose, by])


def who_is_elsewhere(count: int, share: float, seed: int) -> Bool[Tensor, " N"]:
    """Who of so many people is of another laboratory: a share of them, chosen at random."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed)) < share
