"""`bodyfit convert`: rigged bodies."""

import json

import numpy as np
import pytest

from bodyfit.data.body_model import load_body_model
from bodyfit.data.errors import BodyfitError
from bodyfit.data.result import FitResult
from bodyfit.scripts.convert import ConvertCommand

SIZES = {
    "global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3, "leye_pose": 3,
    "reye_pose": 3, "betas": 10, "expression": 10, "transl": 3, "latent": 32, "center_px": 2,
    "keypoint_confidence": 144,
}  # fmt: skip


def test_rigged_bodies_are_glb_with_a_skin(tmp_path):
    points = {"landmarks": (144, 3), "landmarks_px": (144, 2), "keypoints_px": (144, 2)}
    result = FitResult(
        **{name: np.zeros(size) for name, size in (SIZES | points).items()},
        focal_px=1000.0,
        focal_source="image diagonal",
        image_size=(640, 480),
        status="converged",
        body_model=load_body_model().name,
        body_gender="neutral",
        prior="open-1",
    )
    file = result.save(tmp_path / "000.npz")
    assert ConvertCommand((file,), tmp_path / "new", to="glb", rigged=True).run() == 0
    data = (tmp_path / "new" / "000.glb").read_bytes()
    content = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert len(content["skins"][0]["joints"]) == 55
    with pytest.raises(BodyfitError, match=r"--rigged writes \.glb files: say --to glb, not --to obj"):
        ConvertCommand((file,), tmp_path / "new", to="obj", rigged=True).run()
