"""Synthetic poses: drawn within normal ranges of motion, on the ground, hanging or in the air, for training.

A person has a spread (typical to near the limits), a flexibility, and left and right that do the same or not. Poses
whose supports do not reach the ground, that sink into it, or whose body passes through itself are drawn again. The
distribution is that of its mirror image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.prior.model.capsules import self_intersecting
from bodyfit.prior.model.rotations import axis_angle_from_matrices, mirror
from bodyfit.prior.model.skeleton import pose_skeleton
from bodyfit.prior.training.anatomy import ANGLE_INDEX, RANGES, SIDES, complete_ranges, draw_angles, rotations_of
from bodyfit.prior.training.families import FAMILIES, Family

MOST_ROUNDS = 60
MOST_AT_ONCE = 8192
SUPPORT_GAP_M, SUNK_M, NEAR_M = 0.05, 0.05, 0.10
"""How far supports may be from their plane, how deep other joints may be in the ground, and what touches it."""

_INDEX = {name: i for i, name in enumerate(JOINT_NAMES[:22])}
# Distance of the skin from the joint, m, where it touches the ground.
_RADII = {"pelvis": 0.10, "spine1": 0.085, "spine2": 0.085, "spine3": 0.075, "neck": 0.05, "head": 0.09, "collar": 0.07}
_RADII |= {"hip": 0.09, "knee": 0.055, "ankle": 0.05, "foot": 0.025, "shoulder": 0.08, "elbow": 0.045, "wrist": 0.03}
# Share of the body's mass at each joint, from the masses of segments (Winter, Biomechanics and Motor Control, rounded).
_MASSES = {"pelvis": 0.14, "spine1": 0.11, "spine2": 0.11, "spine3": 0.14, "neck": 0.02, "head": 0.08, "collar": 0.0}
_MASSES |= {"hip": 0.05, "knee": 0.07, "ankle": 0.035, "foot": 0.01, "shoulder": 0.015, "elbow": 0.02, "wrist": 0.015}


def _per_joint(table: Mapping[str, float]) -> Float[Tensor, " 22"]:
    return torch.tensor([table[name.removeprefix("left_").removeprefix("right_")] for name in _INDEX])


@dataclass(frozen=True)
class SyntheticPoses:
    """N poses."""

    rotations: Float[Tensor, "N 21 3 3"]
    roots: Float[Tensor, "N 3 3"]
    """Orientation of the pelvis in a world with y up, at a random yaw."""
    family: Int[Tensor, " N"]
    """Place in `FAMILIES`."""

    def axis_angles(self) -> tuple[Float[Tensor, "N 63"], Float[Tensor, "N 3"]]:
        """Body poses and root orientations as `mocap_poses` gives them."""
        return axis_angle_from_matrices(self.rotations), roma.rotmat_to_rotvec(self.roots)


def draw_poses(count: int, *, seed: int, families: Mapping[str, Family] | None = None) -> SyntheticPoses:
    """Draw poses, mixed in random order.

    Args:
        count: how many.
        seed: the same seed gives the same poses.
        families: which; `FAMILIES` where None. Their shares are taken relative to their sum.

    Raises:
        BodyfitError: for a family of which hardly any pose reaches the ground with its supports.
    """
    families = FAMILIES if families is None else families
    generator = torch.Generator().manual_seed(seed)
    shares = torch.tensor([family.share for family in families.values()])
    chosen = torch.multinomial(shares, max(count, 1), replacement=True, generator=generator)[:count]
    numbers = torch.bincount(chosen, minlength=len(families)).tolist()
    drawn = [_draw_family(n, name, families[name], generator) for n, name in zip(numbers, families, strict=True)]
    order = torch.empty_like(chosen)
    order[chosen.argsort(stable=True)] = torch.arange(count)
    rotations, roots = (torch.cat(columns)[order] for columns in zip(*drawn, strict=True))
    return SyntheticPoses(rotations, roots, chosen)


def _draw_family(
    count: int, name: str, family: Family, generator: torch.Generator
) -> tuple[Float[Tensor, "N 21 3 3"], Float[Tensor, "N 3 3"]]:
    """Poses of one family, drawn until there are enough that are possible."""
    kept, found, drawn = [], 0, 0
    for _ in range(MOST_ROUNDS if count else 0):
        rate = max(found / drawn, 0.02) if drawn else 0.3
        rotations, roots, fits = _candidates(min(int((count - found) / rate) + 64, MOST_AT_ONCE), family, generator)
        rotations, roots = rotations[fits], roots[fits]
        free = ~self_intersecting(rotations)
        kept.append((rotations[free], roots[free]))
        found, drawn = found + int(free.sum()), drawn + len(fits)
        if found >= count:
            break
    else:
        if count:
            raise BodyfitError(
                f"poses of {name!r}: {found} of {drawn} are possible. Its ranges contradict its supports"
            )
    if not kept:
        return torch.zeros(0, 21, 3, 3), torch.zeros(0, 3, 3)
    rotations, roots = (torch.cat(columns)[:count] for columns in zip(*kept, strict=True))
    return _mirror_half(rotations, roots, generator)


def _candidates(
    count: int, family: Family, generator: torch.Generator
) -> tuple[Float[Tensor, "N 21 3 3"], Float[Tensor, "N 3 3"], Bool[Tensor, " N"]]:
    """Poses with roots, and which of them rest on the ground as the family says."""
    low, high = family.spread
    spread = low + (high - low) * torch.rand(count, 1, generator=generator)
    flexibility = family.flexibility_deg + 12 * torch.randn(count, 1, generator=generator)
    normal = torch.randn(count, len(RANGES), generator=generator)
    left, right = ([i for n, i in ANGLE_INDEX.items() if n.startswith(side)] for side in SIDES)
    even = (torch.rand(count, 1, generator=generator) < family.even).float() * 0.95
    normal[:, right] = even * normal[:, left] + (1 - even.square()).sqrt() * normal[:, right]
    rotations = rotations_of(draw_angles(complete_ranges(family.angles), normal, spread, flexibility))
    joints, _ = pose_skeleton(rotations)
    up, fits = _upward(joints, family, generator)
    tilted = up + math.radians(family.tilt_deg) * torch.randn(count, 3, generator=generator)
    yaw = 2 * torch.pi * torch.rand(count, generator=generator)
    return rotations, _root(torch.nn.functional.normalize(tilted, dim=-1), yaw), fits


def _upward(
    joints: Float[Tensor, "N 22 3"], family: Family, generator: torch.Generator
) -> tuple[Float[Tensor, "N 3"], Bool[Tensor, " N"]]:
    """The upward direction in the axes of the pelvis, and which poses agree with it."""
    everybody = torch.ones(len(joints), dtype=torch.bool)
    if family.root == "any":
        return torch.nn.functional.normalize(torch.randn(len(joints), 3, generator=generator), dim=-1), everybody
    if family.root == "upright":
        return torch.tensor(family.up).expand(len(joints), 3), everybody
    supports = joints[:, [_INDEX[name] for name in family.supports]]
    if family.root == "rests":
        return _level(joints, family)
    masses = _per_joint(_MASSES)
    centre = (joints * (masses / masses.sum())[:, None]).sum(1)
    way = centre - supports.mean(1)
    up = torch.nn.functional.normalize(way if family.root == "stands" else -way, dim=-1)
    if family.root == "hangs":
        return up, everybody
    height = ((joints - supports.mean(1, keepdim=True)) * up[:, None]).sum(-1)
    return up, (height > -0.12 - SUNK_M).all(1)


def _level(joints: Float[Tensor, "N 22 3"], family: Family) -> tuple[Float[Tensor, "N 3"], Bool[Tensor, " N"]]:
    """The normal of the plane that the skin at the supports touches, twice: skin is below joints along that normal."""
    hint, radii = torch.tensor(family.up), _per_joint(_RADII)
    at = [_INDEX[name] for name in family.supports]
    up = hint.expand(len(joints), 3)
    for _ in range(2):
        points = joints[:, at] - radii[at, None] * up[:, None]
        apart = points - points.mean(1, keepdim=True)
        _, vectors = torch.linalg.eigh(apart.transpose(1, 2) @ apart)
        up = vectors[..., 0]
        up = torch.where(((up * hint).sum(1) < 0)[:, None], -up, up)
    points = joints[:, at] - radii[at, None] * up[:, None]
    ground = (points * up[:, None]).sum(-1).mean(1, keepdim=True)
    height = (joints * up[:, None]).sum(-1) - radii - ground
    fits = (height[:, at].abs() < SUPPORT_GAP_M).all(1) & (height > -SUNK_M).all(1)
    fits &= (up * hint).sum(1) > math.cos(math.radians(family.lean_deg))
    if family.near:
        fits &= height[:, [_INDEX[name] for name in family.near]].amin(1) < NEAR_M
    return up, fits


def _root(up: Float[Tensor, "N 3"], yaw: Float[Tensor, " N"]) -> Float[Tensor, "N 3 3"]:
    """Orientations that turn a direction of the pelvis to the world's y axis, at a yaw."""
    axis = torch.nn.functional.one_hot(up.abs().argmin(1), 3).to(up)
    side = torch.nn.functional.normalize(torch.linalg.cross(up, axis), dim=-1)
    level = torch.stack([side, up, torch.linalg.cross(side, up)], dim=1)
    return roma.rotvec_to_rotmat(yaw[:, None] * up.new_tensor([0.0, 1.0, 0.0])) @ level


def _mirror_half(
    rotations: Float[Tensor, "N 21 3 3"], roots: Float[Tensor, "N 3 3"], generator: torch.Generator
) -> tuple[Float[Tensor, "N 21 3 3"], Float[Tensor, "N 3 3"]]:
    """Mirror a random half, with the root."""
    chosen = (torch.rand(len(rotations), generator=generator) < 0.5)[:, None, None]
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    return (
        torch.where(chosen[..., None], mirror(rotations), rotations),
        torch.where(chosen, flip @ roots @ flip, roots),
    )
