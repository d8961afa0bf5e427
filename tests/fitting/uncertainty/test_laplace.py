"""The posterior against dense Hessians by automatic differentiation, in both precisions."""

import copy
from dataclasses import replace

import pytest
import torch

from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import geman_mcclure, minimise
from bodyfit.fitting.energy.observations import Observations, PredictedPose
from bodyfit.fitting.energy.problem import BodyProblem, Problem
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.energy.terms import PointDistance
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.uncertainty import laplace
from bodyfit.fitting.uncertainty.laplace import PointCovariance, Variances, noise_variance, posterior_at

NAMES = LANDMARK_NAMES[:127]
ENERGY = EnergyConfig(relative_hands=0.5, bending_sigma=2.0)


def setting(body, prior, dtype, *, noise_px=0.0, seed=0, energy=ENERGY, people=2):
    """People at unknowns where all priors are at their mean, with keypoints that are their projections plus noise."""
    generator = torch.Generator().manual_seed(seed)
    model = LandmarkModel(body, names=NAMES, dtype=dtype)
    unknowns = Unknowns(body, prior, model)
    layout = unknowns.layout
    x = torch.zeros(people, layout.size, dtype=torch.float64)
    x[:, layout["global_orient"]] = torch.tensor([3.0, 0.2, 0]).double()
    x[:, layout["transl"]] = torch.tensor([0.1, 0, 5.0]).double()
    x[:, layout["latent"]] = 0.3 * torch.randn(people, 32, generator=generator, dtype=torch.float64)
    focal, center = torch.full((people,), 900.0).double(), torch.full((people, 2), 300.0).double()
    whitener = torch.randn(32, 32, generator=generator, dtype=torch.float64)
    weights = 0.2 + torch.rand(people, len(NAMES), generator=generator, dtype=torch.float64)
    weights[:, ::11] = 0
    x, focal, center, weights, whitener = (t.to(dtype) for t in (x, focal, center, weights, whitener))
    state = model(unknowns.rotations(x, unknowns.decode(x)), unknowns.shape(x), x[:, layout["transl"]])
    noise = torch.randn(people, len(NAMES), 2, generator=generator, dtype=torch.float64).to(dtype)
    pixels = project(state.points, focal, center) + noise_px * noise
    predicted = PredictedPose(x[:, layout["latent"]].clone(), whitener)
    seen = Observations(pixels, weights, torch.full_like(focal, 400.0), focal, center, predicted)
    return BodyProblem(unknowns, model, prior, seen, energy), x


def free_in(problem):
    layout = problem.unknowns.layout
    return layout.mask(*(name for name in layout.slices if name != "log_focal"))


def at_solution(problem, x):
    return problem.at(x, torch.arange(len(x)), derivatives=True)


def test_where_residuals_vanish_the_hessian_is_that_of_the_cost(body, random_prior):
    """With all residuals zero, Gauss-Newton is exact: half of the cost's second derivatives, to 1e-8."""
    prior = copy.deepcopy(random_prior).double()
    problem, x = setting(body, prior, torch.float64, energy=replace(ENERGY, bending_sigma=torch.inf))
    free = free_in(problem)
    covariance = posterior_at(problem, at_solution(problem, x), free, 1.0).covariance()
    for person in range(len(x)):
        items = torch.tensor([person])
        hessian = torch.func.hessian(lambda one, items=items: problem.costs(one[None], items)[0])(x[person])
        expected = hessian[free][:, free] / 2
        found = torch.linalg.inv(covariance[person])
        assert (found - expected).abs().max() < 1e-8 * expected.abs().max()


@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float64, 1e-7), (torch.float32, 2e-2)])
def test_covariances_against_automatic_differentiation(body, random_prior, dtype, accuracy):
    """With noise, robust weights and all priors at work: P (J^T W J)^-1 P^T, J and P by automatic differentiation."""
    prior = copy.deepcopy(random_prior).double()
    exact, x = setting(body, prior, torch.float64, noise_px=8.0)
    free = free_in(exact)
    lin = exact.evaluate(x, torch.arange(len(x)))
    _, robust, _ = geman_mcclure(lin.residuals, lin.robust_scale)
    assert robust.min() < 0.7  # the robust loss is at work
    joints = LandmarkModel(body, names=LANDMARK_NAMES[:55], dtype=torch.float64)
    unknowns = exact.unknowns

    def residuals(one, person):
        here = exact.linearization(exact.at(one[None], torch.tensor([person])))
        return torch.cat([here.residuals[0], here.diagonal[0]])

    def positions(one):
        one = one[None]
        transl = one[:, unknowns.layout["transl"]]
        return joints(unknowns.rotations(one, unknowns.decode(one)), unknowns.shape(one), transl).points[0]

    expected, relative = [], []
    for person in range(len(x)):
        jacobian = torch.func.jacrev(lambda one, person=person: residuals(one, person))(x[person])[:, free]
        weights = torch.cat([lin.weights[person] * robust[person], torch.ones(unknowns.layout.size).double()])
        covariance = torch.linalg.inv(jacobian.T @ (weights[:, None] * jacobian))
        moved = torch.func.jacrev(positions)(x[person])[..., free]
        expected.append(torch.einsum("jad,de,jbe->jab", moved, covariance, moved))
        moved = moved - moved[:1]
        relative.append(torch.einsum("jad,de,jbe->jab", moved, covariance, moved))
    prior.to(dtype)
    problem, x = setting(body, prior, dtype, noise_px=8.0)
    points = PointCovariance(problem.unknowns, LandmarkModel(body, names=LANDMARK_NAMES[:55], dtype=dtype))
    at = at_solution(problem, x)
    found = points(posterior_at(problem, at, free, 1.0), at)
    for mine, theirs in zip(found, (torch.stack(expected), torch.stack(relative)), strict=True):
        size = theirs.flatten(2).norm(dim=2).clamp_min(1e-12)
        error = (mine.double() - theirs).flatten(2).norm(dim=2) / size
        assert error.max() < accuracy


def test_terms_of_any_kind_are_in_the_hessian(body, random_prior):
    """A problem with a term that fits do not have: known 3D points make a person's depth known."""
    prior = copy.deepcopy(random_prior).double()
    problem, x = setting(body, prior, torch.float64)
    by_rotation = RotationJacobian(problem.unknowns, problem.model, each=3)
    points = problem.at(x, torch.arange(len(x))).points
    known = PointDistance(problem.unknowns, by_rotation, points, torch.ones(points.shape[:2]).double(), sigma_m=0.01)
    more = Problem(problem.unknowns, problem.model, [*problem.terms, known], problem.observations)
    free = free_in(problem)
    z = problem.unknowns.layout["transl"].stop - 1
    before, after = (
        posterior_at(p, at_solution(p, x), free, 1.0).covariance()[:, z, z].sqrt() for p in (problem, more)
    )
    assert (after < 0.005).all() and (before > 0.02).all()


def test_the_noise_of_keypoints_is_estimated_from_the_residuals(body, random_prior, monkeypatch):
    """Two and half the assumed keypoint error: four and a quarter of the variance, from minima of the energy."""
    found = []
    monkeypatch.setattr(laplace, "noise_variance", lambda *a: found.append(noise_variance(*a)) or found[-1])
    prior = copy.deepcopy(random_prior).double()
    for share in (0.5, 2.0):
        wide = EnergyConfig(robust_sigmas=torch.inf)
        problem, x = setting(
            body, prior, torch.float64, noise_px=share * 400 * wide.sigma_share, people=24, energy=wide
        )
        seen = replace(problem.observations, weights=(problem.observations.weights > 0).double())
        problem = BodyProblem(problem.unknowns, problem.model, prior, seen, replace(wide, hands=1.0, face=1.0))
        free = free_in(problem)
        x = minimise(problem.evaluate, problem.unknowns.retract, x, cost=problem.costs, free=free).x
        at = at_solution(problem, x)
        posterior_at(problem, at, free, 1.0, Variances(assumed_rows=0.0))
        noise = found.pop().mean(0)
        assert torch.allclose(noise, torch.full_like(noise, share**2), rtol=0.15)


def test_variances_widen_what_they_are_of(body, random_prior):
    prior = copy.deepcopy(random_prior).double()
    problem, x = setting(body, prior, torch.float64)
    free, at = free_in(problem), at_solution(problem, x)
    latent = problem.unknowns.layout["latent"]
    plain, wide = (posterior_at(problem, at, free, 1.0, v).covariance() for v in (None, Variances(pose_prior=4.0)))
    grown = torch.linalg.eigvalsh(wide - plain)
    assert (
        grown.min() > -1e-9
        and wide[:, latent, latent].diagonal(dim1=1, dim2=2).sum()
        > 1.2 * plain[:, latent, latent].diagonal(dim1=1, dim2=2).sum()
    )


def test_a_person_without_a_hessian_harms_nobody_else(body, random_prior):
    prior = copy.deepcopy(random_prior).double()
    problem, x = setting(body, prior, torch.float64)
    good = posterior_at(problem, at_solution(problem, x), free_in(problem), 1.0).inverse_factor
    x = x.clone()
    x[0, problem.unknowns.layout["latent"]] = torch.nan
    factor = posterior_at(problem, at_solution(problem, x), free_in(problem), 1.0).inverse_factor
    assert factor[0].isnan().any() and torch.equal(factor[1], good[1])


def test_noise_is_estimated_by_parts():
    """Squares of 8, 2 and 0, two degrees of freedom each: 4, 1 and 0; nearer to 1 with rows that are assumed."""
    names = ("left_wrist", "left_index1", "nose1")  # body, hand, face
    squares, freedom = torch.tensor([[6.0, 2.0, 1.0, 1.0, 0.0, 0.0]]), torch.ones(1, 6)
    assert noise_variance(squares, freedom, names, 0.0).tolist() == [[4.0, 4.0, 1.0, 1.0, 0.0, 0.0]]
    assert noise_variance(squares, freedom, names, 2.0).tolist() == [[2.5, 2.5, 1.0, 1.0, 0.5, 0.5]]
    none = noise_variance(torch.zeros(1, 6), torch.zeros(1, 6), names, 5.0)
    assert none.tolist() == [[1.0] * 6]  # nothing seen: what the energy assumes
