"""What a detector is: a function from a picture to the people in it; and the one that ships with the package."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from bodyfit.data.detect.bodies import Bodies, BodyOptions, first_regions, read_bodies
from bodyfit.data.detect.combine import combined_body
from bodyfit.data.detect.crops import Picture
from bodyfit.data.detect.details import add_faces, add_hands
from bodyfit.data.detect.faces import FaceOptions
from bodyfit.data.detect.hands import HandOptions
from bodyfit.data.detect.network import Network
from bodyfit.data.detect.people import HIPS, People, SearchOptions, find_people, follow_people, sides_to_follow, size_of
from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.detections import Detections

MIN_CONFIDENCE = 0.05
"""Points below count as unseen."""


class Detector(Protocol):
    """Finds people in pictures."""

    name: str
    """For messages and results."""

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Detections:
        """Everybody in an upright RGB picture, the largest first. Safe to call from several threads."""
        ...


@dataclass(frozen=True)
class DetectorOptions:
    """What the detector that ships looks for, and how closely."""

    search: SearchOptions = field(default_factory=SearchOptions)
    body: BodyOptions = field(default_factory=BodyOptions)
    hand: HandOptions = field(default_factory=HandOptions)
    face: FaceOptions = field(default_factory=FaceOptions)
    min_presence: float = 0.05
    """People for whom the body network gives a lower presence are dropped as false detections."""


@dataclass(frozen=True, eq=False)
class Sighting:
    """What the networks say of the N people in one picture, in any order."""

    people: People
    bodies: Bodies
    xy: Float[np.ndarray, "N 144 2"]
    """Pixels, in `LANDMARK_NAMES` order; 0 where unseen."""
    confidence: Float[np.ndarray, "N 144"]
    sides: Int[np.ndarray, " N"]
    """Longer sides of the picture, pixels, that suffice to see each of them."""
    count: int
    """How many people, true or false ones, may be seen in the smallest picture: if more are, somebody is new."""


class ShippedDetector:
    """MoveNet for people, BlazePose for feet, MediaPipe's networks for hands and faces; all among the assets."""

    name = "movenet+mediapipe"

    def __init__(self, options: DetectorOptions | None = None, device: torch.device | str = "cpu"):
        """Load the networks. Raises BodyfitError if one is missing from the installation."""
        self.options = options or DetectorOptions()
        self.device = torch.device(device)
        names = ("movenet_multipose", "pose_landmark", "hand_landmark", "face_landmark")
        assets = Path(str(resources.files("bodyfit.data") / "assets" / "detector"))
        self._people, self._body, self._hand, self._face = (
            Network(assets / f"{name}.safetensors", self.device) for name in names
        )

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Detections:
        """Everybody in an upright RGB picture, the largest first. Raises BodyfitError if it is no RGB picture."""
        picture = opened(image)
        return self.detections(self.search(picture), picture)

    def people(self, picture: Picture) -> People:
        """Everybody's 17 points, from the first network alone; false detections are not sorted out yet."""
        return find_people(self._people, picture, self.options.search, self.device)[0]

    def search(self, picture: Picture) -> Sighting:
        """Everybody in a picture of which nothing is known."""
        o = self.options
        people, looks = find_people(self._people, picture, o.search, self.device)
        bodies = read_bodies(self._body, picture, first_regions(people), o.body, self.device, o.body.looks)
        present = np.flatnonzero(bodies.presence >= o.min_presence)
        people, bodies = people[present], bodies[present]
        xy, confidence = self._points(picture, people, bodies, None)
        return Sighting(people, bodies, xy, confidence, *sides_to_follow(looks, people, o.search))

    def follow(self, picture: Picture, before: Sighting) -> Sighting | None:
        """The people of the picture `before`, in the same order; None if somebody is gone, unsure or new."""
        o = self.options
        last, sides, count = before.people, before.sides, before.count
        people = follow_people(self._people, picture, last, sides, count, o.search, self.device)
        if people is None:
            return None
        moved = (people.xy - last.xy)[:, HIPS].mean(axis=1)
        regions = replace(before.bodies.regions, center=before.bodies.regions.center + moved)
        bodies = read_bodies(self._body, picture, regions, o.body, self.device, looks=1)
        if (bodies.presence < o.min_presence).any():
            return None
        xy, confidence = self._points(picture, people, bodies, (before.xy, before.confidence))
        return Sighting(people, bodies, xy, confidence, sides, count)

    def _points(
        self, picture: Picture, people: People, bodies: Bodies, before: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[Float[np.ndarray, "N 144 2"], Float[np.ndarray, "N 144"]]:
        """Points and confidences of both body networks put together, with hands and faces."""
        o = self.options
        xy, confidence = combined_body(people, bodies)
        add_hands(xy, confidence, bodies, picture, self._hand, o.hand, self.device, before)
        add_faces(xy, confidence, bodies, picture, self._face, o.face, self.device)
        unseen = confidence < MIN_CONFIDENCE
        xy[unseen], confidence[unseen] = 0.0, 0.0
        return xy, confidence

    def detections(self, found: Sighting, picture: Picture) -> Detections:
        """As detectors give them, the largest person first."""
        order = np.argsort(-size_of(found.people.xy, found.people.confidence), kind="stable")
        return Detections.from_points(
            found.xy[order], found.confidence[order], format=self.name, source=Path(), image_size=picture.size
        )


def opened(image: UInt8[np.ndarray, "H W 3"]) -> Picture:
    """A picture to look at. Raises BodyfitError if it is no RGB picture."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise BodyfitError(f"a picture of shape {image.shape}, {image.dtype}; expected (height, width, 3), uint8 RGB.")
    return Picture(image)
