"""The terms of the training loss, each a small function of target and reconstructed rotations (B, 21, 3, 3)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.prior.model.rotations import rotation_angles
from bodyfit.prior.model.skeleton import pose_skeleton, skin_points
from bodyfit.prior.training.recipes import TrainConfig


@dataclass(frozen=True)
class LossTerms:
    """The sum to minimise and its unweighted parts (metres, radians, nats), for the curves."""

    total: Float[Tensor, ""]
    positions: Float[Tensor, ""]
    angles: Float[Tensor, ""]
    divergence: Float[Tensor, ""]


def divergence_from_unit(mean: Float[Tensor, "B Z"], spread: Float[Tensor, "B Z"]) -> Float[Tensor, " Z"]:
    """Kullback-Leibler divergence of N(mean, spread) from N(0, 1) in nats per latent dimension, mean over the batch."""
    return (0.5 * (mean.square() + spread.square() - 1) - spread.log()).mean(0)


def joint_distance(target: Float[Tensor, "B J 3"], result: Float[Tensor, "B J 3"]) -> Float[Tensor, ""]:
    """Mean Euclidean distance, with a finite gradient at zero. The pelvis never moves and is left out."""
    return ((target - result)[:, 1:].square().sum(-1) + 1e-8).sqrt().mean()


def training_loss(
    target: Float[Tensor, "B 21 3 3"],
    result: Float[Tensor, "B 21 3 3"],
    posterior: torch.distributions.Normal,
    config: TrainConfig,
    *,
    progress: float = 1.0,
    early: bool = False,
) -> LossTerms:
    """All terms of a recipe. progress: share of training done, for the warm-up; early: within the early epochs."""
    (target_joints, target_frames), (joints, frames) = pose_skeleton(target), pose_skeleton(result)
    positions = joint_distance(target_joints, joints)
    angles = rotation_angles(target, result).mean()
    per_dimension = divergence_from_unit(posterior.mean, posterior.stddev)
    ramp = min(1.0, progress / config.kl_warm_up) if config.kl_warm_up > 0 else 1.0
    total = (
        config.position_weight * positions
        + config.rotation_weight * angles
        + ramp * config.kl_weight * per_dimension.clamp(min=config.free_bits).sum()
    )
    if config.surface_weight:
        difference = skin_points(target_joints, target_frames) - skin_points(joints, frames)
        total = total + config.surface_weight * difference.abs().mean()
    if config.early_weight and early:
        total = total + config.early_weight * (angles + (target_joints - joints).abs().mean())
    return LossTerms(total, positions.detach(), angles.detach(), per_dimension.sum().detach())
