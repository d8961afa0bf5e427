"""Results of a run as one sequence, whether each person has a file (folders) or many share one (shards).

    results = bodyfit.open_results("OUT")
    len(results), results[0].body_pose, results.names[0]          # ("photo", "000")

A shard is a .safetensors file. Each numeric field of `FitResult` is one array with a row per person, in single
precision where that loses nothing; its words are JSON in the file's metadata. Any
safetensors reader opens it, in any language.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_origin, get_type_hints, overload

import numpy as np

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import confined, read_json, write_bytes_atomically
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.completeness import is_complete
from bodyfit.data.results.result import FitResult
from bodyfit.data.words import counted

JOURNAL = "journal.jsonl"
SHARDS = "shards"
"""Folder of a run's shards, beside `results`."""

_SAME_FOR_ALL = ("landmark_names", "conventions", "conventions_version")
_WORDS = tuple(
    name
    for name, hint in get_type_hints(FitResult).items()
    if (hint is str or get_origin(hint) is Literal) and name not in _SAME_FOR_ALL
)
_OPTIONAL = tuple(f"runner_up_{name}" for name in ("global_orient", "body_pose", "transl", "betas"))
_UNCERTAINTY = ("joint_covariance", "joint_covariance_root_relative", "landmark_covariance", "posterior_factor")
_UNCERTAINTY += ("flip_probability",)
"""Arrays that some people have: in a shard all NaN for those without, and left out where nobody has them."""
_LONGER_OF_CHILDREN = ("betas", "runner_up_betas", "posterior_factor")
"""Arrays that are longer for children, who have a shape number more: in a shard, others' end with NaN."""
_FURTHER = tuple(f"further_{name}" for name in ("weight", "cost", "global_orient", "body_pose", "transl", "betas"))
"""Arrays with a row for each further mode: in a shard, others' end with rows of NaN."""
_NUMBERS = tuple(f.name for f in fields(FitResult) if f.name not in _WORDS + _SAME_FOR_ALL)


class StoredResult(NamedTuple):
    """Where one person's result is."""

    image: str
    person: str
    folder: Path
    """The output folder."""
    file: str
    """Below it: results/<image>/<nnn>.npz, or shards/<name>.safetensors#<row>."""

    @property
    def name(self) -> str:
        """image/person, which is the path of files made of this result, without suffix."""
        return f"{self.image}/{self.person}" if self.image else self.person

    @property
    def path(self) -> Path:
        """For messages; `load_result` reads it."""
        return self.folder / self.file

    def load(self) -> FitResult:
        """Read it. Raises ResultError when the file is missing or not complete."""
        return load_result(self.path)


class Results(Sequence[FitResult]):
    """People of an output folder; each is read when it is asked for. Those who failed have no result."""

    def __init__(self, stored: Sequence[StoredResult]):
        self.stored = tuple(stored)

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """(image, person) of each."""
        return tuple((one.image, one.person) for one in self.stored)

    def __len__(self) -> int:
        return len(self.stored)

    @overload
    def __getitem__(self, index: int) -> FitResult: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> FitResult | Results:
        return Results(self.stored[index]) if isinstance(index, slice) else self.stored[index].load()

    def __iter__(self) -> Iterator[FitResult]:
        return (one.load() for one in self.stored)

    def __repr__(self) -> str:
        return f"Results of {counted(len(self), 'person', 'people')}"


def is_run(folder: Path) -> bool:
    """Whether a folder has what `bodyfit fit` leaves of a run, at work or done."""
    return any((folder / name).is_file() for name in ("summary.json", JOURNAL))


def runs_in(folder: Path) -> dict[str, Path]:
    """The runs in a folder, such as that of several clips, by their names; links that lead out are left out."""
    inside = folder.resolve()
    found = sorted(folder.iterdir(), key=lambda path: _natural(path.name)) if folder.is_dir() else []
    return {one.name: one for one in found if is_run(one) and one.resolve().is_relative_to(inside)}


def what_is_expected(folder: Path) -> str:
    """What to give in place of a folder that is no run's: that of a run, or, of several clips, one of these."""
    runs = list(runs_in(folder).values())
    if runs:
        return f"It holds {len(runs)} runs: give one of them, such as {runs[0]}; `bodyfit summary` lists them all."
    return "Expected the output folder of `bodyfit fit PHOTOS -o OUT`."


def open_results(folder: Path | str) -> Results:
    """The people of an output folder of `bodyfit fit`, in natural order of photos, in either layout.

    Raises:
        BodyfitError: where there are none.
    """
    folder = Path(folder)
    inside = folder.resolve()
    found = [one for rows in _rows(folder) for one in _stored(folder, rows)]
    if not found and (folder / "results").is_dir():  # results that somebody copied here
        files = (file.relative_to(folder) for file in sorted((folder / "results").rglob("*.npz")))
        names = [f for f in files if not f.name.startswith(".") and (folder / f).resolve().is_relative_to(inside)]
        found = [StoredResult(f.parent.relative_to("results").as_posix(), f.stem, folder, f.as_posix()) for f in names]
    if not found:
        raise BodyfitError(f"{folder}: no results in it. {what_is_expected(folder)}")
    return Results(sorted(found, key=lambda one: (_natural(one.image), one.person)))


def _rows(folder: Path) -> Iterator[list[dict[str, Any]]]:
    journal = folder / JOURNAL
    if journal.is_file():
        yield from (record.get("rows") for record in read_journal(journal).values())
        return
    try:
        yield read_json(folder / "summary.json")["people"]
    except (BodyfitError, OSError, KeyError, TypeError):
        return


def read_journal(path: Path) -> dict[str, dict[str, Any]]:
    """The valid record of each photo of a journal (fitting/run/journal.py), by its name."""
    records: dict[str, dict[str, Any]] = {}
    with path.open("rb") as file:
        for line in file:
            try:
                record = json.loads(line)
                for name in record.get("redo", ()):
                    records.pop(name, None)
                if "name" in record:
                    records[record["name"]] = record
            except (ValueError, AttributeError, TypeError, RecursionError):
                continue  # a line that a kill cut off, or that is none of ours
    return records


def _stored(folder: Path, rows: Any) -> Iterator[StoredResult]:
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and isinstance(row.get("result"), str) and row.get("image"):
            file = split_row(confined(folder, row["result"]))[0]
            if not (file.is_file() and file.resolve().is_relative_to(folder.resolve())):
                continue  # removed since, or a link that leads out of the folder
            yield StoredResult(str(row["image"]), str(row.get("person")), folder, row["result"])


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]


# ---- shards ---------------------------------------------------------------------------------------------------------


def load_result(path: Path | str) -> FitResult:
    """A result from its own file, or from a row of a shard ("x.safetensors#3"). Raises ResultError."""
    shard, row = split_row(path)
    try:
        if row is None:
            return FitResult.load(path)
        people = _shard_of(shard)
    except ResultError as error:
        if is_complete(shard):
            raise
        raise ResultError(f"{error} The same `bodyfit fit` command again writes it anew.") from error
    if row >= len(people):
        raise ResultError(f"{shard}: has {len(people)} people, none of number {row}. Was it exchanged?")
    return people[row]


def split_row(path: Path | str) -> tuple[Path, int | None]:
    """The file, and the row in it where it is a shard's."""
    file, _, row = str(path).rpartition("#")
    return (Path(file), int(row)) if file.endswith(".safetensors") and row.isdecimal() else (Path(path), None)


def save_shard(path: Path | str, results: Sequence[FitResult]) -> Path:
    """Write people with one body and prior into one file, whole or not at all. Raises WriteError."""
    from safetensors.numpy import save

    arrays, absent = {}, np.array([not result.has_runner_up for result in results])
    for name in _NUMBERS:
        rows = [np.asarray(getattr(result, name)) for result in results]
        if name in _LONGER_OF_CHILDREN:
            most = max(row.size for row in rows)
            rows = [np.pad(row, (0, most - row.size), constant_values=np.nan) if row.size else row for row in rows]
        if name in _OPTIONAL:
            filler = np.zeros(max(row.size for row in rows))
            rows = [row if row.size else filler for row in rows]
        if name in _FURTHER:
            rows = _of_one_size(rows)
            if not rows[0].size:
                continue
        if name in _UNCERTAINTY:
            filler = np.full_like(max(rows, key=np.size), np.nan)
            rows = [row if row.size else filler for row in rows]
            if not filler.size:
                continue
        arrays[name] = _smallest(np.stack(rows))
    arrays["has_runner_up"] = ~absent
    words: dict[str, Any] = {name: [getattr(result, name) for result in results] for name in _WORDS}
    words |= {name: getattr(results[0], name) for name in _SAME_FOR_ALL}
    metadata = {"bodyfit": json.dumps(words)}
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata=metadata)
    return write_bytes_atomically(path, content)


def _of_one_size(rows: list[np.ndarray]) -> list[np.ndarray]:
    """Further modes of people, filled up with NaN; all empty where nobody has any."""
    some = [row for row in rows if row.size]
    if not some:
        return rows
    whole = [np.full(np.max([row.shape for row in some], axis=0), np.nan) for _ in rows]
    for target, row in zip(whole, rows, strict=True):
        if row.size:
            target[tuple(slice(length) for length in row.shape)] = row
    return whole


def load_shard(path: Path | str) -> list[FitResult]:
    """Everybody in a shard. Raises ResultError for a file that is missing or not one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            words = json.loads(file.metadata()["bodyfit"])
            arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
        count = len(words["person_id"])
        shared = {name: words[name] for name in _SAME_FOR_ALL}
        return [_person(arrays, words, shared, n) for n in range(count)]
    except FileNotFoundError as cause:
        raise ResultError(f"{path}: no such file.") from cause
    except (OSError, SafetensorError, ValueError, KeyError, IndexError, TypeError, RecursionError) as cause:
        raise ResultError(f"{path}: not a readable shard of results ({cause}). Is it complete?") from cause


def _person(arrays: dict[str, np.ndarray], words: dict[str, Any], shared: dict[str, Any], n: int) -> FitResult:
    values: dict[str, Any] = {name: words[name][n] for name in _WORDS if name in words} | shared
    for name in _NUMBERS:
        if name in _UNCERTAINTY and (name not in arrays or np.isnan(arrays[name][n]).all()):
            continue
        if name in _FURTHER:
            if name in arrays and (kept := np.isfinite(arrays["further_weight"][n])).any():
                mine = arrays[name][n][kept]
                values[name] = mine[:, np.isfinite(mine).any(axis=0)] if mine.ndim == 2 else mine
            continue
        left_out = name in _OPTIONAL and not arrays["has_runner_up"][n]
        row = np.zeros(0) if left_out else arrays[name][n]
        if name in _LONGER_OF_CHILDREN:
            row = row[~np.isnan(row)]
        values[name] = row.item() if row.ndim == 0 else row
    return FitResult(**values)


@lru_cache(maxsize=2)
def _read_once(path: Path, _size: int, _time: int) -> list[FitResult]:
    return load_shard(path)


def _shard_of(path: Path) -> list[FitResult]:
    """A shard's people; the last two shards are kept, since readers go through people in order."""
    try:
        found = path.stat()
    except OSError as cause:
        raise ResultError(f"{path}: no such file.") from cause
    return _read_once(path, found.st_size, found.st_mtime_ns)


def _smallest(array: np.ndarray) -> np.ndarray:
    """In single precision where that changes nothing."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    return single if np.array_equal(single, array, equal_nan=True) else array
