"""Keypoints of a clip's frames, found by a detector while the pictures are decoded, as OpenPose files.

Frames are looked at in short groups: the first frame of each is searched in full, in the others people are followed
(data/detect/video.py). A frame's result depends on the frames before it in its group alone, so that groups may be
looked at side by side, and a run that was stopped goes on with what an uninterrupted one would have found.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from bodyfit.data.detect.detector import Detector, ShippedDetector
from bodyfit.data.detect.photos import detect_photo
from bodyfit.data.detect.video import VideoDetector
from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.keypoints.openpose_json import write_openpose
from bodyfit.data.photo.errors import PhotoError
from bodyfit.data.photo.photo import Photo, read_photo
from bodyfit.data.photo.video import VideoReader
from bodyfit.fitting.clips.sources import ClipFrame, ClipSource

log = logging.getLogger(__name__)

GROUP_SECONDS, GROUP_FRAMES = 0.25, 8
"""How long a group is at most. More frames gain little time, and all of a group's pictures are in memory."""
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
        workers: groups of frames at a time; None: as many as cores, at most 8.
        overwrite: also frames that have a file.

    Raises:
        PhotoError: for a video of which no frame can be decoded.
    """
    wanted = {one.moment for one in source.frames if overwrite or not files.file(one).is_file()}
    problems, last = dict[int, str](), None
    work = Detecting(detector, files, source.fps, workers)
    looked_at = work.needed(source.frames, wanted)
    with tqdm(total=len(looked_at), unit="frame", desc=source.name, disable=None) as bar, work:
        for one, image in clip_pictures(source, looked_at):
            last = one
            bar.update()
            if not isinstance(image, PhotoError):
                problems |= work.look(one, image, one.moment in wanted)
            elif one.moment in wanted:
                problems[one.moment] = str(image)
        problems |= work.rest()
    if wanted and last is None:
        raise PhotoError(f"{source.video or source.name}: none of its frames can be decoded. Is the file complete?")
    if last is not None and last is not looked_at[-1]:
        log.warning(
            "%s: says that it has more frames, but after frame %d nothing can be decoded. Is the file complete?",
            *(source.video, int(last.item.name.rpartition("/")[2])),
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
    """Finds the keypoints of pictures, several groups at a time, while the next ones are decoded."""

    def __init__(self, detector: Detector | None, files: FrameFiles | None, fps: float, workers: int | None = None):
        self.detector, self.files = detector, files
        self.workers = workers or min(os.cpu_count() or 1, 8)
        self.group_frames = _group_frames(fps) if isinstance(detector, ShippedDetector) else 1
        """Frames of a group: the first one whose number is divisible by it, and those after it without a gap."""
        self.people = dict[int, int]()
        """How many people were found, by moment."""
        self._group: list[_Picture] = []
        self._pending: deque[Future[list[tuple[ClipFrame, Detections | PhotoError]]]] = deque()
        self._pool = ThreadPoolExecutor(self.workers, initializer=_one_thread) if detector else None

    def __enter__(self) -> Detecting:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def needed(self, frames: Sequence[ClipFrame], wanted: set[int]) -> list[ClipFrame]:
        """The frames to look at for what is to be found at moments: those before them in their groups as well."""
        last = {moment // self.group_frames: moment for moment in sorted(wanted)}
        return [one for one in frames if one.moment <= last.get(one.moment // self.group_frames, -1)]

    def give(self, frame: ClipFrame, image: UInt8[np.ndarray, "H W 3"]) -> dict[int, str]:
        """The next picture, to be found unless it has a file; what went wrong with those that are done."""
        return self.look(frame, image, self.files.wanted(frame)) if self.files is not None else {}

    def look(self, frame: ClipFrame, image: UInt8[np.ndarray, "H W 3"], wanted: bool) -> dict[int, str]:
        """The next picture, and whether its people are wanted; what went wrong with those that are done."""
        if self._pool is None:
            return {}
        problems = {}
        if self._group and not self._continues(frame):
            problems = self._start_group()
        photo = Photo(image, None, None, frame.item.photo or Path(frame.item.name))
        self._group.append(_Picture(frame, photo, wanted))
        return problems

    def rest(self) -> dict[int, str]:
        """Wait for all; what went wrong with them."""
        return self._start_group() | self._taken(0)

    def _continues(self, frame: ClipFrame) -> bool:
        """Whether a frame belongs to the group that is being collected."""
        last = self._group[-1].frame.moment
        return frame.moment == last + 1 and frame.moment % self.group_frames != 0

    def _start_group(self) -> dict[int, str]:
        """Let a worker look at the group, as far as its last frame that is wanted."""
        group, self._group = self._group, []
        while group and not group[-1].wanted:
            group.pop()
        if not group or self._pool is None or self.detector is None:
            return {}
        problems = self._taken(self.workers)  # one more than are looked at, so that no worker waits
        self._pending.append(self._pool.submit(_look_at_group, self.detector, deque(group)))
        return problems

    def _taken(self, left: int) -> dict[int, str]:
        problems = {}
        while len(self._pending) > left and self.files is not None:
            for frame, found in self._pending.popleft().result():
                if isinstance(found, PhotoError):
                    problems[frame.moment] = str(found)
                else:
                    write_openpose(self.files.file(frame), found)
                    self.people[frame.moment] = len(found)
        return problems


@dataclass(frozen=True)
class _Picture:
    """A decoded frame of a group."""

    frame: ClipFrame
    photo: Photo
    wanted: bool


def _group_frames(fps: float) -> int:
    return min(max(int(GROUP_SECONDS * fps), 1), GROUP_FRAMES)


def _look_at_group(detector: Detector, group: deque[_Picture]) -> list[tuple[ClipFrame, Detections | PhotoError]]:
    """What is found in the wanted frames of a group; pictures are given up one by one, to free their memory."""
    look = VideoDetector(detector) if isinstance(detector, ShippedDetector) else detector
    found: list[tuple[ClipFrame, Detections | PhotoError]] = []
    while group:
        one = group.popleft()
        try:
            people: Detections | PhotoError = detect_photo(look, one.photo)
        except PhotoError as error:
            people = error
        if one.wanted:
            found.append((one.frame, people))
    return found


def _one_thread() -> None:
    """Pictures side by side keep the cores busy; threads within each would get into each other's way."""
    import torch

    torch.set_num_threads(1)
