"""The temporal terms of one person: second differences over three consecutive moments, of two kinds.

* Accelerations of body landmarks relative to the size of the body, robust, so that fast motion costs no more than it
  must. In metres alone they would shrink the body and bring it nearer to a single camera. Under a moving camera they
  are accelerations in the frame of the pelvis, and the root of each moment is free.
* Second derivatives of the latent, expression, jaw and hands, for what the body's landmarks do not show. They are plain
  squares. Root rotations have none: rotation vectors jump at half a turn, landmarks do not.

Both couple a moment to the next two and no further, and to betas. Each sum of squares is multiplied by 30 / fps, so
that it approximates the same integral over time at any frame rate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import geman_mcclure
from bodyfit.fitting.energy.terms import Gaussian, Term
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.sequence.arrow_system import ArrowSystem
from bodyfit.fitting.sequence.config import REFERENCE_FPS, SequenceConfig

SMOOTHED = (*JOINT_NAMES[:22], "nose", "left_big_toe", "right_big_toe")
"""Landmarks whose accelerations are held: the body's."""
SMOOTH_BLOCKS = ("latent", "expression", "jaw_pose", "left_hand", "right_hand")
_STENCIL = (1.0, -2.0, 1.0)


@dataclass(frozen=True)
class BodyMotion:
    """Landmarks of consecutive moments and their derivatives."""

    points: Float[Tensor, "T S 3"]
    own: Float[Tensor, "T R d"]
    """R = 3 S; in the first d of each moment's own unknowns."""
    shared: Float[Tensor, "T R B"]
    """In betas."""

    @classmethod
    def joined(cls, parts: Sequence[BodyMotion]) -> BodyMotion:
        """Consecutive moments."""
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def of(self, landmarks: Int[Tensor, " L"] | slice, count: int) -> BodyMotion:
        """Some of the landmarks, and their derivatives in the first unknowns."""
        own, shared = (part.unflatten(1, (-1, 3))[:, landmarks] for part in (self.own, self.shared))
        return BodyMotion(self.points[:, landmarks], own[..., :count].flatten(1, 2), shared.flatten(1, 2))


class Smoothness:
    """The temporal terms.

    Args:
        unknowns, model: as in the problem.
        own: columns of each moment's unknowns, ascending.
        terms: those of single fits, whose standard deviations are the units of expression, jaw and hands.
        seen: moments that somebody saw.
        linked: for moments 1 to T - 2, whether they are next to the one before and the one after.
        fps: moments per second.
        config: the weights.

    Attributes:
        by_acceleration: one over the standard deviation of each acceleration.
        smoothed: landmarks of the model whose accelerations are held.
        columns: how many of the first unknowns these depend on.
        count: how many of each moment's own unknowns.
    """

    def __init__(
        self,
        unknowns: Unknowns,
        model: LandmarkModel,
        own: Int[Tensor, " d"],
        terms: list[Term],
        seen: Bool[Tensor, " T"],
        linked: Bool[Tensor, " T-2"],
        fps: float,
        config: SequenceConfig,
    ):
        self.unknowns, self.model, self.shared = unknowns, model, unknowns.layout["betas"]
        names = [name for name in SMOOTHED if name in model.names]
        self.smoothed = torch.tensor([model.names.index(name) for name in names], device=model.device)
        self.pelvis = names.index("pelvis")
        self.columns = moved_columns(unknowns, model, self.smoothed)
        self.count, self.of_root = (int((own < end).sum()) for end in (self.columns, unknowns.layout["transl"].stop))
        root = (REFERENCE_FPS / fps) ** 0.5
        self.linked = linked.to(model.dtype)[:, None]
        # Where a moment of the three is unseen, nothing but its neighbours in the camera's frame can hold its root.
        both = seen[:-2] & seen[1:-1] & seen[2:] & config.moving_camera
        self.in_pelvis = both[:, None] if config.moving_camera and len(seen) > 2 else None
        self.fps, self.config = fps, config
        self.by_acceleration = torch.full_like(self.linked, root * fps**2 / config.acceleration_sigma)
        self.robust_scale = torch.full((1, 1), root * config.acceleration_robust_sigmas).to(model.device, model.dtype)
        sigmas = {term.name: term.sigma for term in terms if isinstance(term, Gaussian)}
        by_unknown = torch.zeros(unknowns.layout.size, dtype=model.dtype, device=model.device)
        for name in SMOOTH_BLOCKS:
            sigma = config.latent_sigma if name == "latent" else config.detail_sigma * sigmas.get(name, 1.0)
            by_unknown[unknowns.layout[name]] = root * fps**2 / sigma
        self.by_unknown, self.all_own = by_unknown[own], own

    def cost(self, points: Float[Tensor, "T S 3"], x: Float[Tensor, "T D"]) -> Float[Tensor, ""]:
        """Of all moments."""
        if len(x) < 3:
            return points.new_zeros(())
        rows = self.by_acceleration * self.size(x)[0] * self._accelerations(points, x)
        bends = self.by_unknown * _second_difference(x[:, self.all_own])
        loss = geman_mcclure(rows, self.robust_scale)[0].sum(1) + bends.square().sum(1)
        return (self.linked[:, 0] * loss).sum()

    def follow_motion(self, points: Float[Tensor, "T S 3"], x: Float[Tensor, "T D"]) -> None:
        """Take the standard deviation of each acceleration from the motion about it: see
        `SequenceConfig.acceleration_sigma`."""
        config = self.config
        if len(x) < 3:
            return
        squares = (self.size(x)[0] * self.fps**2 * self._accelerations(points, x)).square().mean(1)
        reach = round(config.acceleration_seconds * self.fps)
        about = torch.stack([self.linked[:, 0] * squares, self.linked[:, 0]])[:, None]
        total, count = torch.nn.functional.conv1d(about, points.new_ones(1, 1, 2 * reach + 1), padding=reach)[:, 0]
        sigma = (config.acceleration_factor * (total / count.clamp_min(1)).sqrt()).clamp(*config.acceleration_range)
        self.by_acceleration = (REFERENCE_FPS / self.fps) ** 0.5 * self.fps**2 / sigma[:, None]

    def _accelerations(self, points: Float[Tensor, "T S 3"], x: Float[Tensor, "T D"]) -> Float[Tensor, "T-2 R"]:
        """In metres per frame squared."""
        accelerations = _second_difference(points.flatten(1))
        if self.in_pelvis is None:
            return accelerations
        turned = _second_difference(self._in_pelvis(points, x).flatten(1))
        return torch.where(self.in_pelvis, turned, accelerations)

    def size(self, x: Float[Tensor, "T D"]) -> tuple[Float[Tensor, ""], Float[Tensor, " S"]]:
        """Length of the mean body's bones over that of this shape's, and its derivative in betas."""
        count = self.shared.stop - self.shared.start
        shape = torch.zeros_like(self.unknowns.shape(x[:1])).repeat(2, 1)
        shape[:1, :count] = x[:1, self.shared]
        still = torch.eye(3, dtype=x.dtype, device=x.device).expand(2, len(self.unknowns.names), 3, 3)
        joints, model = self.model.kinematics(still, shape, derivatives=True), self.model
        ranks, above = model.level_rank[1:22], model.level_rank[model.parents[1:22]]
        bones = joints.positions[ranks] - joints.positions[above]
        lengths = bones.norm(dim=-1)
        here, mean = lengths.sum(0)
        moved = (joints.shape_jacobian[ranks] - joints.shape_jacobian[above])[:, 0, :, :count]
        slope = ((bones[:, 0] / lengths[:, :1])[:, None] @ moved).sum((0, 1))
        return mean / here, -mean / here**2 * slope

    def add(
        self, system: ArrowSystem, motion: BodyMotion, x: Float[Tensor, "T D"], floor: float, map_: Callable
    ) -> None:
        """Add the terms' normal equations to those of a batch of one; `map_` as in `add_differences`."""
        if len(x) < 3:
            return
        if self.in_pelvis is None:
            self._add_accelerations(system, motion, x, self.linked, floor, map_)
        else:
            inside = self.in_pelvis.to(x.dtype)
            self._add_accelerations(system, self._turned(motion, x), x, self.linked * inside, floor, map_)
            self._add_accelerations(system, motion, x, self.linked * (1 - inside), floor, map_)
        self._add_bends(system, x)

    def _add_accelerations(
        self,
        system: ArrowSystem,
        motion: BodyMotion,
        x: Tensor,
        trust: Float[Tensor, "T-2 1"],
        floor: float,
        map_: Callable,
    ) -> None:
        unit = Unit(self.by_acceleration, *self.size(x))
        add_differences(system, motion, _STENCIL, unit, trust, self.robust_scale, floor, map_)

    def _add_bends(self, system: ArrowSystem, x: Tensor) -> None:
        """Second derivatives of unknowns: diagonals."""
        residuals = self.linked * self.by_unknown * _second_difference(x[:, self.all_own])
        system.cost += residuals.square().sum()
        system.gradient[0] += self.by_unknown * _spread(residuals, _STENCIL)
        square = self.by_unknown.square()
        for ahead in range(3):
            weights = _spread_products(self.linked, ahead, _STENCIL)
            system.band[0, ahead, : len(weights)].diagonal(dim1=-2, dim2=-1).add_(weights * square)

    def _in_pelvis(self, points: Float[Tensor, "T S 3"], x: Tensor) -> Float[Tensor, "T S 3"]:
        turn = roma.rotvec_to_rotmat(x[:, self.unknowns.layout["global_orient"]])
        return (points - points[:, self.pelvis : self.pelvis + 1]) @ turn

    def _turned(self, motion: BodyMotion, x: Tensor) -> BodyMotion:
        """The same in the frame of the pelvis, which does not depend on the root."""
        turn = roma.rotvec_to_rotmat(x[:, self.unknowns.layout["global_orient"]])
        moved = (part.unflatten(1, (-1, 3)) for part in (motion.own, motion.shared))
        own, shared = (turn.mT[:, None] @ (part - part[:, self.pelvis : self.pelvis + 1]) for part in moved)
        own[..., : self.of_root] = 0
        return BodyMotion(self._in_pelvis(motion.points, x), own.flatten(1, 2), shared.flatten(1, 2))


def moved_columns(unknowns: Unknowns, model: LandmarkModel, landmarks: Int[Tensor, " S"]) -> int:
    """How many of the first unknowns some landmarks depend on: jaw and hands come last, and move few of them."""
    layout = unknowns.layout
    if model.has_correctives:
        return layout.size
    chosen = np.isin(model.pair_landmark, landmarks.cpu().numpy())
    moving = {unknowns.names[j] for j in model.pair_joint[chosen]}
    blocks = {f"{side}_hand": {unknowns.names[j] for j in joints} for side, (joints, _, _) in unknowns.hands.items()}
    blocks |= {"jaw_pose": {"jaw"}}
    return max(layout[name].stop for name in ("expression", *(n for n, some in blocks.items() if some & moving)))


@dataclass(frozen=True)
class Unit:
    """What differences of landmarks are multiplied by to be in units of their standard deviation."""

    factor: float | Float[Tensor, "L 1"]
    relative: Float[Tensor, ""]
    """Size of the mean body over that of this one, which it is multiplied by."""
    slope: Float[Tensor, " S"]
    """Derivative of `relative` in betas."""


def add_differences(
    system: ArrowSystem,
    motion: BodyMotion,
    stencil: tuple[float, ...],
    unit: Unit,
    trust: Float[Tensor, "#L R"],
    robust_scale: Float[Tensor, "1 1"],
    floor: float,
    map_: Callable,
) -> None:
    """Add robust squares of differences of landmarks over consecutive moments to the normal equations.

    Products of two moments' derivatives: the weights of all differences that both are in are summed up first, as the
    stencil is the same for all landmarks.

    Args:
        system: of a batch of one.
        motion: the landmarks.
        stencil: factors of consecutive moments; there are L = T + 1 - len(stencil) differences.
        unit: what the differences are multiplied by.
        trust: weight of each.
        robust_scale: Geman-McClure scale, in those units.
        floor: least robust weight in the matrix, see `SolverOptions.curvature_floor`.
        map_: how the products are mapped.
    """
    factor = unit.relative * unit.factor
    residuals = factor * difference(motion.points.flatten(1), stencil)
    loss, weight, curvature = geman_mcclure(residuals, robust_scale)
    system.cost += (trust * loss).sum()
    pull, bend = trust * weight * residuals, trust * torch.maximum(curvature, floor * weight)
    by_own, count = motion.own, motion.own.shape[2]
    # By row: the factor may differ from difference to difference, so it stays with these and not with the moments.
    by_shared = factor[..., None] * difference(motion.shared, stencil)
    by_shared = by_shared + residuals[..., None] * (unit.slope / unit.relative)
    system.gradient[0, :, :count] += (_spread(factor * pull, stencil)[:, None] @ by_own)[:, 0]
    bent_shared = bend[..., None] * by_shared
    across = [_spread_products(factor.square() * bend, ahead, stencil) for ahead in range(len(stencil))]
    pulled, half = _spread(factor[..., None] * bent_shared, stencil), -(-len(by_own) // 2)

    def add(first: int) -> None:
        """The products of half of the moments."""
        system.edge[0, first : first + half, :count] += by_own[first : first + half].mT @ pulled[first : first + half]
        for ahead, weights in enumerate(across):
            last = min(first + half, len(weights))
            weighted = weights[first:last, :, None] * by_own[first:last]
            # Not `baddbmm_`: libraries are slow with blocks that are far apart.
            system.band[0, ahead, first:last, :count, :count] += weighted.mT @ by_own[first + ahead : last + ahead]

    map_(add, [0, half])
    system.shared_gradient[0] += (pull[:, None] @ by_shared)[:, 0].sum(0)
    system.corner[0] += by_shared.flatten(0, 1).mT @ bent_shared.flatten(0, 1)


def difference(values: Float[Tensor, "T ..."], stencil: tuple[float, ...]) -> Float[Tensor, "L ..."]:
    """Sums of consecutive moments (the first dimension) times the stencil's factors."""
    count = len(values) + 1 - len(stencil)
    out = stencil[0] * values[:count]
    for k, factor in enumerate(stencil[1:], 1):
        out = torch.add(out, values[k : k + count], alpha=factor)
    return out


def _second_difference(values: Tensor) -> Tensor:
    """About all moments (the first dimension) but the first and the last."""
    return difference(values, _STENCIL)


def _spread(values: Float[Tensor, "L ..."], stencil: tuple[float, ...]) -> Float[Tensor, "T ..."]:
    """The transpose of `difference`."""
    count = len(values)
    out = values.new_zeros(count + len(stencil) - 1, *values.shape[1:])
    for k, factor in enumerate(stencil):
        out[k : k + count].add_(values, alpha=factor)
    return out


def _spread_products(weights: Float[Tensor, "L R"], ahead: int, stencil: tuple[float, ...]) -> Float[Tensor, "T-a R"]:
    """For each moment t, the sum over the differences that it and t + ahead are in of their weights times both
    factors."""
    count = len(weights)
    out = weights.new_zeros(count + len(stencil) - 1 - ahead, weights.shape[1])
    for k in range(len(stencil) - ahead):
        out[k : k + count].add_(weights, alpha=stencil[k] * stencil[k + ahead])
    return out
