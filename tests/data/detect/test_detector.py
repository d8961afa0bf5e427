"""The detector that ships, run for real on the sample photos."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bodyfit.data.detect.choose import load_detector
from bodyfit.data.detect.detector import ShippedDetector
from bodyfit.data.detect.photos import detect_photo, detect_photos
from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.detections import Detections, read_keypoints
from bodyfit.data.landmarks import FACE, LANDMARK_INDEX, LEFT_HAND, MIRRORED, RIGHT_HAND
from bodyfit.data.photo.photo import PhotoError, read_photo

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"
PHOTOS = {"two_people": 2, "balance_front": 2, "balance_back": 1, "portrait": 1}


@pytest.fixture(scope="module")
def detector() -> ShippedDetector:
    return ShippedDetector()


@pytest.fixture(scope="module")
def found(detector) -> dict[str, Detections]:
    return {name: detect_photo(detector, SAMPLES / "images" / f"{name}.jpg") for name in PHOTOS}


def gaps(truth: Detections, i: int, found: Detections, j: int) -> np.ndarray:
    """Distances of body points that both see, as shares of the person's size."""
    names = ("nose", "neck", *(f"{s}_{n}" for s in ("left", "right") for n in ("shoulder", "elbow", "wrist", "hip")))
    points = [LANDMARK_INDEX[name] for name in names]
    points = [p for p in points if truth.confidence[i, p] > 0.3 and found.confidence[j, p] > 0.3]
    seen = truth.confidence[i] > 0.1
    size = np.ptp(truth.xy[i, seen], axis=0).max()
    return np.linalg.norm(truth.xy[i, points] - found.xy[j, points], axis=1) / size


@pytest.mark.parametrize("name", PHOTOS)
def test_everybody_is_found_and_nobody_invented(found, name):
    assert len(found[name]) == PHOTOS[name] and found[name].problems == (None,) * PHOTOS[name]


@pytest.mark.parametrize("name", PHOTOS)
def test_points_are_where_another_detector_put_them(found, name):
    """Every person of the keypoint files, in the median within 4 % of the person's size."""
    truth = read_keypoints(SAMPLES / "keypoints" / f"{name}_keypoints.json")
    for i in range(len(truth)):
        assert min(np.median(gaps(truth, i, found[name], j)) for j in range(len(found[name]))) < 0.04


def test_the_walking_woman_has_hands_and_the_astronaut_a_face(found):
    woman, astronaut = found["two_people"], found["portrait"]
    for hand in (LEFT_HAND, RIGHT_HAND):
        assert (woman.confidence[0, list(hand)] > 0.3).any() or (woman.confidence[1, list(hand)] > 0.3).any()
    truth = read_keypoints(SAMPLES / "keypoints" / "portrait_keypoints.json")
    face = [p for p in FACE if truth.confidence[0, p] > 0.1]
    size = np.ptp(truth.xy[0, truth.confidence[0] > 0.1], axis=0).max()
    assert np.median(np.linalg.norm(truth.xy[0, face] - astronaut.xy[0, face], axis=1)) < 0.01 * size


def test_a_head_seen_from_behind_has_no_face(found):
    assert not found["balance_back"].confidence[0, list(FACE)].any()


def test_left_is_right_in_the_mirror(detector, found):
    """Hands too: they are named by the arm that they hang on."""
    image = read_photo(SAMPLES / "images" / "two_people.jpg").image
    mirrored = detector(np.ascontiguousarray(image[:, ::-1]))
    xy = mirrored.xy[:, MIRRORED] * (-1, 1) + (image.shape[1] - 1, 0)
    turned = replace(mirrored, xy=xy, confidence=mirrored.confidence[:, MIRRORED])
    for i in range(2):
        assert min(np.median(gaps(found["two_people"], i, turned, j)) for j in range(2)) < 0.02


def test_points_scale_with_the_photo(detector, found):
    """Half as large a photo gives the same points, within 2 % of a person, at half the coordinates."""
    image = read_photo(SAMPLES / "images" / "balance_front.jpg").image
    half = detector(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    back = replace(half, xy=half.xy * 2 + 0.5)
    assert np.median(gaps(found["balance_front"], 0, back, 0)) < 0.02


@pytest.mark.parametrize("picture", ["flat", "noise"])
def test_nobody_is_found_where_there_is_nobody(detector, picture):
    image = np.full((480, 640, 3), 100, np.uint8)
    if picture == "noise":
        image = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    assert len(detector(image)) == 0


@pytest.mark.parametrize("kind", ["L", "CMYK", "RGBA", "P", "I;16"])
def test_photos_of_every_kind(detector, tmp_path, kind):
    photo = Image.open(SAMPLES / "images" / "portrait.jpg")
    if kind == "I;16":
        photo = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    else:
        photo = photo.convert(kind)
    path = tmp_path / ("photo.tif" if kind == "CMYK" else "photo.png")
    photo.save(path)
    assert len(detect_photo(detector, path)) == 1


def test_a_photo_that_cannot_be_used_costs_only_itself(detector, tmp_path):
    (tmp_path / "broken.jpg").write_bytes((SAMPLES / "images" / "portrait.jpg").read_bytes()[:5000])
    Image.new("RGB", (10, 10)).save(tmp_path / "tiny.png")
    good = SAMPLES / "images" / "balance_back.jpg"
    paths = [tmp_path / "broken.jpg", good, tmp_path / "tiny.png", tmp_path / "missing.jpg"]
    results = list(detect_photos(detector, paths, workers=2))
    assert [path for path, _ in results] == paths
    assert len(results[1][1]) == 1 and results[1][1].source == good
    for n, words in ((0, "broken.jpg: the image cannot be decoded"), (2, "10 x 10 pixels"), (3, "no such photo")):
        assert isinstance(results[n][1], PhotoError) and words in str(results[n][1])


def test_side_by_side_finds_the_same(detector, found):
    """Several threads share one detector; each must get its own photo's people."""
    paths = [SAMPLES / "images" / f"{name}.jpg" for name in PHOTOS]
    for path, people in detect_photos(detector, paths, workers=3):
        assert len(people) == len(found[path.stem])
        assert all(np.median(gaps(people, i, found[path.stem], i)) < 0.005 for i in range(len(people)))


def test_names_of_detectors(tmp_path):
    assert load_detector("none") is None
    assert load_detector("auto").name == load_detector("builtin").name == "movenet+mediapipe"
    with pytest.raises(BodyfitError, match="no such detector"):
        load_detector("openpose")
    with pytest.raises(BodyfitError, match="no such file"):
        load_detector(str(tmp_path / "rtmw.onnx"))


def test_a_picture_that_is_none_is_refused(detector):
    with pytest.raises(BodyfitError, match="uint8 RGB"):
        detector(np.zeros((100, 100)))
