"""A body's spheres as fits pose them: centres and radii from the kinematics of the landmarks, and their derivatives.

A centre is skinned like a vertex: c = sum_i ( R_i q_i + w_i o_i ) with q_i = w_i (rest centre - joint i), affine in
shape. `landmark_model` has the same formula for landmarks; joints are posed once for both. Derivatives are wanted for
few pairs of spheres, so they are computed for these alone, as one row of numbers for each pair.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.volume import MOST_JOINTS, Spheres
from bodyfit.fitting.energy.landmark_model import Kinematics, LandmarkModel


class SphereModel:
    """Spheres of a body as a function of the posed joints and the shape.

    Args:
        body: the body that the spheres fill.
        spheres: the spheres.
        model: any landmarks of this body: their joints' order, device and type are used.

    Attributes:
        allowance: how deep each pair may overlap, m; infinite for neighbours.
    """

    def __init__(self, body: BodyModel, spheres: Spheres, model: LandmarkModel):
        self.count, rest = len(spheres), body.joint_regressor @ body.v_template
        to = {"dtype": model.dtype, "device": model.device}
        joints = np.argsort(-spheres.weights, axis=1, kind="stable")[:, :MOST_JOINTS]  # (S, 4), some of weight zero
        weights = np.take_along_axis(spheres.weights, joints, 1)
        dirs = np.concatenate([body.shapedirs, body.exprdirs], axis=2)
        rest_dirs = np.einsum("jv,vcn->jcn", body.joint_regressor, dirs)
        centre_dirs = np.zeros((self.count, 3, dirs.shape[2]))
        centre_dirs[..., : body.num_betas] = spheres.centre_dirs
        q = weights[..., None] * (spheres.centres[:, None] - rest[joints])
        q_dirs = weights[..., None, None] * (centre_dirs[:, None] - rest_dirs[joints])
        self.weights, self.q, self.q_dirs = (torch.as_tensor(a, **to) for a in (weights, q, q_dirs))
        self.ranks = torch.as_tensor(model.level_rank[joints], device=model.device)
        radius_dirs = np.zeros((self.count, dirs.shape[2]))
        radius_dirs[:, : body.num_betas] = spheres.radius_dirs
        self.radii0, self.radius_dirs = torch.as_tensor(spheres.radii, **to), torch.as_tensor(radius_dirs, **to)
        self.allowance = torch.as_tensor(spheres.allowance(), **to)
        below = np.zeros((body.num_joints, body.num_joints))
        for j, chain in enumerate(model.ancestors):
            below[model.level_rank[j], chain] = 1
        self._turned_by = torch.as_tensor(below, **to)
        self._rank_of = torch.as_tensor(model.level_rank, device=model.device)
        used = torch.as_tensor(weights > 0, device=model.device).nonzero()  # pairs of a sphere and a joint
        self._sphere, self._slot = used.unbind(1)
        self._pair_rank = self.ranks[self._sphere, self._slot]
        self._pair_w, self._pair_q = self.weights[self._sphere, self._slot], self.q[self._sphere, self._slot]
        self._pair_dirs = self.q_dirs[self._sphere, self._slot].flatten(0, 1).T.contiguous()

    def radii(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B N"]:
        """Of all spheres."""
        return torch.addmm(self.radii0, shape, self.radius_dirs.T)

    def centres(self, bones: Kinematics, shape: Float[Tensor, "B S"]) -> Float[Tensor, "N B 3"]:
        """Of all spheres, without the body's translation."""
        q = self._pair_q[:, None] + (shape @ self._pair_dirs).unflatten(1, (-1, 3)).transpose(0, 1)
        turn, place = (values.index_select(0, self._pair_rank) for values in (bones.rotations, bones.positions))
        carried = torch.addcmul((turn @ q[..., None])[..., 0], self._pair_w[:, None, None], place)
        return carried.new_zeros(self.count, *carried.shape[1:]).index_add(0, self._sphere, carried)

    def moved_along(
        self,
        bones: Kinematics,
        shape: Float[Tensor, "B S"],
        item: Int[Tensor, " E"],
        sphere: Int[Tensor, " E"],
        direction: Float[Tensor, "E 3"],
    ) -> tuple[Float[Tensor, "E J 3"], Float[Tensor, "E S"]]:
        """Derivatives of direction . centre, for E spheres of people of the batch.

        Args:
            bones, shape: all people of the batch, with derivatives.
            item, sphere: which person, and which of their spheres.
            direction: the unit vectors, or any others.

        Returns:
            in a small world rotation of each joint (in the body's own order) about itself, and in shape.
        """
        ranks, weights = self.ranks[sphere], self.weights[sphere]  # (E, 4)
        turn, place = bones.rotations[ranks, item[:, None]], bones.positions[ranks, item[:, None]]
        q_dirs = self.q_dirs[sphere]  # (E, 4, 3, S)
        q = self.q[sphere] + (q_dirs @ shape[item][:, None, :, None])[..., 0]
        carried = (turn @ q[..., None])[..., 0] + weights[..., None] * place
        turned_by = self._turned_by[ranks].transpose(1, 2)  # (E, J, 4): the joints above each of the four
        force = direction[:, None].expand_as(carried)
        below = turned_by @ torch.cat([torch.linalg.cross(carried, force), weights[..., None]], dim=2)
        about = torch.linalg.cross(bones.positions[self._rank_of][:, item].transpose(0, 1), direction[:, None])
        by_turn = below[..., :3] - below[..., 3:] * about
        along = (direction[:, None, None] @ turn)[:, :, 0]  # the direction in each joint's frame
        by_shape = (along[:, :, None] @ q_dirs)[:, :, 0].sum(1)
        joints = bones.shape_jacobian[ranks, item[:, None]]  # (E, 4, 3, S)
        return by_turn, by_shape + ((weights[..., None] * direction[:, None])[:, :, None] @ joints)[:, :, 0].sum(1)
