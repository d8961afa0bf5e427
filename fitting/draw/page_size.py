"""How large pictures to look at are: as large as the photo, up to a bound that keeps the memory of drawing small."""

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image

MAX_PIXELS = 16_000_000
"""Drawing takes about 35 bytes per pixel."""


def viewing_scale(width: int, height: int) -> float:
    """What a picture of this size, px, is shrunk by before it is drawn on: 1 for most photos."""
    return min(1.0, math.sqrt(MAX_PIXELS / (width * height)))


def shrunk_size(width: int, height: int) -> tuple[int, int]:
    """(width, height), px, of the picture that is drawn on."""
    scale = viewing_scale(width, height)
    return min(max(1, round(width * scale)), MAX_PIXELS), min(max(1, round(height * scale)), MAX_PIXELS)


def blank_page(width: int, height: int, grey: int = 235) -> UInt8[np.ndarray, "H W 3"]:
    """A page in the place of a photo of this size, shrunk as `viewing_scale` says."""
    page_width, page_height = shrunk_size(width, height)
    return np.full((page_height, page_width, 3), grey, dtype=np.uint8)


def shrunk(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """A photo, shrunk as `viewing_scale` says; the same array where nothing has to be."""
    size = shrunk_size(image.shape[1], image.shape[0])
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def shrunk_camera(
    focal_px: float, center_px: tuple[float, float], width: int, height: int
) -> tuple[float, tuple[float, float]]:
    """The camera of the shrunk picture; pixel (0, 0) is the centre of the top-left pixel."""
    scale = viewing_scale(width, height)
    return focal_px * scale, (float((center_px[0] + 0.5) * scale - 0.5), float((center_px[1] + 0.5) * scale - 0.5))
