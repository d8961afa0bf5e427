"""The summary of a run: OUT/summary.json, and for large runs the same rows as .csv and .parquet."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import parse_json, read_json, write_atomically
from bodyfit.data.results.record import Status

LARGE = 1000
"""Rows from which on a run gets summary.csv (and summary.parquet, where pyarrow is installed), too."""
STATUSES = get_args(Status)
RESULT_FIELDS = (
    *("status", "reason", "cost", "runner_up_cost", "ambiguous", "error_px", "error_share", "error_share_body"),
    *("error_share_hands", "error_share_face", "iterations", "seconds", "age", "age_margin", "age_years", "stature_m"),
    *("size_source", "touching", "floor_source", "focal_px", "focal_source", "keypoint_source"),
)
"""What a row has of a FitResult, under the same names."""
DOUBT_FIELDS = ("weakest_part", "weakest_deviation_m", "doubt", "doubt_probability")
"""What a row says of how sure its person is: what is known worst, and which other pose is most probable."""
COLUMNS = ("image", "person", "photo", *RESULT_FIELDS, *DOUBT_FIELDS, "result", "mesh", "overlay")


class SummaryWriter:
    """Writes the summary of an output folder row by row: memory does not grow with the rows."""

    def __init__(self, out: Path):
        self.out = out

    def write(self, header: dict[str, Any], rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """Write all files; returns what summary.json says besides its rows.

        Raises:
            WriteError: when the folder cannot be written to.
        """
        counts: Counter[str] = Counter(dict.fromkeys(STATUSES, 0))
        total = 0

        def write_json(path: Path) -> None:
            nonlocal total
            with path.open("w", encoding="utf-8") as file:
                start = json.dumps(header, indent=1, allow_nan=False).removesuffix("\n}")
                file.write(start + ',\n "people": [')
                for row in rows:
                    file.write(("," if total else "") + "\n  " + json.dumps(row, allow_nan=False))
                    counts[row["status"]] += 1
                    total += 1
                file.write("\n ],\n" if total else "],\n")
                file.write(f' "counts": {json.dumps(counts)}\n}}\n')

        write_atomically(self.out / "summary.json", write_json)
        self._write_tables(total)
        return header | {"counts": dict(counts)}

    def _write_tables(self, total: int) -> None:
        tables = {"summary.csv": write_csv, "summary.parquet": write_parquet if _has_pyarrow() else None}
        for name, write in tables.items():
            if total >= LARGE and write is not None:
                write_table(self.out / name, self.out / "summary.json", write)
            else:
                (self.out / name).unlink(missing_ok=True)  # of an earlier run


def write_table(path: Path, summary: Path, write: Callable[[Path, Iterable[dict[str, Any]]], None]) -> None:
    """Write the rows of a summary.json that `SummaryWriter` wrote as a table. Raises WriteError."""
    write_atomically(path, lambda temporary: write(temporary, rows_of_summary(summary)))


def rows_of_summary(path: Path) -> Iterable[dict[str, Any]]:
    """The rows of a summary.json, one at a time: `SummaryWriter` puts each on a line of its own.

    Raises:
        BodyfitError: for a file that holds no such rows.
    """
    found = False
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("  {") and len(line) > 4:
                found = True
                yield _row(parse_json(line.rstrip("\n,").encode(), str(path)), path)
    if not found:  # laid out by somebody else
        document = read_json(path)
        people = document.get("people") if isinstance(document, dict) else None
        yield from (_row(row, path) for row in (people if isinstance(people, list) else [None]))


def _row(row: Any, path: Path) -> dict[str, Any]:
    words = isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("image", "status"))
    numbers = [row.get(key) for key in ("error_share", "error_px")] if words else []
    if not words or not all(number is None or isinstance(number, int | float) for number in numbers):
        raise BodyfitError(f"{path}: expected a list `people` of rows as `bodyfit fit` writes them.")
    return {"person": None} | row


def write_csv(path: Path, rows: Iterable[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> None:
    """Rows as comma-separated values; what a row lacks is empty."""
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def write_parquet(
    path: Path, rows: Iterable[dict[str, Any]], columns: Sequence[str] = COLUMNS, group: int = 50_000
) -> None:
    """Rows as Parquet, in groups."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = dict.fromkeys(columns, pa.string())
    numbers = ("cost", "runner_up_cost", "age_margin", "age_years", "stature_m", "focal_px", "seconds")
    numbers += ("weakest_deviation_m", "doubt_probability")
    numbers += tuple(c for c in COLUMNS if c.startswith("error_"))
    kinds |= dict.fromkeys(numbers, pa.float64()) | {"iterations": pa.int64(), "ambiguous": pa.bool_()}
    schema, some = pa.schema(list(kinds.items())), []
    with parquet.ParquetWriter(path, schema) as table:
        for row in rows:
            some.append({name: row.get(name) for name in columns})
            if len(some) == group:
                table.write_table(pa.Table.from_pylist(some, schema))
                some = []
        table.write_table(pa.Table.from_pylist(some, schema))


def _has_pyarrow() -> bool:
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None
