"""What the tests of joint fits share."""

import pytest

from bodyfit.fitting.solve.fitter import Fitter


@pytest.fixture(scope="session")
def fitter():
    """The shipped body and prior."""
    return Fitter()
