"""Jacobians of landmarks in blocks of unknowns that rotate joints: the chain rule along kinematic chains.

A block of unknowns (the latent, one hand, the jaw) rotates some joints. A landmark depends only on those of them that
lie on its kinematic chain. So landmarks are grouped by chain (two legs, two arms and the head for the latent), and each
group is one small batched matrix product: rows (landmarks x joints of the chain) times tangent (joints of the chain x
unknowns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.energy.landmark_model import Correctives, LandmarkModel, LandmarkState
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.prior.model.parts import NUM_BODY_JOINTS


@dataclass(frozen=True)
class _Groups:
    """Groups of the same shape: G chains of L joints, each with the same number of landmarks."""

    landmarks: slice | Tensor  # G * count indices of the model's landmarks
    levers: Tensor  # (G, count, L) the lever of each landmark and joint; the one past the last is a zero
    tangent: Tensor | None  # (G * 3 L,) rows of the block's tangent; None: all of them, in order

    @property
    def count(self) -> int:
        return len(self.levers)


class BlockJacobian:
    """Writes d residual / d block for all landmarks that depend on the block.

    Args:
        pairs: landmark and joint of each lever.
        joints: the block's joints, in the order of its tangent's rows.
        each: numbers per landmark: 2 for pixels, 3 for points.
        device: where to compute.
    """

    def __init__(self, pairs: Sequence[tuple[int, int]], joints: list[int], each: int, device: torch.device):
        self.each = each
        lever = {pair: n for n, pair in enumerate(pairs)}
        shapes: dict[tuple[int, int], list[tuple[list[int], list[int]]]] = {}
        for chain, members in _chains(lever, joints):
            shapes.setdefault((len(members), len(chain)), []).append((members, chain))
        self.groups: list[_Groups] = []
        self._rows: list[Tensor] = []
        for groups in shapes.values():
            levers = np.array([[[lever.get((k, j), len(lever)) for j in chain] for k in ms] for ms, chain in groups])
            places = np.array([3 * joints.index(j) + c for _, chain in groups for j in chain for c in range(3)])
            whole = np.array_equal(places, np.arange(3 * len(joints)))
            landmarks = _slice_or_index([k for members, _ in groups for k in members], device)
            to = {"dtype": torch.long, "device": device}
            self.groups.append(
                _Groups(landmarks, torch.as_tensor(levers, **to), None if whole else torch.as_tensor(places, **to))
            )
            # In (groups, count, each, L) order, so that what is taken needs no rearranging.
            rows = levers[:, :, None] * each + np.arange(each)[:, None]
            self._rows.append(torch.as_tensor(rows.ravel(), **to))

    def write(
        self,
        jacobian: Float[Tensor, "B K E D"],
        columns: slice,
        by_rotation: Float[Tensor, "B N1 E 3"],
        tangent: Float[Tensor, "B W P"],
    ) -> None:
        """Fill the block's columns.

        Args:
            jacobian: filled in place.
            columns: of the block's P unknowns among the D.
            by_rotation: d (E numbers of a landmark, such as its pixel) / d (world rotation of a joint) for each lever,
                and a zero after them.
            tangent: small world rotations of the block's joints (W = 3 x joints) per unit of each parameter.
        """
        batch = len(by_rotation)
        flat = by_rotation.flatten(1, 2)
        for group, rows in zip(self.groups, self._rows, strict=True):
            chains, count, length = group.levers.shape
            taken = flat.index_select(1, rows).view(batch, chains, count * self.each, 3 * length)
            part = tangent if group.tangent is None else tangent.index_select(1, group.tangent)
            moved = taken @ part.view(batch, chains, 3 * length, -1)
            jacobian[:, group.landmarks, :, columns] = moved.view(batch, chains * count, self.each, -1)


def _chains(lever: dict[tuple[int, int], int], joints: list[int]) -> list[tuple[list[int], list[int]]]:
    """(joints of the chain, landmarks that depend on some of them and on no others), the longest chains only."""
    block = set(joints)
    affecting: dict[int, frozenset[int]] = {}
    for k, j in lever:
        if j in block:
            affecting[int(k)] = affecting.get(int(k), frozenset()) | {int(j)}
    longest = [w for w in set(affecting.values()) if not any(w < other for other in set(affecting.values()))]
    longest.sort(key=sorted)
    members: dict[frozenset[int], list[int]] = {chain: [] for chain in longest}
    for k in sorted(affecting):
        members[next(chain for chain in longest if affecting[k] <= chain)].append(k)
    return [(sorted(chain, key=joints.index), members[chain]) for chain in longest if members[chain]]


def _shared(first: list[int], second: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Indices, in each of two lists, of the items that are in both."""
    pairs = [(n, second.index(item)) for n, item in enumerate(first) if item in second]
    both = torch.tensor(pairs, dtype=torch.long, device=device).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _slice_or_index(places: list[int], device: torch.device) -> slice | Tensor:
    """Consecutive indices as a slice, which is written many times faster."""
    if places == list(range(places[0], places[0] + len(places))):
        return slice(places[0], places[-1] + 1)
    return torch.tensor(places, device=device)


class RotationJacobian:
    """Jacobian of landmarks in all unknowns that rotate joints: root, latent, jaw and hands.

    Args:
        unknowns: the unknowns.
        model: the landmarks.
        each: numbers per landmark: 2 for pixels, 3 for points.
        some: of these landmarks alone, by their numbers in the model; None: of all.

    Attributes:
        some: the same, as an index.
        levers: which of the model's levers are theirs, the zero after them included; None: all.
        landmark_of_lever: the landmark of each of these, and any for the zero.
    """

    def __init__(self, unknowns: Unknowns, model: LandmarkModel, each: int = 2, some: Sequence[int] | None = None):
        self.unknowns, self.each = unknowns, each
        to: dict[str, Any] = {"dtype": torch.long, "device": model.device}
        of_model = list(zip(model.pair_landmark.tolist(), model.pair_joint.tolist(), strict=True))
        chosen = range(len(model.names)) if some is None else some
        place = {k: n for n, k in enumerate(chosen)}
        levers = [n for n, (k, _) in enumerate(of_model) if k in place]
        pairs = [(place[k], j) for k, j in (of_model[n] for n in levers)]
        self.some = None if some is None else torch.as_tensor(some, **to)
        self.levers = None if some is None else torch.as_tensor([*levers, len(of_model)], **to)
        rotated = {"latent": list(range(1, NUM_BODY_JOINTS + 1))}
        if unknowns.has_jaw:
            rotated["jaw_pose"] = [unknowns.names.index("jaw")]
        rotated |= {f"{side}_hand": joints for side, (joints, _, _) in unknowns.hands.items()}
        self.blocks = {name: BlockJacobian(pairs, joints, each, model.device) for name, joints in rotated.items()}
        self.landmark_of_lever = torch.as_tensor([*(k for k, _ in pairs), 0], **to)
        self._bases = {
            side: basis.T.unflatten(0, (15, 3)).contiguous() for side, (_, _, basis) in unknowns.hands.items()
        }
        corrected = [(place[k], n) for n, k in enumerate(model.corrected.tolist()) if k in place]
        self.corrected = torch.as_tensor([k for k, _ in corrected], **to)
        self._corrected_rows = None if some is None else torch.as_tensor([n for _, n in corrected], **to)
        self.live = {
            name: _shared(model.live_joints.tolist(), joints, model.device) for name, joints in rotated.items()
        }
        root = {k: n for n, (k, j) in enumerate(pairs) if j == 0}
        self.root_levers = torch.as_tensor([root.get(k, len(pairs)) for k in range(len(chosen))], **to)

    def write(
        self,
        jacobian: Float[Tensor, "B K E D"],
        by_rotation: Float[Tensor, "B N1 E 3"],
        state: LandmarkState,
        tangent: Float[Tensor, "B 21 3 Z"],
        left_jacobians: Float[Tensor, "B T 3 3"],
    ) -> None:
        """Fill the columns of all unknowns that rotate joints.

        Args:
            jacobian: filled in place; of the first D unknowns, whole blocks of them.
            by_rotation: d (numbers of a landmark) / d (world rotation of a joint) for each lever, then a zero.
            state: the posed landmarks.
            tangent: the decoder's, see `decode_with_tangent`.
            left_jacobians: left Jacobians of the root, the jaw and the fingers, see `Unknowns.direct_rotations`.
        """
        unknowns, layout, batch = self.unknowns, self.unknowns.layout, len(by_rotation)
        by_root = by_rotation.index_select(1, self.root_levers).flatten(1, 2) @ left_jacobians[:, 0]
        jacobian[..., layout["global_orient"]] = by_root.view(batch, -1, by_rotation.shape[2], 3)
        world = state.kinematics.rotations  # level order
        body = world.index_select(0, unknowns.body_parents).transpose(0, 1)
        self._write("latent", jacobian, by_rotation, (body @ tangent).flatten(1, 2))
        if len(unknowns.direct_parents) == 0 or jacobian.shape[-1] < layout["jaw_pose"].stop:
            return
        rotated = world.index_select(0, unknowns.direct_parents).transpose(0, 1) @ left_jacobians[:, 1:]
        if unknowns.has_jaw:
            self._write("jaw_pose", jacobian, by_rotation, rotated[:, 0])
        fingers_of_sides = rotated[:, int(unknowns.has_jaw) :].split(15, dim=1)
        for (side, basis), fingers in zip(self._bases.items(), fingers_of_sides, strict=True):
            if jacobian.shape[-1] >= layout[f"{side}_hand"].stop:
                self._write(f"{side}_hand", jacobian, by_rotation, (fingers @ basis).flatten(1, 2))

    def add_correctives(
        self,
        jacobian: Float[Tensor, "B K E D"],
        correctives: Correctives,
        tangent: Float[Tensor, "B 21 3 Z"],
        left_jacobians: Float[Tensor, "B T 3 3"],
        of_points: Float[Tensor, "B K E 3"] | None = None,
    ) -> None:
        """Add the derivative of the pose correctives.

        Args:
            jacobian: added to in place, as in `write`.
            correctives: of the posed landmarks.
            tangent, left_jacobians: as in `write`: small rotations in the parents' frames per unit of each unknown.
            of_points: d (numbers of a landmark) / d (its point); None where the numbers are the point's own.
        """
        local = {"latent": tangent}
        if self.unknowns.has_jaw:
            local["jaw_pose"] = left_jacobians[:, 1:2]
        for n, (side, basis) in enumerate(self._bases.items()):
            first = 1 + int(self.unknowns.has_jaw) + 15 * n
            local[f"{side}_hand"] = left_jacobians[:, first : first + 15] @ basis
        by_matrix = correctives.by_matrix
        if self._corrected_rows is not None:
            by_matrix = by_matrix.index_select(1, self._corrected_rows)
        by_matrix = by_matrix.flatten(1, 2).unflatten(2, (-1, 9))
        for name, (places, rows) in self.live.items():
            if len(places) and self.unknowns.layout[name].stop <= jacobian.shape[-1]:
                rotated = correctives.by_turn.index_select(1, places) @ local[name].index_select(1, rows)
                moved = by_matrix.index_select(2, places).flatten(2) @ rotated.flatten(1, 2)  # (B, 3 C, P)
                moved = moved.unflatten(1, (-1, 3))
                if of_points is not None:
                    moved = of_points[:, self.corrected] @ moved
                jacobian[:, self.corrected, :, self.unknowns.layout[name]] += moved

    def _write(self, name: str, jacobian: Tensor, by_rotation: Tensor, tangent: Tensor) -> None:
        self.blocks[name].write(jacobian, self.unknowns.layout[name], by_rotation, tangent)
