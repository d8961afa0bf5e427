"""The terms of the energy, each a small pure function: weighted residuals and, where they are rows, their derivative.

Residuals are in units in which one is a typical error, so that their squares add up to a cost without further factors.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.energy.so3 import inverse_left_jacobian

BENDING_JOINTS = ("left_elbow", "right_elbow", "left_knee", "right_knee")
BENDING_AXES = (1, 1, 0, 0)  # elbows bend about y, knees about x
BENDING_SIGNS = (1.0, -1.0, -1.0, -1.0)  # exp(sign * angle) grows where the joint bends the wrong way


def reprojection(
    points_px: Float[Tensor, "B K 2"], targets_px: Float[Tensor, "B K 2"], unit_px: Float[Tensor, " B"]
) -> Float[Tensor, "B K 2"]:
    """Distance from the detected to the projected point, in units of `unit_px`."""
    return (points_px - targets_px) / unit_px[:, None, None]


def relative(residuals: Float[Tensor, "B K 2"], anchor: int, members: Tensor) -> Float[Tensor, "B M 2"]:
    """Reprojection residuals of the members less their anchor's: where they stand relative to it (root-relative hands).

    Linear in the residuals, so the same function turns their Jacobian (B, K, 2, D) into that of the relative ones.
    """
    return residuals.index_select(1, members) - residuals[:, anchor : anchor + 1]


def gaussian(
    values: Float[Tensor, "B D"], mean: Float[Tensor, "#B D"] | float, sigma: Float[Tensor, " D"] | float
) -> Float[Tensor, "B D"]:
    """Standard deviations of each value from its mean: shape, expression, jaw, hands, the unit pose prior, depth."""
    return (values - mean) / sigma


def mahalanobis(
    latent: Float[Tensor, "B Z"], mean: Float[Tensor, "*B Z"], whitener: Float[Tensor, "Z Z"]
) -> Float[Tensor, "B Z"]:
    """The pose prior as a Gaussian (the aggregate posterior or each person's predicted pose) of covariance L L^T:
    L^-1 (z - mean); its derivative is L^-1."""
    return (latent - mean) @ whitener.T


def bending(angles: Float[Tensor, "B 4"], signs: Float[Tensor, " 4"]) -> Float[Tensor, "B 4"]:
    """Elbows and knees bent the wrong way: exp(sign * angle), whose square SMPLify (Bogo et al. 2016) adds up."""
    return torch.exp(signs * angles)


def bending_tangent(
    rotvec: Float[Tensor, "B 4 3"], tangent: Float[Tensor, "B 4 3 Z"], axes: Float[Tensor, "4 3"]
) -> Float[Tensor, "B 4 Z"]:
    """Derivative of the four bending angles (axis-angle components) in the latent, from the joints' small rotations."""
    turn = (axes[:, None] @ inverse_left_jacobian(rotvec))[..., 0, :]  # (B, 4, 3)
    return (turn[..., None, :] @ tangent)[..., 0, :]
