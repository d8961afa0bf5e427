"""Reading arrays that came from outside, writing files whole or not at all, and names that stay in their folder."""

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bodyfit.data.errors import BodyfitError

MAX_ARRAY_BYTES = 512 * 1024**2
"""No array of a file is read that would take more memory than this; the largest of SMPL-X takes 130 MB."""

MAX_JSON_BYTES = 1024**3
"""No JSON is read whose values would take more memory than this, by a rough count; the annotations of all of COCO's
training photos would (1.4 GB), and their reader may say so."""

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".gif")

UNFINISHED = ".unfinished-"
"""How the names of files begin that are being written."""
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

    def fill(handle: int, temporary: Path) -> None:
        os.close(handle)
        write(temporary)

    return _written(Path(path), fill)


def write_bytes_atomically(path: Path | str, content: bytes) -> Path:
    """`write_atomically` of bytes that are at hand, with fewer calls of the file system."""

    def fill(handle: int, _: Path) -> None:
        with open(handle, "wb", buffering=0) as file:
            rest = memoryview(content)
            while rest:  # the system may take less than it is given
                rest = rest[file.write(rest) :]

    return _written(Path(path), fill)


def _written(path: Path, fill: Callable[[int, Path], object]) -> Path:
    """`path`, after `fill` has filled a new file that then took its name."""
    temporary = None
    try:
        handle, temporary = _new_file(path)
        fill(handle, temporary)
        os.replace(temporary, path)
        temporary = None
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


def _new_file(path: Path) -> tuple[int, Path]:
    """A new, open file beside `path`, with the permissions that a plain `open` gives; folders on the way are made."""
    temporary = path.parent / f"{UNFINISHED}{os.urandom(8).hex()}{path.suffix}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.open(temporary, flags, 0o666), temporary
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(temporary, flags, 0o666), temporary


def remove_unfinished(folder: Path) -> int:
    """Remove what a kill inside `write_atomically` left below a folder; how many files that were. Nobody may be writing
    there meanwhile."""
    count = 0
    for place, _, names in os.walk(folder):
        for name in names:
            if name.startswith(UNFINISHED):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(place, name))
                    count += 1
    return count


def remove_file(folder: Path, name: str) -> None:
    """Remove a file below a folder, and folders on the way that are empty then. Raises BodyfitError as `confined`."""
    file = confined(folder, name)
    file.unlink(missing_ok=True)
    for place in file.parents:
        if place == folder:
            return
        try:
            place.rmdir()
        except OSError:  # not empty
            return


def _advice(error: Exception) -> str:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space, or choose another folder; the same command goes on where it stopped."
    return "Choose another folder."


def read_bytes(path: Path | str, error: type[BodyfitError] = BodyfitError, *, most: int = MAX_JSON_BYTES) -> bytes:
    """The bytes of an ordinary file of at most `most` bytes; pipes and devices are not opened, since reading may hang.

    Raises:
        `error`: naming the file, what was found and what was expected.
    """
    check_file(path, error, most=most)
    try:
        return Path(path).read_bytes()
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror or cause}).") from cause


def check_file(path: Path | str, error: type[BodyfitError] = BodyfitError, *, most: int | None = None) -> None:
    """Raise `error` unless `path` is an ordinary file (of at most `most` bytes), without opening it."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as cause:
        raise error(f"{path}: no such file.") from cause
    except (OSError, ValueError) as cause:  # ValueError: NUL or half a surrogate pair in the name
        raise error(f"{path!s:.300}: cannot be read ({getattr(cause, 'strerror', None) or cause}).") from cause
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
        raise error(f"{path}: is {what}. Expected a file.")
    if most is not None and found.st_size > most:
        raise error(f"{path}: {found.st_size / 1e6:.0f} MB. Expected at most {most / 1e6:.0f} MB.")


def read_json(
    path: Path | str, error: type[BodyfitError] = BodyfitError, *, most: int = MAX_JSON_BYTES, lines: bool = False
) -> Any:
    """The document in a JSON file, for files that anybody may have written.

    UTF-8 (a byte order mark is fine), UTF-16 and UTF-32. Whole numbers beyond 64 bits become floats, and halves of
    surrogate pairs the replacement character, so that what was read can be computed with and written again.

    Args:
        path: an ordinary file; pipes and devices are not opened.
        error: the class of exception to raise.
        most: bytes of memory that the values may take, and so the largest size of the file.
        lines: a document per line (JSON Lines); the answer is then the list of them.

    Raises:
        `error`: naming the file and what is wrong: missing, no JSON, cut off, nested too deeply, too large.
    """
    return parse_json(read_bytes(path, error, most=most), str(path), error, most=most, lines=lines)


def parse_json(
    content: bytes,
    source: str,
    error: type[BodyfitError] = BodyfitError,
    *,
    most: int = MAX_JSON_BYTES,
    lines: bool = False,
) -> Any:
    """`read_json` of bytes that are at hand already; `source` names them in errors."""
    needed = len(content) + 64 * content.count(b"[") + 200 * content.count(b"{") + 32 * content.count(b",")
    if needed > most:
        raise error(f"{source}: its values would take {needed / 1e9:.1f} GB. Expected at most {most / 1e9:.1f} GB.")
    try:
        text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
        text = _ESCAPE.sub(_whole_escape, text) if "\\u" in text else text
        if _deepest(text) > _MAX_DEPTH:
            raise error(f"{source}: nested more than {_MAX_DEPTH} levels deep. Expected ordinary JSON.")
        documents = [line for line in text.splitlines() if line.strip()] if lines else [text]
        parsed = [json.loads(document, parse_int=_whole_number) for document in documents]
    except ValueError as cause:
        reason = "the file is empty" if not content.strip() else f"{cause!s:.200}"
        raise error(f"{source}: no readable JSON ({reason}). Is the file complete?") from cause
    except RecursionError as cause:
        raise error(f"{source}: nested too deeply. Expected ordinary JSON.") from cause
    return parsed if lines else parsed[0]


_MAX_DEPTH = 100
# An escape in JSON: a whole surrogate pair, a lone half, or any other, so that the backslash of "\\" begins none.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.S
)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.S)


def _whole_escape(match: re.Match) -> str:
    return "\\ufffd" if match["half"] else match[0]


def _deepest(text: str) -> int:
    """How deeply lists and objects are nested: what reading and every walk over the document recurses."""
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return 0
    brackets = np.frombuffer(_STRING.sub("", text).encode().translate(None, _NO_BRACKETS), dtype=np.uint8)
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
    return int(np.cumsum(steps).max(initial=0))


def _whole_number(text: str) -> int | float:
    value = int(text) if len(text) <= 20 else math.nan
    return value if -(2**63) <= value < 2**63 else float(text)


class ArrayFile:
    """An .npz file opened key by key: nothing is unpickled, and sizes are looked at before memory is taken.

    Use as a context manager. `error` is the class of exception to raise, a subclass of BodyfitError. `content` is for
    files whose bytes are at hand already; `path` then names them in errors.
    """

    def __init__(self, path: Path | str, error: type[BodyfitError] = BodyfitError, *, content: bytes | None = None):
        self.path = Path(path)
        self._error = error
        if content is None:
            check_file(self.path, error)
        try:
            self._zip = zipfile.ZipFile(self.path if content is None else io.BytesIO(content))
        except Exception as cause:  # zipfile raises many kinds on damaged files
            raise error(f"{self.path}: not a readable .npz file ({cause}). Is it complete?") from cause
        self._members = {member.filename.removesuffix(".npy"): member for member in self._zip.infolist()}

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

    def dtype(self, key: str) -> np.dtype:
        """What an array holds, from its header alone."""
        return self._header(key)[1]

    def read(self, key: str, *, most: int = MAX_ARRAY_BYTES) -> np.ndarray:
        """One array of at most `most` bytes.

        Raises for a missing key, for Python objects, for broken data and for too large an array, before memory is
        taken.
        """
        shape, dtype = self._header(key)
        size, there = math.prod(shape) * dtype.itemsize, self._members[key].file_size
        if max(size, math.prod(shape)) > most:  # an element may take no bytes
            raise self._error(
                f"{self.path}: '{key}' of shape {shape} would take {size / 1e9:.1f} GB. Expected < {most / 1e9:.1f} GB."
            )
        if not size <= there <= size + _MAX_HEADER:
            raise self._error(f"{self.path}: '{key}' of shape {shape} needs {size} bytes, but there are {there}.")
        try:
            with self._zip.open(self._members[key]) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)
        except Exception as cause:  # zipfile, zlib and numpy raise many kinds on damaged files
            raise self._error(f"{self.path}: '{key}' cannot be read ({cause}). Is the file complete?") from cause

    def _header(self, key: str) -> tuple[tuple[int, ...], np.dtype]:
        if key not in self._members:
            raise self._error(f"{self.path}: has no '{key}'. Found: {', '.join(sorted(self.keys)[:30]) or 'nothing'}.")
        member = self._members[key]
        try:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("compressed as numpy never does")
            with self._zip.open(member) as stream:
                start = stream.read(12)
                major = start[6]
                length = int.from_bytes(start[8:10] if major == 1 else start[8:12], "little")
                if length > _MAX_HEADER:
                    raise ValueError(f"a header of {length} bytes")
                start = io.BytesIO(start + stream.read(length))
            np.lib.format.read_magic(start)
            read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(start)
            if any(n < 0 for n in shape):
                raise ValueError(f"shape {shape}")
        except Exception as cause:  # numpy evaluates the header as a Python literal, which can fail in any way
            raise self._error(f"{self.path}: '{key}' is not an array ({cause!s:.200}).") from cause
        if dtype.hasobject:
            raise self._error(
                f"{self.path}: '{key}' holds Python objects, which are not read for safety. Expected plain numbers."
            )
        return shape, dtype


_MAX_HEADER = 1 << 16
"""Bytes in which the header of an array must end, as numpy pads it."""
