"""A Gaussian mixture with full covariances: fitted by EM, evaluated, sampled and conditioned, in torch.

It has two uses: as the density of the latent space that a trained VAE really occupies (Ghosh et al., "From variational
to deterministic autoencoders", ICLR 2020), and on poses themselves as the baseline of the evaluation.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

_NUMBERS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class GaussianMixture:
    """Weights (K,), means (K, D) and covariances (K, D, D)."""

    weights: Float[Tensor, " K"]
    means: Float[Tensor, "K D"]
    covariances: Float[Tensor, "K D D"]

    @cached_property
    def _whitening(self) -> tuple[Tensor, Tensor, Tensor]:
        """What evaluation needs of the covariances, computed once: whiteners, whitened means, log weights."""
        factors = self._factors
        with torch.inference_mode(mode=False):
            # One matrix product gives all whitened offsets: far cheaper than triangular solves.
            whiteners = torch.linalg.inv(factors)
            means = torch.einsum("kd,ked->ke", self.means, whiteners)
            log_det = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            return whiteners, means, self.weights.log() - log_det - 0.5 * self.means.shape[1] * math.log(2 * math.pi)

    @cached_property
    def _factors(self) -> Float[Tensor, "K D D"]:
        """Cholesky factors of the covariances."""
        with torch.inference_mode(mode=False):  # what is kept may be used outside of it
            return torch.linalg.cholesky(self.covariances)

    def component_log_probs(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch K"]:
        """log weight_k + log N(x; mean_k, covariance_k)."""
        whiteners, means, log_factor = self._whitening
        rows = x.reshape(-1, x.shape[-1])
        # Whitened offsets for every row and component take much memory: process some rows at a time.
        parts = [
            (torch.einsum("nd,ked->nke", some, whiteners) - means).square().sum(-1)
            for some in rows.split(max(1, _NUMBERS_AT_ONCE // means.numel()))
        ]
        return (log_factor - 0.5 * torch.cat(parts)).reshape(*x.shape[:-1], -1)

    def log_prob(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
        """Log density in nats."""
        return torch.logsumexp(self.component_log_probs(x), dim=-1)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "count D"]:
        """Independent draws."""
        component = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(
            count, self.means.shape[1], dtype=self.means.dtype, device=self.means.device, generator=generator
        )
        return self.means[component] + torch.einsum("bde,be->bd", self._factors[component], noise)

    def moments(self) -> tuple[Float[Tensor, " D"], Float[Tensor, "D D"]]:
        """Mean and covariance of the whole mixture."""
        mean = self.weights @ self.means
        centred = self.means - mean
        between = torch.einsum("k,kd,ke->de", self.weights, centred, centred)
        return mean, between + torch.einsum("k,kde->de", self.weights, self.covariances)


def _k_means(x: Float[Tensor, "N D"], count: int, generator: torch.Generator) -> Float[Tensor, "N K"]:
    """Initial responsibilities, zeros and ones, from centres far apart (k-means++, Arthur and Vassilvitskii, 2007)."""
    chosen = [int(torch.randint(len(x), (1,), generator=generator))]
    distance = (x - x[chosen[0]]).square().sum(-1)
    for _ in range(count - 1):
        chosen.append(int(torch.multinomial(distance.clamp(min=1e-12), 1, generator=generator)))
        distance = torch.minimum(distance, (x - x[chosen[-1]]).square().sum(-1))
    means = x[chosen]
    for _ in range(4):
        labels = torch.cat([torch.cdist(rows, means).argmin(-1) for rows in x.split(8192)])
        sizes = torch.bincount(labels, minlength=count).clamp(min=1).to(x)
        means = torch.zeros_like(means).index_add_(0, labels, x) / sizes[:, None]
    return torch.nn.functional.one_hot(labels, count).to(x)


def fit_mixture(
    x: Float[Tensor, "N D"],
    components: int,
    *,
    within: Float[Tensor, "N D"] | None = None,
    regularisation: float = 1e-4,
    iterations: int = 40,
    seed: int = 0,
) -> GaussianMixture:
    """Expectation-maximisation on N points, in the dtype of the points.

    within: variances of a small diagonal Gaussian around each point (the posterior of a VAE), added to the covariance
    of the component the point belongs to. regularisation: added to every diagonal, in units of x squared.
    """
    count, dim = x.shape
    components = max(1, min(components, count // (2 * dim) or 1))
    responsibility = _k_means(x, components, torch.Generator().manual_seed(seed))
    mixture = None
    for iteration in range(iterations):
        mixture = _maximise(x, responsibility.T.contiguous(), within, regularisation)
        if iteration < iterations - 1:
            responsibility = torch.softmax(mixture.component_log_probs(x), dim=-1)
    return mixture


def _maximise(
    x: Float[Tensor, "N D"],
    responsibility: Float[Tensor, "K N"],
    within: Float[Tensor, "N D"] | None,
    regularisation: float,
) -> GaussianMixture:
    """The M step: the mixture for given responsibilities."""
    components, dim = len(responsibility), x.shape[1]
    total = responsibility.sum(1) + 1e-6
    means = (responsibility @ x) / total[:, None]
    covariances = x.new_empty(components, dim, dim)
    for k in range(components):
        rows = (responsibility[k] > 1e-4).nonzero()[:, 0]
        shares, centred = responsibility[k, rows], x[rows] - means[k]
        covariances[k] = (centred * shares[:, None]).T @ centred / total[k]
        if within is not None:
            covariances[k] += torch.diag((shares @ within[rows]) / total[k])
    # The covariance of a component with few points is shrunk towards the mean covariance of all components.
    weights = total / total.sum()
    average = torch.einsum("k,kde->de", weights, covariances)
    shape = average / average.diagonal().mean().clamp(min=1e-12)
    size = covariances.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    lean = (dim / (total + dim))[:, None, None]
    covariances = (1 - lean) * covariances + lean * size * shape
    covariances += regularisation * torch.eye(dim, dtype=x.dtype, device=x.device)
    return GaussianMixture(weights, means, covariances)
