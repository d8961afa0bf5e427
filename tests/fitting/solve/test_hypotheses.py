"""Starts and stages: what is ranked on the body's landmarks is solved on all, and poor starts are passed over."""

from dataclasses import replace

import pytest
import torch

from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.energy.levenberg_marquardt import FAILED
from bodyfit.fitting.energy.observations import observe
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.hypotheses import StartConfig
from bodyfit.fitting.solve.landmark_sets import COARSE_NAMES
from bodyfit.fitting.start.pose_sources import prior_poses
from bodyfit.fitting.start.synthetic import make_people


@pytest.fixture(scope="module")
def fitter() -> Fitter:
    return Fitter()


@pytest.fixture(scope="module")
def scene(fitter):
    """Six people as observed, and the landmarks their detector saw."""
    people = make_people(fitter.body, prior_poses(fitter.prior, 6, seed=3), seed=3)
    numbers = (people.keypoints_px, people.confidence, people.focal_px, people.center_px)
    arrays = [n.double().numpy() for n in numbers]
    model = fitter.landmarks.model_for(arrays[1])
    return observe(*arrays, names=model.names), model


def test_placing_gives_the_cost_of_where_it_places(fitter, scene):
    seen, model = scene
    problem = BodyProblem(fitter.unknowns, model, fitter.prior, seen, replace(fitter.config.energy, pose_prior="unit"))
    x = torch.zeros(6, fitter.unknowns.layout.size)
    x[:, 0] = torch.pi
    placed, cost = problem.placed(x)
    torch.testing.assert_close(cost, problem.costs(placed))
    block = fitter.unknowns.layout["transl"]
    assert (placed[:, block.stop - 1] > 0.5).all()
    assert torch.equal(placed[:, block.stop :], x[:, block.stop :])


def test_some_landmarks_of_people_are_those(scene):
    seen, model = scene
    columns = torch.tensor([model.names.index(name) for name in ("nose", "left_knee")])
    some = seen.of_landmarks(columns)
    assert torch.equal(some.targets_px, seen.targets_px[:, columns]) and some.weights.shape == (6, 2)
    assert some.size_px is seen.size_px


def test_rough_stages_see_arms_legs_head_and_finger_tips_but_no_face():
    assert {"left_wrist", "right_big_toe", "nose", "left_index", "right_pinky1"} <= COARSE_NAMES
    assert not {"contour_middle", "nose3", "left_index2"} & COARSE_NAMES
    assert set(LANDMARK_NAMES) >= COARSE_NAMES


def test_starts_that_cost_much_more_than_the_best_are_dropped(fitter, scene):
    few = Fitter(config=FitConfig(start=StartConfig(learned=False, finished=3, finished_within=1.0)))
    many = Fitter(config=FitConfig(start=StartConfig(learned=False, finished=3, finished_within=float("inf"))))
    seen, model = scene
    left, all_of_them = few.best_starts(seen, model), many.best_starts(seen, model)
    assert not left[:, 0].isnan().any() and left[:, 1:].isnan().all()
    assert torch.equal(left[:, 0], all_of_them[:, 0])
    assert not all_of_them.isnan().any()


def test_starts_that_are_not_there_change_nothing(fitter, scene):
    seen, model = scene
    seen = fitter.with_predicted_pose(seen, model)
    starts = fitter.best_starts(seen, model)[:, :1]
    alone, _ = fitter.finish(seen, model, starts)
    padded, other = fitter.finish(seen, model, torch.cat([starts, torch.full_like(starts, torch.nan)], dim=1))
    torch.testing.assert_close(padded.cost, alone.cost)
    assert other.cost.isnan().all()


def test_a_batch_of_nothing_but_nonsense_fails_and_raises_nothing(fitter, scene):
    seen, model = scene
    nowhere = torch.full((6, 1, fitter.unknowns.layout.size), torch.nan)
    solution, other = fitter.finish(fitter.with_predicted_pose(seen, model), model, nowhere)
    assert (solution.status == FAILED).all() and other.cost.isnan().all()


def test_what_comes_out_can_be_differentiated_through(fitter, scene):
    """Fits run in PyTorch's inference mode; what they return does not stay in it."""
    seen, model = scene
    starts = fitter.best_starts(seen, model)
    solution, other = fitter.solve(seen, model)
    for tensor in (starts, solution.x, solution.cost, other.x):
        factor = torch.ones((), requires_grad=True)
        (factor * tensor.nan_to_num()).square().sum().backward()
        assert factor.grad > 0
    assert not any(one.model._bone.is_inference() for one in fitter.landmarks.of(model))
