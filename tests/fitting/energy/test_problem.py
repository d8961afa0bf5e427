"""Fitting people as one least-squares problem: its Jacobian is the true one, and people do not feel each other."""

from dataclasses import replace

import pytest
import torch

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import FAILED, SolverOptions, minimise, total_cost
from bodyfit.fitting.energy.observations import Observations, PredictedPose
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.energy.unknowns import Unknowns

EVERY_TERM = EnergyConfig(relative_hands=0.5, relative_face=0.5, pose_prior="mahalanobis", bending_sigma=2.0)


def _unknowns(unknowns, batch, dtype, seed=0, spread=0.3):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, unknowns.layout.size, generator=rng, dtype=torch.float64) * spread
    x[:, unknowns.layout["log_focal"]] *= 0.3
    x[:, unknowns.layout["global_orient"]] += torch.tensor([3.0, 0, 0])
    x[:, unknowns.layout["transl"]] += torch.tensor([0, 0, 5.0])
    return x.to(dtype)


def _observations(model, unknowns, truth, noise=0.0, seed=1):
    """Keypoints of known people; every eleventh is unseen."""
    rng, dtype, count = torch.Generator().manual_seed(seed), truth.dtype, len(truth)
    center = torch.full((count, 2), 300.0, dtype=dtype)
    scratch = torch.ones(count, len(model.names), dtype=dtype)
    scratch[:, ::11] = 0
    rotations, transl = unknowns.rotations(truth, unknowns.decode(truth)), truth[:, unknowns.layout["transl"]]
    state = model(rotations, unknowns.shape(truth), transl, derivatives=False)
    focal = torch.full((count,), 1000.0, dtype=dtype)
    pixels = project(state.points, focal * truth[:, unknowns.layout["log_focal"]].squeeze(1).exp(), center)
    pixels = pixels + noise * torch.randn(pixels.shape, generator=rng, dtype=torch.float64).to(dtype)
    size = pixels[..., 1].amax(1) - pixels[..., 1].amin(1)
    return Observations(pixels, scratch, size, focal, center)


def _problem(body, prior, energy, dtype=torch.float64, batch=3, noise=30.0):
    model = LandmarkModel(body, dtype=dtype)
    unknowns = Unknowns(body, prior, model)
    truth = _unknowns(unknowns, batch, dtype)
    seen = _observations(model, unknowns, truth, noise)
    return BodyProblem(unknowns, model, prior, seen, energy), truth


def _numeric_jacobian(problem, x, step=1e-6):
    items, columns = torch.arange(len(x)), []
    for d in range(x.shape[1]):
        delta = torch.zeros_like(x)
        delta[:, d] = step
        ends = [problem.evaluate(problem.unknowns.retract(x, sign * delta), items).residuals for sign in (1, -1)]
        columns.append((ends[0] - ends[1]) / (2 * step))
    return torch.stack(columns, dim=2)


@pytest.mark.parametrize("energy", [EnergyConfig(), EVERY_TERM], ids=["default", "every term"])
def test_jacobian_of_every_block_against_finite_differences(body, random_prior, energy):
    problem, truth = _problem(body, random_prior, energy, batch=2)
    analytic = problem.evaluate(truth, torch.arange(2)).jacobian
    numeric = _numeric_jacobian(problem, truth)
    for name, block in problem.unknowns.layout.slices.items():
        size = numeric[..., block].abs().amax()
        assert size > 0, f"{name} moves nothing"
        error = (analytic[..., block] - numeric[..., block]).abs().amax()
        assert error < 1e-6 * size, f"{name}: {error:.1e} of {size:.1e}"


@pytest.mark.parametrize("kind", ["smplx", "smplh", "smpl"])
def test_jacobian_with_pose_correctives(standin_folder, random_prior, kind):
    """Stand-ins for official files, where every joint's correctives move landmarks."""
    problem, truth = _problem(load_body_model(standin_folder, kind=kind), random_prior, EnergyConfig(), batch=2)
    assert problem.model.has_correctives
    analytic = problem.evaluate(truth, torch.arange(2)).jacobian
    torch.testing.assert_close(
        analytic, _numeric_jacobian(problem, truth), rtol=0, atol=1e-6 * analytic.abs().max().item()
    )


def test_true_parameters_have_no_reprojection_error(body, random_prior):
    problem, truth = _problem(body, random_prior, EnergyConfig(bending_sigma=torch.inf, pose_prior="unit"), noise=0.0)
    assert problem.evaluate(truth, torch.arange(3)).residuals.abs().max() < 1e-9


def test_unseen_points_neither_cost_nor_pull(body, random_prior):
    problem, truth = _problem(body, random_prior, EnergyConfig())
    seen = problem.observations
    elsewhere = torch.where(
        (seen.weights == 0)[..., None], torch.full_like(seen.targets_px, torch.nan), seen.targets_px
    )
    other = BodyProblem(
        problem.unknowns, problem.model, random_prior,
        Observations(elsewhere, seen.weights, seen.size_px, seen.focal_px, seen.center_px), problem.energy,
    )  # fmt: skip
    here, there = (p.evaluate(truth, torch.arange(3)) for p in (problem, other))
    torch.testing.assert_close(here.residuals, there.residuals)
    torch.testing.assert_close(here.jacobian, there.jacobian)


def test_a_seen_point_behind_the_camera_is_no_solution(body, random_prior):
    problem, truth = _problem(body, random_prior, EnergyConfig())
    truth[1, problem.unknowns.layout["transl"]] = torch.tensor([0, 0, -5.0], dtype=truth.dtype)
    cost = total_cost(problem.evaluate(truth, torch.arange(3)))
    assert torch.isfinite(cost).tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_people_are_found_from_near_their_truth(body, random_prior, dtype):
    priors_off = {"latent_sigma": 1e2, "betas_sigma": 1e2, "expression_sigma": 1e2, "jaw_sigma": 10, "hand_sigma": 1e2}
    priors_off["jaw_sideways_sigma"] = 10
    loose = EnergyConfig(robust_sigmas=torch.inf, **priors_off)
    problem, truth = _problem(body, random_prior, loose, dtype, batch=6, noise=0.0)
    free = ~problem.unknowns.layout.mask("log_focal")
    start = problem.unknowns.retract(truth, 0.005 * free.to(dtype).expand_as(truth))
    solution = minimise(problem.evaluate, problem.unknowns.retract, start, SolverOptions(max_iterations=80), free=free)
    seen = problem.observations.weights > 0
    focal = problem.focal(solution.x, problem.observations.focal_px)
    error = project(problem.landmarks(solution.x).points, focal, problem.observations.center_px)
    error = (error - problem.observations.targets_px).norm(dim=-1) / problem.observations.size_px[:, None]
    assert error[seen].median() < 5e-4  # of the person's size
    assert error[seen].max() < 0.02


def test_a_person_does_not_feel_the_others(body, random_prior):
    """The result of one person alone equals that in a batch of eight to 1e-4."""
    problem, truth = _problem(body, random_prior, EnergyConfig(), torch.float64, batch=8, noise=1.0)
    start, options = (
        problem.unknowns.retract(truth, torch.full_like(truth, 0.005)),
        SolverOptions(max_iterations=60),
    )
    together = minimise(problem.evaluate, problem.unknowns.retract, start, options)
    seen = problem.observations.select(torch.tensor([3]))
    alone = BodyProblem(problem.unknowns, problem.model, random_prior, seen, problem.energy)
    single = minimise(alone.evaluate, problem.unknowns.retract, start[3:4], options)
    torch.testing.assert_close(single.cost, together.cost[3:4], rtol=1e-4, atol=0)
    torch.testing.assert_close(single.x, together.x[3:4], rtol=0, atol=1e-4)


def test_float32_and_float64_agree_on_cost_and_gradient(body, random_prior):
    sums = []
    for dtype in (torch.float32, torch.float64):
        problem, truth = _problem(body, random_prior, EVERY_TERM, dtype)
        lin = problem.evaluate(truth, torch.arange(3))
        slope = (lin.jacobian * (lin.weights * lin.residuals)[..., None]).sum(1)
        sums.append((total_cost(lin).double(), slope.double()))
    torch.testing.assert_close(sums[0][0], sums[1][0], rtol=1e-4, atol=0)
    torch.testing.assert_close(sums[0][1], sums[1][1], rtol=0, atol=1e-3 * sums[1][1].abs().max().item())


def test_nan_keypoints_fail_one_person_only(body, random_prior):
    problem, truth = _problem(body, random_prior, EnergyConfig(), batch=3)
    problem.observations.targets_px[1, LANDMARK_INDEX["left_knee"]] = torch.nan
    solution = minimise(problem.evaluate, problem.unknowns.retract, truth, SolverOptions(max_iterations=3))
    assert (solution.status == FAILED).tolist() == [False, True, False]


def test_an_unknown_pose_prior_is_refused(body, random_prior):
    with pytest.raises(ValueError, match="pose_prior must be"):
        _problem(body, random_prior, EnergyConfig(pose_prior="gaussian"))


@pytest.mark.parametrize(
    "energy", [EnergyConfig(), EVERY_TERM, EnergyConfig(robust_px=20.0)], ids=["default", "every", "px"]
)
def test_costs_without_derivatives_are_those_with(body, random_prior, energy):
    problem, truth = _problem(body, random_prior, energy)
    items = torch.tensor([2, 0])
    expected = total_cost(problem.evaluate(truth[items], items))
    torch.testing.assert_close(problem.costs(truth[items], items), expected)
    torch.testing.assert_close(problem.costs(truth)[items], expected)


def _expecting(problem, prior, seed=5):
    """The same problem with a pose of their own expected of everyone."""
    rng, seen = torch.Generator().manual_seed(seed), problem.observations
    mean = torch.randn(len(seen), 32, generator=rng, dtype=torch.float64)
    whitener = torch.randn(32, 32, generator=rng, dtype=torch.float64)
    seen = replace(seen, predicted=PredictedPose(mean, whitener))
    return BodyProblem(problem.unknowns, problem.model, prior, seen, problem.energy)


def test_each_person_is_drawn_to_the_pose_expected_of_them(body, random_prior):
    """Cost, gradient and derivative of the term by the formula, also for some of the people and several starts."""
    plain, truth = _problem(body, random_prior, EnergyConfig(pose_prior="predicted"))
    problem = _expecting(plain, random_prior)
    expected, latent = problem.observations.predicted, problem.unknowns.layout["latent"]
    twice = BodyProblem(
        problem.unknowns, problem.model, random_prior, problem.observations.repeat(2), problem.energy
    )  # fmt: skip
    items = torch.tensor([5, 2])  # the third person's second start, the second person's first
    lin = twice.evaluate(truth[items // 2], items)
    rows = problem.rows["pose_prior"]
    away = (truth[items // 2][:, latent] - expected.mean[items // 2]) / problem.energy.predicted_sigma
    torch.testing.assert_close(lin.residuals[:, rows], away @ expected.whitener.T)
    slope = expected.whitener / problem.energy.predicted_sigma
    torch.testing.assert_close(lin.jacobian[:, rows, latent], slope.expand(2, 32, 32))


def test_expecting_nothing_is_the_aggregate_posterior(body, random_prior):
    problem, truth = _problem(body, random_prior, EnergyConfig(pose_prior="predicted"))
    other, _ = _problem(body, random_prior, EnergyConfig(pose_prior="mahalanobis"))
    assert torch.equal(problem.costs(truth), other.costs(truth))


def test_an_expected_depth_pulls(body, random_prior):
    problem, truth = _problem(body, random_prior, EnergyConfig(), noise=0.0)
    z = problem.unknowns.layout["transl"].stop - 1
    held = BodyProblem(
        problem.unknowns, problem.model, random_prior, problem.observations, EnergyConfig(depth_sigma_m=0.5),
        depth_m=truth[:, z] + 1,
    )  # fmt: skip
    torch.testing.assert_close(held.costs(truth) - problem.costs(truth), torch.full((3,), 4.0, dtype=truth.dtype))
