"""Lenses: what is freed of distortion can be distorted again, agrees with OpenCV, and photos agree with points."""

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from bodyfit.data.photo.lens import Lens, checked_distortion

LENSES = [
    Lens(1000.0, 1100.0, 640.0, 360.0),
    Lens(1000.0, 1000.0, 640.0, 360.0, skew=5.0),
    Lens(1100.0, 1100.0, 640.0, 360.0, distortion=(-0.3, 0.1, 0.001, -0.002, 0.01)),
    Lens(900.0, 920.0, 600.0, 380.0, distortion=(0.1, 0.02, 0.0, 0.0, 0.001, 0.12, 0.01, 0.0)),
    Lens(
        900.0, 920.0, 600.0, 380.0, distortion=(0.1, 0.02, 1e-3, -2e-3, 1e-3, 0.12, 0.01, 0.0, *[1e-3] * 4, 0.02, -0.03)
    ),
    Lens(500.0, 510.0, 640.0, 360.0, distortion=(0.05, -0.01, 0.003, -0.001), model="fisheye"),
]
GRID = np.stack(np.meshgrid(np.linspace(0, 1279, 9), np.linspace(0, 719, 7)), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("lens", LENSES)
def test_there_and_back(lens):
    np.testing.assert_allclose(lens.distorted(lens.undistorted(GRID)), GRID, atol=1e-3)
    assert Lens.from_array(lens.to_array()) == lens


@pytest.mark.parametrize("lens", LENSES[2:])
def test_distortion_is_opencvs(lens):
    """cv2.projectPoints of rays is the reference."""
    rays = np.column_stack([(GRID - lens.center_px) / lens.focal_px, np.ones(len(GRID))])
    matrix = np.array([[lens.fx, lens.skew, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    coefficients = np.array(lens.distortion)
    if lens.model == "fisheye":
        expected, _ = cv2.fisheye.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), matrix, coefficients)
    else:
        expected, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, coefficients)
    np.testing.assert_allclose(lens.distorted(GRID), expected[:, 0], atol=1e-6)


@pytest.mark.parametrize("lens", LENSES[:4])
def test_the_photo_moves_with_its_points(lens):
    """A bright dot of the photo is, in the photo freed of distortion, where its freed keypoint is."""
    dot = np.array([[1000.0, 200.0]])
    image = np.zeros((720, 1280, 3), dtype=np.uint8)
    cv2.circle(image, (1000, 200), 9, (255, 255, 255), -1)
    freed = lens.undistorted_image(image)[..., 0].astype(float)
    rows, columns = np.indices(freed.shape)
    centre = np.array([(columns * freed).sum(), (rows * freed).sum()]) / freed.sum()
    np.testing.assert_allclose(centre, lens.undistorted(dot)[0], atol=0.6)


def test_each_pixel_of_a_freed_photo_is_what_the_lens_saw_there():
    """Against an interpolation written with scipy, of two photos of one camera; black outside of the photo."""
    rng = np.random.default_rng(0)
    lens, size = LENSES[2].scaled(0.1, 0.1), (72, 128)
    x, y = lens.distorted(np.stack(np.meshgrid(np.arange(128), np.arange(72)), -1).reshape(-1, 2)).T.reshape(2, *size)
    inside = (x > 0) & (x < 127) & (y > 0) & (y < 71)
    outside = (x < -1) | (x > 128) | (y < -1) | (y > 72)
    for _ in range(2):
        image = cv2.GaussianBlur(rng.integers(0, 255, (*size, 3), dtype=np.uint8), (0, 0), 2)
        freed = lens.undistorted_image(image)
        for channel in range(3):
            expected = map_coordinates(image[..., channel].astype(float), (y, x), order=1)
            assert np.abs(freed[..., channel] - expected)[inside].max() < 2
        assert not freed[outside].any()


def test_scaling_a_lens_scales_its_pixels():
    lens = LENSES[2]
    half = lens.scaled(0.5, 0.5)
    points = lens.undistorted(GRID)
    np.testing.assert_allclose(half.undistorted((GRID + 0.5) / 2 - 0.5), (points + 0.5) / 2 - 0.5, atol=1e-6)


def test_what_no_lens_explains_is_nan():
    lens = Lens(500.0, 500.0, 640.0, 360.0, distortion=(-0.4, 0.0, 0.0, 0.0, 0.0))
    freed = lens.undistorted(np.array([[640.0, 360.0], [1270.0, 700.0]]))
    assert np.isfinite(freed[0]).all() and np.isnan(freed[1]).all()


def test_coefficients():
    assert checked_distortion([0, 0, 0, 0, 0], "opencv") == ()
    assert checked_distortion([-0.1], "opencv") == (-0.1, 0, 0, 0)
    assert len(checked_distortion([0.1] * 6, "opencv")) == 8
    for values, model in (([0.1] * 15, "opencv"), ([0.1] * 5, "fisheye"), ([np.nan], "opencv")):
        with pytest.raises(ValueError, match="distortion coefficients"):
            checked_distortion(values, model)
    assert Lens.from_array(np.zeros(0)) is None
    with pytest.raises(ValueError, match="not the numbers of a lens"):
        Lens.from_array(np.array([1.0, 2.0]))
