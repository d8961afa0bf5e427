"""Body poses in their three forms: axis-angle (..., 63), rotation matrices (..., 21, 3, 3) and 6D (..., 21, 3, 2)."""

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.prior.model.parts import MIRROR, NUM_BODY_JOINTS

AXIS_ANGLE_WIDTHS = {21: 63, 23: 69}


def body_joints_of(body_pose: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch 63"]:
    """The 21 joints of the prior. SMPL's body pose has 23: the last two are hand joints and are left out."""
    if body_pose.shape[-1] not in AXIS_ANGLE_WIDTHS.values():
        raise ValueError(
            f"body_pose must have 63 numbers (21 joints: SMPL-X, SMPL-H) or 69 (23 joints: SMPL) in its last "
            f"dimension, got shape {tuple(body_pose.shape)}"
        )
    return body_pose[..., : 3 * NUM_BODY_JOINTS]


def matrices_from_axis_angle(body_pose: Float[Tensor, "*batch 63"]) -> Float[Tensor, "*batch 21 3 3"]:
    """Rotation matrices of an axis-angle body pose (radians)."""
    return roma.rotvec_to_rotmat(body_pose.unflatten(-1, (-1, 3)))


def axis_angle_from_matrices(rotations: Float[Tensor, "*batch 21 3 3"]) -> Float[Tensor, "*batch 63"]:
    """Axis-angle body pose (radians, angles up to pi) of rotation matrices."""
    return roma.rotmat_to_rotvec(rotations).flatten(-2)


def matrices_from_6d(columns: Float[Tensor, "*batch 21 3 2"]) -> Float[Tensor, "*batch 21 3 3"]:
    """Gram-Schmidt of two columns (Zhou et al., CVPR 2019): b1 = a1/|a1|, b2 = the part of a2 orthogonal to b1,
    normalised, b3 = b1 x b2."""
    return roma.special_gramschmidt(columns)


def rotation_angles(
    a: Float[Tensor, "*batch joints 3 3"], b: Float[Tensor, "*batch joints 3 3"]
) -> Float[Tensor, "*batch joints"]:
    """Angle in radians between rotations, with a finite gradient where they are equal.

    The chord |a - b|_F = 2 sqrt(2) sin(angle / 2) is inverted, which is accurate for small angles where the usual
    arccos of the trace is not.
    """
    chord_squared = (a - b).square().sum(dim=(-2, -1)) / 8
    return 2 * torch.asin((chord_squared + 1e-12).sqrt().clamp(max=1 - 1e-6))


def mirror(rotations: Float[Tensor, "*batch 21 3 3"]) -> Float[Tensor, "*batch 21 3 3"]:
    """The mirrored pose: left and right exchanged, each rotation reflected in the body's x = 0 plane."""
    flip = torch.tensor([-1.0, 1.0, 1.0], dtype=rotations.dtype, device=rotations.device)
    return rotations[..., MIRROR, :, :] * flip[:, None] * flip


def mirror_half(
    rotations: Float[Tensor, "B 21 3 3"], generator: torch.Generator | None = None
) -> Float[Tensor, "B 21 3 3"]:
    """Mirror a random half of the batch (augmentation)."""
    chosen = torch.rand(len(rotations), device=rotations.device, generator=generator) < 0.5
    return torch.where(chosen[:, None, None, None], mirror(rotations), rotations)
