"""What results say about their own uncertainty, on people in photos."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bodyfit.data.body.posing import pose_body
from bodyfit.data.landmarks import JOINT_NAMES, LANDMARK_INDEX
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.uncertainty.temperature import JOINT_PARTS, SCALES, part_of

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"


@pytest.fixture(scope="module")
def fitter() -> Fitter:
    return Fitter(config=FitConfig(uncertainty="landmarks"))


@pytest.fixture(scope="module")
def frame() -> Frame:
    return Frame.from_files(
        SAMPLES / "images" / "balance_front.jpg", SAMPLES / "keypoints" / "balance_front_keypoints.json"
    )


@pytest.fixture(scope="module")
def person(fitter, frame):
    return fitter.fit([frame])[0]


def depth_sd(result, name):
    return np.sqrt(result.joint_covariance_root_relative[JOINT_NAMES.index(name), 2, 2])


def test_joints_are_sure_across_and_unsure_in_depth(person):
    sd = np.sqrt(np.einsum("jkk->jk", person.joint_covariance[:22]))
    assert (sd[:, 2] > 3 * sd[:, :2].max(axis=1)).all() and (sd[:, :2] < 0.1).all()
    assert np.allclose(person.joint_covariance_root_relative[0], 0, atol=1e-10)


def test_landmarks_begin_with_the_joints(person):
    np.testing.assert_allclose(person.landmark_covariance[:55], person.joint_covariance, rtol=1e-5)
    assert np.isfinite(person.landmark_covariance[LANDMARK_INDEX["left_heel"]]).all()


def test_what_is_not_seen_is_less_sure(fitter, frame, person):
    """Without its keypoints from the knee down, a leg is several times as unsure, the other hardly more."""
    lost = [
        n
        for n in LANDMARK_INDEX
        if n.startswith("left_") and n[5:] in ("knee", "ankle", "heel", "big_toe", "small_toe")
    ]
    confidence = frame.detections.confidence.copy()
    confidence[:, [LANDMARK_INDEX[n] for n in lost]] = 0
    hidden = fitter.fit([replace(frame, detections=replace(frame.detections, confidence=confidence))])[0]
    assert depth_sd(hidden, "left_ankle") > 2 * depth_sd(person, "left_ankle")
    assert depth_sd(hidden, "right_ankle") < 1.5 * depth_sd(person, "right_ankle")


def test_samples_have_the_covariance_of_the_blocks(person):
    drawn = person.sample(4000, seed=1)
    assert drawn["body_pose"].shape == (4000, 63) and drawn["left_hand_pose"].shape == (4000, 45)
    for name in ("transl", "betas", "global_orient"):
        expected = person.block_covariance(name)
        np.testing.assert_allclose(drawn[name].mean(axis=0), getattr(person, name), atol=0.1)
        np.testing.assert_allclose(np.cov(drawn[name].T), expected, atol=0.1 * np.abs(expected).max())
    np.testing.assert_array_equal(person.sample(3, seed=5)["body_pose"], person.sample(3, seed=5)["body_pose"])


def test_samples_lie_on_the_keypoints_as_the_person_does(person, fitter):
    """Samples differ by decimetres in depth, and hardly in the image."""
    drawn = person.sample(200)
    joints = pose_body(fitter.body, **{k: torch.as_tensor(v) for k, v in drawn.items()}).joints[:, :22].numpy()
    pixels = person.focal_px * joints[..., :2] / joints[..., 2:] + person.center_px
    size = np.ptp(person.landmarks_px[:22], axis=0).max()
    ankle = JOINT_NAMES.index("left_ankle")
    assert np.median(np.abs(pixels - person.landmarks_px[:22])) < 0.03 * size
    assert joints[:, ankle, 2].std() > 0.05


def test_off_is_off(frame):
    result = Fitter(config=FitConfig(uncertainty="off")).fit([frame])[0]
    assert result.joint_covariance.size == result.posterior_factor.size == 0 and result.posterior_blocks == ""


def test_every_joint_has_one_scale():
    assert sorted(name for part in JOINT_PARTS.values() for name in part) == sorted(JOINT_NAMES)
    assert all(t.keys() == JOINT_PARTS.keys() for frames in SCALES.values() for t in frames.values())
    assert all(frames["root_relative"]["pelvis"] == (1.0, 0.0) for frames in SCALES.values())
    assert [part_of(n) for n in ("left_heel", "right_thumb", "nose", "left_ankle")] == [
        *("feet", "hands", "face", "ankles")
    ]
