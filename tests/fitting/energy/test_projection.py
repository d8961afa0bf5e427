"""Projection, its derivative, and the closed solve for the translation."""

import pytest
import torch

from bodyfit.fitting.energy.projection import project, projection_jacobian, solve_translation


def _people(dtype=torch.float64, batch=6, count=25, seed=0):
    """Untranslated points of body size, true translations 2 to 8 m away off the axis, focal lengths, centres."""
    rng = torch.Generator().manual_seed(seed)
    points = torch.rand(batch, count, 3, generator=rng, dtype=dtype) * torch.tensor([1.0, 1.8, 0.5]) - 0.5
    transl = torch.rand(batch, 3, generator=rng, dtype=dtype) * torch.tensor([2.0, 2.0, 6.0])
    transl = transl + torch.tensor([-1.0, -1.0, 2.0])
    focal = 600 + 4000 * torch.rand(batch, generator=rng, dtype=dtype)
    return points.to(dtype), transl.to(dtype), focal, torch.full((batch, 2), 500.0, dtype=dtype)


def test_projection_of_a_known_point():
    points = torch.tensor([[[0.5, -0.25, 2.0]]])
    pixel = project(points, torch.tensor([1000.0]), torch.tensor([[320.0, 240.0]]))
    assert pixel.tolist() == [[[570.0, 115.0]]]


def test_projection_jacobian_against_autograd():
    points, transl, focal, center = _people(batch=2, count=3)
    points = points + transl[:, None]
    exact = torch.autograd.functional.jacobian(lambda p: project(p, focal, center), points)
    own = torch.stack([exact[b, k, :, b, k] for b in range(2) for k in range(3)]).view(2, 3, 2, 3)
    torch.testing.assert_close(projection_jacobian(points, focal), own)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_translation_is_recovered_from_exact_pixels(dtype):
    points, transl, focal, center = _people(dtype)
    pixels = project(points + transl[:, None], focal, center)
    found = solve_translation(points, pixels, torch.ones(points.shape[:2], dtype=dtype), focal, center)
    torch.testing.assert_close(found, transl, rtol=0, atol=1e-2 if dtype == torch.float32 else 1e-5)


def test_unseen_points_do_not_pull():
    points, transl, focal, center = _people()
    pixels = project(points + transl[:, None], focal, center)
    weights = torch.ones(points.shape[:2], dtype=points.dtype)
    pixels[:, ::3], weights[:, ::3] = -1e4, 0
    torch.testing.assert_close(solve_translation(points, pixels, weights, focal, center), transl, rtol=0, atol=1e-5)


def test_noise_of_two_pixels_moves_the_depth_by_little():
    points, transl, focal, center = _people(batch=50, count=60)
    pixels = project(points + transl[:, None], focal, center)
    pixels += 2 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1), dtype=pixels.dtype)
    found = solve_translation(points, pixels, torch.ones(points.shape[:2], dtype=points.dtype), focal, center)
    depth_error = (found[:, 2] / transl[:, 2] - 1).abs()
    assert depth_error.median() < 0.01
    assert depth_error.max() < 0.05


@pytest.mark.parametrize("case", ["one point", "same pixel", "mirrored", "nothing seen"])
def test_hopeless_input_gives_a_finite_translation_before_the_camera(case):
    points, transl, focal, center = _people(batch=3)
    pixels = project(points + transl[:, None], focal, center)
    weights = torch.ones(points.shape[:2], dtype=points.dtype)
    if case == "one point":
        weights[:, 1:] = 0
    elif case == "same pixel":
        pixels = center[:, None].expand_as(pixels)
    elif case == "mirrored":
        pixels = 2 * center[:, None] - pixels
    else:
        weights[:] = 0
    found = solve_translation(points, pixels, weights, focal, center)
    assert torch.isfinite(found).all()
    assert (found[:, 2] > 0.1).all()
