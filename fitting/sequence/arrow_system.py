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
class _Prepared:
    """What of a system all dampings share, in one precision. Damping is relative to the diagonal, so that one suits
    metres, radians and latents."""

    diagonal: Float[Tensor, "G T D"]
    """Of the matrix, kept above a tiny share of its largest number."""
    corner_diagonal: Float[Tensor, "G S"]
    corner: Float[Tensor, "G S S"]
    right: Float[Tensor, "G T 1+S D"]
    """Half the gradient, and the edge."""
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
    _prepared: dict[torch.dtype, _Prepared] = field(init=False, default_factory=dict, repr=False)

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
        if dtype not in self._prepared:
            self._prepared[dtype] = self._prepare(dtype)
        given, damping = self._prepared[dtype], damping.to(dtype)
        solved, good = solve_banded(self.band, given.right, damping[:, None, None] * given.diagonal, map_)
        # A^-1 times gradient and edge, both as (G, columns, T D).
        x, by_shared = (part.transpose(1, 2).flatten(2) for part in (solved[:, :, :1], solved[:, :, 1:]))
        gradient, edge = given.right[:, :, 0], given.right[:, :, 1:].transpose(1, 2).flatten(2)
        damped = damping[:, None] * given.corner_diagonal
        schur = given.corner + torch.diag_embed(damped) - edge @ by_shared.mT
        factor, info = torch.linalg.cholesky_ex(schur)
        rest = given.shared_gradient[..., None] - edge @ x.mT
        s = -torch.cholesky_solve(rest, factor)
        x = -(x + s.mT @ by_shared).view_as(gradient)
        s = s[..., 0]
        good = good & (info == 0) & torch.isfinite(x).all((1, 2)) & torch.isfinite(s).all(1)
        x, s = torch.where(good[:, None, None], x, 0), torch.where(good[:, None], s, 0)
        # -(2 g.s + s.H s), with H s = -g - damping diag(H) s
        linear = (gradient * x).sum((1, 2)) + (given.shared_gradient * s).sum(1)
        squares = damping * ((given.diagonal * x * x).sum((1, 2)) + (given.corner_diagonal * s * s).sum(1))
        left = self._left(given, x, s, damping) if dtype != torch.double else torch.zeros_like(linear)
        return x, s, squares - linear, good, left

    def _left(self, given: _Prepared, x: Float[Tensor, "G T D"], s: Float[Tensor, "G S"], damping: Tensor) -> Tensor:
        """What a step leaves of the gradient, as a share of it; in units that make the diagonal ones."""
        moved = x[..., None]
        product = self.band[:, 0] @ moved
        for reach in range(1, min(3, x.shape[1])):
            block = self.band[:, reach, :-reach]
            product[:, :-reach] += block @ moved[:, reach:]
            product[:, reach:] += block.mT @ moved[:, :-reach]
        gradient, edge = given.right[:, :, 0], given.right[:, :, 1:]
        own = product[..., 0] + damping[:, None, None] * given.diagonal * x + (s[:, None, None] @ edge)[:, :, 0]
        shared = (given.corner @ s[..., None])[..., 0] + damping[:, None] * given.corner_diagonal * s
        shared = shared + (edge @ moved)[..., 0].sum(1)
        rest = ((own + gradient).square() / given.diagonal).sum((1, 2))
        rest = rest + ((shared + given.shared_gradient).square() / given.corner_diagonal).sum(1)
        whole = (gradient.square() / given.diagonal).sum((1, 2))
        whole = whole + (given.shared_gradient.square() / given.corner_diagonal).sum(1)
        return (rest / whole.clamp_min(torch.finfo(whole.dtype).tiny)).sqrt()

    def _prepare(self, dtype: torch.dtype) -> _Prepared:
        diagonal, corner = (m.diagonal(dim1=-2, dim2=-1) for m in (self.band[:, 0], self.corner))
        most = torch.cat([diagonal.amax((1, 2))[:, None], corner.amax(1, keepdim=True)], 1).amax(1)
        floor = 1e-8 * most + torch.finfo(most.dtype).tiny
        return _Prepared(
            torch.maximum(diagonal, floor[:, None, None]).to(dtype),
            torch.maximum(corner, floor[:, None]).to(dtype),
            self.corner.to(dtype),
            torch.cat([self.gradient[:, :, None], self.edge.mT], 2).to(dtype),
            self.shared_gradient.to(dtype),
        )


def solve_banded(
    band: Float[Tensor, "G 3 T D D"],
    right: Float[Tensor, "G T R D"],
    added: Float[Tensor, "G T D"],
    map_: Callable = in_order,
) -> tuple[Float[Tensor, "G T R D"], Bool[Tensor, " G"]]:
    """Solve (A + diag(added)) x = right by a block Cholesky along time, from both ends to the middle.

    Right-hand sides and what couples two blocks are kept as rows: libraries then solve for them twice as fast.

    Args:
        band: blocks (t, t), (t, t + 1), (t, t + 2) of the symmetric matrix A.
        right: R right-hand sides, in the precision to solve in.
        added: to the diagonal.
        map_: how the two halves are mapped.

    Returns:
        the solutions, and which systems are positive definite.
    """
    pairs = _Pairs.of(band, right, added)
    middle = len(pairs.blocks) // 2
    first, last = range(middle), range(len(pairs.blocks) - 1, middle, -1)
    sides = map_(lambda side: side.eliminate(), [_Side(pairs, first), _Side(pairs, last)])
    block, value = pairs.blocks[middle], pairs.right(middle)
    for side in sides:
        side.take_from(block, value)
    factor, info = torch.linalg.cholesky_ex(block)
    value = _half_solved(factor, value)
    value = torch.linalg.solve_triangular(factor, value, upper=False, left=False)
    before, after = map_(lambda side: side.substitute(value), sides)
    solved = torch.stack([*before, value, *after[::-1]], 1)  # (G, pairs, R, 2 D)
    solved = solved.unflatten(3, (2, -1)).transpose(2, 3).flatten(1, 2)
    infos = torch.stack([info, *sides[0].infos, *sides[1].infos])
    return solved[:, : right.shape[1]], (infos == 0).all(0)


def _half_solved(factor: Float[Tensor, "G N N"], rows: Float[Tensor, "G R N"]) -> Float[Tensor, "G R N"]:
    """rows L^-T: the transpose of L^-1 rows^T."""
    return torch.linalg.solve_triangular(factor.mT, rows, upper=True, left=False)


class _Side:
    """The pairs on one side of the middle, eliminated from the end towards it."""

    def __init__(self, pairs: _Pairs, order: range):
        self.pairs, self.order = pairs, order
        self.factors: list[Tensor] = []
        self.links: list[Tensor] = []
        self.values: list[Tensor] = []
        self.infos: list[Tensor] = []

    def take_from(self, block: Float[Tensor, "G 2D 2D"], value: Float[Tensor, "G R 2D"]) -> None:
        """Take what the last pair that was eliminated leaves from the next one."""
        if self.links:
            link = self.links[-1]
            block.baddbmm_(link, link.mT, alpha=-1)
            value.baddbmm_(self.values[-1], link.mT, alpha=-1)

    def eliminate(self) -> _Side:
        """Factors of the diagonal, what couples each pair to the next one, and the right-hand sides so far."""
        size = self.pairs.blocks.shape[-1]
        for n in self.order:
            block = self.pairs.blocks[n]
            self.take_from(block, self.pairs.right(n))
            factor, info = torch.linalg.cholesky_ex(block)
            both = _half_solved(factor, self.pairs.rows[n])
            self.infos.append(info)
            self.factors.append(factor)
            self.links.append(both[:, :size])
            self.values.append(both[:, size:])
        return self

    def substitute(self, value: Float[Tensor, "G R 2D"]) -> list[Tensor]:
        """Solutions of the pairs, from the end to the middle, given that of the middle."""
        out = []
        for factor, link, rest in zip(self.factors[::-1], self.links[::-1], self.values[::-1], strict=True):
            rest = rest.baddbmm(value, link, alpha=-1)
            value = torch.linalg.solve_triangular(factor, rest, upper=False, left=False)
            out.append(value)
        return out[::-1]


@dataclass(frozen=True)
class _Pairs:
    """Two moments as one block; a moment alone at the end gets a neighbour that nothing couples to."""

    blocks: Float[Tensor, "P G 2D 2D"]
    """Diagonal blocks, changed while they are eliminated."""
    rows: Float[Tensor, "P G 2D+R 2D"]
    """What couples each to the next one towards the middle, as rows, and the right-hand sides."""

    @classmethod
    def of(cls, band: Tensor, right: Tensor, added: Tensor) -> _Pairs:
        """Of a system, see `solve_banded`."""
        groups, _, moments, size, _ = band.shape
        whole, count = moments // 2, -(-moments // 2)
        blocks = right.new_zeros(count, groups, 2, size, 2, size)
        rows = right.new_zeros(count, groups, 2 * size + right.shape[2], 2, size)
        diagonal, near, far = band.permute(1, 2, 0, 3, 4)
        blocks[:, :, 0, :, 0], blocks[:whole, :, 1, :, 1] = diagonal[0::2], diagonal[1::2]
        blocks[:whole, :, 0, :, 1], blocks[:whole, :, 1, :, 0] = near[0 : 2 * whole : 2], near[0 : 2 * whole : 2].mT
        blocks[whole:, :, 1, :, 1] = torch.eye(size).to(right)
        each = blocks.diagonal(dim1=3, dim2=5)  # (P, G, 2, 2, D): the first moment's is [0, 0]
        each[:, :, 0, 0] += added[:, 0::2].transpose(0, 1)
        each[:whole, :, 1, 1] += added[:, 1::2].transpose(0, 1)
        for n in range(2):
            some = right[:, n::2].transpose(0, 1)
            rows[: len(some), :, 2 * size :, n] = some
        links, middle = rows[:, :, : 2 * size].unflatten(2, (2, size)), count // 2
        for n, m, couples in ((0, 0, far[0::2]), (1, 0, near[1::2]), (1, 1, far[1::2])):
            # Of moment n of a pair and moment m of the next one.
            links[:middle, :, m, :, n] = couples[:middle].mT
            links[middle + 1 :, :, n, :, m] = couples[middle : count - 1]
        return cls(blocks.flatten(4, 5).flatten(2, 3), rows.flatten(3, 4))

    def right(self, n: int) -> Float[Tensor, "G R 2D"]:
        """Right-hand sides of a pair."""
        return self.rows[n, :, self.blocks.shape[-1] :]
