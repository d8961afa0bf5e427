"""Forward kinematics of one fixed skeleton: joint positions from joint rotations, without a mesh.

Training and most measures need positions, because an error of five degrees at the hip matters more than at the wrist.
They do not need a mesh: 22 joints and the orientation of each bone carry the same information at a hundredth of the
cost.
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.skeleton import PARENTS, REST_OFFSETS


@lru_cache(maxsize=8)
def _offsets(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(REST_OFFSETS, dtype=dtype, device=device)


def pose_skeleton(
    rotations: Float[Tensor, "*batch 21 3 3"],
) -> tuple[Float[Tensor, "*batch 22 3"], Float[Tensor, "*batch 22 3 3"]]:
    """Positions (metres, pelvis at the origin) and global orientations of the 22 joints; the pelvis is not rotated."""
    offsets = _offsets(rotations.dtype, rotations.device)
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device).expand(*rotations.shape[:-3], 3, 3)
    positions, orientations = [offsets[0].expand(*rotations.shape[:-3], 3)], [identity]
    for joint in range(1, len(PARENTS)):
        parent = PARENTS[joint]
        positions.append(positions[parent] + orientations[parent] @ offsets[joint])
        orientations.append(orientations[parent] @ rotations[..., joint - 1, :, :])
    return torch.stack(positions, dim=-2), torch.stack(orientations, dim=-3)


# Four points around each joint, the corners of a tetrahedron, at about the distance of the skin.
_SKIN = 0.06 * torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]) / 3**0.5


def skin_points(
    positions: Float[Tensor, "*batch 22 3"], orientations: Float[Tensor, "*batch 22 3 3"]
) -> Float[Tensor, "*batch 88 3"]:
    """Points attached to the bones, in place of mesh vertices: unlike joints, they depend on the twist of bones."""
    around = torch.einsum("...jab,pb->...jpa", orientations, _SKIN.to(positions))
    return (positions[..., None, :] + around).flatten(-3, -2)
