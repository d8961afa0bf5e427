"""The block Cholesky factor of an arrow system, window by window.

With two moments as one block, the band A is block tridiagonal with blocks A_n and B_n (from n to n + 1). Eliminated
from the first block on, D_n = A_n - B_{n-1}^T D_{n-1}^-1 B_{n-1} = L_n L_n^T, and the edge likewise: e_n. The factor of
the whole has the rows L_n, L_n^-1 B_n and L_n^-1 e_n, and that of Schur's complement S = C - E^T A^-1 E of the shared
unknowns. Time is linear in the number of moments. So is memory, but for windows: what a window starts from is kept, and
it is eliminated once more on the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

JITTER = 16.0
"""Rounding errors of the system's precision that are added to the diagonal, scaled to ones: near-singular poses are
then no failures."""


@dataclass(frozen=True)
class Rows:
    """The blocks of the rows of consecutive moments, those that reach past their end included."""

    band: Float[Tensor, "3 W D D"]
    """As in `ArrowSystem`."""
    edge: Float[Tensor, "W D S"]
    corner: Float[Tensor, "S S"]
    """What the terms of these moments add to the block of the shared unknowns, beyond those of earlier rows."""


@dataclass(frozen=True)
class Pair:
    """Two moments after all pairs before them."""

    factor: Float[Tensor, "2D 2D"]
    """Cholesky factor L_n of D_n."""
    above: Float[Tensor, "2D 2D"]
    """L_n^-1 B_n."""
    edge: Float[Tensor, "2D S"]
    """L_n^-1 e_n."""


class Elimination:
    """All moments, eliminated window by window from the first to the last.

    Args:
        rows_of: the rows of moments first to last - 1. Asked for once here, and once more of each window but the last
            by `backwards`.
        prior: what else there is in the block of the shared unknowns.
        windows: first and last + 1 of each, in order, without gaps; even numbers of moments but in the last.

    Attributes:
        shared_factor: Cholesky factor of Schur's complement of the shared unknowns, in double precision as all else.
        dtype: precision of the rows.

    Raises:
        ValueError: where the matrix is not positive definite.
    """

    def __init__(
        self,
        rows_of: Callable[[int, int], Rows],
        prior: Float[Tensor, "S S"],
        windows: Sequence[tuple[int, int]],
    ):
        self.rows_of, self.windows, self.dtype = rows_of, windows, prior.dtype
        schur, before = prior.double().clone(), None
        self._starts: list[Pair | None] = []
        for first, last in windows:
            self._starts.append(before)
            rows = rows_of(first, last)
            schur += rows.corner
            self._last = _eliminated(_pairs(rows), before)
            before = self._last[-1]
            for one in self._last:
                schur -= one.edge.mT @ one.edge
        schur.diagonal().mul_(1 + JITTER * torch.finfo(prior.dtype).eps)
        self.shared_factor = _factor(schur, "the Hessian of the shape")

    def backwards(self) -> Iterator[tuple[int, int, list[Pair]]]:
        """First moment, last + 1 and pairs of each window, from the last window to the first."""
        for (first, last), start in zip(reversed(self.windows), reversed(self._starts), strict=True):
            known = last == self.windows[-1][1]
            yield first, last, self._last if known else _eliminated(_pairs(self.rows_of(first, last)), start)


def _pairs(rows: Rows) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Two moments as one: diagonal, what couples it to the next pair, and edge, in double precision. A moment alone at
    the end gets a neighbour that nothing couples to."""
    band, (_, count, size, _), wide = rows.band, rows.band.shape, 2 * rows.band.shape[2]
    jitter = 1 + JITTER * torch.finfo(band.dtype).eps
    for t in range(0, count, 2):
        diagonal, above = (band.new_zeros(wide, wide, dtype=torch.double) for _ in range(2))
        edge = rows.edge.new_zeros(wide, rows.edge.shape[2], dtype=torch.double)
        diagonal[:size, :size], edge[:size] = band[0, t], rows.edge[t]
        above[:size, :size] = band[2, t]
        if t + 1 < count:
            diagonal[size:, size:], diagonal[:size, size:], diagonal[size:, :size] = (
                band[0, t + 1],
                band[1, t],
                band[1, t].mT,
            )
            edge[size:] = rows.edge[t + 1]
            above[size:, :size], above[size:, size:] = band[1, t + 1], band[2, t + 1]
        else:
            diagonal[size:, size:].diagonal().fill_(1)
        diagonal.diagonal().mul_(jitter)
        yield diagonal, above, edge


def _eliminated(pairs: Iterator[tuple[Tensor, Tensor, Tensor]], before: Pair | None) -> list[Pair]:
    """Pairs one after the other, given the one before the first."""
    found: list[Pair] = []
    for diagonal, above, edge in pairs:
        if before is not None:
            diagonal = diagonal - before.above.mT @ before.above
            edge = edge - before.above.mT @ before.edge
        factor = _factor(diagonal, "the Hessian")
        # As rows: libraries solve for them twice as fast.
        rows = torch.linalg.solve_triangular(factor.mT, torch.cat([above.mT, edge.mT]), upper=True, left=False)
        before = Pair(factor, rows[: len(above)].mT, rows[len(above) :].mT)
        found.append(before)
    return found


def _factor(matrix: Float[Tensor, "N N"], what: str) -> Float[Tensor, "N N"]:
    factor, info = torch.linalg.cholesky_ex(matrix)
    if int(info):
        raise ValueError(f"{what} is not positive definite")
    return factor
