"""Diagonal blocks of the inverse of an arrow system, against the dense inverse in double precision."""

import pytest
import torch

from bodyfit.fitting.sequence.arrow_factor import Elimination, Rows
from bodyfit.fitting.sequence.arrow_inverse import marginals
from tests.fitting.sequence.test_arrow_system import SHARED, SIZE, random_system


def inverted(system, windows, dtype=torch.float64, **known):
    band, edge, corner = (part[0].to(dtype) for part in (system.band, system.edge, system.corner))

    def rows_of(first, last):
        return Rows(band[:, first:last], edge[first:last], 0.75 * corner / len(windows))

    return list(marginals(Elimination(rows_of, 0.25 * corner, windows), **known))


@pytest.mark.parametrize("moments", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("window", [2, 4, 10])
def test_blocks_are_those_of_the_dense_inverse(moments, window):
    """Whether in one window or in several, the last of which may be a single moment."""
    system, dense, _ = random_system(1, moments)
    windows = [(a, min(a + window, moments)) for a in range(0, moments, window)]
    found, inverse = inverted(system, windows), torch.linalg.inv(dense[0])
    end = moments * SIZE
    assert sorted(m.first + t for m in found for t in range(len(m.own))) == list(range(moments))
    for one in found:
        torch.testing.assert_close(one.shared, inverse[end:, end:])
        for t, (own, cross) in enumerate(zip(one.own, one.cross, strict=True)):
            rows = slice((one.first + t) * SIZE, (one.first + t + 1) * SIZE)
            torch.testing.assert_close(own, inverse[rows, rows])
            torch.testing.assert_close(cross, inverse[rows, end:])


def test_in_single_precision():
    system, dense, _ = random_system(1, 9)
    inverse, single = torch.linalg.inv(dense[0]), inverted(system, [(0, 4), (4, 9)], torch.float32)
    for one in single:
        rows = slice(one.first * SIZE, (one.first + len(one.own)) * SIZE)
        expected = inverse[rows, rows].unflatten(0, (-1, SIZE)).unflatten(2, (-1, SIZE))
        own = torch.stack([expected[t, :, t] for t in range(len(one.own))])
        torch.testing.assert_close(one.own, own.float(), rtol=1e-3, atol=1e-4 * float(own.abs().max()))


def test_a_known_shape_is_no_source_of_doubt():
    system, dense, _ = random_system(1, 5)
    (one,) = inverted(system, [(0, 5)], shared_known=True)
    inverse = torch.linalg.inv(dense[0, :-SHARED, :-SHARED])
    assert not one.shared.any() and not one.cross.any()
    torch.testing.assert_close(one.own[3], inverse[3 * SIZE : 4 * SIZE, 3 * SIZE : 4 * SIZE])


def test_what_is_no_covariance_is_refused():
    system, _, _ = random_system(1, 4)
    system.band[0, 1, 1] *= 1e3
    with pytest.raises(ValueError, match="not positive definite"):
        inverted(system, [(0, 4)])
