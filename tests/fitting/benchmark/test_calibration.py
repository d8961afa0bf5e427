"""The measurement of calibration: on distances whose distribution is known."""

import numpy as np
import pytest

from bodyfit.fitting.benchmark import calibration
from bodyfit.fitting.benchmark.calibration import LEVELS, Study, coverage, fitted_temperatures, reliability, worst_gap
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.uncertainty.temperature import TEMPERATURES


def study_of(distances: np.ndarray) -> Study:
    return Study(0.004, None, None, {frame: distances for frame in calibration.FRAMES}, {})


@pytest.fixture(scope="module")
def true_distances() -> np.ndarray:
    return np.random.default_rng(0).chisquare(3, size=(4000, 55))


def test_the_right_distribution_is_calibrated(true_distances):
    found = coverage([study_of(true_distances)])
    assert worst_gap(found) < 0.02
    levels, shares = reliability([study_of(true_distances)], "camera")
    np.testing.assert_allclose(levels, shares, atol=0.01)


def test_covariances_that_are_too_small_by_two_ask_for_a_factor_of_two(true_distances):
    one = study_of(2 * true_distances)
    assert worst_gap(coverage([one]), 0.68) > 0.15
    parts, _ = fitted_temperatures([one])
    for frame, factors in parts.items():
        for part, factor in factors.items():
            assert factor == pytest.approx(2 * TEMPERATURES[frame][part], rel=0.05)


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
    found = coverage([calibration.study(fitter, people, 0.004)])
    for frame in calibration.FRAMES:
        assert 0.5 < found[frame]["body"][0.68] < 0.9
        assert found[frame]["body"][0.95] > 0.85
