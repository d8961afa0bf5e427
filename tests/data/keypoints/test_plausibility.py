"""Exchanged sides are found where a face proves them, hands go back to their own arm, and real people pass."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bodyfit.data.detect.detector import ShippedDetector
from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.detections import Detections, read_keypoints
from bodyfit.data.keypoints.openpose_json import write_openpose
from bodyfit.data.keypoints.plausibility import exchange_hands, sides_problem
from bodyfit.data.landmarks import LANDMARK_INDEX as IDS
from bodyfit.data.landmarks import LEFT_HAND, MIRRORED, RIGHT_HAND

M, HANDS = np.array(MIRRORED), np.array(LEFT_HAND + RIGHT_HAND)
_LEFT = {"eye": (210, 70), "ear": (222, 75), "shoulder": (240, 140), "elbow": (265, 210), "wrist": (270, 280)}
_LEFT |= {"hip": (225, 300), "knee": (230, 410), "ankle": (232, 510)}


def front_view():
    """Somebody who faces the camera."""
    xy, confidence = np.zeros((144, 2)), np.zeros(144)
    points = {"nose": (200, 82)} | {f"left_{n}": p for n, p in _LEFT.items()}
    points |= {f"right_{n}": (400 - x, y) for n, (x, y) in _LEFT.items()}
    for i, (name, point) in enumerate(points.items()):
        xy[IDS[name]], confidence[IDS[name]] = point, 0.8 + i / 100
    return xy, confidence


def turned(xy, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return xy @ np.array([[c, s], [-s, c]])


@pytest.mark.parametrize("degrees", [0, 90, 135, 180, -60])
def test_exchanged_sides_are_found_however_the_person_lies(degrees):
    xy, confidence = front_view()
    assert sides_problem(turned(xy, degrees), confidence) is None
    assert "left and right look exchanged" in sides_problem(turned(xy[M], degrees), confidence[M])
    assert sides_problem(turned(xy * (-1, 1), degrees), confidence) is not None
    assert sides_problem(turned(xy[:, ::-1], degrees), confidence) is not None


def test_back_views_and_profiles_prove_nothing():
    xy, confidence = front_view()
    hidden = confidence.copy()
    hidden[[IDS["nose"], IDS["left_eye"], IDS["right_eye"]]] = 0.2
    assert sides_problem(xy[M], hidden[M]) is None
    profile = xy.copy()
    profile[:, 0] = 200 + 0.05 * (xy[:, 0] - 200)
    assert sides_problem(profile[M], confidence[M]) is None


def test_sides_in_files(tmp_path):
    """Certain for a detector that says what it sees; only a warning where hidden faces are given, too."""
    xy, confidence = front_view()
    xy, confidence = xy[M], confidence[M]
    places = [IDS[name] for name in kf.COCO_17.points]
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"keypoints": np.column_stack([xy, confidence])[places].ravel().tolist()}]))
    assert "--no-checks" in read_keypoints(path).problems[0]
    assert read_keypoints(path, checks=False).problems == (None,)
    path.write_text(json.dumps([{"keypoints": np.column_stack([xy, confidence > 0])[places].ravel().tolist()}]))
    found = read_keypoints(path)
    assert found.problems == (None,) and "seen from behind?" in found.warnings[0]


def test_the_detector_that_ships_is_not_doubted_in_its_files(tmp_path):
    """It looks at a back view and gives a face: fit takes that from the photo, and so it does from the file."""
    xy, confidence = front_view()
    back = Detections.from_points(xy[M][None], confidence[M][None], format=ShippedDetector.name, source=tmp_path)
    assert read_keypoints(write_openpose(tmp_path / "ours.json", back)).problems == (None,)
    theirs = write_openpose(tmp_path / "theirs.json", replace(back, format="another"))
    assert "exchanged" in read_keypoints(theirs).problems[0]


def test_hands_on_the_wrong_arms_go_back():
    xy, confidence = front_view()
    for hand, wrist in ((LEFT_HAND, "left_wrist"), (RIGHT_HAND, "right_wrist")):
        hand = list(hand)
        xy[hand] = xy[IDS[wrist]] + np.arange(len(hand))[:, None] * (0.5, 1.0)
        confidence[hand] = 0.7
    right = xy.copy(), confidence.copy()
    assert not exchange_hands(xy, confidence)
    xy[HANDS] = xy[M[HANDS]]
    assert exchange_hands(xy, confidence)
    np.testing.assert_array_equal(xy, right[0])
    xy[list(RIGHT_HAND)] += xy[IDS["left_wrist"]] - xy[IDS["right_wrist"]]  # one hand reaches over to the other
    assert not exchange_hands(xy, confidence)


def test_real_people_pass_and_most_are_found_when_exchanged(shared):
    people = []
    for file in sorted((shared / "photos" / "openpose" / "keypoints").glob("*.json")):
        found = read_keypoints(file)
        people += [(found.xy[i], found.confidence[i]) for i in range(len(found)) if found.problems[i] is None]
    assert len(people) > 15
    assert not any(sides_problem(*person) for person in people)
    assert not any(exchange_hands(xy.copy(), confidence.copy()) for xy, confidence in people)
    assert sum(sides_problem(xy[M], confidence[M]) is not None for xy, confidence in people) >= 8
