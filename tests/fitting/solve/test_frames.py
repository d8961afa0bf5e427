"""Frames from arrays: fitted exactly as a file of the same numbers; what does not fit together is told."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bodyfit
from bodyfit.data.keypoints import formats as kf
from bodyfit.data.landmarks import LANDMARK_NAMES

SAMPLES = Path(bodyfit.__file__).parents[1] / "data" / "assets" / "samples"
SIZE = (640, 480)


@pytest.fixture(scope="module")
def photo():
    return np.asarray(Image.open(SAMPLES / "images" / "portrait.jpg").convert("RGB"))


@pytest.fixture(scope="module")
def openpose():
    person = json.loads((SAMPLES / "keypoints" / "portrait_keypoints.json").read_text())["people"][0]
    return {key: np.array(values).reshape(-1, 3) for key, values in person.items() if key.endswith("2d") and values}


@pytest.fixture(scope="module")
def fitter():
    return bodyfit.Fitter()


def assert_same_results(found, expected):
    assert len(found) == len(expected) > 0
    for mine, other in zip(found, expected, strict=True):
        for field in fields(mine):
            if field.name not in ("seconds", "photo", "keypoint_source"):
                np.testing.assert_array_equal(getattr(mine, field.name), getattr(other, field.name), field.name)


def test_sample_as_array_and_as_file(fitter, photo, openpose):
    keypoints = SAMPLES / "keypoints" / "portrait_keypoints.json"
    file = bodyfit.Frame.from_files(None, keypoints, focal=900, image_size=(640, 480))
    parts = {name: openpose.get(f"{key}_keypoints_2d") for name, key in PARTS.items()}
    body = openpose["pose_keypoints_2d"]
    array = bodyfit.Frame.from_keypoints(body, "body25", image_size=(640, 480), focal_px=900, **parts)
    assert_same_results(fitter.fit([array]), fitter.fit([file]))


PARTS = {"left_hand": "hand_left", "right_hand": "hand_right", "face": "face"}


def test_whole_body_as_array_and_as_file(fitter, tmp_path):
    """Hands and face too: projected landmarks of a fit, in COCO-WholeBody's order, as an array and as a file."""
    frame = bodyfit.Frame.from_files(
        SAMPLES / "images" / "balance_front.jpg", SAMPLES / "keypoints" / "balance_front_keypoints.json"
    )
    fitted = fitter.fit([frame])[0]
    points = np.array([[*fitted.landmarks_px[LANDMARK_NAMES.index(n)], 0.8] for n in kf.COCO_WHOLEBODY_133.points])
    file = tmp_path / "x.json"
    file.write_text(json.dumps([{"keypoints": points.ravel().tolist()}]))
    camera = {"image_size": frame.image_size, "focal": frame.focal_px}
    from_file = fitter.fit([bodyfit.Frame.from_files(None, file, **camera)])
    array = bodyfit.Frame.from_keypoints(points, "wholebody133", image_size=frame.image_size, focal_px=frame.focal_px)
    results = fitter.fit([array])
    for name in ("left_hand_pose", "expression", "landmarks"):
        np.testing.assert_array_equal(getattr(results[0], name), getattr(from_file[0], name))
    assert (results[0].keypoint_confidence == 0.8).sum() == len({*kf.COCO_WHOLEBODY_133.points})
    assert results[0].error_share_hands < 0.01 and results[0].error_share_face < 0.01


def test_what_may_be_said_of_files(tmp_path):
    keypoints = tmp_path / "annotations.json"
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in (1, 2)]
    people = [{"image_id": 2, "keypoints": some_points().ravel().tolist()}]
    keypoints.write_text(json.dumps({"images": images, "annotations": people}))
    frame = bodyfit.Frame.from_files(None, keypoints, image="2.jpg", focal="60deg")
    assert len(frame.detections) == 1 and frame.focal_px == pytest.approx(320 / np.tan(np.pi / 6))
    assert frame.focal_source == "given as 60deg" and frame.image_size == SIZE
    (tmp_path / "camera.json").write_text(json.dumps({"focal": 700, "center": [300, 200]}))
    frame = bodyfit.Frame.from_files(None, keypoints, image="2.jpg", camera=str(tmp_path / "camera.json"))
    assert (frame.focal_px, frame.center_px) == (700, (300, 200))
    with pytest.raises(bodyfit.BodyfitError, match=r"holds 2 images\. Say which"):
        bodyfit.Frame.from_files(None, keypoints)


def some_points(count=17):
    rng = np.random.default_rng(0)
    return np.column_stack([rng.uniform(50, 400, (count, 2)), np.ones(count)])


def test_camera_and_size(photo):
    height, width = photo.shape[:2]
    frame = bodyfit.Frame.from_keypoints(some_points(), "coco17", image=photo)
    assert frame.image_size == (width, height) and frame.image is photo
    assert (frame.focal_px, frame.focal_source) == (np.hypot(width, height), "image diagonal")
    assert frame.center_px == ((width - 1) / 2, (height - 1) / 2)
    given = bodyfit.Frame.from_keypoints(
        some_points(), "coco17", image_size=np.array(SIZE), focal_px=1000, center_px=(300, 200), person_ids=["anna"]
    )
    assert (given.image_size, given.focal_px, given.center_px) == (SIZE, 1000, (300, 200))
    assert given.focal_source == "given as 1000" and given.detections.person_ids == ("anna",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"give the image, or image_size=\(width, height\)"),
        ({"image": "photo.jpg"}, r"image is the path 'photo\.jpg'.*from_files"),
        ({"image": np.zeros((480, 640), np.uint8)}, r"image has shape \(480, 640\)"),
        ({"image": np.zeros((480, 640, 4), np.uint8)}, r"image has shape \(480, 640, 4\)"),
        ({"image": np.zeros((480, 640, 3))}, "dtype float64"),
        ({"image": np.zeros((480, 640, 3), np.uint8), "image_size": (480, 640)}, "but the image has 640 x 480"),
        ({"image_size": 640}, "image_size is 640"),
        ({"image_size": (640.5, 480.0)}, "image_size is"),
        ({"image_size": (0, 480)}, "image_size is"),
        ({"image_size": SIZE, "focal_px": -1}, "focal_px is -1"),
        ({"image_size": SIZE, "focal_px": float("nan")}, "focal_px is nan"),
        ({"image_size": SIZE, "focal_px": "35mm"}, "focal_px is '35mm'.*from_files"),
        ({"image_size": SIZE, "focal_px": [800, 800]}, r"focal_px is \[800, 800\]"),
        ({"image_size": SIZE, "center_px": (1, float("inf"))}, r"center_px is \(1, inf\)"),
        ({"image_size": SIZE, "center_px": (1, 2, 3)}, "center_px is"),
    ],
)
def test_what_does_not_fit_together(given, message):
    with pytest.raises(bodyfit.BodyfitError, match=f"clip 7: .*{message}"):
        bodyfit.Frame.from_keypoints(some_points(), "coco17", name="clip 7", **given)


def test_pixels_in_place_of_a_path_are_told_where_they_belong(photo):
    with pytest.raises(bodyfit.BodyfitError, match=r"Frame\.from_keypoints"):
        bodyfit.Frame.from_files(photo)
