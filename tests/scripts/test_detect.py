"""`bodyfit detect` on videos: a file per frame, which fit reads back; photos are in test_cli.py."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bodyfit.data.keypoints.detections import read_keypoints
from bodyfit.scripts.cli import main

PHOTO = Path(__file__).parents[2] / "data" / "assets" / "samples" / "images" / "portrait.jpg"


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """A folder with videos/clip.avi of 4 frames at 20 per second: the portrait, which moves to the right."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path_factory.mktemp("trial") / "videos" / "clip.avi"
    path.parent.mkdir()
    picture = np.asarray(Image.open(PHOTO).convert("RGB").resize((240, 300)))[..., ::-1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (320, 300))
    if not writer.isOpened():
        pytest.skip("OpenCV has no encoder MJPG here")
    for number in range(4):
        frame = np.zeros((300, 320, 3), np.uint8)
        frame[:, 20 * number : 20 * number + 240] = picture
        writer.write(frame)
    writer.release()
    return path.parent.parent


@pytest.fixture
def here(capsys, caplog):
    def run(*words):
        caplog.clear()
        with pytest.raises(SystemExit) as exit_:
            main([*map(str, words)])
        captured = capsys.readouterr()
        return SimpleNamespace(code=exit_.value.code, out=captured.out, err=captured.err + caplog.text)

    return run


def test_a_videos_keypoints_are_where_fit_looks_for_them(trial, tmp_path, here):
    """Numbered by the frames of the video, also where not all are looked at; a second run has nothing to do."""
    video, keypoints = trial / "videos" / "clip.avi", trial / "keypoints"
    done = here("detect", trial / "videos", "-o", keypoints, "--fps", "10", "--json")
    assert done.code == 0, done.err
    [row] = json.loads(done.out)["videos"]
    assert (row["frames"], row["frames_with_people"], row["most_people"], row["reason"]) == (2, 2, 1, "")
    files = sorted((keypoints / "clip").iterdir())
    assert [file.name for file in files] == [f"clip_{n:012d}_keypoints.json" for n in (0, 2)]
    first, last = (read_keypoints(file) for file in files)
    seen = (first.confidence[0] > 0.6) & (last.confidence[0] > 0.6)
    moved = np.median(last.xy[0, seen] - first.xy[0, seen], axis=0)
    np.testing.assert_allclose(moved, (40, 0), atol=3)  # frame 2, not frame 1 or 3
    again = here("detect", video, "-o", keypoints, "--fps", "10")
    assert again.code == 0 and "2 frames had a keypoint file already" in again.err
    fitted = here("fit", video, "-o", tmp_path / "out", "--fps", "10", "--no-overlays", "--detector", "none", "--json")
    assert fitted.code == 0, fitted.err
    rows = json.loads(fitted.out)["people"]
    assert [row["image"] for row in rows] == ["clip/000000", "clip/000002"]
    assert all(row["keypoint_source"].startswith("keypoint file") for row in rows)


def test_files_of_another_detector_are_kept(trial, tmp_path, here):
    """Whatever lies in the folder: nothing is removed, and nothing overwritten unless that is said."""
    theirs = tmp_path / "keypoints" / "clip" / "clip_000000000000_keypoints.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text('{"people": []}')
    done = here("detect", trial / "videos" / "clip.avi", "-o", tmp_path / "keypoints", "--end", "0.05")
    assert done.code == 0 and theirs.read_text() == '{"people": []}'
    old = os.stat(theirs).st_mtime_ns
    done = here("detect", trial / "videos" / "clip.avi", "-o", tmp_path / "keypoints", "--end", "0.05", "--overwrite")
    assert done.code == 0 and os.stat(theirs).st_mtime_ns != old and len(read_keypoints(theirs)) == 1


def test_what_is_wrong_with_a_video_is_one_line(trial, tmp_path, here):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    done = here("detect", tmp_path / "a.mp4", "-o", tmp_path / "keypoints")
    assert done.code == 2 and "cannot be decoded" in done.err and done.err.count("bodyfit: error") == 1
    done = here("detect", tmp_path, "-o", tmp_path / "keypoints", "--json")
    assert done.code == 1 and "cannot be decoded" in json.loads(done.out)["videos"][0]["reason"]
    done = here("detect", trial / "videos" / "clip.avi", "-o", tmp_path / "keypoints", "--start", "3")
    assert done.code == 2 and "lasts 0.20 s" in done.err
    (tmp_path / "b").mkdir()
    done = here("detect", tmp_path / "b", "-o", tmp_path / "keypoints")
    assert done.code == 2 and "no photo" in done.err and not (tmp_path / "keypoints").exists()


def test_options_of_videos_are_refused_for_photos_alone(tmp_path, here):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    done = here("detect", tmp_path / "a.png", "-o", tmp_path / "keypoints", "--fps", "5", "--end", "2")
    assert done.code == 2 and "--fps, --end: of videos" in done.err and not (tmp_path / "keypoints").exists()


def test_what_is_not_there_is_said_in_words_of_this_command(tmp_path, here):
    (tmp_path / "empty").mkdir()
    done = here("detect", tmp_path / "nosuch", "-o", tmp_path / "keypoints")
    assert done.code == 2 and "Expected a photo, a video or a folder of them." in done.err
    done = here("detect", tmp_path / "empty", "-o", tmp_path / "keypoints")
    assert done.code == 2 and "no photo and no video in it" in done.err and "keypoint file" not in done.err


def test_two_videos_of_one_name_go_by_their_folders(tmp_path):
    from bodyfit.scripts.detect import _names

    same = [tmp_path / "cam1" / "video.mp4", tmp_path / "cam2" / "video.mp4", tmp_path / "cam2" / "other.mp4"]
    assert list(_names(same).values()) == ["cam1/video", "cam2/video", "other"]
