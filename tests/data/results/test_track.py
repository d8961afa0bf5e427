"""A track of one person: what it promises about its arrays."""

import numpy as np
import pytest

from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.track import Track

WIDTHS = {"body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "expression": 10, "latent": 32}
THREE = ("global_orient", "jaw_pose", "leye_pose", "reye_pose", "transl")


def track(moments=(4, 5, 6), **changes):
    count = len(moments)
    arrays = {name: np.zeros((count, width)) for name, width in {**WIDTHS, **dict.fromkeys(THREE, 3)}.items()}
    given = {
        "person": "000",
        "fps": 30.0,
        "moments": np.array(moments),
        "space": "camera",
        "betas": np.arange(10.0),
        **{"status": ("fitted",) * count, "views": np.ones(count, dtype=int)},
        **{"body_model": "open", "body_gender": "neutral", "prior": "shipped"},
    }
    return Track(**{**arrays, **given, **changes})


def test_parameters_repeat_the_one_shape_for_every_moment():
    parameters = track().parameters()
    assert (parameters["betas"] == np.arange(10.0)).all() and parameters["betas"].shape == (3, 10)
    assert "latent" not in parameters and all(len(value) == 3 for value in parameters.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"moments": (1, 3)}, "ascend by one"),
        ({"moments": ()}, "ascend by one"),
        ({"body_pose": np.zeros((3, 66))}, r"body_pose has shape \(3, 66\), expected \(3, 63\)"),
        ({"status": ("fitted",)}, "one entry"),
        ({"status": ("fitted", "guessed", "failed")}, "one entry"),
    ],
)
def test_what_does_not_fit_together_is_one_clear_error(changes, words):
    with pytest.raises(ResultError, match=words):
        track(**changes)


def test_a_track_is_shown_as_one_sentence():
    shown = repr(track(status=("fitted", "interpolated", "fitted")))
    assert len(shown) < 300 and "3 moments" in shown and "2 fitted, 1 interpolated" in shown
