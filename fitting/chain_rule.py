"""From turning single joints to turning blocks of parameters: the chain rule over the joints above each landmark.

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

from bodyfit.fitting.landmark_model import LandmarkModel


@dataclass(frozen=True)
class _Group:
    landmarks: Tensor  # (G,) places among the model's landmarks
    rows: Tensor  # (G * L,) lever of each landmark and joint; the one past the last is a zero
    tangent: Tensor | None  # (3 L,) rows of the block's tangent; None: all of them
    length: int


class ChainRule:
    """Writes d residual / d block for all landmarks that the block moves."""

    def __init__(self, model: LandmarkModel, joints: list[int]):
        lever = {(k, j): n for n, (k, j) in enumerate(zip(model.pair_landmark, model.pair_joint, strict=True))}
        block = set(joints)
        ways: dict[int, frozenset[int]] = {}
        for k, j in lever:
            if j in block:
                ways[int(k)] = ways.get(int(k), frozenset()) | {int(j)}
        longest = [w for w in set(ways.values()) if not any(w < other for other in set(ways.values()))]
        longest.sort(key=sorted)
        self.groups: list[_Group] = []
        for way in longest:
            members = sorted(k for k, w in ways.items() if w <= way and next(o for o in longest if w <= o) == way)
            chain = sorted(way, key=joints.index)
            rows = np.array([lever.get((k, j), len(lever)) for k in members for j in chain])
            places = np.array([3 * joints.index(j) + c for j in chain for c in range(3)])
            whole = len(chain) == len(joints)
            tensors = [torch.as_tensor(a, dtype=torch.long, device=model.device) for a in (members, rows, places)]
            self.groups.append(_Group(tensors[0], tensors[1], None if whole else tensors[2], len(chain)))

    def write(
        self,
        jacobian: Float[Tensor, "B K E D"],
        columns: slice,
        rows: Float[Tensor, "N1 B E 3"],
        tangent: Float[Tensor, "B W P"],
    ) -> None:
        """Fill the block's columns.

        Args:
            jacobian: filled in place.
            columns: where the block's P parameters stand among the D.
            rows: d (E numbers of a landmark, such as its pixel) / d (world rotation of a joint) for each lever, and a
                zero row after them.
            tangent: small world rotations of the block's joints (W = 3 x joints) per unit of each parameter.
        """
        batch, each = rows.shape[1:3]
        for group in self.groups:
            count = len(group.landmarks)
            taken = rows.index_select(0, group.rows).view(count, group.length, batch, each, 3)
            taken = taken.permute(2, 0, 3, 1, 4).reshape(batch, count * each, group.length * 3)
            part = tangent if group.tangent is None else tangent.index_select(1, group.tangent)
            jacobian[:, group.landmarks, :, columns] = (taken @ part).view(batch, count, each, -1)
