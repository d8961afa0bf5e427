"""Axis-angle rotations with derivatives, which roma does not have: the left Jacobian of SO(3) and its inverse.

For R = exp([r]_x): d exp([r + dr]_x) = [J_l(r) dr]_x exp([r]_x) to first order (Sola et al. 2018, eq. 145 and 146).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def cross_matrix(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """[v]_x with [v]_x w = v x w: its columns are v x e_c."""
    axes = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return torch.linalg.cross(vector[..., None].expand(*vector.shape, 3), axes.expand(*vector.shape, 3), dim=-2)


def exponential(
    rotvec: Float[Tensor, "*batch 3"], *, derivative: bool = True
) -> tuple[Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 3 3"] | None]:
    """R = exp([r]_x), and J_l(r): small rotation of R, in the fixed frame, per change of r; None where not wanted.

    With K = [r]_x and t = |r|, from their series and K^2 = r r^T - t^2:

        R   = cos t      + (sin t / t) K + a r r^T,      a = (1 - cos t) / t^2 = (sin(t/2) / (t/2))^2 / 2,
        J_l = sin t / t  +           a K + b r r^T,      b = (t - sin t) / t^3.

    Both in one go, for all joints at once: in small batches the number of operations is what costs. In large ones it is
    memory: numbers of the same row and column stand side by side in it.
    """
    across = rotvec.movedim(-1, 0).contiguous()  # (3, *batch)
    square = (across * across).sum(0)
    angle = square.clamp_min(torch.finfo(rotvec.dtype).tiny).sqrt()
    sinc, half_sinc = torch.sinc(angle / math.pi), torch.sinc(angle / (2 * math.pi))
    a = 0.5 * half_sinc * half_sinc
    outer, eye = across[:, None] * across, torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    x, y, z = across.unbind(0)
    none = torch.zeros_like(x)
    skew = torch.stack([none, -z, y, z, none, -x, -y, x, none]).unflatten(0, (3, 3))
    eye = eye.view(3, 3, *[1] * square.dim())

    def matrix(one: Tensor, turn: Tensor, twice: Tensor) -> Float[Tensor, "*batch 3 3"]:
        return torch.addcmul(torch.addcmul(one * eye, turn, skew), twice, outer).movedim((0, 1), (-2, -1)).contiguous()

    if not derivative:
        return matrix(angle.cos(), sinc, a), None
    series = 1 / 6 - square * (1 / 120 - square * (1 / 5040 - square / 362880))
    b = torch.where(square < 0.01, series, (1 - sinc) / square.clamp_min(0.01))
    return matrix(angle.cos(), sinc, a), matrix(sinc, a, b)


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
