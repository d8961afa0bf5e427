"""What a clip is made of: the frames of a video or the pictures of a folder, each with its moment and its keypoints."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import result_name
from bodyfit.data.keypoints.inputs import FitInput, find_inputs
from bodyfit.data.photo.video import VideoReader, frame_path, is_video
from bodyfit.fitting.clips.keypoint_files import ClipKeypoints, FrameKeypoints, find_keypoints
from bodyfit.fitting.run.options import ClipOptions

log = logging.getLogger(__name__)

_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class ClipFrame:
    """One frame of a clip."""

    moment: int
    item: FitInput
    """Its picture and keypoints; named <clip>/<000123>."""


@dataclass(frozen=True)
class ClipSource:
    """A clip before it is read."""

    name: str
    """The video's or folder's name; frames are named below it."""
    fps: float
    """Moments per second."""
    video: Path | None
    """None: pictures, or keypoints alone."""
    frames: tuple[ClipFrame, ...]
    """In order of time. Of a video, as many as its file says that there are."""
    keypoints: ClipKeypoints | None = None
    """Files of a video's frames; None: the detector is to find them, or the frames' items name them."""

    def with_keypoints(self, count: int | None, *, checks: bool) -> ClipSource:
        """The same with each frame's file, once it is known how many frames the video has (None: it is not)."""
        if self.keypoints is None:
            return self
        fitted = [_number_of(frame.item) for frame in self.frames]
        files = self.keypoints.of_frames(count, fitted=fitted, checks=checks)
        frames = [
            replace(frame, item=_with_file(frame.item, files.get(_number_of(frame.item)))) for frame in self.frames
        ]
        return replace(self, frames=tuple(frames))


def is_clip(paths: Sequence[Path], options: ClipOptions) -> bool:
    """Whether inputs are to be fitted over time. Raises BodyfitError for several clips at once."""
    clips = [path for path in paths if is_video(path) and not path.is_dir()]
    if not clips and not options.clip:
        return False
    if len(paths) > 1:
        raise BodyfitError(
            f"{paths[0]} and {len(paths) - 1} more: a run fits one clip. Fit each into an output folder of its own; "
            "several cameras that saw the same moments go together with --cameras."
        )
    return True


def open_source(path: Path, options: ClipOptions, exclude: Sequence[Path] = ()) -> ClipSource:
    """The frames of a video, or of a folder that is a clip.

    Raises:
        BodyfitError: naming the file or option, what was found and what was expected.
    """
    _check(options)
    if not path.exists():
        raise BodyfitError(f"{path}: no such file or folder. Expected a video, or a folder of pictures with --clip.")
    return _of_folder(path, options, exclude) if path.is_dir() else _of_video(path, options)


def _check(options: ClipOptions) -> None:
    for name, value in (("--fps", options.fps), ("--video-fps", options.video_fps)):
        if value is not None and not 0 < value <= 10_000:
            raise BodyfitError(f"{name} {value:g}: expected a positive number of frames per second.")
    for name, value in (("--start", options.start), ("--end", options.end)):
        if value is not None and not 0 <= value < math.inf:
            raise BodyfitError(f"{name} {value:g}: expected seconds from the beginning of the clip.")
    if options.start is not None and options.end is not None and options.start >= options.end:
        raise BodyfitError(f"--start {options.start:g} is not before --end {options.end:g} (seconds).")


# ---- videos ---------------------------------------------------------------------------------------------------------


def _of_video(path: Path, options: ClipOptions) -> ClipSource:
    return replace(video_frames(path, options), keypoints=find_keypoints(path, options.keypoints))


def video_frames(path: Path, options: ClipOptions) -> ClipSource:
    """The frames of a video, without looking for keypoints. Raises BodyfitError as `open_source` does."""
    _check(options)
    if not is_video(path):
        raise BodyfitError(f"{path}: --clip takes a video or a folder of pictures, and this is neither.")
    reader = VideoReader(path)
    count = reader.frames_said
    reader.close()
    taken = options.video_fps or reader.fps
    if taken is None:
        raise BodyfitError(f"{path}: the file does not say how many frames per second it has. Say --video-fps 30.")
    if count is None:
        count = _counted(path)
    fps = _fitted_rate(path, taken, options.fps)
    numbers = [round(moment * taken / fps) for moment in range(math.floor((count - 1) * fps / taken) + 1)]
    span = _span(path, options, fps, len(numbers))
    name = result_name(path.stem)
    frames = tuple(ClipFrame(m, FitInput(frame_path(path, numbers[m]), None, f"{name}/{numbers[m]:06d}")) for m in span)
    return ClipSource(name, fps, path, frames)


def _counted(path: Path) -> int:
    """How many frames can be decoded, for files that do not say it."""
    return sum(1 for _ in VideoReader(path))


def _fitted_rate(path: Path, taken: float, wanted: float | None) -> float:
    if wanted is None:
        return taken
    if wanted > taken * 1.001:
        raise BodyfitError(
            f"--fps {wanted:g}: {path.name} has {taken:g} frames per second, and no more can be fitted. If it was "
            f"taken with {wanted:g} frames per second (slow motion), say --video-fps {wanted:g}."
        )
    return min(wanted, taken)


def _span(path: Path, options: ClipOptions, fps: float, count: int) -> range:
    """The moments between --start and --end, of `count`."""
    first = 0 if options.start is None else math.ceil(options.start * fps - 1e-6)
    last = count if options.end is None else min(math.ceil(options.end * fps - 1e-6), count)
    if first >= count:
        raise BodyfitError(f"--start {options.start:g}: {path.name} lasts {count / fps:.2f} s ({count} frames).")
    if options.end is not None and options.end > count / fps + 0.5 / fps:
        log.warning("--end %g: %s lasts %.2f s; fitted to its end", options.end, path.name, count / fps)
    if first >= last:
        raise BodyfitError(f"there is no frame of {path.name} between --start {options.start:g} and --end.")
    return range(first, last)


def _number_of(item: FitInput) -> int:
    return int(item.name.rpartition("/")[2])


def _with_file(item: FitInput, found: FrameKeypoints | None) -> FitInput:
    return item if found is None else replace(item, keypoints=found.file, image=found.image)


# ---- folders --------------------------------------------------------------------------------------------------------


def _of_folder(path: Path, options: ClipOptions, exclude: Sequence[Path]) -> ClipSource:
    if options.keypoints is not None:
        raise BodyfitError(
            "--keypoints goes with a video; a folder has keypoints beside its pictures or in keypoints/."
        )
    taken = options.video_fps or options.fps
    if taken is None:
        raise BodyfitError(f"{path}: how many pictures per second are there? Say --fps 30.")
    items = find_inputs(path, exclude=exclude)
    numbers = _numbers(path, items)
    fps, name = _fitted_rate(path, taken, options.fps), result_name(path.resolve().name)
    by_place = {place: item for (place, _), item in zip(numbers, items, strict=True)}
    shown = {place: number for place, number in numbers}
    count = math.floor(max(by_place) * fps / taken) + 1
    frames = []
    for moment in _span(path, options, fps, count):
        place = round(moment * taken / fps)
        if place in by_place:  # else a picture is missing
            frames.append(ClipFrame(moment, replace(by_place[place], name=f"{name}/{shown[place]:06d}")))
    if not frames:
        raise BodyfitError(f"{path}: there is no picture between --start and --end.")
    return ClipSource(name, fps, None, tuple(frames))


def _numbers(path: Path, items: Sequence[FitInput]) -> list[tuple[int, int]]:
    """The place of each picture in the order of time, and the number in its name: pictures may be missing."""
    folders = {item.name.rpartition("/")[0] for item in items}
    if len(folders) > 1:
        some = ", ".join(sorted(folders)[:3])
        raise BodyfitError(f"{path}: pictures in several folders ({some}). A clip is the pictures of one camera.")
    found = [_NUMBER.search(item.name) for item in items]
    numbers = [int(number[1]) for number in found if number]
    if len(numbers) < len(items):
        log.info("%s: not all names end in a number; pictures follow each other in the order of names", path)
        return [(n, n) for n in range(len(items))]
    by_number: dict[int, str] = {}
    for number, item in zip(numbers, items, strict=True):
        if number in by_number:
            twice = f"{by_number[number]} and {item.name}"
            raise BodyfitError(f"{path}: {twice} have the same number. A clip is the pictures of one camera.")
        by_number[number] = item.name
    first = min(numbers)
    step = math.gcd(*(number - first for number in numbers)) or 1
    if step > 1:
        ending = {2: "nd", 3: "rd"}.get(step, "th")
        log.info("%s: has every %d%s number; they are taken for one frame after the other", path, step, ending)
    return [((number - first) // step, number) for number in numbers]
