"""`bodyfit prior train`: prepared poses to weights with their card."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.prior.recipes import RECIPES, TrainConfig
from bodyfit.prior.train import train_prior
from bodyfit.scripts.prior_sheets import SheetPainter


@dataclass(frozen=True)
class PriorTrain:
    """Train a pose prior on poses made by `bodyfit prior prepare`.

    The same command goes on where a run was cut off. RUN/ ends up with weights, configuration, curves, sheets of
    reconstructions and samples, metrics and a model card.
    """

    data: tyro.conf.Positional[Path]
    """Folder made by `bodyfit prior prepare`."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the run."""
    recipe: Literal["open", "vposer-v2"] = "open"
    """`open` is ours; `vposer-v2` is VPoser v2's as published. A flag overrides the recipe where it differs from the
    default shown here, which is ours."""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    config: Path | None = None
    """A run's config.json to take all training fields from."""
    body: Path | None = None
    """Body model for the sheets; the open body when left out."""
    sheets: bool = True
    """Draw sheets while training."""
    json: bool = False
    """Print the metrics as JSON on stdout."""

    def run(self) -> int:
        """Train to the end."""
        _quieten_lightning()
        config = self._resolved()
        painter = SheetPainter(self.body) if self.sheets else None
        train_prior(self.data, self.out, config, on_sheet=painter, progress_bar=sys.stderr.isatty())
        if self.json:
            print((self.out / "metrics.json").read_text())
        return 0

    def _resolved(self) -> TrainConfig:
        """The recipe, with what flags say instead: fields that differ from the class's defaults."""
        base = RECIPES[self.recipe]
        if self.config is not None:
            try:
                base = TrainConfig(**json.loads(self.config.read_text())["train"])
            except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
                raise BodyfitError(f"{self.config}: not a run's config.json ({error})") from None
        given = {
            item.name: getattr(self.train, item.name)
            for item in dataclasses.fields(TrainConfig)
            if getattr(self.train, item.name) != item.default
        }
        return dataclasses.replace(base, **given)


def _quieten_lightning() -> None:
    """Keep the curves' lines readable: no advertisements, no advice about workers that are not used."""
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
