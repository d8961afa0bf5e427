"""Diagonal blocks of the inverse of an arrow system: how sure each moment is, without the inverse as a whole.

With two moments as one block, A is block tridiagonal with blocks A_n and B_n (from n to n + 1). Eliminated from the
first block on, D_n = A_n - B_{n-1}^T D_{n-1}^-1 B_{n-1} (and E likewise: e_n), and from the last block back

    (A^-1)_nn = D_n^-1 + K_n (A^-1)_{n+1,n+1} K_n^T      K_n = D_n^-1 B_n
    Y_n       = D_n^-1 (e_n - B_n Y_{n+1})               Y = A^-1 E

(Takahashi 1973; exact). With Schur's complement S = C - E^T Y of the shared unknowns, the inverse of the whole has the
blocks (A^-1)_nn + Y_n S^-1 Y_n^T of moments, -Y_n S^-1 between them and the shared ones, and S^-1. Time is linear in
the number of moments. So is memory, but for windows: what a window starts from is kept, and it is eliminated once more
on the way back.
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
class Marginal:
    """Covariances of consecutive moments."""

    first: int
    own: Float[Tensor, "W D D"]
    """Of each moment's own unknowns."""
    cross: Float[Tensor, "W D S"]
    """Between these and the shared ones."""
    shared: Float[Tensor, "S S"]


@dataclass(frozen=True)
class _Carried:
    """What the elimination of all pairs before takes from the next one."""

    diagonal: Tensor
    edge: Tensor


@dataclass(frozen=True)
class _Eliminated:
    """A pair after all pairs before it."""

    factor: Float[Tensor, "2D 2D"]
    """Cholesky factor of D_n."""
    above: Float[Tensor, "2D 2D"]
    """B_n."""
    edge: Float[Tensor, "2D S"]
    """e_n."""


def marginals(
    rows_of: Callable[[int, int], Rows],
    prior: Float[Tensor, "S S"],
    windows: Sequence[tuple[int, int]],
    *,
    shared_known: bool = False,
) -> Iterator[Marginal]:
    """Covariances of all moments, window by window from the last to the first.

    Args:
        rows_of: the rows of moments first to last - 1. Asked for twice of each window but the last.
        prior: what else there is in the block of the shared unknowns.
        windows: first and last + 1 of each, in order, without gaps; even numbers of moments but in the last.
        shared_known: the shared unknowns are known exactly.

    Raises:
        ValueError: where the matrix is not positive definite.
    """
    schur, carried, starts = prior.double().clone(), None, []
    whole: list[_Eliminated] = []
    for first, last in windows:
        starts.append(carried)
        rows = rows_of(first, last)
        schur += rows.corner
        whole, carried = _eliminate(_pairs(rows), carried)
        for one in whole:
            part = torch.linalg.solve_triangular(one.factor, one.edge, upper=False)
            schur -= part.mT @ part
    shared = torch.zeros_like(schur) if shared_known else _inverse(schur, prior.dtype)
    after: tuple[Tensor, Tensor] | None = None
    for (first, last), start in zip(reversed(windows), reversed(starts), strict=True):
        if last != windows[-1][1]:
            whole, _ = _eliminate(_pairs(rows_of(first, last)), start)
        own, by_shared = [], []
        for one in reversed(whole):
            after = _back(one, after)
            own.append(after[0])
            by_shared.append(after[1])
        y = torch.stack(by_shared[::-1]).unflatten(1, (2, -1)).flatten(0, 1)[: last - first]
        blocks, size = torch.stack(own[::-1]), y.shape[1]
        inner = torch.stack([blocks[:, :size, :size], blocks[:, size:, size:]], 1).flatten(0, 1)[: last - first]
        turned = y @ shared
        yield Marginal(first, inner + turned @ y.mT, -turned, shared)


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


def _eliminate(
    pairs: Iterator[tuple[Tensor, Tensor, Tensor]], carried: _Carried | None
) -> tuple[list[_Eliminated], _Carried]:
    found = []
    for diagonal, above, edge in pairs:
        if carried is not None:
            diagonal, edge = diagonal - carried.diagonal, edge - carried.edge
        factor, info = torch.linalg.cholesky_ex(diagonal)
        if int(info):
            raise ValueError("the Hessian is not positive definite")
        both = torch.linalg.solve_triangular(factor, torch.cat([above, edge], 1), upper=False)
        link, rest = both[:, : len(above)], both[:, len(above) :]
        carried = _Carried(link.mT @ link, link.mT @ rest)
        found.append(_Eliminated(factor, above, edge))
    return found, carried


def _back(one: _Eliminated, after: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    """(A^-1)_nn and Y_n from those of the next pair."""
    inverse = torch.cholesky_inverse(one.factor)
    if after is None:
        return inverse, inverse @ one.edge
    gain = inverse @ one.above
    return inverse + gain @ after[0] @ gain.mT, inverse @ one.edge - gain @ after[1]


def _inverse(matrix: Float[Tensor, "S S"], dtype: torch.dtype) -> Float[Tensor, "S S"]:
    matrix.diagonal().mul_(1 + JITTER * torch.finfo(dtype).eps)
    factor, info = torch.linalg.cholesky_ex(matrix)
    if int(info):
        raise ValueError("the Hessian of the shape is not positive definite")
    return torch.cholesky_inverse(factor)
