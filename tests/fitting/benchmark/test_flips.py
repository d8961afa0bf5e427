"""The measurement of flipped limbs: on people whose flips and probabilities are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bodyfit.fitting.benchmark import clip_calibration, flips
from bodyfit.fitting.benchmark.calibration import Study
from bodyfit.fitting.uncertainty.flips import BONE_ROWS

PEOPLE, WRONG, BONE = 200, 40, 1


@pytest.fixture(scope="module")
def study() -> Study:
    """The first 40 of 200 people have a forearm of 25 cm that points the wrong way at 45 degrees; half of these are
    known to be doubtful, and half of those have the right mode kept."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(PEOPLE, 55, 3)) * 0.2 + [0, 0, 4]
    upper, lower = BONE_ROWS[BONE].tolist()
    truth[:, upper], truth[:, lower] = [0, 0, 4], [0.18, 0, 4.18]
    joints, alternative = truth.copy(), np.full_like(truth, np.nan)
    joints[:WRONG, lower, 2] -= 0.36
    alternative[:10] = truth[:10]
    probability, weight, bones = np.full((PEOPLE, 8), 1e-4), np.full(PEOPLE, np.nan), np.zeros((PEOPLE, 8), bool)
    probability[:20, BONE], weight[:10], bones[:10, BONE] = 0.3, 0.3, True
    probability[-16:, BONE] = 0.3  # a tenth of the others: false alarms
    uncertainty = {"flip_probability": probability, "runner_up_weight": weight, "runner_up_flips": bones}
    people = SimpleNamespace(landmarks=torch.as_tensor(truth))
    nothing = {"further_weight": np.full((PEOPLE, 2), np.nan), "further_flips": np.zeros((PEOPLE, 2, 8), bool)}
    others = np.concatenate([alternative[:, None], np.full((PEOPLE, 2, 55, 3), np.nan)], 1)
    return Study(0.004, people, joints, None, uncertainty | nothing, others)


def test_detection_and_false_alarms_are_counted(study):
    found = flips.figures([study])
    assert found["wrong"] == pytest.approx(0.2) and found["marked"] == found["flagged"] == pytest.approx(0.5)
    assert found["false_alarms"] == pytest.approx(0.1) and found["right_mode_kept"] == pytest.approx(0.25)
    assert found["roc"]["0.15"] == pytest.approx(0.5) and found["modes_kept"] == pytest.approx(0.05)


def test_flips_of_clips_are_counted_by_moment(study):
    wrong = flips.flipped(study)
    found = clip_calibration.figures(
        clip_calibration.ClipFlips(wrong, study.uncertainty["flip_probability"], (0.2, 0.4, 1.0))
    )
    assert found["wrong"] == pytest.approx(0.2) and found["marked"] == pytest.approx(0.5)
    assert found["false_alarms"] == pytest.approx(0.1)
    assert (found["median_seconds"], found["longest_seconds"]) == (0.4, 1.0)


def test_the_offset_makes_as_many_flips_as_there_are():
    rng = np.random.default_rng(2)
    odds = rng.normal(-3, 1.5, size=(4000, 8))
    flipped = rng.random((4000, 8)) < 1 / (1 + np.exp(-(odds - 0.9)))
    told = clip_calibration.ClipFlips(flipped, 1 / (1 + np.exp(-(odds + 0.5))), ())
    assert clip_calibration.refitted_offset(told, 0.5) == pytest.approx(-0.9, abs=0.1)


def test_probabilities_are_compared_with_what_is_found(study):
    found = flips.figures([study])
    [_, doubtful] = found["bones"]
    assert doubtful["promised"] == pytest.approx(0.3) and doubtful["found"] == pytest.approx(20 / 36)
    assert doubtful["count"] == 36 and found["modes"][0]["found"] == 1
