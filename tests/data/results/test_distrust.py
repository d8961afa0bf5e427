"""The least sure part of a fit in words."""

from dataclasses import replace

import numpy as np
import pytest

from bodyfit.data.landmarks import JOINT_NAMES, LANDMARK_INDEX
from bodyfit.data.results.distrust import Weakness, centimetres, weakest_part, weaknesses
from bodyfit.data.results.result import FitResult


@pytest.fixture
def person() -> FitResult:
    """Three metres in front of the camera, every keypoint seen, every joint sure to 2 cm."""
    sizes = {"global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3}
    sizes |= {"leye_pose": 3, "reye_pose": 3, "betas": 10, "expression": 10, "transl": 3, "latent": 32, "center_px": 2}
    given = {name: np.zeros(size) for name, size in sizes.items()}
    given |= {"landmarks": np.tile([0.0, 0.0, 3.0], (144, 1)), "landmarks_px": np.zeros((144, 2))}
    given |= {"keypoints_px": np.zeros((144, 2)), "keypoint_confidence": np.ones(144)}
    words = {"focal_source": "EXIF", "body_model": "open", "body_gender": "neutral", "prior": "some prior"}
    return FitResult(
        **given | words,
        focal_px=1000.0,
        image_size=(640, 480),
        status="converged",
        joint_covariance_root_relative=np.tile(4e-4 * np.eye(3), (55, 1, 1)),
    )


def unsure(person: FitResult, joint: str, *variances: float) -> FitResult:
    covariances = person.joint_covariance_root_relative.copy()
    covariances[JOINT_NAMES.index(joint)] = np.diag(variances)
    return replace(person, joint_covariance_root_relative=covariances)


def test_an_ankle_that_nobody_saw(person):
    confidence = person.keypoint_confidence.copy()
    confidence[LANDMARK_INDEX["right_ankle"]] = 0
    person = replace(unsure(person, "right_ankle", 0.01, 0.01, 0.0576), keypoint_confidence=confidence)
    assert weakest_part(person) == "right ankle: not seen, +- 24 cm in depth"


def test_across_the_view_where_that_is_least_sure(person):
    assert weakest_part(unsure(person, "left_wrist", 0.0121, 0.01, 0.001)) == "left wrist: +- 11 cm across"


def test_depth_is_along_the_ray_to_the_joint(person):
    landmarks = person.landmarks.copy()
    landmarks[LANDMARK_INDEX["left_wrist"]] = [3.0, 0.0, 0.5]  # far to the side: depth is rather along x
    person = unsure(replace(person, landmarks=landmarks), "left_wrist", 0.04, 0.001, 0.001)
    assert weaknesses(person)[0] == Weakness("left wrist", True, pytest.approx(0.2), True)


def test_any_point_of_the_head_shows_it(person):
    confidence = np.zeros(144)
    confidence[LANDMARK_INDEX["left_ear"]] = 0.9
    seen = {one.part: one.seen for one in weaknesses(replace(person, keypoint_confidence=confidence))}
    assert seen["head"] and not seen["left wrist"]


def test_nothing_is_said_where_nothing_is_known(person):
    assert weakest_part(replace(person, joint_covariance_root_relative=np.zeros(0))) == ""
    covariances = person.joint_covariance_root_relative.copy()
    covariances[JOINT_NAMES.index("head")] = np.nan  # a body without this joint
    assert "head" not in {w.part for w in weaknesses(replace(person, joint_covariance_root_relative=covariances))}


def test_lengths_as_people_say_them():
    assert [centimetres(m) for m in (0.2449, 0.0104, 0.0044)] == ["24 cm", "1 cm", "4 mm"]
