"""Frames of videos are photos: the right one whatever is read before it, and one clear error for what is no video."""

from pathlib import Path

import numpy as np
import pytest

from bodyfit.data.photo.errors import PhotoError
from bodyfit.data.photo.photo import photo_size, read_photo, read_photo_header
from bodyfit.data.photo.video import VideoReader, file_of, frame_path, is_video, split_frame

COUNT = 150


def numbered(number: int) -> np.ndarray:
    """A picture whose number can be read from it after lossy compression: eight blocks, black or white."""
    picture = np.zeros((48, 64, 3), np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            picture[:24, 8 * bit : 8 * bit + 8] = 255
    picture[24:, :, 0] = 200  # red, so that the order of colours shows
    return picture


def number_of(picture: np.ndarray) -> int:
    return sum(int(picture[12, 8 * bit + 4].mean() > 127) << bit for bit in range(8))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path_factory.mktemp("film") / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("OpenCV has no encoder mp4v here")
    for n in range(COUNT):
        writer.write(np.ascontiguousarray(numbered(n)[..., ::-1]))
    writer.release()
    return path


def test_names_of_frames():
    assert frame_path(Path("a/clip.mp4"), 123) == Path("a/clip.mp4#000123")
    assert split_frame("a/clip.mp4#000123") == (Path("a/clip.mp4"), 123)
    assert file_of("a/clip.mp4#000123") == Path("a/clip.mp4") and file_of("a.jpg") == Path("a.jpg")
    assert [split_frame(name) for name in ("clip.mp4", "photo#000123.jpg", "photo.jpg#000123", "clip.mp4#12")] == [
        None
    ] * 4
    assert is_video("CLIP.MOV") and not is_video("clip.jpg")


def test_a_frame_is_the_right_one_in_whatever_order_they_are_read(film):
    rng = np.random.default_rng(0)
    for n in [0, 1, 2, 149, 148, 0, 75, 10, *rng.integers(0, COUNT, 20)]:
        photo = read_photo(frame_path(film, int(n)))
        assert number_of(photo.image) == n and photo.size == (64, 48)
    red, green, blue = photo.image[40, 32]
    assert red > 150 and green < 60 and blue < 60


def test_header_and_size_of_a_frame_are_those_of_the_video(film):
    name = frame_path(film, 7)
    assert read_photo_header(name, whole=True).size == photo_size(name) == (64, 48)
    assert read_photo(name).focal_px is None


def test_what_a_video_says_and_what_can_be_read_of_it(film):
    reader = VideoReader(film)
    assert (reader.fps, reader.frames_said, reader.size) == (25.0, COUNT, (64, 48))
    assert [number_of(picture) for picture in reader] == list(range(COUNT))


def test_a_frame_after_the_end_is_said(film):
    with pytest.raises(PhotoError, match=r"clip\.mp4: has no frame 150: after 150 frames nothing"):
        read_photo(frame_path(film, COUNT))
    assert number_of(read_photo(frame_path(film, 3)).image) == 3  # and the others can still be read


def test_times_that_prove_nothing_cost_speed_but_no_exactness(film, monkeypatch):
    """A decoder that lands elsewhere: it says so by its times, and all frames are decoded from then on."""
    reader = VideoReader(film)
    monkeypatch.setattr(VideoReader, "_time_ms", lambda self: 12345.0)
    assert [number_of(reader.read(n)) for n in (120, 60, 149, 3)] == [120, 60, 149, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be decoded"),
        (b"no video at all" * 100, "cannot be decoded"),
        (b"#EXTM3U\n#EXTINF:10,\n/etc/hostname\n#EXT-X-ENDLIST\n", "cannot be decoded"),  # a playlist
        (b"ffconcat version 1.0\nfile clip.mp4\n", "cannot be decoded"),
    ],
)
def test_what_is_no_video_is_one_clear_error(film, tmp_path, content, message):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=message):
        VideoReader(path)
    with pytest.raises(PhotoError, match="no such file"):
        VideoReader(tmp_path / "missing.mp4")
    with pytest.raises(PhotoError, match="a folder"):
        VideoReader(tmp_path)


def test_a_video_that_is_cut_off_gives_the_frames_it_has(write_avi, tmp_path):
    whole = write_avi([numbered(n) for n in range(60)])
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    numbers = [number_of(picture) for picture in VideoReader(cut)]
    assert 0 < len(numbers) < 60 and numbers == list(range(len(numbers)))


@pytest.fixture
def write_avi(tmp_path):
    cv2 = pytest.importorskip("cv2")

    def write(pictures):
        path = tmp_path / "whole.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (64, 48))
        if not writer.isOpened():
            pytest.skip("OpenCV has no encoder MJPG here")
        for picture in pictures:
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
        writer.release()
        return path

    return write
