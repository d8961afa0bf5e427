"""What is written as OpenPose's is read back as it was."""

import json
from pathlib import Path

import numpy as np

from bodyfit.data.keypoints.detections import Detections, read_keypoints
from bodyfit.data.keypoints.formats import FACE_68, LEFT_HAND_21, OPENPOSE_BODY_25, RIGHT_HAND_21
from bodyfit.data.keypoints.openpose_json import write_openpose
from bodyfit.data.landmarks import LANDMARK_NAMES


def people(count: int) -> Detections:
    """People with every point that OpenPose has."""
    random = np.random.default_rng(0)
    xy, confidence = np.zeros((count, len(LANDMARK_NAMES), 2)), np.zeros((count, len(LANDMARK_NAMES)))
    for table in (OPENPOSE_BODY_25, LEFT_HAND_21, RIGHT_HAND_21, FACE_68):
        _, target = table.known
        xy[:, target] = random.uniform(1, 600, (count, len(target), 2))
        confidence[:, target] = random.uniform(0.2, 0.9, (count, len(target)))
    return Detections.from_points(xy, confidence, format="test", source=Path(), image_size=(640, 480))


def test_round_trip(tmp_path):
    written = people(3)
    read = read_keypoints(write_openpose(tmp_path / "a_keypoints.json", written))
    np.testing.assert_allclose(read.xy, written.xy, atol=1e-4)
    np.testing.assert_allclose(read.confidence, written.confidence, atol=1e-4)
    assert read.format == "openpose_body25_hands_face" and read.image_size == (640, 480) and len(read) == 3


def test_unseen_points_are_zeros(tmp_path):
    written = people(1)
    written.confidence[0, 0] = 0.0
    content = json.loads(write_openpose(tmp_path / "a.json", written).read_text())
    pelvis = OPENPOSE_BODY_25.points.index("pelvis")
    assert content["people"][0]["pose_keypoints_2d"][3 * pelvis : 3 * pelvis + 3] == [0.0, 0.0, 0.0]
    assert read_keypoints(tmp_path / "a.json").confidence[0, 0] == 0.0


def test_nobody_is_a_file_too(tmp_path):
    assert len(read_keypoints(write_openpose(tmp_path / "a.json", people(0)))) == 0
