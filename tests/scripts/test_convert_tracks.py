"""`bodyfit convert` of a clip: its tracks become files for each person, or tables of all."""

import csv

import numpy as np
import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.track_files import write_track
from bodyfit.scripts.convert import ConvertCommand


@pytest.fixture
def clip(make_track, make_result, open_body, tmp_path):
    """An output folder with two people over time, and the results of their frames."""
    out = tmp_path / "out"
    write_track(out / "tracks", make_track(4), open_body)
    write_track(out / "tracks", make_track(6, 1, person="001"), open_body)
    for frame in ("000005", "000006"):
        make_result().save(out / "results" / "clip" / frame / "000.npz")
    return out


def files_below(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    "to, options, written",
    [
        ("bvh", {}, {"000.bvh", "001.bvh"}),
        ("trc", {}, {"000.trc", "001.trc"}),
        ("amass", {}, {"000.npz", "001.npz"}),
        ("csv", {}, {"joints.csv", "parameters.csv"}),
        ("glb", {"rigged": True}, {"000.glb", "001.glb"}),
        ("json", {}, {"clip/000005/000.json", "clip/000006/000.json"}),
        ("bvh", {"each_frame": True}, {"clip/000.bvh"}),
    ],
)
def test_formats_of_motion_are_made_of_tracks(clip, tmp_path, to, options, written):
    assert ConvertCommand((clip,), tmp_path / "new", to=to, **options).run() == 0
    assert files_below(tmp_path / "new") == written


def test_tables_hold_everybody_at_every_moment(clip, tmp_path):
    assert ConvertCommand((clip,), tmp_path / "new", to="csv").run() == 0
    rows = list(csv.DictReader((tmp_path / "new" / "parameters.csv").open()))
    assert [(row["person"], row["moment"]) for row in rows] == [
        *(("000", str(m)) for m in range(5, 9)),
        *(("001", str(m)) for m in range(5, 11)),
    ]
    assert float(rows[0]["time_s"]) == pytest.approx(5 / 29.97, rel=1e-5) and "body_pose_62" in rows[0]


def test_a_single_track_file_is_enough(clip, tmp_path):
    assert ConvertCommand((clip / "tracks" / "001.npz",), tmp_path / "new", to="bvh").run() == 0
    assert files_below(tmp_path / "new") == {"001.bvh"}


def test_axes_are_as_asked(clip, tmp_path):
    """--frame opencv leaves the camera's axes: z up of the AMASS file is its -y."""
    for frame in ("opencv", "blender"):
        assert ConvertCommand((clip,), tmp_path / frame, to="amass", frame=frame).run() == 0
    camera, blender = (np.load(tmp_path / frame / "000.npz")["trans"] for frame in ("opencv", "blender"))
    assert np.ptp(camera[:, 1] + blender[:, 2]) < 1e-3  # y down, z up, but for the pelvis and its expression


def test_a_calibrations_world_has_its_own_axes_and_origin_whatever_floor_was_found(make_track, open_body, tmp_path):
    floor, given = np.array([0.0, -0.6, 0.8, -0.3]), {"space": "world", "touching": np.ones((2, 2), dtype=bool)}
    write_track(tmp_path / "out" / "tracks", make_track(2, floor=floor, floor_source="test", **given), open_body)
    files = {}
    for name, world in (("level", False), ("own", True)):
        for to, options in (("amass", {}), ("glb", {"rigged": True})):
            given = {"to": to, "world": world, **options}
            assert ConvertCommand((tmp_path / "out",), tmp_path / name, **given).run() == 0
        files[name] = np.load(tmp_path / name / "000.npz")["trans"]
    pelvis = open_body.joint_regressor[0] @ open_body.v_template
    own, level = (files[name] + pelvis for name in ("own", "level"))
    np.testing.assert_allclose(own, make_track(2).transl + pelvis, atol=0.05)  # z is nearest: axes stay
    np.testing.assert_allclose(level[:, 2], own @ floor[:3] - floor[3], atol=0.05)


def test_a_track_that_cannot_be_read_stops_no_other(clip, tmp_path):
    (clip / "tracks" / "000.npz").write_bytes(b"PK no more")
    assert ConvertCommand((clip,), tmp_path / "new", to="bvh").run() == 1
    assert files_below(tmp_path / "new") == {"001.bvh"}


def test_options_that_do_not_go_together(clip, make_result, tmp_path):
    make_result().save(tmp_path / "photos" / "results" / "a" / "000.npz")
    for inputs, options, words in (
        ((tmp_path / "photos",), {"to": "trc"}, "photos: no tracks in it. --to trc is for motion"),
        ((clip, tmp_path / "photos"), {"to": "bvh"}, "photos: has no tracks, while others have"),
        ((clip,), {"to": "trc", "each_frame": True}, "leave --each-frame out"),
        ((clip,), {"to": "bvh", "world": True}, "where the camera stood is not known"),
    ):
        with pytest.raises(BodyfitError, match=words):
            ConvertCommand(inputs, tmp_path / "new", **options).run()
