"""What is expected of the shape that all moments of a person share: the priors of single fits, counted once or a little
more."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.energy.age_prior import ShapeOfAge
from bodyfit.fitting.energy.terms import Gaussian, Term


class ShapePrior:
    """The Gaussian on betas and, of children, the distance from the average child of the age that they say.

    Args:
        terms: those of a single fit, these two among them.
        times: how often they count.
    """

    NAMES = ("betas", ShapeOfAge.name)

    def __init__(self, terms: Sequence[Term], times: float):
        self.betas = next(term for term in terms if isinstance(term, Gaussian) and term.name == "betas")
        self.of_age = next((term for term in terms if isinstance(term, ShapeOfAge)), None)
        self.times = times

    def at(self, shape: Float[Tensor, " S"]) -> tuple[Float[Tensor, " R"], Float[Tensor, "R S"]]:
        """Residuals at a shape, and their Jacobian."""
        slope = self.times**0.5 / self.betas.sigma
        residuals, jacobian = (shape - self.betas.mean) * slope, torch.diag(slope)
        if self.of_age is not None:
            away, turn = self.of_age.away(shape[None])
            residuals = torch.cat([residuals, self.times**0.5 * away[0]])
            jacobian = torch.cat([jacobian, self.times**0.5 * turn[0]])
        return residuals, jacobian

    def information(self, shape: Float[Tensor, " S"]) -> Float[Tensor, "S S"]:
        """J^T J: the inverse of the covariance that it leaves the shape by itself."""
        jacobian = self.at(shape)[1]
        return jacobian.mT @ jacobian
