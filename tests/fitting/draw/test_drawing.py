"""Points and skeletons drawn over photos."""

import numpy as np

from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.fitting.draw.colours import LEFT, PEOPLE, RIGHT, person_hex, rgb, rgb8
from bodyfit.fitting.draw.drawing import draw_keypoints, draw_residuals
from bodyfit.fitting.draw.render import side_by_side

BLACK = np.zeros((100, 100, 3), dtype=np.uint8)


def person(**points):
    xy, confidence = np.zeros((144, 2)), np.zeros(144)
    for name, place in points.items():
        xy[LANDMARK_INDEX[name]], confidence[LANDMARK_INDEX[name]] = place, 1.0
    return xy, confidence


def test_bone_is_drawn_only_between_two_seen_points():
    both = draw_keypoints(BLACK, *person(left_shoulder=(10, 50), left_elbow=(90, 50)))
    alone = draw_keypoints(BLACK, *person(left_shoulder=(10, 50)))
    assert both[50, 50].any()
    assert not alone[50, 50].any()
    assert alone[50, 10].any()


def test_sides_have_their_own_colours():
    picture = draw_keypoints(
        BLACK, *person(left_shoulder=(10, 20), left_elbow=(90, 20), right_shoulder=(10, 80), right_elbow=(90, 80))
    )
    assert tuple(picture[20, 50]) == rgb8(LEFT)
    assert tuple(picture[80, 50]) == rgb8(RIGHT)


def test_nan_and_far_away_points_do_no_harm():
    xy, confidence = person(left_shoulder=(np.nan, 50), left_elbow=(1e30, -1e30), nose=(50, 50))
    picture = draw_keypoints(BLACK, xy, confidence)
    assert picture[50, 50].any()
    assert (picture.any(axis=2)).sum() < 200


def test_photo_itself_is_not_painted_on():
    image = BLACK.copy()
    draw_keypoints(image, *person(nose=(50, 50)))
    draw_residuals(image, *(np.full((144, 2), 50.0), np.full((144, 2), 80.0), np.ones(144)))
    assert not image.any()


def test_residual_joins_detected_and_fitted():
    detected, confidence = person(nose=(10, 50))
    fitted, _ = person(nose=(90, 50))
    picture = draw_residuals(BLACK, detected, fitted, confidence)
    assert picture[50, 50].any()
    assert not picture[10:40].any()


def test_people_have_distinct_colours():
    names = [person_hex(i) for i in range(3 * len(PEOPLE))]
    assert names[: len(PEOPLE)] == list(PEOPLE)
    colours = np.array([rgb(name) for name in names])
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + np.eye(len(names))
    assert distance.min() > 0.08


def test_pictures_side_by_side_share_a_height():
    assert side_by_side(BLACK, np.zeros((50, 100, 3), dtype=np.uint8), gap_px=4).shape == (100, 100 + 4 + 200, 3)
