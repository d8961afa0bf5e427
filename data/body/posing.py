"""From parameters to a posed mesh: shape, pose correctives, linear blend skinning (SMPL, Loper et al. 2015, section 3).

Written for clarity; the fitting uses `fitting.energy.landmark_model`, which poses landmarks alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from roma import rotvec_to_rotmat
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.model_files import BodyModelError


class PosedBody(NamedTuple):
    """Metres, in the frame that `global_orient` and `transl` put the body in."""

    vertices: Float[Tensor, "B V 3"]
    joints: Float[Tensor, "B J 3"]


def pose_body(
    body: BodyModel,
    *,
    betas: Float[Tensor, "B Nb"],
    global_orient: Float[Tensor, "B 3"],
    body_pose: Float[Tensor, "B 63"],
    expression: Float[Tensor, "B Ne"] | None = None,
    left_hand_pose: Float[Tensor, "B 45"] | None = None,
    right_hand_pose: Float[Tensor, "B 45"] | None = None,
    jaw_pose: Float[Tensor, "B 3"] | None = None,
    leye_pose: Float[Tensor, "B 3"] | None = None,
    reye_pose: Float[Tensor, "B 3"] | None = None,
    transl: Float[Tensor, "B 3"] | None = None,
) -> PosedBody:
    """Vertices and joints of `body`, as `smplx`'s forward gives them with `use_pca=False, flat_hand_mean=True`.

    Poses are axis-angle, radians; hands hold all 45 numbers with the mean already added. What is None is zero. Fewer
    betas or expression numbers than the model has count as zeros behind them. What a kind lacks must be None or zero:
    SMPL and SMPL-H have no face, and SMPL's `body_pose` may be 63 or 69 long (with its two hand joints). Differentiable
    everywhere, also at the zero pose; dtype and device are those of `betas`.

    Raises:
        BodyModelError: for parameters of the wrong length.
    """
    pose = full_pose(
        body, betas, global_orient, body_pose, jaw_pose, leye_pose, reye_pose, left_hand_pose, right_hand_pose
    )
    rotations = rotvec_to_rotmat(pose)
    shaped = _shaped_vertices(body, betas, expression)
    rest_joints = torch.einsum("jv,bvc->bjc", body.tensor("joint_regressor", betas), shaped)
    if body.has_pose_correctives:
        feature = (rotations[:, 1:] - torch.eye(3, dtype=betas.dtype, device=betas.device)).flatten(1)
        shaped = shaped + torch.einsum("vcp,bp->bvc", body.tensor("posedirs", betas), feature)
    joint_rotations, joints = forward_kinematics(rotations, rest_joints, body.tensor("parents", betas))
    # Blend the transforms x -> R (x - rest joint) + posed joint of all joints, then apply the mixture to each vertex.
    offsets = joints - torch.einsum("bjxy,bjy->bjx", joint_rotations, rest_joints)
    weights = body.tensor("weights", betas)
    vertices = torch.einsum("vj,bjxy,bvy->bvx", weights, joint_rotations, shaped) + weights @ offsets
    if transl is not None:
        vertices, joints = vertices + transl[:, None], joints + transl[:, None]
    return PosedBody(vertices, joints)


def full_pose(
    body: BodyModel,
    betas: Float[Tensor, "B Nb"],
    global_orient: Float[Tensor, "B 3"],
    body_pose: Float[Tensor, "B 63"],
    jaw_pose: Float[Tensor, "B 3"] | None,
    leye_pose: Float[Tensor, "B 3"] | None,
    reye_pose: Float[Tensor, "B 3"] | None,
    left_hand_pose: Float[Tensor, "B 45"] | None,
    right_hand_pose: Float[Tensor, "B 45"] | None,
) -> Float[Tensor, "B J 3"]:
    """All joints' axis-angle rotations in the model's joint order."""
    batch = len(betas)
    layout = [("global_orient", global_orient, 3), ("body_pose", body_pose, 63)]
    face = [("jaw_pose", jaw_pose, 3), ("leye_pose", leye_pose, 3), ("reye_pose", reye_pose, 3)]
    hands = [("left_hand_pose", left_hand_pose, 45), ("right_hand_pose", right_hand_pose, 45)]
    if body.kind == "smpl":
        with_hand_joints = body_pose.shape[-1] == 69
        layout[1] = ("body_pose", body_pose, 69 if with_hand_joints else 63)
        layout += [] if with_hand_joints else [("the two hand joints", None, 6)]
        absent = face + hands
    else:
        layout += (face if body.kind == "smplx" else []) + hands
        absent = face if body.kind == "smplh" else []
    for name, value, _ in absent:
        if value is not None and bool(value.detach().any()):
            raise BodyModelError(f"{body.name}: a model of kind {body.kind} has no {name}; leave it out.")
    parts = []
    for name, value, _ in [("betas", betas, 0), *layout]:
        if value is not None and not (isinstance(value, Tensor) and value.dtype == betas.dtype):
            found = getattr(value, "dtype", type(value).__name__)
            raise BodyModelError(
                f"{name} is of {found}. Expected tensors of one precision; `FitResult.smplx_parameters` gives them."
            )
    for name, value, size in layout:
        if value is not None and value.shape != (batch, size):
            raise BodyModelError(f"{name} has shape {tuple(value.shape)}, expected ({batch}, {size}).")
        parts.append(betas.new_zeros(batch, size) if value is None else value)
    return torch.cat(parts, dim=1).unflatten(1, (-1, 3))


def forward_kinematics(
    rotations: Float[Tensor, "B J 3 3"], rest_joints: Float[Tensor, "B J 3"], parents: Int[Tensor, " J"]
) -> tuple[Float[Tensor, "B J 3 3"], Float[Tensor, "B J 3"]]:
    """World rotation and position of every joint, from rotations relative to its parent and its place at rest."""
    world_rotations, positions = [rotations[:, 0]], [rest_joints[:, 0]]
    for joint, parent in enumerate(parents.tolist()[1:], start=1):
        bone = rest_joints[:, joint] - rest_joints[:, parent]
        positions.append(positions[parent] + torch.einsum("bxy,by->bx", world_rotations[parent], bone))
        world_rotations.append(world_rotations[parent] @ rotations[:, joint])
    return torch.stack(world_rotations, dim=1), torch.stack(positions, dim=1)


def _shaped_vertices(
    body: BodyModel, betas: Float[Tensor, "B Nb"], expression: Float[Tensor, "B Ne"] | None
) -> Float[Tensor, "B V 3"]:
    vertices = body.tensor("v_template", betas).expand(len(betas), -1, -1)
    for name, coefficients, basis in (("betas", betas, "shapedirs"), ("expression", expression, "exprdirs")):
        if coefficients is None:
            continue
        directions = body.tensor(basis, betas)
        count = coefficients.shape[-1]
        if coefficients.shape != (len(betas), count) or count > directions.shape[2]:
            expected = (len(betas), directions.shape[2])
            raise BodyModelError(f"{name} has shape {tuple(coefficients.shape)}, {body.name} takes {expected}.")
        vertices = vertices + torch.einsum("vcn,bn->bvc", directions[:, :, :count], coefficients)
    return vertices
