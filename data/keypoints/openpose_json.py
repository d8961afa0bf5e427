"""Writes people as OpenPose does: BODY_25, hands and face in one JSON file for each picture."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bodyfit.data.files import write_atomically
from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.detections import Detections

PARTS = {
    "pose_keypoints_2d": kf.OPENPOSE_BODY_25,
    "face_keypoints_2d": kf.FACE_70,
    "hand_left_keypoints_2d": kf.LEFT_HAND_21,
    "hand_right_keypoints_2d": kf.RIGHT_HAND_21,
}


def write_openpose(path: Path | str, detections: Detections) -> Path:
    """Write a file that `read_keypoints`, SMPLify-X and others read; points that OpenPose does not have are left out.

    `detector` (the program) and `image_size` ([width, height]) stand beside OpenPose's own keys. Raises BodyfitError
    where the file cannot be written.
    """
    people = [
        {"person_id": [-1], **{key: _flat(table, xy, confidence) for key, table in PARTS.items()}}
        for xy, confidence in zip(detections.xy, detections.confidence, strict=True)
    ]
    content = {"version": 1.3, "detector": detections.format, "image_size": detections.image_size, "people": people}
    return write_atomically(path, lambda file: file.write_text(json.dumps(content)))


def _flat(
    table: kf.KeypointFormat, xy: Float[np.ndarray, "144 2"], confidence: Float[np.ndarray, " 144"]
) -> list[float]:
    """x, y, confidence of each point in OpenPose's order; zeros for what is unseen, or no landmark."""
    source, target = table.known
    values = np.zeros((len(table), 3))
    values[source] = np.column_stack([xy[target], confidence[target]])
    values[values[:, 2] <= 0] = 0.0
    return [round(float(v), 4) for v in values.ravel()]
