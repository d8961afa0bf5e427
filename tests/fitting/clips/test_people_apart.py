"""People of a clip who do not pass through each other: `bodyfit.fit_video(..., people_apart=True)`."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import bodyfit
from bodyfit.fitting.clips.fitting_people import fit_people, followed_people
from bodyfit.fitting.clips.frame_results import track_unknowns
from bodyfit.fitting.clips.tracking import track_people
from bodyfit.fitting.energy.shared_space import SKIN_M
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.solve.ages import AgeConfig
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter

ADULTS = FitConfig(age=AgeConfig(kind="adult"), uncertainty="off")
TOO_NEAR_PX = 45  # of people 300 px tall: a quarter of a metre


@pytest.fixture(scope="module")
def fitter():
    return Fitter(config=ADULTS)


@pytest.fixture(scope="module")
def couple(figures):
    """Six frames of two people who stand in each other, and of one who stands far away."""
    people = [[figures.figure(x + t, swing=s) for x, s in ((200, 0.0), (245, 0.03), (540, 0.0))] for t in range(6)]
    return np.array(people)


@pytest.fixture(scope="module")
def clips(couple, figures):
    """They without and with the option."""
    config = replace(ADULTS, uncertainty="joints")
    return [fitted(couple, figures, people_apart=on, config=config) for on in (False, True)]


def fitted(keypoints, figures, **options):
    config = options.pop("config", ADULTS)
    return bodyfit.fit_video(keypoints, "coco17", fps=30, image_size=figures.size, config=config, **options)


def depths_m(fitter, first, second):
    """How deep spheres of two tracks overlap at each moment of both, beyond what skin may."""
    shared = sorted(set(first.moments) & set(second.moments))
    posed = []
    for track in (first, second):
        x = track_unknowns(fitter, track, [list(track.moments).index(moment) for moment in shared])
        unknowns, shape = fitter.unknowns, fitter.unknowns.shape(x)
        bones = fitter.everything.kinematics(unknowns.rotations(x, unknowns.decode(x)), shape, derivatives=False)
        centres = fitter.spheres.centres(bones, shape).transpose(0, 1) + x[:, None, unknowns.layout["transl"]]
        posed.append((centres, fitter.spheres.radii(shape)))
    (a, r), (b, s) = posed
    return (r[..., None] + s[:, None] - torch.cdist(a, b)).amax((1, 2)).numpy() - SKIN_M


def same(first, second):
    """Whether two tracks have the same bits."""
    return all(np.array_equal(value, second.parameters()[name]) for name, value in first.parameters().items())


def test_two_who_stand_in_each_other_step_apart_and_others_stay_as_they_were(clips, fitter):
    alone, apart = (clip.tracks for clip in clips)
    before, after = depths_m(fitter, *alone[:2]), depths_m(fitter, *apart[:2])
    assert before.min() > 0.1 and after.max() < 0.005
    moved = [np.abs(b.transl - a.transl).max() for a, b in zip(alone[:2], apart[:2], strict=True)]
    assert 0.05 < max(moved) < 2 * min(moved), "both give way"
    for a, b in zip(alone[:2], apart[:2], strict=True):
        jerk = [np.abs(np.diff(track.transl, 2, axis=0)).max() for track in (a, b)]
        assert jerk[1] < jerk[0] + 0.002, "smooth in time"
    assert same(alone[2], apart[2]) and np.array_equal(alone[2].joint_covariance, apart[2].joint_covariance)


def test_keypoints_are_still_met(clips):
    for name in ("000", "001"):
        errors = [np.mean([r.error_px for r in clip.results(name)]) for clip in clips]
        assert errors[1] < errors[0] + 1, "of 300 px"


def test_covariances_and_samples_of_who_was_moved_are_there(clips):
    alone, apart = (clip.tracks[0] for clip in clips)
    assert np.isfinite(apart.joint_covariance).all() and apart.sample(2)["body_pose"].shape == (2, 6, 63)
    assert not np.array_equal(alone.joint_covariance, apart.joint_covariance)


@pytest.mark.parametrize("moments", [slice(0, 3), slice(0, 0)])
def test_people_who_never_meet_and_one_alone_are_fitted_as_without(couple, figures, moments):
    """The second person is gone before the first comes to the same place, or there is none."""
    keypoints = couple[:, :2].copy()
    keypoints[:, 1] = np.nan
    keypoints[moments, 1], keypoints[moments, 0] = couple[moments, 1], np.nan
    keypoints = keypoints[:, :1] if not moments.stop else keypoints
    alone, apart = (fitted(keypoints, figures, people_apart=on).tracks for on in (False, True))
    assert len(alone) == len(apart) > 0 and all(map(same, alone, apart))


def test_who_is_not_seen_for_a_while_is_not_inside_somebody_meanwhile(couple, figures, fitter):
    keypoints = couple[:, :2].copy()
    keypoints[2:4, 1] = np.nan
    apart = fitted(keypoints, figures, people_apart=True).tracks
    assert apart[1].status.count("interpolated") == 2
    assert depths_m(fitter, *apart).max() < 0.015


@pytest.mark.parametrize("options", [{"ground": True}, {"moving_camera": True}])
def test_together_with_a_floor_and_under_a_moving_camera(couple, figures, fitter, options):
    apart = fitted(couple[:, :2], figures, people_apart=True, **options).tracks
    assert depths_m(fitter, *apart).max() < 0.015
    if "ground" in options:
        assert all(track.touching.any() for track in apart)


def test_a_long_clip_is_moved_window_by_window(couple, figures, fitter):
    frames = {t: figures.frame(list(people[:2])) for t, people in enumerate(np.concatenate([couple, couple[-1:]]))}
    people = followed_people(track_people(frames, 30.0).tracklets, frames)
    config = SequenceConfig(window=4, overlap=1, shape_runs=2, shape_run=3)
    both = Fitter(config=replace(ADULTS, people_apart=True), like=fitter)
    alone, apart = ([p.track for p in fit_people(one, people, 30.0, config)] for one in (fitter, both))
    assert depths_m(fitter, *alone).max() > 0.02 and depths_m(fitter, *apart).max() < 0.015


def test_keypoints_that_are_no_person_push_nobody(couple, figures):
    """Half of the points of one of the two are thrown about."""
    draw, keypoints = np.random.default_rng(0), couple[:, :2].copy()
    keypoints[:, 1, draw.permutation(17)[:9], :2] += 200 * draw.standard_normal((9, 2))
    alone, apart = (fitted(keypoints, figures, people_apart=on) for on in (False, True))
    assert {r.status for r in alone.results("000")} == {"implausible"}
    assert len(alone.people) == 2 and all(map(same, alone.tracks, apart.tracks))
