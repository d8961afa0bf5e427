"""The measurement of calibration: on distances whose distribution is known."""

import numpy as np
import pytest

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.fitting.benchmark import calibration
from bodyfit.fitting.benchmark.calibration import LEVELS, Errors, coverage, fitted_scales, reliability, worst_gap
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.uncertainty.temperature import PHOTO, SCALES


def errors_of(away: np.ndarray, deviation_m: float) -> Errors:
    covariance = np.tile(deviation_m**2 * np.eye(3), (*away.shape[:2], 1, 1))
    return Errors(dict.fromkeys(calibration.FRAMES, away), dict.fromkeys(calibration.FRAMES, covariance))


@pytest.fixture(scope="module")
def away() -> np.ndarray:
    """Errors of 5 cm along each axis."""
    return 0.05 * np.random.default_rng(0).standard_normal((4000, 55, 3))


def test_the_right_distribution_is_calibrated(away):
    one = errors_of(away, 0.05)
    assert worst_gap(coverage([one])) < 0.03
    levels, shares = reliability([one], "camera")
    np.testing.assert_allclose(levels, shares, atol=0.01)


def test_scales_are_found_again(away, monkeypatch):
    """A factor where covariances are too small alike; a floor where an error is the same however sure fits are."""
    half = {frame: dict.fromkeys(by_part, (0.5, 0.0)) for frame, by_part in SCALES[PHOTO].items()}
    monkeypatch.setattr(calibration, "SCALES", {PHOTO: half})
    one = errors_of(away.copy(), 0.05)
    wrist, sure = JOINT_NAMES.index("left_wrist"), np.geomspace(0.002, 0.02, len(away))
    draw = np.random.default_rng(1)
    for frame in calibration.FRAMES:
        one.covariance[frame][:, wrist : wrist + 2] = 0.5 * (sure**2)[:, None, None, None] * np.eye(3)
    spread = np.sqrt(sure**2 + 0.008**2)[:, None, None] * draw.standard_normal((len(away), 2, 3))
    one.away["camera"][:, wrist : wrist + 2] = spread
    found = fitted_scales([one], PHOTO)
    assert worst_gap(coverage([one]), 0.68) > 0.1
    for by_part in found.values():
        assert by_part.keys() == half["camera"].keys()
        factor, floor = by_part["knees"]
        assert factor * 2 + floor**2 / 0.05**2 == pytest.approx(0.5 * 2, rel=0.05)
    factor, floor = found["camera"]["wrists"]
    assert floor == pytest.approx(0.008, abs=0.0021) and factor == pytest.approx(1.0, rel=0.15)


def test_levels_are_quantiles_of_the_distribution():
    draws = np.random.default_rng(1).chisquare(3, size=400_000)
    for level, bound in LEVELS.items():
        assert (draws <= bound).mean() == pytest.approx(level, abs=0.005)


def test_distances_are_in_units_of_the_covariance():
    away = np.array([[[0.1, 0.0, 0.2], [np.nan] * 3]])
    covariance = np.tile(np.diag([0.01, 1.0, 0.04]), (1, 2, 1, 1))
    found = calibration.squared_distance(away, covariance)
    assert found[0, 0] == pytest.approx(2.0) and np.isnan(found[0, 1])


def test_fits_of_synthetic_people_are_roughly_calibrated():
    """From the prior's own poses, end to end: neither half nor twice as sure as they should be."""
    fitter = Fitter()
    people = calibration.make_people(fitter, None, None, 96, 3, 0.004)
    study = calibration.study(fitter, people, 0.004)
    assert study.uncertainty["flip_features"].shape[:2] == (len(people), 8)  # what --refit takes
    found = coverage([study.errors])
    for frame in calibration.FRAMES:
        assert 0.5 < found[frame]["body"][0.68] < 0.9
        assert found[frame]["body"][0.95] > 0.85
