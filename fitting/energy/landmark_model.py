"""The reduced landmark model: the few body points that residuals use, posed exactly, without the mesh.

A landmark is a fixed linear combination of vertices, p_k = sum_v m_kv v. Under linear blend skinning, with joint i's
world rotation R_i, its position o_i and its rest position J_i,

    p_k = sum_i ( R_i q_ki + w_ki o_i ),   q_ki = sum_v m_kv W_vi (v_v - J_i),   w_ki = sum_v m_kv W_vi,

where q_ki is affine in shape (betas and expression) and in the pose features, so it is computed once for the few pairs
(k, i) that are not zero. Nothing is approximated; a full forward of SMPL-X costs 27 times as much.

Rotating joint j by a small world-frame rotation omega moves all that hangs below it about o_j, so

    d p_k / d omega_j = -[ l_kj ]_x,   l_kj = sum_{i below or at j} ( R_i q_ki + w_ki o_i ) - (sum_i w_ki) o_j.

The *levers* l_kj are all that a solver needs to chain with any parameterisation of the rotations, but for one thing:
joints also bulge the skin around them. Pose correctives are linear in the joints' rotation matrices: `Correctives`.
Inside, joints are numbered level by level down the tree and tensors carry joints or pairs first and the batch second,
so that kinematics are a few batched products and sums over pairs are contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.fitting.energy.landmark_tables import LandmarkTables
from bodyfit.fitting.energy.so3 import cross_matrix

FLIP_Y_Z = (1.0, -1.0, -1.0)  # half a turn about x: camera axes (y down, z forward) from world axes (y up, z back)


@dataclass(frozen=True)
class Kinematics:
    """World rotations and positions of all joints, in level order, and how positions move with shape."""

    rotations: Float[Tensor, "J B 3 3"]
    positions: Float[Tensor, "J B 3"]
    shape_jacobian: Float[Tensor, "J B 3 S"] | None


@dataclass(frozen=True)
class Correctives:
    """The part of landmarks' derivatives that is due to pose correctives."""

    by_matrix: Float[Tensor, "B C 3 9L"]
    """Derivative of the corrected landmarks in the numbers of the live joints' rotation matrices."""
    by_turn: Float[Tensor, "B L 9 3"]
    """Derivative of these numbers in a small rotation omega of each joint in its parent's frame: dR = [omega]_x R."""


@dataclass(frozen=True)
class LandmarkState:
    """Posed landmarks, and what their derivatives are computed from."""

    points: Float[Tensor, "B K 3"]
    kinematics: Kinematics
    levers: Float[Tensor, "N1 B 3"] | None
    """One for each of the model's pairs, and a zero after them."""
    shape_jacobian: Float[Tensor, "B K 3 S"] | None
    correctives: Correctives | None
    """None where the model has none."""


class LandmarkModel(LandmarkTables):
    """Landmarks of a body model as an exact function of joint rotations, shape and translation.

    Args:
        body: the body model; SMPL and SMPL-H have fewer joints and no face, so fewer landmarks.
        names: the landmarks to pose; those that the body lacks are left out. Default: all of LANDMARK_NAMES.
        contour_view: where the face contour is seen from. "camera": the silhouette as an OpenCV camera sees it.
            "smplx": the row smplx's own forward would take, which reads the yaw in y-up axes.

    Attributes:
        names: landmarks present, in the order of `points`.
        pair_landmark, pair_joint: for each lever, its landmark and its joint (SMPL-X order).
        live_joints, corrected: joints whose pose correctives move any landmark, and the landmarks that these move.
    """

    def __init__(
        self,
        body: BodyModel,
        *,
        names: tuple[str, ...] | None = None,
        contour_view: str = "camera",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        if contour_view not in ("camera", "smplx"):
            raise ValueError(f"contour_view must be 'camera' or 'smplx', got {contour_view!r}")
        self.contour_view = contour_view
        self._flip = torch.tensor(FLIP_Y_Z, dtype=dtype, device=device)[:, None]
        super().__init__(body, names, dtype, device)

    def kinematics(
        self, rotations: Float[Tensor, "B J 3 3"], shape: Float[Tensor, "B S"], *, derivatives: bool = True
    ) -> Kinematics:
        """World rotations and positions of all joints (level order), and their derivative in shape."""
        local = rotations.transpose(0, 1).index_select(0, self._order)
        turn = [local[:1]]
        for level, parent in self._levels:
            turn.append(turn[-1].index_select(0, parent) @ local[level])
        turn = torch.cat(turn)
        above = turn.index_select(0, self._parent_rank)
        bone = self._bone[:, None] + _linear(shape, self._bone_dirs)  # (J, B, 3), from the parent, in its frame
        place = self._sum_of_bones((above @ bone[..., None])[..., 0], bone)
        moved = None
        if derivatives:
            step = (above.flatten(1, 2) @ self._bone_dirs).unflatten(1, (-1, 3))  # (J, B, 3, S)
            moved = self._sum_of_bones(step, self._bone_dirs[:, None].expand_as(step))
        return Kinematics(turn, place, moved)

    def _sum_of_bones(self, turned: Float[Tensor, "J ..."], rest: Float[Tensor, "J ..."]) -> Tensor:
        """Positions of all joints from the bones that lead to them; the root's own bone is not rotated."""
        turned[0] = rest[0]
        return (self._paths @ turned.flatten(1)).view_as(turned)

    def __call__(
        self,
        rotations: Float[Tensor, "B J 3 3"],
        shape: Float[Tensor, "B S"],
        transl: Float[Tensor, "B 3"],
        *,
        derivatives: bool = True,
    ) -> LandmarkState:
        """Pose the landmarks.

        Args:
            rotations: each joint's rotation relative to its parent (the root's to the camera), SMPL-X order.
            shape: betas followed by expression.
            transl: added to every point, metres.
            derivatives: also return levers and the shape Jacobian.
        """
        bones, n = self.kinematics(rotations, shape, derivatives=derivatives), self._joints
        turn = bones.rotations.index_select(0, self._pair_joint_rank[n:])  # (P, B, 3, 3), of pairs with an offset
        carried = bones.positions.index_select(0, self._pair_joint_rank)
        w, q, contour = self._pairs_at(rotations, bones, shape)
        carried[n:] = torch.addcmul((turn @ q[..., None])[..., 0], w[n:, :, None], carried[n:])
        points = _sum_into(carried, self._pair_landmark_index, len(self.names))
        levers = jacobian = corrective = None
        if derivatives:
            levers = self._levers(carried, w, bones)
            jacobian = self._shape_jacobian(turn, w, contour, bones)
            corrective = self._correctives(rotations, turn, bones) if self.has_correctives else None
        return LandmarkState(points.transpose(0, 1) + transl[:, None], bones, levers, jacobian, corrective)

    def _pairs_at(self, rotations: Tensor, bones: Kinematics, shape: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Weights (N, B) of all pairs, offsets (P, B, 3) of those that have one, and the shape derivatives of the
        contour's (B, I, 3, C, S)."""
        skin, batch = self._skin, shape.shape[0]
        q = skin["q"][:, None] + _linear(shape, skin["dirs"])
        w = self._fixed_weights[:, None].expand(-1, batch)
        feature = None
        if self.has_correctives:
            eye = torch.eye(3, dtype=shape.dtype, device=shape.device)
            feature = (rotations[:, 1:] - eye).flatten(1).index_select(1, self._live_features)
            q = q + _linear(feature, skin["pose"])
        if self._contour is None:
            return w, q, None
        table, row = self._contour, self.contour_rows(bones)
        dirs = table["dirs"].index_select(0, row)
        moved = (dirs.flatten(1, 3) @ shape[..., None]).view(dirs.shape[:4])  # (B, I, 3, C)
        q_contour = table["q"].index_select(0, row) + moved.transpose(2, 3).flatten(1, 2)
        if feature is not None:
            q_contour = q_contour + (table["pose"][row] @ feature[:, None, :, None])[..., 0]
        w = torch.cat([w, table["w"].index_select(0, row).transpose(0, 1)])
        return w, torch.cat([q, q_contour.transpose(0, 1)]), dirs

    def contour_rows(self, bones: Kinematics) -> Int[Tensor, " B"]:
        """Which of the 79 contour rows each head shows: by its yaw in whole degrees, as smplx numbers them.

        smplx reads the yaw down to the neck joint, without the head joint; so do we.
        """
        neck = bones.rotations[self._contour["neck"]]
        if self.contour_view == "camera":
            neck = neck * self._flip
        yaw = torch.atan2(-neck[:, 2, 0], torch.hypot(neck[:, 0, 0], neck[:, 1, 0]))
        degrees = torch.round((-torch.rad2deg(yaw)).clamp(max=39)).long()
        return torch.where(degrees < -39, 78, torch.where(degrees < 0, 39 - degrees, degrees))

    def _levers(self, carried: Tensor, w: Tensor, bones: Kinematics) -> Float[Tensor, "N1 B 3"]:
        both = torch.cat([carried, w[..., None]], dim=2).index_select(0, self._lever_source)
        below = _sum_into(both, self._lever_into, len(self.pair_joint) + 1)
        joints = bones.positions.index_select(0, self._lever_joint_rank)
        return torch.addcmul(below[..., :3], below[..., 3:], joints, value=-1)

    def _shape_jacobian(
        self, turn: Tensor, w: Tensor, contour: Tensor | None, bones: Kinematics
    ) -> Float[Tensor, "B K 3 S"]:
        """Landmarks move with the joints that carry them, and so do their offsets from these."""
        joints, skin, n = bones.shape_jacobian, self._skin["dirs"], self._joints  # (J, B, 3, S)
        moved = (self._carried_by @ joints.flatten(1)).view(len(self.names), *joints.shape[1:])
        offsets = turn[: len(skin)].flatten(1, 2) @ skin
        moved.index_add_(0, self._pair_landmark_index[n : n + len(skin)], offsets.view(len(skin), *joints.shape[1:]))
        if contour is not None:
            table, count = self._contour, contour.shape[3]
            frames = turn[len(skin) :: count].permute(1, 2, 0, 3).flatten(2)  # (B, 3, 3 I)
            offsets = (frames @ contour.flatten(1, 2).flatten(2)).unflatten(2, (count, -1)).transpose(1, 2)
            shares = w[n + len(skin) :].unflatten(0, (-1, count)).permute(2, 1, 0)  # (B, C, I)
            carriers = joints.index_select(0, table["ranks"]).transpose(0, 1).flatten(2)
            silhouette = (shares @ carriers).view_as(offsets) + offsets
            moved.index_copy_(0, table["landmarks"], silhouette.transpose(0, 1))
        return moved.transpose(0, 1)

    def _correctives(self, rotations: Tensor, turn: Tensor, bones: Kinematics) -> Correctives:
        batch, at = rotations.shape[0], 0
        by_matrix = turn.new_empty(batch, len(self.corrected), 3, len(self._live))
        for pairs, pose in self._corrected_groups:
            count, size = pairs.shape
            of_pairs = turn[pairs.flatten()].unflatten(0, (count, size))
            carriers = of_pairs.permute(0, 2, 3, 1, 4)  # (count, B, 3, size, 3)
            moved = carriers.reshape(count, batch * 3, size * 3) @ pose
            by_matrix[:, at : at + count] = moved.unflatten(1, (batch, 3)).transpose(0, 1)
            at += count
        if self._contour is not None:
            pose, skin = self._contour["pose"][self.contour_rows(bones)], len(self._skin["q"])
            by_pair = turn[skin:].transpose(0, 1) @ pose  # (B, pairs, 3, F)
            by_matrix[:, at:] = by_pair.unflatten(1, (-1, len(self.corrected) - at)).sum(1)
        # The rows of the transpose are R's columns r_c, and d r_c = -[r_c]_x omega.
        local = rotations[:, self.live_joints].transpose(2, 3)
        by_turn = -cross_matrix(local).transpose(2, 3)  # (B, L, row, column, omega)
        return Correctives(by_matrix, by_turn.flatten(2, 3))


def _linear(numbers: Float[Tensor, "B S"], directions: Float[Tensor, "P 3 S"]) -> Float[Tensor, "P B 3"]:
    """Each pair's offset along its directions: one matrix product for all pairs."""
    return (numbers @ directions.flatten(0, 1).T).unflatten(1, (-1, 3)).transpose(0, 1)


def _sum_into(values: Tensor, index: Tensor, count: int) -> Tensor:
    return values.new_zeros((count, *values.shape[1:])).index_add(0, index, values)
