"""Which points rest, what plane they lie in, and that terms and windows hold feet on it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.data.results.track_files import read_track, write_track
from bodyfit.fitting.benchmark.sequences import CAMERA_HEIGHT_M, DISTANCE_M, Recording, make_clip
from bodyfit.fitting.benchmark.skating import skating_mm
from bodyfit.fitting.clips.frame_results import frame_results
from bodyfit.fitting.energy.floor import FOOT_POINTS, GroundChoice, fit_plane
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.contacts import GroundConfig, resting_links
from bodyfit.fitting.sequence.group import fit_group

FPS = 30.0
STANDING = SequenceConfig.for_choice(GroundChoice(on=True))


def steps(speeds):
    """A point that moves along x at the given speeds, m/s."""
    place = torch.tensor([0.0, *speeds]).cumsum(0) / FPS
    return torch.stack([place, torch.zeros_like(place), torch.full_like(place, 4.0)], 1)[:, None]


def test_rest_begins_below_one_speed_and_ends_above_another():
    config = GroundConfig(smooth_seconds=0.0)
    fast, between, slow = [1.0] * 6, [0.25] * 6, [0.05] * 6
    rest = resting_links(steps([*fast, *between, *slow, *between, *fast, *between, *fast]), FPS, config)[:, 0]
    assert rest.tolist() == [False] * 6 + [True] * 18 + [False] * 18


def test_short_rests_are_none_and_depth_counts_less_for_one_camera():
    config = GroundConfig(smooth_seconds=0.0)
    assert not resting_links(steps([1.0] * 6 + [0.0] * 2 + [1.0] * 6), FPS, config).any()
    sideways = steps([0.5] * 10)
    towards = sideways[..., [1, 1, 0]] + torch.tensor([0.0, 0.0, 4.0])
    assert not resting_links(sideways, FPS, config, depth_share=0.2).any()
    assert resting_links(towards, FPS, config, depth_share=0.2).all()
    assert not resting_links(towards, FPS, config).any()


def test_a_plane_is_found_among_points_that_lie_elsewhere():
    draw = torch.Generator().manual_seed(0)
    flat = 2 * torch.rand(60, 3, generator=draw) - 1
    normal = torch.nn.functional.normalize(torch.tensor([0.1, -1.0, -0.15]), dim=0)
    flat = flat - (flat @ normal)[:, None] * normal - 1.2 * normal
    stairs = flat[:12] + 0.3 * normal
    up = torch.tensor([0.0, -1.0, 0.0])
    found, offset, kept = fit_plane(torch.cat([flat, stairs]), torch.ones(72), up, up_sigma=0.2, spread_m=0.02)
    assert math.acos(min(float(found.float() @ normal), 1)) < 0.01 and abs(float(offset) + 1.2) < 0.01
    assert kept[:60].min() > 0.5 and kept[60:].max() < 0.05


def test_few_points_in_one_place_leave_the_normal_where_it_was():
    points = torch.tensor([[0.0, 1.0, 4.0], [0.1, 1.0, 4.0], [0.0, 1.01, 4.1]])
    up = torch.tensor([0.0, -1.0, 0.0])
    found, _, _ = fit_plane(points, torch.ones(3), up, up_sigma=0.02, spread_m=0.02)
    assert math.acos(float(found.float() @ up)) < 0.01


@pytest.fixture(scope="module")
def marching(fitter):
    """Somebody who lifts one foot after the other on the spot, upright in a world with y up: 30 frames."""
    time = torch.arange(30) / FPS
    pose, lift = torch.zeros(30, 22, 3), 0.8 * torch.sin(2 * math.pi * time).clamp(min=0)
    for hip, knee, angle in ((1, 4, lift), (2, 5, 0.8 * torch.sin(2 * math.pi * time + math.pi).clamp(min=0))):
        pose[:, hip, 0], pose[:, knee, 0] = -angle, 2 * angle
    pose[:, 16, 2], pose[:, 17, 2] = -1.0, 1.0
    return make_clip(fitter.body, Recording(pose, torch.zeros(30, 3)), cameras=1, seed=4)


@pytest.fixture(scope="module")
def tracks(fitter, marching):
    """Without and with the ground."""
    return [fit_group(fitter, marching.sightings, fps=FPS, config=config) for config in (None, STANDING)]


def slides(fitter, track, clip):
    results = frame_results(fitter, track, clip.sightings)
    feet = [LANDMARK_INDEX[name] for name in FOOT_POINTS]
    points = torch.as_tensor(np.stack([result.landmarks[feet] for result in results])).float()
    return skating_mm(points, clip.feet, FPS, torch.ones(len(points), dtype=torch.bool))


def test_feet_that_rest_do_not_slide(fitter, marching, tracks):
    before, after = (slides(fitter, track, marching) for track in tracks)
    assert after < 0.4 * before
    assert not len(tracks[0].touching) and not tracks[0].floor.size


def test_results_say_which_feet_touch_and_what_the_floor_is(fitter, marching, tracks):
    track = tracks[1]
    swings = torch.sin(2 * math.pi * torch.arange(30) / FPS).numpy()
    lifted = np.stack([swings > 0.75, swings < -0.75], 1)
    assert not track.touching[lifted].any()
    assert track.touching[:, ::-1][lifted].mean() > 0.9  # the other foot
    result = frame_results(fitter, track, marching.sightings[7:8])[0]
    assert result.touching == "right foot" and result.floor_source == "resting feet and upright bodies"
    level = np.array([0.0, -DISTANCE_M, -CAMERA_HEIGHT_M])  # the camera looks down at the pelvis
    true_up = level / np.linalg.norm(level)
    assert math.degrees(math.acos(float(result.floor[:3] @ true_up))) < 4
    height = result.landmarks[[LANDMARK_INDEX[name] for name in FOOT_POINTS[3:]]] @ result.floor[:3]
    assert np.abs(height - result.floor[3]).max() < 0.05


def test_tracks_on_disk_keep_feet_and_floor(fitter, tracks, tmp_path):
    track = replace(tracks[1], status=("failed",) * 30)  # without an animated body, which takes seconds
    write_track(tmp_path, track, fitter.body)
    again = read_track(tmp_path / "000.npz")
    for name in ("touching", "floor"):
        np.testing.assert_array_equal(getattr(again, name), getattr(track, name))
    assert again.floor_source == track.floor_source


def test_windows_stand_where_the_whole_clip_stands(fitter, marching, tracks):
    config = replace(STANDING, window=12, overlap=6, shape_runs=2, shape_run=8)
    parts = fit_group(fitter, marching.sightings, fps=FPS, config=config)
    assert slides(fitter, parts, marching) < 0.4 * slides(fitter, tracks[0], marching)
    assert (parts.touching == tracks[1].touching).mean() > 0.9


def test_feet_that_nobody_saw_touch_nothing(fitter, marching):
    """Without ankles and feet, and with those of one side alone."""
    parts = ("ankle", "big_toe", "small_toe", "heel")
    for hidden in (("left", "right"), ("left",)):
        places, sightings = [LANDMARK_INDEX[f"{side}_{part}"] for side in hidden for part in parts], []
        for s in marching.sightings[:8]:
            confidence = s.frame.detections.confidence.copy()
            confidence[:, places] = 0
            found = replace(s.frame.detections, confidence=confidence)
            sightings.append(replace(s, frame=replace(s.frame, detections=found)))
        track = fit_group(fitter, sightings, fps=FPS, config=STANDING)
        assert not track.touching[:, [("left", "right").index(side) for side in hidden]].any()
        assert len(hidden) == 1 or (track.floor_source == "none: no foot that is seen rests" and not track.floor.size)


def test_a_given_gravity_is_the_floors_normal(fitter, marching):
    config = SequenceConfig.for_choice(GroundChoice(on=True, gravity=(0.0, 2.0, 0.3)))
    track = fit_group(fitter, marching.sightings[:12], fps=FPS, config=config)
    up = -np.array([0.0, 2.0, 0.3]) / np.hypot(2.0, 0.3)
    assert (
        math.degrees(math.acos(min(float(track.floor[:3] @ up), 1.0))) < 3 and track.floor_source == "the given gravity"
    )


def test_what_makes_no_sense_is_refused():
    with pytest.raises(BodyfitError, match="stands still"):
        SequenceConfig.for_choice(GroundChoice(on=True), moving_camera=True)
    with pytest.raises(BodyfitError, match="Expected a direction"):
        SequenceConfig.for_choice(GroundChoice(on=True, gravity=(0.0, 0.0, 0.0)))
