"""The photos that ship with the project are complete, small, attributed and read right."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from bodyfit.data.keypoints.detections import find_inputs, read_keypoints
from bodyfit.data.landmarks import FACE, LEFT_HAND, RIGHT_HAND
from bodyfit.data.photo.photo import photo_size, read_photo

SAMPLES = Path(str(resources.files("bodyfit.data") / "assets" / "samples"))
INPUTS = {item.name: item for item in find_inputs(SAMPLES)}


def test_every_photo_has_keypoints_and_attribution():
    text = (SAMPLES / "README.md").read_text()
    assert set(INPUTS) == {"balance_back", "balance_front", "portrait", "two_people"}
    for name, item in INPUTS.items():
        assert item.photo and item.keypoints
        assert f"`{name}.jpg`" in text.split("## Where the photos are from")[1]
        assert item.photo.stat().st_size <= 150_000


@pytest.mark.parametrize(
    ("name", "people", "format"),
    [
        ("two_people", 2, "openpose_body25_hands"),
        ("balance_front", 2, "openpose_body25_hands"),
        ("balance_back", 1, "openpose_body25b"),
        ("portrait", 1, "openpose_body25_face"),
    ],
)
def test_people_and_formats(name, people, format):
    found = read_keypoints(INPUTS[name].keypoints)
    assert (len(found), found.format, found.problems) == (people, format, (None,) * people)
    width, height = photo_size(INPUTS[name].photo)
    seen = found.xy[found.confidence > 0]
    assert (seen > -1).all() and (seen < (width, height)).all()


def test_hands_and_face_are_there():
    for name in ("two_people", "balance_front"):
        confidence = read_keypoints(INPUTS[name].keypoints).confidence
        assert (confidence[:, [*LEFT_HAND, *RIGHT_HAND]] > 0.5).all(axis=1).any(), name
    portrait = read_keypoints(INPUTS["portrait"].keypoints)
    assert (portrait.confidence[0, FACE[3:]] > 0.5).all()
    assert not portrait.confidence[0, [*LEFT_HAND, *RIGHT_HAND]].any()


def test_photos_decode():
    for item in INPUTS.values():
        assert np.ptp(read_photo(item.photo).image) > 200
