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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.energy.so3 import cross_matrix

CONTOUR_NAMES = LANDMARK_NAMES[127:]
INNER_FACE_NAMES = LANDMARK_NAMES[76:127]
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


class LandmarkModel:
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
        self.dtype, self.device = dtype, torch.device(device)
        self.joint_names = tuple(body.joint_names)
        self.names = tuple(n for n in (names or LANDMARK_NAMES) if has_landmark(body, n))
        self.num_shape = body.shapedirs.shape[2] + body.exprdirs.shape[2]
        self._order_joints(body)
        self._build_rest(body)
        self._build_pairs(body)
        del self._rest_numpy, self._rest_dirs_numpy, self._dirs_numpy  # 7 MB for each model
        self._build_levers()

    # ---- construction (numpy, float64) --------------------------------------------------------------------------

    def _tensor(self, array: np.ndarray) -> Tensor:
        dtype = self.dtype if np.asarray(array).dtype.kind == "f" else torch.long
        return torch.as_tensor(np.ascontiguousarray(array), dtype=dtype, device=self.device)

    def _order_joints(self, body: BodyModel) -> None:
        depth = np.zeros(len(body.parents), dtype=int)
        for j in range(1, len(depth)):
            depth[j] = depth[body.parents[j]] + 1
        order = np.argsort(depth, kind="stable")
        self.level_rank = np.argsort(order)  # joint -> its place in level order
        self._order, self.parents = self._tensor(order), np.asarray(body.parents)
        self.ancestors = [_chain_to_root(j, self.parents) for j in range(len(depth))]
        self._parent_rank = self._tensor(self.level_rank[np.where(self.parents < 0, 0, self.parents)[order]])
        paths = np.zeros((len(depth), len(depth)))  # 1 where the second joint is the first one or above it
        for j, chain in enumerate(self.ancestors):
            paths[self.level_rank[j], self.level_rank[chain]] = 1
        self._paths = self._tensor(paths)
        levels = [np.flatnonzero(depth[order] == d) for d in range(depth.max() + 1)]
        starts = [level[0] for level in levels]
        self._levels = [  # (slice of this level, parents' places within the level above)
            (slice(level[0], level[-1] + 1), self._tensor(self.level_rank[self.parents[order[level]]] - starts[d - 1]))
            for d, level in enumerate(levels)
            if d > 0
        ]

    def _build_rest(self, body: BodyModel) -> None:
        dirs = np.concatenate([body.shapedirs, body.exprdirs], axis=2)
        used = np.flatnonzero(body.joint_regressor.any(axis=0))  # a few hundred vertices; the whole takes 0.1 s
        regressor = body.joint_regressor[:, used]
        rest = regressor @ body.v_template[used]
        rest_dirs = np.tensordot(regressor, dirs[used], axes=1)
        order = self._order.cpu().numpy()
        above = np.where(self.parents[order] < 0, 0, self.parents[order])
        root = (self.parents[order] < 0)[:, None]
        self._bone = self._tensor(np.where(root, rest[order], rest[order] - rest[above]))
        bone_dirs = np.where(root[..., None], rest_dirs[order], rest_dirs[order] - rest_dirs[above])
        self._bone_dirs = self._tensor(bone_dirs)
        self._rest_numpy, self._rest_dirs_numpy, self._dirs_numpy = rest, rest_dirs, dirs

    def _build_pairs(self, body: BodyModel) -> None:
        """Fixed pairs (landmark, joint) with q affine in shape and pose features; the contour's, by yaw row."""
        self._find_live_correctives(body)
        rows: list[tuple] = []
        for k, name in enumerate(self.names):
            if name in self.joint_names:
                rows.append(self._joint_pair(body, k, self.joint_names.index(name)))
            elif name not in CONTOUR_NAMES:
                rows.extend(self._vertex_pairs(body, k, *_vertices_of(body, name)))
        joints = [row for row in rows if self.names[row[0]] in self.joint_names]
        rows = joints + [row for row in rows if self.names[row[0]] not in self.joint_names]
        self._joints = len(joints)  # pairs of a landmark that is a joint, without an offset from it
        self._skin = self._stack_pairs(rows[len(joints) :])
        self._fixed_weights = self._tensor(np.array([row[2] for row in rows]))
        carried_by = np.zeros((len(self.names), len(self.parents)))
        for k, i, share, *_ in rows:
            carried_by[k, self.level_rank[i]] += share
        self._carried_by = self._tensor(carried_by)  # landmarks by joints (level order), without the contour
        self._build_corrected(rows)
        contour = [k for k, name in enumerate(self.names) if name in CONTOUR_NAMES]
        self._contour = self._build_contour(body, contour) if contour else None
        pair_k = [r[0] for r in rows] + ([] if self._contour is None else self._contour["k"])
        pair_i = [r[1] for r in rows] + ([] if self._contour is None else self._contour["i"])
        self._pair_k, self._pair_i = np.array(pair_k), np.array(pair_i)
        self._pair_landmark_index = self._tensor(self._pair_k)
        self._pair_joint_rank = self._tensor(self.level_rank[self._pair_i])

    def _find_live_correctives(self, body: BodyModel) -> None:
        """The pose features that move any landmark: elbows and knees correct much skin, but few landmarks."""
        skin = [_vertices_of(body, n)[0] for n in self.names if n not in self.joint_names and n not in CONTOUR_NAMES]
        columns = [CONTOUR_NAMES.index(n) for n in self.names if n in CONTOUR_NAMES]
        if columns:
            skin.append(np.unique(body.faces[body.contour_faces[:, columns]]))
        vertices = np.concatenate([*skin, np.zeros(0, dtype=int)])
        moving = np.flatnonzero(np.any(body.posedirs[vertices] != 0, axis=(0, 1)))
        self.live_joints = np.unique(moving // 9 + 1)
        self._live_joints = self._tensor(self.live_joints)
        self._live = (9 * (self.live_joints[:, None] - 1) + np.arange(9)).ravel()
        self._live_features, self.has_correctives = self._tensor(self._live), len(self._live) > 0

    def _joint_pair(self, body: BodyModel, k: int, j: int) -> tuple:
        return k, j, 1.0, np.zeros(3), np.zeros((3, self.num_shape)), np.zeros((3, len(self._live)))

    def _vertex_pairs(self, body: BodyModel, k: int, vertices: np.ndarray, share: np.ndarray) -> list[tuple]:
        weights = share[:, None] * body.weights[vertices]
        pairs = []
        for i in np.flatnonzero(np.any(weights != 0, axis=0)):
            m, total = weights[:, i], weights[:, i].sum()
            q = m @ body.v_template[vertices] - total * self._rest_numpy[i]
            q_dirs = np.tensordot(m, self._dirs_numpy[vertices], axes=1) - total * self._rest_dirs_numpy[i]
            pairs.append(
                (k, int(i), total, q, q_dirs, np.tensordot(m, body.posedirs[vertices][..., self._live], axes=1))
            )
        return pairs

    def _stack_pairs(self, rows: list[tuple]) -> dict[str, Tensor]:
        """Offsets of pairs that have one."""
        sizes = {"q": (3,), "dirs": (3, self.num_shape), "pose": (3, len(self._live))}
        columns = dict(zip(sizes, zip(*(row[3:] for row in rows), strict=True), strict=True)) if rows else {}
        return {
            key: self._tensor(np.array(columns.get(key, ()), dtype=float).reshape(len(rows), *size))
            for key, size in sizes.items()
        }

    def _build_corrected(self, rows: list[tuple]) -> None:
        """The fixed landmarks that correctives move, grouped by how many pairs they have; the contour comes last."""
        pairs: dict[int, list[int]] = {}
        for p, row in enumerate(rows):
            if np.any(row[5]):
                pairs.setdefault(row[0], []).append(p)
        landmarks = sorted(pairs, key=lambda k: len(pairs[k]))
        self._corrected_groups = []  # (pairs of its landmarks, their correctives)
        for size in sorted({len(ps) for ps in pairs.values()}):
            group = self._tensor(np.array([pairs[k] for k in landmarks if len(pairs[k]) == size]))
            group = group - self._joints
            self._corrected_groups.append((group, self._skin["pose"][group].flatten(1, 2)))
        contour = [k for k, name in enumerate(self.names) if name in CONTOUR_NAMES and self.has_correctives]
        self.corrected = self._tensor(np.array(landmarks + contour, dtype=int))

    def _build_contour(self, body: BodyModel, landmarks: list[int]) -> dict:
        """Pairs of the contour points for each of the 79 yaws; all rows share one list of joints, which leads."""
        columns = [CONTOUR_NAMES.index(self.names[k]) for k in landmarks]
        faces = body.faces[body.contour_faces[:, columns]]  # (79, C, 3) vertices
        joints = np.flatnonzero(np.any(body.weights[np.unique(faces)] != 0, axis=0))
        m = body.contour_bary[:, columns][..., None] * body.weights[faces][..., joints]  # (79, C, 3, I)
        w = m.sum(2)
        q = np.einsum("rkvi,rkvc->rkic", m, body.v_template[faces]) - w[..., None] * self._rest_numpy[joints]
        dirs = np.einsum("rkvi,rkvcs->rkics", m, self._dirs_numpy[faces])
        dirs -= w[..., None, None] * self._rest_dirs_numpy[joints]
        pairs = len(columns) * len(joints)
        table = {
            "w": self._tensor(w.transpose(0, 2, 1).reshape(len(w), pairs)),
            "q": self._tensor(q.transpose(0, 2, 1, 3).reshape(len(w), pairs, 3)),
            "dirs": self._tensor(dirs.transpose(0, 2, 3, 1, 4)),  # (79, I, 3, C, S)
            "landmarks": self._tensor(np.array(landmarks)),
            "ranks": self._tensor(self.level_rank[joints]),
            "k": [k for _ in joints for k in landmarks],
            "i": [int(i) for i in joints for _ in landmarks],
            "neck": int(self.level_rank[self.joint_names.index("neck")]),
        }
        if self.has_correctives:
            pose = np.einsum("rkvi,rkvcp->rkicp", m, body.posedirs[faces][..., self._live])
            table["pose"] = self._tensor(pose.transpose(0, 2, 1, 3, 4).reshape(len(w), pairs, 3, -1))
        return table

    def _build_levers(self) -> None:
        lever_of: dict[tuple[int, int], int] = {}
        into, source = [], []
        for p, (k, i) in enumerate(zip(self._pair_k, self._pair_i, strict=True)):
            for j in self.ancestors[i]:
                into.append(lever_of.setdefault((int(k), j), len(lever_of)))
                source.append(p)
        # A joint does not move when it rotates itself: such levers are zero and left out.
        still = {n for (k, j), n in lever_of.items() if self.names[k] == self.joint_names[j]}
        keys = [key for key, n in lever_of.items() if n not in still]
        renumber = {lever_of[key]: n for n, key in enumerate(keys)}
        kept = [(renumber[n], p) for n, p in zip(into, source, strict=True) if n not in still]
        self.pair_landmark = np.array([k for k, _ in keys])
        self.pair_joint = np.array([j for _, j in keys])
        self._lever_into = self._tensor(np.array([n for n, _ in kept]))
        self._lever_source = self._tensor(np.array([p for _, p in kept]))
        self._lever_joint_rank = self._tensor(np.append(self.level_rank[self.pair_joint], 0))

    # ---- evaluation (torch) -------------------------------------------------------------------------------------

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
            carriers = (
                turn[pairs.flatten()].unflatten(0, (count, size)).permute(0, 2, 3, 1, 4)
            )  # (count, B, 3, size, 3)
            moved = carriers.reshape(count, batch * 3, size * 3) @ pose
            by_matrix[:, at : at + count] = moved.unflatten(1, (batch, 3)).transpose(0, 1)
            at += count
        if self._contour is not None:
            pose, skin = self._contour["pose"][self.contour_rows(bones)], len(self._skin["q"])
            by_pair = turn[skin:].transpose(0, 1) @ pose  # (B, pairs, 3, F)
            by_matrix[:, at:] = by_pair.unflatten(1, (-1, len(self.corrected) - at)).sum(1)
        local = rotations[:, self.live_joints].transpose(
            2, 3
        )  # its rows are R's columns r_c, and d r_c = -[r_c]_x omega
        by_turn = -cross_matrix(local).transpose(2, 3)  # (B, L, row, column, omega)
        return Correctives(by_matrix, by_turn.flatten(2, 3))


def _linear(numbers: Float[Tensor, "B S"], directions: Float[Tensor, "P 3 S"]) -> Float[Tensor, "P B 3"]:
    """Each pair's offset along its directions: one matrix product for all pairs."""
    return (numbers @ directions.flatten(0, 1).T).unflatten(1, (-1, 3)).transpose(0, 1)


def _sum_into(values: Tensor, index: Tensor, count: int) -> Tensor:
    return values.new_zeros((count, *values.shape[1:])).index_add(0, index, values)


def _chain_to_root(joint: int, parents: np.ndarray) -> list[int]:
    chain = [joint]
    while parents[chain[-1]] >= 0:
        chain.append(int(parents[chain[-1]]))
    return chain


def has_landmark(body: BodyModel, name: str) -> bool:
    """Whether a body model has a landmark of this name."""
    if name in body.joint_names or name in body.extra_vertex_ids:
        return True
    if name in INNER_FACE_NAMES:
        return body.face_landmark_faces is not None
    return name in CONTOUR_NAMES and body.contour_faces is not None


def in_limb_order(body: BodyModel, names: Sequence[str]) -> tuple[str, ...]:
    """The landmarks that the body has, sorted by kinematic chain.

    The Jacobian's rows are then written in blocks: landmarks that move with the same joints are consecutive.
    """
    parents = np.asarray(body.parents)

    def way(name: str) -> list[int]:
        if name not in body.joint_names:
            return _chain_to_root(_carrier(body, name), parents)[::-1]
        above = parents[body.joint_names.index(name)]  # a joint does not move when it rotates itself
        return _chain_to_root(above, parents)[::-1] if above >= 0 else []

    return tuple(sorted((n for n in names if has_landmark(body, n)), key=way))


def _carrier(body: BodyModel, name: str) -> int:
    """The joint that carries most of a landmark on the skin."""
    if name in CONTOUR_NAMES:
        return body.joint_names.index("head")
    vertices, share = _vertices_of(body, name)
    return int((share @ body.weights[vertices]).argmax())


def _vertices_of(body: BodyModel, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of a landmark on the skin and their shares in it."""
    if name in body.extra_vertex_ids:
        return np.array([body.extra_vertex_ids[name]]), np.ones(1)
    k = INNER_FACE_NAMES.index(name)
    return body.faces[body.face_landmark_faces[k]], body.face_landmark_bary[k]
