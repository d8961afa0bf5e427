"""Pictures to look at are bounded in size, and their cameras shrink with them."""

import numpy as np
import pytest

from bodyfit.fitting.draw.page_size import MAX_PIXELS, blank_page, shrunk, shrunk_camera


@pytest.mark.parametrize("size", [(640, 480), (4000, 3000)])
def test_ordinary_photos_keep_their_size(size):
    image = blank_page(*size)
    assert image.shape == (size[1], size[0], 3) and shrunk(image) is image
    assert shrunk_camera(1500.0, (300.0, 200.0), *size) == (1500.0, (300.0, 200.0))


@pytest.mark.parametrize(
    "size", [(30_000, 30_000), (300_000, 300_000), (1_000_000, 1_000_000), (1_000_000, 1), (1, 900_000)]
)
def test_pages_have_a_largest_size(size):
    image = blank_page(*size)
    assert 0.9 * min(MAX_PIXELS, size[0] * size[1]) <= image.shape[0] * image.shape[1] <= 1.01 * MAX_PIXELS


def test_points_fall_on_the_same_part_of_a_shrunk_photo():
    size, focal, center = (12_000, 8_000), 9_000.0, (6_100.0, 3_900.0)
    page = blank_page(*size)
    small_focal, small_center = shrunk_camera(focal, center, *size)
    for x, y in ((0.0, 0.0), (0.3, -0.2)):
        place = np.array([(focal * x + center[0] + 0.5) / size[0], (focal * y + center[1] + 0.5) / size[1]])
        small = np.array([small_focal * x + small_center[0] + 0.5, small_focal * y + small_center[1] + 0.5])
        np.testing.assert_allclose(small / [page.shape[1], page.shape[0]], place, atol=2e-4)
