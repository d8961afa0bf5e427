"""Diagonal blocks of the inverse of an arrow system: how sure each moment is, without the inverse as a whole.

With the factor's rows L_n, B'_n = L_n^-1 B_n and e'_n = L_n^-1 e_n (`arrow_factor`), from the last pair back

    (A^-1)_nn = L_n^-T L_n^-1 + K_n (A^-1)_{n+1,n+1} K_n^T      K_n = L_n^-T B'_n
    Y_n       = L_n^-T (e'_n - B'_n Y_{n+1})                    Y = A^-1 E

(Takahashi 1973; exact). With Schur's complement S of the shared unknowns, the inverse of the whole has the blocks
(A^-1)_nn + Y_n S^-1 Y_n^T of moments, -Y_n S^-1 between them and the shared ones, and S^-1. Blocks are in the precision
of the system: the factor needs double precision, these sums of squares do not, and Y_n S^-1 Y_n^T, the depth that all
moments share, is no part of the recursion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.sequence.arrow_factor import Elimination, Pair


@dataclass(frozen=True)
class Marginal:
    """Covariances of consecutive moments."""

    first: int
    own: Float[Tensor, "W D D"]
    """Of each moment's own unknowns."""
    cross: Float[Tensor, "W D S"]
    """Between these and the shared ones."""
    shared: Float[Tensor, "S S"]


def marginals(elimination: Elimination, *, shared_known: bool = False) -> Iterator[Marginal]:
    """Covariances of all moments, window by window from the last to the first.

    Args:
        elimination: of the whole.
        shared_known: the shared unknowns are known exactly.
    """
    shared = torch.cholesky_inverse(elimination.shared_factor).to(elimination.dtype)
    if shared_known:
        shared = torch.zeros_like(shared)
    after: tuple[Tensor, Tensor] | None = None
    for first, last, pairs in elimination.backwards():
        own, by_shared = [], []
        for one in reversed(pairs):
            after = _back(one, after, elimination.dtype)
            own.append(after[0])
            by_shared.append(after[1])
        y = torch.stack(by_shared[::-1]).to(shared).unflatten(1, (2, -1)).flatten(0, 1)[: last - first]
        blocks, size = torch.stack(own[::-1]), y.shape[1]
        inner = torch.stack([blocks[:, :size, :size], blocks[:, size:, size:]], 1).flatten(0, 1)[: last - first]
        turned = y @ shared
        yield Marginal(first, inner + turned @ y.mT, -turned, shared)


def _back(one: Pair, after: tuple[Tensor, Tensor] | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(A^-1)_nn in this precision, and Y_n in double, from those of the next pair."""
    factor, edge = one.factor.to(dtype), one.edge if after is None else one.edge - one.above @ after[1]
    # As rows: libraries solve for them twice as fast.
    y = torch.linalg.solve_triangular(one.factor, edge.mT, upper=False, left=False).mT
    inverse = torch.cholesky_inverse(factor)
    if after is None:
        return inverse, y
    gain = torch.linalg.solve_triangular(factor, one.above.mT.to(dtype), upper=False, left=False)
    return inverse.addmm_(gain.mT @ after[0], gain), y
