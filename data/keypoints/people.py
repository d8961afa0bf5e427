"""What every reader of keypoint files makes: people by image, each a list of blocks of points with their table."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.formats import KeypointFormat


class KeypointError(BodyfitError):
    """A keypoint file that cannot be used."""


Block = tuple[KeypointFormat, np.ndarray]
"""A part's table and its points, (n, 3): x, y and score as the file has them."""

Person = list[Block]
"""The blocks of one person; the first is the body. Empty: the file lists a person without any points."""

ONLY_IMAGE = ""
"""The key of the one image of files that do not name it."""


@dataclass(frozen=True)
class ImagePeople:
    """The people of one image in a keypoint file."""

    people: list[Person] = field(default_factory=list)
    size: tuple[int, int] | None = None
    """(width, height) that the coordinates are for, where the file says so."""
    ids: list[int | None] = field(default_factory=list)
    """Tracking number of each person; empty or None where the file has none."""
    unit: Literal["px", "shares", None] = None
    """Pixels, shares of the image's width and height, or None where the numbers themselves have to tell."""
    detector: str = ""
    """The program that found them, where the file says so."""
    extent: tuple[int, int] | None = None
    """(width, height) that hold the points of all images of the file, px; for images of which nothing says the size."""
