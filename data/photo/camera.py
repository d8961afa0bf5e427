"""What a photo's EXIF, a user or a camera file says about the camera: focal length and intrinsics."""

import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import ArrayFile, parse_json, read_bytes

log = logging.getLogger(__name__)

DIAGONAL_35MM = math.hypot(36.0, 24.0)
"""Millimetres; a 35 mm equivalent focal length gives the same diagonal angle of view on this frame (CIPA DCG-001)."""


class CameraError(BodyfitError):
    """A camera file or a focal length that cannot be used."""


# --- focal length ----------------------------------------------------------------------------------------------------


def focal_from_exif(image: Image.Image) -> tuple[float | None, str | None]:
    """Focal length in pixels of the image as stored (turning it upright changes nothing), and where it comes from.

    The 35 mm equivalent comes first; it is stated for the picture's diagonal. Else the lens' millimetres and the
    sensor's pixels per millimetre, which cameras state for the width of the picture as taken. (None, None) if neither
    is there or what is there cannot be true.
    """
    exif = image.getexif()
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    width, height = image.size
    diagonal = math.hypot(width, height)
    equivalent = _positive(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    if equivalent:
        focal_px, source = equivalent / DIAGONAL_35MM * diagonal, f"EXIF, {equivalent:g} mm in 35 mm film"
    else:
        lens_mm = _positive(tags.get(ExifTags.Base.FocalLength))
        per_mm = _sensor_pixels_per_mm(tags)
        if not (lens_mm and per_mm):
            return None, None
        taken_width = _positive(tags.get(ExifTags.Base.ExifImageWidth)) or width
        focal_px = lens_mm * per_mm * width / taken_width
        source = f"EXIF, {lens_mm:g} mm lens, {per_mm:.4g} pixels per mm"
    if not 0.2 * diagonal < focal_px < 50 * diagonal:
        log.info("EXIF focal length of %.0f px for an image of %d x %d is not believed", focal_px, width, height)
        return None, None
    return focal_px, source


def _sensor_pixels_per_mm(tags: dict[int, object]) -> float | None:
    resolution = _positive(tags.get(ExifTags.Base.FocalPlaneXResolution))
    unit_mm = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
    return resolution / unit_mm if resolution and unit_mm else None


def _positive(value: object) -> float | None:
    """A tag as a number; cameras write 0 for unknown, and fractions with a zero denominator exist."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def parse_focal(text: str, image_size: tuple[int, int]) -> float:
    """A focal length as users write it, in pixels of an image of (width, height).

    "1500" or "1500px": pixels. "35mm": 35 mm equivalent, by the diagonal. "4.2mm/6.2mm": the lens' focal length and the
    length of the sensor's longer side. "60deg": angle of view across the image's width.

    Raises:
        CameraError: for anything else.
    """
    width, height = image_size
    number = r"([0-9]*\.?[0-9]+(?:e[0-9]+)?)"
    found = re.fullmatch(rf"{number}(px|mm|deg)?(?:/{number}mm)?", text.strip().lower().replace(" ", ""))
    value = float(found[1]) if found else 0.0
    unit, sensor_mm = (found[2] or "px", found[3] and float(found[3])) if found else ("", None)
    if not value < 1e9 or (sensor_mm is not None and not 1e-3 < sensor_mm < 1e6):
        value = 0.0  # beyond any camera
    if value > 0 and unit == "px" and sensor_mm is None:
        return value
    if value > 0 and unit == "mm" and sensor_mm is None:
        return value / DIAGONAL_35MM * math.hypot(width, height)
    if value > 0 and unit == "mm" and sensor_mm:
        return value / sensor_mm * max(width, height)
    if unit == "deg" and sensor_mm is None and 0 < value < 180:
        return width / 2 / math.tan(math.radians(value) / 2)
    raise CameraError(
        f"focal length '{text:.100}' is not understood. Expected pixels (1500), 35 mm equivalent (35mm), "
        "lens and longer sensor side (4.2mm/6.2mm) or the horizontal angle of view (60deg)."
    )


# --- camera files ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole intrinsics in pixels; the centre of the top-left pixel is (0, 0)."""

    focal_px: float
    center_px: tuple[float, float] | None = None
    """None: the middle of the image."""
    image_size: tuple[int, int] | None = None
    """(width, height) that the numbers are for, where the file says so."""

    def for_size(self, image_size: tuple[int, int]) -> "Intrinsics":
        """The same camera for an image scaled to `image_size`; itself if the file did not say what it was made for."""
        if self.image_size in (None, image_size):
            return self
        scale = np.array(image_size) / self.image_size
        if abs(scale[0] / scale[1] - 1) > 0.01:
            raise CameraError(
                f"the camera is for images of {self.image_size}, which differ in shape from {image_size}."
            )
        center = self.center_px and tuple(float(c) for c in (np.array(self.center_px) + 0.5) * scale - 0.5)
        return Intrinsics(self.focal_px * float(scale[0]), center, image_size)


_MOST_BYTES = 16 * 1024**2
_MATRIX_KEYS = ("K", "camera_matrix", "intrinsics", "mtx")


def read_camera(path: Path | str) -> Intrinsics:
    """Intrinsics from a .json or .npz file.

    Either a 3 x 3 matrix (the whole JSON, or under `K`, `camera_matrix`, `intrinsics` or `mtx`), or `focal` (one number
    or [fx, fy]) with an optional `center` [cx, cy], which may be called `focal_px` and `center_px` as in a result; and
    optionally `image_size` [width, height].

    Raises:
        CameraError: naming what was found and expected.
    """
    path = Path(path)
    content = {key.removesuffix("_px"): value for key, value in _camera_content(path).items()}
    matrix = next((content[key] for key in _MATRIX_KEYS if key in content), None)
    try:
        if matrix is not None:
            matrix = np.asarray(matrix, dtype=float)
            if matrix.shape != (3, 3) or not np.allclose(matrix[2], (0, 0, 1)) or not np.isfinite(matrix).all():
                raise ValueError(f"a camera matrix of shape {matrix.shape}")
            focal, center = np.diag(matrix)[:2], matrix[:2, 2]
        elif "focal" in content:
            focal = np.broadcast_to(np.asarray(content["focal"], dtype=float).ravel(), 2)
            center = np.asarray(content["center"], dtype=float).reshape(2) if "center" in content else None
        else:
            raise ValueError(f"{', '.join(content) or 'nothing'}")
        if not ((focal > 0) & (focal < 1e12)).all():
            raise ValueError(f"focal length {focal.tolist()}")
        size = content.get("image_size")
        size = None if size is None else tuple(int(n) for n in np.asarray(size).reshape(2))
        if size is not None and not all(0 < n <= 1_000_000 for n in size):
            raise ValueError(f"an image size of {size}")
        if center is not None and not np.isfinite(center).all():
            raise ValueError(f"a center of {center.tolist()}")
    except (TypeError, ValueError, OverflowError) as cause:
        raise CameraError(
            f"{path}: found {cause!s:.200}. Expected a 3 x 3 camera matrix 'K' with last row 0 0 1, or 'focal' and "
            "'center'."
        ) from cause
    if abs(focal[0] / focal[1] - 1) > 0.01:
        log.warning("%s: focal lengths %.1f and %.1f differ; their mean is used for both", path, *focal)
    return Intrinsics(float(focal.mean()), None if center is None else tuple(float(c) for c in center), size)


def _camera_content(path: Path) -> dict[str, object]:
    if path.suffix.lower() == ".npz":
        with ArrayFile(path, CameraError) as file:
            known = [*_MATRIX_KEYS, "focal", "focal_px", "center", "center_px", "image_size"]
            return {key: file.read(key) for key in known if key in file}
    content = read_bytes(path, CameraError, most=_MOST_BYTES)
    try:
        content = parse_json(content, str(path), CameraError)
    except CameraError as cause:
        raise CameraError(
            f"{path}: neither JSON nor .npz. Expected a camera matrix 'K', or 'focal' and 'center'."
        ) from cause
    return content if isinstance(content, dict) else {"K": content}
