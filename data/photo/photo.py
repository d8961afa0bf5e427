"""Photos as upright RGB arrays, with the focal length that their EXIF states."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

from bodyfit.data.files import check_file
from bodyfit.data.photo.camera import focal_from_exif
from bodyfit.data.photo.errors import PhotoError
from bodyfit.data.photo.video import read_video_frame, split_frame, video_size

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""What is opened. Pillow knows more, and starts other programs for some: an EPS is run by Ghostscript."""
MAX_PIXELS = 105_000_000
"""Of the largest cameras' photos; they take 0.7 GB while they are read."""
MAX_BYTES = 1024**3


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as one looks at it: EXIF orientation applied, which is the frame that keypoints are in."""

    image: UInt8[np.ndarray, "H W 3"]
    """RGB."""
    focal_px: float | None
    """From EXIF; None where it says nothing usable."""
    focal_source: str | None
    path: Path

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]


def read_photo(path: Path | str) -> Photo:
    """Read a JPEG, PNG, WebP, BMP or TIFF as upright RGB, with the focal length of its EXIF.

    Frames of videos are photos, too: clip.mp4#000123 is frame 123 of clip.mp4, counted from 0.

    Raises:
        PhotoError: if it is missing, broken, cut off or no image.
    """
    if split_frame(path) is not None:
        return Photo(read_video_frame(path), None, None, Path(path))
    with _opened(path) as image:
        focal_px, source = focal_from_exif(image)
        ImageOps.exif_transpose(image, in_place=True)
        pixels = _pixels(image)
    return Photo(pixels, focal_px, source, Path(path))


@dataclass(frozen=True)
class PhotoHeader:
    """What a photo says of itself besides its pixels."""

    size: tuple[int, int]
    """(width, height) of the upright photo, px."""
    focal_px: float | None
    """From EXIF; None where it says nothing usable."""
    focal_source: str | None
    orientation: int = 1
    """EXIF's number of how the stored picture has to be turned to stand upright; 1: not at all."""


def read_photo_header(path: Path | str, *, whole: bool = False) -> PhotoHeader:
    """Size and focal length of a photo, without keeping its pixels.

    Args:
        path: the photo.
        whole: also make sure that all of its pixels are there. JPEGs are decoded at an eighth of their size for that.

    Raises:
        PhotoError: as `read_photo` does; for pixels that are cut off only if `whole`.
    """
    if split_frame(path) is not None:
        if whole:
            read_video_frame(path)
        return PhotoHeader(video_size(path), None, None)
    with _opened(path) as image:
        focal_px, source = focal_from_exif(image)
        size = _upright_size(image)
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        if whole:
            image.draft(None, (image.width // 8, image.height // 8))
            image.load()
    return PhotoHeader(size, focal_px, source, orientation if orientation in range(2, 9) else 1)


def photo_size(path: Path | str) -> tuple[int, int]:
    """(width, height) of the upright photo, from its header alone. Raises PhotoError as `read_photo` does."""
    if split_frame(path) is not None:
        return video_size(path)
    with _opened(path) as image:
        return _upright_size(image)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    lying = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    already_upright = image.format == "TIFF"  # the one format whose size Pillow turns by itself
    return (height, width) if lying and not already_upright else (width, height)


@contextmanager
def _opened(path: Path | str) -> Iterator[Image.Image]:
    """The image, not decoded yet; whatever goes wrong while it is open becomes a PhotoError."""
    if not os.path.exists(path):
        raise PhotoError(f"{path}: no such photo.")
    check_file(path, PhotoError, most=MAX_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit comes below
            image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as cause:
        raise PhotoError(f"{path}: the image is too large ({cause}).") from cause
    except Exception as cause:  # Pillow's parsers raise many kinds on broken headers
        raise PhotoError(f"{path}: not an image that can be read. Expected JPEG, PNG, WebP, BMP or TIFF.") from cause
    with image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise PhotoError(
                f"{path}: the image is too large ({width} x {height} px). Expected at most {MAX_PIXELS / 1e6:.0f} "
                "million pixels; make it smaller, and its keypoints with it."
            )
        try:
            yield image
        except Exception as cause:  # and as many on broken pixels and EXIF
            raise PhotoError(f"{path}: the image cannot be decoded ({cause}). Is the file complete?") from cause


def _pixels(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    """RGB, converted strip by strip: whole copies of a large photo take more memory than the photo."""
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, _STRIP):
        strip = image.crop((0, top, width, min(top + _STRIP, height)))
        pixels[top : top + _STRIP] = np.asarray(_to_8_bit(strip).convert("RGB"))
    return pixels


_STRIP = 512


def _to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit grey images scaled, not clipped as Pillow's own conversion does."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image, dtype=np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    return image
