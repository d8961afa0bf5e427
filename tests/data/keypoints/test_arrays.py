"""Arrays of keypoints give the detections that a file of the same numbers gives; wrong ones are told clearly."""

import json

import numpy as np
import pytest
import torch

from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.arrays import detections_from_arrays
from bodyfit.data.keypoints.detections import KeypointError, read_keypoints
from bodyfit.data.landmarks import LANDMARK_INDEX, LANDMARK_NAMES


def some_points(people, count, seed=0):
    """Pixels with a decimal place, confidence from 0.2 to 1."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(10, 900, (people, count, 2)).round(1)
    return np.concatenate([xy, rng.uniform(0.2, 1, (people, count, 1)).round(3)], axis=-1)


def openpose_file(path, body, **parts):
    people = [
        {"pose_keypoints_2d": body[i].ravel().tolist()} | {key: part[i].ravel().tolist() for key, part in parts.items()}
        for i in range(len(body))
    ]
    path.write_text(json.dumps({"people": people}))
    return path


def assert_same(found, expected):
    np.testing.assert_array_equal(found.xy, expected.xy)
    np.testing.assert_array_equal(found.confidence, expected.confidence)
    for name in ("format", "person_ids", "problems"):
        assert getattr(found, name) == getattr(expected, name)


@pytest.mark.parametrize("name", kf.BODY_FORMATS)
def test_every_format_lands_where_its_names_say(name):
    table = kf.BODY_FORMATS[name]
    points = some_points(2, len(table))
    found = detections_from_arrays(points, name)
    assert len(found) == 2 and found.format == name
    for person in range(2):
        for i, landmark in enumerate(LANDMARK_NAMES):
            seen = points[person, [k for k, point in enumerate(table.points) if point == landmark]]
            best = max(seen, key=lambda point: point[2], default=np.zeros(3))  # of points that are there twice
            assert (*found.xy[person, i], found.confidence[person, i]) == tuple(best), landmark


@pytest.mark.parametrize("name", ["openpose_body25", "coco17", "coco_wholebody133"])
def test_same_as_a_file(name, tmp_path):
    points = some_points(3, len(kf.BODY_FORMATS[name]))
    file = openpose_file(tmp_path / "x.json", points)
    assert_same(detections_from_arrays(points, name), read_keypoints(file, format=name))


def test_parts_apart_as_openpose_has_them(tmp_path):
    """The wrist that body and hand both see is resolved as in a file."""
    body, left, right, face = (some_points(2, n, seed) for seed, n in enumerate((25, 21, 21, 70)))
    keys = {"hand_left_keypoints_2d": left, "hand_right_keypoints_2d": right, "face_keypoints_2d": face}
    expected = read_keypoints(openpose_file(tmp_path / "x.json", body, **keys), format="openpose_body25")
    assert_same(detections_from_arrays(body, "body25", left_hand=left, right_hand=right, face=face), expected)
    assert expected.format == "openpose_body25_hands_face"


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("body25", "openpose_body25"),
        ("BODY_25B", "openpose_body25b"),
        ("coco18", "openpose_coco18"),
        ("wholebody133", "coco_wholebody133"),
        ("COCO-WholeBody-133", "coco_wholebody133"),
        ("halpe26", "halpe26"),
    ],
)
def test_short_names(short, full):
    assert kf.find_body_format(short).name == full


@pytest.mark.parametrize("name", ["", "17", "5", "coco", "smpl24", "body"])
def test_no_guess_for_other_names(name):
    assert kf.find_body_format(name) is None
    with pytest.raises(KeypointError, match=r"photo 3: unknown keypoint format .*'openpose_body25'.*'coco17'"):
        detections_from_arrays(some_points(1, 17), name, name="photo 3")


def test_files_take_the_short_names(tmp_path):
    file = openpose_file(tmp_path / "x.json", some_points(1, 25))
    assert read_keypoints(file, format="body25b").format == "openpose_body25b"


def test_one_person_nobody_lists_and_tensors_are_the_same():
    points = some_points(1, 17)
    expected = detections_from_arrays(points, "coco17")
    for same in (points[0], points.tolist(), torch.tensor(points)):
        assert_same(detections_from_arrays(same, "coco17"), expected)
    assert len(detections_from_arrays(np.zeros((0, 17, 3)), "coco17")) == 0


def test_without_confidence_all_points_are_sure():
    found = detections_from_arrays(some_points(1, 17)[..., :2], "coco17")
    assert set(np.unique(found.confidence)) == {0.0, 1.0} and (found.confidence == 1).sum() == 17


def test_nan_is_unseen_and_no_matter_for_a_warning(caplog):
    points = some_points(1, 17)
    points[0, 0, 0], points[0, 5, 2] = np.nan, np.nan
    found = detections_from_arrays(points, "coco17")
    unseen = [LANDMARK_INDEX[name] for name in ("nose", "left_shoulder")]
    assert not found.confidence[0, unseen].any() and not found.xy[0, unseen].any()
    assert (found.confidence > 0).sum() == 15 and np.isfinite(found.xy).all()
    assert caplog.text == ""


def test_cocos_flags_count_as_in_annotation_files():
    points = some_points(1, 17)
    points[..., 2] = 2
    points[0, 0, 2], points[0, 1, 2] = 1, 0
    found = detections_from_arrays(points, "coco17")
    nose, left_eye, left_ear = (found.confidence[0, LANDMARK_INDEX[n]] for n in ("nose", "left_eye", "left_ear"))
    assert (nose, left_eye, left_ear) == (0.5, 0, 1)


def test_too_few_points_are_a_problem_of_that_person():
    points = some_points(2, 17)
    points[1, 3:] = np.nan
    assert [problem is None for problem in detections_from_arrays(points, "coco17").problems] == [True, False]


def test_person_ids():
    found = detections_from_arrays(some_points(2, 17), "coco17", person_ids=[7, "anna"])
    assert found.person_ids == ("007", "anna")
    for wrong in ([1], ["a", "a"]):
        with pytest.raises(KeypointError, match="Expected 2, all different"):
            detections_from_arrays(some_points(2, 17), "coco17", person_ids=wrong)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros(51), r"xy_confidence has shape \(51,\)\. Expected \(17, 3\) or \(P, 17, 3\)"),
        (np.zeros((1, 17, 4)), r"shape \(1, 17, 4\)"),
        (np.zeros((1, 1, 17, 3)), r"shape \(1, 1, 17, 3\)"),
        (np.zeros((25, 3)), r"shape \(1, 25, 3\).*25 points have openpose_body25, openpose_body25b"),
        (np.full((17, 3), None), "not an array of numbers .*object"),
        (np.full((17, 3), "1"), "not an array of numbers"),
        ([[1, 2, 3], [1, 2]], "not an array of numbers"),
        (torch.zeros(17, 3, requires_grad=True), "not an array of numbers .*grad"),
        (np.linspace(0.1, 0.9, 51).reshape(17, 3), r"between 0\.1 and 0\.8.*looks like shares of the image"),
    ],
)
def test_wrong_arrays(points, message):
    with pytest.raises(KeypointError, match=message):
        detections_from_arrays(points, "coco17")


def test_parts_of_other_people_or_length():
    with pytest.raises(KeypointError, match="left_hand is of 1 people, xy_confidence of 2"):
        detections_from_arrays(some_points(2, 25), "body25", left_hand=some_points(1, 21))
    with pytest.raises(KeypointError, match=r"face has shape \(2, 50, 3\)\. Expected \(68 or 70, 3\)"):
        detections_from_arrays(some_points(2, 25), "body25", face=some_points(2, 50))


def test_an_empty_list_is_nobody():
    assert len(detections_from_arrays([], "coco17")) == 0
