"""Identities of rotations, mirroring, kinematics and augmentation."""

import pytest
import roma
import torch

from bodyfit.prior.model import parts
from bodyfit.prior.model import rotations as rot
from bodyfit.prior.model.capsules import segment_distance, self_intersecting
from bodyfit.prior.model.skeleton import pose_skeleton
from bodyfit.prior.training import augment

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def random_rotations(count, dtype=torch.float64, seed=0, spread=0.5):
    generator = torch.Generator().manual_seed(seed)
    return roma.rotvec_to_rotmat(spread * torch.randn(count, 21, 3, dtype=torch.float64, generator=generator)).to(dtype)


@DTYPES
def test_the_three_forms_hold_the_same_rotations(dtype):
    rotations = random_rotations(5, dtype)
    tolerance = 1e-5 if dtype is torch.float32 else 1e-10
    back = rot.matrices_from_axis_angle(rot.axis_angle_from_matrices(rotations))
    torch.testing.assert_close(back, rotations, atol=tolerance, rtol=0)
    torch.testing.assert_close(rot.matrices_from_6d(rotations[..., :2]), rotations, atol=tolerance, rtol=0)


@DTYPES
def test_rotation_angles_are_exact_and_differentiable_at_zero(dtype):
    angle = torch.linspace(0.01, 3.0, 21, dtype=dtype)
    turned = roma.rotvec_to_rotmat(angle[:, None] * torch.tensor([0.0, 0.6, 0.8], dtype=dtype))
    identity = torch.eye(3, dtype=dtype).expand(21, 3, 3)
    torch.testing.assert_close(rot.rotation_angles(turned, identity), angle, atol=2e-4, rtol=0)
    pose = torch.zeros(63, dtype=dtype, requires_grad=True)
    rot.rotation_angles(rot.matrices_from_axis_angle(pose), identity).sum().backward()
    assert torch.isfinite(pose.grad).all()


def test_a_mirrored_pose_has_mirrored_joints():
    rotations = random_rotations(4)
    positions = pose_skeleton(rotations)[0]
    mirrored = pose_skeleton(rot.mirror(rotations))[0]
    order = [0, *(1 + index for index in parts.MIRROR)]
    expected = positions[:, order] * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(mirrored, expected)
    torch.testing.assert_close(rot.mirror(rot.mirror(rotations)), rotations)


def test_kinematics_keep_bone_lengths_and_a_turned_hip_moves_its_leg_only():
    rotations = random_rotations(1)
    rest = torch.eye(3, dtype=torch.float64).expand(1, 21, 3, 3)
    one = rest.clone()
    one[:, parts.BODY_JOINT_INDEX["left_hip"]] = rotations[:, 0]
    moved = (pose_skeleton(one)[0] - pose_skeleton(rest)[0]).norm(dim=-1)[0] > 1e-9
    assert moved.nonzero().flatten().tolist() == [4, 7, 10]


def test_smpl_poses_lose_their_hand_joints_and_other_widths_are_refused():
    assert rot.body_joints_of(torch.zeros(2, 69)).shape == (2, 63)
    with pytest.raises(ValueError, match="63"):
        rot.body_joints_of(torch.zeros(2, 66))


def test_exchanged_limbs_come_whole_from_one_other_pose():
    rotations = random_rotations(64)
    result = augment.exchange_limbs(rotations, 1.0, torch.Generator().manual_seed(0))
    legs = list(parts.LEFT_LEG + parts.RIGHT_LEG)
    donors = [(rotations[:, legs] - pose[legs]).abs().flatten(1).amax(1).argmin().item() for pose in result]
    torch.testing.assert_close(result[:, legs], rotations[donors][:, legs])
    torch.testing.assert_close(result[:, list(parts.TORSO[:3])], rotations[:, list(parts.TORSO[:3])])
    assert len(set(donors)) > 32


def test_only_still_collars_are_turned():
    rotations = random_rotations(8)
    collar = parts.BODY_JOINT_INDEX["left_collar"]
    rotations[:4, collar] = torch.eye(3, dtype=torch.float64)
    result = augment.fill_still_joints(rotations, 0.05, torch.Generator().manual_seed(0))
    assert ((result - rotations).abs().amax((-1, -2, -3)) > 1e-6).tolist() == [True] * 4 + [False] * 4


def test_segment_distances_match_a_dense_search():
    generator = torch.Generator().manual_seed(0)
    a0, a1, b0, b1 = torch.randn(4, 50, 3, generator=generator, dtype=torch.float64)
    t = torch.linspace(0, 1, 301, dtype=torch.float64)[:, None, None]
    dense = torch.cdist((a0 + t * (a1 - a0)).transpose(0, 1), (b0 + t * (b1 - b0)).transpose(0, 1)).amin((-1, -2))
    torch.testing.assert_close(segment_distance(a0, a1, b0, b1), dense, atol=1e-2, rtol=0)


def test_a_forearm_through_the_belly_intersects_and_the_rest_pose_does_not():
    rotations = torch.eye(3).expand(2, 21, 3, 3).clone()
    shoulder, elbow = parts.BODY_JOINT_INDEX["left_shoulder"], parts.BODY_JOINT_INDEX["left_elbow"]
    # The arm hangs down, the forearm points to the other side, through the belly.
    rotations[1, [shoulder, elbow]] = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, -torch.pi / 2]))
    assert self_intersecting(rotations).tolist() == [False, True]
