"""Each term of the energy by itself, at values known by hand, and its derivative."""

import pytest
import roma
import torch

from bodyfit.fitting.energy import residuals as terms


def test_reprojection_is_in_units_of_the_expected_error():
    points = torch.tensor([[[110.0, 220.0]], [[110.0, 220.0]]])
    targets = torch.tensor([[[100.0, 200.0]], [[110.0, 220.0]]])
    assert terms.reprojection(points, targets, torch.tensor([5.0, 2.0])).tolist() == [[[2.0, 4.0]], [[0.0, 0.0]]]


def test_relative_does_not_see_what_moves_all_points_alike():
    rows = torch.randn(2, 6, 2)
    members = torch.tensor([1, 2, 4])
    moved = rows + torch.tensor([3.0, -2.0])
    torch.testing.assert_close(terms.relative(moved, 0, members), terms.relative(rows, 0, members))
    torch.testing.assert_close(terms.relative(rows, 0, members)[:, 1], rows[:, 2] - rows[:, 0])


def test_relative_turns_jacobians_as_it_turns_residuals():
    rows, step = torch.randn(1, 4, 2, dtype=torch.float64), torch.randn(1, 4, 2, 3, dtype=torch.float64)
    members, delta = torch.tensor([2, 3]), torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    moved = terms.relative(rows + step @ delta, 1, members)
    torch.testing.assert_close(moved, terms.relative(rows, 1, members) + terms.relative(step, 1, members) @ delta)


def test_gaussian_counts_standard_deviations():
    assert terms.gaussian(torch.tensor([[3.0, -1.0]]), 1.0, torch.tensor([2.0, 0.5])).tolist() == [[1.0, -4.0]]


def test_mahalanobis_squared_is_the_distance_under_the_covariance():
    rng = torch.Generator().manual_seed(0)
    factor = torch.randn(5, 5, generator=rng, dtype=torch.float64) + 2 * torch.eye(5, dtype=torch.float64)
    covariance, mean = factor @ factor.T, torch.randn(5, generator=rng, dtype=torch.float64)
    latent = torch.randn(3, 5, generator=rng, dtype=torch.float64)
    whitener = torch.linalg.inv(torch.linalg.cholesky(covariance))
    expected = torch.einsum("bi,ij,bj->b", latent - mean, torch.linalg.inv(covariance), latent - mean)
    torch.testing.assert_close(terms.mahalanobis(latent, mean, whitener).square().sum(1), expected)


@pytest.mark.parametrize(
    ("joint", "wrong_way"),
    [(0, (0, 1.0, 0)), (1, (0, -1.0, 0)), (2, (-1.0, 0, 0)), (3, (-1.0, 0, 0))],
    ids=terms.BENDING_JOINTS,
)
def test_bending_costs_more_the_wrong_way(joint, wrong_way):
    """In SMPL's axes a left elbow folds by turning about -y, a right one about +y, and knees about +x."""
    signs = torch.tensor(terms.BENDING_SIGNS)
    angle = torch.tensor(wrong_way)[terms.BENDING_AXES[joint]]
    angles = torch.zeros(1, 4)
    angles[0, joint] = angle
    wrong = terms.bending(angles, signs)[0, joint]
    right = terms.bending(-angles, signs)[0, joint]
    straight = terms.bending(0 * angles, signs)[0, joint]
    assert right < straight < wrong


def test_bending_tangent_against_finite_differences():
    """The change of the bending angle under a small rotation of the joint, tangent = identity."""
    rng = torch.Generator().manual_seed(0)
    rotvec = torch.randn(3, 4, 3, generator=rng, dtype=torch.float64)
    axes = torch.eye(3, dtype=torch.float64)[list(terms.BENDING_AXES)]
    tangent = torch.eye(3, dtype=torch.float64).expand(3, 4, 3, 3)
    slope, step = terms.bending_tangent(rotvec, tangent, axes), 1e-6
    for z, omega in enumerate(torch.eye(3, dtype=torch.float64)):
        turned = [roma.rotvec_composition([(sign * step * omega).expand_as(rotvec), rotvec]) for sign in (1, -1)]
        numeric = ((turned[0] - turned[1]) * axes).sum(-1) / (2 * step)
        torch.testing.assert_close(slope[..., z], numeric, rtol=0, atol=1e-8)
