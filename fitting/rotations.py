"""Derivatives of axis-angle rotations that roma does not have: the left Jacobian of SO(3) and its inverse.

For R = exp([r]_x): d exp([r + dr]_x) = [J_l(r) dr]_x exp([r]_x) to first order (Sola et al. 2018, eq. 145 and 146).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def cross_matrix(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """[v]_x with [v]_x w = v x w."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def left_jacobian(rotvec: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """J_l(r): small rotation of the result, in the fixed frame, per small change of r."""
    square = (rotvec * rotvec).sum(-1)[..., None, None]
    small = square < 1e-4
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    first = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / safe)
    second = torch.where(small, 1 / 6 - square / 120, (angle - angle.sin()) / (safe * angle))
    skew = cross_matrix(rotvec)
    return torch.eye(3, dtype=rotvec.dtype, device=rotvec.device) + first * skew + second * (skew @ skew)


def inverse_left_jacobian(rotvec: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """J_l(r)^-1, finite for angles below 2 pi."""
    square = (rotvec * rotvec).sum(-1)[..., None, None]
    small = square < 1e-4
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    half = angle / 2
    second = torch.where(small, 1 / 12 + square / 720, (1 - half * half.cos() / half.sin()) / safe)
    skew = cross_matrix(rotvec)
    return torch.eye(3, dtype=rotvec.dtype, device=rotvec.device) - skew / 2 + second * (skew @ skew)
