"""Gradient descent on one energy per row of a batch, for small problems in the latent space."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def descend(
    energy: Callable[[Tensor], Float[Tensor, "*batch"]],
    start: Float[Tensor, "*batch D"],
    *,
    steps: int = 80,
    rate: float = 0.1,
) -> Float[Tensor, "*batch D"]:
    """Minimise one energy per row (Adam, learning rate falling to zero); rows do not influence each other."""
    x = start.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([x], rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        energy(x).sum().backward()
        optimizer.step()
        schedule.step()
    return x.detach()
