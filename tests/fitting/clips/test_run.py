"""A video end to end: what is written, what the same command does again, what is said of what cannot be read."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.store import open_results
from bodyfit.data.results.track_files import read_track
from bodyfit.fitting.clips import run as run_module
from bodyfit.fitting.clips.run import run_video
from bodyfit.fitting.run.config_files import RunConfig, read_config
from bodyfit.fitting.run.options import ClipOptions, OutputOptions
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import CameraOptions

FRAMES, FPS = 14, 30


@pytest.fixture(scope="module")
def fitter():
    return Fitter()


@pytest.fixture
def clip(tmp_path, figures, write_film):
    """A video with two people; of one, nothing is seen in frames 6 to 8."""
    room = np.zeros((480, 640, 3), np.uint8) + 90
    video = write_film(tmp_path / "in" / "walk.avi", [room + t for t in range(FRAMES)], FPS)
    for t in range(FRAMES):
        people = [figures.figure(200 + 3 * t), figures.figure(450 - 2 * t, 230, 280)]
        figures.write_json(keypoints_of(video, t), people[: 1 if 6 <= t < 9 else 2])
    return video


def keypoints_of(video, number):
    return video.parent / "keypoints" / f"walk_{number:012d}_keypoints.json"


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    (tmp_path / "in").mkdir()


def config(overlays=False, **clip):
    return RunConfig(output=OutputOptions(meshes=False, overlays=overlays), clip=ClipOptions(**clip))


def rows_of(out):
    return json.loads((out / "summary.json").read_text())["people"]


def test_a_video_end_to_end(clip, tmp_path, fitter):
    out = tmp_path / "out"
    summary = run_video(clip, out, fitter, config(overlays=True))
    assert summary["complete"] and summary["counts"]["failed"] == summary["counts"]["implausible"] == 0
    assert summary["counts"]["converged"] == 2 * FRAMES - 3 and summary["counts"]["interpolated"] == 3
    index = ClipIndex.read(out)
    assert (index.fps, index.moments) == (FPS, (0, FRAMES - 1)) and index.cameras == {"walk": clip.resolve()}
    assert index.frames == {f"walk/{t:06d}": t for t in range(FRAMES)}

    rows = rows_of(out)
    assert [(r["image"], r["person"]) for r in rows] == [(name, p) for name in index.frames for p in ("000", "001")]
    gap = [r["image"] for r in rows if r["status"] == "interpolated"]
    assert gap == ["walk/000006", "walk/000007", "walk/000008"]
    assert Image.open(out / "images" / "walk" / "000007.jpg").size == (640, 480)
    assert not (out / "meshes").exists()

    results = [FitResult.load(out / r["result"]) for r in rows if r["person"] == "001"]
    assert len({r.betas.tobytes() for r in results}) == 1  # one shape per person
    assert results[3].photo.endswith("walk.avi#000003") and "keypoint file" in results[3].keypoint_source
    steps = np.diff([r.landmarks_px[0, 0] for r in results])
    assert (np.abs(steps + 2) < 2).all()  # 2 px a frame to the left, also where nobody saw it

    track = read_track(out / "tracks" / "001.npz")
    assert track.status[5:10] == ("fitted", "interpolated", "interpolated", "interpolated", "fitted")
    assert np.allclose(track.transl[10], results[10].transl, atol=1e-5)
    assert (out / "tracks" / "000.glb").stat().st_size > 1000
    assert len(open_results(out)) == 2 * FRAMES
    assert read_config(out / "config.json").clip == ClipOptions()


def test_the_same_again_does_nothing_and_a_change_does(clip, tmp_path, fitter, monkeypatch):
    out = tmp_path / "out"
    run_video(clip, out, fitter, config())
    before = {f: f.stat().st_mtime_ns for f in [*out.rglob("*.npz"), *out.rglob("*.glb")]}
    monkeypatch.setattr(run_module, "read_clip", None)  # nothing is read
    again = run_video(clip, out, fitter, config())
    assert again["complete"] and again["clip"]["people_found"] == 2 and len(rows_of(out)) == 2 * FRAMES
    assert before == {f: f.stat().st_mtime_ns for f in [*out.rglob("*.npz"), *out.rglob("*.glb")]}
    monkeypatch.undo()
    shorter = run_video(clip, out, fitter, config(end=0.2))
    assert shorter["counts"]["converged"] == 12
    assert sorted(f.stem for f in (out / "results" / "walk").iterdir() if any(f.iterdir())) == [
        f"{t:06d}" for t in range(6)
    ]
    assert len(open_results(out)) == 12 and ClipIndex.read(out).moments == (0, 5)


def test_a_run_that_is_stopped_keeps_what_it_has_written(clip, tmp_path, fitter, monkeypatch):
    out, write = tmp_path / "out", run_module.write_clip
    monkeypatch.setattr("bodyfit.fitting.clips.writing.FRAMES_AT_ONCE", 4)

    def stopped(*args, journal, **kwargs):
        append = journal.append

        def once(records):
            append(records)
            raise KeyboardInterrupt

        journal.append = once
        write(*args, journal=journal, **kwargs)

    monkeypatch.setattr(run_module, "write_clip", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_video(clip, out, fitter, config())
    assert not json.loads((out / "summary.json").read_text())["complete"] and len(rows_of(out)) == 8
    first = (out / "results" / "walk" / "000000" / "000.npz").stat().st_mtime_ns
    monkeypatch.setattr(run_module, "write_clip", write)
    assert run_video(clip, out, fitter, config())["complete"] and len(rows_of(out)) == 2 * FRAMES
    assert (out / "results" / "walk" / "000000" / "000.npz").stat().st_mtime_ns == first


def test_a_broken_keypoint_file_is_one_failed_row_and_the_person_is_interpolated(clip, tmp_path, fitter, caplog):
    keypoints_of(clip, 3).write_text('{"people": [')
    summary = run_video(clip, tmp_path / "out", fitter, config())
    rows = [r for r in rows_of(tmp_path / "out") if r["image"] == "walk/000003"]
    assert [(r["person"], r["status"]) for r in rows] == [
        ("000", "interpolated"),
        ("001", "interpolated"),
        (None, "failed"),
    ]
    assert "000000000003_keypoints.json" in rows[-1]["reason"] and summary["counts"]["failed"] == 1
    with caplog.at_level(logging.INFO):
        run_video(clip, tmp_path / "out", fitter, config())
    assert "done already" in caplog.text  # it is read again when it has changed, not before


def test_frames_without_a_file_are_interpolated(clip, tmp_path, fitter, caplog):
    for t in (9, 10):
        keypoints_of(clip, t).unlink()
    summary = run_video(clip, tmp_path / "out", fitter, config())
    assert f"keypoints of {FRAMES - 2} frames" in caplog.text and f"the video has {FRAMES} frames" in caplog.text
    assert summary["counts"]["interpolated"] == 7 and summary["counts"]["failed"] == 0


def test_some_of_the_people(clip, tmp_path, fitter):
    settings = RunConfig(output=OutputOptions(meshes=True, overlays=False, people="main"))
    run_video(clip, tmp_path / "out", fitter, settings)
    assert {r["person"] for r in rows_of(tmp_path / "out")} == {"000"}
    assert sorted(f.name for f in (tmp_path / "out" / "tracks").iterdir()) == ["000.glb", "000.npz"]
    assert len(list((tmp_path / "out" / "meshes").rglob("*.obj"))) == FRAMES


def test_a_folder_with_other_results_is_refused(clip, tmp_path, fitter, write_film):
    out = tmp_path / "out"
    run_video(clip, out, fitter, config(end=0.2))
    other = clip.rename(clip.with_name("other.avi"))
    with pytest.raises(BodyfitError, match="holds results of something else"):
        run_video(other, out, fitter, RunConfig(clip=ClipOptions(keypoints=clip.parent / "keypoints")))


def test_pictures_are_not_drawn_over(tmp_path, figures, fitter):
    """images/0.jpg of a folder with pictures would be replaced by its overlay."""
    for t in range(3):
        Image.new("RGB", (640, 480)).save(tmp_path / "in" / f"{t}.png")
        figures.write_json(tmp_path / "in" / f"{t}_keypoints.json", [figures.figure(200 + 3 * t)])
    (tmp_path / "in").rename(tmp_path / "images")
    with pytest.raises(BodyfitError, match="Choose another output folder"):
        run_video(tmp_path / "images", tmp_path, fitter, config(clip=True, fps=30))


def test_keypoints_of_a_folder_that_is_a_clip(tmp_path, figures, fitter):
    for t in range(8):
        figures.write_json(tmp_path / "in" / f"f_{t:03d}.json", [figures.figure(200 + 3 * t)])
    settings = RunConfig(
        camera=CameraOptions(image_size=(640, 480)),
        output=OutputOptions(meshes=False, overlays=False),
        clip=ClipOptions(clip=True, fps=30),
    )
    summary = run_video(tmp_path / "in", tmp_path / "out", fitter, settings)
    assert summary["counts"]["converged"] == 8 and ClipIndex.read(tmp_path / "out").cameras == {"in": None}


def test_nobody_in_a_video_is_no_error(tmp_path, figures, fitter, write_film):
    video = write_film(tmp_path / "in" / "walk.avi", [np.zeros((48, 64, 3), np.uint8)] * 5)
    for t in range(5):
        figures.write_json(keypoints_of(video, t), [])
    summary = run_video(video, tmp_path / "out", fitter, config())
    assert summary["complete"] and summary["clip"]["people_found"] == 0 and rows_of(tmp_path / "out") == []
