"""Poses that fit partial or noisy evidence: completing, denoising and projecting, by descent in the latent space.

Each is one small energy, in nats: what the evidence says plus what the prior says, -log p(evidence | z) - log p(z).
The descent starts from the prior's own samples that fit the evidence best, so it starts near where it ends.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.prior import rotations as rot
from bodyfit.prior.skeleton import forward_kinematics
from bodyfit.prior.vposer import VPoser

Rotations = Float[Tensor, "*batch 21 3 3"]
_BANK = 4000
# How strongly hypotheses start from the bank's best fits; chosen on validation poses.
_SHARPNESS = 12.0
_STEPS = 80


def descend(
    energy: Callable[[Tensor], Float[Tensor, "*batch"]],
    start: Float[Tensor, "*batch D"],
    *,
    steps: int = _STEPS,
    rate: float = 0.1,
) -> Float[Tensor, "*batch D"]:
    """Minimise an energy of each row on its own (Adam, the rate falling to zero); rows do not influence each other."""
    x = start.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([x], rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        energy(x).sum().backward()
        optimizer.step()
        schedule.step()
    return x.detach()


def complete(
    prior: VPoser,
    rotations: Float[Tensor, "B 21 3 3"],
    unknown: Sequence[int],
    hypotheses: int = 10,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B hypotheses 21 3 3"]:
    """Poses that agree with the known joints and differ in the unknown ones as people do.

    unknown: indices of body joints whose rotations are not used. Known joints are returned as given.
    """
    known = torch.ones(rotations.shape[1], dtype=torch.bool)
    known[list(unknown)] = False
    bank = prior.sample(_BANK, generator)
    with torch.no_grad():
        bank_rotations = prior.decode(bank)
        misfit = _known_misfit(prior, bank_rotations[None], rotations[:, None], known)
        # Draw without replacement by likelihood (Gumbel's trick), softened: the bank has nothing closer to offer.
        chances = -misfit / misfit.amin(1, keepdim=True).clamp(min=1)
        uniform = torch.rand(chances.shape, generator=generator).clamp(1e-9, 1 - 1e-9)
        chosen = (_SHARPNESS * chances - (-uniform.log()).log()).topk(hypotheses, dim=1).indices
        mixed = torch.where(known[:, None, None], rotations[:, None], bank_rotations[chosen])
        anchor = prior.encode(rot.axis_angle_from_matrices(mixed)).mean
    spread = prior.latent_covariance.diagonal()

    def energy(latent: Tensor) -> Tensor:
        # Randomise, then optimise: the pull is towards each hypothesis' own start, so they stay different.
        pull = 0.5 * ((latent - anchor).square() / spread).sum(-1)
        return pull + _known_misfit(prior, prior.decode(latent), rotations[:, None], known)

    decoded = prior.decode(descend(energy, anchor))
    return torch.where(known[:, None, None], rotations[:, None], decoded)


def _known_misfit(prior: VPoser, result: Rotations, target: Rotations, known: Tensor) -> Float[Tensor, "*batch"]:
    angles = rot.rotation_angles(result[..., known, :, :], target[..., known, :, :])
    return 0.5 * (angles / prior.residual_scale[known]).square().sum(-1)


def denoise(
    prior: VPoser,
    positions: Float[Tensor, "B 22 3"],
    sigma: float,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B 21 3 3"]:
    """The most probable pose of noisy joint positions (metres from the pelvis, the pelvis not turned).

    sigma: standard deviation of the noise in metres, an axis.
    """
    mixture = prior.mixture
    bank = mixture.sample(_BANK, generator)
    with torch.no_grad():
        bank_positions = forward_kinematics(prior.decode(bank))[0]
        nearest = torch.cdist(positions.flatten(1), bank_positions.flatten(1)).argmin(1)

    def energy(latent: Tensor) -> Tensor:
        result = forward_kinematics(prior.decode(latent))[0]
        evidence = 0.5 * ((result - positions) / sigma).square().sum((-2, -1))
        return evidence - mixture.log_prob(latent)

    return prior.decode(descend(energy, bank[nearest], steps=2 * _STEPS))


def project(prior: VPoser, body_pose: Float[Tensor, "*batch width"], steps: int = _STEPS) -> Float[Tensor, "*batch 63"]:
    """The most probable pose near a given one: reconstruction, refined in the latent space for `steps` steps.

    With steps = 0 it is the plain reconstruction, and differentiable.
    """
    pose = rot.body_joints_of(body_pose)
    latent = prior.encode(pose).mean
    if steps:
        target = rot.matrices_from_axis_angle(pose.detach())
        mixture = prior.mixture
        everything = torch.ones(target.shape[-3], dtype=torch.bool)

        def energy(z: Tensor) -> Tensor:
            return _known_misfit(prior, prior.decode(z), target, everything) - mixture.log_prob(z)

        latent = descend(energy, latent, steps=steps)
    return prior.decode_axis_angle(latent)
