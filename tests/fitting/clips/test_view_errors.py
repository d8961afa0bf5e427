"""Measuring calibrated views: errors of a known size come out, also in a camera that was left out."""

import numpy as np
import pytest

from bodyfit.fitting.benchmark.sequences import make_clip
from bodyfit.fitting.clips.triangulation import CameraArrays
from bodyfit.fitting.clips.view_errors import camera_of, errors_of_views, linear_points
from bodyfit.fitting.sequence.group import Sighting
from bodyfit.fitting.solve.fitter import Fitter
from tests.fitting.clips.view_scene import frame, person, place, project

PLACES = [place(angle) for angle in (0.0, 1.1, 2.4)]


def test_linear_points_are_exact_and_unknown_where_one_view_is_left():
    points, cameras = person((0.1, 0, 0.2)), CameraArrays.of_frames([frame("x", [], e) for e in PLACES])
    xy, weight = np.stack([project(points, e) for e in PLACES], 1), np.full((144, 3), 0.9)
    weight[:5, 1:] = 0.2
    found = linear_points(xy, weight, cameras)
    np.testing.assert_allclose(found[5:], points[5:], atol=1e-6)
    assert np.isnan(found[:5]).all()


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    fitter, folder = Fitter(), tmp_path_factory.mktemp("motion")
    poses = np.zeros((4, 66))
    poses[:, 48 + 2], poses[:, 51 + 2], poses[:, 0] = -0.9, 1.0, np.pi / 2
    np.savez(folder / "still.npz", root_orient=poses[:, :3], pose_body=poses[:, 3:], mocap_frame_rate=30.0)
    clip, names = make_clip(fitter.body, folder / "still.npz", cameras=3, seed=2, moments=3), {}
    sightings = []
    for s in sorted(clip.sightings, key=lambda s: s.moment):
        name = names.setdefault(s.frame.extrinsics, f"cam{len(names)}")
        object.__setattr__(s.frame, "name", f"{name}/{s.moment:06d}")
        sightings.append(Sighting(s.moment, s.frame, s.person))
    return fitter, sightings


def test_all_views_and_one_left_out(seen):
    fitter, sightings = seen
    of_all = errors_of_views(fitter, sightings, 30.0)
    assert [e.camera for e in of_all] == ["cam0", "cam1", "cam2"]
    assert all(0 < e.body < 12 and 0 < e.triangulated < 12 and e.points > 30 for e in of_all)
    left = errors_of_views(fitter, sightings, 30.0, left_out="cam1")
    assert [e.camera for e in left] == ["cam1"]
    assert of_all[1].triangulated < left[0].triangulated < 40 and left[0].body < 25
    assert {camera_of(s) for s in sightings} == {"cam0", "cam1", "cam2"}
