"""Reading arrays that came from outside, and writing files that are whole or not there at all."""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bodyfit.data.errors import BodyfitError

_BROKEN = (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error)
"""What zipfile and numpy raise on damaged files."""

MAX_ARRAY_BYTES = 2 * 1024**3
"""No array of a file is read that would take more memory than this; the largest of SMPL-X takes 130 MB."""


def write_atomically(path: Path | str, write: Callable[[Path], object]) -> Path:
    """Call `write` with a temporary name beside `path`, then rename: readers never see half a file.

    The temporary name ends as `path` does, for libraries that choose the format by the suffix. Folders on the way are
    made. Raises BodyfitError when the place cannot be written to; nothing is left behind in that case.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".unfinished-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        _set_usual_permissions(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise BodyfitError(f"{path}: cannot be written: {error.strerror or error}. Choose another folder.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return path


def _set_usual_permissions(path: Path) -> None:
    """mkstemp makes files for their owner alone; give what a plain `open` would have given."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


class ArrayFile:
    """An .npz file opened key by key: nothing is unpickled, and sizes are looked at before memory is taken.

    Use as a context manager. `error` is the class of exception to raise, a subclass of BodyfitError.
    """

    def __init__(self, path: Path | str, error: type[BodyfitError] = BodyfitError):
        self.path = Path(path)
        self._error = error
        try:
            self._zip = zipfile.ZipFile(self.path)
        except FileNotFoundError as cause:
            raise error(f"{self.path}: no such file.") from cause
        except _BROKEN as cause:
            raise error(f"{self.path}: not a readable .npz file ({cause}). Is it complete?") from cause
        self._members = {name.removesuffix(".npy"): name for name in self._zip.namelist()}

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the arrays in the file."""
        return tuple(self._members)

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of an array, from its header alone."""
        return self._header(key)[0]

    def read(self, key: str) -> np.ndarray:
        """One array. Raises for a missing key, for Python objects, for broken data and for too large an array."""
        shape, dtype = self._header(key)
        if dtype.hasobject:
            raise self._error(
                f"{self.path}: '{key}' holds Python objects, which are not read for safety. Expected plain numbers."
            )
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if size > MAX_ARRAY_BYTES:
            raise self._error(f"{self.path}: '{key}' of shape {shape} would take {size / 1e9:.1f} GB. Expected < 2 GB.")
        try:
            with self._zip.open(self._members[key]) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)
        except _BROKEN as cause:
            raise self._error(f"{self.path}: '{key}' cannot be read ({cause}). Is the file complete?") from cause

    def _header(self, key: str) -> tuple[tuple[int, ...], np.dtype]:
        if key not in self._members:
            raise self._error(f"{self.path}: has no '{key}'. Found: {', '.join(sorted(self.keys)) or 'nothing'}.")
        try:
            with self._zip.open(self._members[key]) as stream:
                version = np.lib.format.read_magic(stream)
                if version == (1, 0):
                    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
                else:
                    shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        except _BROKEN as cause:
            raise self._error(f"{self.path}: '{key}' is not an array ({cause}).") from cause
        return shape, dtype
