"""The training curves of a run: where they are written, one part per start of the command, and how they are read."""

import csv
import re
from collections import defaultdict
from pathlib import Path

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import read_json

FOLDER = "curves"
"""RUN/curves/part_<n>/metrics.csv, written by Lightning. A resumed run adds a part."""

Curve = tuple[list[float], list[float]]
"""Epochs and values, in the order of the epochs."""


def next_part(run: Path) -> str:
    """The folder in RUN/curves/ for the part that starts now: Lightning's logger empties the one that it is given."""
    return f"part_{max((number for number, _ in _parts(run)), default=-1) + 1}"


def is_training_run(folder: Path | str) -> bool:
    """Whether `bodyfit prior train` made this folder, also before its first epoch has ended."""
    folder = Path(folder)
    if (folder / FOLDER).is_dir():
        return True
    try:
        config = read_json(folder / "config.json")
    except BodyfitError:
        return False
    return isinstance(config, dict) and "train" in config


def read_curves(run: Path | str) -> dict[str, dict[str, Curve]]:
    """Curves over all parts of a run: the columns `train_x` and `validation_x` become `{x: {train, validation}}`.

    An epoch that was cut off and trained again counts as it was in the later part.

    Raises:
        BodyfitError: If a file cannot be read, or there is no epoch yet.
    """
    run = Path(run)
    values: dict[tuple[str, str], dict[float, float]] = defaultdict(dict)
    for _, folder in sorted(_parts(run)):
        file = folder / "metrics.csv"
        if file.is_file():  # a part that was cut off before its first epoch ended has none
            _add_part(file, values)
    if not values:
        raise BodyfitError(f"{run / FOLDER}: holds no curves yet. Wait for the first epoch to end.")
    curves: dict[str, dict[str, Curve]] = defaultdict(dict)
    for split, name in sorted(values, key=lambda key: (key[1] != "loss", key[1], key[0])):  # the loss comes first
        by_epoch = values[split, name]
        epochs = sorted(by_epoch)
        curves[name][split] = epochs, [by_epoch[epoch] for epoch in epochs]
    return dict(curves)


def _parts(run: Path) -> list[tuple[int, Path]]:
    found = ((re.fullmatch(r"part_(\d+)", path.name), path) for path in (run / FOLDER).glob("part_*"))
    return [(int(match[1]), path) for match, path in found if match]


def _add_part(file: Path, values: dict[tuple[str, str], dict[float, float]]) -> None:
    try:
        for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines()):
            for column, text in row.items():
                name = re.fullmatch(r"(train|validation)_(\w+)", column or "")
                if name and text and row.get("epoch"):
                    values[name[1], name[2]][float(row["epoch"])] = float(text)
    except OSError as error:
        raise BodyfitError(f"{file}: cannot be read ({error.strerror}).") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise BodyfitError(
            f"{file}: not the curves that training writes ({error}). Delete this file to leave its part out."
        ) from error
