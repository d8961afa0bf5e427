"""Which frame of a clip shows which moment: OUT/clip.json of a run over a video or over calibrated cameras."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import confined, read_json, write_atomically

FILE_NAME = "clip.json"


class ClipIndexError(BodyfitError):
    """A clip.json that cannot be used."""


@dataclass(frozen=True)
class ClipIndex:
    """The frames of a clip in time. Written to OUT/clip.json."""

    fps: float
    """Moments per second; moment / fps is the time in seconds."""
    moments: tuple[int, int]
    """The first and the last moment, both included."""
    cameras: Mapping[str, Path | None]
    """Each camera's video, absolute; None where it gave pictures or keypoints alone. A video of one camera has its
    stem for a name."""
    frames: Mapping[str, int]
    """The moment of each frame, by the frame's name below OUT/results: <camera or clip>/<000123>."""

    @staticmethod
    def exists(folder: Path | str) -> bool:
        """Whether an output folder is that of a clip."""
        return (Path(folder) / FILE_NAME).is_file()

    @classmethod
    def read(cls, folder: Path | str) -> ClipIndex:
        """The index of an output folder.

        Raises:
            ClipIndexError: where there is none, or one that is damaged.
        """
        path = Path(folder) / FILE_NAME
        document = read_json(path, ClipIndexError)
        try:
            first, last = (_whole(value) for value in document["moments"])
            cameras = {str(n): _video(camera["video"]) for n, camera in document["cameras"].items()}
            index = cls(
                float(document["fps"]),
                (first, last),
                cameras,
                {name: _whole(moment) for name, moment in document["frames"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ClipIndexError(
                f"{path}: not the index of a clip ({error!r:.100}). Was it written by `bodyfit fit`?"
            ) from error
        index._check(path)
        return index

    def write(self, folder: Path | str) -> Path:
        """Write OUT/clip.json, whole or not at all. Raises WriteError."""
        document = {
            "fps": self.fps,
            "cameras": {name: {"video": video and str(video)} for name, video in self.cameras.items()},
            "moments": list(self.moments),
            "frames": dict(self.frames),
        }
        text = json.dumps(document, indent=1)
        return write_atomically(Path(folder) / FILE_NAME, lambda temporary: temporary.write_text(text))

    def camera_of(self, frame: str) -> str:
        """The camera, or clip, that a frame belongs to."""
        return frame.rpartition("/")[0]

    def of_camera(self, camera: str) -> dict[int, str]:
        """The frame of each moment that a camera has, in order of time."""
        mine = [(moment, name) for name, moment in self.frames.items() if self.camera_of(name) == camera]
        return dict(sorted(mine))

    def at(self, moment: int) -> dict[str, str]:
        """The frame of each camera that shows a moment."""
        return {self.camera_of(name): name for name, shown in self.frames.items() if shown == moment}

    def _check(self, path: Path) -> None:
        if not 0 < self.fps < math.inf:
            raise ClipIndexError(f"{path}: fps is {self.fps}. Expected a positive number of moments per second.")
        if self.moments[0] > self.moments[1]:
            raise ClipIndexError(f"{path}: the first moment, {self.moments[0]}, is after the last, {self.moments[1]}.")
        for name in self.frames:
            confined(path.parent, name)  # it becomes the name of files


def _video(value: Any) -> Path | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"video {value!r:.40}")
    return Path(value) if value else None


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"moment {value!r:.40}")
    return value
