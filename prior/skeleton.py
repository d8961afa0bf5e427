"""Forward kinematics of one fixed skeleton: what turns joint rotations into joint positions, without a mesh.

Training and most measures need positions, because an error of five degrees at the hip matters more than at the wrist.
They do not need a mesh: 22 joints and the orientation of the bone at each say the same at a hundredth of the cost.
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.prior.parts import PARENTS

# Offset of each joint from its parent in the rest pose (arms out, y up, x to the body's left), metres.
REST_OFFSETS: tuple[tuple[float, float, float], ...] = (
    (0.000, 0.000, 0.000),  # pelvis
    (0.060, -0.090, 0.000),  # left_hip
    (-0.060, -0.090, 0.000),  # right_hip
    (0.000, 0.110, -0.020),  # spine1
    (0.045, -0.385, -0.005),  # left_knee
    (-0.045, -0.385, -0.005),  # right_knee
    (0.000, 0.130, 0.000),  # spine2
    (-0.015, -0.400, -0.035),  # left_ankle
    (0.015, -0.400, -0.035),  # right_ankle
    (0.000, 0.055, 0.025),  # spine3
    (0.040, -0.060, 0.125),  # left_foot
    (-0.040, -0.060, 0.125),  # right_foot
    (0.000, 0.170, -0.045),  # neck
    (0.045, 0.085, -0.030),  # left_collar
    (-0.045, 0.085, -0.030),  # right_collar
    (0.000, 0.160, 0.035),  # head
    (0.120, 0.050, -0.010),  # left_shoulder
    (-0.120, 0.050, -0.010),  # right_shoulder
    (0.255, -0.010, -0.025),  # left_elbow
    (-0.255, -0.010, -0.025),  # right_elbow
    (0.250, 0.000, 0.000),  # left_wrist
    (-0.250, 0.000, 0.000),  # right_wrist
)


@lru_cache(maxsize=8)
def _offsets(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(REST_OFFSETS, dtype=dtype, device=device)


def forward_kinematics(
    rotations: Float[Tensor, "*batch 21 3 3"],
) -> tuple[Float[Tensor, "*batch 22 3"], Float[Tensor, "*batch 22 3 3"]]:
    """Positions (metres, pelvis at the origin) and global orientations of the 22 joints; the pelvis is not turned."""
    offsets = _offsets(rotations.dtype, rotations.device)
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device).expand(*rotations.shape[:-3], 3, 3)
    positions, orientations = [offsets[0].expand(*rotations.shape[:-3], 3)], [identity]
    for joint in range(1, len(PARENTS)):
        parent = PARENTS[joint]
        positions.append(positions[parent] + orientations[parent] @ offsets[joint])
        orientations.append(orientations[parent] @ rotations[..., joint - 1, :, :])
    return torch.stack(positions, dim=-2), torch.stack(orientations, dim=-3)
