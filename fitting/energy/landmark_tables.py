"""What the reduced landmark model knows of a body: computed once, in float64, from its template, shapes and weights.

A landmark is a sum over few pairs (landmark, joint), as `landmark_model` derives it: for each pair its share w_ki of
the joint's blend weight, and its offset q_ki from the joint at rest with the derivatives of that in shape and in pose
features. The face contour has such pairs for each of its 79 yaws.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.energy.landmark_places import CONTOUR_NAMES, chain_to_root, has_landmark, vertices_of


class LandmarkTables:
    """The pairs, joints and levers of the landmarks of a body model, as tensors.

    Args:
        body: the body model.
        names: the landmarks; those that the body lacks are left out. None: all of LANDMARK_NAMES.
        dtype, device: of the tensors.
    """

    def __init__(
        self,
        body: BodyModel,
        names: tuple[str, ...] | None,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        self.dtype, self.device = dtype, torch.device(device)
        self.joint_names = tuple(body.joint_names)
        self.names = tuple(n for n in (names or LANDMARK_NAMES) if has_landmark(body, n))
        self.num_shape = body.shapedirs.shape[2] + body.exprdirs.shape[2]
        self._order_joints(body)
        self._build_rest(body)
        self._build_pairs(body)
        del self._rest_numpy, self._rest_dirs_numpy, self._dirs_numpy  # 7 MB for each model
        self._build_levers()

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
        self.ancestors = [chain_to_root(j, self.parents) for j in range(len(depth))]
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
                rows.extend(self._vertex_pairs(body, k, *vertices_of(body, name)))
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
        skin = [vertices_of(body, n)[0] for n in self.names if n not in self.joint_names and n not in CONTOUR_NAMES]
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
