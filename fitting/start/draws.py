"""Random numbers for many people at once, from one generator, and constants beside them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor


class Draw:
    """Random numbers for `count` people from one generator, drawn where it is and carried to the device."""

    def __init__(self, count: int, generator: torch.Generator, dtype: torch.dtype, device: torch.device):
        self.count, self.generator, self.to = count, generator, {"dtype": dtype, "device": device}
        self.from_generator = {"generator": generator, "device": generator.device}

    def constant(self, values: tuple | np.ndarray) -> Tensor:
        """Numbers as a tensor; those of a tuple are not copied again, since every copy waits for the device."""
        if isinstance(values, tuple):
            return constant(values, **self.to)
        return torch.as_tensor(values, **self.to)

    def normal(self, *shape: int) -> Tensor:
        """Of the standard normal distribution."""
        return torch.randn(shape, **self.from_generator).to(**self.to)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Evenly between two numbers."""
        return (low + (high - low) * torch.rand(shape, **self.from_generator)).to(**self.to)

    def integers(self, below: int) -> Tensor:
        """One per person, 0 to below - 1."""
        return torch.randint(below, (self.count,), **self.from_generator).to(self.to["device"])

    def chance(self, share: float, *columns: int) -> Bool[Tensor, "N ..."]:
        """True with this probability."""
        return (torch.rand(self.count, *columns, **self.from_generator) < share).to(self.to["device"])


@lru_cache(maxsize=256)
def constant(values: tuple, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of these numbers that is shared: it must not be changed in place."""
    return torch.as_tensor(np.asarray(values), dtype=dtype, device=device)
