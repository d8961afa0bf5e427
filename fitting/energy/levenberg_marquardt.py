"""Batched Levenberg-Marquardt: many small, independent, robust least-squares problems at once.

The solver does not depend on body models. For a batch of unknowns it is given residuals r, their Jacobian J, a
Geman-McClure scale and a weight for each residual (infinite scale: plain squares), and residuals that each depend on
one unknown only (priors), whose Jacobian is a diagonal. For each item it lowers

    C(x) = sum_m w_m rho(r_m) + sum_d e_d^2,      rho(r) = c^2 r^2 / (c^2 + r^2)

with steps from (H + damping * diag(H)) step = -g, where g is half the exact gradient and H the Gauss-Newton matrix with
robust weights: rho' / (2r) in g, and rho''/2 in H where that is positive (Triggs' correction for scalar residuals),
kept above a share of the former where the loss is concave.

Each item has its own damping and its own acceptance, a step that overshoots is tried once more shortened, a failed
factorisation rejects that item's step only, and items that are done leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CONVERGED, MAX_ITERATIONS, FAILED = 1, 2, 3


@dataclass(frozen=True)
class Linearization:
    """Residuals and their derivatives at one point, for the items asked for."""

    residuals: Float[Tensor, "B M"]
    jacobian: Float[Tensor, "B M D"] | None
    weights: Float[Tensor, "B M"]
    """How much each residual's loss counts."""
    robust_scale: Float[Tensor, "#B M"]
    """Geman-McClure scale of each residual, in its own unit; infinity for plain squares."""
    diagonal: Float[Tensor, "B D"]
    """Residuals of single unknowns."""
    diagonal_slope: Float[Tensor, "B D"]
    """Their derivatives."""
    curvature: Float[Tensor, " D"] | None = None
    """Added to the diagonal of H, for unknowns whose residuals bend so much that Gauss-Newton steps overshoot."""


@dataclass(frozen=True)
class SolverOptions:
    """When to stop and how to damp."""

    max_iterations: int = 40
    """Steps tried at most."""
    tolerance: float = 1e-4
    """An item is done when a step lowers its cost by less than this share of it and, damped no more than at the start,
    promised no more; or when two steps in a row, however damped, lower (or can lower) it by less."""
    damping: float = 1e-3
    """At the start, relative to the diagonal of H."""
    damping_down: float = 0.1
    """Factor on the damping after an accepted step."""
    damping_up: float = 4.0
    """Factor on the damping after a rejected step."""
    shortened: float = 0.3
    """A step that would raise the cost is tried once more at this share of its length, before it is rejected: along
    curved valleys the right direction overshoots, and damping would turn it away from the valley."""
    trusted_share: float = 0.25
    """The damping stays where an accepted step gains less than this share of what the local model predicted."""
    damping_min: float = 1e-6
    """The damping never falls below this."""
    damping_max: float = 1e6
    """An item whose damping exceeds this cannot be improved: it is done."""
    curvature_floor: float = 1.0
    """Least robust weight in H, as a share of the weight in g. 1: plain reweighting. Less: Triggs' second-order
    correction down to that share; nearer the exact Hessian, but from afar it took twice the iterations on photos."""
    chunk: int | None = None
    """Items solved at a time: bounds the memory. None: as many as suit the device, 128 on a CPU and 8192 on a GPU."""


@dataclass
class Solution:
    """The solution, one entry per item."""

    x: Float[Tensor, "B X"]
    cost: Float[Tensor, " B"]
    status: Int[Tensor, " B"]
    iterations: Int[Tensor, " B"]
    trace: list[Float[Tensor, " B"]] = field(default_factory=list)
    """Cost after each iteration, where asked for."""


Evaluate = Callable[[Tensor, Tensor], Linearization]
Retract = Callable[[Tensor, Tensor], Tensor]
Cost = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Quadratic:
    """The local model of the cost: C + 2 g.s + s.H s."""

    cost: Tensor
    gradient: Tensor
    hessian: Tensor

    def put(self, rows: Tensor, other: Quadratic) -> None:
        """Replace gradients and Hessians of the rows by the other's."""
        self.gradient[rows], self.hessian[rows] = other.gradient, other.hessian

    def select(self, index: Tensor) -> None:
        self.cost, self.gradient, self.hessian = self.cost[index], self.gradient[index], self.hessian[index]


def geman_mcclure(
    residuals: Float[Tensor, "B M"], scale: Float[Tensor, "#B M"]
) -> tuple[Float[Tensor, "B M"], Float[Tensor, "B M"], Float[Tensor, "B M"]]:
    """Loss rho, gradient weight rho'/(2r) and curvature rho''/2 of each residual.

    rho = r^2 s with s = c^2 / (c^2 + r^2); rho'/(2r) = s^2; rho''/2 = s^2 (4 s - 3).
    """
    square = residuals * residuals
    shrink = 1 / (1 + square / (scale * scale))
    weight = shrink * shrink
    return square * shrink, weight, weight * (4 * shrink - 3)


def total_cost(lin: Linearization) -> Float[Tensor, " B"]:
    """The cost of each item; infinite where a residual is not a number."""
    loss, _, _ = geman_mcclure(lin.residuals, lin.robust_scale)
    return _finite((lin.weights * loss).sum(1) + (lin.diagonal * lin.diagonal).sum(1))


def _finite(cost: Tensor) -> Tensor:
    return torch.where(torch.isfinite(cost), cost, torch.full_like(cost, torch.inf))


def quadratic(lin: Linearization, free: slice | Tensor, floor: float) -> Quadratic:
    """The local model in the free unknowns."""
    loss, weight, curvature = geman_mcclure(lin.residuals, lin.robust_scale)
    weight, curvature = lin.weights * weight, lin.weights * curvature
    cost = _finite((lin.weights * loss).sum(1) + (lin.diagonal * lin.diagonal).sum(1))
    jacobian, slope = lin.jacobian[..., free], lin.diagonal_slope[:, free]
    gradient = ((weight * lin.residuals)[:, None] @ jacobian)[:, 0] + slope * lin.diagonal[:, free]
    scaled = jacobian * torch.maximum(curvature, floor * weight).sqrt()[..., None]
    hessian = gauss_newton(scaled, slope)
    if lin.curvature is not None:
        hessian.diagonal(dim1=1, dim2=2).add_(lin.curvature[free])
    return Quadratic(cost, gradient, hessian)


def gauss_newton(scaled: Float[Tensor, "B M F"], slope: Float[Tensor, "B F"]) -> Float[Tensor, "B F F"]:
    """The Gauss-Newton matrix of a Jacobian whose rows are multiplied by the roots of their weights, and of residuals
    of single unknowns with these derivatives."""
    hessian = scaled.transpose(1, 2) @ scaled
    hessian.diagonal(dim1=1, dim2=2).add_(slope * slope)
    return hessian


def slice_or_index(free: Bool[Tensor, " D"] | None, size: int) -> slice | Tensor:
    """Indices where the mask is true; consecutive ones as a slice, which copies nothing."""
    if free is None:
        return slice(0, size)
    index = free.nonzero()[:, 0]
    first, count = (int(index[0]), len(index)) if len(index) else (0, 0)
    whole = count and int(index[-1]) - first + 1 == count
    return slice(first, first + count) if whole else index


def _solve(model: Quadratic, damping: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Steps (zero where the factorisation failed), the decrease they promise, and where they are good.

    Jacobi scaling first: with unit diagonals one damping suits metres, radians and latent numbers alike.
    """
    diagonal = model.hessian.diagonal(dim1=1, dim2=2)
    floor = 1e-8 * diagonal.amax(1, keepdim=True) + torch.finfo(diagonal.dtype).tiny
    scale = torch.maximum(diagonal, floor).rsqrt()
    matrix = model.hessian * scale[:, :, None] * scale[:, None, :]
    matrix.diagonal(dim1=1, dim2=2).add_(damping[:, None])
    factor, info = torch.linalg.cholesky_ex(matrix)
    right = -(model.gradient * scale)[..., None]
    step = torch.cholesky_solve(right, factor)[..., 0] * scale
    good = (info == 0) & torch.isfinite(step).all(1)
    step = torch.where(good[:, None], step, torch.zeros_like(step))
    curved = (step[:, None] @ model.hessian @ step[..., None])[:, 0, 0]
    return step, -(2 * (model.gradient * step).sum(1) + curved), good


def minimise(
    evaluate: Evaluate,
    retract: Retract,
    start: Float[Tensor, "B X"],
    options: SolverOptions | None = None,
    *,
    cost: Cost | None = None,
    free: Bool[Tensor, " D"] | None = None,
    trace: bool = False,
) -> Solution:
    """Lower each item's cost from its start.

    Args:
        evaluate: maps unknowns (b, X) and the items (b,) they belong to, to a Linearization.
        retract: applies a step (b, D) to unknowns (b, X); plain addition where unknowns are numbers.
        start: where each item starts.
        cost: maps unknowns and items to costs, where that is cheaper than `total_cost(evaluate(...))`. Many steps are
            rejected, and those then need no Jacobian.
        free: which of the D step directions may move; all by default.
        trace: record every item's cost after every iteration.

    Returns:
        a Solution; status is CONVERGED, MAX_ITERATIONS, or FAILED where the cost at the start is not finite.
    """
    options = options or SolverOptions()
    chunk = options.chunk or (128 if start.device.type == "cpu" else 8192)
    chunks = torch.arange(start.shape[0], device=start.device).split(chunk)
    cost = cost or (lambda x, items: total_cost(evaluate(x, items)))
    parts = [_minimise_chunk(evaluate, cost, retract, start, items, options, free, trace) for items in chunks]
    joined = [torch.cat([getattr(p, name) for p in parts]) for name in ("x", "cost", "status", "iterations")]
    return Solution(*joined, _join_traces([p.trace for p in parts]))


def _join_traces(traces: list[list[Tensor]]) -> list[Tensor]:
    length = max(map(len, traces))
    padded = [t + [t[-1]] * (length - len(t)) if t else t for t in traces]
    return [torch.cat(costs) for costs in zip(*padded, strict=True)]


def _minimise_chunk(evaluate, cost, retract, start, items, options, free, trace) -> Solution:
    x = start[items].clone()
    best = Solution(x, cost(x, items), torch.full_like(items, MAX_ITERATIONS), torch.zeros_like(items))
    best.status[~torch.isfinite(best.cost)] = FAILED
    active = torch.isfinite(best.cost).nonzero()[:, 0]
    if len(active) == 0:
        return best
    lin = evaluate(x[active], items[active])
    size = lin.diagonal.shape[1]
    index = slice_or_index(free, size)
    model = quadratic(lin, index, options.curvature_floor)
    model.cost = best.cost[active]
    damping = torch.full_like(model.cost, options.damping)
    quiet = torch.zeros_like(active)
    for steps_left in range(options.max_iterations - 1, -1, -1):
        if len(active) == 0:
            break
        reduced, promised, good = _solve(model, damping)
        step = reduced.new_zeros(len(active), size)
        step[:, index] = reduced
        trial = retract(best.x[active], step)
        there = cost(trial, items[active])
        whole = good & (there < model.cost)
        failed = (good & ~whole).nonzero()[:, 0]
        if len(failed):
            who = active[failed]
            trial[failed] = retract(best.x[who], options.shortened * step[failed])
            there[failed] = cost(trial[failed], items[who])
        accepted = good & (there < model.cost)
        gain = torch.where(accepted, model.cost - there, promised.clamp_min(0))
        little = options.tolerance * model.cost
        still = good & (gain < little)
        sure = still & (promised < little) & (damping <= options.damping)  # the local model agrees, nearly undamped
        quiet = torch.where(still, quiet + 1 + sure, torch.zeros_like(quiet))
        best.x[active] = torch.where(accepted[:, None], trial, best.x[active])
        best.iterations[active] += 1
        model.cost = best.cost[active] = torch.where(accepted, there, model.cost)
        kept_word = (gain > options.trusted_share * promised).to(damping)  # else the damping stays
        factor = torch.where(accepted, 1.0, options.damping_up).to(damping)
        damping = damping * torch.where(whole, options.damping_down**kept_word, factor)
        damping.clamp_(min=options.damping_min)
        if trace:
            best.trace.append(best.cost.clone())
        done = (quiet >= 2) | (damping > options.damping_max) | (model.cost == 0)
        if done.any():
            best.status[active[done]] = CONVERGED
            rest = (~done).nonzero()[:, 0]
            active, damping, quiet, accepted = active[rest], damping[rest], quiet[rest], accepted[rest]
            model.select(rest)
        moved = accepted.nonzero()[:, 0]
        if len(moved) and steps_left:
            here = active[moved]
            model.put(moved, quadratic(evaluate(best.x[here], items[here]), index, options.curvature_floor))
    return best
