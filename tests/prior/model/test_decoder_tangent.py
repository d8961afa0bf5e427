"""The decoder's rotations and their derivative, against the prior itself and against automatic differentiation."""

import pytest
import roma
import torch

from bodyfit.prior.model.decoder_tangent import LEAST_ACROSS, Orthonormal, decode, decode_with_tangent, orthonormal
from bodyfit.prior.model.vposer import VPoser, VPoserConfig


@pytest.fixture(scope="module")
def prior() -> VPoser:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VPoser(VPoserConfig(decoder_hidden=48, negative_slope=0.2)).eval()


def _layers(prior: VPoser, dtype: torch.dtype):
    return [(w.detach().to(dtype), b.detach().to(dtype), s) for w, b, s in prior.decoder_layers()]


def _latent(dtype: torch.dtype, batch: int = 5):
    return torch.randn(batch, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotations_are_the_priors_own(prior, dtype):
    latent = _latent(dtype)
    with torch.no_grad():
        expected = prior.to(dtype).decode(latent)
    prior.float()
    layers = _layers(prior, dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-7  # the layers were rounded to float32 before
    torch.testing.assert_close(decode(layers, latent), expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(decode_with_tangent(layers, latent)[0], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("softness", [0.0, 0.1])
def test_tangent_against_autograd(prior, softness):
    """dR = [omega]_x R with omega = tangent dz."""
    latent, layers = _latent(torch.float64, batch=3), _layers(prior, torch.float64)
    rotation, tangent = decode_with_tangent(layers, latent, softness)
    exact = torch.autograd.functional.jacobian(lambda z: decode(layers, z, softness).sum(0), latent, vectorize=True)
    exact = exact.permute(3, 0, 1, 2, 4)  # (B, 21, 3, 3, Z)
    cross = torch.zeros(3, 3, 3, dtype=torch.float64)  # cross[a] = [e_a]_x
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        cross[a, c, b], cross[a, b, c] = 1, -1
    turned = torch.einsum("axy,njyw,njaz->njxwz", cross, rotation, tangent)
    torch.testing.assert_close(turned, exact, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_are_bounded_where_the_rotation_jumps(dtype):
    """Parallel columns: one number of a latent that outweighs all others leaves fits without covariances."""
    six = torch.tensor([[1.0, 1.0, 0.0, 1e-6, 0.0, 0.0], [1.0, 1.0, 0.0, 0.1, 0.0, 0.0]], dtype=dtype)
    here, beside = orthonormal(six).tangent().flatten(1).abs().amax(1)
    assert here <= 1.5 / LEAST_ACROSS
    torch.testing.assert_close(beside, torch.tensor(10.0, dtype=dtype))  # exact there


def test_a_smooth_decoders_chain_is_its_own_with_its_softness():
    """What the fitting computes from `decoder_layers` and `config.decoder_softness` is what the prior decodes."""
    prior = VPoser(VPoserConfig(decoder_hidden=48, decoder_softness=0.5)).double()
    latent = _latent(torch.float64)
    chain = decode(_layers(prior, torch.float64), latent, prior.config.decoder_softness)
    torch.testing.assert_close(chain, prior.decode(latent), rtol=0, atol=1e-7)


def test_a_smooth_decoder_bends_with_the_square_of_the_step():
    """Second differences over a short way: four times shorter, sixteen times smaller, and no kink in any item."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = VPoser(VPoserConfig(decoder_softness=0.5)).double()
    latent, way = _latent(torch.float64, 40), _latent(torch.float64, 41)[1:]
    way = way / way.norm(dim=1, keepdim=True)
    with torch.no_grad():
        bends = [
            (prior.decode(latent + h * way) - 2 * prior.decode(latent) + prior.decode(latent - h * way)).flatten(1)
            for h in (0.05, 0.2)
        ]
    ratio = bends[1].norm(dim=1) / bends[0].norm(dim=1)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 16.0), rtol=0.05, atol=0)


def test_gram_schmidt_makes_rotations_and_keeps_them():
    rotation = roma.random_rotmat(7, dtype=torch.float64)
    kept = Orthonormal.of(rotation[..., :2, None]).rotation()[0]
    torch.testing.assert_close(kept, rotation, rtol=0, atol=1e-12)
    six = torch.randn(1, 3, 2, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = Orthonormal.of(six).rotation()[:, 0]
    torch.testing.assert_close(made.transpose(1, 2) @ made, torch.eye(3, dtype=torch.float64).expand(9, 3, 3))
    torch.testing.assert_close(torch.linalg.det(made), torch.ones(9, dtype=torch.float64))


def test_rounding_the_kinks_changes_poses_little_and_less_with_its_width(prior):
    latent, layers = _latent(torch.float64), _layers(prior, torch.float64)
    exact = decode(layers, latent)
    angles = [roma.rotmat_geodesic_distance(decode(layers, latent, width), exact).max() for width in (0.1, 0.01, 1e-4)]
    assert angles[0] > angles[1] > angles[2]
    assert angles[2] < 1e-3
