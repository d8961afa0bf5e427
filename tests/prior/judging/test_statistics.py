"""Mixtures, distances between sets, and the Gaussian-mixture baseline, against known answers."""

import math

import pytest
import torch

from bodyfit.prior.judging import distances
from bodyfit.prior.judging.baselines import MixtureModel, _conditional_draws
from bodyfit.prior.model import mixture as mixture_module
from bodyfit.prior.model.mixture import GaussianMixture, fit_mixture


def two_clusters(count=4000):
    generator = torch.Generator().manual_seed(0)
    truth = GaussianMixture(
        torch.tensor([0.3, 0.7]).double(),
        torch.tensor([[-4.0, 0.0], [3.0, 1.0]]).double(),
        torch.tensor([[[1.0, 0.5], [0.5, 1.0]], [[0.3, 0.0], [0.0, 2.0]]]).double(),
    )
    return truth, truth.sample(count, generator)


def test_expectation_maximisation_finds_two_clusters():
    truth, x = two_clusters()
    found = fit_mixture(x, 2, regularisation=0.0)
    order = found.means[:, 0].argsort()
    torch.testing.assert_close(found.weights[order], truth.weights, atol=0.03, rtol=0)
    torch.testing.assert_close(found.means[order], truth.means, atol=0.12, rtol=0)
    torch.testing.assert_close(found.covariances[order], truth.covariances, atol=0.2, rtol=0)


def test_log_density_matches_torch_distributions():
    truth, x = two_clusters(50)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(truth.weights),
        torch.distributions.MultivariateNormal(truth.means, truth.covariances),
    )
    torch.testing.assert_close(truth.log_prob(x), mixture.log_prob(x))


def test_moments_are_those_of_samples():
    truth, x = two_clusters(40_000)
    mean, covariance = truth.moments()
    torch.testing.assert_close(x.mean(0), mean, atol=0.06, rtol=0)
    torch.testing.assert_close(torch.cov(x.T), covariance, atol=0.25, rtol=0)


def test_the_posteriors_own_spread_widens_the_components():
    _, x = two_clusters()
    narrow = fit_mixture(x, 2)
    wide = fit_mixture(x, 2, within=torch.full_like(x, 0.5))
    added = (wide.covariances - narrow.covariances).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(added, torch.full((2, 2), 0.5).double(), atol=0.02, rtol=0)


def test_a_component_of_few_points_takes_the_shape_of_the_others():
    generator = torch.Generator().manual_seed(0)
    stretched = torch.randn(4000, 2, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 1.0])
    few = 100 + torch.tensor([[0.1, 0], [-0.1, 0], [0, 0.1], [0, -0.1]] * 2, dtype=torch.float64)
    found = fit_mixture(torch.cat([stretched, few]), 2, regularisation=0.0)
    small = found.covariances[found.weights.argmin()]
    # Two pseudo-points' worth of the average shape (9 to 1) on eight round points.
    assert 1.1 < float(small[0, 0] / small[1, 1]) < 9


def test_many_rows_at_once_or_few_give_the_same_densities(monkeypatch):
    truth, x = two_clusters(50)
    expected = truth.component_log_probs(x)
    monkeypatch.setattr(mixture_module, "_NUMBERS_AT_ONCE", 12)
    torch.testing.assert_close(truth.component_log_probs(x.reshape(5, 10, 2)).reshape(50, 2), expected)


def test_conditional_draws_follow_the_gaussian_formula():
    mean = torch.tensor([[1.0, 2.0]])
    covariance = torch.tensor([[[2.0, 1.2], [1.2, 1.0]]])
    mixture = GaussianMixture(torch.ones(1), mean, covariance)
    hidden = torch.tensor([True, False])
    draws = _conditional_draws(mixture, torch.tensor([[0.0, 3.0]]), hidden, 20_000, torch.Generator().manual_seed(0))
    assert float(draws.mean()) == pytest.approx(1 + 1.2 * (3 - 2), abs=0.02)
    assert float(draws.var()) == pytest.approx(2 - 1.2**2, abs=0.03)


def test_frechet_distance_of_two_known_gaussians():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(60_000, 3, generator=generator)
    b = 2 * torch.randn(60_000, 3, generator=generator) + torch.tensor([1.0, 0.0, 0.0])
    # |mean|^2 + trace(A + B - 2 sqrt(AB)) = 1 + 3 (1 + 4 - 4)
    assert distances.frechet_distance(a, b) == pytest.approx(4.0, rel=0.03)
    assert distances.frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)


def test_precision_and_recall_tell_missing_from_invented():
    generator = torch.Generator().manual_seed(0)
    real = torch.cat([torch.randn(400, 2, generator=generator), torch.randn(400, 2, generator=generator) + 50])
    half = torch.randn(400, 2, generator=generator)
    invented = torch.cat([half, torch.randn(400, 2, generator=generator) - 50])
    precision, recall = distances.precision_and_recall(real, half)
    assert precision > 0.9 and 0.4 < recall < 0.55
    precision, _ = distances.precision_and_recall(real, invented)
    assert 0.4 < precision < 0.55


def test_auc_and_diversity_by_hand():
    assert distances.roc_auc(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0])) == 1.0
    assert distances.roc_auc(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0])) == 0.5
    assert distances.roc_auc(torch.tensor([1.0]), torch.tensor([1.0])) == 0.5
    positions = torch.tensor([[[0.0, 0, 0]], [[3.0, 4.0, 0]]])
    assert distances.average_pairwise_distance(positions) == pytest.approx(5.0)


def test_the_baseline_completes_with_the_known_joints_kept():
    poses = 0.3 * torch.randn(3000, 63, generator=torch.Generator().manual_seed(0))
    model = MixtureModel.fit(poses, 2)
    assert math.isclose(float(model.mixture.weights.sum()), 1, rel_tol=1e-5)
    from bodyfit.prior.model.rotations import axis_angle_from_matrices, matrices_from_axis_angle

    target = matrices_from_axis_angle(poses[:3])
    result = axis_angle_from_matrices(model.complete(target, (0, 3), 4, torch.Generator().manual_seed(0)))
    kept = [joint for joint in range(63) if joint // 3 not in (0, 3)]
    torch.testing.assert_close(result[..., kept], poses[:3, None, kept].expand(-1, 4, -1), atol=1e-4, rtol=0)
