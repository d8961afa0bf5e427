"""BVH files: Euler angles are applied as the format has it, and limbs point where the source's point."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bodyfit.data.body.skeleton import PARENTS, REST_OFFSETS
from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.data.motion.bvh import BvhError, read_bvh
from bodyfit.data.motion.mocap import read_motion
from bodyfit.data.motion.retarget import match_joints, retarget

CMU = {
    "pelvis": "Hips",
    "spine1": "LowerBack",
    "spine2": "Spine",
    "spine3": "Spine1",
    "neck": "Neck",
    "head": "Head",
    **{f"{side.lower()}_{ours}": side + theirs for side in ("Left", "Right") for ours, theirs in {
        "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase",
        "collar": "Shoulder", "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand",
    }.items()},
}  # fmt: skip
MIXAMO = {name: f"mixamorig:{CMU[name]}" for name in CMU}
MIXAMO |= {"spine1": "mixamorig:Spine", "spine2": "mixamorig:Spine1", "spine3": "mixamorig:Spine2"}


def write_bvh(path, pose, names, *, offsets=REST_OFFSETS, order="ZYX", scale=100.0):
    """Our own 22-joint skeleton in the BVH format under other names; pose (T, 22, 3) axis-angle, root first."""
    lines, columns = ["HIERARCHY"], []

    def block(joint, indent):
        pad = "  " * indent
        x, y, z = (scale * value for value in offsets[joint])
        lines.append(f"{pad}{'JOINT' if joint else 'ROOT'} {names[JOINT_NAMES[joint]]}")
        lines.extend([f"{pad}{{", f"{pad}  OFFSET {x:.9f} {y:.9f} {z:.9f}"])
        position = "Xposition Yposition Zposition " if joint == 0 else ""
        lines.append(f"{pad}  CHANNELS {6 if joint == 0 else 3} {position}" + " ".join(f"{a}rotation" for a in order))
        if joint == 0:
            columns.append(np.zeros((len(pose), 3)))
        columns.append(Rotation.from_rotvec(pose[:, joint]).as_euler(order, degrees=True))
        children = [index for index in range(22) if PARENTS[index] == joint]
        for child in children:
            block(child, indent + 1)
        if not children:
            lines.extend([f"{pad}  End Site", f"{pad}  {{", f"{pad}    OFFSET 0 0 {scale * 0.05}", f"{pad}  }}"])
        lines.append(f"{pad}}}")

    block(0, 0)
    rows = np.concatenate(columns, axis=1)
    lines.extend(["MOTION", f"Frames: {len(pose)}", f"Frame Time: {1 / 30:.7f}"])
    lines.extend(" ".join(f"{value:.9f}" for value in row) for row in rows)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def pose():
    return np.random.default_rng(0).normal(0, 0.4, (6, 22, 3))


@pytest.mark.parametrize("names", [CMU, MIXAMO], ids=["CMU", "Mixamo"])
@pytest.mark.parametrize("order", ["ZYX", "ZXY", "XYZ"])
def test_the_same_skeleton_gives_the_same_pose_back(names, order, pose, tmp_path):
    write_bvh(tmp_path / "a.bvh", pose, names, order=order)
    clip = read_motion(tmp_path / "a.bvh")
    np.testing.assert_allclose(clip.body_pose.reshape(-1, 21, 3), pose[:, 1:], atol=1e-6)
    assert clip.frame_rate == pytest.approx(30, rel=1e-5)
    assert clip.flavour == "BVH"


def test_limbs_keep_their_direction_from_a_rest_pose_with_hanging_arms(pose, tmp_path):
    offsets = np.array(REST_OFFSETS)
    turn = Rotation.from_euler("z", -70, degrees=True).as_matrix()
    for name, matrix in (("left", turn), ("right", turn.T)):
        for joint in ("elbow", "wrist"):
            index = JOINT_NAMES.index(f"{name}_{joint}")
            offsets[index] = matrix @ offsets[index]
    write_bvh(tmp_path / "a.bvh", pose, CMU, offsets=offsets)
    result = retarget(read_bvh(tmp_path / "a.bvh"), "a.bvh")
    assert max(result.direction_error_degrees.values()) < 1e-4
    # And the error is able to speak: the arms' rotations themselves have to differ from the source's.
    shoulder = JOINT_NAMES.index("left_shoulder") - 1
    assert np.abs(result.body_pose.reshape(-1, 21, 3)[:, shoulder] - pose[:, shoulder + 1]).max() > 0.5


def test_a_skeleton_facing_another_way_gives_the_same_body_pose(pose, tmp_path):
    sideways = np.array(REST_OFFSETS)[:, [2, 1, 0]] * [1, 1, -1]  # a quarter turn about y
    quarter = Rotation.from_euler("y", 90, degrees=True)
    turned = (quarter * Rotation.from_rotvec(pose.reshape(-1, 3)) * quarter.inv()).as_rotvec().reshape(pose.shape)
    write_bvh(tmp_path / "a.bvh", turned, CMU, offsets=sideways)
    result = retarget(read_bvh(tmp_path / "a.bvh"), "a.bvh").body_pose.reshape(-1, 21, 3)
    np.testing.assert_allclose(result, pose[:, 1:], atol=1e-6)


def test_a_skeleton_without_collars_calls_its_upper_arms_shoulders(pose, tmp_path):
    names = {**CMU, "left_collar": "LeftCollar", "right_collar": "RightCollar"}
    names |= {"left_shoulder": "LeftShoulder", "right_shoulder": "RightShoulder"}
    write_bvh(tmp_path / "a.bvh", pose, names)
    motion = read_bvh(tmp_path / "a.bvh")
    matched = match_joints(motion, "a.bvh")
    assert motion.names[matched["left_shoulder"]] == "LeftShoulder"
    assert motion.names[matched["left_collar"]] == "LeftCollar"


@pytest.mark.parametrize(
    ("old", "new"),
    [("HIERARCHY", "HELLO"), ("Frames: 6", "Frames: 7"), ("CHANNELS 3", "CHANNELS x"), ("OFFSET", "OFSET")],
)
def test_damaged_files_are_named(old, new, pose, tmp_path):
    write_bvh(tmp_path / "a.bvh", pose, CMU)
    (tmp_path / "a.bvh").write_text((tmp_path / "a.bvh").read_text().replace(old, new))
    with pytest.raises(BvhError, match=r"a\.bvh"):
        read_bvh(tmp_path / "a.bvh")


def test_an_unknown_skeleton_lists_its_joints(pose, tmp_path):
    write_bvh(tmp_path / "a.bvh", pose, {name: f"bone{index}" for index, name in enumerate(JOINT_NAMES)})
    with pytest.raises(BvhError, match="bone0"):
        read_motion(tmp_path / "a.bvh")


_WHOLE = """HIERARCHY
ROOT hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  End Site
  {
    OFFSET 0 1 0
  }
}
MOTION
Frames: 2
Frame Time: 0.01
0 0 0 10 20 30
0 0 0 11 21 31
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Zrotation Xrotation Yrotation", "Xrotation Xrotation Zrotation", "a channel twice"),
        ("CHANNELS 6", "CHANNELS 4000000000", "4000000000 channels"),
        ("CHANNELS 6", "CHANNELS -1", "-1 channels"),
        ("CHANNELS 6 Xposition", "CHANNELS 7 Xrotation Xposition", "7 channels"),
        ("Frames: 2", "Frames: 900000000", "900000000 frames"),
        ("Frames: 2", "Frames: -2", "-2 frames"),
        ("Frames: 2", "Frames: " + "9" * 400, "frames of"),
        ("Frame Time: 0.01", "Frame Time: nan", "frame time"),
        ("Frame Time: 0.01", "Frame Time: 1e-300", "frame time"),
        ("11 21 31", "11 21 1e308", "numbers beyond"),
        ("11 21 31", "11 21 nan", "numbers beyond"),
        ("11 21 31", "11 21 x", "rows of numbers"),
        ("11 21 31", "11 21", "11 numbers found"),
        ("OFFSET 0 1 0", "OFFSET 0 1e300 0", "offset"),
        ("OFFSET 0 1 0", "OFFSET 0 nan 0", "offset"),
        ("End Site\n  {", "End Site\n  " + "{ JOINT a " * 300, "in a chain"),
        ("ROOT hips", "ROOT", "damaged|unknown word"),
    ],
)
def test_a_damaged_file_is_one_clear_error(old, new, message, tmp_path):
    assert old in _WHOLE
    (tmp_path / "x.bvh").write_text(_WHOLE.replace(old, new))
    with pytest.raises(BvhError, match=rf"x\.bvh: .*({message})"):
        read_bvh(tmp_path / "x.bvh")


def test_the_whole_file_is_read_with_either_kind_of_line_ends(tmp_path):
    for ends in ("\n", "\r\n"):
        (tmp_path / "x.bvh").write_bytes(_WHOLE.replace("\n", ends).encode())
        assert read_bvh(tmp_path / "x.bvh").orientations.shape == (2, 2, 3, 3)
