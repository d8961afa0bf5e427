"""The pose predicted from keypoints: true of the examples it was measured on, and no surer than predictions are."""

import pytest
import roma
import torch

from bodyfit.fitting.start.network import StartNetwork, StartNetworkConfig, StartNetworkError, StartProposals
from bodyfit.fitting.start.predicted_pose import PosePredictor


def poses(count=1000, seed=0):
    return 0.3 * torch.randn(count, 63, generator=torch.Generator().manual_seed(seed))


def network(true, read):
    made = StartNetwork(StartNetworkConfig(width=8, blocks=1, heads=2))
    made.examples = torch.stack([true, read])
    return made


def one_reading(pose):
    """What a network of one head puts out that expects the pose."""
    turns = roma.rotvec_to_rotmat(pose.unflatten(1, (21, 3)))
    one = turns.new_ones(len(turns), 1)
    return StartProposals(turns[:, None, 0], turns[:, None], 0 * one.expand(-1, 10)[:, None], one, turns, body="any")


def test_misses_of_the_examples_are_one_standard_deviation_large_and_go_no_way_in_particular(random_prior):
    true = poses()
    read = 0.5 * true + poses(seed=1) / 3 + 0.1
    expected = PosePredictor(random_prior, network(true, read))(one_reading(read))
    missed = (random_prior.encode(true).mean - expected.mean) @ expected.whitener.T
    assert missed.mean(0).abs().max() < 1e-3
    covariance = missed.T @ missed / len(missed)
    torch.testing.assert_close(covariance, torch.eye(32), rtol=0, atol=0.05)


def test_predictions_without_information_change_nothing(random_prior):
    true, read = poses(8000), poses(8000, seed=1)
    expected = PosePredictor(random_prior, network(true, read))(one_reading(poses(200, seed=2)))
    latents = random_prior.encode(true).mean
    assert ((expected.mean - latents.mean(0)) / latents.std(0)).square().mean() < 0.02


def test_good_predictions_are_followed(random_prior):
    true = poses()
    expect = PosePredictor(random_prior, network(true, true + 1e-3 * poses(seed=1)))
    new = poses(50, seed=2)
    away = (expect(one_reading(new)).mean - random_prior.encode(new).mean).square().mean()
    assert away < 1e-3 * random_prior.encode(new).mean.var()


def test_too_few_examples_are_refused(random_prior):
    with pytest.raises(StartNetworkError, match="40 examples"):
        PosePredictor(random_prior, network(poses(40), poses(40)))
