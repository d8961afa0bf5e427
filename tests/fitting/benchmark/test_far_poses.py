"""Far poses are those far from training, floor poses those whose pelvis is tilted, and both are spread over clips."""

import json

import numpy as np
import pytest
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.benchmark import far_poses
from bodyfit.fitting.benchmark.far_poses import (
    APART_S,
    PER_CLIP,
    distance_from_training,
    far_and_floor,
    floor_kinds,
    read_frames,
    spread_out,
)
from bodyfit.prior.model.rotations import axis_angle_from_matrices, matrices_from_axis_angle, mirror
from bodyfit.scripts.cli import main

SHOULDER = slice(3 * 15, 3 * 16)  # the left one, among the 21 body joints
ELBOW = slice(3 * 17, 3 * 18)
HALF_TURN, QUARTER = np.pi, np.pi / 2


def write_clip(path, poses, roots, rate=15.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, poses=np.concatenate([roots, poses], axis=1), mocap_frame_rate=rate)


def arm_raised(frames, radians):
    """Poses whose left arm is raised by a fixed angle, with small movements elsewhere."""
    poses = 0.02 * np.random.default_rng(frames).standard_normal((frames, 63))
    poses[:, SHOULDER] = [0.0, 0.0, radians]
    return poses


@pytest.fixture
def motion(tmp_path):
    """Training with hanging arms; test clips with the arm a little and far up; a validation clip on the floor."""
    folder = tmp_path / "motion"
    upright, lying = np.zeros((60, 3)), np.tile([QUARTER, 0, 0], (60, 1))
    write_clip(folder / "a" / "known.npz", arm_raised(60, 0.0), upright)
    write_clip(folder / "b" / "near.npz", arm_raised(60, 0.3), upright)
    write_clip(folder / "b" / "far.npz", arm_raised(60, 1.2), upright)
    write_clip(folder / "a" / "lying.npz", arm_raised(60, 0.0), lying)
    splits = {"train": ["a/known.npz"], "test": ["b/near.npz"], "test_b": ["b/far.npz"], "validation": ["a/lying.npz"]}
    (folder / "splits.json").write_text(json.dumps(splits))
    return folder


def test_distance_is_that_of_the_joints_and_mirror_images_count_as_known():
    rng = torch.Generator().manual_seed(0)
    known = 0.3 * torch.randn(20, 63, generator=rng)
    mirrored = axis_angle_from_matrices(mirror(matrices_from_axis_angle(known)))
    assert distance_from_training(torch.cat([known, mirrored]), known).max() < 0.5
    bent = torch.zeros(1, 63)
    bent[0, ELBOW] = torch.tensor([0.0, 0.0, torch.pi])  # the left elbow folds: one wrist moves
    points = far_poses.joint_positions(torch.cat([bent, torch.zeros(1, 63)])).unflatten(1, (21, 3))
    by_hand = 1000 * (points[0] - points[1]).square().sum(-1).mean().sqrt()
    torch.testing.assert_close(distance_from_training(bent, torch.zeros(1, 63))[0], by_hand)


def test_far_frames_are_the_farthest_and_no_clip_has_all_of_them(motion):
    (far, distance), _ = far_and_floor(motion, far=12, floor=0)
    names = [far.clips[c] for c in far.clip]
    count = names.count("b/far.npz")  # four seconds, at most one frame in half a second
    assert 5 <= count <= 8 and names == ["b/far.npz"] * count + ["b/near.npz"] * (12 - count)
    assert (distance.diff() <= 0).all() and distance[count - 1] > 2 * distance[count]


def test_frames_of_a_clip_are_few_and_apart(motion):
    frames = read_frames(motion, [motion / "a" / "known.npz"] * 2, rate=15)
    rows = spread_out(frames, torch.arange(len(frames)), 1000)
    for clip in (0, 1):
        times = frames.seconds[rows][frames.clip[rows] == clip]
        assert 1 < len(times) <= PER_CLIP and np.diff(np.sort(times)).min() >= APART_S - 1e-9


def test_floor_frames_are_tilted_and_sorted_into_kinds(motion):
    _, (floor, kinds) = far_and_floor(motion, far=0, floor=6)
    assert {floor.clips[c] for c in floor.clip} == {"a/lying.npz"}
    assert kinds == {"inverted": 0, "low": 6, "leaning": 0}
    frames = read_frames(motion, [motion / "a" / "known.npz"], rate=1)
    for turn, kind in ((0.0, None), (HALF_TURN, "inverted"), (0.9 * QUARTER, "low"), (0.6 * QUARTER, "leaning")):
        frames.root_orient[:] = torch.tensor([turn, 0.0, 0.0])
        assert [name for name, rows in floor_kinds(frames).items() if len(rows)] == ([kind] if kind else [])


@pytest.mark.parametrize(
    ("splits", "words"), [(None, "not found"), ({"train": []}, "begins with test"), ({"test": []}, "no split 'train'")]
)
def test_a_folder_without_the_lists_is_one_clear_error(motion, splits, words):
    path = motion / "splits.json"
    path.unlink() if splits is None else path.write_text(json.dumps(splits))
    with pytest.raises(BodyfitError, match=words) as error:
        far_and_floor(motion, far=1, floor=1)
    assert str(path) in str(error.value)


def benchmark(*arguments):
    small = ["--people", "1", "--batch", "1", "--known-starts", "0", "--crops", "0", "--reference", "0", "--ages", "0"]
    with pytest.raises(SystemExit) as end:
        main(["benchmark", *small, "--smplify-x", "0", "--device", "cpu", *arguments])
    return end.value.code


def test_the_benchmark_has_a_section_for_each_set(motion, capsys):
    assert benchmark("--poses", str(motion), "--split", "test", "--far", "3", "--floor", "2", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["far"]["people"] == 3 and document["far"]["farthest_mm"] > document["far"]["nearest_mm"] > 0
    assert document["floor"]["people"] == document["floor"]["low"] == 2
    for row in (document["far"], document["floor"]):
        assert row["pa_mpjpe_mm_median"] > 0 and 0 < row["pa_mpjpe_mm"] < 200
    assert benchmark("--far", "3") == 2
    assert "--poses" in capsys.readouterr().err
