"""The detector that ships, on the frames of a video: between full searches, people are followed from frame to frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from bodyfit.data.detect.crops import Picture
from bodyfit.data.detect.detector import ShippedDetector, Sighting, opened
from bodyfit.data.keypoints.detections import Detections

CUT = 24.0
"""Mean difference of the smallest copies of two pictures, of 255, from which on the second one is of another shot."""


class VideoDetector:
    """Looks at the frames of one video in order. For one thread; the networks may be shared by several.

    The first frame is searched as a photo is. In the following ones the whole picture is looked at in the smallest size
    only, and in the size that showed people best where they were; bodies are looked at once, and hands once where the
    wrists took them. A frame is searched in full as soon as somebody is gone, much less sure, or new, and after a cut.
    Who walks in and is too small for the smallest size is found by the next full search alone: make a new VideoDetector
    every few frames.
    """

    def __init__(self, detector: ShippedDetector):
        self.detector = detector
        self.name = detector.name
        self._last: Sighting | None = None
        self._thumbnail: np.ndarray | None = None

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Detections:
        """Everybody in the next frame, upright RGB, the largest first. Raises BodyfitError if it is no RGB picture."""
        picture = opened(image)
        if self._is_cut(picture):
            self._last = None
        found = None if self._last is None else self.detector.follow(picture, self._last)
        self._last = found if found is not None else self.detector.search(picture)
        return self.detector.detections(self._last, picture)

    def _is_cut(self, picture: Picture) -> bool:
        """Whether a picture is not of the same shot as the one before."""
        here, before = np.asarray(picture.levels[-1], np.float32), self._thumbnail
        self._thumbnail = here
        return before is not None and (before.shape != here.shape or float(np.abs(here - before).mean()) >= CUT)
