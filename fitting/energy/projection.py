"""The pinhole camera: projection, its derivative, and the translation that fits points to pixels in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

NEAREST_M = 0.05  # points nearer than this to the camera plane cannot be seen


def project(
    points: Float[Tensor, "B K 3"], focal_px: Float[Tensor, " B"], center_px: Float[Tensor, "B 2"]
) -> Float[Tensor, "B K 2"]:
    """Pixels of points in the camera frame (x right, y down, z forward, metres)."""
    return focal_px[:, None, None] * points[..., :2] / points[..., 2:] + center_px[:, None]


def projection_jacobian(points: Float[Tensor, "B K 3"], focal_px: Float[Tensor, " B"]) -> Float[Tensor, "B K 2 3"]:
    """Derivative of the pixel in the point, px/m."""
    x, y, z = points.unbind(-1)
    scale = focal_px[:, None] / z
    zero = torch.zeros_like(z)
    rows = [scale, zero, -scale * x / z, zero, scale, -scale * y / z]
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 3))


def solve_translation(
    points: Float[Tensor, "B K 3"],
    targets_px: Float[Tensor, "B K 2"],
    weights: Float[Tensor, "B K"],
    focal_px: Float[Tensor, " B"],
    center_px: Float[Tensor, "B 2"],
) -> Float[Tensor, "B 3"]:
    """The translation that best takes untranslated points onto their pixels, as a linear least-squares problem.

    u (z + t_z) = f (x + t_x) and v (z + t_z) = f (y + t_y), with (u, v) from the principal point, are linear in t. All
    weighted points take part, so depth comes from the extent of the whole body, not of the torso alone. Where the
    points do not fix the depth (all at one place) or would put it behind the camera, it is that of a body whose
    weighted spread in metres matches that in pixels.
    """
    ray = (targets_px - center_px[:, None]) / focal_px[:, None, None]  # (B, K, 2)
    zero, one = torch.zeros_like(weights), torch.ones_like(weights)
    rows_x = torch.stack([one, zero, -ray[..., 0]], dim=-1)
    rows_y = torch.stack([zero, one, -ray[..., 1]], dim=-1)
    matrix = torch.stack([rows_x, rows_y], dim=2).flatten(1, 2)  # (B, 2K, 3)
    right = (ray * points[..., 2:] - points[..., :2]).flatten(1, 2)
    weight = weights.repeat_interleave(2, dim=1)[..., None]
    normal = matrix.transpose(1, 2) @ (weight * matrix)
    normal = normal + 1e-9 * torch.eye(3, dtype=normal.dtype, device=normal.device) * weights.sum(1)[:, None, None]
    transl = torch.linalg.solve_ex(normal, matrix.transpose(1, 2) @ (weight * right[..., None]))[0][..., 0]
    share = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
    spread_depth = _spread(points[..., :2], share) / _spread(ray, share).clamp_min(1e-9)
    nearest = transl[:, 2] + points[..., 2].amin(1)
    bad = ~torch.isfinite(transl).all(1) | (nearest < 0.3) | (transl[:, 2] > 4 * spread_depth + 1)
    middle_point = (share[..., None] * points).sum(1)
    middle_ray = (share[..., None] * ray).sum(1)
    depth = (spread_depth + points[..., 2].amin(1).abs()).clamp(0.5, 1e3)
    fallback = torch.cat([middle_ray * depth[:, None] - middle_point[:, :2], depth[:, None]], dim=1)
    return torch.where(bad[:, None], fallback, transl)


def _spread(points: Float[Tensor, "B K 2"], share: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
    middle = (share[..., None] * points).sum(1, keepdim=True)
    return (share * ((points - middle) ** 2).sum(-1)).sum(1).sqrt()
