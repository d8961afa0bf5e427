"""`bodyfit prior train-start`: train the network that proposes the starts of fits."""

from __future__ import annotations

import json as json_module
import logging
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.files import write_atomically
from bodyfit.fitting.solve.fitter import pick_device
from bodyfit.fitting.start.network import FILE_NAME, StartNetworkConfig, load_start_network, save_start_network
from bodyfit.fitting.start.pose_sources import mocap_poses, prior_poses, split_clips, with_synthetic
from bodyfit.fitting.start.training import StartTrainingConfig, evaluate_start, read_examples, train_start
from bodyfit.prior.model.checkpoint import load_prior

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PriorTrainStart:
    """Train the start network: from a person's 2D landmarks to a first guess of orientation, pose and shape.

    Writes start.safetensors and start.json (configuration and figures) into the output folder. Fits with a prior use
    the start.safetensors beside its weights. Training takes a quarter of an hour on a CPU; the shipped network was
    trained for six times as many steps (the command is in its card).
    """

    data: Path
    """Folder of motion files (.npz in AMASS's layout), with a splits.json where a split is named."""
    out: Path
    """Folder to write to."""
    split: str | None = "train"
    """List of splits.json to train on; None for every clip of the folder."""
    held_out: tuple[str, ...] = ("validation", "test")
    """Lists of splits.json to report figures on; missing ones are skipped."""
    body: Path | None = None
    """SMPL-X file whose proportions and shape numbers are used. Default: the open body."""
    weights: Path | None = None
    """Start network (.safetensors) to continue from, with a new warm-up of the learning rate; its size is kept."""
    examples_of: Literal["data", "prior"] = "data"
    """Poses that are stored with the weights as examples: frames of your data or, if these must not be distributed,
    samples of the shipped prior."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, or auto: CUDA if available. A GPU draws other random numbers than the CPU."""
    training: StartTrainingConfig = field(default_factory=StartTrainingConfig)
    """Training options."""
    network: StartNetworkConfig = field(default_factory=StartNetworkConfig)
    """Size of the network."""
    json: bool = False
    """Print the figures as one JSON document on stdout."""

    def run(self) -> int:
        """Train, write, report. Returns 0."""
        body = load_body_model(self.body)
        for split in filter(None, (self.split, *self._held_out())):
            split_clips(self.data, split)  # clips that are missing are said before the work
        device, training = pick_device(self.device), self.training
        poses, roots = mocap_poses(self.data, training.poses, seed=training.seed, split=self.split)
        poses, roots = with_synthetic(poses, roots, training.synthetic, seed=training.seed)
        begin = time.perf_counter()
        old = None if self.weights is None else load_start_network(self.weights)
        network = train_start(
            body, poses, roots, training, self.network, weights=old, device=device, progress=self._report
        )
        if self.examples_of == "prior" and self.training.examples:
            poses = prior_poses(load_prior(), self.training.examples, seed=0)
            count = len(poses)
            network.examples = read_examples(network, body, poses, torch.zeros(count, 3), count, 0)
        seconds = time.perf_counter() - begin
        path = save_start_network(network, self.out / FILE_NAME)
        figures = {split: self._figures(network, body, split) for split in self._held_out()}
        record = {
            "network": asdict(network.config),
            "weights": self.weights and str(self.weights),
            "training": asdict(self.training),
            "examples_of": self.examples_of,
            "split": self.split,
            "seconds": round(seconds, 1),
            "figures": figures,
        }
        text = json_module.dumps(record, indent=2)
        write_atomically(path.with_suffix(".json"), lambda temporary: Path(temporary).write_text(text + "\n"))
        if self.json:
            print(text)
        else:
            log.info("%s, %.0f s\n%s", path, seconds, json_module.dumps(figures, indent=2))
        return 0

    def _report(self, step: int, running: dict[str, float]) -> None:
        words = ", ".join(f"{name} {value:.3g}" for name, value in running.items())
        print(f"step {step}/{self.training.steps}: {words}", file=sys.stderr, flush=True)

    def _held_out(self) -> list[str]:
        path = self.data / "splits.json"
        known = json_module.loads(path.read_text()) if path.is_file() else {}
        return [split for split in self.held_out if split in known]

    def _figures(self, network, body, split: str) -> dict[str, float]:
        poses, roots = mocap_poses(self.data, 5000, seed=self.training.seed + 1, split=split)
        figures = evaluate_start(network, body, poses, roots, seed=self.training.seed + 2)
        return {name: round(value, 4) for name, value in figures.items()}
