"""Poses that fit partial or noisy evidence: completion by importance sampling, denoising by gradient descent.

The descent minimises one small energy in the latent space, in nats: -log p(evidence | z) - log p(z). It starts from the
prior's own samples that fit the evidence best.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.prior.model.descent import descend
from bodyfit.prior.model.rotations import mirror_half
from bodyfit.prior.model.skeleton import pose_skeleton
from bodyfit.prior.model.vposer import VPoser

_BANK = 4000
# Completion: how many samples are drawn, how many of them are compared, the effective sample size, and how far
# hypotheses move towards their mean; chosen on validation poses.
_COMPLETION_BANK, _NEAREST, _EFFECTIVE, _TOWARDS_MEAN = 20_000, 500, 100.0, 0.25


@torch.no_grad()
def complete(
    prior: VPoser,
    rotations: Float[Tensor, "B 21 3 3"],
    unknown: Sequence[int],
    hypotheses: int = 10,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B hypotheses 21 3 3"]:
    """Plausible poses that agree with the known joints and differ in the unknown ones, the most probable first.

    unknown: indices of body joints whose rotations are not used. Known joints are returned as given.

    Importance sampling: many samples of the prior and their mirror images are weighted by how near their known joints
    are. The hypotheses are spread over the samples with large weights, and none occurs twice.
    """
    known = torch.ones(rotations.shape[1], dtype=torch.bool, device=rotations.device)
    known[list(unknown)] = False
    bank = mirror_half(prior.decode(prior.sample(max(_COMPLETION_BANK, 10 * hypotheses), generator)), generator)
    distance = torch.cdist(_evidence(rotations, known), _evidence(bank, known))
    near = distance.topk(max(_NEAREST, 5 * hypotheses), largest=False)
    weights = _softened(0.5 * near.values.square(), _EFFECTIVE)
    answers = torch.where(known[:, None, None], rotations[:, None], bank[near.indices])
    return spread_hypotheses(answers, weights, unknown, hypotheses, generator)


def spread_hypotheses(
    answers: Float[Tensor, "B N 21 3 3"],
    weights: Float[Tensor, "B N"],
    unknown: Sequence[int],
    count: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B count 21 3 3"]:
    """Of many weighted hypotheses, a few that cover the positions of the unknown joints; the most probable first."""
    hidden = [joint + 1 for joint in unknown]  # in positions, the pelvis comes first
    chosen = _spread_out(pose_skeleton(answers)[0][:, :, hidden].flatten(2), weights, count, generator)
    return answers[torch.arange(len(answers), device=chosen.device)[:, None], chosen]


def _evidence(rotations: Float[Tensor, "N 21 3 3"], known: Tensor) -> Float[Tensor, "N F"]:
    """Positions of the known joints, in decimetres with the unknown ones at rest, and their rotations (radians).

    Positions matter more: motion-capture laboratories distribute a bend differently over the joints of the spine, but
    agree on where it ends.
    """
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    positions = pose_skeleton(torch.where(known[:, None, None], rotations, identity))[0][:, 1:]
    turned = rotations[:, known].flatten(1) / math.sqrt(2)  # the chordal distance of two approximates their angle
    return torch.cat([positions[:, known].flatten(1) / 0.1, turned], dim=1)


def _softened(energy: Float[Tensor, "B N"], effective: float) -> Float[Tensor, "B N"]:
    """Weights exp(-t energy), summing to one, with t such that the effective sample size 1 / sum(w^2) is about
    `effective`."""
    low, high = torch.full_like(energy[:, :1], 1e-5), torch.full_like(energy[:, :1], 100.0)
    for _ in range(30):
        middle = (low * high).sqrt()
        many = 1 / torch.softmax(-middle * energy, 1).square().sum(1, keepdim=True) > effective
        low, high = torch.where(many, middle, low), torch.where(many, high, middle)
    return torch.softmax(-low * energy, 1)


def _spread_out(
    points: Float[Tensor, "B N D"], weights: Float[Tensor, "B N"], count: int, generator: torch.Generator | None
) -> Int[Tensor, "B count"]:
    """Indices of `count` points that cover the weighted ones: near the centres of weighted k-means, the heaviest first.

    The centres move a quarter of the way to the weighted mean, since distant clusters of few samples are often wrong.
    """
    rows = torch.arange(len(points), device=points.device)[:, None]
    centres = points[rows, torch.multinomial(weights, count, generator=generator)]
    for _ in range(6):
        belongs = torch.nn.functional.one_hot(torch.cdist(points, centres).argmin(2), count) * weights[..., None]
        mass = belongs.sum(1)
        means = (belongs.mT @ points) / mass[..., None].clamp(min=1e-12)
        centres = torch.where(mass[..., None] > 0, means, centres)
    centres = centres[rows, mass.argsort(dim=1, descending=True)]
    centres = centres + _TOWARDS_MEAN * ((weights[..., None] * points).sum(1, keepdim=True) - centres)
    distance = torch.cdist(centres, points)
    chosen = []
    for index in range(count):
        chosen.append(distance[:, index].argmin(1, keepdim=True))
        distance.scatter_(2, chosen[-1][:, None].expand(-1, count, -1), torch.inf)
    return torch.cat(chosen, dim=1)


def denoise(
    prior: VPoser,
    positions: Float[Tensor, "B 22 3"],
    sigma: float,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B 21 3 3"]:
    """The most probable pose of noisy joint positions (metres from the pelvis, the pelvis not turned).

    sigma: standard deviation of the noise in metres, per axis. Probability is that of a single Gaussian, the aggregate
    posterior, as in fits: it generalises to unseen people better than the mixture.
    """
    whitener = torch.linalg.inv(torch.linalg.cholesky(prior.latent_covariance))
    bank = prior.sample(_BANK, generator)
    with torch.no_grad():
        bank_positions = pose_skeleton(prior.decode(bank))[0]
        nearest = torch.cdist(positions.flatten(1), bank_positions.flatten(1)).argmin(1)

    def energy(latent: Tensor) -> Tensor:
        result = pose_skeleton(prior.decode(latent))[0]
        evidence = 0.5 * ((result - positions) / sigma).square().sum((-2, -1))
        return evidence + 0.5 * ((latent - prior.latent_mean) @ whitener.T).square().sum(-1)

    return prior.decode(descend(energy, bank[nearest], steps=160))
