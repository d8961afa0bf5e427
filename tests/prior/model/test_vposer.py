"""What the shipped prior serves: any batch shape and precision, gradients, a plain decoder chain, sane scores."""

import copy

import numpy as np
import pytest
import torch

from bodyfit.prior.judging.impossible import IMPOSSIBLE
from bodyfit.prior.model import rotations as rot
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.prior.model.decoder_tangent import activation
from bodyfit.prior.model.latent_fit import _softened, _spread_out, complete, denoise
from bodyfit.prior.model.parts import COMPLETION_PARTS
from bodyfit.prior.model.skeleton import pose_skeleton
from bodyfit.prior.model.vposer import VPoser, VPoserConfig


@pytest.fixture(scope="module")
def prior():
    return load_prior()


@pytest.fixture(scope="module")
def people(prior):
    return prior.decode_axis_angle(prior.sample(64, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_batch_shape_and_precision(shape, dtype):
    prior = load_prior().to(dtype)
    pose = 0.2 * torch.randn(*shape, 63, dtype=dtype)
    latent = prior.encode(pose).mean
    assert latent.shape == (*shape, 32)
    assert prior.decode(latent).shape == (*shape, 21, 3, 3)
    assert prior.decode_6d(latent).shape == (*shape, 21, 3, 2)
    assert prior.decode_axis_angle(latent, joints=23).shape == (*shape, 69)
    for scores in (prior.log_prob(pose), prior.score(pose), prior.latent_log_prob(latent)):
        assert scores.shape == shape and scores.dtype is dtype and torch.isfinite(scores).all()
    assert prior.interpolate(pose, -pose, 5).shape == (5, *shape, 63)
    assert prior.project(pose, steps=2).shape == (*shape, 63)


@pytest.mark.parametrize("name", ["encode", "log_prob", "score", "project", "interpolate"])
def test_poses_of_numpy_and_of_another_precision(prior, people, name):
    """Results of fits hold NumPy arrays in float64, the shipped weights are float32: both go together."""

    def answer(poses):
        found = getattr(prior, name)(*((poses, poses, 3) if name == "interpolate" else (poses,)))
        return (found.mean if name == "encode" else found).detach()

    for poses in (people.detach().double(), people.detach().double().numpy(), people.detach().tolist()):
        torch.testing.assert_close(answer(poses), answer(people))


def test_latents_of_numpy(prior):
    latent = prior.sample(3, torch.Generator().manual_seed(1))
    for given in (latent.double(), latent.numpy().astype(np.float64)):
        torch.testing.assert_close(prior.decode_axis_angle(given), prior.decode_axis_angle(latent))
        torch.testing.assert_close(prior.latent_log_prob(given), prior.latent_log_prob(latent))


def test_what_is_no_latent_or_no_count_is_said(prior):
    with pytest.raises(ValueError, match=r"latent must have 32 numbers .* got shape \(31,\)"):
        prior.decode(torch.zeros(31))
    with pytest.raises(ValueError, match="count is 0"):
        prior.sample(0)


def test_an_encoding_does_not_depend_on_the_batch(prior, people):
    torch.testing.assert_close(prior.encode(people).mean[3:4], prior.encode(people[3:4]).mean, atol=1e-5, rtol=1e-5)


def test_smpl_poses_encode_like_their_first_21_joints(prior, people):
    padded = torch.nn.functional.pad(people, (0, 6), value=0.3)
    torch.testing.assert_close(prior.encode(padded).mean, prior.encode(people).mean)


def test_the_decoder_chain_is_the_decoder(prior):
    latent = torch.randn(7, 32)
    x = latent
    for weight, bias, slope in prior.decoder_layers():
        x = x @ weight.T + bias
        x = x if slope is None else activation(x, slope, prior.config.decoder_softness)
    torch.testing.assert_close(x.unflatten(-1, (21, 3, 2)), prior.decode_6d(latent), atol=1e-5, rtol=1e-5)
    rotations = prior.decode(latent)
    eye = torch.eye(3).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, eye, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(7, 21), atol=1e-5, rtol=0)


def test_gradients_reach_pose_and_latent():
    prior = load_prior().double()
    latent = prior.sample(1, torch.Generator().manual_seed(0)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: prior.decode(z), latent, atol=1e-4)
    pose = prior.decode_axis_angle(latent).detach().requires_grad_(True)
    for value in (prior.score(pose), prior.log_prob(pose), prior.project(pose, steps=0).sum()):
        (gradient,) = torch.autograd.grad(value.sum(), pose)
        assert torch.isfinite(gradient).all() and gradient.abs().max() > 0


def test_the_same_seed_samples_the_same_poses(prior):
    first = prior.sample(5, torch.Generator().manual_seed(4))
    torch.testing.assert_close(first, prior.sample(5, torch.Generator().manual_seed(4)), atol=0, rtol=0)
    assert not torch.equal(first, prior.sample(5, torch.Generator().manual_seed(5)))


def test_the_latent_space_is_near_a_unit_gaussian(prior):
    """And its one mean and covariance, which fits use, are those of the samples and their mirror images."""
    assert prior.latent_mean.abs().max() < 0.75
    assert prior.latent_covariance.diagonal().min() > 0.3 and prior.latent_covariance.diagonal().max() < 2.5
    rotations = prior.decode(prior.sample(4000, torch.Generator().manual_seed(0)))
    both = torch.cat([rotations, rot.mirror(rotations)])
    latent = prior.encode(rot.axis_angle_from_matrices(both)).mean
    torch.testing.assert_close(latent.mean(0), prior.latent_mean, atol=0.15, rtol=0)
    ratio = latent.var(0) / prior.latent_covariance.diagonal()
    assert ratio.min() > 0.7 and ratio.max() < 1.4


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_impossible_poses_score_below_people(kind, prior, people):
    broken = IMPOSSIBLE[kind](rot.matrices_from_axis_angle(people), torch.Generator().manual_seed(1))
    scores = prior.score(rot.axis_angle_from_matrices(broken))
    assert (scores < prior.score(people).quantile(0.1)).double().mean() > 0.9


def test_projecting_keeps_people_and_mends_the_impossible(prior, people):
    kept = pose_skeleton(rot.matrices_from_axis_angle(prior.project(people)))[0]
    target = pose_skeleton(rot.matrices_from_axis_angle(people))[0]
    assert (kept - target).norm(dim=-1).mean() < 0.03
    broken = rot.axis_angle_from_matrices(
        IMPOSSIBLE["turned"](rot.matrices_from_axis_angle(people), torch.Generator().manual_seed(1))
    )
    assert prior.score(prior.project(broken)).median() > prior.score(broken).median() + 5


def test_interpolation_starts_and_ends_at_the_reconstructions(prior, people):
    way = prior.interpolate(people[0], people[1], 7)
    torch.testing.assert_close(way[0], prior.project(people[0], steps=0))
    torch.testing.assert_close(way[-1], prior.project(people[1], steps=0))


def test_completion_keeps_what_is_known_and_offers_different_answers(prior, people):
    target = rot.matrices_from_axis_angle(people[:4])
    part = list(COMPLETION_PARTS["arms"])
    result = complete(prior, target, part, 5, torch.Generator().manual_seed(0))
    known = [joint for joint in range(21) if joint not in part]
    torch.testing.assert_close(result[:, :, known], target[:, None, known].expand(-1, 5, -1, -1, -1))
    apart = torch.cdist(result[:, :, part].flatten(2), result[:, :, part].flatten(2)) + torch.eye(5)
    assert apart.min() > 0.01


def test_completion_is_nearer_to_the_truth_than_chance(prior, people):
    target, part = rot.matrices_from_axis_angle(people[:16]), list(COMPLETION_PARTS["legs"])
    result = pose_skeleton(complete(prior, target, part, 5, torch.Generator().manual_seed(0)))[0]
    truth = pose_skeleton(target)[0][:, None]
    hidden = [joint + 1 for joint in part]
    errors = (result - truth)[:, :, hidden].norm(dim=-1).mean()
    others = (truth.roll(1, 0) - truth)[:, :, hidden].norm(dim=-1).mean()
    assert errors < 0.8 * others


def test_weights_are_softened_until_enough_count():
    energy = 1000 * torch.rand(3, 500, generator=torch.Generator().manual_seed(0))
    weights = _softened(energy, 40.0)
    torch.testing.assert_close(1 / weights.square().sum(1), torch.full((3,), 40.0), rtol=0.01, atol=0)
    assert (weights.argmax(1) == energy.argmin(1)).all()


def test_hypotheses_cover_the_clusters_heaviest_first():
    generator = torch.Generator().manual_seed(0)
    near, far = torch.randn(1, 80, 2, generator=generator), torch.randn(1, 20, 2, generator=generator) + 50
    chosen = _spread_out(torch.cat([far, near], 1), torch.full((1, 100), 0.01), 2, generator)
    assert chosen[0, 0] >= 20 and chosen[0, 1] < 20


def test_denoising_brings_joints_nearer_to_the_truth(prior, people):
    target = pose_skeleton(rot.matrices_from_axis_angle(people[:16]))[0]
    noise = 0.04 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    result = pose_skeleton(denoise(prior, target + noise, 0.04, torch.Generator().manual_seed(0)))[0]
    before, after = noise[:, 1:].norm(dim=-1).mean(), (result - target)[:, 1:].norm(dim=-1).mean()
    assert after < 0.75 * before


def test_the_mixture_is_made_once_and_again_when_its_numbers_change():
    prior = VPoser(VPoserConfig(decoder_hidden=16, mixture_components=3)).eval()
    z = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    first = prior.mixture
    assert prior.mixture is first
    before = prior.latent_log_prob(z)
    prior.mixture_means += 1  # in place
    assert not torch.allclose(prior.latent_log_prob(z), before)
    prior.load_state_dict(prior.state_dict() | {"mixture_means": torch.zeros(3, 32)})
    torch.testing.assert_close(prior.latent_log_prob(z), before)
    assert prior.double().latent_log_prob(z.double()).dtype == torch.float64
    assert copy.deepcopy(prior).mixture is not prior.mixture


def test_a_mixture_made_in_inference_mode_can_be_differentiated_through():
    prior = VPoser(VPoserConfig(decoder_hidden=16)).eval()
    with torch.inference_mode():
        prior.latent_log_prob(torch.zeros(1, 32))
    z = torch.ones(1, 32, requires_grad=True)
    prior.latent_log_prob(z).sum().backward()
    torch.testing.assert_close(z.grad, -torch.ones(1, 32))  # of a unit Gaussian
