"""The posterior of a person over time in memory: what `Track.sample` draws from.

It is the Gaussian whose blocks the covariances of a track come from: `certainty.counted`, as a block Cholesky factor,
evaluated when it is asked for, a window at a time, since it is ten times as large as all else of a track.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.results.motion_posterior import FactorRows
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.sequence.arrow_factor import Elimination
from bodyfit.fitting.sequence.arrow_system import in_order
from bodyfit.fitting.sequence.certainty import counted, seen_as
from bodyfit.fitting.sequence.contacts import Contacts
from bodyfit.fitting.sequence.windows import GroupSolver
from bodyfit.fitting.uncertainty.estimate import blocks_of
from bodyfit.fitting.uncertainty.temperature import OVERALL


@dataclass(frozen=True, eq=False)
class ClipPosterior:
    """A `MotionPosterior`."""

    solver: GroupSolver
    x: Float[Tensor, "T D"]
    """The solution."""
    contacts: Contacts | None
    """Where feet were held in it."""

    @property
    def blocks(self) -> str:
        """Of each moment's own unknowns."""
        return _blocks(self.solver.fitter.unknowns, shared=False)

    @property
    def shared_blocks(self) -> str:
        """Of the shape."""
        return _blocks(self.solver.fitter.unknowns, shared=True)

    @property
    def moments(self) -> int:
        """How many there are."""
        return len(self.x)

    @torch.no_grad()
    def factor(self) -> tuple[Float[np.ndarray, "S S"], Iterator[FactorRows]]:
        """As in `MotionPosterior`. Raises ValueError where the Hessian has no inverse."""
        solver = copy.copy(self.solver)
        solver.map = in_order  # the threads of the fit are gone
        hessian, deviation = counted(solver, self.x, self.contacts), OVERALL[seen_as(solver)] ** 0.5
        eliminated = hessian.eliminated(0, len(self.x))
        eye = torch.eye(len(eliminated.shared_factor)).to(eliminated.shared_factor)
        root = torch.linalg.solve_triangular(eliminated.shared_factor.mT, eye, upper=True)
        if hessian.shape_known:
            root = torch.zeros_like(root)
        return deviation * root.cpu().numpy(), _rows(eliminated, deviation)


def _rows(eliminated: Elimination, deviation: float) -> Iterator[FactorRows]:
    """The factor's rows; draws from it are larger by `deviation`."""
    windows = eliminated.backwards()
    while True:
        with torch.no_grad():  # not around a yield, where it would hold for others
            pairs = next(windows, None)
        if pairs is None:
            return
        parts = ([getattr(pair, name) for pair in pairs[2]] for name in ("factor", "above", "edge"))
        yield FactorRows(*((torch.stack(part) / deviation).cpu().numpy() for part in parts))


def _blocks(unknowns: Unknowns, *, shared: bool) -> str:
    mask = unknowns.layout.mask("betas")
    return blocks_of(unknowns, mask if shared else ~mask & ~unknowns.layout.mask("log_focal"))
