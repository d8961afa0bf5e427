"""Several calibrated cameras end to end: files in, bodies in the world and in each camera out, against known truth."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch

import bodyfit
from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.openpose_json import write_openpose
from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.data.photo.intrinsics import Extrinsics
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.track_files import read_track
from bodyfit.fitting.benchmark.sequences import make_clip, track_joints
from bodyfit.fitting.clips.run_views import run_views
from bodyfit.fitting.run.config_files import RunConfig
from bodyfit.fitting.run.options import ClipOptions, OutputOptions
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import CameraOptions

FPS, MOMENTS = 30.0, 6
SIZE = (1280, 960)


@pytest.fixture(scope="module")
def fitter():
    return Fitter()


@pytest.fixture(scope="module")
def clip(fitter, tmp_path_factory):
    """A slow arm raise that four cameras saw, and where its files are."""
    poses = np.zeros((MOMENTS, 66))
    poses[:, 48 + 2], poses[:, 51 + 2] = np.linspace(-1.0, -0.6, MOMENTS), 1.0
    poses[:, 0] = np.pi / 2
    folder = tmp_path_factory.mktemp("views")
    np.savez(folder / "raise.npz", root_orient=poses[:, :3], pose_body=poses[:, 3:], mocap_frame_rate=FPS)
    made, cameras = make_clip(fitter.body, folder / "raise.npz", cameras=4, seed=4, fps=FPS, moments=MOMENTS), {}
    for s in made.sightings:
        name = cameras.setdefault(s.frame.extrinsics, f"cam{len(cameras) + 1}")
        write_openpose(_made(folder / "views" / name / f"{name}.{s.moment:04d}.json"), s.frame.detections)
    write_calibration(folder / "calib.json", cameras, made.sightings[0].frame)
    return made, folder


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_calibration(path, cameras, frame, size=SIZE, unit=1.0):
    matrix = [[frame.focal_px, 0, frame.center_px[0]], [0, frame.focal_px, frame.center_px[1]], [0, 0, 1]]
    fields = {
        name: {"K": matrix, "image_size": size, "R": e.rotation, "t": [v / unit for v in e.translation]}
        for e, name in cameras.items()
    }
    path.write_text(json.dumps({"cameras": fields}))


def config(folder, calibration="calib.json", **more):
    clip = ClipOptions(cameras=folder / calibration, fps=FPS, **more)
    return RunConfig(output=OutputOptions(meshes=False, overlays=False), clip=clip)


@pytest.fixture(scope="module")
def fitted(clip, fitter, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return out, run_views([clip[1] / "views"], out, fitter, config(clip[1]))


def away_mm(fitter, track, clip):
    rows = track.moments - clip[0].sightings[0].moment
    return 1000 * (track_joints(fitter, track) - clip[0].joints[torch.as_tensor(rows)]).norm(dim=-1).mean()


def test_bodies_stand_where_they_stood(clip, fitted, fitter):
    out, summary = fitted
    track = read_track(out / "tracks" / "000.npz")
    assert track.space == "world" and len(track) == MOMENTS and track.views.tolist() == [4] * MOMENTS
    assert away_mm(fitter, track, clip) < 20
    assert summary["clip"]["people_found"] == 1 and summary["clip"]["metres_per_unit"] == 1
    index = ClipIndex.read(out)
    assert (index.fps, index.moments) == (FPS, (0, MOMENTS - 1))
    assert index.at(2) == {f"cam{n}": f"cam{n}/000002" for n in range(1, 5)}


def test_each_camera_has_its_own_results(clip, fitted):
    out, _ = fitted
    results = {name: FitResult.load(out / "results" / name / "000003" / "000.npz") for name in ("cam1", "cam3")}
    in_world = [(r.landmarks[0] - r.camera_translation) @ r.camera_rotation for r in results.values()]
    np.testing.assert_allclose(*in_world, atol=1e-4)
    assert all(r.error_share < 0.02 and r.status == "converged" for r in results.values())


def test_the_same_again_does_nothing(clip, fitted, fitter, caplog):
    out, _ = fitted
    with caplog.at_level(logging.INFO):
        run_views([clip[1] / "views"], out, fitter, config(clip[1]))
    assert "done already" in caplog.text


@pytest.mark.parametrize("unit, said", [(0.001, None), (2.5, 2.5)])
def test_units_of_the_calibration(clip, fitter, tmp_path, unit, said):
    """Millimetres are told by the size of people; any other unit can be said."""
    cameras = {s.frame.extrinsics: None for s in clip[0].sightings}
    named = {e: f"cam{n + 1}" for n, e in enumerate(cameras)}
    write_calibration(tmp_path / "other.json", named, clip[0].sightings[0].frame, unit=unit)
    summary = run_views(
        [clip[1] / "views"], tmp_path / "out", fitter, config(tmp_path, "other.json", camera_units=said, end=0.1)
    )
    assert summary["clip"]["metres_per_unit"] == pytest.approx(unit)
    assert away_mm(fitter, read_track(tmp_path / "out" / "tracks" / "000.npz"), clip) < 25


def test_one_camera_with_fewer_frames_and_one_that_loses_the_person(clip, fitter, tmp_path, caplog):
    views = shutil.copytree(clip[1] / "views", tmp_path / "views")
    for t in range(3, MOMENTS):
        (views / "cam2" / f"cam2.{t:04d}.json").unlink()
    for t in range(2, 4):
        (views / "cam3" / f"cam3.{t:04d}.json").write_text('{"version": 1.3, "people": []}')
    few = json.loads((views / "cam4" / "cam4.0000.json").read_text())
    few["people"][0]["pose_keypoints_2d"][9:] = [0.0] * 66
    (views / "cam4" / "cam4.0000.json").write_text(json.dumps(few))
    out = tmp_path / "out"
    run_views([views], out, fitter, config(clip[1]))
    assert "different numbers of frames" in caplog.text
    track = read_track(out / "tracks" / "000.npz")
    assert "cam4: 1 of 6 people found in its frames are not used. cam4/000000, person 000: only" in caplog.text
    assert track.views.tolist() == [3, 4, 3, 2, 3, 3] and away_mm(fitter, track, clip) < 25
    lost = FitResult.load(out / "results" / "cam3" / "000002" / "000.npz")
    assert lost.status == "interpolated" and "other cameras" in lost.reason
    assert not (out / "results" / "cam2" / "000004").exists()


@pytest.mark.parametrize("size, message", [((960, 1280), "differ in shape"), ((500, 960), "differ in shape")])
def test_a_calibration_for_other_pictures_is_refused(clip, fitter, tmp_path, size, message):
    cameras = {s.frame.extrinsics: None for s in clip[0].sightings}
    named = {e: f"cam{n + 1}" for n, e in enumerate(cameras)}
    write_calibration(tmp_path / "other.json", named, clip[0].sightings[0].frame, size=size)
    wrong = RunConfig(camera=CameraOptions(image_size=SIZE), clip=config(tmp_path, "other.json").clip)
    with pytest.raises(BodyfitError, match=message):
        run_views([clip[1] / "views"], tmp_path / "out", fitter, wrong)


def test_a_camera_that_was_moved_since_is_said(clip, fitter, tmp_path, caplog):
    """One camera looks a quarter of a radian higher than its calibration says: it agrees with nobody."""
    extrinsics = list(dict.fromkeys(s.frame.extrinsics for s in clip[0].sightings))
    up = np.array([[1, 0, 0], [0, np.cos(0.25), -np.sin(0.25)], [0, np.sin(0.25), np.cos(0.25)]])
    moved = [(up @ getattr(extrinsics[0], name)).tolist() for name in ("rotation", "translation")]
    extrinsics[0] = Extrinsics(tuple(map(tuple, moved[0])), tuple(moved[1]))
    named = {e: f"cam{n + 1}" for n, e in enumerate(extrinsics)}
    write_calibration(tmp_path / "other.json", named, clip[0].sightings[0].frame)
    run_views([clip[1] / "views"], tmp_path / "out", fitter, config(tmp_path, "other.json", end=0.1))
    assert "agree with no other on anybody: cam1. " in caplog.text
    assert read_track(tmp_path / "out" / "tracks" / "000.npz").views.tolist() == [3, 3, 3]
    assert not (tmp_path / "out" / "results" / "cam1" / "000000" / "000.npz").exists()


def test_the_frame_rate_has_to_be_said(clip, fitter, tmp_path):
    bare = RunConfig(clip=ClipOptions(cameras=clip[1] / "calib.json"))
    with pytest.raises(BodyfitError, match="Say --fps"):
        run_views([clip[1] / "views"], tmp_path / "out", fitter, bare)


COCO_17 = ("nose", *(f"{side}_{part}" for part in ("eye", "ear") for side in ("left", "right")))
COCO_17 += tuple(f"{s}_{p}" for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for s in ("left", "right"))


def test_arrays_of_one_moment(clip):
    """COCO's points of one person, and a row for a second whom nobody saw; a rig in memory, no time."""
    made, places = clip[0], [LANDMARK_INDEX[name] for name in COCO_17]
    first = [s for s in made.sightings if s.moment == 0]
    keypoints = np.full((4, 1, 2, 17, 3), np.nan)
    for v, s in enumerate(first):
        found = s.frame.detections
        keypoints[v, 0, 1] = np.column_stack([found.xy[0, places], found.confidence[0, places]])
    camera = first[0].frame
    matrix = [[camera.focal_px, 0, camera.center_px[0]], [0, camera.focal_px, camera.center_px[1]], [0, 0, 1]]
    turns, shifts = ([getattr(s.frame.extrinsics, n) for s in first] for n in ("rotation", "translation"))
    rig = bodyfit.Rig.from_arrays([matrix] * 4, turns, shifts, image_size=SIZE)
    views = bodyfit.fit_views(keypoints, rig, "coco17")
    assert [person.name for person in views.people] == ["000"]
    assert away_mm(Fitter(), views.tracks[0], clip) < 40 and len(views.results("000")) == 4
    with pytest.raises(BodyfitError, match="keypoints of 3 cameras, but the rig has 4"):
        bodyfit.fit_views(keypoints[:3], rig, "coco17")
    with pytest.raises(BodyfitError, match="no camera 'x'"):
        bodyfit.fit_views({"x": keypoints[0]}, rig, "coco17")
