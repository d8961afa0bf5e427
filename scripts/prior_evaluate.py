"""`bodyfit prior evaluate`: figures of a prior beside those of baselines."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro
from PIL import Image

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.files import write_atomically
from bodyfit.prior.judging.evaluate import EvaluateConfig, as_markdown, evaluate, worst_reconstructions
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.scripts.prior_sheets import draw_sheet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PriorEvaluate:
    """Evaluate a pose prior by reconstruction, generation, completion, denoising and separation from impossible poses.

    The table also has a Gaussian mixture fitted to the same training split, and the priors given as baselines (the
    plain VPoser v2 recipe is trained by `bodyfit prior train --recipe vposer-v2`).
    """

    weights: tyro.conf.Positional[str]
    """Weights to evaluate: a file or folder, or `shipped`."""
    data: tyro.conf.Positional[Path]
    """Folder made by `bodyfit prior prepare`."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for evaluation.json, evaluation.md and sheets of the worst reconstructions."""
    baseline: tuple[Path, ...] = ()
    """Other weights for the table."""
    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")] = field(default_factory=EvaluateConfig)
    body: Path | None = None
    """Body model for vertex errors and sheets; the open body by default."""
    json: bool = False
    """Print the figures as JSON on stdout in place of the table."""

    def run(self) -> int:
        """Evaluate, print, and write."""
        prior = load_prior(None if self.weights == "shipped" else self.weights)
        priors = {prior.name: prior}
        for path in self.baseline:
            other = load_prior(path)
            priors[other.name if other.name not in priors else f"{other.name} ({path})"] = other
        body = load_body_model(self.body)
        document = evaluate(priors, self.data, self.config, body=body)
        table = as_markdown(document)
        if self.out is not None:
            text = json.dumps(document, indent=2)
            write_atomically(self.out / "evaluation.json", lambda path: path.write_text(text + "\n"))
            write_atomically(self.out / "evaluation.md", lambda path: path.write_text(table))
            for split in next(iter(document["models"].values()))["reconstruction"]:
                recorded, result, labels = worst_reconstructions(prior, self.data, split)
                names = [*labels, *["reconstructed"] * len(labels)]
                image = draw_sheet(body, torch.cat([recorded, result]), columns=len(labels), labels=names, cell_px=192)
                write_atomically(self.out / f"worst_{split}.png", Image.fromarray(image).save)
                log.info("worst reconstructions of %s: %s", split, self.out / f"worst_{split}.png")
        print(json.dumps(document, indent=2) if self.json else table)
        return 0
