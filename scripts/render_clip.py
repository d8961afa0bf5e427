"""Writes the videos of `bodyfit render` of a clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.draw.animation import save_animation
from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.clip_video import ClipStyle, overlay_frames
from bodyfit.fitting.show.portraits import OverlayStyle
from bodyfit.fitting.show.results_folder import ResultsFolder, body_of_track
from bodyfit.fitting.show.side_view import Mover, side_view_frames

_LONGEST_GIF = 600
"""Pictures; all of them are in memory while a .gif is written."""


class Options(Protocol):
    """What `RenderCommand` asks for, as its help says."""

    out: Path
    output: Path | None
    style: str
    image: str | None
    people: tuple[str, ...]
    camera: str | None
    start: float | None
    end: float | None
    background: str
    runner_up: bool
    size_px: int | None
    backend: str

    def overlay_style(self) -> OverlayStyle:
        """How people are drawn over photos."""


def render_clip(command: Options, results: ResultsFolder) -> Path:
    """Write the video that the command asks for; returns its path.

    Raises:
        BodyfitError: for options that videos do not have, people, cameras or times that the clip does not have.
    """
    clip = ClipFrames.of(results)
    assert clip is not None
    _check(command, clip)
    path = command.output or command.out / "videos" / f"{command.style}.mp4"
    moments = clip.moments(command.start, command.end)
    if command.style != "side" and command.camera is not None:
        mine = clip.index.of_camera(command.camera)
        moments = range(max(moments[0], min(mine)), min(moments[-1], max(mine)) + 1)
    if path.suffix.lower() == ".gif" and len(moments) > _LONGEST_GIF:
        raise BodyfitError(
            f"{path}: a .gif of {len(moments)} pictures would be huge. Write an .mp4, or choose --start and --end."
        )
    frames = _side(command, clip, moments) if command.style == "side" else _over_frames(command, clip, moments)
    return save_animation(tqdm(frames, total=len(moments), unit="frame", disable=None), path, clip.index.fps)


def _check(command: Options, clip: ClipFrames) -> None:
    for name, given in (
        ("--runner-up", command.runner_up),
        ("--image", command.image is not None),
        ("--background transparent", command.background == "transparent"),
    ):
        if given:
            raise BodyfitError(f"{name} is for pictures: give -o a folder, not a video.")
    if command.camera is not None and command.camera not in clip.cameras:
        raise BodyfitError(f"--camera {command.camera}: the clip has {', '.join(clip.cameras)}.")
    known = dict.fromkeys(person.person for person in clip.results.people)
    for number in command.people:
        if number not in known:
            raise BodyfitError(f"--people {number}: nobody of this number. The clip has {', '.join(known)}.")


def _over_frames(command: Options, clip: ClipFrames, moments: Sequence[int]) -> Iterator[np.ndarray]:
    cameras = clip.cameras if command.camera is None else (command.camera,)
    style = ClipStyle(
        command.overlay_style(), command.people, command.style == "side-by-side", command.size_px, command.backend
    )
    return overlay_frames(clip, cameras, moments, style)


def _side(command: Options, clip: ClipFrames, moments: Sequence[int]) -> Iterator[np.ndarray]:
    movers = []
    for track in clip.tracks(command.people):
        body = body_of_track(track, clip.results.body)
        movers.append(Mover(track, body, int(track.person) if track.person.isdecimal() else len(movers)))
    height = command.size_px or 540
    size = (height, round(4 / 3 * height))
    return side_view_frames(movers, moments, clip.index.fps, size_px=size, backend=command.backend)
