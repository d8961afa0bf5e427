"""`bodyfit summary`: what came of a run, in numbers: failures by reason, errors, the worst cases."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import write_atomically
from bodyfit.data.results.store import JOURNAL, read_journal, what_is_expected
from bodyfit.data.results.tables import MEASURE_COLUMNS
from bodyfit.fitting.run.summary_files import rows_of_summary, write_csv, write_parquet

Row = dict[str, Any]
PERCENTILES = (5, 25, 50, 75, 95, 99)
_NAMES = re.compile(r"\S*[\d/]\S*")


@dataclass(frozen=True)
class SummaryCommand:
    """Say what came of a run: how many people by status, failures by reason, errors, the worst fits.

    Errors are medians over a person's keypoints as shares of the person's size in the photo. Works while a run is on,
    too, on what is done by then.
    """

    out: tyro.conf.Positional[Path]
    """Output folder of `bodyfit fit`."""
    worst: int = 10
    """How many of the worst fits to list."""
    measures: bool = False
    """Also measure every body (stature, inseam, arm span, girths, volume, mass), a fifth of a second each."""
    body: Path | None = None
    """Body model that the results were fitted with, for --measures. Default: the open body."""
    json: bool = False
    """Print one JSON document on stdout, and nothing else."""
    to: Literal["csv", "parquet"] | None = None
    """Write all rows as a table instead, to --output."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The table's file. Default: OUT/summary.csv or OUT/summary.parquet."""

    def run(self) -> int:
        """Print, or write the table."""
        rows = rows_of(self.out)
        if self.to is not None:
            path = self.output or self.out / f"summary.{self.to}"
            if self.to == "parquet" and not _has_pyarrow():
                raise BodyfitError("--to parquet needs pyarrow: pip install pyarrow, or --to csv.")
            write = {"csv": write_csv, "parquet": write_parquet}[self.to]
            write_atomically(path, lambda temporary: write(temporary, rows))
            print(path)
            return 0
        document = summarise(rows, self.worst)
        if self.measures:
            document["measures"] = measures_of(self.out, self.body)
        print(json.dumps(document) if self.json else as_text(document))
        return 0


def rows_of(out: Path) -> Iterable[Row]:
    """The rows of a run: of its summary, or of its journal while it is at work.

    Raises:
        BodyfitError: where there is neither.
    """
    summary, journal = out / "summary.json", out / JOURNAL
    if summary.is_file():
        return rows_of_summary(summary)
    if journal.is_file():
        return (row for record in read_journal(journal).values() for row in record.get("rows", ()))
    raise BodyfitError(f"{out}: no summary.json in it. {what_is_expected(out)}")


def measures_of(out: Path, body: Path | None) -> dict[str, dict[str, float]]:
    """Percentiles of each measure over all people: metres, cubic metres, kilograms."""
    from bodyfit.scripts.measure import measured_people  # imports torch

    people = [person for person in measured_people(out, body) if "mass_kg" in person]
    return {name: _percentiles([person[name] for person in people]) for name in MEASURE_COLUMNS if people}


def _keep_largest(rows: list[tuple], count: int) -> None:
    """Leave the rows with the largest first numbers, largest first; equal ones stay in their order."""
    rows.sort(key=lambda row: -row[0])
    del rows[count:]


def summarise(rows: Iterable[Row], worst: int) -> dict[str, Any]:
    """Counts by status and reason, percentiles of errors, the worst fits; memory for two numbers per person."""
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    ages: Counter[str] = Counter()
    feet: Counter[str] = Counter()
    shares, pixels, statures, cases, unsure, doubts = [], [], [], [], [], []
    images, last, ambiguous = 0, None, 0
    for row in rows:
        images, last = images + (row["image"] != last), row["image"]
        statuses[row["status"]] += 1
        ambiguous += bool(row.get("ambiguous"))
        if row["status"] == "failed":
            reasons[_NAMES.sub("…", row.get("reason") or "unknown")] += 1
        if row.get("stature_m") is not None:
            statures.append(row["stature_m"])
            sizes[row.get("size_source") or "unknown"] += 1
        if row.get("touching"):
            feet[row["touching"]] += 1
        if row.get("age"):
            ages[row["age"]] += 1
        share = row.get("error_share")
        if share is None or not math.isfinite(share):
            continue
        shares.append(share)
        pixels.append(row.get("error_px") or math.nan)
        cases.append((share, row["image"], row["person"], row["status"]))
        if (deviation := row.get("weakest_deviation_m")) is not None:
            unsure.append((float(deviation), row["image"], row["person"], row.get("weakest_part") or ""))
        if row.get("doubt"):
            doubts.append((float(row.get("doubt_probability") or 0), row["image"], row["person"], row["doubt"]))
        for some in (cases, unsure, doubts):
            if len(some) > 20 * max(worst, 50):
                _keep_largest(some, worst)
    for some in (cases, unsure, doubts):
        _keep_largest(some, worst)
    return {
        "photos": images,
        "people": sum(statuses.values()),
        "statuses": dict(statuses.most_common()),
        "ambiguous": ambiguous,
        "failures": [{"reason": reason, "count": count} for reason, count in reasons.most_common()],
        "error_share": _percentiles(shares),
        "error_px": _percentiles(pixels),
        "ages": [{"age": age, "count": count} for age, count in ages.most_common(20)],
        "touching": [{"feet": one, "count": count} for one, count in feet.most_common()],
        "stature_m": _percentiles(statures),
        "size_sources": [{"source": source, "count": count} for source, count in sizes.most_common(20)],
        "least_sure": [
            dict(zip(("deviation_m", "image", "person", "weakest_part"), one, strict=True)) for one in unsure
        ],
        "most_ambiguous": [dict(zip(("probability", "image", "person", "doubt"), one, strict=True)) for one in doubts],
        "worst": [dict(zip(("error_share", "image", "person", "status"), case, strict=True)) for case in cases],
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    found = np.nanpercentile(values, PERCENTILES)
    return {f"p{p}": float(v) for p, v in zip(PERCENTILES, found, strict=True)} | {"mean": float(np.nanmean(values))}


def as_text(document: dict[str, Any]) -> str:
    """For people."""
    statuses = ", ".join(f"{count} {status}" for status, count in document["statuses"].items())
    lines = [f"{document['people']} people in {document['photos']} photos: {statuses or 'nobody'}"]
    lines += [f"{document['ambiguous']} ambiguous (another pose explains their keypoints nearly as well)"]
    if document["failures"]:
        lines += ["", "failures by reason"]
        lines += [f"{failure['count']:8}  {failure['reason']}" for failure in document["failures"][:20]]
    if document["error_share"]:
        heads = [*(f"p{p}" for p in PERCENTILES), "mean"]
        lines += ["", "error           " + "".join(f"{head:>9}" for head in heads)]
        shares, pixels = document["error_share"], document["error_px"]
        lines += ["  % of size     " + "".join(f"{100 * shares[head]:9.2f}" for head in heads)]
        lines += ["  px            " + "".join(f"{pixels[head]:9.2f}" for head in heads)]
    if document["ages"]:
        lines += ["", "age"] + [f"{one['count']:8}  {one['age']}" for one in document["ages"]]
    if document["touching"]:
        lines += ["", "feet on the ground"] + [f"{one['count']:8}  {one['feet']}" for one in document["touching"]]
    if document["stature_m"]:
        heads = [*(f"p{p}" for p in PERCENTILES), "mean"]
        measures = document.get("measures") or {"stature_m": document["stature_m"]}
        width = max(16, *(len(name) + 4 for name in measures))
        lines += ["", f"{'size':<{width}}" + "".join(f"{head:>9}" for head in heads)]
        lines += [
            f"  {name:<{width - 2}}" + "".join(f"{found[head]:9.3f}" for head in heads)
            for name, found in measures.items()
        ]
        lines += [f"{one['count']:8}  {one['source']}" for one in document["size_sources"]]
    if document["worst"]:
        lines += ["", "largest errors"]
        lines += [
            f"{100 * case['error_share']:8.2f} %  {case['image']}, person {case['person']} ({case['status']})"
            for case in document["worst"]
        ]
    if document["least_sure"]:
        lines += ["", "least sure (one standard deviation, relative to the pelvis)"]
        lines += [
            f"    {one['image']}, person {one['person']}: {one['weakest_part']}" for one in document["least_sure"]
        ]
    if document["most_ambiguous"]:
        lines += ["", "most ambiguous (another pose explains the keypoints nearly as well)"]
        lines += [f"    {one['image']}, person {one['person']}: {one['doubt']}" for one in document["most_ambiguous"]]
    return "\n".join(lines)


def _has_pyarrow() -> bool:
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None
