"""The rotations that a VPoser decoder gives, with their exact derivative in the latent (forward-mode).

The decoder is a chain of linear layers with LeakyReLU between them. Its Jacobian is carried forward from the latent:
each layer multiplies it by its weights, each activation by its slope at the value of the forward pass. The final 6D
outputs become rotations by Gram-Schmidt, whose derivative is taken as a small rotation omega, dR = [omega]_x R.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Layer = tuple[Tensor, Tensor, float | None]  # weight (out, in), bias (out,), slope of the LeakyReLU after it


def gram_schmidt(
    six: Float[Tensor, "*batch 3 2"],
) -> tuple[Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 3 6"]]:
    """Rotations from 6D (Zhou et al. 2019, columns a1 and a2) and the tangent that maps (da1, da2) to omega.

    With the orthonormal b1, b2, b3: omega.b3 = b2.db1, omega.b2 = -b3.db1, omega.b1 = b3.db2.
    """
    a1, a2 = six[..., 0], six[..., 1]
    length1 = a1.norm(dim=-1, keepdim=True).clamp_min(1e-8)
    b1 = a1 / length1
    along = (b1 * a2).sum(-1, keepdim=True)
    across = a2 - along * b1
    length2 = across.norm(dim=-1, keepdim=True).clamp_min(1e-8)
    b2 = across / length2
    b3 = torch.linalg.cross(b1, b2)
    rotation = torch.stack([b1, b2, b3], dim=-1)
    by_b3 = -b2 / length1 - b1 * along / (length1 * length2)
    from_a1 = by_b3[..., :, None] * b3[..., None, :] + (b3 / length1)[..., :, None] * b2[..., None, :]
    from_a2 = (b1 / length2)[..., :, None] * b3[..., None, :]
    return rotation, torch.cat([from_a1, from_a2], dim=-1)


def activation(hidden: Tensor, slope: float, softness: float) -> tuple[Tensor, Tensor]:
    """LeakyReLU and its derivative; with a softness, its kink is rounded over about that width.

    slope h + (1 - slope) softness log(1 + exp(h / softness)) tends to LeakyReLU as softness tends to zero.
    """
    if softness == 0:
        steepness = torch.where(hidden > 0, hidden.new_tensor(1.0), hidden.new_tensor(slope))
        return hidden * steepness, steepness
    rounded = torch.nn.functional.softplus(hidden, beta=1 / softness)
    steepness = slope + (1 - slope) * torch.sigmoid(hidden / softness)
    return slope * hidden + (1 - slope) * rounded, steepness


def decode(layers: list[Layer], latent: Float[Tensor, "B Z"], softness: float = 0.0) -> Float[Tensor, "B 21 3 3"]:
    """Rotations only."""
    hidden = latent
    for weight, bias, slope in layers:
        hidden = torch.addmm(bias, hidden, weight.T)
        if slope is not None:
            hidden, _ = activation(hidden, slope, softness)
    return gram_schmidt(hidden.unflatten(1, (-1, 3, 2)))[0]


def decode_with_tangent(
    layers: list[Layer], latent: Float[Tensor, "B Z"], softness: float = 0.0
) -> tuple[Float[Tensor, "B 21 3 3"], Float[Tensor, "B 21 3 Z"]]:
    """Rotations of the 21 body joints and omega per unit of each latent number, in the parent joint's frame.

    The exact decoder is piecewise linear, and its kinks slow a second-order solver down. With `softness` (see
    `activation`) it is a smooth approximation for the early stages of a fit.
    """
    batch, latent_dim = latent.shape
    hidden = latent
    carried = None  # d hidden / d latent, (B, Z, features): the products below are one large matrix product per layer
    for weight, bias, slope in layers:
        hidden = torch.addmm(bias, hidden, weight.T)
        if carried is None:
            carried = weight.T.expand(batch, latent_dim, -1)
        else:
            carried = (carried.reshape(batch * latent_dim, -1) @ weight.T).unflatten(0, (batch, latent_dim))
        if slope is not None:
            hidden, steepness = activation(hidden, slope, softness)
            carried = carried * steepness[:, None]
    rotation, tangent = gram_schmidt(hidden.unflatten(1, (-1, 3, 2)))
    # (B, Z, 21, 3, 2) -> columns a1 then a2 for each joint
    six = carried.unflatten(2, (-1, 3, 2)).permute(0, 2, 4, 3, 1).flatten(2, 3)  # (B, 21, 6, Z)
    return rotation, tangent @ six
