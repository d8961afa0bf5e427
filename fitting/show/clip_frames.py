"""The frames of a run over time, with the people in each: what videos, the viewer and the report show of a clip."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from bodyfit.data.errors import BodyfitError
from bodyfit.data.photo.lens import Lens
from bodyfit.data.photo.photo import read_photo
from bodyfit.data.photo.video import frame_path, is_video
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.track import Track
from bodyfit.data.results.track_files import find_tracks, read_track
from bodyfit.fitting.draw.layers import Mesh
from bodyfit.fitting.show.results_folder import PersonEntry, ResultsFolder

logger = logging.getLogger(__name__)

Shown = tuple[PersonEntry, FitResult, Mesh]
_GREY = 200


@dataclass(frozen=True)
class ClipFrames:
    """The frames of a clip's output folder. Files are read when they are shown."""

    results: ResultsFolder
    index: ClipIndex

    @classmethod
    def of(cls, results: ResultsFolder) -> ClipFrames | None:
        """None where the folder is not that of a clip. Raises ClipIndexError for a damaged clip.json."""
        return cls(results, ClipIndex.read(results.folder)) if ClipIndex.exists(results.folder) else None

    @cached_property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that have frames; a video of one camera has its own name for it."""
        return tuple(dict.fromkeys(self.index.camera_of(frame) for frame in self.index.frames))

    @cached_property
    def _people(self) -> dict[str, tuple[PersonEntry, ...]]:
        return self.results.by_photo()

    def people(self, frame: str) -> tuple[PersonEntry, ...]:
        """Everybody in a frame, those who failed as well."""
        return self._people.get(frame, ())

    def when(self, frame: str) -> str:
        """When a frame was taken, to be put after its name: " · 1.25 s"; empty where that is not known."""
        moment = self.index.frames.get(frame)
        return "" if moment is None else f" · {moment / self.index.fps:.2f} s"

    def moments(self, start_s: float | None = None, end_s: float | None = None) -> range:
        """The moments between two times, in seconds of the clip.

        Raises:
            BodyfitError: where the clip has none there.
        """
        first, last = self.index.moments
        low = first if start_s is None else max(first, int(np.ceil(start_s * self.index.fps - 1e-6)))
        high = last if end_s is None else min(last, int(np.floor(end_s * self.index.fps + 1e-6)))
        if low > high:
            seconds = f"{first / self.index.fps:.2f} to {last / self.index.fps:.2f} s"
            raise BodyfitError(f"{self.results.folder}: no moment from {start_s} to {end_s} s. The clip has {seconds}.")
        return range(low, high + 1)

    def shown(self, frame: str, numbers: Collection[str] = ()) -> list[Shown]:
        """People with a body in a frame; `numbers` chooses some of them."""
        found = []
        for person in self.people(frame):
            if person.status == "failed" or (numbers and person.person not in numbers):
                continue
            result = person.result()
            mesh = None if result is None else person.mesh(result)
            if result is not None and mesh is not None and np.isfinite(mesh[0]).all():
                found.append((person, result, mesh))
        return found

    def photo_path(self, frame: str) -> Path | None:
        """The picture of a frame, also where nobody is in it; None where it is gone."""
        if (known := next((p.photo_path for p in self.people(frame) if p.photo_path is not None), None)) is not None:
            return known
        camera, _, number = frame.rpartition("/")
        if not number.isdecimal():
            return None
        video = self.index.cameras.get(camera)
        if video is not None:
            return frame_path(video, int(number)) if is_video(video) and video.is_file() else None
        return self._beside(camera, int(number))

    def _beside(self, camera: str, number: int) -> Path | None:
        """A picture named like the camera's others, with another number."""
        known = self._named_by_number.get(camera)
        if known is None:
            return None
        path = known.with_name(re.sub(r"\d+(?=\D*$)", lambda m: f"{number:0{len(m[0])}d}", known.stem) + known.suffix)
        return path if path.is_file() else None

    @cached_property
    def _named_by_number(self) -> dict[str, Path]:
        """Of each camera a picture whose name ends in the number of its frame."""
        found: dict[str, Path] = {}
        for frame, people in self._people.items():
            camera, _, number = frame.rpartition("/")
            if camera not in found and (path := people[0].photo_path) is not None:
                digits = re.findall(r"\d+(?=\D*$)", path.stem)
                if digits and number.isdecimal() and int(digits[0]) == int(number):
                    found[camera] = path
        return found

    @cached_property
    def _lenses(self) -> dict[str, tuple[Lens | None, tuple[int, int]]]:
        """The lens and the picture size of each camera, as its first result says."""
        found: dict[str, tuple[Lens | None, tuple[int, int]]] = {}
        for frame, people in self._people.items():
            camera = self.index.camera_of(frame)
            if camera not in found and len(found) < len(self.cameras):
                for person in people:
                    if person.status != "failed" and (result := person.result()) is not None:
                        found[camera] = (Lens.from_array(result.lens), result.image_size)
                        break
        return found

    def photo(self, frame: str) -> UInt8[np.ndarray, "H W 3"] | None:
        """The picture of a frame, as an ideal camera would have taken it; None where it is gone or cannot be read."""
        path = self.photo_path(frame)
        if path is None:
            return None
        try:
            photo = read_photo(path).image
        except BodyfitError as error:
            logger.warning("pictures: %s", error)
            return None
        lens, _ = self._lenses.get(self.index.camera_of(frame), (None, None))
        return lens.undistorted_image(photo) if lens else photo

    def blank(self, camera: str) -> UInt8[np.ndarray, "H W 3"]:
        """Grey, of the size of a camera's pictures."""
        width, height = self._lenses.get(camera, (None, (640, 480)))[1]
        return np.full((height, width, 3), _GREY, dtype=np.uint8)

    def tracks(self, numbers: Collection[str] = ()) -> list[Track]:
        """The tracks that can be read, of those who were fitted."""
        found = []
        for path in find_tracks(self.results.folder):
            if not numbers or path.stem in numbers:
                try:
                    found.append(read_track(path))
                except BodyfitError as error:
                    logger.warning("tracks: %s", error)
        return [track for track in found if set(track.status) != {"failed"}]
