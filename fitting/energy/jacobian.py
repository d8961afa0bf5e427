"""From the rotation of single joints to blocks of parameters: the chain rule over the joints above each landmark.

A block of parameters (the latent, one hand, the jaw) turns some joints. A landmark feels only those of them that lie on
its way to the root, so landmarks are grouped by that way (two legs, two arms and the head for the latent), and each
group is one small batched matrix product: rows (landmarks x joints of the way) times tangent (joints of the way x
parameters).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.energy.landmark_model import Correctives, LandmarkModel, LandmarkState
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.prior.model.parts import NUM_BODY_JOINTS


@dataclass(frozen=True)
class _Groups:
    """Groups of one form: G ways of L joints, each with the same number of landmarks."""

    landmarks: slice | Tensor  # G * count places among the model's landmarks
    levers: Tensor  # (G, count, L) the lever of each landmark and joint; the one past the last is a zero
    tangent: Tensor | None  # (G * 3 L,) rows of the block's tangent; None: all of them, in order

    @property
    def count(self) -> int:
        return len(self.levers)


class BlockJacobian:
    """Writes d residual / d block for all landmarks that the block moves.

    Args:
        model: its landmarks and levers.
        joints: the block's joints, in the order of its tangent's rows.
        each: numbers a landmark has: 2 for pixels, 3 for points.
    """

    def __init__(self, model: LandmarkModel, joints: list[int], each: int = 2):
        self.each = each
        lever = {(k, j): n for n, (k, j) in enumerate(zip(model.pair_landmark, model.pair_joint, strict=True))}
        forms: dict[tuple[int, int], list[tuple[list[int], list[int]]]] = {}
        for chain, members in _ways(lever, joints):
            forms.setdefault((len(members), len(chain)), []).append((members, chain))
        self.groups: list[_Groups] = []
        self._rows: list[Tensor] = []
        for groups in forms.values():
            levers = np.array([[[lever.get((k, j), len(lever)) for j in chain] for k in ms] for ms, chain in groups])
            places = np.array([3 * joints.index(j) + c for _, chain in groups for j in chain for c in range(3)])
            whole = np.array_equal(places, np.arange(3 * len(joints)))
            landmarks = _slice_or_index([k for members, _ in groups for k in members], model.device)
            to = {"dtype": torch.long, "device": model.device}
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
            columns: where the block's P parameters stand among the D.
            by_rotation: d (E numbers of a landmark, such as its pixel) / d (world rotation of a joint) for each lever,
                and a zero after them.
            tangent: small world rotations of the block's joints (W = 3 x joints) per unit of each parameter.
        """
        batch = len(by_rotation)
        flat = by_rotation.flatten(1, 2)
        for group, rows in zip(self.groups, self._rows, strict=True):
            ways, count, length = group.levers.shape
            taken = flat.index_select(1, rows).view(batch, ways, count * self.each, 3 * length)
            part = tangent if group.tangent is None else tangent.index_select(1, group.tangent)
            moved = taken @ part.view(batch, ways, 3 * length, -1)
            jacobian[:, group.landmarks, :, columns] = moved.view(batch, ways * count, self.each, -1)


def _ways(lever: dict[tuple[int, int], int], joints: list[int]) -> list[tuple[list[int], list[int]]]:
    """(joints of the way, landmarks that feel some of them and no others), the longest ways only."""
    block = set(joints)
    felt: dict[int, frozenset[int]] = {}
    for k, j in lever:
        if j in block:
            felt[int(k)] = felt.get(int(k), frozenset()) | {int(j)}
    longest = [w for w in set(felt.values()) if not any(w < other for other in set(felt.values()))]
    longest.sort(key=sorted)
    members: dict[frozenset[int], list[int]] = {way: [] for way in longest}
    for k in sorted(felt):
        members[next(way for way in longest if felt[k] <= way)].append(k)
    return [(sorted(way, key=joints.index), members[way]) for way in longest if members[way]]


def _shared(first: list[int], second: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Places in each of two lists of what stands in both."""
    pairs = [(n, second.index(item)) for n, item in enumerate(first) if item in second]
    both = torch.tensor(pairs, dtype=torch.long, device=device).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _slice_or_index(places: list[int], device: torch.device) -> slice | Tensor:
    """Neighbours as a slice, which is written many times faster."""
    if places == list(range(places[0], places[0] + len(places))):
        return slice(places[0], places[-1] + 1)
    return torch.tensor(places, device=device)


class RotationJacobian:
    """How landmarks move when the unknowns turn joints: root, latent, jaw and hands.

    Args:
        unknowns: the unknowns.
        model: the landmarks.
        each: numbers a landmark has: 2 for pixels, 3 for points.

    Attributes:
        landmark_of_lever: the landmark of each lever, and any for the zero after them.
    """

    def __init__(self, unknowns: Unknowns, model: LandmarkModel, each: int = 2):
        self.unknowns = unknowns
        turned = {"latent": list(range(1, NUM_BODY_JOINTS + 1))}
        if unknowns.has_jaw:
            turned["jaw_pose"] = [unknowns.names.index("jaw")]
        turned |= {f"{side}_hand": joints for side, (joints, _, _) in unknowns.hands.items()}
        self.blocks = {name: BlockJacobian(model, joints, each) for name, joints in turned.items()}
        to = {"dtype": torch.long, "device": model.device}
        self.landmark_of_lever = torch.as_tensor(np.append(model.pair_landmark, 0), **to)
        self.corrected = model.corrected
        self.live = {name: _shared(model.live_joints.tolist(), joints, model.device) for name, joints in turned.items()}
        root = {int(k): n for n, (k, j) in enumerate(zip(model.pair_landmark, model.pair_joint, strict=True)) if j == 0}
        still = len(model.pair_landmark)
        self.root_levers = torch.as_tensor([root.get(k, still) for k in range(len(model.names))], **to)

    def write(
        self,
        jacobian: Float[Tensor, "B K E D"],
        by_rotation: Float[Tensor, "B N1 E 3"],
        state: LandmarkState,
        tangent: Float[Tensor, "B 21 3 Z"],
        slopes: Float[Tensor, "B T 3 3"],
    ) -> None:
        """Fill the columns of all unknowns that turn joints.

        Args:
            jacobian: filled in place.
            by_rotation: d (numbers of a landmark) / d (world rotation of a joint) for each lever, then a zero.
            state: the posed landmarks.
            tangent: the decoder's, see `decode_with_tangent`.
            slopes: left Jacobians of the root, the jaw and the fingers, see `Unknowns.turns`.
        """
        unknowns, layout, batch = self.unknowns, self.unknowns.layout, len(by_rotation)
        by_root = by_rotation.index_select(1, self.root_levers).flatten(1, 2) @ slopes[:, 0]
        jacobian[..., layout["global_orient"]] = by_root.view(batch, -1, by_rotation.shape[2], 3)
        world = state.kinematics.rotations  # level order
        body = world.index_select(0, unknowns.body_parents).transpose(0, 1)
        self._write("latent", jacobian, by_rotation, (body @ tangent).flatten(1, 2))
        if len(unknowns.turn_parents) == 0:
            return
        turns = world.index_select(0, unknowns.turn_parents).transpose(0, 1) @ slopes[:, 1:]
        if unknowns.has_jaw:
            self._write("jaw_pose", jacobian, by_rotation, turns[:, 0])
        for side, fingers in zip(unknowns.hands, turns[:, int(unknowns.has_jaw) :].split(15, dim=1), strict=True):
            basis = unknowns.hands[side][2].T.unflatten(0, (15, 3))
            self._write(f"{side}_hand", jacobian, by_rotation, (fingers @ basis).flatten(1, 2))

    def add_correctives(
        self,
        jacobian: Float[Tensor, "B K E D"],
        correctives: Correctives,
        tangent: Float[Tensor, "B 21 3 Z"],
        slopes: Float[Tensor, "B T 3 3"],
        of_points: Float[Tensor, "B K E 3"] | None = None,
    ) -> None:
        """Add what pose correctives do when joints turn.

        Args:
            jacobian: added to in place.
            correctives: of the posed landmarks.
            tangent, slopes: as in `write`: small rotations in the parents' frames per unit of each unknown.
            of_points: d (numbers of a landmark) / d (its point); None where the numbers are the point's own.
        """
        local = {"latent": tangent}
        if self.unknowns.has_jaw:
            local["jaw_pose"] = slopes[:, 1:2]
        for n, (side, (_, _, basis)) in enumerate(self.unknowns.hands.items()):
            first = 1 + int(self.unknowns.has_jaw) + 15 * n
            local[f"{side}_hand"] = slopes[:, first : first + 15] @ basis.T.unflatten(0, (15, 3))
        by_matrix = correctives.by_matrix.flatten(1, 2).unflatten(2, (-1, 9))
        for name, (places, rows) in self.live.items():
            if len(places):
                turned = correctives.by_turn.index_select(1, places) @ local[name].index_select(1, rows)
                moved = by_matrix.index_select(2, places).flatten(2) @ turned.flatten(1, 2)  # (B, 3 C, P)
                moved = moved.unflatten(1, (-1, 3))
                if of_points is not None:
                    moved = of_points[:, self.corrected] @ moved
                jacobian[:, self.corrected, :, self.unknowns.layout[name]] += moved

    def _write(self, name: str, jacobian: Tensor, by_rotation: Tensor, tangent: Tensor) -> None:
        self.blocks[name].write(jacobian, self.unknowns.layout[name], by_rotation, tangent)
