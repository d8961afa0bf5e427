"""Rotations with derivatives against roma and against finite differences."""

import pytest
import roma
import torch

from bodyfit.fitting.energy.so3 import cross_matrix, exponential, inverse_left_jacobian


def _rotvecs(dtype):
    """From nothing to nearly a whole turn."""
    rng = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(60, 3, generator=rng, dtype=torch.float64), dim=1)
    angles = torch.cat([torch.zeros(1), torch.logspace(-8, -1, 29), torch.linspace(0.1, 6.0, 30)])
    return (directions * angles[:, None]).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-11)])
def test_exponential_is_the_rotation_of_roma(dtype, tolerance):
    rotation, _ = exponential(_rotvecs(dtype))
    torch.testing.assert_close(rotation, roma.rotvec_to_rotmat(_rotvecs(dtype)), rtol=0, atol=tolerance)


def test_left_jacobian_against_finite_differences():
    rotvec, step = _rotvecs(torch.float64), 1e-6
    rotation, jacobian = exponential(rotvec)
    for axis in range(3):
        delta = torch.zeros(3, dtype=torch.float64)
        delta[axis] = step
        slope = (exponential(rotvec + delta)[0] - exponential(rotvec - delta)[0]) / (2 * step)
        expected = cross_matrix(jacobian[..., axis]) @ rotation
        torch.testing.assert_close(slope, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_the_inverse_left_jacobian_is_the_inverse(dtype, tolerance):
    rotvec = _rotvecs(dtype)
    product = exponential(rotvec)[1] @ inverse_left_jacobian(rotvec)
    torch.testing.assert_close(product, torch.eye(3, dtype=dtype).expand_as(product), rtol=0, atol=tolerance)
