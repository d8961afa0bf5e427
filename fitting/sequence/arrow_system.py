"""Normal equations of unknowns along time with shared ones: a banded matrix with an arrow, solved exactly.

Moments couple to the next two (accelerations) and to the shared unknowns s (betas):

    [ A    E ] [ x ]   [ a ]        A: block pentadiagonal in moments
    [ E^T  C ] [ s ] = [ b ]

Two moments make one block of a block tridiagonal A = L L^T, and A^-1 [a, E] gives s by the Schur complement
C - E^T A^-1 E. Cost and memory are linear in the number of moments. It is solved in the precision that it is in, which
in single precision takes half as long, and in double precision where the step leaves more than a thousandth of the
gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LEFT_OVER = 1e-3
"""Share of the gradient that a step may leave."""


def in_order(function: Callable, items: list) -> list:
    """The plain way to map."""
    return [function(item) for item in items]


@dataclass(frozen=True)
class _Scaled:
    """A system with a diagonal of ones: one damping then suits metres, radians and latents. The band is scaled block by
    block while it is solved."""

    scale: Float[Tensor, "G T D"]
    shared_scale: Float[Tensor, "G S"]
    edge: Float[Tensor, "G T D S"]
    corner: Float[Tensor, "G S S"]
    gradient: Float[Tensor, "G T D"]
    shared_gradient: Float[Tensor, "G S"]


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
    _scaled: dict[torch.dtype, _Scaled] = field(init=False, default_factory=dict, repr=False)

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

    def hold(self, moments: Bool[Tensor, " T"], shared: bool = False) -> None:
        """Keep some moments, and the shared unknowns, where they are: their steps become zero."""
        rows = moments.nonzero()[:, 0]
        for reach in (0, 1, 2):
            self.band[:, reach, rows] = 0
            self.band[:, reach, (rows - reach)[rows >= reach]] = 0
        self.band[:, 0, rows] = torch.eye(self.band.shape[-1]).to(self.band)
        self.edge[:, rows], self.gradient[:, rows] = 0, 0
        if shared:
            self.edge[:], self.shared_gradient[:] = 0, 0
            self.corner[:] = torch.eye(self.corner.shape[-1]).to(self.corner)

    def step(
        self, damping: Float[Tensor, " G"], map_: Callable = in_order
    ) -> tuple[Float[Tensor, "G T D"], Float[Tensor, "G S"], Float[Tensor, " G"], Bool[Tensor, " G"]]:
        """Steps from (H + damping diag(H)) step = -gradient. What was added to the system after the first call is
        ignored.

        Returns:
            the steps of moments and of the shared unknowns (zero where the factorisation failed), the decrease of the
            cost that they promise, and where they are good; in double precision.
        """
        if self.band.dtype == torch.double:
            return self._step(damping, torch.double, map_)[:4]
        *found, good, left = self._step(damping, self.band.dtype, map_)
        if not bool((good & (left < LEFT_OVER)).all()):
            return self._step(damping, torch.double, map_)[:4]
        return *(part.double() for part in found), good

    def _step(
        self, damping: Float[Tensor, " G"], dtype: torch.dtype, map_: Callable
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """`step` in one precision, and how much of the gradient it leaves."""
        if dtype not in self._scaled:
            self._scaled[dtype] = self._scale(dtype)
        scaled, damping = self._scaled[dtype], damping.to(dtype)
        corner = scaled.corner.clone()
        corner.diagonal(dim1=-2, dim2=-1).add_(damping[:, None])
        right = torch.cat([-scaled.gradient[..., None], scaled.edge], dim=-1)
        solved, good = solve_banded(self.band, right, scaled.scale, damping, map_)
        x, by_shared = solved[..., 0], solved[..., 1:]
        turned = scaled.edge.flatten(1, 2).mT  # (G, S, T D)
        schur = corner - turned @ by_shared.flatten(1, 2)
        factor, info = torch.linalg.cholesky_ex(schur)
        rest = -scaled.shared_gradient - (turned @ x.flatten(1)[..., None])[..., 0]
        s = torch.cholesky_solve(rest[..., None], factor)[..., 0]
        x = x - (by_shared @ s[:, None, :, None])[..., 0]
        good = good & (info == 0) & torch.isfinite(x).all((1, 2)) & torch.isfinite(s).all(1)
        x, s = torch.where(good[:, None, None], x, 0), torch.where(good[:, None], s, 0)
        # -(2 g.s + s.H s), with H s = -g - damping diag(H) s
        linear = (scaled.gradient * x).sum((1, 2)) + (scaled.shared_gradient * s).sum(1)
        squares = x.square().sum((1, 2)) + s.square().sum(1)
        left = self._left(scaled, x, s, damping) if dtype != torch.double else torch.zeros_like(linear)
        return x * scaled.scale, s * scaled.shared_scale, damping * squares - linear, good, left

    def _left(self, scaled: _Scaled, x: Float[Tensor, "G T D"], s: Float[Tensor, "G S"], damping: Tensor) -> Tensor:
        """What a step leaves of the gradient, as a share of it."""
        moved = (x * scaled.scale)[..., None]
        product = self.band[:, 0] @ moved
        for reach in range(1, min(3, x.shape[1])):
            block = self.band[:, reach, :-reach]
            product[:, :-reach] += block @ moved[:, reach:]
            product[:, reach:] += block.mT @ moved[:, :-reach]
        own = product[..., 0] * scaled.scale + damping[:, None, None] * x + (scaled.edge @ s[:, None, :, None])[..., 0]
        shared = ((scaled.corner @ s[..., None])[..., 0] + damping[:, None] * s) + torch.einsum(
            "gtds,gtd->gs", scaled.edge, x
        )
        rest = (own + scaled.gradient).square().sum((1, 2)) + (shared + scaled.shared_gradient).square().sum(1)
        whole = scaled.gradient.square().sum((1, 2)) + scaled.shared_gradient.square().sum(1)
        return (rest / whole.clamp_min(torch.finfo(whole.dtype).tiny)).sqrt()

    def _scale(self, dtype: torch.dtype) -> _Scaled:
        diagonal, corner = (m.diagonal(dim1=-2, dim2=-1) for m in (self.band[:, 0], self.corner))
        most = torch.cat([diagonal.amax((1, 2))[:, None], corner.amax(1, keepdim=True)], 1).amax(1)
        floor = 1e-8 * most + torch.finfo(most.dtype).tiny
        scale = torch.maximum(diagonal, floor[:, None, None]).to(dtype).rsqrt()
        shared_scale = torch.maximum(corner, floor[:, None]).to(dtype).rsqrt()
        return _Scaled(
            scale,
            shared_scale,
            self.edge * scale[..., None] * shared_scale[:, None, None],
            self.corner * shared_scale[:, :, None] * shared_scale[:, None],
            self.gradient * scale,
            self.shared_gradient * shared_scale,
        )


def solve_banded(
    band: Float[Tensor, "G 3 T D D"],
    right: Float[Tensor, "G T D R"],
    scale: Float[Tensor, "G T D"],
    damping: Float[Tensor, " G"],
    map_: Callable = in_order,
) -> tuple[Float[Tensor, "G T D R"], Bool[Tensor, " G"]]:
    """Solve (S A S + damping) x = right by a block Cholesky along time, from both ends to the middle.

    Args:
        band: blocks (t, t), (t, t + 1), (t, t + 2) of the symmetric matrix A.
        right: right-hand sides.
        scale: the diagonal of S.
        damping: added to the diagonal.
        map_: how the two halves are mapped.

    Returns:
        the solutions, and which systems are positive definite.
    """
    pairs = _Pairs(band, right, scale, damping)
    middle = pairs.count // 2
    sides = map_(lambda side: side.eliminate(), [_Side(pairs, 0, 1, middle), _Side(pairs, pairs.count - 1, -1, middle)])
    block, value = pairs.diagonal(middle), pairs.right(middle)
    for side in sides:
        if side.links:
            block.baddbmm_(side.links[-1].mT, side.links[-1], alpha=-1)
            value.baddbmm_(side.links[-1].mT, side.values[-1], alpha=-1)
    factor, info = torch.linalg.cholesky_ex(block)
    good = (info == 0) & sides[0].good & sides[1].good
    value = torch.linalg.solve_triangular(factor, value, upper=False)
    value = torch.linalg.solve_triangular(factor.mT, value, upper=True)
    before, after = map_(lambda side: side.substitute(value), sides)
    solved = torch.stack([*before, value, *after[::-1]], 1).unflatten(2, (2, -1)).flatten(1, 2)
    return solved[:, : right.shape[1]], good


class _Side:
    """The pairs on one side of the middle, eliminated from the end towards it."""

    def __init__(self, pairs: _Pairs, first: int, toward: int, middle: int):
        self.pairs, self.order, self.toward = pairs, range(first, middle, toward), toward
        self.factors: list[Tensor] = []
        self.links: list[Tensor] = []
        self.values: list[Tensor] = []
        self.good = torch.ones(len(pairs.band), dtype=torch.bool, device=pairs.band.device)

    def eliminate(self) -> _Side:
        """Factors of the diagonal, what couples each pair to the next one, and the right-hand sides so far."""
        for n in self.order:
            block, value = self.pairs.diagonal(n), self.pairs.right(n)
            if self.links:
                block.baddbmm_(self.links[-1].mT, self.links[-1], alpha=-1)
                value.baddbmm_(self.links[-1].mT, self.values[-1], alpha=-1)
            factor, info = torch.linalg.cholesky_ex(block)
            self.good &= info == 0
            next_ = self.pairs.above(n) if self.toward > 0 else self.pairs.above(n - 1).mT
            self.factors.append(factor)
            self.links.append(torch.linalg.solve_triangular(factor, next_, upper=False))
            self.values.append(torch.linalg.solve_triangular(factor, value, upper=False))
        return self

    def substitute(self, value: Tensor) -> list[Tensor]:
        """Solutions of the pairs, from the end to the middle, given that of the middle."""
        out = []
        for factor, link, rest in zip(self.factors[::-1], self.links[::-1], self.values[::-1], strict=True):
            value = torch.linalg.solve_triangular(factor.mT, rest - link @ value, upper=True)
            out.append(value)
        return out[::-1]


class _Pairs:
    """Two moments as one block, made when it is asked for: it is then still in the processor's cache."""

    def __init__(self, band: Tensor, right: Tensor, scale: Tensor, damping: Tensor):
        self.band, self.right_sides, self.damping = band, right, damping
        self.moments, self.size = band.shape[2:4]
        self.count = -(-self.moments // 2)
        if self.moments % 2:
            scale = torch.cat([scale, torch.ones_like(scale[:, :1])], 1)
        self.scale = scale.unflatten(1, (-1, 2)).flatten(2)  # (G, N, 2D)

    def diagonal(self, n: int) -> Float[Tensor, "G 2D 2D"]:
        t, size = 2 * n, self.size
        out = self.damping.new_zeros(len(self.band), 2 * size, 2 * size)
        out[:, :size, :size] = self.band[:, 0, t]
        if t + 1 < self.moments:
            out[:, size:, size:] = self.band[:, 0, t + 1]
            out[:, :size, size:] = self.band[:, 1, t]
            out[:, size:, :size] = self.band[:, 1, t].mT
        else:
            out[:, size:, size:].diagonal(dim1=-2, dim2=-1).fill_(1)
        out.mul_(self.scale[:, n, :, None]).mul_(self.scale[:, n, None])
        out.diagonal(dim1=-2, dim2=-1).add_(self.damping[:, None])
        return out

    def above(self, n: int) -> Float[Tensor, "G 2D 2D"]:
        """Between pair n and the next one."""
        t, size = 2 * n, self.size
        out = self.damping.new_zeros(len(self.band), 2 * size, 2 * size)
        out[:, :size, :size] = self.band[:, 2, t]
        out[:, size:, :size] = self.band[:, 1, t + 1]
        if t + 3 < self.moments:
            out[:, size:, size:] = self.band[:, 2, t + 1]
        return out.mul_(self.scale[:, n, :, None]).mul_(self.scale[:, n + 1, None])

    def right(self, n: int) -> Float[Tensor, "G 2D R"]:
        rows = self.right_sides[:, 2 * n : 2 * n + 2]
        if rows.shape[1] == 1:
            rows = torch.cat([rows, torch.zeros_like(rows)], 1)
        return rows.flatten(1, 2).clone()
