"""Inverse kinematics: poses come back from points in 3D."""

import pytest
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import JOINT_NAMES, LANDMARK_NAMES
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.solve.inverse_kinematics import KinematicsConfig, inverse_kinematics, kinematics_problem
from bodyfit.fitting.start.pose_sources import prior_poses
from bodyfit.fitting.start.synthetic import make_people

JOINTS = JOINT_NAMES[:22]


@pytest.fixture(scope="module")
def people(body, random_prior):
    return make_people(body, prior_poses(random_prior, 4, seed=0), seed=0, dtype=torch.float64)


def test_jacobian_against_finite_differences(body, random_prior):
    """Of the whole problem, priors included."""
    model = LandmarkModel(body, names=LANDMARK_NAMES[:76], dtype=torch.float64)
    unknowns = Unknowns(body, random_prior, model)
    x = torch.randn(2, unknowns.layout.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.3
    points, weights = torch.zeros(2, 76, 3, dtype=torch.float64), torch.ones(2, 76, dtype=torch.float64)
    problem = kinematics_problem(unknowns, model, random_prior, points, weights, KinematicsConfig())
    items, step = torch.arange(2), 1e-6
    analytic = problem.evaluate(x, items).jacobian
    for d in range(unknowns.layout.size - 1):  # the last is the camera's focal length
        delta = torch.zeros_like(x)
        delta[:, d] = step
        ends = [problem.evaluate(unknowns.retract(x, sign * delta), items).residuals for sign in (1, -1)]
        numeric = (ends[0] - ends[1]) / (2 * step)
        torch.testing.assert_close(analytic[..., d], numeric, rtol=0, atol=1e-5 * analytic.abs().max().item())


def test_the_pose_prior_counts(body, random_prior, people):
    """The smaller its standard deviation, the nearer the latent stays to the prior's mean, and the worse points fit."""
    points = people.landmarks[:, :22]
    found = [
        inverse_kinematics(points, JOINTS, body=body, prior=random_prior, config=KinematicsConfig(latent_sigma=sigma))
        for sigma in (1e-3, 1.0, 1e3)
    ]
    covariance = random_prior.latent_covariance.double()
    away = [one.latent - random_prior.latent_mean.double() for one in found]
    distance = [torch.einsum("bi,ij,bj->b", a, torch.linalg.inv(covariance), a).mean() for a in away]
    error = [(one.points - points).norm(dim=-1).mean() for one in found]
    assert distance[0] < 1e-3 < 0.1 < distance[1] < distance[2]
    assert error[0] > error[1] > error[2]


def test_the_callers_prior_stays_as_it_was(body, random_prior):
    prior = random_prior.requires_grad_(True)
    inverse_kinematics(torch.zeros(1, 22, 3).double(), JOINTS, body=body, prior=prior, options=SolverOptions(1))
    assert prior.latent_mean.dtype == torch.float32 and all(p.requires_grad for p in prior.parameters())
    prior.requires_grad_(False)


@pytest.mark.parametrize("names", [JOINTS, LANDMARK_NAMES[:76]], ids=["joints", "joints and skin"])
def test_points_of_real_bodies_are_met(body, random_prior, people, names):
    points = people.landmarks[:, [LANDMARK_NAMES.index(n) for n in names]]
    loose = KinematicsConfig(latent_sigma=10)
    found = inverse_kinematics(points, names, body=body, prior=random_prior, config=loose)
    error = (found.points - points).norm(dim=-1)
    assert error.mean() < 0.01  # metres
    assert found.body_pose.shape == (4, 63)
    assert repr(found).startswith("<KinematicsResult: 4 poses (") and len(repr(found)) < 120


def test_unknown_points_do_not_pull(body, random_prior, people):
    points, weights = people.landmarks[:, :22].clone(), torch.ones(4, 22, dtype=torch.float64)
    weights[:, 5], points[:, 5] = 0, 1e3
    short = SolverOptions(max_iterations=40)
    found = inverse_kinematics(points, JOINTS, weights=weights, body=body, prior=random_prior, options=short)
    known = weights > 0
    assert (found.points - points).norm(dim=-1)[known].mean() < 0.05


def test_a_name_that_the_body_lacks_is_refused(body, random_prior):
    with pytest.raises(ValueError, match="no landmark"):
        inverse_kinematics(torch.zeros(1, 1, 3), ["tail"], body=body, prior=random_prior)


def test_arrays_and_nan_are_taken(body, random_prior, people):
    """NumPy as tensors, NaN as a point that is not known."""
    points, weights = people.landmarks[:, :22].clone(), torch.ones(4, 22, dtype=torch.float64)
    weights[:, 5] = 0
    short = SolverOptions(max_iterations=5)
    expected = inverse_kinematics(points, JOINTS, weights=weights, body=body, prior=random_prior, options=short)
    points[:, 5] = torch.nan
    found = inverse_kinematics(points.numpy(), JOINTS, body=body, prior=random_prior, options=short)
    torch.testing.assert_close(found.body_pose, expected.body_pose)


@pytest.mark.parametrize("shape", [(22, 3), (4, 21, 3), (4, 22, 2)])
def test_points_of_another_shape_are_refused(body, random_prior, shape):
    with pytest.raises(BodyfitError, match=r"points has shape .* Expected \(B, 22, 3\)"):
        inverse_kinematics(torch.zeros(shape), JOINTS, body=body, prior=random_prior)


def test_weights_of_another_shape_are_refused(body, random_prior):
    with pytest.raises(BodyfitError, match=r"weights has shape \(22,\)\. Expected \(4, 22\)"):
        points = torch.zeros(4, 22, 3)
        inverse_kinematics(points, JOINTS, weights=torch.ones(22), body=body, prior=random_prior)
