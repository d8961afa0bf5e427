"""Hypotheses along time: frames that face the wrong way are turned round by their neighbours."""

import copy
import math

import pytest
import roma
import torch

from bodyfit.fitting.benchmark.sequences import make_clip
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.group import observed
from bodyfit.fitting.sequence.starts import GroupStarter


@pytest.fixture(scope="module")
def made(fitter, motion):
    """All views have hypotheses."""
    clip = make_clip(fitter.body, motion, cameras=1, seed=1, moments=10)
    model, views = observed(fitter, clip.sightings, 0)
    return GroupStarter(fitter, model, views, 10, 30.0, SequenceConfig())


@pytest.fixture
def starter(made):
    """One of its own for each test."""
    own = copy.copy(made)
    own.x, own.cost = made.x.clone(), made.cost.clone()
    return own


def facing(starter, x):
    return roma.rotvec_to_rotmat(x[:, starter.layout["global_orient"]])


def turn_round(starter, frames):
    """The first hypothesis of these frames faces the other way, and is a little cheaper."""
    root = starter.layout["global_orient"]
    half = roma.rotvec_to_rotmat(torch.tensor([0.0, math.pi, 0.0]))
    for n in frames:
        wrong = starter.x[n, 0].clone()
        wrong[root] = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(wrong[root]) @ half)
        starter.x[n, 1:], starter.cost[n, 1:] = starter.x[n, :1], starter.cost[n, :1]
        starter.x[n, 0], starter.cost[n, 0] = wrong, 0.9 * starter.cost[n, 0]


def test_the_runner_up_is_taken_where_its_neighbours_agree_with_it(starter):
    expected = facing(starter, starter.start())
    turn_round(starter, [4, 5])
    assert roma.rotmat_geodesic_distance(facing(starter, starter.start()), expected).max() < 0.2


def test_without_a_right_hypothesis_the_neighbours_give_one(starter):
    expected = facing(starter, starter.start())
    turn_round(starter, [3, 4, 5])
    starter.cost[3:6, 1:] = torch.inf
    assert roma.rotmat_geodesic_distance(facing(starter, starter.start()), expected).max() < 0.3


def test_a_given_start_is_a_hypothesis(starter):
    """All frames face the wrong way; one given start turns them round, as it fits much better."""
    right = starter.start()
    turn_round(starter, range(10))
    starter.cost[:, 1:] = torch.inf
    starter.cost[:, 0] = 1e4
    turned = starter.start({5: right[5]})
    assert roma.rotmat_geodesic_distance(facing(starter, turned), facing(starter, right)).max() < 0.3


def test_views_without_hypotheses_start_between_those_with(starter):
    """All have their predicted poses."""
    config = SequenceConfig(starts_per_second=15.0)
    few = GroupStarter(starter.fitter, starter.model, starter.views, 10, 30.0, config)
    assert few.cost.isfinite().any(1).nonzero()[:, 0].tolist() == [0, 2, 4, 6, 8, 9]
    torch.testing.assert_close(few.views.seen.predicted.mean, starter.views.seen.predicted.mean)
    apart = roma.rotmat_geodesic_distance(facing(few, few.start()), facing(starter, starter.start()))
    assert apart.max() < 0.1
