"""Keypoints of a clip's frames, found by a detector while the pictures are decoded, as OpenPose files."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from bodyfit.data.detect.detector import Detector
from bodyfit.data.detect.photos import detect_photo
from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.keypoints.openpose_json import write_openpose
from bodyfit.data.photo.errors import PhotoError
from bodyfit.data.photo.photo import Photo, read_photo
from bodyfit.data.photo.video import VideoReader
from bodyfit.fitting.clips.sources import ClipFrame, ClipSource

log = logging.getLogger(__name__)

_UNEVEN = 1.5
"""How far off, in frames, a video's times may be before that is said."""


@dataclass(frozen=True)
class FrameFiles:
    """The keypoint files of a clip's frames, a file for each."""

    folder: Path
    """Where they lie."""
    name: str
    """The clip's."""

    def file(self, one: ClipFrame) -> Path:
        """The file of a frame, named as OpenPose names it."""
        number = int(one.item.name.rpartition("/")[2])
        return self.folder / f"{Path(self.name).name}_{number:012d}_keypoints.json"

    def wanted(self, one: ClipFrame) -> bool:
        """Whether a frame's keypoints are still to be found."""
        photo = one.item.photo
        if photo is None or not self.file(one).is_file():
            return True
        return photo.is_file() and photo.stat().st_mtime_ns > self.file(one).stat().st_mtime_ns


@dataclass(frozen=True)
class FoundInClip:
    """What a detector found in a clip."""

    people: dict[int, int]
    """How many people, by moment, of the frames that were looked at now."""
    kept: int
    """Frames that had a file already."""
    problems: dict[int, str] = field(default_factory=dict)
    """Moments whose pictures could not be looked at, with the reason."""


def detect_clip(
    detector: Detector, source: ClipSource, files: FrameFiles, *, workers: int | None = None, overwrite: bool = False
) -> FoundInClip:
    """Find the keypoints of everybody in a clip's frames, and write a file for each frame.

    Args:
        detector: finds them.
        source: the clip; frames are decoded once, in order.
        files: where they are written. Frames that have a file are left as they are.
        workers: frames at a time; None: as many as cores, at most 8.
        overwrite: also frames that have a file.

    Raises:
        PhotoError: for a video of which no frame can be decoded.
    """
    wanted = [one for one in source.frames if overwrite or not files.file(one).is_file()]
    problems, seen = dict[int, str](), 0
    work = Detecting(detector, files, workers)
    with tqdm(total=len(wanted), unit="frame", desc=source.name, disable=None) as bar, work:
        for one, image in clip_pictures(source, wanted):
            seen += 1
            bar.update()
            problems |= {one.moment: str(image)} if isinstance(image, PhotoError) else work.look(one, image)
        problems |= work.rest()
    if wanted and not seen:
        raise PhotoError(f"{source.video or source.name}: none of its frames can be decoded. Is the file complete?")
    if seen < len(wanted):
        log.warning(
            "%s: says that it has more frames, but after frame %d nothing can be decoded. Is the file complete?",
            *(source.video, int(wanted[seen - 1].item.name.rpartition("/")[2])),
        )
    return FoundInClip(work.people, len(source.frames) - len(wanted), problems)


def clip_pictures(
    source: ClipSource, frames: list[ClipFrame]
) -> Iterator[tuple[ClipFrame, UInt8[np.ndarray, "H W 3"] | PhotoError]]:
    """Each frame with its pixels, in order; a video ends where nothing more can be decoded."""
    if source.video is None:
        for frame in frames:
            try:
                yield frame, read_photo(frame.item.photo).image
            except PhotoError as error:
                yield frame, error
        return
    reader = VideoReader(source.video)
    worst = 0.0
    for frame in frames:
        number = int(frame.item.name.rpartition("/")[2])
        try:
            image = reader.read(number)
        except PhotoError as error:
            log.debug("%s", error)
            break
        if reader.fps is not None:
            worst = max(worst, abs(reader.time_ms() * reader.fps / 1000 - number))
        yield frame, image
    reader.close()
    if worst > _UNEVEN and reader.fps is not None:
        log.warning(
            "%s: its frames come at uneven times, up to %.2f s off; they are taken for evenly spaced, %g per second",
            *(source.video, worst / reader.fps, reader.fps),
        )


class Detecting:
    """Finds the keypoints of pictures, several at a time, while the next ones are decoded."""

    def __init__(self, detector: Detector | None, files: FrameFiles | None, workers: int | None = None):
        self.detector, self.files = detector, files
        self.workers = workers or min(os.cpu_count() or 1, 8)
        self.people = dict[int, int]()
        """How many people were found, by moment."""
        self._pending: deque[tuple[ClipFrame, Future[Detections]]] = deque()
        self._pool = ThreadPoolExecutor(self.workers, initializer=_one_thread) if detector else None

    def __enter__(self) -> Detecting:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def give(self, frame: ClipFrame, image: UInt8[np.ndarray, "H W 3"]) -> dict[int, str]:
        """The next picture, unless it has a file; what went wrong with those that are done."""
        return self.look(frame, image) if self.files is not None and self.files.wanted(frame) else {}

    def look(self, frame: ClipFrame, image: UInt8[np.ndarray, "H W 3"]) -> dict[int, str]:
        """The next picture, whatever files there are; what went wrong with those that are done."""
        if self._pool is None:
            return {}
        photo = Photo(image, None, None, frame.item.photo or Path(frame.item.name))
        self._pending.append((frame, self._pool.submit(detect_photo, self.detector, photo)))
        return self._taken(2 * self.workers)

    def rest(self) -> dict[int, str]:
        """Wait for all; what went wrong with them."""
        return self._taken(0)

    def _taken(self, left: int) -> dict[int, str]:
        problems = {}
        while len(self._pending) > left and self.files is not None:
            frame, future = self._pending.popleft()
            try:
                people = future.result()
                write_openpose(self.files.file(frame), people)
                self.people[frame.moment] = len(people)
            except PhotoError as error:
                problems[frame.moment] = str(error)
        return problems


def _one_thread() -> None:
    """Pictures side by side keep the cores busy; threads within each would get into each other's way."""
    import torch

    torch.set_num_threads(1)
