"""The joint problem: gradient and Gauss-Newton matrix against automatic differentiation of a dense copy."""

from dataclasses import replace

import pytest
import torch

from bodyfit.data.body.volume import fit_spheres
from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.floor import Feet, Floor
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.observations import Observations, PredictedPose
from bodyfit.fitting.energy.shared_space import Obstacles, OtherPeople
from bodyfit.fitting.energy.sphere_model import SphereModel
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.contacts import Contacts, GroundConfig
from bodyfit.fitting.sequence.problem import GroupProblem
from bodyfit.fitting.sequence.views import Views

MOMENTS = 6


def make_problem(body, prior, energy=None, config=None, ground=False, others=None):
    """Six moments, the fourth unseen, the second seen by two cameras, and unknowns with one shape."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    # Without the contour, whose points jump when the head turns.
    model = LandmarkModel(body, names=LANDMARK_NAMES[:80], dtype=torch.float64)
    unknowns = Unknowns(body, prior, model)
    moment = torch.tensor([0, 1, 1, 2, 4, 5])
    count, points = len(moment), len(model.names)
    rotation = torch.linalg.matrix_exp(0.3 * (lambda m: m - m.mT)(normal(count, 3, 3)))
    weights = torch.rand(count, points, generator=draw, dtype=torch.float64)
    weights[:, ::7] = 0
    seen = Observations(
        300 + 100 * normal(count, points, 2),
        weights,
        torch.full((count,), 400.0, dtype=torch.float64),
        torch.full((count,), 900.0, dtype=torch.float64),
        torch.full((count, 2), 300.0, dtype=torch.float64),
        PredictedPose(normal(count, 32), normal(32, 32)),
    )
    views = Views(seen, moment, rotation, torch.tensor([0, 0, 2.0]).double().expand(count, 3))
    x = 0.2 * normal(1, unknowns.layout.size) + 0.02 * normal(MOMENTS, unknowns.layout.size)
    x[:, unknowns.layout["global_orient"]] += torch.tensor([2.5, 0, 0])
    x[:, unknowns.layout["transl"]] += torch.tensor([0, 0, 4.0])
    x[:, unknowns.layout["betas"]], x[:, unknowns.layout["log_focal"]] = x[:1, unknowns.layout["betas"]], 0
    energy = energy or EnergyConfig(robust_sigmas=torch.inf)
    config = config or SequenceConfig(acceleration_robust_sigmas=torch.inf, chunk=2)
    contacts = None
    if ground:  # the fourth moment's feet are below the floor, whether they rest or not
        feet = Feet(body, model)
        links = torch.rand(MOMENTS - 1, len(feet), generator=draw) < 0.6
        contacts = Contacts(feet, links, Floor((0.0, 0.6, 0.8), 3.4))
    problem = GroupProblem(
        unknowns, model, prior, views, MOMENTS, energy, 30.0, config, contacts=contacts, others=others
    )
    problem.smoothness.by_acceleration *= torch.tensor([[1.0], [2.0], [0.5], [0.7]])
    return problem, x


def flat_cost(problem, x):
    """The cost as a function of one flat vector: all moments' own unknowns, then betas."""
    own, shared = problem.own, problem.shared

    def cost(flat):
        x_there = x.clone()
        x_there[:, own] = flat[: len(x) * len(own)].unflatten(0, (len(x), -1))
        x_there[:, shared] = flat[len(x) * len(own) :]
        return problem.cost(x_there)

    return cost, torch.cat([x[:, own].flatten(), x[0, shared]])


def assert_differentiated(problem, x):
    """Cost and gradient, against automatic differentiation."""
    cost, flat = flat_cost(problem, x)
    system = problem.evaluate(x)
    torch.testing.assert_close(system.cost[0], cost(flat))
    ours = 2 * torch.cat([system.gradient.flatten(), system.shared_gradient[0]])
    automatic = torch.func.grad(cost)(flat)
    torch.testing.assert_close(ours, automatic, rtol=1e-6, atol=1e-6 * float(automatic.abs().max()))


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("correctives", [False, True])
@pytest.mark.parametrize("moving", [False, True])
def test_gradient_against_automatic_differentiation(body, corrected_body, random_prior, robust, correctives, moving):
    """Under a moving camera the three accelerations are of both kinds: the first one is seen by all of its moments."""
    scale = 8.0 if robust else torch.inf
    config = SequenceConfig(chunk=2, moving_camera=moving, acceleration_robust_sigmas=scale)
    energy = EnergyConfig(robust_sigmas=6.0 if robust else torch.inf)
    problem, x = make_problem(corrected_body if correctives else body, random_prior, energy, config)
    if moving:
        assert problem.smoothness.in_pelvis[:, 0].tolist() == [True, False, False, False]
    assert_differentiated(problem, x)


@pytest.mark.parametrize("robust", [False, True])
def test_gradient_of_feet_on_the_ground(corrected_body, random_prior, robust):
    """Terms of the ground, against automatic differentiation: feet that rest, and points below the floor."""
    large = {} if robust else {"slide_robust_sigmas": torch.inf, "height_robust_sigmas": torch.inf}
    config = SequenceConfig(chunk=2, ground=GroundConfig(**large))
    problem, x = make_problem(corrected_body, random_prior, config=config, ground=True)
    without, _ = make_problem(corrected_body, random_prior, config=config)
    assert problem.cost(x) > without.cost(x) + 1
    height = problem.ground.floor.height(problem.priors.at(x, torch.arange(MOMENTS)).points)
    assert (height[:, problem.ground.feet.landmarks] < 0).any() and (height > 0).any()
    assert_differentiated(problem, x)


def test_gradient_of_other_people(corrected_body, random_prior):
    """Spheres in the way of those of others, against automatic differentiation; at moments that nobody saw, too."""
    without, x = make_problem(corrected_body, random_prior)
    model, unknowns = without.model, without.unknowns
    spheres = SphereModel(corrected_body, fit_spheres(corrected_body), model)
    bones = without.priors.at(x, torch.arange(MOMENTS)).kinematics
    centres = spheres.centres(bones, unknowns.shape(x)).transpose(0, 1) + x[:, None, unknowns.layout["transl"]]
    radii = spheres.radii(unknowns.shape(x))
    radii[0] = -torch.inf  # nobody is there at the first moment
    others = Obstacles(centres + torch.tensor([0.15, 0.02, 0.1]), radii)
    term = OtherPeople(unknowns, spheres, others, sigma_m=0.015)
    problem, _ = make_problem(corrected_body, random_prior, others=term)
    touched = term.residuals(problem.priors.at(x, torch.arange(MOMENTS))).gt(0).any(1)
    assert touched.tolist() == [False] + 5 * [True] and not problem.seen[3]
    assert problem.cost(x) > without.cost(x) + 1
    assert_differentiated(problem, x)


def test_matrix_and_step_are_those_of_a_dense_copy(body, random_prior):
    """All residuals as one vector, differentiated automatically: J^T J and the Gauss-Newton step."""
    problem, x = make_problem(body, random_prior)
    own, shared, size = problem.own, problem.shared, len(x) * len(problem.own)

    def residuals(flat):
        there = x.clone()
        there[:, own], there[:, shared] = flat[:size].unflatten(0, (len(x), -1)), flat[size:]
        at = problem.priors.at(there, torch.arange(len(x)))
        prior, seen = problem.priors.linearization(at), problem.views.through_cameras(at.points)
        rows = problem.reprojection.weights(seen).sqrt() * problem.reprojection.residuals(seen)
        free = torch.isfinite(problem.priors._sigma)
        smooth, points = problem.smoothness, at.points
        relative = smooth.size(there)[0] * smooth.by_acceleration[..., None]
        accelerations = relative * points[:, smooth.smoothed].diff(2, dim=0)
        bends = smooth.by_unknown * there[:, own].diff(2, dim=0)
        shape = problem.shape_prior.at(there[0, shared])[0]
        own_priors = [prior.residuals[problem.seen], prior.diagonal[problem.seen][:, free]]
        return torch.cat([part.flatten() for part in (rows, *own_priors, accelerations, bends, shape)])

    flat = torch.cat([x[:, own].flatten(), x[0, shared]])
    jacobian, system = torch.func.jacfwd(residuals)(flat), problem.evaluate(x)
    dense, gradient = jacobian.T @ jacobian, jacobian.T @ residuals(flat)
    # What is added to fingers' diagonals for stability is no residual.
    extra = torch.where(problem.seen[:, None], problem.priors._curvature[own], 0.0).flatten()
    dense.diagonal()[:size].add_(extra)
    damped = dense + 0.1 * torch.diag(dense.diagonal())
    expected = torch.linalg.solve(damped, -gradient)
    step_own, step_shared, _, good = system.step(torch.tensor([0.1], dtype=torch.float64))
    assert good.all()
    torch.testing.assert_close(torch.cat([step_own.flatten(), step_shared[0]]), expected, rtol=1e-6, atol=1e-8)


def test_chunks_make_no_difference(body, random_prior):
    small, x = make_problem(body, random_prior, EnergyConfig(), SequenceConfig(chunk=2))
    large, _ = make_problem(body, random_prior, EnergyConfig(), SequenceConfig(chunk=100))
    one, other = small.evaluate(x), large.evaluate(x)
    for name in ("cost", "band", "edge", "corner", "gradient", "shared_gradient"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name))


def test_the_weight_of_accelerations_follows_the_motion(body, random_prior):
    """Still, then swinging with 20 m/s^2 as root mean square about each moment, then faster than the range."""
    config = SequenceConfig(acceleration_factor=4.0, acceleration_seconds=0.05, acceleration_range=(10.0, 100.0))
    problem, x = make_problem(body, random_prior, config=config)
    count = len(problem.smoothness.smoothed)
    for acceleration, sigma in ((0.0, 10.0), (20.0, 80.0), (200.0, 100.0)):
        height = 0.5 * acceleration / 900 * 3**0.5 * torch.arange(MOMENTS).double().square()  # of three axes one moves
        points = torch.zeros(MOMENTS, count, 3).double() + height[:, None, None] * torch.tensor([0.0, 1.0, 0.0])
        points = points / problem.smoothness.size(x)[0]
        problem.smoothness.follow_motion(points, x)
        torch.testing.assert_close(
            900 / problem.smoothness.by_acceleration, torch.full((MOMENTS - 2, 1), sigma).double()
        )


def test_relative_terms_are_refused(body, random_prior):
    with pytest.raises(BodyfitError, match="relative_hands"):
        make_problem(body, random_prior, replace(EnergyConfig(), relative_hands=0.5))
