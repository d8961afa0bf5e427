"""Median and quantile of a few numbers are NumPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bodyfit.data.few_numbers import median, quantile

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80).map(np.array)


@given(NUMBERS)
def test_median_is_numpys(values):
    assert median(values) == np.median(values)


@given(NUMBERS, st.sampled_from([0.0, 0.2, 0.5, 0.8, 0.95, 1.0]))
def test_quantile_is_numpys(values, share):
    assert quantile(values, share) == pytest.approx(np.quantile(values, share), rel=1e-14, abs=1e-9)
