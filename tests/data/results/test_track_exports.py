"""Tracks for other programs: what they read is where the body's joints are, upright, in time."""

import csv

import numpy as np
import pytest
import torch

from bodyfit.data.body.posing import pose_body
from bodyfit.data.motion.bvh import read_bvh
from bodyfit.data.motion.mocap import read_motion
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.track_exports import export_track
from bodyfit.data.results.track_points import point_names, track_points
from bodyfit.data.results.worlds import World

CAMERA_TO_Y_UP = np.diag([1.0, -1.0, -1.0])


def posed(body, track):
    return pose_body(body, **{name: torch.as_tensor(value) for name, value in track.parameters().items()})


def test_points_are_the_bodys_joints_and_skin_points(make_track, open_body):
    """A body of these points alone gives what the whole body gives."""
    track = make_track(5)
    names, points, whole = point_names(open_body), track_points(open_body, track), posed(open_body, track)
    np.testing.assert_allclose(points[:, :55], whole.joints.numpy(), atol=1e-9)
    heel = whole.vertices[:, open_body.extra_vertex_ids["left_heel"]].numpy()
    np.testing.assert_allclose(points[:, names.index("left_heel")], heel, atol=1e-9)


def test_trc_is_what_opensim_reads(make_track, open_body, tmp_path, readers):
    """y up, metres, a row for each moment from the first fitted one; NaN, not empty cells, where one failed between."""
    status = ("failed", *("fitted",) * 4, "failed", *("fitted",) * 6)
    track = make_track(status=status)
    about, markers, numbers, times, points = readers.read_trc(export_track(tmp_path / "000.trc", track, open_body))
    assert about["Units"] == "m" and float(about["DataRate"]) == 29.97
    assert markers == list(point_names(open_body)) and len(set(markers)) == len(markers)
    np.testing.assert_array_equal(numbers, np.arange(1, 12))
    np.testing.assert_allclose(times, track.moments[1:] / 29.97, atol=1e-6)
    assert np.isnan(points[4]).all() and np.isfinite(np.delete(points, 4, axis=0)).all()
    wanted = posed(open_body, track).joints.numpy()[1:] @ CAMERA_TO_Y_UP.T
    np.testing.assert_allclose(np.delete(points, 4, axis=0)[:, :55], np.delete(wanted, 4, axis=0), atol=1e-6)


def test_bvh_moves_the_joints_as_the_track_does(make_track, open_body, tmp_path, readers):
    """Forward kinematics of the file, read by a reader of BVH, gives the joints in centimetres."""
    track = make_track(6, expression=np.zeros((6, 10)))
    path = export_track(tmp_path / "x.bvh", track, open_body)
    motion = read_bvh(path)
    assert motion.frame_rate == pytest.approx(29.97, rel=1e-8)
    wanted = posed(open_body, track).joints.numpy() @ CAMERA_TO_Y_UP.T * 100
    names, places = readers.bvh_joints(path)
    np.testing.assert_allclose(places[:, [names.index(name) for name in open_body.joint_names]], wanted, atol=0.01)


def test_bvh_holds_the_pose_where_a_moment_failed(make_track, open_body, tmp_path):
    track = make_track(6, status=("failed", "fitted", "failed", "failed", "fitted", "failed"))
    orientations = read_bvh(export_track(tmp_path / "x.bvh", track, open_body)).orientations
    assert len(orientations) == 4
    np.testing.assert_array_equal(orientations[1], orientations[0])
    assert not np.allclose(orientations[3], orientations[0])


@pytest.mark.parametrize(
    "frame, turn", [(None, np.eye(3)), ("opengl", World.along("z").y_up[0]), ("blender", np.eye(3))]
)
def test_csv_has_a_row_for_each_moment_and_point(make_track, open_body, tmp_path, frame, turn):
    track = make_track(3, space="world", status=("fitted", "failed", "interpolated"))
    path = export_track(tmp_path / "x.csv", track, open_body, frame=frame, up="z")
    rows = list(csv.DictReader(path.open()))
    assert len(rows) == 3 * len(point_names(open_body))
    last = next(row for row in rows if row["moment"] == "7" and row["point"] == "left_wrist")
    wrist = posed(open_body, track).joints[2, open_body.joint_names.index("left_wrist")].numpy()
    np.testing.assert_allclose([float(last[k]) for k in ("x_m", "y_m", "z_m")], turn @ wrist, atol=1e-5)
    assert float(last["time_s"]) == pytest.approx(7 / 29.97, rel=1e-5) and last["status"] == "interpolated"
    assert {row["x_m"] for row in rows if row["status"] == "failed"} == {""}


def test_amass_file_is_motion_with_z_up(make_track, open_body, tmp_path):
    track = make_track(4)
    path = export_track(tmp_path / "x.npz", track, open_body)
    np.testing.assert_array_equal(read_motion(path).body_pose, track.body_pose)
    with np.load(path) as file:
        assert file["poses"].shape == (4, 165)
        pelvis = posed(open_body, track).joints[:, 0].numpy() @ World.along("-y").z_up[0].T
        rest = pelvis - file["trans"]
    np.testing.assert_allclose(rest, np.broadcast_to(rest[0], rest.shape), atol=1e-3)  # but for the expression


def test_what_cannot_be_exported_is_refused(make_track, open_body, tmp_path):
    with pytest.raises(ResultError, match=r"exported as \.npz, .*, not '\.fbx'"):
        export_track(tmp_path / "x.fbx", make_track(2), open_body)
    with pytest.raises(ResultError, match="fitted with the body 'other'"):
        export_track(tmp_path / "x.bvh", make_track(2, body_model="other"), open_body)
    with pytest.raises(ResultError, match="fitted at no moment: too far"):
        export_track(tmp_path / "x.trc", make_track(2, status=("failed",) * 2, reason="too far"), open_body)
