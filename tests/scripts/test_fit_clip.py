"""Videos on the command line: options, exit codes, one line for a mistake before anything is loaded."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import numpy as np
import pytest

import bodyfit.scripts.fit  # noqa: F401  what it takes from fit_clips must not be what a test puts there
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.data.results.track_files import read_track
from bodyfit.scripts import fit_clips
from bodyfit.scripts.cli import main


@pytest.fixture
def video(tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("OpenCV has no encoder MJPG here")
    for _ in range(20):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    return path


def ran(*arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["fit", *map(str, arguments)])
    out = capsys.readouterr()
    return SimpleNamespace(code=exit_.value.code, out=out.out, err=out.err)


def ran_other(*arguments, capsys):
    with pytest.raises(SystemExit):
        main([*map(str, arguments)])
    return capsys.readouterr()


def test_a_video_from_the_command_line(video, tmp_path, capsys, caplog):
    """A half-second of somebody who raises an arm; everything is where the README says it is."""
    for t in range(20):
        points = np.zeros((25, 3))
        points[:15] = [
            *[(32, 6, 0.9), (32, 12, 0.9), (28, 12, 0.9), (25, 18, 0.9), (24, 24, 0.9), (36, 12, 0.9)],
            *[(39, 18, 0.9), (40, 24 - t / 2, 0.9), (32, 24, 0.9), (30, 24, 0.9), (30, 34, 0.9), (30, 43, 0.9)],
            *[(34, 24, 0.9), (34, 34, 0.9), (34, 43, 0.9)],
        ]
        document = {"people": [{"pose_keypoints_2d": points.ravel().tolist()}]}
        (tmp_path / f"clip_{t:012d}_keypoints.json").write_text(json.dumps(document))
    out = tmp_path / "out"
    caplog.set_level("INFO")
    done = ran(video, "-o", out, "--fps", "10", "--end", "0.5", "--json", "--posterior", capsys=capsys)
    assert done.code == 0, done.err
    assert re.search(r"1 person in (\d+) frames: \1 results fitted \(", caplog.text)
    document = json.loads(done.out)
    assert [row["image"] for row in document["people"]] == [f"clip/{n:06d}" for n in (0, 2, 4, 6, 8)]
    assert document["clip"]["fps"] == 10 and ClipIndex.read(out).frames["clip/000008"] == 4
    for name in ("results/clip/000002/000.npz", "images/clip/000002.jpg", "tracks/000.npz", "tracks/000.glb"):
        assert (out / name).is_file(), name
    assert not (out / "meshes").exists()
    assert read_track(out / "tracks/000.npz").posterior.moments == 5
    assert all(row["weakest_part"] and row["weakest_deviation_m"] > 0.01 for row in document["people"])
    again = ran(video, "-o", tmp_path / "again", "--config", out / "config.json", capsys=capsys)
    assert again.code == 0 and ClipIndex.read(tmp_path / "again") == ClipIndex.read(out)
    options = ("--ground", "--no-overlays", "--json", "--uncertainty", "off")
    standing = ran(video, "-o", tmp_path / "standing", "--fps", "10", *options, capsys=capsys)
    assert standing.code == 0, standing.err
    rows = json.loads(standing.out)["people"]
    assert {row["touching"] for row in rows} == {"left foot, right foot"} and all(row["floor_source"] for row in rows)
    assert not any(row["touching"] for row in document["people"])
    assert not any(row["weakest_part"] for row in rows)
    track = read_track(tmp_path / "standing/tracks/000.npz")
    assert not len(track.joint_covariance) and track.posterior is None
    assert "left foot, right foot" in ran_other("summary", tmp_path / "standing", capsys=capsys).out
    assert "holds the results of a clip" in ran(tmp_path, "-o", out, capsys=capsys).err


def write_standing(folder, name, frames):
    """Keypoints of somebody who stands still."""
    points = np.zeros((25, 3))
    points[:15] = [
        *[(32, 6, 0.9), (32, 12, 0.9), (28, 12, 0.9), (25, 18, 0.9), (24, 24, 0.9), (36, 12, 0.9)],
        *[(39, 18, 0.9), (40, 24, 0.9), (32, 24, 0.9), (30, 24, 0.9), (30, 34, 0.9), (30, 43, 0.9)],
        *[(34, 24, 0.9), (34, 34, 0.9), (34, 43, 0.9)],
    ]
    document = {"people": [{"pose_keypoints_2d": points.ravel().tolist()}]}
    for t in range(frames):
        (folder / f"{name}_{t:012d}_keypoints.json").write_text(json.dumps(document))


def test_a_folder_of_clips_and_what_they_start_from(video, tmp_path, capsys):
    """Each clip has a folder of its own; one that is broken does not end the other; its results are starts."""
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "walk.avi").write_bytes(video.read_bytes())
    (clips / "broken.avi").write_bytes(b"no video")
    write_standing(clips, "walk", 20)
    out, options = tmp_path / "out", ("--end", "0.2", "--no-overlays", "--age", "6", "--json")
    done = ran(clips, "-o", out, *options, capsys=capsys)
    assert done.code == 1, done.err
    document = json.loads(done.out)["clips"]
    assert {row["status"] for row in document["walk"]["people"]} == {"converged"}
    assert list(document) == ["broken", "walk"] and "broken.avi" in document["broken"]["failed"]
    track = read_track(out / "walk/tracks/000.npz")
    assert track.kid_axis and track.age == "child, given" and (out / "walk/tracks/000.glb").is_file()
    for command in ("report", "view", "measure"):  # which one of them, if there are several
        assert f"give one of them, such as {out / 'walk'}" in ran_other(command, out, capsys=capsys).err
    listed = ran_other("summary", out, capsys=capsys)
    assert "walk: walk/000001, person 000 (converged)" in listed.out, listed.err
    assert "clips that could not be fitted\n  broken: " in listed.out
    again = ran(clips / "walk.avi", "-o", tmp_path / "again", *options, "--init", out / "walk", capsys=capsys)
    assert again.code == 0, again.err
    assert np.abs(read_track(tmp_path / "again/tracks/000.npz").betas - track.betas).max() < 0.3
    other = ran(video, "-o", tmp_path / "other", "--init", out / "walk", "--detector", "none", capsys=capsys)
    assert other.code == 2


@pytest.fixture
def two_clips(video, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in "ab":
        (clips / f"{name}.avi").write_bytes(video.read_bytes())
    return clips


def test_an_unexpected_error_in_one_clip_does_not_end_the_others(two_clips, tmp_path, capsys, monkeypatch):
    def fit(command):
        assert command.inputs[0].stem == "b"
        print('{"people": []}')
        return 0

    monkeypatch.setattr(fit_clips, "fit_clip", fit)
    done = ran(two_clips, "-o", tmp_path / "out", "--json", capsys=capsys)
    document = json.loads(done.out)["clips"]
    assert done.code == 1 and document["b"] == {"people": []}
    assert "AssertionError" in document["a"]["failed"] and (tmp_path / "out/a/errors.log").is_file()


def test_of_a_process_that_was_killed_that_is_said(two_clips, tmp_path, capsys, monkeypatch):
    def run(command):
        if command.inputs[0].stem == "a":
            raise BrokenProcessPool
        return 0, '{"people": []}', ""

    monkeypatch.setattr(fit_clips, "_run", run)
    monkeypatch.setattr(fit_clips, "ProcessPoolExecutor", lambda *_, **__: ThreadPoolExecutor(1))
    done = ran(two_clips, "-o", tmp_path / "out", "--json", "--workers", "2", capsys=capsys)
    document = json.loads(done.out)["clips"]
    assert done.code == 1 and document["b"] == {"people": []} and "--workers 1" in document["a"]["failed"]


def test_people_of_a_clip_keep_out_of_each_other(tmp_path, capsys):
    """Two who are seen in each other, of keypoint files alone; the option is a setting: another one fits again."""
    standing = np.array([(32, 6), (32, 12), (28, 12), (25, 18), (24, 24), (36, 12), (39, 18), (40, 24)])
    legs = np.array([(32, 24), (30, 24), (30, 34), (30, 43), (34, 24), (34, 34), (34, 43)])
    points = np.zeros((25, 3))
    points[:15] = np.concatenate([10 * np.concatenate([standing, legs]), np.full((15, 1), 0.9)], 1)
    (tmp_path / "clip").mkdir()
    for t in range(5):
        people = [
            {"pose_keypoints_2d": (points + [[across, 0, 0]] * (points > 0)).ravel().tolist()} for across in (0, 75)
        ]
        (tmp_path / "clip" / f"{t:06d}.json").write_text(json.dumps({"people": people}))
    options = ("--clip", "--fps", "25", "--image-size", "640", "480", "--no-overlays", "--age", "adult", "--json")
    depths = {}
    for kind in ("self", "people"):
        done = ran(tmp_path / "clip", "-o", tmp_path / "out", *options, "--collisions", kind, capsys=capsys)
        assert done.code == 0, done.err
        assert {row["status"] for row in json.loads(done.out)["people"]} == {"converged"}
        tracks = [read_track(tmp_path / f"out/tracks/{name}.npz") for name in ("000", "001")]
        depths[kind] = abs(tracks[0].transl[2, 2] - tracks[1].transl[2, 2])
    assert depths["self"] < 0.1 < depths["people"] < 0.5
    assert json.loads((tmp_path / "out/config.json").read_text())["fit"]["people_apart"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fps", "0"], "--fps 0: expected a positive"),
        (["--start", "3"], "lasts 1.00 s (20 frames)"),
        (["--start", "0.5", "--end", "0.2"], "is not before --end 0.2"),
        (["--detector", "none"], "no detector is to be used"),
        (["--cluster", "auto"], "--cluster is for photos"),
        (["--ground", "--moving-camera"], "stands still"),
        (["--gravity", "0", "1", "0"], "without --ground"),
        (["--ground", "--gravity", "0", "0", "0"], "Expected a direction"),
        (["--init", "EMPTY"], "no results in it"),
        (["--keypoints", "EMPTY"], "is empty"),
    ],
)
def test_mistakes_are_one_line(video, tmp_path, capsys, options, message):
    (tmp_path / "EMPTY").mkdir()
    options = [str(tmp_path / "EMPTY") if option == "EMPTY" else option for option in options]
    done = ran(video, "-o", tmp_path / "out", *options, capsys=capsys)
    assert done.code == 2 and message in done.err and done.err.count("bodyfit: error") == 1


def test_options_of_videos_without_a_video_are_refused(tmp_path, capsys):
    done = ran(tmp_path, "-o", tmp_path / "out", "--fps", "30", capsys=capsys)
    assert done.code == 2 and "--fps is for videos" in done.err and "--clip" in done.err


def test_a_video_that_is_none_is_one_line(tmp_path, capsys):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    done = ran(tmp_path / "clip.mp4", "-o", tmp_path / "out", capsys=capsys)
    assert done.code == 2 and "cannot be decoded" in done.err


def test_a_video_in_a_folder_of_photos_is_said(video, tmp_path, capsys, caplog):
    (tmp_path / "photo.jpg").write_bytes(b"")
    done = ran(tmp_path, "-o", tmp_path / "out", "--detector", "none", capsys=capsys)
    assert done.code == 2 and f"bodyfit fit {video}" in caplog.text
