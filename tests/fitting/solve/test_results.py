"""Errors of results are medians over the keypoints that are confident."""

import numpy as np

from bodyfit.data.landmarks import BODY, FACE, LEFT_HAND, RIGHT_HAND
from bodyfit.fitting.energy.observations import person_size
from bodyfit.fitting.solve.results import _errors


def test_errors_are_medians_of_what_is_confident():
    rng = np.random.default_rng(0)
    xy, fitted = rng.uniform(100, 400, (2, 20, 144, 2))
    confidence = rng.choice([0.0, 0.05, 0.5, 1.0], (20, 144))
    confidence[0] = 1.0  # everything is seen
    confidence[1, list(FACE)] = 0.0  # no face
    confidence[2, list(LEFT_HAND + RIGHT_HAND)] = 0.0
    confidence[2, LEFT_HAND[3]] = 0.9  # one point
    fitted[3, 5] = np.nan  # a point that the body lacks
    found = _errors(fitted, xy, confidence)
    parts = {"error_share_body": BODY, "error_share_hands": LEFT_HAND + RIGHT_HAND, "error_share_face": FACE}
    for n in range(20):
        distance = np.where(confidence[n] > 0.1, np.linalg.norm(fitted[n] - xy[n], axis=1), np.nan)
        size = person_size(xy[n], confidence[n])
        assert found["error_px"][n] == np.nanmedian(distance)
        for name, part in parts.items():
            if n == 1 and name == "error_share_face":
                assert np.isnan(found[name][n])
            else:
                assert found[name][n] == np.nanmedian(distance[list(part)]) / size
