"""Whether files of results are there and whole, by size and last bytes: nothing is read in full."""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path

_END_OF_ZIP, _END_SIZE = b"PK\5\6", 22
"""How the last record of an .npz begins, and its length without a comment, which NumPy never writes."""


def is_complete(path: Path | str) -> bool:
    """Whether an ordinary file exists and, where it is an .npz or a shard (.safetensors), was not cut off."""
    name = os.fspath(path)
    try:
        found = os.stat(name)
    except (OSError, ValueError):  # ValueError: a name that no file system can hold
        return False
    if not stat.S_ISREG(found.st_mode):  # opening a pipe may hang
        return False
    if name.endswith(".npz"):
        return _ends_as_zip(name)
    return not name.endswith(".safetensors") or _is_whole_shard(name, found.st_size, found.st_mtime_ns)


def _ends_as_zip(name: str) -> bool:
    try:
        with open(name, "rb", buffering=0) as file:
            file.seek(-_END_SIZE, os.SEEK_END)
            return file.read(len(_END_OF_ZIP)) == _END_OF_ZIP
    except OSError:  # a shorter file
        return False


@lru_cache(maxsize=2)
def _is_whole_shard(name: str, _size: int, _time: int) -> bool:
    """The library compares the size with that of the header. Photos of a run come in the order of its shards."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(name, framework="numpy"):
            return True
    except (OSError, SafetensorError):
        return False
