"""The rotations that a VPoser decoder gives, with their exact derivative in the latent (forward-mode).

The decoder is a chain of linear layers with LeakyReLU between them. Its Jacobian is carried forward from the latent:
each layer multiplies it by its weights, each activation by its slope at the value of the forward pass. The final 6D
outputs become rotations by Gram-Schmidt, whose derivative is taken as a small rotation omega, dR = [omega]_x R.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LEAST_ACROSS = 0.01
"""The length of a2 across a1 below which derivatives grow no more. Columns have lengths of about one; where they become
parallel, far from all poses of training, the rotation jumps, and one number of the latent would outweigh all others."""
Layer = tuple[Tensor, Tensor, float | None]  # weight (out, in), bias (out,), slope of the LeakyReLU after it


@dataclass(frozen=True)
class Orthonormal:
    """Gram-Schmidt of pairs of vectors, a1 and a2. The batch comes last: small vectors side by side in memory are
    several times faster to work on than one after the other."""

    axes: tuple[Float[Tensor, "J 3 B"], Float[Tensor, "J 3 B"], Float[Tensor, "J 3 B"]]
    """b1 along a1, b2 in the plane of both, and b3 = b1 x b2."""
    length1: Float[Tensor, "J 1 B"]
    """Of a1."""
    length2: Float[Tensor, "J 1 B"]
    """Of a2 without its part along b1 ..."""
    along: Float[Tensor, "J 1 B"]
    """... and that part."""

    @classmethod
    def of(cls, six: Float[Tensor, "J 3 2 B"]) -> Orthonormal:
        """Of 6D rotations (Zhou et al. 2019), a1 and a2 in their columns."""
        a1, a2 = six.unbind(2)
        length1 = a1.square().sum(1, keepdim=True).sqrt().clamp_min(1e-8)
        b1 = a1 / length1
        along = (b1 * a2).sum(1, keepdim=True)
        across = a2 - along * b1
        length2 = across.square().sum(1, keepdim=True).sqrt().clamp_min(1e-8)
        b2 = across / length2
        return cls((b1, b2, torch.linalg.cross(b1, b2, dim=1)), length1, length2, along)

    def rotation(self) -> Float[Tensor, "B J 3 3"]:
        """The rotations whose columns are the axes."""
        return torch.stack(self.axes, dim=2).permute(3, 0, 1, 2)

    def tangent(self) -> Float[Tensor, "B J 3 6"]:
        """What maps (da1_x, da2_x, da1_y, ...), as the decoder orders them, to the small rotation omega.

        omega.b3 = b2.db1, omega.b2 = -b3.db1, omega.b1 = b3.db2. Exact but for columns that are parallel within
        `LEAST_ACROSS`.
        """
        b1, b2, b3 = self.axes
        across = self.length2.clamp_min(LEAST_ACROSS)
        by_b3 = -b2 / self.length1 - b1 * self.along / (self.length1 * across)
        from_a1 = by_b3[:, :, None] * b3[:, None] + (b3 / self.length1)[:, :, None] * b2[:, None]
        from_a2 = (b1 / across)[:, :, None] * b3[:, None]
        return torch.stack([from_a1, from_a2], dim=3).flatten(2, 3).permute(3, 0, 1, 2)


def orthonormal(hidden: Float[Tensor, "B 6J"]) -> Orthonormal:
    """Of what the decoder's last layer gives."""
    return Orthonormal.of(hidden.T.contiguous().unflatten(0, (-1, 3, 2)))


def activation(hidden: Tensor, slope: float, softness: float) -> Tensor:
    """LeakyReLU; with a softness, its kink is rounded over about that width.

    slope h + (1 - slope) softness log(1 + exp(h / softness)) tends to LeakyReLU as softness tends to zero.
    """
    if softness == 0:
        return torch.nn.functional.leaky_relu(hidden, slope)
    rounded = torch.nn.functional.softplus(hidden, beta=1 / softness)
    return torch.add(slope * hidden, rounded, alpha=1 - slope)


def steepness(hidden: Tensor, slope: float, softness: float) -> Tensor:
    """The derivative of `activation`."""
    above = (hidden > 0).to(hidden) if softness == 0 else torch.sigmoid(hidden / softness)
    return slope + (1 - slope) * above


def decode(layers: list[Layer], latent: Float[Tensor, "B Z"], softness: float = 0.0) -> Float[Tensor, "B 21 3 3"]:
    """Rotations only."""
    hidden = latent
    for weight, bias, slope in layers:
        hidden = torch.addmm(bias, hidden, weight.T)
        if slope is not None:
            hidden = activation(hidden, slope, softness)
    return orthonormal(hidden).rotation()


def decode_with_tangent(
    layers: list[Layer], latent: Float[Tensor, "B Z"], softness: float = 0.0
) -> tuple[Float[Tensor, "B 21 3 3"], Float[Tensor, "B 21 3 Z"]]:
    """Rotations of the 21 body joints and omega per unit of each latent number, in the parent joint's frame.

    The exact decoder is piecewise linear, and its kinks slow a second-order solver down. With `softness` (see
    `activation`) it is a smooth approximation for the early stages of a fit.
    """
    batch = len(latent)
    hidden = latent
    carried = None  # d hidden / d latent, (B, features, Z)
    for weight, bias, slope in layers:
        hidden = torch.addmm(bias, hidden, weight.T)
        each = weight.expand(batch, -1, -1)
        carried = each if carried is None else torch.bmm(each, carried)
        if slope is not None:
            carried = carried * steepness(hidden, slope, softness)[..., None]
            hidden = activation(hidden, slope, softness)
    last = orthonormal(hidden)
    return last.rotation(), last.tangent() @ carried.unflatten(1, (-1, 6))
