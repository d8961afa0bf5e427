"""Poses made from poses while training: mirrored, with limbs exchanged between people, with collars given life.

Each works on rotation matrices (B, 21, 3, 3) and draws from the generator it is given.
"""

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.prior.model import parts

_EXCHANGED_PARTS = (
    parts.LEFT_LEG + parts.RIGHT_LEG,
    parts.LEFT_ARM,
    parts.RIGHT_ARM,
    parts.joint_indices("neck", "head"),
)
_COLLARS = parts.joint_indices("left_collar", "right_collar")
_WRISTS = parts.joint_indices("left_wrist", "right_wrist")


def exchange_limbs(
    rotations: Float[Tensor, "B 21 3 3"], probability: float, generator: torch.Generator | None = None
) -> Float[Tensor, "B 21 3 3"]:
    """With this probability each, give a pose the legs, an arm or the head of another pose of the batch.

    A limb's possible rotations do not depend on the other limbs', and a small collection shows few of the combinations.
    """
    result = rotations.clone()
    for part in _EXCHANGED_PARTS:
        chosen = _coin(rotations, probability, generator)
        donors = torch.randperm(len(rotations), generator=generator, device=rotations.device)
        joints = torch.tensor(part, device=rotations.device)
        result[:, joints] = torch.where(chosen[:, None, None, None], rotations[donors][:, joints], result[:, joints])
    return result


def fill_still_joints(
    rotations: Float[Tensor, "B 21 3 3"], spread: float, generator: torch.Generator | None = None
) -> Float[Tensor, "B 21 3 3"]:
    """Turn collars and wrists that are exactly at rest by a random angle (radians, per axis).

    Zero means that the capture's skeleton had no such joint, not that people hold it still; without this a prior learns
    that collars do not move.
    """
    joints = torch.tensor(_COLLARS + _WRISTS, device=rotations.device)
    selected = rotations[:, joints]
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    still = (selected - identity).abs().amax(dim=(-2, -1)) < 1e-5
    noise = spread * torch.randn(
        *selected.shape[:2], 3, dtype=rotations.dtype, device=rotations.device, generator=generator
    )
    result = rotations.clone()
    result[:, joints] = torch.where(still[..., None, None], roma.rotvec_to_rotmat(noise), selected)
    return result


def _coin(rotations: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    return torch.rand(len(rotations), device=rotations.device, generator=generator) < probability
