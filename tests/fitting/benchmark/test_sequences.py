"""Synthetic clips: motion between recorded frames is smooth, and errors over time are as they are described."""

import numpy as np
import torch

from bodyfit.fitting.benchmark.clip_noise import ClipNoise, lasting_errors, lost_points, occluded_points
from bodyfit.fitting.benchmark.sequences import recorded

FPS, MOMENTS = 30.0, 6000


def draw():
    return torch.Generator().manual_seed(0)


def test_errors_last_as_long_as_asked():
    noise = ClipNoise(lasting_share=0.01, lasting_seconds=0.2)
    errors = lasting_errors(noise, torch.full((MOMENTS,), 500.0), FPS, draw())
    assert abs(errors.std() - 5.0) < 0.2
    later = round(0.2 * FPS)
    correlation = (errors[:-later] * errors[later:]).mean() / errors.var()
    assert abs(correlation - np.exp(-1)) < 0.05


def test_points_are_lost_in_runs():
    noise = ClipNoise(lost_points=0.05, lost_seconds=0.2)
    lost = lost_points(noise, MOMENTS, FPS, draw())
    begins = (lost[1:] & ~lost[:-1]).sum()
    assert abs(lost.float().mean() - 0.05) < 0.01
    assert abs(lost.sum() / begins - 6) < 1


def test_occlusions_last_five_to_twenty_frames_and_leave_the_ends():
    noise = ClipNoise(occlusions_per_second=0.05)
    gone = occluded_points(noise, MOMENTS, FPS, draw())
    assert not gone[0].any() and not gone[-1].any()
    hidden = gone.any(1).int()
    lengths = torch.bincount(hidden.diff().eq(1).cumsum(0)[hidden[1:] == 1])[1:]
    assert len(lengths) > 3 and lengths.min() >= 5 and lengths.float().median() <= 20
    assert (gone.any(1) & ~gone.all(1)).any()  # parts of the body, too


def test_recorded_motion_keeps_its_frames_and_is_smooth_between(tmp_path):
    """A frame that the file leaves out is bridged; at 10 frames per second its frames are frames of the clip."""
    index = np.array([0, 1, 2, 4, 5])
    angle = 0.3 * np.sin(index / 3)
    poses = np.zeros((5, 66))
    poses[:, 3 + 3 * 15 + 2] = angle
    trans = np.stack([index / 10, 0 * index, 0 * index], 1)
    path = tmp_path / "raise.npz"
    np.savez(path, poses=poses, trans=trans, mocap_frame_rate=5.0, frame_index=index)
    motion = recorded(path, 10.0, 100)
    assert len(motion.pose) == 11
    np.testing.assert_allclose(motion.pose[2 * index, 1 + 15, 2], angle, atol=1e-6)
    np.testing.assert_allclose(np.diff(motion.path_m[:, 0]), 0.05, atol=1e-6)
    assert motion.pose[:, 16, 2].diff(2).abs().max() < 0.02
