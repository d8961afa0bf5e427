"""A Gaussian mixture with full covariances: fitted by EM, evaluated, sampled and conditioned, in torch.

It serves twice: as the density of the latent space a trained VAE really uses (Ghosh et al., "From variational to
deterministic autoencoders", ICLR 2020), and on poses themselves as the baseline every pose prior is compared with.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class GaussianMixture:
    """Weights (K,), means (K, D) and covariances (K, D, D)."""

    weights: Float[Tensor, " K"]
    means: Float[Tensor, "K D"]
    covariances: Float[Tensor, "K D D"]

    @cached_property
    def _whitening(self) -> tuple[Tensor, Tensor, Tensor]:
        """What evaluating needs of the covariances, once: whiteners, whitened means, log weights over normalisers."""
        factors = torch.linalg.cholesky(self.covariances)
        # Whitened offsets by one matrix product: far cheaper than a triangular solve for every x and component.
        whiteners = torch.linalg.inv(factors)
        means = torch.einsum("kd,ked->ke", self.means, whiteners)
        log_det = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return whiteners, means, self.weights.log() - log_det - 0.5 * self.means.shape[1] * math.log(2 * math.pi)

    def component_log_probs(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch K"]:
        """log weight_k + log N(x; mean_k, covariance_k)."""
        whiteners, means, log_factor = self._whitening
        centred = torch.einsum("...d,ked->...ke", x, whiteners) - means
        return log_factor - 0.5 * centred.square().sum(-1)

    def log_prob(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
        """Log density in nats."""
        return torch.logsumexp(self.component_log_probs(x), dim=-1)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "count D"]:
        """Independent draws."""
        component = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(
            count, self.means.shape[1], dtype=self.means.dtype, device=self.means.device, generator=generator
        )
        factors = torch.linalg.cholesky(self.covariances)
        return self.means[component] + torch.einsum("bde,be->bd", factors[component], noise)

    def moments(self) -> tuple[Float[Tensor, " D"], Float[Tensor, "D D"]]:
        """Mean and covariance of the whole mixture."""
        mean = self.weights @ self.means
        centred = self.means - mean
        between = torch.einsum("k,kd,ke->de", self.weights, centred, centred)
        return mean, between + torch.einsum("k,kde->de", self.weights, self.covariances)


def _k_means_plus_plus(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Starting means far apart from each other (Arthur and Vassilvitskii, 2007)."""
    chosen = [int(torch.randint(len(x), (1,), generator=generator))]
    distance = (x - x[chosen[0]]).square().sum(-1)
    for _ in range(count - 1):
        chosen.append(int(torch.multinomial(distance.clamp(min=1e-12), 1, generator=generator)))
        distance = torch.minimum(distance, (x - x[chosen[-1]]).square().sum(-1))
    return x[chosen]


def fit_mixture(
    x: Float[Tensor, "N D"],
    components: int,
    *,
    within: Float[Tensor, "N D"] | None = None,
    regularisation: float = 1e-4,
    iterations: int = 40,
    seed: int = 0,
) -> GaussianMixture:
    """Expectation-maximisation on N points.

    within: variances of a small diagonal Gaussian around each point (the posterior of a VAE), added to the covariance
    of the component the point belongs to. regularisation: added to every diagonal, in units of x squared.
    """
    generator = torch.Generator().manual_seed(seed)
    x = x.double()
    count, dim = x.shape
    components = max(1, min(components, count // (2 * dim) or 1))
    means = _k_means_plus_plus(x, components, generator)
    labels = torch.cdist(x, means).argmin(-1)
    responsibility = torch.nn.functional.one_hot(labels, components).double()
    eye = torch.eye(dim, dtype=x.dtype)
    mixture = None
    for _ in range(iterations):
        total = responsibility.sum(0) + 1e-9
        means = (responsibility.T @ x) / total[:, None]
        covariances = torch.empty(components, dim, dim, dtype=x.dtype)
        for k in range(components):
            centred = x - means[k]
            covariances[k] = (centred * responsibility[:, k : k + 1]).T @ centred / total[k] + regularisation * eye
            if within is not None:
                covariances[k] += torch.diag((responsibility[:, k] @ within.double()) / total[k])
            # A component of a few points has no covariance of its own: lean on its average variance.
            lean = dim / (total[k] + dim)
            covariances[k] = (1 - lean) * covariances[k] + lean * covariances[k].diagonal().mean() * eye
        mixture = GaussianMixture(total / total.sum(), means, covariances)
        responsibility = torch.softmax(mixture.component_log_probs(x), dim=-1)
    return mixture
