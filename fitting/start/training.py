"""Training of the start network, with a loss under which its heads specialise.

Every step uses new synthetic people (`training_data`). Each head of the network proposes a hypothesis; only the
nearest to the truth is trained (winner-takes-all, Guzman-Rivera et al. 2012), and a score learns which one it is. So
the hypotheses cover the modes instead of averaging them. One more output does average: the predicted pose.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.energy.projection import project, solve_translation
from bodyfit.fitting.start.network import PREDICTED, StartNetwork, StartNetworkConfig
from bodyfit.fitting.start.pose_sources import check_share
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions
from bodyfit.fitting.start.training_data import WHOLE_SHARE, TrainingBatch, TrainingBatches, points_body
from bodyfit.prior.model.rotations import axis_angle_from_matrices, matrices_from_axis_angle

PELVIS = 0
AT_ONCE = 8
"""Batches of training data that a GPU makes in one go."""
EXAMPLE_PEOPLE = (SyntheticOptions(),) * 3 + tuple(SyntheticOptions(crop=at, cropped=1.0) for at in ("hips", "knees"))


@dataclass(frozen=True)
class StartTrainingConfig:
    """How the start network is trained."""

    steps: int = 5000
    """Optimiser steps."""
    batch: int = 256
    """People per step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW; warm-up over the first 2 %, then cosine decay to zero."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    average: float = 0.998
    """Decay of the moving average of the weights, which is what is saved."""
    poses: int = 200_000
    """Number of poses to train on: frames of the motion files, equally many from every clip, and synthetic ones."""
    synthetic: float = 0.0
    """Share of synthetic poses among them (docs/training_a_prior.md). 0: motion capture alone."""
    synthetic_whole: float = WHOLE_SHARE
    """Share of the people in synthetic poses who are seen completely. The default is that of everybody; with more,
    what a crop hides is learnt from captured poses."""
    at_hips: float = 0.0
    """Share of people cropped at the hips, besides those cropped anywhere (who are not seen completely)."""
    keep: float = 0.0
    """Share of the network that was continued from in the weights that are written: 0.5 is the mean of both, which
    forgets less (Wortsman et al., 2022). Needs a network to continue from."""
    exchange: float = 0.1
    """Probability that legs, an arm or the head come from another pose."""
    other_heads: float = 0.02
    """Weight of the rotation errors of all heads, so that every head receives gradients."""
    predicted: float = 1.0
    """Weight of the loss of the predicted pose."""
    bfloat16: bool = False
    """Compute the layers in bfloat16: three quarters of the time per step on processors that support it."""
    examples: int = 3000
    """Number of pairs of true and predicted poses that are stored with the weights."""
    seed: int = 0
    """The same seed gives the same weights on the same machine."""


@dataclass(frozen=True)
class HypothesisErrors:
    """How far each hypothesis is from the truth."""

    loss: Float[Tensor, "B H"]
    joints_m: Float[Tensor, "B H"]
    """Mean distance of joints and landmarks, relative to the pelvis, without rotational alignment."""
    root_rad: Float[Tensor, "B H"]


def rotation_chords(minibatch: TrainingBatch, rotations: Float[Tensor, "B H 22 3 3"]) -> Float[Tensor, "B H 22"]:
    """8 sin^2(angle / 2) between the heads' rotations and the true ones."""
    return (rotations - minibatch.rotations[:, None]).square().sum((-1, -2))


def hypothesis_errors(
    minibatch: TrainingBatch,
    rotations: Float[Tensor, "B H 22 3 3"],
    betas: Float[Tensor, "B H 10"],
    batches: TrainingBatches,
) -> HypothesisErrors:
    """NetworkOutput against the truth: angles, joints and landmarks in 3D, landmarks in 2D, shape."""
    batch, heads = rotations.shape[:2]
    chord = rotation_chords(minibatch, rotations)
    hands = torch.eye(3, device=betas.device).expand(batch, heads, 2, 3, 3)
    turns = torch.cat([rotations, hands], dim=2).flatten(0, 1)
    points = batches.model(turns, betas.flatten(0, 1), betas.new_zeros(1, 3), derivatives=False).points
    points = (points - points[:, :1]).unflatten(0, (batch, heads))
    joints = (points - minibatch.points[:, None]).norm(dim=-1).mean(-1)
    misfit = _misfit(minibatch, points[:, :, batches.inputs])
    root = 2 * torch.asin((chord[..., PELVIS] / 8).sqrt().clamp(max=1))
    shape = (betas - minibatch.betas[:, None]).square().mean(-1)
    loss = 10 * joints + chord[..., 1:].mean(-1) + 0.3 * chord[..., PELVIS] + 2 * misfit + 0.05 * shape
    return HypothesisErrors(loss, joints.detach(), root.detach())


def _misfit(minibatch: TrainingBatch, points: Float[Tensor, "B H K 3"]) -> Float[Tensor, "B H"]:
    """Mean 2D distance of the seen landmarks at the best translation, in units of the person's size."""
    batch, heads = points.shape[:2]
    flat, weights = points.flatten(0, 1), minibatch.weights.repeat_interleave(heads, 0)
    rays, one = minibatch.rays.repeat_interleave(heads, 0), points.new_ones(batch * heads)
    center = points.new_zeros(batch * heads, 2)
    with torch.no_grad():  # at the optimum the residual does not depend on it to first order
        transl = solve_translation(flat, rays, weights, one, center)
    placed = flat + transl[:, None]
    placed = torch.cat([placed[..., :2], placed[..., 2:].clamp_min(0.3)], dim=-1)
    distance = (project(placed, one, center) - rays).norm(dim=-1).clamp(max=1.0)
    mean = (distance * weights).sum(1) / weights.sum(1).clamp_min(1)
    return mean.unflatten(0, (batch, heads)) / minibatch.size[:, None]


def predicted_pose_error(
    minibatch: TrainingBatch, pose: Float[Tensor, "B 21 3 3"], batches: TrainingBatches
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """The loss of the predicted pose, and the mean distance of its joints and landmarks, m; orientation and shape are
    the true ones, since this output predicts the pose only."""
    batch = len(pose)
    hands = torch.eye(3, device=pose.device).expand(batch, 2, 3, 3)
    turns = torch.cat([minibatch.rotations[:, :1], pose, hands], dim=1)
    points = batches.model(turns, minibatch.betas, pose.new_zeros(1, 3), derivatives=False).points
    joints = (points - points[:, :1] - minibatch.points).norm(dim=-1).mean(-1)
    chord = (pose - minibatch.rotations[:, 1:]).square().sum((-1, -2)).mean(-1)
    return 10 * joints + chord, joints.detach()


def training_loss(
    minibatch: TrainingBatch, student: StartNetwork, batches: TrainingBatches, config: StartTrainingConfig
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """The loss of a step: of the nearest head (only this one is posed with gradients), with a small weight of all
    heads, of the score, and of the predicted pose; and some figures."""
    with torch.autocast(minibatch.features.device.type, torch.bfloat16, enabled=config.bfloat16):
        read = student.predict(minibatch.features)
    with torch.no_grad():
        errors = hypothesis_errors(minibatch, read.rotations, read.betas, batches)
        winner = errors.loss.argmin(dim=1)
    rows = torch.arange(len(winner), device=winner.device)
    nearest = read.rotations[rows, winner, None], read.betas[rows, winner, None]
    best = hypothesis_errors(minibatch, *nearest, batches).loss.mean()
    other_heads = config.other_heads * rotation_chords(minibatch, read.rotations).mean()
    naming = torch.nn.functional.cross_entropy(read.logit, winner)
    expected, expected_m = predicted_pose_error(minibatch, read.predicted_pose, batches)
    loss = best + other_heads + 0.1 * naming + config.predicted * expected.mean()
    return loss, _figures(errors, read.logit, expected_m)


def check_shares(config: StartTrainingConfig) -> None:
    """Raises BodyfitError where a share is not between 0 and 1."""
    check_share(config.synthetic)
    check_share(config.synthetic_whole, "synthetic poses seen completely")
    check_share(config.at_hips, "people cropped at the hips")
    check_share(config.keep, "weights kept")


def initial_network(config: StartNetworkConfig, poses: Float[Tensor, "N 63"], seed: int) -> StartNetwork:
    """An untrained network whose heads give the mean pose in different orientations."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = StartNetwork(config)
    mean = matrices_from_axis_angle(poses[:20_000]).mean(0)[..., :2]  # (21, 3, 2)
    output = network.last[1]
    with torch.no_grad():
        output.weight.mul_(0.1)
        for head in range(config.heads):
            yaw = 2 * torch.pi * torch.tensor(head / config.heads)
            upright = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ roma.rotvec_to_rotmat(yaw * torch.eye(3)[1])
            row = output.bias[head * network.outputs : (head + 1) * network.outputs]
            row.zero_()
            row[: 6 * 22] = torch.cat([upright[None, :, :2], mean]).flatten()
        output.bias[-PREDICTED:] = mean.flatten()
    return network


def train_start(
    body: BodyModel,
    poses: Float[Tensor, "N 63"],
    roots: Float[Tensor, "N 3"],
    config: StartTrainingConfig | None = None,
    network: StartNetworkConfig | None = None,
    *,
    weights: StartNetwork | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int, dict[str, float]], None] | None = None,
) -> StartNetwork:
    """Train a start network.

    Args:
        body: SMPL-X or the open body; the network learns its proportions and shape numbers.
        poses, roots: axis-angle body poses and root orientations in a world with y up; the share
            `config.synthetic` of them, the last ones, are taken for synthetic (`synthetic.with_synthetic`).
        weights: a network to continue from, instead of a new one of the given size.
        device: where everything is computed, the training data included; the result is on the CPU.
        progress: called every 100 steps with the step and the running figures.

    Raises:
        BodyfitError: for a share in the configuration that is not between 0 and 1, or weights to keep where there are
            none.
    """
    config = config or StartTrainingConfig()
    check_shares(config)
    if config.keep and weights is None:
        raise BodyfitError("weights can only be kept where training continues from a network (--weights)")
    if weights is None:
        student = initial_network(replace(network or StartNetworkConfig(), body=body.name), poses, config.seed)
    else:
        student = copy.deepcopy(weights).train().requires_grad_(True)
        student.config = replace(weights.config, body=body.name)
    student = student.to(device)
    on_gpu = torch.device(device).type == "cuda"  # where thousands of small operations cost more than their numbers
    batches = TrainingBatches(
        body, poses, roots, batch=config.batch, exchange=config.exchange, seed=config.seed,
        synthetic=round(config.synthetic * len(poses)), synthetic_whole=config.synthetic_whole, at_hips=config.at_hips,
        device=device, at_once=AT_ONCE if on_gpu else 1,
    )  # fmt: skip
    fused = {"fused": True} if on_gpu else {}
    optimiser = torch.optim.AdamW(
        student.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, **fused
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.steps, pct_start=0.02, cycle_momentum=False
    )
    memory = min(config.average, max(0.0, 1 - 10 / config.steps))
    average = torch.optim.swa_utils.AveragedModel(
        student, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(memory)
    )
    running: dict[str, Tensor] = {}
    for step in range(config.steps):
        minibatch = batches(step)
        loss, figures = training_loss(minibatch, student, batches, config)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(student)
        _remember(running, {"loss": loss.detach(), **figures})
        if progress is not None and (step + 1) % 100 == 0:
            progress(step + 1, {name: value.item() for name, value in running.items()})
    trained = average.module.eval().requires_grad_(False).cpu()
    if config.keep:
        for new, old in zip(trained.parameters(), weights.parameters(), strict=True):
            new.lerp_(old.to(new), config.keep)
    trained.examples = read_examples(trained, body, poses, roots, config.examples, config.seed)
    return trained


@torch.no_grad()
def read_examples(
    network: StartNetwork,
    body: BodyModel,
    poses: Float[Tensor, "N 63"],
    roots: Float[Tensor, "N 3"],
    count: int,
    seed: int,
) -> Float[Tensor, "2 C 63"]:
    """Body poses of `count` people, axis-angle: the truth and the prediction.

    The people are like those of real photos, easier than in training: three fifths whole or cropped at an edge of the
    image, one fifth cropped at the hips, one fifth at the knees.
    """
    rows = torch.randint(len(poses), (count,), generator=torch.Generator().manual_seed(seed))
    small, pairs = points_body(body), []
    for part, options in zip(rows.split(-(-count // 5)), EXAMPLE_PEOPLE, strict=False):
        people = PeopleMaker(small, options).make(poses[part], roots[part], seed=seed + len(pairs))
        seen = (people.keypoints_px, people.confidence, people.focal_px, people.center_px)
        pairs.append(
            torch.stack([people.body_pose, axis_angle_from_matrices(network(*seen, LANDMARK_NAMES).predicted_pose)])
        )
    return torch.cat(pairs, dim=1)


def _figures(errors: HypothesisErrors, logit: Tensor, expected_m: Tensor) -> dict[str, Tensor]:
    """Means over the batch; tensors, since reading a number waits for the device."""
    rows = torch.arange(len(logit), device=logit.device)
    named, best = logit.argmax(1), errors.joints_m.argmin(1)
    return {
        "first_mm": 1000 * errors.joints_m[rows, named].mean(),
        "best_mm": 1000 * errors.joints_m[rows, best].mean(),
        "expected_mm": 1000 * expected_m.mean(),
        "first_wrong_way": (errors.root_rad[rows, named] > torch.pi / 2).float().mean(),
        "best_wrong_way": (errors.root_rad[rows, best] > torch.pi / 2).float().mean(),
    }


def _remember(running: dict[str, Tensor], now: dict[str, Tensor]) -> None:
    for name, value in now.items():
        running[name] = 0.98 * running.get(name, value) + 0.02 * value


def evaluate_start(
    network: StartNetwork, body: BodyModel, poses: Float[Tensor, "N 63"], roots: Float[Tensor, "N 3"], *, seed: int
) -> dict[str, float]:
    """The same figures on held-out poses: for the head with the best score ("first") and the one nearest to the truth
    ("best")."""
    batches, rounds, sums = TrainingBatches(body, poses, roots, batch=512, seed=seed), 8, {}
    for number in range(rounds):
        minibatch = batches(number)
        with torch.no_grad():
            read = network.predict(minibatch.features)
            errors = hypothesis_errors(minibatch, read.rotations, read.betas, batches)
            figures = _figures(errors, read.logit, predicted_pose_error(minibatch, read.predicted_pose, batches)[1])
        for name, value in figures.items():
            sums[name] = sums.get(name, 0.0) + value.item() / rounds
    return sums
