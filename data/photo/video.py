"""Frames of videos, decoded by OpenCV: clip.mp4#000123 names frame 123 of clip.mp4, counted from 0.

Readers stay open, so that frames in a row are decoded once. Frames further ahead are sought; whether the decoder went
where it was sent is checked by the frame's time, and where that proves nothing, all frames on the way are decoded.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import VIDEO_SUFFIXES, check_file
from bodyfit.data.opencv import import_cv2
from bodyfit.data.photo.errors import PhotoError

MAX_SIDE = 16_384
"""Pixels of a frame's longer side."""
_NEAR = 48
"""Frames ahead up to which decoding all of them is about as fast as seeking."""
_KEPT_OPEN = 16
_FRAME = re.compile(r"(?P<video>.+)#(?P<number>\d{6,9})")
# Containers alone: a playlist can name other files, and addresses.
_FFMPEG_OPTIONS = "format_whitelist;mov,avi,matroska,webm,gif,mpegts,mpeg,mpegvideo,ogg|protocol_whitelist;file"


def is_video(path: Path | str) -> bool:
    """Whether the suffix is that of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def frame_path(video: Path, number: int) -> Path:
    """The name of a frame, as `read_photo` takes it."""
    return Path(f"{video}#{number:06d}")


def split_frame(path: Path | str) -> tuple[Path, int] | None:
    """The video and the number of a frame's name; None for an ordinary file."""
    found = _FRAME.fullmatch(str(path))
    return (Path(found["video"]), int(found["number"])) if found and is_video(found["video"]) else None


def file_of(path: Path | str) -> Path:
    """The file that a photo's name speaks of: a frame's video, else the photo itself."""
    frame = split_frame(path)
    return Path(path) if frame is None else frame[0]


class VideoReader:
    """A video open for reading, in one thread at a time.

    Raises:
        PhotoError: for a file that is missing or cannot be decoded.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        check_file(self.path, PhotoError)
        self._cv2 = import_cv2()
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is said by us
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _FFMPEG_OPTIONS)
        self._sure = True
        self._open()
        fps = float(self._capture.get(self._cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps < 10_000 else None
        """Frames per second as the file says; None where it says nothing usable."""
        said = self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT)
        self.frames_said = int(said) if 0 < said < 1e9 else None
        """Number of frames as the file says: it may have fewer."""
        self.size = self._first_size()
        """(width, height), px, upright."""

    def _open(self) -> None:
        """Start over at the first frame."""
        logs = self._cv2.utils.logging
        level = logs.setLogLevel(logs.LOG_LEVEL_ERROR)
        self._capture: Any = self._cv2.VideoCapture(str(self.path), self._cv2.CAP_FFMPEG)
        logs.setLogLevel(level)
        if not self._capture.isOpened():
            raise PhotoError(
                f"{self.path}: cannot be decoded: it is damaged, cut off, no video, or in a format that OpenCV does "
                f"not know here. `ffmpeg -i {self.path.name} -c:v libx264 other.mp4` converts most."
            )
        self._next = 0

    def _first_size(self) -> tuple[int, int]:
        if not self._capture.grab():
            raise PhotoError(f"{self.path}: has no frame that can be decoded. Is the file complete?")
        image = self._retrieve()
        self._start_ms = self._time_ms()
        self._open()
        height, width = image.shape[:2]
        return width, height

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def read(self, number: int) -> UInt8[np.ndarray, "H W 3"]:
        """Frame `number`, RGB. Raises PhotoError where the video has no such frame."""
        if number < self._next or number > self._next + _NEAR:
            self._seek(number)
        while self._next <= number:
            if not self._capture.grab():
                raise PhotoError(
                    f"{self.path}: has no frame {number}: after {self._next} frames nothing can be decoded."
                )
            self._next += 1
        return self._retrieve()

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """All frames from the first one on."""
        self._open()
        while self._capture.grab():
            self._next += 1
            yield self._retrieve()

    def time_ms(self) -> float:
        """When the frame that was read last is shown, in ms after the first one, as the file says."""
        return self._time_ms() - self._start_ms

    def _time_ms(self) -> float:
        return float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC))

    def _seek(self, number: int) -> None:
        """Go where `grab` gives frame `number`, or before it."""
        if self._sure and self.fps is not None and number > _NEAR:
            before = number - 1
            self._capture.set(self._cv2.CAP_PROP_POS_FRAMES, before)
            if self._capture.grab() and abs(self.time_ms() - 1000 * before / self.fps) < 250 / self.fps:
                self._next = number
                return
            self._sure = False  # frames at uneven times, or a decoder that cannot seek: never again in this file
            self._open()
        elif number < self._next:
            self._open()

    def _retrieve(self) -> UInt8[np.ndarray, "H W 3"]:
        good, image = self._capture.retrieve()
        if not good or image is None:
            raise PhotoError(f"{self.path}: frame {self._next - 1} cannot be decoded. Is the file damaged?")
        if max(image.shape[:2]) > MAX_SIDE:
            raise PhotoError(f"{self.path}: {image.shape[1]} x {image.shape[0]} px. Expected at most {MAX_SIDE} px.")
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        return np.ascontiguousarray(image[..., 2::-1])


# ---- readers that stay open -----------------------------------------------------------------------------------------

_readers: OrderedDict[tuple[str, int, int], tuple[VideoReader, threading.Lock]] = OrderedDict()
_readers_lock = threading.Lock()


def read_video_frame(path: Path | str) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of a frame by its name (clip.mp4#000123), RGB. Raises PhotoError."""
    video, number = _split(path)
    reader, lock = _reader(video)
    with lock:
        return reader.read(number)


def video_size(path: Path | str) -> tuple[int, int]:
    """(width, height) of a frame by its name. Raises PhotoError; the frame itself is not decoded."""
    return _reader(_split(path)[0])[0].size


def _split(path: Path | str) -> tuple[Path, int]:
    found = split_frame(path)
    if found is None:
        raise BodyfitError(f"{path}: not the name of a video's frame. Expected clip.mp4#000123.")
    return found


def _reader(video: Path) -> tuple[VideoReader, threading.Lock]:
    check_file(video, PhotoError)
    found = os.stat(video)
    key = (os.fspath(video), found.st_size, found.st_mtime_ns)
    with _readers_lock:
        if key not in _readers:
            _readers[key] = VideoReader(video), threading.Lock()
        _readers.move_to_end(key)
        while len(_readers) > _KEPT_OPEN:
            _readers.popitem(last=False)
        return _readers[key]
