"""What is done in an output folder: OUT/journal.jsonl, a line per photo, only ever appended to.

    {"name": "a/b", "key": "5f0c...", "part": "91ab...", "rows": [...]}   done; later lines replace earlier ones
    {"redo": ["a/b", ...]}                                               their files are about to be replaced

A line is written after all files that it names. A run that is killed at any moment leaves at most a last line that is
cut off, which is dropped.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bodyfit.data.files import WriteError
from bodyfit.data.results.store import JOURNAL

Record = dict[str, Any]
"""name, key (None: to be tried again), part, rows."""


class Entry(NamedTuple):
    """Where a photo's line is, and what its results depended on."""

    key: str | None
    part: str | None
    offset: int


class Journal:
    """The journal of an output folder, open for appending. Memory: some 300 bytes per photo; rows stay on disk.

    Raises:
        WriteError: when it cannot be opened or written.
    """

    def __init__(self, folder: Path):
        self.path, self.entries = folder / JOURNAL, dict[str, Entry]()
        try:
            self._file = open(self.path, "a+b")  # noqa: SIM115
            self._index()
        except OSError as error:
            raise WriteError(f"{self.path}: cannot be opened: {error.strerror or error}.") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _index(self) -> None:
        self._file.seek(0)
        offset, parts = 0, dict[str, str]()
        for line in self._file:
            try:
                self._take(json.loads(line), offset, parts)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                if not line.endswith(b"\n"):  # cut off by a kill
                    break
            offset += len(line)
        self._file.truncate(offset)
        self._file.seek(0, os.SEEK_END)

    def _take(self, record: Record, offset: int, parts: dict[str, str]) -> None:
        for name in record.get("redo", ()):
            self.entries.pop(name, None)
        if "name" in record:
            part = record["part"]
            self.entries[record["name"]] = Entry(record["key"], parts.setdefault(part, part), offset)

    def append(self, records: Iterable[Record]) -> None:
        """Write records, all or (when the disk is full) none of them."""
        before = self._file.seek(0, os.SEEK_END)
        offset, lines, entries = before, [], {}
        for record in records:
            lines.append(json.dumps(record, allow_nan=False).encode() + b"\n")
            entries[record["name"]] = Entry(record["key"], record["part"], offset)
            offset += len(lines[-1])
        self._write(b"".join(lines), before)
        self.entries |= entries

    def redo(self, names: Iterable[str]) -> None:
        """Say that the files of these photos are about to be replaced, so that their rows no longer hold."""
        known = [name for name in names if name in self.entries]
        if known:
            self._write(json.dumps({"redo": known}).encode() + b"\n", self._file.seek(0, os.SEEK_END))
            for name in known:
                del self.entries[name]

    def _write(self, content: bytes, before: int) -> None:
        try:
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            self._cut(before)
            raise WriteError(
                f"{self.path}: cannot be written: {error.strerror or error}. "
                "Free some space; the same command goes on where it stopped."
            ) from error

    def _cut(self, size: int) -> None:
        with contextlib.suppress(OSError):  # the next run drops the line that was cut off
            os.truncate(self.path, size)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a photo; empty where it has none."""
        entry = self.entries.get(name)
        if entry is None:
            return []
        self._file.seek(entry.offset)
        return json.loads(self._file.readline())["rows"]

    def __iter__(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        for name in list(self.entries):
            yield name, self.rows(name)
