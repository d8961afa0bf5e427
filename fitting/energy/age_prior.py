"""The prior on a child's shape: about the average child of the age that the kid beta says."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.energy.age_curve import AgeCurve
from bodyfit.fitting.energy.terms import Evaluation, Term


class ShapeOfAge(Term):
    """(betas - those of the average child at the kid beta) / sigma.

    Args:
        columns: the shape numbers among the unknowns, the kid beta last.
        curve: the average children.
        sigma: how much children of one age differ.
    """

    name = "shape_of_age"

    def __init__(self, columns: slice, curve: AgeCurve, sigma: float):
        self.columns, self.curve, self.sigma = columns, curve, sigma
        self.rows = curve.betas.shape[1]

    def residuals(self, at: Evaluation) -> Float[Tensor, "B n"]:
        """In units of sigma."""
        return self.away(at.x[:, self.columns])[0]

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B n D"]) -> None:
        """One over sigma on the diagonal, the curve's slope for the kid beta."""
        out[..., self.columns] = self.away(at.x[:, self.columns])[1]

    def away(self, shape: Float[Tensor, "B n+1"]) -> tuple[Float[Tensor, "B n"], Float[Tensor, "B n n+1"]]:
        """Residuals and their Jacobian in the shape numbers alone."""
        mean, slope = self.curve.at(shape[:, -1])
        jacobian = torch.eye(self.rows, self.rows + 1).to(shape).expand(len(shape), -1, -1).clone()
        jacobian[..., -1] = -slope
        return (shape[:, :-1] - mean) / self.sigma, jacobian / self.sigma
