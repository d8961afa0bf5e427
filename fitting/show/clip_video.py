"""Videos of a clip: bodies over its frames, beside the original, all cameras of a moment as a grid.

Every function yields the pictures of the moments one by one, so that memory does not grow with the clip.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.portraits import OverlayStyle, drawn_people

Picture = UInt8[np.ndarray, "H W 3"]

MOST_PIXELS_WIDE = 3840
"""Of a video; wider ones are made smaller, since players do not show them."""
_GAP_PX = 4


@dataclass(frozen=True)
class ClipStyle:
    """What a video of a clip shows."""

    overlay: OverlayStyle
    """How people are drawn."""
    people: Collection[str] = ()
    """Numbers of the people to draw; empty: everybody."""
    beside: bool = False
    """Whether the original is to the left of each picture."""
    cell_px: int | None = None
    """Height of one camera's pictures; None: as the video has them, or 360 in a grid."""
    backend: str = "auto"
    """What draws, as in `render_overlay`."""


def overlay_frames(
    clip: ClipFrames, cameras: Sequence[str], moments: Sequence[int], style: ClipStyle
) -> Iterator[Picture]:
    """The pictures of so many cameras at each moment: one of one camera, else a grid with the cameras' names.

    People of whom nothing was seen at a moment are pale. Where a camera has no frame, or nobody is in it, its picture
    is without a body: that of the moment before, where it has none.
    """
    cells = [_Cell(clip, camera, style, len(cameras) > 1) for camera in cameras]
    for moment in moments:
        yield _grid([cell.at(moment) for cell in cells])


class _Cell:
    """The pictures of one camera, all of one size."""

    def __init__(self, clip: ClipFrames, camera: str, style: ClipStyle, in_grid: bool):
        self._clip, self._style, self._frames = clip, style, clip.index.of_camera(camera)
        self._label = camera if in_grid else ""
        self._last = clip.blank(camera)
        height, width = self._last.shape[:2]
        high = style.cell_px or (360 if in_grid else height)
        high = min(high, max(1, MOST_PIXELS_WIDE * height // (width * (2 if style.beside else 1))))
        self._size = (max(1, round(width * high / height)), high)

    def at(self, moment: int) -> Picture:
        frame = self._frames.get(moment)
        photo = None if frame is None else self._clip.photo(frame)
        shown = [] if frame is None else self._clip.shown(frame, self._style.people)
        if photo is not None:
            self._last = photo
        elif shown:  # the video is gone: bodies on grey
            width, height = shown[0][1].image_size
            self._last = np.full((height, width, 3), 200, dtype=np.uint8)
        drawn = drawn_people(self._last, shown, self._style.overlay, self._style.backend)
        pictures = [self._last, drawn] if self._style.beside else [drawn]
        picture = np.hstack([_resized(one, self._size) for one in pictures])
        return _labelled(picture, self._label) if self._label else picture


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))


def _labelled(picture: Picture, text: str) -> Picture:
    """A few words at the top left, on a dark ground."""
    image, size = Image.fromarray(picture), max(11, picture.shape[0] // 24)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    draw.rectangle((0, 0, draw.textlength(text, font=font) + size, 1.6 * size), fill=(27, 31, 36))
    draw.text((size / 2, 0.25 * size), text, fill=(255, 255, 255), font=font)
    return np.asarray(image)


def _grid(pictures: list[Picture]) -> Picture:
    """Pictures in rows, as square as can be, each in the middle of its cell, on white."""
    if len(pictures) == 1:
        return pictures[0]
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    high, wide = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    sheet = np.full((rows * (high + _GAP_PX) - _GAP_PX, columns * (wide + _GAP_PX) - _GAP_PX, 3), 255, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        top = row * (high + _GAP_PX) + (high - picture.shape[0]) // 2
        left = column * (wide + _GAP_PX) + (wide - picture.shape[1]) // 2
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet
