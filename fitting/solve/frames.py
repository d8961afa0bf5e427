"""One photo's people and its camera, read from files: what the pipeline fits."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bodyfit.data.keypoints.detections import Detections, KeypointError, read_keypoints
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.photo.camera import Intrinsics, parse_focal, read_camera
from bodyfit.data.photo.photo import read_photo_header
from bodyfit.fitting.energy.observations import person_size

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CameraOptions:
    """What the user says about cameras; what is None comes from the photo."""

    focal: str | None = None
    """As `data.photo.camera.parse_focal` reads it: "1500", "35mm", "60deg"."""
    camera: Path | None = None
    """Camera file with K, or focal and center."""
    image_size: tuple[int, int] | None = None
    """(width, height), px, where there is no photo."""
    format: str | None = None
    """Keypoint format, where it should not be recognised."""


@dataclass(frozen=True, eq=False)
class Frame:
    """People detected in one image, and the camera that took it."""

    name: str
    detections: Detections
    image_size: tuple[int, int]
    """(width, height), px."""
    focal_px: float
    focal_source: str
    center_px: tuple[float, float]
    photo: Path | None = None

    @classmethod
    def from_files(cls, photo: Path | str | None, keypoints: Path | str, options: CameraOptions | None = None) -> Frame:
        """A frame from a photo (or None) and its keypoint file.

        Raises:
            KeypointError, PhotoError: naming the file, what was found and what was expected.
        """
        photo = Path(photo) if photo else None
        return read_frame(FitInput(photo, Path(keypoints), (photo or Path(keypoints)).stem), options)

    def main_person(self) -> Frame:
        """Only the largest person, under the number they had."""
        d = self.detections
        if len(d) < 2:
            return self
        usable = np.array([problem is None for problem in d.problems])
        i = int(np.argmax(person_size(d.xy, d.confidence) * np.where(usable, 1.0, 1e-6)))
        only = slice(i, i + 1)
        people = {"xy": d.xy[only], "confidence": d.confidence[only]}
        return replace(self, detections=replace(d, **people, person_ids=d.person_ids[only], problems=d.problems[only]))


def read_frame(item: FitInput, options: CameraOptions | None = None, *, decode: bool = True) -> Frame:
    """Read keypoints and camera of one input. The focal length comes from the options, else EXIF, else the diagonal.

    Args:
        item: its files; it must have keypoints.
        options: what the user says about the camera.
        decode: whether to make sure that the photo's pixels are whole. Callers that decode them later leave it out:
            the photo's header says all that a fit needs.

    Raises:
        KeypointError, PhotoError: naming the file, what was found and what was expected.
    """
    options = options or CameraOptions()
    if item.keypoints is None:
        raise KeypointError(
            f"{item.photo}: no keypoint file beside it or in keypoints/. Run a detector such as OpenPose."
        )
    exif_px = exif_source = None
    size = options.image_size
    if item.photo is not None:
        header = read_photo_header(item.photo, whole=decode)
        size, exif_px, exif_source = header.size, header.focal_px, header.focal_source
    detections = read_keypoints(item.keypoints, format=options.format, image_size=size, image=item.image)
    if size is None:
        size = detections.image_size or _extent(detections)
    camera = _camera(options, size, exif_px, exif_source)
    center = camera[2] or ((size[0] - 1) / 2, (size[1] - 1) / 2)
    return Frame(item.name, detections, size, camera[0], camera[1], center, item.photo)


def _camera(
    options: CameraOptions, size: tuple[int, int], exif_px: float | None, exif_source: str | None
) -> tuple[float, str, tuple[float, float] | None]:
    if options.camera is not None:
        camera: Intrinsics = read_camera(options.camera).for_size(size)
        return camera.focal_px, f"camera file {options.camera.name}", camera.center_px
    if options.focal is not None:
        return parse_focal(options.focal, size), f"given as {options.focal}", None
    if exif_px is not None:
        return exif_px, exif_source or "EXIF", None
    return math.hypot(*size), "image diagonal", None


def _extent(detections: Detections) -> tuple[int, int]:
    """The smallest image that holds all points seen."""
    seen = detections.xy[detections.confidence > 0]
    if not len(seen):
        return 1, 1
    width, height = np.ceil(seen.max(axis=0)).astype(int) + 1
    log.info("%s: image size taken from the keypoints: %d x %d px", detections.source, width, height)
    return max(int(width), 1), max(int(height), 1)
