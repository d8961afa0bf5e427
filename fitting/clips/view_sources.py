"""What several calibrated cameras give before it is read: a clip of each camera, on one count of moments."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.photo.rig import Rig
from bodyfit.data.photo.video import is_video
from bodyfit.fitting.clips.keypoint_files import ClipKeypoints, FrameKeypoints
from bodyfit.fitting.clips.sources import ClipFrame, ClipSource, open_source
from bodyfit.fitting.clips.view_inputs import check_views, find_views
from bodyfit.fitting.run.options import ClipOptions

log = logging.getLogger(__name__)

_SAME_RATE = 0.01


@dataclass(frozen=True)
class ViewSource:
    """Several cameras before they are read."""

    name: str
    """Of the journal's line that says that all is written."""
    fps: float
    """Moments per second; 1 where there is one moment."""
    cameras: Mapping[str, ClipSource]
    """The frames of each camera, named <camera>/<000123>."""
    rig: Rig


def open_views(paths: Sequence[Path], rig: Rig, options: ClipOptions, exclude: Sequence[Path] = ()) -> ViewSource:
    """The frames of all cameras: videos, pictures and keypoint files, by the names of folders and files.

    Args:
        paths: folders or files.
        rig: the cameras.
        options: frame rate, start and end.
        exclude: folders not to look into.

    Raises:
        BodyfitError: where nothing is found, videos have different frame rates, or the frame rate is not known.
    """
    if options.moving_camera:
        raise BodyfitError("--moving-camera and --cameras exclude each other: calibrated cameras stand still.")
    videos = _videos(paths, rig, exclude)
    if options.keypoints is not None:
        paths = [*paths, options.keypoints]
    files = _files(paths, rig, exclude, bool(videos))
    options = replace(options, keypoints=None)
    cameras = {name: _of_video(name, path, files.get(name, {}), options) for name, path in videos.items()}
    alone = {name: mine for name, mine in files.items() if name not in videos}
    fps = _common_rate(cameras)
    if alone:
        several = len({moment for mine in alone.values() for moment in mine}) > 1
        taken = options.video_fps or fps or options.fps or (None if several else 1.0)
        if taken is None:
            raise BodyfitError(f"{paths[0]}: how many pictures per second are there? Say --fps 30.")
        fps = fps or options.fps or taken
        base = 0 if videos else min(min(mine) for mine in alone.values())
        cameras |= {name: _of_files(name, mine, base, taken, fps, options) for name, mine in alone.items()}
    found = {name: source for name, source in sorted(cameras.items()) if source.frames}
    if not found:
        raise BodyfitError(f"{paths[0]}: there is no frame between --start and --end.")
    check_views({name: {f.moment: f.item for f in source.frames} for name, source in found.items()}, rig)
    return ViewSource("(all cameras)", fps or 1.0, found, rig)


def _videos(paths: Sequence[Path], rig: Rig, exclude: Sequence[Path]) -> dict[str, Path]:
    """The video of each camera that has one; its own name or its folder's says which."""
    found, skipped = dict[str, Path](), [Path(path).resolve() for path in exclude]
    for video in sorted(video for path in paths for video in _video_files(path)):
        if any(folder in video.resolve().parents for folder in skipped):
            continue
        name = rig.camera_named(video.stem) or rig.camera_named(video.parent.name)
        if name is None:
            log.warning("%s: no camera of %s has this name, left out", video, rig.source)
        elif name in found:
            raise BodyfitError(f"{found[name]} and {video} are both of camera {name}. Expected one video per camera.")
        else:
            found[name] = video
    return found


def _video_files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return [path] if is_video(path) else []
    return (file for file in path.rglob("*") if is_video(file) and file.is_file() and not file.name.startswith("."))


def _files(paths: Sequence[Path], rig: Rig, exclude: Sequence[Path], videos: bool) -> dict[str, dict[int, FitInput]]:
    others = [path for path in paths if path.is_dir() or not is_video(path)]
    try:
        return find_views(others, rig, exclude=exclude, of_videos=videos) if others else {}
    except BodyfitError:
        if videos:
            return {}
        raise


def _of_video(name: str, path: Path, files: Mapping[int, FitInput], options: ClipOptions) -> ClipSource:
    source = open_source(path, options)
    frames = tuple(replace(f, item=replace(f.item, name=f"{name}/{_number(f.item)}")) for f in source.frames)
    given = {number: FrameKeypoints(item.keypoints, item.image) for number, item in files.items() if item.keypoints}
    keypoints = source.keypoints
    if given and keypoints is None:
        keypoints = ClipKeypoints(next(iter(given.values())).file.parent, given)
    return replace(source, name=name, frames=frames, keypoints=keypoints)


def _number(item: FitInput) -> str:
    return item.name.rpartition("/")[2]


def _common_rate(cameras: Mapping[str, ClipSource]) -> float | None:
    rates = {name: source.fps for name, source in cameras.items()}
    if not rates:
        return None
    slow, fast = min(rates, key=rates.__getitem__), max(rates, key=rates.__getitem__)
    if rates[fast] > rates[slow] * (1 + _SAME_RATE):
        raise BodyfitError(
            f"{fast} has {rates[fast]:g} frames per second and {slow} {rates[slow]:g}: their frames were not taken "
            f"together. --fps {rates[slow]:g} thins the faster out, if they started at the same time."
        )
    return rates[slow]


def _of_files(
    name: str, files: Mapping[int, FitInput], base: int, taken: float, fps: float, options: ClipOptions
) -> ClipSource:
    """Numbered files; of more per second than are fitted, the nearest."""
    if fps > taken * 1.001:
        raise BodyfitError(f"--fps {fps:g}: there are {taken:g} pictures per second, and no more can be fitted.")
    first = 0 if options.start is None else math.ceil(options.start * fps - 1e-6)
    last = math.floor((max(files) - base) * fps / taken) + 1
    last = last if options.end is None else min(last, math.ceil(options.end * fps - 1e-6))
    frames = []
    for moment in range(first, last):
        number = base + round(moment * taken / fps)
        if number in files:
            frames.append(ClipFrame(moment, replace(files[number], name=f"{name}/{number:06d}")))
    return ClipSource(name, fps, None, tuple(frames))
