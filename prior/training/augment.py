"""Augmentation: mirrored poses, limbs exchanged between poses, random rotations for joints that were not captured.

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
    """With this probability each, replace the legs, an arm or the head by those of another pose of the batch.

    The range of one limb hardly depends on the others, and a small collection contains few of the combinations.
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
    """Rotate collars and wrists that are exactly at rest by a random angle (radians, per axis).

    Zero means that the captured skeleton had no such joint, not that it does not move, which the prior would learn
    otherwise.
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
