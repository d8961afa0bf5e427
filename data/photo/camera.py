"""Focal lengths from a photo's EXIF, or as users write them."""

import logging
import math
import re

from PIL import ExifTags, Image

from bodyfit.data.photo.camera_files import CameraError

log = logging.getLogger(__name__)

_LONGEST = 1e12

DIAGONAL_35MM = math.hypot(36.0, 24.0)
"""Millimetres; a 35 mm equivalent focal length gives the same diagonal angle of view on this frame (CIPA DCG-001)."""


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
    value = min(float(found[1]), _LONGEST) % _LONGEST if found else 0.0  # beyond any lens: not understood
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
