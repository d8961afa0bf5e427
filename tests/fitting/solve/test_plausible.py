"""Nonsense is called implausible, with a reason to act on; people are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bodyfit.data.landmarks import BODY
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.plausible import why_implausible

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"


@pytest.fixture(scope="module")
def fitter() -> Fitter:
    return Fitter()


@pytest.fixture(scope="module")
def frame() -> Frame:
    name = "two_people"
    return Frame.from_files(SAMPLES / "images" / f"{name}.jpg", SAMPLES / "keypoints" / f"{name}_keypoints.json")


@pytest.fixture(scope="module")
def person(fitter, frame):
    return fitter.fit([frame])[0]


def _moved(xy: np.ndarray, frame: Frame) -> np.ndarray:
    """1e9 px to the right and down."""
    return xy + 1e9


def _identical(xy: np.ndarray, frame: Frame) -> np.ndarray:
    return np.full_like(xy, 300.0)


def _random(xy: np.ndarray, frame: Frame) -> np.ndarray:
    return np.random.default_rng(1).random(xy.shape) * frame.image_size


def _huge(xy: np.ndarray, frame: Frame) -> np.ndarray:
    """A person of 100 000 px."""
    return (xy - xy[:1].mean(axis=1)) * 1e5 / np.ptp(xy[0, list(BODY)], axis=0).max()


def _normalised(xy: np.ndarray, frame: Frame) -> np.ndarray:
    """0 to 1 in place of pixels."""
    return xy / frame.image_size


@pytest.mark.parametrize("change", [_moved, _identical, _random, _huge, _normalised])
def test_keypoints_that_nobody_explains(fitter, frame, change):
    detections = frame.detections
    seen = detections.confidence[..., None] > 0
    nonsense = replace(detections, xy=np.where(seen, change(detections.xy, frame), 0.0))
    for result in fitter.fit([replace(frame, detections=nonsense)]):
        assert result.status == "implausible" and len(result.reason) > 40


def test_a_focal_length_that_puts_people_out_of_sight(fitter, frame):
    (result, *_) = fitter.fit([replace(frame, focal_px=1e6)])
    assert result.status == "implausible" and "focal length (1000000 px" in result.reason


def test_people_are_plausible_also_with_noise_and_a_guessed_focal_length(fitter, frame):
    detections, draw = frame.detections, np.random.default_rng(0)
    size = np.ptp(detections.xy[0, list(BODY)], axis=0).max()
    noisy = replace(detections, xy=detections.xy + 0.03 * size * draw.normal(size=detections.xy.shape))
    frames = [replace(frame, focal_px=factor * frame.focal_px) for factor in (0.4, 1.0, 8.0)]
    frames += [replace(frame, detections=noisy)]
    assert {result.status for result in fitter.fit(frames)} <= {"converged", "max_iterations"}


def test_each_bound(person):
    """Results on either side of each bound."""
    assert why_implausible(person) is None
    size = np.ptp(person.keypoints_px[person.keypoint_confidence > 0.1], axis=0).max()

    def off(share: float, every: int = 1) -> np.ndarray:
        away = np.zeros((144, 2))
        away[::every, 0] = share * size
        return person.keypoints_px + away

    def deep(z: float) -> np.ndarray:
        return person.landmarks + np.array([0, 0, z - person.landmarks[0, 2]])

    for changes, plausible in (
        ({"landmarks_px": off(0.14)}, True),
        ({"landmarks_px": off(0.16)}, False),
        ({"landmarks_px": off(0.5, every=5)}, True),
        ({"landmarks_px": off(0.5, every=2)}, False),
        ({"landmarks": deep(290.0)}, True),
        ({"landmarks": deep(310.0)}, False),
        ({"landmarks": deep(0.16)}, True),
        ({"landmarks": deep(0.14)}, False),
        ({"landmarks": deep(-2.0)}, False),
        ({"image_size": (60, 60)}, False),
    ):
        assert (why_implausible(replace(person, **changes)) is None) == plausible, changes.keys()
