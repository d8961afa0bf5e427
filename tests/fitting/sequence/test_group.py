"""`fit_group` end to end with the shipped body and prior, on poses of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bodyfit.data.body.measures import measure_body
from bodyfit.data.errors import BodyfitError
from bodyfit.data.photo.intrinsics import Extrinsics
from bodyfit.fitting.benchmark import sequences
from bodyfit.fitting.benchmark.accuracy import mean_distance_mm
from bodyfit.fitting.benchmark.sequences import make_clip, track_joints
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.group import Sighting, fit_group
from bodyfit.fitting.solve.ages import AgeConfig
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.known_shape import KnownShape


def test_one_moment_of_one_camera_is_the_single_fit(fitter, motion):
    clip = make_clip(fitter.body, motion, cameras=1, seed=1, moments=1)
    sharp = SequenceConfig(solver=SolverOptions())
    track = fit_group(fitter, clip.sightings, fps=30, config=sharp)
    single = fitter.fit([clip.sightings[0].frame])[0]
    joints, alone = track_joints(fitter, track)[0], torch.as_tensor(single.landmarks[:22]).float()
    assert track.space == "camera" and track.status == ("fitted",)
    assert (joints - alone).norm(dim=1).max() < 2e-3


def test_known_heights_and_shapes_are_those_of_the_track(fitter, motion):
    clip = make_clip(fitter.body, motion, cameras=1, seed=1, moments=3)

    def betas(**known):
        energy = replace(fitter.config.energy, collision_sigma_m=np.inf)  # its spheres take seconds to make
        config = FitConfig(shape=KnownShape(**known), energy=energy)
        with_shape = Fitter(fitter.body, config=config, like=fitter)
        return fit_group(with_shape, clip.sightings, fps=30).betas

    assert measure_body(fitter.body, betas(height_m=1.9)).stature == pytest.approx(1.9, abs=0.005)
    np.testing.assert_allclose(betas(betas=(1.0, -1.0)), [1.0, -1.0, *[0.0] * 8], atol=1e-3)


def test_calibrated_views_are_in_the_world_and_a_gap_is_filled(fitter, motion):
    clip = make_clip(fitter.body, motion, cameras=4, seed=2, moments=9, hidden=range(4, 6))
    track = fit_group(fitter, clip.sightings, fps=30, person="left")
    assert track.space == "world" and track.person == "left"
    assert [s == "interpolated" for s in track.status] == [t in (4, 5) for t in range(9)]
    assert track.views.tolist() == [4] * 4 + [0, 0] + [4] * 3
    away = (track_joints(fitter, track) - clip.joints).norm(dim=-1).mean(1)
    assert away.max() < 0.02


def test_under_a_moving_camera_the_root_is_free(fitter, motion):
    """Every other picture is turned by 20 degrees: a static camera's smoothness would drag the root to the mean."""
    clip = make_clip(fitter.body, motion, cameras=1, seed=3, moments=8)
    turn = np.array([[np.cos(0.35), -np.sin(0.35)], [np.sin(0.35), np.cos(0.35)]])
    sightings, turned = [], clip.joints.clone()
    for t, sighting in enumerate(clip.sightings):
        frame = sighting.frame
        if t % 2:
            center = np.array(frame.center_px)
            xy = (frame.detections.xy - center) @ turn.T + center
            frame = replace(frame, detections=replace(frame.detections, xy=xy))
            turned[t, :, :2] = clip.joints[t, :, :2] @ torch.as_tensor(turn.T).float()
        sightings.append(Sighting(t, frame))

    def away(**changes):
        joints = track_joints(fitter, fit_group(fitter, sightings, fps=30, config=SequenceConfig(**changes)))
        return mean_distance_mm(joints - joints[:, :1], turned - turned[:, :1]).mean()

    free, still = away(moving_camera=True), away(acceleration_robust_sigmas=1e3)
    assert free < 60 and free < 0.6 * still


def test_a_camera_that_stops_in_the_middle_leaves_the_other(fitter, motion):
    clip = make_clip(fitter.body, motion, cameras=2, seed=2, moments=10)
    of_first = [s.frame.extrinsics == clip.sightings[0].frame.extrinsics for s in clip.sightings]
    some = [s for s, first in zip(clip.sightings, of_first, strict=True) if first or s.moment < 5]
    track = fit_group(fitter, some, fps=30)
    assert track.views.tolist() == [2] * 5 + [1] * 5 and set(track.status) == {"fitted"}
    away = (track_joints(fitter, track) - clip.joints).norm(dim=-1).mean(1)
    assert away[:5].max() < 0.04 and away.max() < 0.15


def test_sightings_that_stop_in_the_middle_end_the_track(fitter, motion):
    clip = make_clip(fitter.body, motion, cameras=1, seed=2, moments=8)
    track = fit_group(fitter, clip.sightings[:4], fps=30)
    assert track.moments.tolist() == [0, 1, 2, 3] and set(track.status) == {"fitted"}


def test_moments_at_the_ends_without_a_usable_sighting_are_failed(fitter, motion):
    clip = make_clip(fitter.body, motion, cameras=1, seed=1, moments=4)
    frame = clip.sightings[0].frame
    bad = replace(frame, detections=replace(frame.detections, problems=("too few points",)))
    track = fit_group(
        fitter, [Sighting(7, bad), *(replace(s, moment=s.moment + 7) for s in clip.sightings[1:])], fps=30
    )
    assert track.moments.tolist() == [7, 8, 9, 10]
    assert track.status == ("failed", "fitted", "fitted", "fitted") and track.reason
    nothing = fit_group(fitter, [Sighting(0, bad)], fps=30)
    assert nothing.status == ("failed",) and "too few points" in nothing.reason


def test_what_is_no_group_is_refused(fitter, motion):
    frame = make_clip(fitter.body, motion, cameras=1, seed=1, moments=1).sightings[0].frame
    placed = replace(frame, extrinsics=Extrinsics(((1, 0, 0), (0, 1, 0), (0, 0, 1)), (0, 0, 0)))
    for sightings, fps, message in (
        ([], 30, "at least one"),
        ([Sighting(0, frame)], 0, "fps"),
        ([Sighting(0, frame, 3)], 30, "no person 3"),
        ([Sighting(0, frame), Sighting(0, frame)], 30, "no extrinsics"),
        ([Sighting(0, frame), Sighting(0, placed)], 30, "all cameras or none"),
    ):
        with pytest.raises(BodyfitError, match=message):
            fit_group(fitter, sightings, fps=fps)


def test_a_child_of_a_given_age_has_one_shape_of_that_age(fitter, motion):
    child = Fitter(config=FitConfig(age=AgeConfig("7")), like=fitter)
    sightings = make_clip(fitter.body, motion, cameras=1, seed=1, moments=3).sightings
    track = fit_group(child, sightings, fps=30)
    stature = float(child.unknowns.stature(torch.as_tensor(track.betas).float()[None])[0][0])
    assert track.kid_axis and track.age == "child, given" and 1.0 < stature < 1.45


@pytest.mark.parametrize("cameras", [1, 2])
def test_one_decision_for_a_child_over_all_moments(fitter, motion, cameras, monkeypatch):
    """Somebody of two years, as seen by one camera and by calibrated ones; an adult stays one."""
    kids, made = fitter.children, sequences.true_parameters
    kid = torch.tensor([np.interp(2, *kids.body.kid_ages)]).float()
    shape = torch.cat([kids.unknowns.age_curve.at(kid)[0], kid[:, None]], 1)

    def of_child(body, pose, betas, transl):
        return made(body, pose, shape.expand(len(betas), -1), transl)

    grown = make_clip(fitter.body, motion, cameras=cameras, seed=1, moments=6).sightings
    monkeypatch.setattr(sequences, "true_parameters", of_child)
    small = make_clip(kids.body, motion, cameras=cameras, seed=1, moments=6).sightings
    track = fit_group(fitter, small, fps=30)
    assert track.kid_axis and track.age == "child, by proportions" and track.age_margin > 0
    adult = fit_group(fitter, grown, fps=30)
    assert not adult.kid_axis and adult.age == "adult, by proportions"


def test_windows_give_what_the_whole_problem_gives(fitter, motion):
    """Within 5 mm: the shape is that of some runs, and each window sees no more than its overlap of the future."""
    clip = make_clip(fitter.body, motion, cameras=2, seed=5, moments=24, fps=60.0, hidden=range(9, 12))
    whole = fit_group(fitter, clip.sightings, fps=60)
    config = SequenceConfig(window=8, overlap=4, shape_runs=2, shape_run=8)
    parts = fit_group(fitter, clip.sightings, fps=60, config=config)
    assert parts.status == whole.status and len(parts) == len(clip.joints) > 20
    away = (track_joints(fitter, whole) - track_joints(fitter, parts)).norm(dim=-1)
    assert away.max() < 0.005
    assert np.abs(whole.betas - parts.betas).max() > 0  # they are no longer one problem
