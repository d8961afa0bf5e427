"""Tensors out of a PyTorch checkpoint without running anything it asks for, each read when its shape is as wanted.

A checkpoint is a pickle that refers to blocks of numbers ("storages") beside it: members of a zip archive today, what
follows in the same file before 2020. Lightning's hold callbacks, loggers and configuration objects as well.
`inert_pickle` says what a pickle describes without making any of it; the tensors among that are read here.
"""

import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import check_file
from bodyfit.data.inert_pickle import Made, Name, PickleError, Reference, read_inert

_MAX_BYTES = 256 * 1024**2
"""The largest file; the released ones are a few MB, with their optimiser's state three times that."""
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    **{"Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16},
    **{"Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8},
    "Bool": torch.bool,
}
_REBUILD = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_PARAMETER = "torch._utils._rebuild_parameter"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, not read yet."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    """Reads it; takes the memory of its shape, of which there is no more than the file is long."""


@dataclass(frozen=True)
class _Storage:
    """A block of numbers in a file."""

    key: str
    dtype: torch.dtype
    count: int
    first: int
    """Where a view of the block begins, in numbers."""

    @property
    def bytes(self) -> int:
        """Of the whole block."""
        return self.count * self.dtype.itemsize


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """The state dict of a checkpoint: its `state_dict` entry (Lightning), or the whole.

    Raises:
        BodyfitError: for files that are no checkpoint, are damaged or too large.
    """
    check_file(path, BodyfitError, most=_MAX_BYTES)
    try:
        content, blocks = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
        state = _pairs(content)
        state = _pairs(state["state_dict"]) if "state_dict" in state else state
        found = {key: _tensor(value, blocks) for key, value in state.items() if isinstance(key, str)}
        return {key: tensor for key, tensor in found.items() if tensor is not None}
    except Exception as error:  # zipfile and parts of the wrong kinds can fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BodyfitError(
            f"{path}: not a PyTorch checkpoint, or a damaged one ({reason:.200}). Get it again"
        ) from error


def _pairs(part: Any) -> dict:
    """The entries of a dictionary, or of what a pickle would have made as an OrderedDict."""
    if isinstance(part, dict):
        return part
    if not isinstance(part, Made):
        raise PickleError(f"expected a dictionary of tensors, found {type(part).__name__}")
    listed = part.arguments[0] if part.arguments and isinstance(part.arguments[0], list) else []
    return {pair[0]: pair[1] for pair in listed if isinstance(pair[0], str)} | part.pairs


def _tensor(part: Any, blocks: Callable[[_Storage], bytes]) -> StoredTensor | None:
    """None for what is no tensor, or one of a kind that no prior has."""
    if isinstance(part, Made) and str(part.function) == _PARAMETER:
        part = part.arguments[0]
    if not (isinstance(part, Made) and isinstance(part.function, Name) and str(part.function) in _REBUILD):
        return None
    reference, first, shape, stride = part.arguments[:4]
    storage = _storage(reference)
    if storage is None:
        return None
    shape, stride, first = tuple(shape), tuple(stride), first + storage.first
    whole = all(type(n) is int and n >= 0 for n in (*shape, *stride, first)) and len(shape) == len(stride)
    if not whole or math.prod(shape) > storage.count:  # an expanded tensor has more numbers than its file
        raise PickleError(f"a tensor of shape {shape} on {storage.count} numbers")
    last = first + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if math.prod(shape) and last >= storage.count:
        raise PickleError(f"a tensor of shape {shape} that reaches beyond its {storage.count} numbers")

    def read() -> Tensor:
        if not math.prod(shape):
            return torch.zeros(shape, dtype=storage.dtype)
        numbers = torch.frombuffer(bytearray(blocks(storage)), dtype=storage.dtype)
        return numbers.as_strided(shape, stride, first).clone()

    return StoredTensor(shape, read)


def _storage(reference: Any) -> _Storage | None:
    """What ("storage", torch.FloatStorage, key, device, count, view of older files) says."""
    if not isinstance(reference, Reference):
        return None
    word, kind, key, _, count, *view = reference.id
    dtype = _DTYPES.get(kind.name.removesuffix("Storage")) if isinstance(kind, Name) else None
    if word != "storage" or dtype is None:
        return None
    first = view[0][1] if view and view[0] is not None else 0
    if not (isinstance(key, str) and type(count) is int and type(first) is int and first >= 0 and count >= 0):
        raise PickleError("a storage without a size")
    return _Storage(key, dtype, count, first)


# ---- the two layouts of files: what the pickle describes, and how to read a storage ----------------------------------


def _read_zip(path: Path) -> tuple[Any, Callable[[_Storage], bytes]]:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.split("/")[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise PickleError(f"an archive with {len(pickles)} data.pkl, expected one")
        folder = pickles[0].removesuffix("data.pkl")
        _check_stored(archive.getinfo(pickles[0]))
        with archive.open(pickles[0]) as stream:
            content = read_inert(stream)
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.getinfo(order).file_size < 10 and archive.read(order) == b"big":
            raise PickleError("numbers of a big-endian machine")

    def block(storage: _Storage) -> bytes:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{folder}data/{storage.key}")
            _check_stored(member)
            if member.file_size != storage.bytes:
                raise PickleError(f"{member.file_size} bytes for {storage.count} numbers")
            return archive.read(member)

    return content, block


def _check_stored(member: zipfile.ZipInfo) -> None:
    """PyTorch compresses nothing; what is compressed may grow a thousandfold."""
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > member.compress_size:
        raise PickleError("compressed, which PyTorch's archives are not")


def _read_legacy(path: Path) -> tuple[Any, Callable[[_Storage], bytes]]:
    references: list[Reference] = []
    with path.open("rb") as stream:
        if read_inert(stream) != _LEGACY_MAGIC:
            raise PickleError("a pickle, but not of PyTorch")
        read_inert(stream)  # version of the layout
        read_inert(stream)  # sizes on the machine that wrote it
        content = read_inert(stream, references=references)
        known = {storage.key: storage for storage in map(_storage, references) if storage is not None}
        places = dict(_legacy_places(stream, read_inert(stream), known))

    def block(storage: _Storage) -> bytes:
        start, size = places[storage.key]
        if size != storage.bytes:
            raise PickleError(f"{size} bytes for {storage.count} numbers")
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(size)

    return content, block


def _legacy_places(stream: BinaryIO, keys: Any, known: dict[str, _Storage]) -> Iterator[tuple[str, tuple[int, int]]]:
    """(key, (start, bytes)) of each storage: a count of 8 bytes, then the numbers, one storage after the other."""
    start, end = stream.tell(), stream.seek(0, 2)
    for key in keys:
        stream.seek(start)
        size = int.from_bytes(stream.read(8), "little") * known[key].dtype.itemsize
        if start + 8 + size > end:
            raise PickleError("it ends within its numbers")
        yield key, (start + 8, size)
        start += 8 + size
