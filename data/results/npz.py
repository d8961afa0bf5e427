"""Small .npz files at once: what `numpy.savez` writes, without its cost of 40 microseconds per array."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION, _UTF8, _STORED, _TIME, _DATE = 20, 1 << 11, 0, 0, 33
"""Of the zip format: 2.0; names in UTF-8; not compressed; midnight of 1 January 1980, as NumPy has it."""


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of an .npz file with these arrays, none of Python objects, below 4 GB in all."""
    pieces, directory, offset = list[bytes](), list[bytes](), 0
    for key, array in arrays.items():
        name, header, data = f"{key}.npy".encode(), _header(array.dtype, array.shape), array.tobytes()
        checksum, size = zlib.crc32(data, zlib.crc32(header)), len(header) + len(data)
        same = (_VERSION, _UTF8, _STORED, _TIME, _DATE, checksum, size, size, len(name), 0)
        pieces += (_LOCAL.pack(b"PK\3\4", *same), name, header, data)
        directory += (_CENTRAL.pack(b"PK\1\2", _VERSION, *same, 0, 0, 0, 0, offset), name)
        offset += _LOCAL.size + len(name) + size
    listed = b"".join(directory)
    pieces += (listed, _END.pack(b"PK\5\6", 0, 0, len(arrays), len(arrays), len(listed), offset, 0))
    return b"".join(pieces)


@lru_cache(maxsize=256)
def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """What precedes an array's numbers in row-major order."""
    if dtype.hasobject:
        raise ValueError("arrays of Python objects cannot be written.")
    stream = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()
