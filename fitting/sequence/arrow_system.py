"""Normal equations of unknowns along time with shared ones: a banded matrix with an arrow, solved exactly.

Moments couple to the next two (accelerations) and to the shared unknowns s (betas):

    [ A    E ] [ x ]   [ a ]        A: block pentadiagonal in moments
    [ E^T  C ] [ s ] = [ b ]

Two moments make one block of a block tridiagonal A = L L^T, and A^-1 [a, E] gives s by the Schur complement
C - E^T A^-1 E. Cost and memory are linear in the number of moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass
class ArrowSystem:
    """G independent systems over T moments with D unknowns each, and S shared ones."""

    cost: Float[Tensor, " G"]
    """Cost at the point of linearisation."""
    band: Float[Tensor, "G 3 T D D"]
    """Blocks (t, t), (t, t + 1) and (t, t + 2); those that reach past the last moment are zero."""
    edge: Float[Tensor, "G T D S"]
    """Blocks (t, shared)."""
    corner: Float[Tensor, "G S S"]
    gradient: Float[Tensor, "G T D"]
    """Half the gradient of the cost."""
    shared_gradient: Float[Tensor, "G S"]

    @classmethod
    def zeros(cls, groups: int, moments: int, size: int, shared: int, like: Tensor) -> ArrowSystem:
        """A system to add to."""
        return cls(
            like.new_zeros(groups),
            like.new_zeros(groups, 3, moments, size, size),
            like.new_zeros(groups, moments, size, shared),
            like.new_zeros(groups, shared, shared),
            like.new_zeros(groups, moments, size),
            like.new_zeros(groups, shared),
        )

    def times(self, x: Float[Tensor, "G T D"], s: Float[Tensor, "G S"]) -> tuple[Tensor, Tensor]:
        """The matrix times a vector."""
        out = (self.band[:, 0] @ x[..., None])[..., 0] + (self.edge @ s[:, None, :, None])[..., 0]
        for reach in (1, 2):
            block = self.band[:, reach, : max(x.shape[1] - reach, 0)]
            out[:, :-reach] += (block @ x[:, reach:, :, None])[..., 0]
            out[:, reach:] += (block.mT @ x[:, :-reach, :, None])[..., 0]
        shared = (self.edge * x[..., None]).sum((1, 2)) + (self.corner @ s[..., None])[..., 0]
        return out, shared

    def step(
        self, damping: Float[Tensor, " G"]
    ) -> tuple[Float[Tensor, "G T D"], Float[Tensor, "G S"], Float[Tensor, " G"], Bool[Tensor, " G"]]:
        """Steps from (H + damping diag(H)) step = -gradient.

        Returns:
            the steps of moments and of the shared unknowns (zero where the factorisation failed), the decrease of the
            cost that they promise, and where they are good.
        """
        scale, shared_scale = self._scales()
        band = self.band * scale[:, None, :, :, None]
        for reach in range(min(3, band.shape[2])):
            ahead = scale[:, reach:, None, :]
            band[:, reach, : ahead.shape[1]] *= ahead
        band[:, 0].diagonal(dim1=-2, dim2=-1).add_(damping[:, None, None])
        edge = self.edge * scale[..., None] * shared_scale[:, None, None]
        corner = self.corner * shared_scale[:, :, None] * shared_scale[:, None]
        corner.diagonal(dim1=-2, dim2=-1).add_(damping[:, None])
        right = torch.cat([-(self.gradient * scale)[..., None], edge], dim=-1)
        solved, good = solve_banded(band, right)
        x, by_shared = solved[..., 0], solved[..., 1:]
        turned = edge.flatten(1, 2).mT  # (G, S, T D)
        schur = corner - turned @ by_shared.flatten(1, 2)
        factor, info = torch.linalg.cholesky_ex(schur)
        rest = -(self.shared_gradient * shared_scale) - (turned @ x.flatten(1)[..., None])[..., 0]
        s = torch.cholesky_solve(rest[..., None], factor)[..., 0]
        x = (x - (by_shared @ s[:, None, :, None])[..., 0]) * scale
        s = s * shared_scale
        good = good & (info == 0) & torch.isfinite(x).all((1, 2)) & torch.isfinite(s).all(1)
        x, s = torch.where(good[:, None, None], x, 0), torch.where(good[:, None], s, 0)
        hx, hs = self.times(x, s)
        linear = (self.gradient * x).sum((1, 2)) + (self.shared_gradient * s).sum(1)
        return x, s, -(2 * linear + (hx * x).sum((1, 2)) + (hs * s).sum(1)), good

    def _scales(self) -> tuple[Tensor, Tensor]:
        """Jacobi scaling: with unit diagonals one damping suits metres, radians and latent numbers alike."""
        diagonal, corner = (m.diagonal(dim1=-2, dim2=-1) for m in (self.band[:, 0], self.corner))
        most = torch.cat([diagonal.amax((1, 2))[:, None], corner.amax(1, keepdim=True)], 1).amax(1)
        floor = 1e-8 * most + torch.finfo(most.dtype).tiny
        return (
            torch.maximum(diagonal, floor[:, None, None]).rsqrt(),
            torch.maximum(corner, floor[:, None]).rsqrt(),
        )


def solve_banded(
    band: Float[Tensor, "G 3 T D D"], right: Float[Tensor, "G T D R"]
) -> tuple[Float[Tensor, "G T D R"], Bool[Tensor, " G"]]:
    """Solve a symmetric positive definite block pentadiagonal system by a block Cholesky along time.

    Args:
        band: blocks (t, t), (t, t + 1), (t, t + 2).
        right: right-hand sides.

    Returns:
        the solutions, and which systems are positive definite.
    """
    moments, size = right.shape[1:3]
    diagonal, above, right = _in_pairs(band, right)
    good, factors, links, forward = torch.ones_like(right[:, 0, 0, 0], dtype=torch.bool), [], [], []
    block, carried = diagonal[:, 0], right[:, 0]
    for n in range(diagonal.shape[1]):
        factor, info = torch.linalg.cholesky_ex(block)
        good &= info == 0
        factors.append(factor)
        forward.append(torch.linalg.solve_triangular(factor, carried, upper=False))
        if n + 1 < diagonal.shape[1]:
            links.append(torch.linalg.solve_triangular(factor, above[:, n], upper=False))
            block = diagonal[:, n + 1] - links[-1].mT @ links[-1]
            carried = right[:, n + 1] - links[-1].mT @ forward[-1]
    out = [torch.linalg.solve_triangular(factors[-1].mT, forward[-1], upper=True)]
    for factor, link, value in zip(factors[-2::-1], links[::-1], forward[-2::-1], strict=True):
        out.append(torch.linalg.solve_triangular(factor.mT, value - link @ out[-1], upper=True))
    solved = torch.stack(out[::-1], 1).unflatten(2, (2, size)).flatten(1, 2)
    return solved[:, :moments], good


def _in_pairs(band: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two moments as one block: the diagonal (G, N, 2D, 2D), the blocks above it, and the right-hand sides."""
    moments, size = band.shape[2:4]
    odd = moments % 2
    if odd:
        band = torch.cat([band, torch.zeros_like(band[:, :, :1])], 2)
        band[:, 0, -1] = torch.eye(size, dtype=band.dtype, device=band.device)
        right = torch.cat([right, torch.zeros_like(right[:, :1])], 1)
    pairs = band.unflatten(2, (-1, 2))  # (G, 3, N, 2, D, D)
    here, next_, after = pairs[:, 0], pairs[:, 1], pairs[:, 2]
    low = torch.cat([next_[:, :, 0].mT, here[:, :, 1]], -1)
    diagonal = torch.cat([torch.cat([here[:, :, 0], next_[:, :, 0]], -1), low], -2)
    zero = torch.zeros_like(here[:, :, 0])
    top, bottom = torch.cat([after[:, :, 0], zero], -1), torch.cat([next_[:, :, 1], after[:, :, 1]], -1)
    return diagonal, torch.cat([top, bottom], -2), right.unflatten(1, (-1, 2)).flatten(2, 3)
