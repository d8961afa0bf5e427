"""Motion files of every flavour come out as the same body pose, and bad ones are named."""

import numpy as np
import pytest

from bodyfit.data.motion.mocap import MocapError, NoMotionError, find_motions, read_motion

COORDINATE_FRAMES = 5


def numbers(width, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, (COORDINATE_FRAMES, width))


@pytest.mark.parametrize(("width", "flavour"), [(66, "root and body"), (72, "SMPL"), (156, "SMPL-H"), (165, "SMPL-X")])
@pytest.mark.parametrize("rate_key", ["mocap_framerate", "mocap_frame_rate"])
def test_poses_of_every_width_and_frame_rate_spelling(width, flavour, rate_key, tmp_path):
    poses = numbers(width)
    np.savez(tmp_path / "a.npz", poses=poses, betas=np.zeros(16), gender="female", **{rate_key: 120.0})
    clip = read_motion(tmp_path / "a.npz")
    np.testing.assert_array_equal(clip.body_pose, poses[:, 3:66])
    np.testing.assert_array_equal(clip.root_orient, poses[:, :3])
    assert (clip.frame_rate, clip.flavour, clip.subject) == (120.0, flavour, tmp_path.name)


def test_named_blocks_are_read(tmp_path):
    body, root = numbers(63), numbers(3, seed=1)
    np.savez(tmp_path / "a.npz", pose_body=body, root_orient=root, mocap_frame_rate=60.0, subject="s7", licence="CC0")
    clip = read_motion(tmp_path / "a.npz")
    np.testing.assert_array_equal(clip.body_pose, body)
    assert (clip.flavour, clip.subject, clip.licence) == ("pose_body", "s7", "CC0")


def test_shape_only_files_are_told_from_damaged_ones(tmp_path):
    np.savez(tmp_path / "shape.npz", betas=np.zeros(16), gender="male")
    with pytest.raises(NoMotionError, match="no motion"):
        read_motion(tmp_path / "shape.npz")


BROKEN = {
    "width": dict(poses=numbers(100), mocap_framerate=30.0),
    "NaN": dict(poses=np.full((3, 156), np.nan), mocap_framerate=30.0),
    "objects": dict(poses=np.array([{"a": 1}], dtype=object), mocap_framerate=30.0),
    "no rate": dict(poses=numbers(156)),
    "rate of zero": dict(poses=numbers(156), mocap_framerate=0.0),
    "blocks disagree": dict(pose_body=numbers(63), root_orient=np.zeros((2, 3)), mocap_framerate=30.0),
    "integers": dict(poses=np.zeros((4, 156), int), mocap_framerate=30.0),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_named(case, tmp_path):
    np.savez(tmp_path / "bad.npz", **BROKEN[case])
    with pytest.raises(MocapError, match=r"bad\.npz"):
        read_motion(tmp_path / "bad.npz")


def test_truncated_archive_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", poses=numbers(156), mocap_framerate=30.0)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(MocapError, match=r"a\.npz"):
        read_motion(tmp_path / "a.npz")


def test_folder_is_searched_in_a_stable_order(tmp_path):
    for name in ("b/2.npz", "b/1.bvh", "a/3.npz", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in find_motions(tmp_path)] == ["3.npz", "1.bvh", "2.npz"]
    with pytest.raises(MocapError, match="nowhere"):
        find_motions(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mocap_framerate", np.array(60 + 1j)),
        ("mocap_framerate", np.array("fast")),
        ("mocap_framerate", np.array(np.nan)),
        ("mocap_framerate", np.zeros(10_000)),
        ("poses", np.zeros((5, 66), dtype=complex)),
        ("poses", np.zeros((5, 66), dtype="U3")),
        ("poses", np.zeros(())),
        ("poses", np.full((5, 66), np.inf)),
        ("poses", np.zeros((600_000, 3), dtype=np.float16)),
    ],
)
def test_impossible_values_are_one_clear_error(tmp_path, name, value):
    np.savez_compressed(tmp_path / "x.npz", **{"poses": np.zeros((5, 66)), "mocap_framerate": 60.0, name: value})
    with pytest.raises(MocapError, match=r"x\.npz: "):
        read_motion(tmp_path / "x.npz")
