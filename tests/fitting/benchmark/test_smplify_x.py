"""SMPLify-X's energy: equal to a plain reference through smplx's full forward, and lowered by its five stages."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.fitting.benchmark import smplify_x
from bodyfit.fitting.benchmark.reference import Reference
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.observations import Observations, PredictedPose
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.start.pose_sources import prior_poses
from bodyfit.fitting.start.synthetic import make_people
from bodyfit.fitting.start.synthetic_people import SyntheticOptions


@pytest.fixture(scope="module")
def people(body, random_prior):
    return make_people(body, prior_poses(random_prior, 4, seed=0), seed=0, options=SyntheticOptions(cropped=0.0))


def _seen(people, names, dtype=torch.float64):
    numbers = (people.keypoints_px, people.confidence, people.focal_px, people.center_px, people.image_size[:, 1])
    return smplify_x.observe(*(n.double().numpy() for n in numbers), names=names, dtype=dtype)


def _unknowns(unknowns, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(4, unknowns.layout.size, generator=rng, dtype=torch.float64) * 0.2
    x[:, unknowns.layout["global_orient"]] += torch.tensor([3.0, 0, 0])
    x[:, unknowns.layout["transl"]] += torch.tensor([0, 0, 5.0])
    return x


@pytest.mark.parametrize("energy", [EnergyConfig(), *map(smplify_x.energy, smplify_x.STAGES)])
def test_energy_equals_the_plain_reference(body, random_prior, people, energy):
    prior = random_prior.double()
    try:
        model = LandmarkModel(body, dtype=torch.float64)
        unknowns = Unknowns(body, prior, model)
        seen, x = _seen(people, model.names), _unknowns(unknowns)
        mean, whitener = x[:, :32] - 0.1, torch.linalg.inv(torch.linalg.cholesky(prior.latent_covariance)) * 1.5
        seen = replace(seen, predicted=PredictedPose(mean, whitener))
        ours = BodyProblem(unknowns, model, prior, seen, energy).costs(x)
        reference = Reference(body, prior, unknowns, energy, model.names)
        with torch.no_grad():
            plain = torch.stack(
                [reference.cost(x[i], reference.problem(seen.select(torch.tensor([i])))) for i in range(len(x))]
            )
    finally:
        random_prior.float()
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=0)


def test_one_keypoint_by_hand(body, random_prior, people):
    """Moving one keypoint by 50 px in x, confidence 0.5, image height 500, adds (1000/500)^2 0.25 rho(50)."""
    model = LandmarkModel(body, names=("nose", "left_knee"), dtype=torch.float64)
    unknowns = Unknowns(body, random_prior, model)
    x, one = _unknowns(unknowns)[:1], torch.ones(1, dtype=torch.float64)
    focal, center, unseen = 1000 * one, torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 2, 2).double()
    blank = Observations(unseen, torch.zeros(1, 2).double(), one, focal, center)
    problem = BodyProblem(unknowns, model, random_prior, blank, smplify_x.energy())
    there = project(problem.landmarks(x).points, focal * x[:, unknowns.layout["log_focal"]].exp()[0], center)[0]
    xy, confidence = np.zeros((1, 144, 2)), np.zeros((1, 144))
    place = LANDMARK_INDEX["left_knee"]
    confidence[0, place] = 0.5
    costs = []
    for shift in (0, 50):
        xy[0, place] = there[1].numpy() + np.array([shift, 0])
        seen = smplify_x.observe(
            xy, confidence, focal.numpy(), center.numpy(), np.array([500.0]), names=model.names, dtype=torch.float64
        )
        costs.append(BodyProblem(unknowns, model, random_prior, seen, smplify_x.energy()).costs(x))
    expected = 4 * 0.25 * (100.0**2 * 50.0**2 / (100.0**2 + 50.0**2))
    assert float(costs[1] - costs[0]) == pytest.approx(expected)


def test_neck_and_hips_are_ignored(people):
    names = ("neck", "left_hip", "right_hip", "nose", "left_knee")
    assert (_seen(people, names).weights[:, :3] == 0).all()
    assert (_seen(people, names).weights[:, 4] > 0).any()


def test_camera_start_puts_the_torso_where_it_is_seen(body, random_prior):
    """A body in the prior's mean pose, upright: the camera's stage must find its distance from the torso."""
    model = LandmarkModel(body)
    unknowns = Unknowns(body, random_prior, model)
    fit = smplify_x.SmplifyX(unknowns, model, random_prior)
    x = torch.zeros(2, unknowns.layout.size)
    x[:, 0], x[:, unknowns.layout["transl"]] = torch.pi, torch.tensor([[0.3, 0.1, 3.0], [-0.2, 0.0, 6.0]])
    focal, center = torch.full((2,), 1000.0), torch.full((2, 2), 400.0)
    problem_points = fit.problem(
        Observations(torch.zeros(2, 144, 2), torch.ones(2, 144), torch.ones(2), focal, center), smplify_x.energy()
    ).landmarks(x)
    pixels = project(problem_points.points, focal, center)
    seen = Observations(pixels, torch.ones(2, 144), torch.full((2,), 800.0), focal, center)
    found = fit.camera_start(smplify_x.torso_only(seen, model.names, seen.weights))
    error = (found[:, unknowns.layout["transl"]] - x[:, unknowns.layout["transl"]]).norm(dim=1)
    assert (error < 0.15 * x[:, unknowns.layout["transl"].stop - 1]).all()


def _procedure(body, prior, people, **options):
    """The procedure with what it is given of the people."""
    model = LandmarkModel(body)
    seen = _seen(people, model.names, torch.float32)
    torso = smplify_x.torso_only(seen, model.names, people.confidence)
    return smplify_x.SmplifyX(Unknowns(body, prior, model), model, prior, **options), seen, torso


def test_five_stages_lower_the_cost(body, random_prior, people):
    fit, seen, torso = _procedure(body, random_prior, people)
    start, end = fit.camera_start(torso), fit.fit(seen, torso)
    problem = fit.problem(seen, smplify_x.energy())
    torch.testing.assert_close(problem.costs(end.x), end.cost)
    assert (end.cost < 0.5 * problem.costs(start)).all()


def test_of_several_starts_the_lowest_counts(body, random_prior, people):
    """With the end of the five stages among the starts, it cannot end higher than these."""
    fit, seen, torso = _procedure(body, random_prior, people, softness=())
    start, end = fit.camera_start(torso), fit.fit(seen, torso)
    found = fit.fit_from(seen, torch.stack([start, end.x], dim=1))
    assert (found.cost <= end.cost * (1 + 1e-4)).all()
    problem = fit.problem(seen, smplify_x.energy())
    torch.testing.assert_close(problem.costs(found.x), found.cost, rtol=1e-4, atol=0)


def test_the_start_has_everybody_before_the_camera(body, random_prior, people):
    fit, _, torso = _procedure(body, random_prior, people)
    near = replace(torso, focal_px=torso.focal_px / 20)
    points = fit.problem(near, smplify_x.energy()).landmarks(fit.camera_start(near)).points
    assert points[..., 2].min() > 0.29
