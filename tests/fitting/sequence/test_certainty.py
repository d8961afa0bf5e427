"""How sure a person is over time: exact for the problem that is solved, and as results and files have it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bodyfit.data.results.modes import any_flip
from bodyfit.data.results.track_files import read_track, write_track
from bodyfit.fitting.benchmark.sequences import imagined, make_clip
from bodyfit.fitting.clips.frame_results import frame_results
from bodyfit.fitting.energy.floor import Feet, Floor, foot_points
from bodyfit.fitting.sequence.arrow_system import in_order
from bodyfit.fitting.sequence.certainty import Hessian
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.contacts import Contacts
from bodyfit.fitting.sequence.group import fit_group, observed
from bodyfit.fitting.sequence.windows import GroupSolver
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.uncertainty.flip_coefficients import AMBIGUOUS_FROM


def sd(covariance):
    """Mean standard deviation of the body's joints, all but the pelvis."""
    return np.sqrt(np.einsum("...jkk->...jk", covariance[..., 1:22, :, :]).mean(axis=(-1, -2)))


def dense(system):
    """The matrix of a system written out."""
    moments, size = system.edge.shape[1:3]
    whole = system.band.new_zeros(moments, size, moments, size)
    for reach in range(3):
        for t in range(moments - reach):
            whole[t, :, t + reach] = system.band[0, reach, t]
            whole[t + reach, :, t] = system.band[0, reach, t].mT
    edge = system.edge[0].flatten(0, 1)
    return torch.cat([torch.cat([whole.flatten(0, 1).flatten(1), edge], 1), torch.cat([edge.mT, system.corner[0]], 1)])


@pytest.mark.parametrize(("cameras", "ground"), [(1, False), (2, True)])
def test_windows_give_the_covariances_of_the_whole_problem(fitter, motion, cameras, ground):
    """Against the dense inverse, double precision, a window of four moments after the other: the gap in the middle, the
    ground and the shape reach across."""
    exact = Fitter(config=FitConfig(uncertainty="joints"), dtype=torch.float64)
    clip = make_clip(exact.body, motion, cameras=cameras, seed=2, moments=9, hidden=range(3, 5))
    model, views = observed(exact, clip.sightings, 0, foot_points(exact.body))
    solver = GroupSolver(exact, model, views, 30.0, SequenceConfig(window=4, overlap=2, chunk=3), in_order)
    draw = torch.Generator().manual_seed(0)
    x = 0.05 * torch.randn(9, exact.unknowns.layout.size, generator=draw, dtype=torch.float64)
    x[:, exact.unknowns.layout["transl"]] += torch.tensor([0.0, 0.0, 5.0])
    x[:, exact.unknowns.layout["betas"]] = x[0, exact.unknowns.layout["betas"]]
    contacts = None
    if ground:
        feet = Feet(exact.body, model)
        links = torch.rand(8, len(feet), generator=draw) < 0.6
        contacts = Contacts(feet, links, Floor((0.0, 1.0, 0.0), -0.8))
    hessian = Hessian(solver, x, views, contacts)
    matrix = dense(hessian.whole.evaluate(x, solver.config.solver.curvature_floor))
    inverse, size, count = torch.linalg.inv(matrix), len(hessian.whole.own), 0
    for one in hessian.marginals(0, 9):
        end = inverse[9 * size :, 9 * size :]
        torch.testing.assert_close(one.shared, end, rtol=1e-5, atol=1e-7 * float(end.abs().max()))
        for t, own in enumerate(one.own, one.first):
            expected = inverse[t * size : (t + 1) * size, t * size : (t + 1) * size]
            torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-7 * float(expected.abs().max()))
            count += 1
    assert count == 9


@pytest.fixture(scope="module")
def gap(fitter):
    """One camera, a third of a second unseen."""
    clip = make_clip(
        fitter.body, imagined(fitter.prior, 30.0, 20, 3), cameras=1, seed=2, moments=20, hidden=range(5, 15)
    )
    return clip, fit_group(fitter, clip.sightings, fps=30)


def test_moments_that_nobody_saw_are_less_sure(gap):
    _, track = gap
    assert track.joint_covariance.shape == (20, 55, 3, 3)
    found = sd(track.joint_covariance_root_relative)
    assert found[9] > 1.15 * found[[1, 2, 17, 18]].max()


def test_more_cameras_are_surer(fitter, motion, gap):
    clip = make_clip(fitter.body, motion, cameras=3, seed=2, moments=6)
    several = fit_group(fitter, clip.sightings, fps=30)
    assert sd(several.joint_covariance).max() < 0.5 * sd(gap[1].joint_covariance).min()
    at_once = [s for s in clip.sightings if s.moment == 0]
    turn = np.asarray(at_once[1].frame.extrinsics.rotation)
    expected = turn @ several.joint_covariance[0] @ turn.T
    results = frame_results(fitter, several, at_once)
    np.testing.assert_allclose(results[1].joint_covariance, expected, rtol=1e-3, atol=1e-9)


def test_frames_have_the_covariances_of_their_moment_and_files_keep_them(fitter, gap, tmp_path):
    clip, track = gap
    results = frame_results(fitter, track, clip.sightings)
    assert len(results) == 10
    for sighting, result in zip(clip.sightings, results, strict=True):
        for name in ("joint_covariance", "joint_covariance_root_relative"):
            np.testing.assert_array_equal(getattr(result, name), getattr(track, name)[sighting.moment])
    write_track(tmp_path, track, fitter.body)
    read = read_track(tmp_path / f"{track.person}.npz")
    np.testing.assert_array_equal(read.joint_covariance, track.joint_covariance)
    assert read.landmark_covariance.shape == (0, 144, 3, 3)


def test_limbs_that_may_be_flipped_are_said_at_every_moment_of_one_camera(fitter, gap, tmp_path):
    clip, track = gap
    found = track.flip_probability
    assert found.shape == (20, 8) and found.min() > 0 and found.max() < 0.9
    np.testing.assert_allclose(found[9], found[4] + (found[15] - found[4]) * 5 / 11, rtol=1e-4)  # nobody saw it
    results = frame_results(fitter, track, clip.sightings)
    for sighting, result in zip(clip.sightings, results, strict=True):
        np.testing.assert_allclose(result.flip_probability, found[sighting.moment])
        assert result.ambiguous == (any_flip(found[sighting.moment]) >= AMBIGUOUS_FROM)
    wary = replace(fitter.config, ambiguous_probability=0.0)
    assert all(one.ambiguous for one in frame_results(Fitter(config=wary, like=fitter), track, clip.sightings))
    write_track(tmp_path, track, fitter.body)
    np.testing.assert_array_equal(read_track(tmp_path / f"{track.person}.npz").flip_probability, found)


def test_flips_are_those_of_the_view_wherever_the_world_is(fitter, motion):
    """A calibrated camera alone sees what an uncalibrated one does; two see depth, and ask nothing."""
    clip = make_clip(fitter.body, motion, cameras=2, seed=2, moments=4)
    alone = [s for s in clip.sightings if s.frame.extrinsics == clip.sightings[0].frame.extrinsics]
    placed, free = (fit_group(fitter, some, fps=30).flip_probability for some in (alone, [_unplaced(s) for s in alone]))
    np.testing.assert_allclose(np.log(placed), np.log(free), atol=0.5)
    assert fit_group(fitter, clip.sightings, fps=30).flip_probability.shape == (0, 8)


def _unplaced(sighting):
    return replace(sighting, frame=replace(sighting.frame, extrinsics=None))


def test_off_is_off_and_landmarks_are_landmarks(fitter, motion):
    clip = make_clip(fitter.body, motion, cameras=1, seed=1, moments=3)
    for kind, rows in (("off", 0), ("landmarks", 3)):
        config = replace(fitter.config, uncertainty=kind)
        track = fit_group(Fitter(fitter.body, config=config, like=fitter), clip.sightings, fps=30)
        assert len(track.landmark_covariance) == rows and len(track.joint_covariance) == rows
    np.testing.assert_allclose(track.landmark_covariance[:, :55], track.joint_covariance, rtol=1e-5)
