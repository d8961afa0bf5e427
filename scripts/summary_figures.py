"""The rows of a run, and what they say in figures: status and reasons, percentiles of errors, the worst fits."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.store import JOURNAL, read_journal, what_is_expected
from bodyfit.data.words import counted
from bodyfit.fitting.run.summary_files import rows_of_summary

Row = dict[str, Any]
PERCENTILES = (5, 25, 50, 75, 95, 99)
_NAMES = re.compile(r"\S*[\d/]\S*")


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
        "error_share": percentiles(shares),
        "error_px": percentiles(pixels),
        "ages": [{"age": age, "count": count} for age, count in ages.most_common(20)],
        "touching": [{"feet": one, "count": count} for one, count in feet.most_common()],
        "stature_m": percentiles(statures),
        "size_sources": [{"source": source, "count": count} for source, count in sizes.most_common(20)],
        "least_sure": [
            dict(zip(("deviation_m", "image", "person", "weakest_part"), one, strict=True)) for one in unsure
        ],
        "most_ambiguous": [dict(zip(("probability", "image", "person", "doubt"), one, strict=True)) for one in doubts],
        "worst": [dict(zip(("error_share", "image", "person", "status"), case, strict=True)) for case in cases],
    }


def percentiles(values: list[float]) -> dict[str, float]:
    """`p5` to `p99`, and `mean`; nothing of no values."""
    if not values:
        return {}
    found = np.nanpercentile(values, PERCENTILES)
    return {f"p{p}": float(v) for p, v in zip(PERCENTILES, found, strict=True)} | {"mean": float(np.nanmean(values))}


def as_text(document: dict[str, Any]) -> str:
    """For people."""
    statuses = ", ".join(f"{count} {status}" for status, count in document["statuses"].items())
    people = counted(document["people"], "person", "people")
    lines = [f"{people} in {counted(document['photos'], 'photo', 'photos')}: {statuses or 'nobody'}"]
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
