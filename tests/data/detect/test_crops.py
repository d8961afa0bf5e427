"""Turned squares: crops and the way back agree."""

import numpy as np
import pytest
import torch

from bodyfit.data.detect.crops import Picture, Regions


def spot(size, center, radius=6.0):
    """A white spot on black."""
    y, x = np.mgrid[: size[0], : size[1]]
    value = 255 * np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * radius**2))
    return np.repeat(value[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("side", [60.0, 150.0, 700.0])
@pytest.mark.parametrize("degrees", [0, 37, 180, -90])
def test_a_spot_is_found_where_it_is(side, degrees):
    """Bright spot in the picture -> its place in the crop -> back to the picture, to a third of a crop's pixel."""
    center = np.array([140.0, 120.0])
    angle = np.radians(degrees)
    region = Regions(np.array([[150.0, 110.0]]), np.array([side]), np.array([[np.sin(angle), -np.cos(angle)]]))
    crop = Picture(spot((300, 320), center)).crops(region, 64)[0, 0].double()
    weight = crop / crop.sum()
    grid = (torch.arange(64) + 0.5) / 64
    share = torch.stack([(weight.sum(0) * grid).sum(), (weight.sum(1) * grid).sum()])
    found = region.to_picture(share.numpy()[None, None])[0, 0]
    assert np.abs(found - center).max() < max(0.3 * side / 64, 0.2)


def test_regions_around_two_points_stand_upright():
    region = Regions.around(np.array([[10.0, 20.0]]), np.array([[10.0, 10.0]]), 2.5)
    np.testing.assert_allclose(region.up, [[0, -1]])
    np.testing.assert_allclose(region.side, [25])
    np.testing.assert_allclose(region.to_picture(np.array([[[0.5, 0.0], [1.0, 0.5]]]))[0], [[10, 7.5], [22.5, 20]])


def test_equal_points_make_an_upright_region_of_a_pixel():
    region = Regions.around(np.zeros((1, 2)), np.zeros((1, 2)), 2.0)
    np.testing.assert_allclose([*region.side, *region.up[0]], [1, 0, -1])


def test_outside_the_picture_is_black():
    picture = Picture(np.full((40, 40, 3), 255, np.uint8))
    crop = picture.crops(Regions(np.array([[200.0, 200.0]]), np.array([50.0]), np.array([[0.0, -1.0]])), 32)
    assert float(crop.max()) == 0.0


@pytest.mark.parametrize("shape", [(40, 640), (640, 40), (33, 33)])
def test_resized_keeps_the_longer_side(shape):
    small, scale = Picture(np.zeros((*shape, 3), np.uint8)).resized(256)
    assert max(small.shape[:2]) == 256 and scale == pytest.approx(max(shape) / 256)
