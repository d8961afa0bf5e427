"""Reading arrays that came from outside, writing files whole or not at all, and names that stay in their folder."""

import contextlib
import errno
import hashlib
import os
import re
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


_LONGEST_PART = 200
"""Bytes of one part of a name; file systems take 255, and suffixes come on top."""
_LONGEST_NAME = 1000


class WriteError(BodyfitError):
    """A file that could not be written. `of_this_name`: its name is at fault, and other files can be written there."""

    def __init__(self, message: str, *, of_this_name: bool = False):
        super().__init__(message)
        self.of_this_name = of_this_name


def result_name(name: str) -> str:
    """A name from a file as the name of results: a relative path that stays below whatever folder it is put in.

    Drives, roots, "." and ".." are dropped, backslashes separate parts as slashes do, and what is too long for a file
    system is cut and gets a hash, so that two names stay two. What is an ordinary relative path comes back unchanged.
    """
    parts = re.sub(r"^[A-Za-z]:(?=[\\/])", "", name).replace("\\", "/").split("/")
    parts = [_shortened(part, _LONGEST_PART) for part in parts if part not in ("", ".", "..")]
    whole = "/".join(parts) or f"unnamed-{_short_hash(name)}"
    return whole if _size(whole) <= _LONGEST_NAME else _shortened(whole.replace("/", "_"), _LONGEST_PART)


def confined(folder: Path | str, name: str) -> Path:
    """`folder / name`, if that is a path below `folder` that a file system can hold. Symbolic links are not followed.

    Raises:
        BodyfitError: for absolute names, names with "..", drives or NUL, empty names and parts above 255 bytes.
    """
    parts = name.replace("\\", "/").split("/")
    bad = name == "" or ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:[\\/]", name) is not None
    if bad or "\0" in name or not _encodes(name) or max(map(_size, parts)) > 255:
        shown = name if len(name) < 80 else f"{name[:80]}..."
        raise BodyfitError(
            f"{shown!r} cannot be the name of a file in {folder}. Expected a relative path without '..' or NUL, "
            "each part at most 255 bytes long."
        )
    return Path(folder, name)


def _encodes(name: str) -> bool:
    """Whether the file system can spell it: JSON can hold halves of surrogate pairs."""
    try:
        return bool(os.fsencode(name))
    except UnicodeError:
        return False


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _shortened(text: str, longest: int) -> str:
    if _size(text) <= longest:
        return text
    kept = text.encode("utf-8", "surrogatepass")[: longest - 13].decode("utf-8", "ignore")
    return f"{kept}-{_short_hash(text)}"


_NAME_AT_FAULT = {
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
    errno.ELOOP,
}


def write_atomically(path: Path | str, write: Callable[[Path], object]) -> Path:
    """Call `write` with a temporary name beside `path`, then rename: readers never see half a file.

    The temporary name ends as `path` does, for libraries that choose the format by the suffix. Folders on the way are
    made. Raises WriteError when the place cannot be written to; nothing is left behind in that case.
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
    except (OSError, ValueError) as error:  # ValueError: a name with NUL or half a surrogate pair
        if not isinstance(error, OSError | UnicodeError) and "null" not in str(error):
            raise
        at_fault = not isinstance(error, OSError) or error.errno in _NAME_AT_FAULT
        reason = getattr(error, "strerror", None) or error
        raise WriteError(f"{path}: cannot be written: {reason}. {_advice(error)}", of_this_name=at_fault) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):  # the folder may have vanished
                temporary.unlink(missing_ok=True)
    return path


def _advice(error: Exception) -> str:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space, or choose another folder; the same command goes on where it stopped."
    return "Choose another folder."


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
