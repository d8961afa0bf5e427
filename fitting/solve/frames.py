"""One photo's people and its camera, from files or from arrays: what the pipeline fits."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import ArrayLike

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.arrays import detections_from_arrays
from bodyfit.data.keypoints.detections import Detections, KeypointError, read_keypoints
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.keypoints.order import pixels_per_metre
from bodyfit.data.photo.camera import parse_focal
from bodyfit.data.photo.intrinsics import Extrinsics, Intrinsics, read_camera
from bodyfit.data.photo.lens import Lens
from bodyfit.data.photo.photo import read_photo_header
from bodyfit.data.words import counted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CameraOptions:
    """How photos, keypoints and the camera are read; what is not given comes from the files."""

    focal: str | None = None
    """Focal length: pixels ("1500" or "1500px"), 35 mm equivalent ("35mm") or horizontal field of view ("60deg").
    Default: the photo's EXIF, else the image diagonal; the result says which."""
    camera: Path | None = None
    """Camera file: K (3x3) or focal and center as .json, .npz or .npy; OpenCV's YAML, XML; ROS, Kalibr, EasyMocap
    (intri.yml), Pose2Sim and anipose (.toml), COLMAP (cameras.txt), nerfstudio. Distortion and fx != fy are used."""
    camera_name: str | None = None
    """Which camera of a camera file with several. Default: the one that the photo's folder or name says."""
    image_size: tuple[int, int] | None = None
    """Width and height, px, for keypoints without a photo. Default: their extent. A photo has its own."""
    format: str | None = None
    """Keypoint format, where it should not be recognised from the file (docs/keypoints.md names them)."""
    detector: str = "auto"
    """What finds keypoints in photos without a keypoint file: auto or builtin (included, works offline), none,
    rtmlib (pip install rtmlib onnxruntime; downloads models), or the path of a whole-body ONNX file (extra onnx)."""
    keypoints_size: tuple[int, int] | None = None
    """Width and height, px, of the picture that the keypoints were made on, where it was a scaled copy of the photo and
    the file does not say so."""
    min_confidence: float | None = None
    """Count points with less confidence as unseen. Default: 0.1 for what a person needs at least. For detectors whose
    scores are all low (Detectron2): 0.02 or so, and the best of the file count as 1."""
    checks: bool = True
    """Fail people whose keypoints cannot be right: outside of the photo, left and right exchanged, at impossible
    distances. --no-checks fits them, too."""


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
    image: UInt8[np.ndarray, "H W 3"] | None = field(default=None, repr=False)
    """The photo's pixels, RGB, where the frame was made from them; fitting does not look at them."""
    keypoint_source: str = "given as arrays"
    """Where the keypoints come from: arrays, a keypoint file and its format, or a detector."""
    lens: Lens | None = None
    """The camera that took the photo where it is no ideal pinhole; the keypoints are those of the ideal one."""
    extrinsics: Extrinsics | None = None
    """Where the camera stands, if that is known."""

    def __repr__(self) -> str:
        people = counted(len(self.detections), "person", "people")
        return (
            f"<Frame {self.name}: {people}, {self.image_size[0]} x {self.image_size[1]} px, "
            f"focal length {self.focal_px:.0f} px ({self.focal_source}), keypoints: {self.keypoint_source}>"
        )

    @classmethod
    def from_keypoints(
        cls,
        xy_confidence: ArrayLike,
        format: str,
        *,
        image: UInt8[np.ndarray, "H W 3"] | None = None,
        image_size: tuple[int, int] | None = None,
        focal_px: float | None = None,
        center_px: tuple[float, float] | None = None,
        left_hand: ArrayLike | None = None,
        right_hand: ArrayLike | None = None,
        face: ArrayLike | None = None,
        name: str = "frame",
        person_ids: Sequence[str | int] | None = None,
    ) -> Frame:
        """A frame from keypoints in memory, fitted exactly as a file with the same numbers.

            frame = Frame.from_keypoints(keypoints, "coco17", image=photo)
            results = fit([frame])

        Args:
            xy_confidence: (K, 3) for one person or (P, K, 3) for P people: x and y in pixels (the centre of the
                top-left pixel is (0, 0)), confidence in [0, 1]; without the third number all points are confident.
                A point with NaN, with confidence 0 or at (0, 0) is unseen.
            format: what the K points are: "coco17", "body25", "coco18", "wholebody133", "halpe26", ... (the keys of
                `bodyfit.data.keypoints.formats.BODY_FORMATS`, or how one of them ends).
            image: the photo, (H, W, 3) uint8, RGB. It gives the size and is kept in the frame.
            image_size: (width, height), px; needed where there is no image.
            focal_px: default: the length of the image's diagonal.
            center_px: principal point (x, y); default: the middle of the image.
            left_hand, right_hand, face: (21, 3), (21, 3) and (68 or 70, 3), or with P in front, where a detector
                gives them apart from the body as OpenPose does.
            name: what messages call the frame.
            person_ids: a name for each person; default "000", "001", ...

        Raises:
            KeypointError: for an unknown format or keypoints of another shape.
            BodyfitError: for an image, a size or a camera that cannot be used.
        """
        size = _size_in_memory(name, image, image_size)
        detections = detections_from_arrays(
            xy_confidence,
            format,
            left_hand=left_hand,
            right_hand=right_hand,
            face=face,
            image_size=size,
            person_ids=person_ids,
            name=name,
        )
        focal = math.hypot(*size) if focal_px is None else _number(focal_px)
        source = GUESSED_FOCAL if focal_px is None else f"given as {focal:g}"
        center = ((size[0] - 1) / 2, (size[1] - 1) / 2) if center_px is None else tuple(float(c) for c in center_px)
        if not 0 < focal < math.inf:
            raise BodyfitError(
                f"{name}: focal_px is {focal_px!r}. Expected a positive number of pixels; `Frame.from_files` takes "
                'words such as "35mm".'
            )
        if len(center) != 2 or not all(map(math.isfinite, center)):
            raise BodyfitError(f"{name}: center_px is {center_px}. Expected (x, y) in pixels.")
        pixels = None if image is None else np.asarray(image)
        return cls(name, detections, size, focal, source, (center[0], center[1]), image=pixels)

    @classmethod
    def from_files(
        cls,
        photo: Path | str | None,
        keypoints: Path | str | None = None,
        *,
        image: str | None = None,
        format: str | None = None,
        image_size: tuple[int, int] | None = None,
        focal: str | float | None = None,
        camera: Path | str | None = None,
        detector: str = "auto",
    ) -> Frame:
        """A frame from a photo (or None) and its keypoint file; without that, keypoints are found in the photo.

        Args:
            photo: JPEG, PNG, WebP, BMP or TIFF; it gives the size and, by its EXIF, the focal length.
            keypoints: JSON of any known detector; None: `detector` looks at the photo.
            image: which image of a keypoint file with many: its file name or number.
            format: what the keypoints are, as in `from_keypoints`; default: recognised.
            image_size: (width, height), px, where there is no photo.
            focal: pixels (1500), "35mm" (equivalent), "4.2mm/6.2mm" (lens and sensor) or "60deg" (angle of view).
            camera: a file (.json, .npz) with a camera matrix K, or focal length and centre; comes before `focal`.
            detector: "auto", "rtmlib" or the path of an ONNX file, as for `bodyfit fit --detector`.

        Raises:
            KeypointError, PhotoError, CameraError: naming the file, what was found and what was expected.
        """
        if not all(path is None or isinstance(path, str | Path) for path in (photo, keypoints)):
            raise BodyfitError("photo or keypoints is no path. `Frame.from_keypoints` takes arrays.")
        photo, keypoints = (Path(path) if path else None for path in (photo, keypoints))
        file = photo or keypoints
        if file is None:
            raise KeypointError("a frame needs a photo or a keypoint file, and got neither.")
        options = CameraOptions(
            focal=None if focal is None else str(focal),
            camera=None if camera is None else Path(camera),
            image_size=image_size,
            format=format,
            detector=detector,
        )
        return read_frame(FitInput(photo, keypoints, file.stem, image), options)

    def chosen(self, people: str = "all", min_size_px: float = 0.0) -> Frame:
        """Some of the people, under the numbers they had, in the file's order.

        Args:
            people: "all"; "main", the largest; "3", the three largest; "002" (three digits or more), the person of this
                number. People who can be fitted come before those who cannot.
            min_size_px: Leave out people whose body keypoints span less.
        """
        if people == "all" and min_size_px <= 0:
            return self
        from bodyfit.fitting.energy.observations import person_size  # imports PyTorch, which reading alone can spare

        d = self.detections
        usable = np.array([problem is None for problem in d.problems], dtype=bool)
        size = person_size(d.xy, d.confidence)
        wanted = [i for i in range(len(d)) if size[i] >= min_size_px]
        count = {"all": len(d), "main": 1}.get(people, int(people) if people.isdigit() and len(people) < 3 else None)
        if count is None:
            wanted = [i for i in wanted if d.person_ids[i] == people]
        else:
            largest = sorted(wanted, key=lambda i: (not usable[i], -size[i]))[:count]
            wanted = sorted(largest)
        if len(wanted) == len(d):
            return self
        lists = [name for name in ("person_ids", "problems", "warnings") if getattr(d, name)]
        some = {name: tuple(getattr(d, name)[i] for i in wanted) for name in lists}
        return replace(self, detections=replace(d, xy=d.xy[wanted], confidence=d.confidence[wanted], **some))


def check_people(people: str) -> None:
    """Raise BodyfitError unless `people` is what `Frame.chosen` takes."""
    if people not in ("all", "main") and not (people.isdigit() and int(people) + (len(people) > 2) > 0):
        raise BodyfitError(
            f"people '{people}' is not understood. Expected all, main (the largest), 3 (the three largest) or 002 "
            "(three digits: the person of this number)."
        )


def read_frame(item: FitInput, options: CameraOptions | None = None, *, decode: bool = True) -> Frame:
    """Read keypoints and camera of one input. The focal length comes from the options, else EXIF, else the diagonal.

    Args:
        item: its files. Keypoints of a photo alone are found by the detector of the options.
        options: what the user says about the camera, and which detector.
        decode: whether to make sure that the photo's pixels are whole. Callers that decode them later leave it out:
            the photo's header says all that a fit needs.

    Raises:
        KeypointError, PhotoError: naming the file, what was found and what was expected.
    """
    options = options or CameraOptions()
    if item.problem is not None:
        raise KeypointError(item.problem)
    exif_px = exif_source = None
    size, orientation = options.image_size, 1
    if item.photo is not None:
        header = read_photo_header(item.photo, whole=decode)
        size, exif_px, exif_source, orientation = header.size, header.focal_px, header.focal_source, header.orientation
    if item.keypoints is None:
        detections = _detected(item, options.detector)
        keypoint_source = f"detected by {detections.format}"
    else:
        detections = read_keypoints(
            item.keypoints,
            format=options.format,
            image_size=size,
            image=item.image,
            keypoints_size=options.keypoints_size,
            orientation=orientation,
            min_confidence=options.min_confidence,
            checks=options.checks,
        )
        keypoint_source = f"keypoint file, {detections.format}"
    if size is None:
        size = detections.image_size or _extent(detections)
    camera, source = _camera(options, size, exif_px, exif_source, item.photo)
    if camera.lens is not None:
        detections = seen_by_pinhole(detections, camera.lens)
    if options.checks:
        detections = _at_believable_distances(detections, camera.focal_px, source)
    center = camera.center_px or ((size[0] - 1) / 2, (size[1] - 1) / 2)
    more = {"keypoint_source": keypoint_source, "lens": camera.lens, "extrinsics": camera.extrinsics}
    return Frame(item.name, detections, size, camera.focal_px, source, center, item.photo, **more)


def _detected(item: FitInput, detector: str) -> Detections:
    """Keypoints of a photo that has no file of them."""
    from bodyfit.data.detect.photos import (
        detect_photo,
        shared_detector,
    )  # import PyTorch, which reading alone can spare

    found = shared_detector(detector)
    if found is None:
        raise KeypointError(
            f"{item.photo}: no keypoint file beside it or in keypoints/, and no detector is to be used. "
            "Leave out --detector none, or run a detector such as OpenPose."
        )
    return detect_photo(found, item.photo)


def _camera(
    options: CameraOptions,
    size: tuple[int, int],
    exif_px: float | None,
    exif_source: str | None,
    photo: Path | None,
) -> tuple[Intrinsics, str]:
    if options.camera is not None:
        camera = read_camera(options.camera, options.camera_name, photo).for_size(size)
        return camera, f"camera file {options.camera.name}"
    if options.focal is not None:
        return Intrinsics(parse_focal(options.focal, size)), f"given as {options.focal}"
    if exif_px is not None:
        return Intrinsics(exif_px), exif_source or "EXIF"
    return Intrinsics(math.hypot(*size)), GUESSED_FOCAL


GUESSED_FOCAL = "image diagonal"
"""The `focal_source` of focal lengths that nobody gave."""


def seen_by_pinhole(detections: Detections, lens: Lens) -> Detections:
    """The same people as an ideal pinhole camera would have seen them; what no lens explains is unseen."""
    seen = detections.confidence > 0
    xy, confidence = detections.xy.copy(), detections.confidence.copy()
    xy[seen] = lens.undistorted(xy[seen])
    lost = seen & ~np.isfinite(xy).all(axis=-1)
    if lost.any():
        log.warning("%s: %d points lie where the lens distortion has no inverse; unseen", detections.source, lost.sum())
    xy[lost], confidence[lost] = 0, 0
    return replace(detections, xy=xy, confidence=confidence)


NEAREST_M, FARTHEST_M = 0.3, 1000.0
"""Metres between which people are believed to stand from a camera of known focal length."""
_NEAREST_GUESSED_M = 0.1
"""The same where the focal length is but a guess: a face that fills the picture was taken with a wider lens."""


def _at_believable_distances(detections: Detections, focal_px: float, source: str) -> Detections:
    """The same, with a problem for everyone whom this focal length puts where nobody can have been photographed."""
    problems = list(detections.problems)
    for i, problem in enumerate(problems):
        metre_px = pixels_per_metre(detections.xy[i], detections.confidence[i])
        if problem is not None or metre_px is None:
            continue
        distance = focal_px / metre_px
        nearest = _NEAREST_GUESSED_M if source == GUESSED_FOCAL else NEAREST_M
        if not nearest < distance < FARTHEST_M:
            problems[i] = (
                f"a focal length of {focal_px:.4g} px ({source}) puts this person {distance:.2g} m from the camera. Is "
                "it in pixels of this photo? Say --focal 35mm, 1500px or 60deg, or --no-checks"
            )
    return replace(detections, problems=tuple(problems))


def _number(value: Any) -> float:
    """As a float; NaN for what is no number, words that look like one included."""
    try:
        return math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return math.nan


def _size_in_memory(name: str, image: ArrayLike | None, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """(width, height) of an image, or as given."""
    if isinstance(image, str | Path):
        raise BodyfitError(f"{name}: image is the path '{image}'. Expected pixels; Frame.from_files reads photos.")
    if image is None and image_size is None:
        raise BodyfitError(f"{name}: give the image, or image_size=(width, height) in pixels.")
    size = None
    if image_size is not None:
        numbers = np.asarray(image_size)
        if numbers.shape != (2,) or numbers.dtype.kind not in "iu" or not (numbers > 0).all():
            raise BodyfitError(
                f"{name}: image_size is {image_size!r}. Expected (width, height), positive, in whole pixels."
            )
        size = int(numbers[0]), int(numbers[1])
    if image is None:
        return size
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise BodyfitError(
            f"{name}: image has shape {pixels.shape} and dtype {pixels.dtype}. Expected (H, W, 3) uint8, RGB."
        )
    if size not in (None, (pixels.shape[1], pixels.shape[0])):
        raise BodyfitError(
            f"{name}: image_size is {size}, but the image has {pixels.shape[1]} x {pixels.shape[0]} pixels."
        )
    return pixels.shape[1], pixels.shape[0]


def _extent(detections: Detections) -> tuple[int, int]:
    """The smallest image that holds all points seen."""
    seen = detections.xy[detections.confidence > 0]
    if not len(seen):
        return 1, 1
    width, height = np.ceil(seen.max(axis=0)).astype(int) + 1
    log.info("%s: image size taken from the keypoints: %d x %d px", detections.source, width, height)
    return max(int(width), 1), max(int(height), 1)
