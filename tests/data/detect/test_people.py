"""Who is one person, and what two looks make of one: known answers without networks."""

import numpy as np

from bodyfit.data.detect.bodies import Bodies
from bodyfit.data.detect.combine import calibrated, combined_body
from bodyfit.data.detect.crops import Regions
from bodyfit.data.detect.details import _drop_shared_hands
from bodyfit.data.detect.people import People, likeness, without_doubles
from bodyfit.data.keypoints.formats import COCO_17, MEDIAPIPE_33
from bodyfit.data.landmarks import LANDMARK_INDEX, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND


def somebody(seed=0, at=(0.0, 0.0)):
    random = np.random.default_rng(seed)
    return random.uniform(0, 100, (1, 17, 2)) + at, np.full((1, 17), 0.8)


def test_a_double_goes_and_a_neighbour_stays():
    (xy, confidence), (other, _) = somebody(), somebody(1, at=(60.0, 0.0))
    people = np.concatenate([xy + 2, other, xy])
    kept = without_doubles(people, np.repeat(confidence, 3, axis=0), np.array([0.5, 0.4, 0.6]), 0.4)
    assert kept.tolist() == [2, 1]


def test_points_that_only_one_sees_do_not_part_a_double():
    """One head found twice, once with a body guessed elsewhere."""
    xy, confidence = somebody()
    guess, unsure = xy.copy(), confidence.copy()
    guess[:, 7:] += 70
    unsure[:, 7:] = 0.02
    assert likeness(xy, confidence, guess[0], unsure[0])[0] > 0.8


def bodies_like(xy, visibility=0.95):
    points = np.zeros((1, 33, 2))
    for name, point in zip(COCO_17.points, xy[0], strict=True):
        points[0, MEDIAPIPE_33.points.index(name)] = point
    square = Regions(np.zeros((1, 2)), np.ones(1), np.array([[0.0, -1.0]]))
    return Bodies(points, np.full((1, 33), visibility), np.ones(1), square)


def test_agreement_is_averaged_and_disagreement_is_movenets():
    xy, confidence = somebody()
    theirs = xy.copy()
    theirs[0, 0] += (2.0, 0.0)
    theirs[0, 5] += (40.0, 0.0)
    points, sure = combined_body(People(xy, confidence, np.ones(1)), bodies_like(theirs))
    nose, shoulder = LANDMARK_INDEX["nose"], LANDMARK_INDEX["left_shoulder"]
    assert 0 < points[0, nose, 0] - xy[0, 0, 0] < 1
    np.testing.assert_allclose(points[0, shoulder], xy[0, 5])
    assert sure[0, shoulder] < sure[0, nose]


def test_a_point_that_movenet_lost_is_blazeposes():
    xy, confidence = somebody()
    confidence[0, 9] = 0.05
    theirs = xy.copy()
    theirs[0, 9] += (50.0, 0.0)
    points, sure = combined_body(People(xy, confidence, np.ones(1)), bodies_like(theirs))
    np.testing.assert_allclose(points[0, LANDMARK_INDEX["left_wrist"]], theirs[0, 9])
    assert 0.5 < sure[0, LANDMARK_INDEX["left_wrist"]] < 0.8


def test_neck_and_pelvis_are_openposes_means():
    xy, confidence = somebody()
    points, _ = combined_body(People(xy, confidence, np.ones(1)), bodies_like(xy))
    np.testing.assert_allclose(points[0, LANDMARK_INDEX["neck"]], xy[0, 5:7].mean(axis=0))
    np.testing.assert_allclose(points[0, LANDMARK_INDEX["pelvis"]], xy[0, 11:13].mean(axis=0))


def test_confidence_rises_with_heat_and_falls_with_disagreement():
    heat = np.linspace(0, 1, 30)
    assert (np.diff(calibrated(heat, np.zeros(30))) >= 0).all()
    assert (np.diff(calibrated(np.full(30, 0.6), heat)) <= 0).all()
    assert calibrated(np.zeros(1), np.zeros(1))[0] == 0 and calibrated(np.ones(1), np.zeros(1))[0] < 1


def test_one_hand_claimed_by_both_wrists_goes_to_the_surer():
    xy, confidence = np.zeros((1, len(LANDMARK_NAMES), 2)), np.zeros((1, len(LANDMARK_NAMES)))
    hand = np.random.default_rng(0).uniform(0, 50, (len(LEFT_HAND), 2))
    xy[0, list(LEFT_HAND)], xy[0, list(RIGHT_HAND)] = hand, hand + 1
    confidence[0, list(LEFT_HAND)], confidence[0, list(RIGHT_HAND)] = 0.4, 0.8
    _drop_shared_hands(xy, confidence)
    assert not confidence[0, list(LEFT_HAND)].any() and (confidence[0, list(RIGHT_HAND)] == 0.8).all()
