"""The Gaussian posterior of a person over time as its precision's Cholesky factor, and motions drawn from it.

Moments couple to the next two and to the shape that all share, so with two moments as one block the factor has three
blocks in each row: L_n, what couples to the next pair, and what couples to the shape. A draw of all moments at once is
a substitution from the last pair back: shape first, then L_n^T x_n = z_n - above_n x_{n+1} - edge_n s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float

from bodyfit.data.lazy import LazyModule
from bodyfit.data.results.posterior import PosteriorError, sizes_of

if TYPE_CHECKING:
    from scipy import linalg
else:  # tracks are read without it
    linalg = LazyModule("scipy.linalg")


@dataclass(frozen=True)
class FactorRows:
    """The rows of P pairs of consecutive moments, of D unknowns each; beside a last moment alone is one that is not
    there."""

    diagonal: Float[np.ndarray, "P 2D 2D"]
    """L_n, lower triangular."""
    above: Float[np.ndarray, "P 2D 2D"]
    """What couples to the next pair."""
    edge: Float[np.ndarray, "P 2D S"]
    """What couples to the shape."""


class MotionPosterior(Protocol):
    """Where motions are drawn from: a fit in memory (`fitting.sequence.clip_posterior`), or what a file keeps."""

    @property
    def blocks(self) -> str:
        """Names and sizes of a moment's unknowns, "global_orient:3 transl:3 latent:32 ..."."""

    @property
    def shared_blocks(self) -> str:
        """Those of the unknowns that all moments share: "betas:10"."""

    @property
    def moments(self) -> int:
        """How many there are: those from the first that was fitted to the last."""

    def factor(self) -> tuple[Float[np.ndarray, "S S"], Iterator[FactorRows]]:
        """The square root of the shape's covariance, and the rows of all pairs, some at a time, from the last to the
        first."""


@dataclass(frozen=True, eq=False)
class KeptPosterior:
    """A posterior over time as files keep it: single precision, without what is zero."""

    blocks: str
    shared_blocks: str
    moments: int
    diagonal: Float[np.ndarray, "P n"]
    """The lower triangle of each L_n, row by row."""
    above: Float[np.ndarray, "P 3 D D"]
    """Upper left, lower left and lower right quarter: two moments further, the first of a pair reaches no more."""
    edge: Float[np.ndarray, "P 2D S"]
    shared: Float[np.ndarray, "S S"]

    def __post_init__(self) -> None:
        size, shared = (sum(_sizes(blocks).values()) for blocks in (self.blocks, self.shared_blocks))
        pairs = -(-self.moments // 2)
        expected = {"diagonal": (pairs, size * (2 * size + 1)), "above": (pairs, 3, size, size)}
        expected |= {"edge": (pairs, 2 * size, shared), "shared": (shared, shared)}
        for name, shape in expected.items():
            found = getattr(self, name)
            if found.shape != shape or not np.isfinite(found).all():
                raise PosteriorError(f"posterior_{name} has shape {found.shape}, expected {shape}, finite numbers.")

    @classmethod
    def of(cls, posterior: MotionPosterior) -> KeptPosterior:
        """What a file keeps of a posterior."""
        if isinstance(posterior, KeptPosterior):
            return posterior
        shared, windows = posterior.factor()
        parts = [_kept(rows) for rows in windows][::-1]
        diagonal, above, edge = (np.concatenate(some) for some in zip(*parts, strict=True))
        about = posterior.blocks, posterior.shared_blocks, posterior.moments
        return cls(*about, diagonal, above, edge, shared.astype(np.float32))

    def factor(self) -> tuple[Float[np.ndarray, "S S"], Iterator[FactorRows]]:
        """As in `MotionPosterior`."""
        return self.shared.astype(float), (self._pair(n) for n in reversed(range(len(self.diagonal))))

    def _pair(self, n: int) -> FactorRows:
        size = self.above.shape[2]
        diagonal, above = np.zeros((1, 2 * size, 2 * size)), np.zeros((1, 2 * size, 2 * size))
        diagonal[0][np.tril_indices(2 * size)] = self.diagonal[n]
        for quarter, value in zip(_quarters(size), self.above[n], strict=True):
            above[0][quarter] = value
        return FactorRows(diagonal, above, self.edge[n : n + 1].astype(float))


def _sizes(blocks: str) -> dict[str, int]:
    return sizes_of(blocks) if blocks else {}


def _kept(rows: FactorRows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = rows.diagonal.shape[1] // 2
    lower = rows.diagonal[(slice(None), *np.tril_indices(2 * size))]
    above = np.stack([rows.above[:, a, b] for a, b in _quarters(size)], 1)
    return lower.astype(np.float32), above.astype(np.float32), rows.edge.astype(np.float32)


def _quarters(size: int) -> list[tuple[slice, slice]]:
    """Those of `KeptPosterior.above`."""
    first, second = slice(0, size), slice(size, 2 * size)
    return [(first, first), (second, first), (second, second)]


def drawn(posterior: MotionPosterior, count: int, seed: int) -> dict[str, Float[np.ndarray, "N T k"]]:
    """How far the unknowns of drawn motions are from the solution, by the names of their blocks.

    Args:
        posterior: what to draw from.
        count: how many motions.
        seed: the same seed draws the same.
    """
    random = np.random.default_rng(seed)
    root, windows = posterior.factor()
    shape = root @ random.standard_normal((root.shape[1], count))
    pairs: list[np.ndarray] = []
    for rows in windows:
        for n in reversed(range(len(rows.diagonal))):
            right = random.standard_normal((rows.diagonal.shape[1], count)) - rows.edge[n] @ shape
            if pairs:
                right -= rows.above[n] @ pairs[-1]
            pairs.append(linalg.solve_triangular(rows.diagonal[n], right, trans="T", lower=True, check_finite=False))
    moved = np.stack(pairs[::-1]).reshape(2 * len(pairs), -1, count)[: posterior.moments].transpose(2, 0, 1)
    sizes, shared = _sizes(posterior.blocks), _sizes(posterior.shared_blocks)
    found = dict(zip(sizes, np.split(moved, np.cumsum(list(sizes.values()))[:-1], axis=2), strict=True))
    alike = np.repeat(shape.T[:, None], posterior.moments, axis=1)
    return found | dict(zip(shared, np.split(alike, np.cumsum(list(shared.values()))[:-1], axis=2), strict=True))
