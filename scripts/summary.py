"""`bodyfit summary`: what came of a run, in numbers: failures by reason, errors, the worst cases."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import write_atomically
from bodyfit.data.results.clip_failures import read_clip_failures
from bodyfit.data.results.store import is_run, runs_in, what_is_expected
from bodyfit.data.results.tables import MEASURE_COLUMNS
from bodyfit.fitting.run.summary_files import COLUMNS, write_csv, write_parquet
from bodyfit.scripts.summary_clips import clips_as_text, rows_of_clips, summarise_clips
from bodyfit.scripts.summary_figures import Row, as_text, percentiles, rows_of, summarise


@dataclass(frozen=True)
class SummaryCommand:
    """Say what came of a run: how many people by status, failures by reason, errors, the worst fits.

    Errors are medians over a person's keypoints as shares of the person's size in the photo. Works while a run is on,
    too, on what is done by then. Of several clips (OUT/<clip>/), a line for each, and the worst of all.
    """

    out: tyro.conf.Positional[Path]
    """Output folder of `bodyfit fit`, of one run or of several clips."""
    worst: int = 10
    """How many of the worst fits to list."""
    measures: bool = False
    """Also measure every body (stature, inseam, arm span, girths, volume, mass), a fifth of a second each."""
    body: Path | None = None
    """Body model that the results were fitted with, for --measures. Default: the open body."""
    json: bool = False
    """Print one JSON document on stdout, and nothing else."""
    to: Literal["csv", "parquet"] | None = None
    """Write all rows as a table instead, to --output; of several clips, with a column `clip`."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The table's file. Default: OUT/summary.csv or OUT/summary.parquet."""

    def run(self) -> int:
        """Print, or write the table."""
        clips = {} if is_run(self.out) else runs_in(self.out)
        failed = {} if is_run(self.out) else read_clip_failures(self.out)
        if self.to is not None:
            self._write_table(rows_of_clips(clips) if clips else rows_of(self.out), ("clip",) if clips else ())
            return 0
        if clips or failed:
            return self._say_of_clips(clips, failed)
        document = summarise(rows_of(self.out), self.worst)
        if self.measures:
            document["measures"] = measures_of(self.out, self.body)
        print(json.dumps(document) if self.json else as_text(document))
        return 0

    def _write_table(self, rows: Iterable[Row], more: tuple[str, ...]) -> None:
        path, columns = self.output or self.out / f"summary.{self.to}", (*more, *COLUMNS)
        if self.to == "parquet" and not _has_pyarrow():
            raise BodyfitError("--to parquet needs pyarrow: pip install pyarrow, or --to csv.")
        write = {"csv": write_csv, "parquet": write_parquet}[self.to]
        write_atomically(path, lambda temporary: write(temporary, rows, columns))
        print(path)

    def _say_of_clips(self, clips: dict[str, Path], failed: dict[str, str]) -> int:
        if self.measures:
            raise BodyfitError(f"{self.out}: --measures is of one run. {what_is_expected(self.out)}")
        document = summarise_clips(clips, failed, self.worst)
        print(json.dumps(document) if self.json else clips_as_text(document))
        return 0


def measures_of(out: Path, body: Path | None) -> dict[str, dict[str, float]]:
    """Percentiles of each measure over all people: metres, cubic metres, kilograms."""
    from bodyfit.scripts.measure import measured_people  # imports torch

    people = [person for person in measured_people(out, body) if "mass_kg" in person]
    return {name: percentiles([person[name] for person in people]) for name in MEASURE_COLUMNS if people}


def _has_pyarrow() -> bool:
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None
