"""Evaluation of weights on prepared poses beside baselines: figures, a table, the worst reconstructions."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.errors import BodyfitError
from bodyfit.prior.judging import protocols
from bodyfit.prior.judging.baselines import MixtureModel, PoseModel, VaeModel
from bodyfit.prior.judging.distances import average_pairwise_distance
from bodyfit.prior.model import rotations as rot
from bodyfit.prior.model.capsules import self_intersecting
from bodyfit.prior.model.rotations import mirror_half
from bodyfit.prior.model.skeleton import pose_skeleton
from bodyfit.prior.model.vposer import VPoser
from bodyfit.prior.training.dataset import PoseSet, load_manifest, load_poses
from bodyfit.prior.training.measure import active_dimensions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluateConfig:
    """How many poses each protocol takes."""

    poses: int = 4000
    """Real poses of each set for reconstruction, FID, precision, recall and separation."""
    samples: int = 5000
    """Generated poses. The literature takes 50 000; FID and recall depend on it."""
    training: int = 20_000
    """Training poses for the mixture baseline, nearest neighbours and active dimensions."""
    completed: int = 200
    """Poses to complete, with ten hypotheses for each part."""
    denoised: int = 200
    """Poses to denoise, at each level of noise."""
    balance: float = 0.5
    """How real poses are drawn: 0 weighs all poses equally, 1 all clips equally."""
    seed: int = 0
    """Chooses poses, samples and noise."""


def evaluate(
    priors: dict[str, VPoser],
    data: str | Path,
    config: EvaluateConfig | None = None,
    *,
    body: BodyModel | None = None,
    progress: Callable[[str], None] = log.info,
) -> dict:
    """All protocols for each prior and for a Gaussian mixture fitted to the training split; a JSON-like document.

    priors: name in the table -> prior; the first is the one under evaluation, the others are baselines. body: adds
    vertex errors. Sets are the data's splits other than train.
    """
    config = config or EvaluateConfig()
    held_out = [name for name in load_manifest(data)["splits"] if name != "train"]
    if not held_out:
        raise BodyfitError(f"{data}: has no split besides train to evaluate on")
    training = load_poses(data, "train")
    sets = {name: _drawn(load_poses(data, name), config.poses, config) for name in held_out}
    drawn = _drawn(training, config.training, config)
    models: list[PoseModel] = [VaeModel(prior, name) for name, prior in priors.items()]
    models.append(MixtureModel.fit(drawn))
    real = {name: rot.matrices_from_axis_angle(poses) for name, poses in sets.items()}
    real["train"] = rot.matrices_from_axis_angle(_drawn(training, config.poses, config, seed=1))
    # A prior may be symmetric under mirroring, so it is compared with the mirrored poses too.
    real["train_mirrored"] = mirror_half(real["train"], torch.Generator().manual_seed(config.seed))
    document: dict = {
        "config": vars(config),
        "real": {name: _diversity(rotations) for name, rotations in real.items()},
        "models": {},
    }
    for model in models:
        progress(f"judging {model.name}")
        document["models"][model.name] = _judge(model, sets, real, drawn, body, config, progress)
    return document


def _drawn(poses: PoseSet, count: int, config: EvaluateConfig, seed: int = 0) -> Float[Tensor, "N 63"]:
    return poses.draw(count, balance=config.balance, seed=config.seed + seed)


def _diversity(rotations: Tensor) -> dict[str, float]:
    order = torch.randperm(len(rotations), generator=torch.Generator().manual_seed(0))
    return {
        "apd_cm": 100 * average_pairwise_distance(pose_skeleton(rotations[order[:500]])[0]),
        "self_intersecting": float(self_intersecting(rotations).double().mean()),
    }


def _judge(
    model: PoseModel,
    sets: dict[str, Tensor],
    real: dict[str, Tensor],
    drawn: Tensor,
    body: BodyModel | None,
    config: EvaluateConfig,
    progress: Callable[[str], None],
) -> dict:
    generator = torch.Generator().manual_seed(config.seed)
    generated = model.sample(config.samples, generator)
    figures: dict = {"generation": protocols.generation(generated, real, rot.matrices_from_axis_angle(drawn))}
    if isinstance(model, VaeModel):
        figures["reconstruction"] = {
            name: protocols.reconstruction(model.prior, poses, body, config.seed) for name, poses in sets.items()
        }
        figures["active_dimensions"] = active_dimensions(model.prior, drawn)
    for name, poses in sets.items():
        progress(f"  {name}: separation, completion, denoising")
        figures.setdefault("separation", {})[name] = protocols.separation(model, poses, config.seed)
        some = _spaced(poses, config.completed)
        figures.setdefault("completion", {})[name] = protocols.completion(model, some, config.seed)
        some = _spaced(poses, config.denoised)
        figures.setdefault("denoising", {})[name] = protocols.denoising(model, some, config.seed)
    return figures


def _spaced(poses: Tensor, count: int) -> Tensor:
    return poses[torch.linspace(0, len(poses) - 1, min(count, len(poses))).long()]


@torch.no_grad()
def worst_reconstructions(
    prior: VPoser, data: str | Path, split: str, count: int = 10
) -> tuple[Float[Tensor, "N 63"], Float[Tensor, "N 63"], list[str]]:
    """The worst poses of a split, one per clip: as recorded, as reconstructed, and labels with clip and error in mm."""
    poses = load_poses(data, split)
    everything = torch.from_numpy(np.array(poses.poses))
    errors = torch.cat(
        [
            protocols.joint_errors_mm(rot.matrices_from_axis_angle(some), prior.decode(prior.encode(some).mean)).mean(
                -1
            )
            for some in everything.split(4096)
        ]
    )
    chosen: list[int] = []
    seen: set[int] = set()
    for index in errors.argsort(descending=True).tolist():
        if int(poses.clip[index]) not in seen:
            chosen.append(index)
            seen.add(int(poses.clip[index]))
        if len(chosen) == count:
            break
    labels = [f"{Path(poses.sources[poses.clip[i]]).stem} {errors[i]:.0f} mm" for i in chosen]
    recorded = everything[chosen]
    return recorded, prior.decode_axis_angle(prior.encode(recorded).mean), labels


def as_markdown(document: dict) -> str:
    """The document as a table with one row per figure and one column per model."""
    models = document["models"]
    lines = ["| figure | " + " | ".join(models) + " | real poses |", "|---" * (len(models) + 2) + "|"]
    rows: dict[str, dict[str, float]] = {}
    for name, figures in models.items():
        for path, value in _flatten(figures):
            rows.setdefault(path, {})[name] = value
    for path, values in rows.items():
        real = ""
        if path in ("generation apd_cm", "generation self_intersecting"):
            key = path.split()[1]
            real = ", ".join(f"{name} {figures[key]:.3g}" for name, figures in document["real"].items())
        cells = [f"{values[name]:.4g}" if name in values else "" for name in models]
        lines.append(f"| {path} | " + " | ".join(cells) + f" | {real} |")
    return "\n".join(lines) + "\n"


def _flatten(figures: dict, prefix: str = "") -> list[tuple[str, float]]:
    pairs = []
    for key, value in figures.items():
        if isinstance(value, dict):
            pairs += _flatten(value, f"{prefix}{key} ")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs
