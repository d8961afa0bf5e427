"""Which frames of a clip are fitted, when they were taken, and what cannot be a clip."""

import logging

import numpy as np
import pytest
from PIL import Image

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.clips.sources import is_clip, open_source
from bodyfit.fitting.run.options import ClipOptions


@pytest.fixture(scope="module")
def video(write_film, tmp_path_factory):
    """Two seconds at 30 frames per second."""
    return write_film(tmp_path_factory.mktemp("film") / "walk.mp4", [np.zeros((48, 64, 3), np.uint8)] * 60, 30.0)


def moments(source):
    return {frame.item.name: frame.moment for frame in source.frames}


def test_all_frames_of_a_video_at_its_own_rate(video):
    source = open_source(video, ClipOptions())
    assert source.fps == 30 and len(source.frames) == 60 and source.keypoints is None
    assert moments(source)["walk/000059"] == 59
    assert source.frames[3].item.photo.name == "walk.mp4#000003"


def test_start_and_end_are_seconds_and_keep_the_numbers_of_frames(video):
    source = open_source(video, ClipOptions(start=0.5, end=1.0))
    assert moments(source) == {f"walk/{n:06d}": n for n in range(15, 30)}


def test_a_lower_rate_takes_the_nearest_frames(video):
    source = open_source(video, ClipOptions(fps=10, start=0.5))
    assert source.fps == 10
    assert moments(source) == {f"walk/{3 * n:06d}": n for n in range(5, 20)}


def test_slow_motion_is_said_to_be_what_it_is(video):
    source = open_source(video, ClipOptions(video_fps=240, fps=60))
    assert source.fps == 60 and moments(source) == {f"walk/{4 * n:06d}": n for n in range(15)}


def test_an_end_after_the_video_is_only_said(video, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(open_source(video, ClipOptions(end=10)).frames) == 60
    assert "lasts 2.00 s" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "--fps 0: expected a positive"),
        ({"fps": float("nan")}, "--fps nan: expected a positive"),
        ({"video_fps": -1}, "--video-fps -1"),
        ({"fps": 60}, r"walk\.mp4 has 30 frames per second"),
        ({"start": 1.5, "end": 1.0}, "--start 1.5 is not before --end 1"),
        ({"start": 5}, r"--start 5: walk\.mp4 lasts 2\.00 s \(60 frames\)"),
        ({"start": -1}, "--start -1"),
    ],
)
def test_what_no_clip_has_is_one_clear_error(video, options, message):
    with pytest.raises(BodyfitError, match=message):
        open_source(video, ClipOptions(**options))


def test_a_folder_is_a_clip_only_if_that_is_said(video, tmp_path):
    assert is_clip([video], ClipOptions()) and not is_clip([tmp_path], ClipOptions())
    assert is_clip([tmp_path], ClipOptions(clip=True))
    with pytest.raises(BodyfitError, match="a run fits one clip"):
        is_clip([video, tmp_path], ClipOptions())


def pictures(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (64, 48)).save(folder / name)
    return folder


def test_pictures_go_by_their_numbers_and_some_may_be_missing(tmp_path, figures, caplog):
    folder = pictures(tmp_path / "walk", [f"img_{n}.png" for n in (10, 12, 14, 20)])
    figures.write_json(folder / "img_12_keypoints.json", [figures.figure(300)])
    with caplog.at_level(logging.INFO):
        source = open_source(folder, ClipOptions(clip=True, fps=25))
    assert source.fps == 25 and source.video is None
    assert moments(source) == {"walk/000010": 0, "walk/000012": 1, "walk/000014": 2, "walk/000020": 5}
    assert source.frames[1].item.keypoints.name == "img_12_keypoints.json"
    assert "every 2th number" not in caplog.text and "every 2nd number" in caplog.text


def test_keypoint_files_without_pictures_are_a_clip_too(tmp_path, figures):
    for n in range(4):
        figures.write_json(tmp_path / "walk" / f"walk_{n:012d}_keypoints.json", [figures.figure(300)])
    source = open_source(tmp_path / "walk", ClipOptions(clip=True, fps=30))
    assert moments(source) == {f"walk/{n:06d}": n for n in range(4)}
    assert all(frame.item.photo is None for frame in source.frames)


def test_what_is_no_clip_of_pictures_is_said(tmp_path):
    folder = pictures(tmp_path / "two", ["a_1.png", "b_1.png"])
    with pytest.raises(BodyfitError, match="have the same number"):
        open_source(folder, ClipOptions(clip=True, fps=30))
    with pytest.raises(BodyfitError, match="Say --fps 30"):
        open_source(folder, ClipOptions(clip=True))
    pictures(tmp_path / "cams" / "left", ["1.png"]), pictures(tmp_path / "cams" / "right", ["1.png"])
    with pytest.raises(BodyfitError, match="several folders"):
        open_source(tmp_path / "cams", ClipOptions(clip=True, fps=30))
    with pytest.raises(BodyfitError, match="no such file or folder"):
        open_source(tmp_path / "nothing", ClipOptions(clip=True, fps=30))
