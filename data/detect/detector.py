"""What a detector is: a function from a picture to the people in it; and the one that ships with the package."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import UInt8

from bodyfit.data.detect.bodies import BodyOptions, read_bodies
from bodyfit.data.detect.combine import combined_body
from bodyfit.data.detect.crops import Picture
from bodyfit.data.detect.details import add_faces, add_hands
from bodyfit.data.detect.faces import FaceOptions
from bodyfit.data.detect.hands import HandOptions
from bodyfit.data.detect.network import Network
from bodyfit.data.detect.people import People, SearchOptions, find_people, size_of
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
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise BodyfitError(
                f"a picture of shape {image.shape}, {image.dtype}; expected (height, width, 3), uint8 RGB."
            )
        picture, o = Picture(image), self.options
        people = self.people(picture)
        bodies = read_bodies(self._body, picture, people, o.body, self.device)
        present = np.flatnonzero(bodies.presence >= o.min_presence)
        people, bodies = people[present], bodies[present]
        xy, confidence = combined_body(people, bodies)
        add_hands(xy, confidence, bodies, picture, self._hand, o.hand, self.device)
        add_faces(xy, confidence, bodies, picture, self._face, o.face, self.device)
        unseen = confidence < MIN_CONFIDENCE
        xy[unseen], confidence[unseen] = 0.0, 0.0
        order = np.argsort(-size_of(people.xy, people.confidence), kind="stable")
        return Detections.from_points(
            xy[order], confidence[order], format=self.name, source=Path(), image_size=picture.size
        )

    def people(self, picture: Picture) -> People:
        """Everybody's 17 points, from the first network alone; false detections are not sorted out yet."""
        return find_people(self._people, picture, self.options.search, self.device)
