"""Made-up people seen by calibrated cameras, for tests of matching and triangulation: exact geometry, no detector."""

from pathlib import Path

import numpy as np

from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.landmarks import BODY, LANDMARK_NAMES
from bodyfit.data.photo.intrinsics import Extrinsics
from bodyfit.fitting.solve.frames import Frame

SIZE, FOCAL = (1280, 960), 1000.0
_SHAPE = np.random.default_rng(5).normal(size=(len(LANDMARK_NAMES), 3)) * (0.2, 0.45, 0.15)


def place(angle, distance=4.5, height=0.5):
    """A camera that looks at the origin; y is up."""
    stands = np.array([distance * np.sin(angle), height, distance * np.cos(angle)])
    forward = -stands / np.linalg.norm(stands)
    right = np.cross(forward, (0, 1, 0))
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return Extrinsics(tuple(map(tuple, rotation.tolist())), tuple((-rotation @ stands).tolist()))


def person(at, turned=0.0):
    """Points of a made-up body, (144, 3)."""
    c, s = np.cos(turned), np.sin(turned)
    return _SHAPE @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) + at


def project(points, extrinsics):
    there = points @ np.array(extrinsics.rotation).T + extrinsics.translation
    return there[:, :2] / there[:, 2:] * FOCAL + ((SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2)


def frame(name, people, extrinsics, noise_px=0.0, seed=0):
    """What a camera's detector makes of some people: their body points, in this order."""
    draw, xy = np.random.default_rng(seed), np.zeros((len(people), len(LANDMARK_NAMES), 2))
    confidence = np.zeros(xy.shape[:2])
    for n, points in enumerate(people):
        seen = project(points, extrinsics) + noise_px * draw.normal(size=(len(points), 2))
        xy[n, list(BODY)], confidence[n, list(BODY)] = seen[list(BODY)], 0.9
    found = Detections.from_points(xy, confidence, format="made up", source=Path(name))
    center = ((SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2)
    return Frame(name, found, SIZE, FOCAL, "given", center, extrinsics=extrinsics)
