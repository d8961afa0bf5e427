"""`bodyfit prior train`: prepared poses to weights with their card."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
import logging
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.prior.training.recipes import RECIPES, TrainConfig
from bodyfit.prior.training.train import train_prior
from bodyfit.scripts.prior_sheets import SheetPainter


def _sentences(config: type) -> dict[str, str]:
    """What stands under each field of a dataclass, for the flags' help."""
    body = ast.parse(inspect.getsource(config)).body[0].body
    pairs = itertools.pairwise(body)
    return {
        item.target.id: inspect.cleandoc(below.value.value)
        for item, below in pairs
        if isinstance(item, ast.AnnAssign) and isinstance(below, ast.Expr)
    }


def _flag(item: dataclasses.Field, sentence: str) -> tuple[str, object, object]:
    """The field as a flag that may be left out, with each recipe's value in its help."""
    values = "; ".join(f"{name}: {getattr(recipe, item.name)}" for name, recipe in RECIPES.items())
    metavar = "{True,False}" if item.type is bool else item.type.__name__.upper()
    known = tyro.conf.arg(help=sentence, help_behavior_hint=f"({values})", metavar=metavar)
    return item.name, Annotated[item.type | None, known], None


# Every field of a recipe as a flag whose default is "as the recipe says", so that a flag that is given always counts.
TrainFlags = dataclasses.make_dataclass(
    "TrainFlags",
    [_flag(item, _sentences(TrainConfig)[item.name]) for item in dataclasses.fields(TrainConfig)],
    frozen=True,
)


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
    """`open` is ours; `vposer-v2` is VPoser v2's as published. The flags below change single fields of it."""
    config: Path | None = None
    """A run's config.json to take all fields from, in place of a recipe; flags change single ones of these, too."""
    train: Annotated[TrainFlags, tyro.conf.arg(name="")] = field(default_factory=TrainFlags)
    body: Path | None = None
    """Body model for the sheets; the open body when left out."""
    sheets: bool = True
    """Draw sheets while training."""
    json: bool = False
    """Print the metrics as JSON on stdout."""

    def run(self) -> int:
        """Train to the end."""
        _quieten_lightning()
        config = self.training()
        painter = SheetPainter(self.body) if self.sheets else None
        train_prior(self.data, self.out, config, on_sheet=painter, progress_bar=sys.stderr.isatty())
        if self.json:
            print((self.out / "metrics.json").read_text())
        return 0

    def training(self) -> TrainConfig:
        """The recipe, or the other run's configuration, with every flag that was given."""
        base = RECIPES[self.recipe]
        if self.config is not None:
            try:
                base = TrainConfig(**json.loads(self.config.read_text())["train"])
            except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
                raise BodyfitError(f"{self.config}: not a run's config.json ({error})") from None
        given = {name: value for name, value in vars(self.train).items() if value is not None}
        return dataclasses.replace(base, **given)


def _quieten_lightning() -> None:
    """Keep the curves' lines readable: no advertisements, no advice about workers that are not used."""
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
