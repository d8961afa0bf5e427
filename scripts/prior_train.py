"""`bodyfit prior train`: prepared poses to weights with their card."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import read_json
from bodyfit.prior.training.recipes import OURS, RECIPES, TrainConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Base:
    """The two flags that determine the defaults of the others."""

    recipe: str = "open"
    config: Path | None = None

    def training(self) -> TrainConfig:
        if self.config is None:
            return RECIPES.get(self.recipe, OURS)  # other names are refused by PriorTrain
        try:
            return TrainConfig(**read_json(self.config)["train"])
        except (BodyfitError, KeyError, TypeError) as error:
            raise BodyfitError(
                f"{self.config}: not the config.json of a training run ({error}). Give RUN/config.json of "
                "`bodyfit prior train DATA -o RUN`."
            ) from None


@dataclass(frozen=True)
class PriorTrain:
    """Train a pose prior on poses made by `bodyfit prior prepare`.

    The same command resumes a run that was cut off. RUN/ ends up with weights, configuration, curves, sheets of
    reconstructions and samples, metrics and a model card.
    """

    data: tyro.conf.Positional[Path]
    """Folder made by `bodyfit prior prepare`."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the run."""
    recipe: Literal["open", "vposer-v2"] = "open"
    """`open` is ours; `vposer-v2` is VPoser v2's as published. It gives the defaults of the flags below:
    `--recipe vposer-v2 --help` shows its values."""
    config: Path | None = None
    """A run's config.json to take these defaults from, in place of a recipe."""
    train: Annotated[tyro.conf.FlagConversionOff[TrainConfig], tyro.conf.arg(name="")] = OURS
    body: Path | None = None
    """Body model for the sheets. Default: the open body."""
    sheets: bool = True
    """Draw sheets while training."""
    json: bool = False
    """Print the metrics as JSON on stdout."""

    @classmethod
    def with_config_of(cls, arguments: Sequence[str]) -> PriorTrain:
        """The defaults of all flags: those of the recipe or configuration that the arguments name."""
        base, _ = tyro.cli(_Base, args=arguments, return_unknown_args=True, add_help=False)
        return cls(data=tyro.MISSING, out=tyro.MISSING, train=base.training())

    def run(self) -> int:
        """Train to the end."""
        from bodyfit.prior.training.train import train_prior
        from bodyfit.scripts.prior_sheets import SheetPainter

        quieten_lightning()
        painter = SheetPainter(self.body) if self.sheets else None
        train_prior(self.data, self.out, self.train, on_sheet=painter, progress_bar=sys.stderr.isatty())
        log.info("%s: trained to the end; `bodyfit report %s` shows it", self.out, self.out)
        if self.json:
            print((self.out / "metrics.json").read_text())
        return 0


def quieten_lightning() -> None:
    """Suppress tips and warnings of Lightning that do not apply here."""
    with contextlib.suppress(ImportError):  # `train_prior` says so
        import lightning.pytorch  # noqa: F401 - it sets its levels when it is imported; these are set afterwards
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
