"""Cuts in a film: where a picture differs from the one before it as no motion makes it differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

_THUMBNAIL = (32, 24)
"""(width, height), px: what is compared. Motion of people hardly shows at this size."""
LEAST = 24.0
"""Mean difference of a cut, of 255, at least ..."""
SUDDEN = 4.0
"""... and in relation to the median difference of the frames around it."""
_AROUND = 12
"""Frames on each side that count as around."""


class CutFinder:
    """Takes the frames of a film in order and says where it was cut. Keeps a thumbnail of the last two frames only."""

    def __init__(self) -> None:
        self._last: list[np.ndarray] = []
        self._from_last: list[float] = []
        self._from_second_last: list[float] = []

    def add(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """The next frame."""
        here = thumbnail(image)
        gaps = [float(np.abs(here - before).mean()) for before in self._last[::-1]]
        self._from_last.append(gaps[0] if gaps else 0.0)
        self._from_second_last.append(gaps[1] if len(gaps) > 1 else 0.0)
        self._last = [*self._last[-1:], here]

    def cuts(self) -> list[int]:
        """Numbers of the frames that begin a new shot, counted from the first frame added."""
        return find_cuts(self._from_last, self._from_second_last)


def thumbnail(image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w 3"]:
    """A frame as it is compared."""
    small = Image.fromarray(image).resize(_THUMBNAIL, Image.Resampling.BOX, reducing_gap=None)
    return np.asarray(small, dtype=np.float32)


def find_cuts(from_last: Sequence[float], from_second_last: Sequence[float]) -> list[int]:
    """Cuts from the differences of each frame to the last one and to the one before that.

    A flash is none: the frame after it is like the one before it.
    """
    one, two = np.asarray(from_last), np.asarray(from_second_last)
    found = []
    for n in np.flatnonzero(one >= LEAST):
        around = np.concatenate([one[max(n - _AROUND, 1) : n], one[n + 1 : n + 1 + _AROUND]])
        usual = float(np.median(around)) if len(around) else 0.0
        flash = (n + 1 < len(two) and two[n + 1] < LEAST) or (n > 1 and two[n] < LEAST)
        if one[n] > SUDDEN * usual and not flash:
            found.append(int(n))
    return found
