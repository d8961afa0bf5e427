"""Synthetic poses: within ranges of motion, as their family says, on the ground, mirrored, decided by the seed."""

import pytest
import roma
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.prior.model.capsules import self_intersecting
from bodyfit.prior.model.parts import BODY_JOINT_INDEX
from bodyfit.prior.model.skeleton import pose_skeleton
from bodyfit.prior.training.anatomy import ANGLE_INDEX, RANGES, complete_ranges, draw_angles, rotations_of
from bodyfit.prior.training.families import FAMILIES, Family
from bodyfit.prior.training.synthesis import draw_poses

PLACE = {name: i for i, name in enumerate(JOINT_NAMES[:22])}


@pytest.fixture(scope="module")
def drawn():
    return draw_poses(2500, seed=0)


@pytest.fixture(scope="module")
def world(drawn):
    """Joints with y up, the pelvis at the origin."""
    return pose_skeleton(drawn.rotations)[0] @ drawn.roots.transpose(1, 2)


def of_family(world, drawn, name):
    return world[drawn.family == list(FAMILIES).index(name)]


def height(joints, name):
    return joints[:, PLACE[name], 1]


def posed(**degrees):
    """Joints of one pose, of all angles zero but these."""
    angles = torch.zeros(1, len(RANGES))
    for name, value in degrees.items():
        angles[:, ANGLE_INDEX[name]] = value
    return dict(zip(JOINT_NAMES[:22], pose_skeleton(rotations_of(angles))[0][0], strict=True))


def test_angles_mean_what_they_are_called():
    """x points to the body's left, y up, z forward."""
    hanging = posed()
    assert hanging["left_wrist"][1] < hanging["left_shoulder"][1] - 0.45
    assert posed(left_hip_flexion=90)["left_knee"][2] > 0.35
    assert posed(left_hip_abduction=40)["left_knee"][0] > 0.3 and posed(right_hip_abduction=40)["right_knee"][0] < -0.3
    assert posed(left_knee_flexion=90)["left_ankle"][2] < -0.35
    turned = posed(left_hip_rotation=45)
    assert turned["left_foot"][0] > turned["left_ankle"][0] + 0.08  # toes outwards
    assert posed(left_ankle_dorsiflexion=20)["left_foot"][1] > hanging["left_foot"][1] + 0.03
    for side, out in (("left", 1), ("right", -1)):
        aside = posed(**{f"{side}_arm_elevation": 90})
        assert out * aside[f"{side}_elbow"][0] > 0.35
        forward = posed(**{f"{side}_arm_elevation": 90, f"{side}_arm_plane": 90})
        assert forward[f"{side}_elbow"][2] > 0.2
        overhead = posed(**{f"{side}_arm_elevation": 175})
        assert overhead[f"{side}_wrist"][1] > overhead["head"][1] + 0.2
        bent = posed(**{f"{side}_elbow_flexion": 90})
        assert bent[f"{side}_wrist"][2] > bent[f"{side}_elbow"][2] + 0.2
        thrown = posed(**{f"{side}_arm_elevation": 90, f"{side}_elbow_flexion": 90, f"{side}_arm_rotation": 90})
        assert thrown[f"{side}_wrist"][1] > thrown[f"{side}_elbow"][1] + 0.2
    bowed = posed(spine_flexion=60)
    assert bowed["neck"][2] > 0.2
    assert posed(spine_bend=30)["neck"][0] > 0.1
    assert posed(spine_twist=40)["left_shoulder"][2] < posed()["left_shoulder"][2] - 0.08


def test_an_angle_that_there_is_not_is_refused():
    with pytest.raises(KeyError, match="knee_bend"):
        complete_ranges({"knee_bend": (0, 1, 2)})


def test_angles_stay_in_their_ranges_and_reach_both_ends():
    generator = torch.Generator().manual_seed(0)
    angles = draw_angles(
        RANGES, torch.randn(4000, len(RANGES), generator=generator), torch.full((4000, 1), 1.7), torch.zeros(4000, 1)
    )
    low, _, high = (torch.tensor(column) for column in zip(*RANGES.values(), strict=True))
    assert (angles >= low - 1e-3).all() and (angles <= high + 1e-3).all()
    fixed = ["neck_twist", "left_hip_abduction", "right_knee_flexion", "left_arm_elevation"]
    at = [ANGLE_INDEX[name] for name in fixed]
    reach = (high - low)[at]
    assert (angles[:, at].amin(0) < low[at] + 0.1 * reach).all()
    # The arm is highest in planes that allow it.
    assert (angles[:, at].amax(0) > high[at] - 0.1 * reach).all()


def test_straight_knees_keep_hips_from_bending():
    generator = torch.Generator().manual_seed(1)
    angles = draw_angles(
        RANGES, torch.randn(8000, len(RANGES), generator=generator), torch.full((8000, 1), 1.7), torch.zeros(8000, 1)
    )
    hip, knee = angles[:, ANGLE_INDEX["left_hip_flexion"]], angles[:, ANGLE_INDEX["left_knee_flexion"]]
    assert hip[knee < 10].max() < 75 and hip[knee > 70].max() > 110
    plane, raised = angles[:, ANGLE_INDEX["left_arm_plane"]], angles[:, ANGLE_INDEX["left_arm_elevation"]]
    assert raised[plane < -70].max() < 85  # nobody raises an arm to the back


def test_nobody_passes_through_himself(drawn):
    assert not self_intersecting(drawn.rotations).any()


def test_knees_and_elbows_bend_one_way(drawn):
    knee = roma.rotmat_to_rotvec(drawn.rotations[:, BODY_JOINT_INDEX["left_knee"]])
    assert knee[:, 0].min() > -0.01 and knee[:, 1:].abs().max() < 1e-3


def test_every_family_is_there_in_its_share(drawn):
    numbers = torch.bincount(drawn.family, minlength=len(FAMILIES)) / len(drawn.family)
    shares = torch.tensor([family.share for family in FAMILIES.values()])
    assert torch.allclose(numbers, shares / shares.sum(), atol=0.02)


def test_families_look_like_their_names(world, drawn):
    """Heights of joints, pelvis at 0, in most of the poses."""

    def most(true, share=0.9):
        return true.float().mean() >= share

    standing = of_family(world, drawn, "standing")
    assert most((height(standing, "neck") > 0.2) & (height(standing, "left_ankle") < -0.2), 0.8)
    hands_up = of_family(world, drawn, "arms overhead")
    assert most(height(hands_up, "left_wrist") > height(hands_up, "left_shoulder"))
    for name in ("lying on the back", "lying on the front", "lying on the side"):
        lying = of_family(world, drawn, name)
        assert most(lying[:, PLACE["neck"], 1].abs() < 0.2)
    handstand = of_family(world, drawn, "handstand")
    assert most((height(handstand, "head") < -0.3) & (height(handstand, "left_wrist") < height(handstand, "head")))
    crawling = of_family(world, drawn, "on hands and knees")
    assert most((height(crawling, "left_knee") < -0.15) & (height(crawling, "left_wrist") < -0.1))
    bridge = of_family(world, drawn, "bridge")
    assert most((height(bridge, "left_wrist") < -0.15) & (height(bridge, "right_ankle") < -0.15))
    hanging = of_family(world, drawn, "hanging")
    assert most(height(hanging, "left_wrist") > height(hanging, "neck"))
    sitting = of_family(world, drawn, "sitting with legs crossed")
    assert most((height(sitting, "neck") > 0.25) & (height(sitting, "left_ankle").abs() < 0.25))


def test_left_and_right_are_alike(world):
    """The distribution is its own mirror image: means of left and right agree as far as 2500 poses say."""
    for name in ("wrist", "ankle", "knee"):
        left, right = world[:, PLACE[f"left_{name}"]], world[:, PLACE[f"right_{name}"]]
        assert (left[:, 1].mean() - right[:, 1].mean()).abs() < 0.03


def test_the_seed_decides():
    few = {name: FAMILIES[name] for name in ("kneeling", "in the air")}
    first, again, other = (draw_poses(60, seed=seed, families=few) for seed in (0, 0, 1))
    assert torch.equal(again.rotations, first.rotations) and torch.equal(again.roots, first.roots)
    assert not torch.equal(other.rotations, first.rotations)


def test_there_may_be_none():
    poses, roots = draw_poses(0, seed=0).axis_angles()
    assert poses.shape == (0, 63) and roots.shape == (0, 3)


def test_a_family_that_cannot_be_is_said():
    """On shoulders and hips, head up."""
    never = Family(1.0, root="rests", supports=("left_shoulder", "right_shoulder", "pelvis"), up=(0.0, 1.0, 0.0))
    with pytest.raises(BodyfitError, match="'never'"):
        draw_poses(3, seed=0, families={"never": never})
