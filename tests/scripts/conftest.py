"""Results of the open body for the tests of commands that read them."""

from collections.abc import Callable

import numpy as np
import pytest

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.results.result import FitResult

_SHAPES = {
    "global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3, "leye_pose": 3,
    "reye_pose": 3, "betas": 10, "expression": 10, "transl": 3, "latent": 32, "center_px": 2,
    "keypoint_confidence": 144, "landmarks": (144, 3), "landmarks_px": (144, 2), "keypoints_px": (144, 2),
}  # fmt: skip


@pytest.fixture
def make_result() -> Callable[..., FitResult]:
    """A result at rest, with what is given changed."""

    def make(status: str = "converged", **changed: np.ndarray) -> FitResult:
        arrays = {name: np.zeros(shape) for name, shape in _SHAPES.items()} | changed
        return FitResult(
            **arrays, focal_px=1000.0, focal_source="image diagonal", image_size=(640, 480), status=status,
            body_model=load_body_model().name, body_gender="neutral", prior="open-2",
        )  # fmt: skip

    return make
