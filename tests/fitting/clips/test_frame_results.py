"""Results of frames are the track's bodies, seen by each frame's camera."""

import numpy as np
import pytest
import torch

from bodyfit.data.body.posing import pose_body
from bodyfit.fitting.benchmark.sequences import make_clip
from bodyfit.fitting.clips.frame_results import frame_results, unseen
from bodyfit.fitting.sequence.group import Sighting, fit_group
from bodyfit.fitting.solve.fitter import Fitter


@pytest.fixture(scope="module")
def fitter():
    return Fitter()


def test_bodies_in_the_world_are_brought_into_each_camera(fitter, motion):
    clip = make_clip(fitter.body, motion, cameras=2, seed=2, moments=3)
    track = fit_group(fitter, clip.sightings, fps=30, person="004")
    results = frame_results(fitter, track, clip.sightings)
    world = pose_body(fitter.body, **{k: torch.as_tensor(v).float() for k, v in track.parameters().items()}).vertices
    for s, result in zip(clip.sightings, results, strict=True):
        extrinsics = s.frame.extrinsics
        there = world[s.moment].numpy() @ np.array(extrinsics.rotation).T + np.array(extrinsics.translation)
        assert np.abs(result.mesh(fitter.body).vertices - there).max() < 2e-4
        assert result.person_id == "004" and result.status == "converged"
        assert result.size_source == "several calibrated cameras" and result.age == track.age
        assert result.error_share < 0.03 and 0 < result.cost < np.inf
        assert np.allclose(result.betas, track.betas) and np.allclose(result.camera_rotation, extrinsics.rotation)


def test_one_camera_keeps_the_track_and_a_gap_is_interpolated(fitter, motion):
    clip = make_clip(fitter.body, motion, cameras=1, seed=1, moments=6, hidden=range(2, 4))
    track = fit_group(fitter, clip.sightings, fps=30)
    gap = [Sighting(t, unseen(clip.sightings[0].frame)) for t in (2, 3)]
    results = frame_results(fitter, track, [*clip.sightings, *gap])
    assert [r.status for r in results] == ["converged"] * 4 + ["interpolated"] * 2
    assert {"does not show absolute size" in r.size_source for r in results} == {True}
    assert np.isnan(results[-1].error_px) and np.isfinite(results[-1].landmarks_px[0]).all()
    for s, result in zip([*clip.sightings, *gap], results, strict=True):
        for name in ("transl", "body_pose", "left_hand_pose", "latent"):
            assert np.allclose(getattr(result, name), getattr(track, name)[s.moment], atol=1e-4), name


def test_moments_without_a_body_are_failed_with_the_reason(fitter, motion):
    clip = make_clip(fitter.body, motion, cameras=1, seed=1, moments=2)
    nobody = [Sighting(s.moment, unseen(s.frame)) for s in clip.sightings]
    track = fit_group(fitter, nobody, fps=30, person="001")
    results = frame_results(fitter, track, [*nobody, Sighting(9, clip.sightings[0].frame)])
    assert [r.status for r in results] == ["failed"] * 3
    assert "no keypoints" in results[0].reason and results[0].person_id == "001"
