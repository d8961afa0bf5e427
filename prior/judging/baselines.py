"""What is evaluated: trained VAEs and, as a baseline, a Gaussian mixture over poses, with the same few methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.prior.model import latent_fit
from bodyfit.prior.model import rotations as rot
from bodyfit.prior.model.mixture import GaussianMixture, fit_mixture
from bodyfit.prior.model.skeleton import pose_skeleton
from bodyfit.prior.model.vposer import VPoser

Rotations = Float[Tensor, "B 21 3 3"]
_DRAWS = 100  # as many effective samples as for a VAE, so that all models spread their hypotheses over equally many


class PoseModel(Protocol):
    """What the protocols ask of a pose prior."""

    name: str

    def sample(self, count: int, generator: torch.Generator) -> Rotations: ...

    def score(self, poses: Float[Tensor, "B 63"]) -> Float[Tensor, " B"]: ...

    def complete(
        self, rotations: Rotations, unknown: Sequence[int], count: int, generator: torch.Generator
    ) -> Tensor: ...

    def denoise(self, positions: Float[Tensor, "B 22 3"], sigma: float, generator: torch.Generator) -> Rotations: ...


@dataclass(frozen=True)
class VaeModel:
    """A VPoser with the methods that the protocols call."""

    prior: VPoser
    name: str

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Rotations:
        """New poses."""
        return self.prior.decode(self.prior.sample(count, generator))

    @torch.no_grad()
    def score(self, poses: Float[Tensor, "B 63"]) -> Float[Tensor, " B"]:
        """Plausibility of poses; higher is more plausible."""
        return self.prior.score(poses)

    def complete(self, rotations: Rotations, unknown: Sequence[int], count: int, generator: torch.Generator) -> Tensor:
        """Hypotheses (B, count, 21, 3, 3)."""
        return latent_fit.complete(self.prior, rotations, unknown, count, generator)

    def denoise(self, positions: Float[Tensor, "B 22 3"], sigma: float, generator: torch.Generator) -> Rotations:
        """The most probable pose of noisy joints."""
        return latent_fit.denoise(self.prior, positions, sigma, generator)


@dataclass(frozen=True)
class MixtureModel:
    """A prior as in SMPLify: a few Gaussians over axis-angle poses (Bogo et al., ECCV 2016)."""

    mixture: GaussianMixture
    name: str = "Gaussian mixture"

    @classmethod
    def fit(cls, poses: Float[Tensor, "N 63"], components: int = 8) -> "MixtureModel":
        """Fit by EM; eight Gaussians as in SMPLify."""
        mixture = fit_mixture(poses.double(), components, regularisation=1e-4, iterations=30)
        return cls(GaussianMixture(mixture.weights.float(), mixture.means.float(), mixture.covariances.float()))

    def sample(self, count: int, generator: torch.Generator) -> Rotations:
        """New poses."""
        return rot.matrices_from_axis_angle(self.mixture.sample(count, generator))

    def score(self, poses: Float[Tensor, "B 63"]) -> Float[Tensor, " B"]:
        """Log density."""
        return self.mixture.log_prob(poses)

    def complete(self, rotations: Rotations, unknown: Sequence[int], count: int, generator: torch.Generator) -> Tensor:
        """Exact samples of the mixture conditioned on the known joints: `count` of many, chosen to cover them."""
        poses = rot.axis_angle_from_matrices(rotations)
        hidden = torch.zeros(21, dtype=torch.bool)
        hidden[list(unknown)] = True
        hidden = hidden.repeat_interleave(3)
        many = max(_DRAWS, 5 * count)
        filled = poses[:, None].repeat(1, many, 1)
        filled[..., hidden] = _conditional_draws(self.mixture, poses, hidden, many, generator)
        weights = torch.full((len(poses), many), 1 / many)
        answers = rot.matrices_from_axis_angle(filled)
        return latent_fit.spread_hypotheses(answers, weights, unknown, count, generator)

    def denoise(self, positions: Float[Tensor, "B 22 3"], sigma: float, generator: torch.Generator) -> Rotations:
        """Gradient descent on the pose itself, from the best-fitting sample of the mixture."""
        bank = self.mixture.sample(4000, generator)
        bank_positions = pose_skeleton(rot.matrices_from_axis_angle(bank))[0]
        nearest = torch.cdist(positions.flatten(1), bank_positions.flatten(1)).argmin(1)

        def energy(poses: Tensor) -> Tensor:
            result = pose_skeleton(rot.matrices_from_axis_angle(poses))[0]
            return 0.5 * ((result - positions) / sigma).square().sum((-2, -1)) - self.mixture.log_prob(poses)

        # Radians, not latent units: smaller steps.
        return rot.matrices_from_axis_angle(latent_fit.descend(energy, bank[nearest], steps=160, rate=0.03))


def _conditional_draws(
    mixture: GaussianMixture, poses: Tensor, hidden: Tensor, count: int, generator: torch.Generator
) -> Float[Tensor, "B count H"]:
    seen = ~hidden
    marginal = GaussianMixture(
        mixture.weights, mixture.means[:, seen], mixture.covariances[:, seen][:, :, seen].contiguous()
    )
    component = torch.multinomial(
        marginal.component_log_probs(poses[:, seen]).softmax(-1), count, replacement=True, generator=generator
    )
    cross = mixture.covariances[:, hidden][:, :, seen]
    gain = torch.linalg.solve(marginal.covariances, cross.mT).mT
    left = mixture.covariances[:, hidden][:, :, hidden] - gain @ cross.mT
    factors = torch.linalg.cholesky(left + 1e-6 * torch.eye(left.shape[-1]))
    centred = poses[:, None, seen] - mixture.means[:, seen][component]
    mean = mixture.means[:, hidden][component] + torch.einsum("bkhs,bks->bkh", gain[component], centred)
    noise = torch.randn(mean.shape, generator=generator)
    return mean + torch.einsum("bkhg,bkg->bkh", factors[component], noise)
