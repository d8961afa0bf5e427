"""A moving person: a track of smooth random motion on the open body."""

import numpy as np
import pytest

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.results.track import Track


@pytest.fixture(scope="session")
def open_body():
    return load_body_model()


@pytest.fixture(scope="session")
def make_track(open_body):
    """A function that makes a track of so many moments; keywords replace its fields."""

    def make(count=12, seed=0, **changes) -> Track:
        rng = np.random.default_rng(seed)

        def swinging(width: int, size: float) -> np.ndarray:
            phase, speed = rng.uniform(0, 2 * np.pi, width), rng.uniform(0.5, 2.0, width)
            return size * rng.normal(size=width) * np.sin(phase + speed * np.arange(count)[:, None] / 4)

        given = {
            "person": "000",
            "fps": 29.97,
            "moments": np.arange(5, 5 + count),
            "space": "camera",
            "betas": rng.normal(size=10),
            "global_orient": np.array([np.pi, 0, 0]) + swinging(3, 0.2),
            "body_pose": swinging(63, 0.5),
            "left_hand_pose": open_body.hand_mean_left + swinging(45, 0.1),
            "right_hand_pose": open_body.hand_mean_right + swinging(45, 0.1),
            "jaw_pose": swinging(3, 0.1),
            "leye_pose": np.zeros((count, 3)),
            "reye_pose": np.zeros((count, 3)),
            "expression": swinging(10, 1.0),
            "transl": np.array([0.3, -0.2, 4.0]) + swinging(3, 0.3),
            "latent": rng.normal(size=(count, 32)),
            "status": ("fitted",) * (count - 1) + ("interpolated",),
            "views": np.array([1] * (count - 1) + [0]),
            "body_model": open_body.name,
            "body_gender": open_body.gender,
            "prior": "shipped",
        }
        return Track(**{**given, **changes})

    return make
