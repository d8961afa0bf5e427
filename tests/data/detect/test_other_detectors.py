"""Detectors that are not included: what they give is read right, and what they lack is said. Stand-ins play them."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bodyfit.data.detect.choose import load_detector
from bodyfit.data.detect.crops import Picture
from bodyfit.data.detect.detector import ShippedDetector
from bodyfit.data.detect.people import box_of
from bodyfit.data.detect.wholebody import from_wholebody
from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.formats import COCO_WHOLEBODY_133
from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.data.photo.photo import read_photo

PHOTO = Path(__file__).parents[3] / "data" / "assets" / "samples" / "images" / "two_people.jpg"


def test_whole_body_points_go_by_their_names():
    """The wrist stands in body and hand: the surer of them counts."""
    index = COCO_WHOLEBODY_133.points.index
    points = np.arange(133 * 2, dtype=float).reshape(1, 133, 2) + 1
    scores = np.full((1, 133), 0.8)
    scores[0, index("left_knee")] = 0.2
    scores[0, 133 - 42] = 0.4  # the left hand's own wrist
    found = from_wholebody(points, scores, name="test", image_size=(640, 480))
    for name in ("left_wrist", "right_big_toe", "left_index2", "nose4"):
        np.testing.assert_allclose(found.xy[0, LANDMARK_INDEX[name]], points[0, index(name)])
    assert found.confidence[0, LANDMARK_INDEX["left_knee"]] == 0 and found.format == "test"


@pytest.mark.parametrize("shape", [(1, 17), (0, 133)])
def test_of_whole_bodies_alone_and_of_nobody(shape):
    points, scores = np.ones((*shape, 2)), np.ones(shape)
    if shape[0]:
        with pytest.raises(BodyfitError, match="whole-body"):
            from_wholebody(points, scores, name="test", image_size=(640, 480))
    else:
        assert len(from_wholebody(points, scores, name="test", image_size=(640, 480))) == 0


def test_rtmlib_gets_opencvs_order_of_colours(monkeypatch):
    seen = []

    def wholebody(**_):
        def run(image):
            seen.append(image)
            return np.ones((2, 133, 2)), np.full((2, 133), 0.9)

        return run

    monkeypatch.setitem(sys.modules, "rtmlib", SimpleNamespace(Wholebody=wholebody))
    image = np.zeros((40, 50, 3), np.uint8)
    image[..., 0] = 200
    found = load_detector("rtmlib")(image)
    assert len(found) == 2 and found.format == "rtmlib" and found.image_size == (50, 40)
    assert (seen[0][..., 2] == 200).all() and not seen[0][..., 0].any()


def test_rtmlib_that_is_not_there_or_has_no_network_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    with pytest.raises(BodyfitError, match="pip install rtmlib"):
        load_detector("rtmlib")

    def wholebody(**_):
        raise OSError("no route to host")

    monkeypatch.setitem(sys.modules, "rtmlib", SimpleNamespace(Wholebody=wholebody))
    with pytest.raises(BodyfitError, match=r"no route to host.*network"):
        load_detector("rtmlib")


class Session:
    """A network that sees every point in the middle of its crop."""

    points, width, height, outputs = 133, 192, 256, 2

    def get_inputs(self):
        return [SimpleNamespace(name="input", shape=["people", 3, self.height, self.width])]

    def get_outputs(self):
        return [None] * self.outputs

    def run(self, _, inputs):
        assert inputs["input"].shape == (1, 3, self.height, self.width) and inputs["input"].dtype == np.float32
        columns = np.zeros((1, self.points, 2 * self.width))
        rows = np.zeros((1, self.points, 2 * self.height))
        columns[..., self.width - 1], rows[..., self.height - 1] = 0.9, 0.8
        return [columns, rows]


@pytest.fixture
def onnx_file(monkeypatch, tmp_path):
    runtime = SimpleNamespace(InferenceSession=lambda *_, **__: Session(), get_available_providers=lambda: [])
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    path = tmp_path / "whole.onnx"
    path.write_bytes(b"stand-in")
    return path


def test_points_of_an_onnx_file_come_back_to_the_photo(onnx_file):
    image = read_photo(PHOTO).image
    found = load_detector(str(onnx_file))(image)
    people = ShippedDetector().people(Picture(image))
    low, high = box_of(people.xy, people.confidence)
    nose = LANDMARK_INDEX["nose"]
    middles = sorted(((low + high) / 2).tolist())
    np.testing.assert_allclose(sorted(found.xy[:, nose].tolist()), middles, atol=0.01)
    np.testing.assert_allclose(found.confidence[:, nose], 0.8)


@pytest.mark.parametrize(
    ("attribute", "value", "words"), [("outputs", 1, "1 outputs"), ("points", 17, "gives 17 points")]
)
def test_an_onnx_file_of_another_kind_is_said(onnx_file, monkeypatch, attribute, value, words):
    monkeypatch.setattr(Session, attribute, value)
    with pytest.raises(BodyfitError, match=words):
        load_detector(str(onnx_file))(read_photo(PHOTO).image)
