"""Triangulation: exact where views agree, unmoved by views that do not, silent where nothing can be known."""

import numpy as np
import pytest

from bodyfit.fitting.clips.triangulation import CameraArrays, triangulate
from tests.fitting.clips.view_scene import frame, person, place, project

PLACES = [place(angle) for angle in (0.0, 0.9, 2.2, 4.0, 5.1)]
POINTS = person((0.2, 0.1, -0.3))
CAMERAS = CameraArrays.of_frames([frame("x", [], extrinsics) for extrinsics in PLACES])


@pytest.fixture
def seen():
    return np.stack([project(POINTS, extrinsics) for extrinsics in PLACES], axis=1)


def test_exact_where_all_agree(seen):
    np.testing.assert_allclose(CAMERAS.project(POINTS), seen, atol=1e-9)
    found = triangulate(seen, np.ones(seen.shape[:2]), CAMERAS, 20.0)
    np.testing.assert_allclose(found.points, POINTS, atol=1e-6)
    assert found.agree.all() and found.error_px.max() < 1e-3


def test_two_wrong_views_of_five_change_nothing(seen):
    draw = np.random.default_rng(0)
    for n in range(len(seen)):
        wrong = draw.permutation(5)[:2]
        seen[n, wrong] += draw.choice([-1, 1], (2, 2)) * draw.uniform(60, 300, (2, 2))
    found = triangulate(seen, np.ones(seen.shape[:2]), CAMERAS, 20.0)
    off = np.linalg.norm(found.points - POINTS, axis=1)
    assert np.median(off) < 1e-6 and (off < 0.05).mean() > 0.97
    assert (~found.agree).sum(1).mean() == pytest.approx(2, abs=0.1)


def test_noise_averages_out_and_confidence_counts(seen):
    draw = np.random.default_rng(1)
    noise = draw.normal(size=seen.shape)
    all_views = triangulate(seen + 3 * noise, np.ones(seen.shape[:2]), CAMERAS, 40.0).points
    two = np.zeros(seen.shape[:2])
    two[:, :2] = 1
    few = triangulate(seen + 3 * noise, two, CAMERAS, 40.0).points
    noise[:, 2:] *= 10
    trusted = np.where(np.arange(5) < 2, 1.0, 0.01) * np.ones(seen.shape[:2])
    weighted = triangulate(seen + 3 * noise, trusted, CAMERAS, 400.0).points
    off = [np.linalg.norm(p - POINTS, axis=1).mean() for p in (all_views, few, weighted)]
    assert off[0] < 0.75 * off[1] and off[0] < 0.014  # 3 px are 13.5 mm in each view
    assert off[2] < 1.5 * off[1]


def test_what_one_view_alone_saw_is_unknown(seen):
    weight = np.ones(seen.shape[:2])
    weight[:10, 1:] = 0
    seen[10] = np.nan
    found = triangulate(seen, weight, CAMERAS, 20.0)
    assert np.isnan(found.points[:11]).all() and np.isfinite(found.points[11:]).all()
    assert not found.agree[:11].any() and np.isnan(found.error_px[:11]).all()


def test_views_that_all_contradict_each_other_give_no_point(seen):
    draw = np.random.default_rng(2)
    found = triangulate(draw.uniform(0, 900, seen.shape), np.ones(seen.shape[:2]), CAMERAS, 2.0)
    assert np.isnan(found.points[:, 0]).mean() > 0.8


def test_any_leading_shape_and_nothing_at_all(seen):
    found = triangulate(seen.reshape(12, 12, 5, 2), np.ones((12, 12, 5)), CAMERAS, 20.0)
    np.testing.assert_allclose(found.points.reshape(-1, 3), POINTS, atol=1e-6)
    assert triangulate(np.zeros((0, 5, 2)), np.zeros((0, 5)), CAMERAS, 20.0).points.shape == (0, 3)


def test_thirty_cameras_at_one_place_say_nothing_of_depth(seen):
    same = CameraArrays.of_frames([frame("x", [], PLACES[0])] * 30)
    xy = np.repeat(seen[:, :1], 30, axis=1)
    assert np.isnan(triangulate(xy, np.ones(xy.shape[:2]), same, 20.0).points).all()
