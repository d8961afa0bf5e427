"""`bodyfit prior cross-validate`: train without each source of motion in turn, and judge on it."""

from __future__ import annotations

import json as json_module
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import read_json, write_atomically
from bodyfit.fitting.benchmark.cross_validation import FOLD, CrossValidationConfig, run_fold
from bodyfit.fitting.benchmark.fold_table import as_markdown
from bodyfit.fitting.benchmark.folds import fold_of, make_folds, read_sources
from bodyfit.fitting.solve.fitter import pick_device
from bodyfit.scripts.prior_train import quieten_lightning

log = logging.getLogger(__name__)

DOCUMENT, TABLE = "cross_validation.json", "cross_validation.md"


@dataclass(frozen=True)
class PriorCrossValidate:
    """Leave one source of motion out: train prior and start network on all others, and judge them on it.

    Each folder in MOCAP is a source; small ones are one fold together. Budgets are short, so figures are worse than
    those of a full training: compare them with those of another run (`--beside`), not with the shipped weights. The
    same command resumes a run that was cut off. OUT/ gets a folder per fold with its weights, cross_validation.json and
    cross_validation.md.
    """

    data: tyro.conf.Positional[Path]
    """Folder of motion files, with a folder in it for each source."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder to write to."""
    fold: tuple[str, ...] = ()
    """Only these folds; the table has all that are finished. Folds can run as separate processes."""
    beside: Path | None = None
    """OUT of an earlier run with other options or data, to compare with in the table."""
    least_frames: int = 5000
    """Sources with fewer frames (at most 15 per second count) are one fold together."""
    config: Annotated[CrossValidationConfig, tyro.conf.arg(name="")] = field(default_factory=CrossValidationConfig)
    body: Path | None = None
    """Body model. Default: the open body."""
    device: str = "auto"
    """cpu, cuda, cuda:1, or auto: CUDA if available."""
    threads: int = 0
    """CPU threads; 0: as PyTorch chooses."""
    json: bool = False
    """Print all figures as one JSON document on stdout in place of the table."""

    def run(self) -> int:
        """Train, judge, write and print. Returns 0."""
        quieten_lightning()
        if self.threads:
            torch.set_num_threads(self.threads)
        device, before = pick_device(self.device), self._before()
        sources = read_sources(self.data)
        names = list(make_folds(sources, self.least_frames))
        if unknown := [name for name in self.fold if name not in names]:
            raise BodyfitError(f"--fold {unknown[0]}: no such fold in {self.data}. There are {', '.join(names)}")
        body = load_body_model(self.body)
        for name in self.fold or names:
            fold = fold_of(name, sources, self.least_frames)
            run_fold(self.data, fold, self.out / name, body, self.config, device)
        done = [read_json(self.out / name / FOLD) for name in names if (self.out / name / FOLD).is_file()]
        table = as_markdown(done, before)
        text = json_module.dumps({"folds": done, "beside": before}, indent=2)
        write_atomically(self.out / DOCUMENT, lambda path: path.write_text(text + "\n"))
        write_atomically(self.out / TABLE, lambda path: path.write_text(table))
        print(text if self.json else table)
        return 0

    def _before(self) -> list[dict]:
        if self.beside is None:
            return []
        path = self.beside / DOCUMENT
        if not path.is_file():
            raise BodyfitError(f"{path}: not found. --beside takes OUT of `bodyfit prior cross-validate`")
        return read_json(path)["folds"]
