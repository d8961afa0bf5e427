"""Leave one source out: how good prior and start network, trained without a source of motion, are on its people.

A source is a collection of motion, mostly one laboratory. For each fold a pair is trained on all other sources in a
short fixed budget, and judged on the one that it never saw: fits of synthetic people, reconstruction by the prior, and
its score of impossible poses. A finished fold is not trained again.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import read_json, write_atomically
from bodyfit.fitting.benchmark.far_poses import far_frames, floor_frames, random_rows
from bodyfit.fitting.benchmark.folds import Fold
from bodyfit.fitting.benchmark.measure import accuracy
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.start.network import (
    FILE_NAME,
    StartNetwork,
    StartNetworkConfig,
    load_start_network,
    save_start_network,
)
from bodyfit.fitting.start.pose_sources import with_synthetic
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.training import StartTrainingConfig, check_shares, evaluate_start, train_start
from bodyfit.prior.judging import protocols
from bodyfit.prior.judging.baselines import VaeModel
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.prior.model.vposer import VPoser
from bodyfit.prior.training.prepare import prepare_motion
from bodyfit.prior.training.recipes import TrainConfig
from bodyfit.prior.training.train import check_config, train_prior

log = logging.getLogger(__name__)

FOLD, SETTINGS, WEIGHTS = "fold.json", "settings.json", "prior.safetensors"
SHORT_PRIOR = TrainConfig(
    name="fold", epochs=5, mixture_components=32, measured_poses=10_000, sheet_every=1_000_000, accelerator="cpu"
)
"""A sixth of the steps of the shipped prior, and a coarse density of its latent space."""
SHORT_START = StartTrainingConfig(steps=1000)
"""A thirtieth of the steps of the shipped network."""


@dataclass(frozen=True)
class CrossValidationConfig:
    """How folds are trained and judged."""

    prior: TrainConfig = SHORT_PRIOR
    """Training of each fold's prior."""
    start: StartTrainingConfig = SHORT_START
    """Training of each fold's start network."""
    network: StartNetworkConfig = field(default_factory=lambda: StartNetworkConfig(width=512))
    """Size of each fold's start network."""
    people: int = 192
    """People in random poses of the unseen source."""
    far: int = 96
    """People in its poses that are farthest from the training poses."""
    floor: int = 96
    """People in its floor and acrobatic poses, as far as it has any."""
    poses: int = 2000
    """Poses of the unseen source for reconstruction and for the separation from impossible ones."""
    seed: int = 0
    """Chooses people, cameras and poses; the trainings have seeds of their own."""


def run_fold(
    folder: Path, fold: Fold, out: Path, body: BodyModel, config: CrossValidationConfig, device: torch.device
) -> dict:
    """Train and judge one fold, or take up where an interrupted run stopped; returns its figures.

    Args:
        folder: the folder of motion that the fold is of.
        out: folder of this fold. It gets prior.safetensors and start.safetensors, a pair that `bodyfit fit --prior`
            takes, and fold.json with the figures.

    Raises:
        BodyfitError: for settings that no training can have, before `out` is touched, and where it holds a fold with
            other settings or other data.
    """
    check_config(config.prior)
    check_shares(config.start)
    _claim(out, fold, body, config)
    if (out / FOLD).is_file():
        log.info("fold %s: finished before", fold.name)
        return read_json(out / FOLD)
    seconds = {}
    begin = time.perf_counter()
    prior = _prior(folder, fold, out, config, device)
    seconds["prior"] = time.perf_counter() - begin
    network = _start_network(fold, out, body, config, device)
    seconds["start"] = time.perf_counter() - begin - seconds["prior"]
    figures = {"fold": fold.name, "unseen_frames": len(fold.unseen), "known_frames": len(fold.known)}
    figures |= judge(fold, prior, network, body, config, device)
    seconds["judging"] = time.perf_counter() - begin - sum(seconds.values())
    figures["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
    _write(out / FOLD, figures)
    return figures


def _write(path: Path, document: dict) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(document, indent=2) + "\n"))


def _claim(out: Path, fold: Fold, body: BodyModel, config: CrossValidationConfig) -> None:
    """Write what the fold depends on, or check that the fold in this folder depends on the same."""
    document = json.loads(json.dumps({"config": asdict(config), "body": body.name, "motion": fold.identity()}))
    path = out / SETTINGS
    if not path.is_file():
        _write(path, document)
    elif (found := read_json(path)) != document:
        differ = ", ".join(sorted(key for key in document if found.get(key) != document[key]))
        raise BodyfitError(f"{out}: holds a fold with another {differ}. Choose another folder, or delete this one")


def _prior(folder: Path, fold: Fold, out: Path, config: CrossValidationConfig, device: torch.device) -> VPoser:
    if not (out / WEIGHTS).is_file():
        log.info("fold %s: prior, %d epochs", fold.name, config.prior.epochs)
        prepare_motion([folder], out / "poses", splits=fold.splits())
        accelerator = "cpu" if device.type == "cpu" else "gpu"
        train_prior(out / "poses", out, replace(config.prior, accelerator=accelerator, devices="1"))
    return load_prior(out / WEIGHTS)


def _start_network(
    fold: Fold, out: Path, body: BodyModel, config: CrossValidationConfig, device: torch.device
) -> StartNetwork:
    if not (out / FILE_NAME).is_file():
        log.info("fold %s: start network, %d steps", fold.name, config.start.steps)
        rows = random_rows(fold.known, config.start.poses, seed=config.start.seed)
        poses, roots = fold.known.body_pose[rows], fold.known.root_orient[rows]
        poses, roots = with_synthetic(poses, roots, config.start.synthetic, seed=config.start.seed)
        network = train_start(body, poses, roots, config.start, config.network, device=device)
        save_start_network(network, out / FILE_NAME)
    network = load_start_network(out / FILE_NAME)
    assert network is not None  # it was written above
    return network


def judge(
    fold: Fold,
    prior: VPoser,
    network: StartNetwork,
    body: BodyModel,
    config: CrossValidationConfig,
    device: torch.device,
) -> dict[str, dict]:
    """Figures of a pair on the unseen source: "fits" of people in random, far and floor poses, "prior", and "start"."""
    seed = config.seed
    rows = random_rows(fold.unseen, config.poses, seed=seed + 1)
    some = fold.unseen.select(rows)
    figures = {"prior": judge_prior(prior, some.body_pose, seed)}
    training = {"poses": some.body_pose, "roots": some.root_orient, "seed": seed + 2}
    figures["start"] = evaluate_start(network, body, **training)
    thinned = fold.unseen.thinned()
    far, distance = far_frames(thinned, fold.known.thinned().body_pose, config.far)
    floor, kinds = floor_frames(thinned, config.floor, seed=seed)
    usual = fold.unseen.select(random_rows(fold.unseen, config.people, seed=seed))
    sets = {"random": (usual, {}), "far": (far, {"nearest_mm": float(distance.min())}), "floor": (floor, kinds)}
    maker = PeopleMaker(body, device=device)
    people = {
        name: maker.make(frames.body_pose, frames.root_orient, seed=seed)
        for name, (frames, _) in sets.items()
        if len(frames)
    }
    rows = accuracy(Fitter(body, prior, network=network, device=device), people)
    figures["fits"] = {name: row | sets[name][1] for name, row in rows.items()}
    return figures


def judge_prior(prior: VPoser, poses: Tensor, seed: int) -> dict[str, float]:
    """Reconstruction error of joints (mm) and angles (degrees), and the AUC of the score for each kind of impossible
    pose."""
    rebuilt = protocols.reconstruction(prior, poses, None, seed)
    figures = {name.removeprefix("mean_"): value for name, value in rebuilt.items() if name.startswith("mean_")}
    apart = protocols.separation(VaeModel(prior, prior.name), poses, seed)
    return figures | {f"auc_{name}": value for name, value in apart.items()}
