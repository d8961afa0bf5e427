"""Statistics of a trained VAE that are stored with its weights.

The distribution of real poses in the latent space, the reconstruction error, and the range of rotation per joint.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.prior.model import rotations as rot
from bodyfit.prior.model.mixture import GaussianMixture, fit_mixture
from bodyfit.prior.model.parts import joint_indices
from bodyfit.prior.model.vposer import VPoser
from bodyfit.prior.training import augment

_ITERATIONS = 10
_RANGE_COMPONENTS, _RANGE_POSES = 16, 20_000
# How soft the limit of each joint's range is (radians). Knees and elbows have a hard limit. The ranges of the others
# differ between laboratories, whose skeletons distribute a rotation differently over neighbouring joints.
_SOFT, _HARD = 0.10, 0.03
_HINGES = joint_indices("left_knee", "right_knee", "left_elbow", "right_elbow")


@torch.no_grad()
def measure(
    prior: VPoser,
    training: Float[Tensor, "N 63"],
    validation: Float[Tensor, "M 63"],
    *,
    components: int,
    mixture_spread: float = 1.0,
    still_spread: float = 0.05,
    seed: int = 0,
) -> VPoser:
    """A copy of the prior with its statistics filled in, in evaluation mode on the CPU.

    training: poses drawn as for training (balanced), ideally as many as there are. validation: poses the weights were
    not fitted to. mixture_spread: factor on the mixture's covariances.

    The mixture describes poses as they were recorded; the single mean and covariance for fits, and the ranges of the
    joints, are symmetric.
    """
    generator = torch.Generator().manual_seed(seed)
    rotations = augment.fill_still_joints(rot.matrices_from_axis_angle(training), still_spread, generator)
    prior = prior.cpu().eval()
    posterior = _posterior(prior, rotations)
    mixture = fit_mixture(posterior.mean, components, within=posterior.variance, iterations=_ITERATIONS, seed=seed)
    mixture = replace(mixture, covariances=mixture_spread * mixture.covariances)
    config = replace(prior.config, mixture_components=len(mixture.weights), range_components=_RANGE_COMPONENTS)
    result = VPoser(config, name=prior.name).eval()
    result.load_state_dict(prior.state_dict() | _mixture_state(mixture), strict=False)
    _measure_moments(result, posterior, _posterior(prior, rot.mirror(rotations)))
    _measure_residual(result, validation)
    spaced = rotations[:: max(1, len(rotations) // _RANGE_POSES)]
    _measure_ranges(result, rot.mirror_half(spaced, generator), validation, seed)
    return result


def _posterior(prior: VPoser, rotations: Float[Tensor, "N 21 3 3"]) -> torch.distributions.Normal:
    return prior.encode(rot.axis_angle_from_matrices(rotations))


def _measure_moments(prior: VPoser, *posteriors: torch.distributions.Normal) -> None:
    """Mean and covariance of latents drawn from these posteriors."""
    means = torch.cat([posterior.mean for posterior in posteriors])
    variances = torch.cat([posterior.variance for posterior in posteriors])
    prior.latent_mean.copy_(means.mean(0))
    prior.latent_covariance.copy_(torch.cov(means.T) + torch.diag(variances.mean(0)))


def _mixture_state(mixture: GaussianMixture) -> dict[str, Tensor]:
    return {
        "mixture_weights": mixture.weights.float(),
        "mixture_means": mixture.means.float(),
        "mixture_covariances": mixture.covariances.float(),
    }


def _measure_residual(prior: VPoser, poses: Float[Tensor, "M 63"]) -> None:
    decoded = prior.decode(prior.encode(poses).mean)
    angles = rot.rotation_angles(decoded, rot.matrices_from_axis_angle(poses))
    # At least half a degree: a joint that never moved in the data must not reject every pose.
    prior.residual_scale.copy_((angles.square().mean(0) / 3).sqrt() + math.radians(0.5))


def _measure_ranges(
    prior: VPoser, rotations: Float[Tensor, "N 21 3 3"], validation: Float[Tensor, "M 63"], seed: int
) -> None:
    columns = rotations[..., :2].flatten(-2).double()
    for joint in range(columns.shape[1]):
        softness = _HARD if joint in _HINGES else _SOFT
        mixture = fit_mixture(
            columns[:, joint], _RANGE_COMPONENTS, regularisation=softness**2, iterations=12, seed=seed
        )
        prior.range_weights[joint] = mixture.weights.float()
        prior.range_means[joint] = mixture.means.float()
        prior.range_covariances[joint] = mixture.covariances.float()
    surprise = prior.range_surprise(rot.matrices_from_axis_angle(validation))
    prior.range_usual.copy_(surprise.mean(0))


@torch.no_grad()
def active_dimensions(prior: VPoser, poses: Float[Tensor, "N 63"], threshold: float = 0.01) -> int:
    """Latent dimensions whose posterior mean varies by more than the threshold over poses (Burda et al., 2016)."""
    return int((prior.encode(poses).mean.var(0) > threshold).sum())
