"""The arrays in pickled body models of the SMPL family, read without running anything that a file may ask for.

`inert_pickle` says what a pickle describes; here numpy's arrays, scipy's sparse matrices and chumpy's arrays are made
of that, each when it is asked for and with its sizes checked. A pickle that mentions any other class is refused.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import check_file
from bodyfit.data.inert_pickle import Made, Name, PickleError, read_inert

MAX_FILE_BYTES = 1024**3
"""The largest pickles of SMPL-X take half of that."""
MAX_DENSE_NUMBERS = 2**24
"""A sparse matrix with more places than this is not made dense (a joint regressor has 0.6 million)."""
_MAX_DEPTH = 3
"""How many arrays may hold each other: a choice out of a chumpy array of a numpy array."""


class PickledArrays:
    """A pickled dictionary of arrays opened key by key, as `files.ArrayFile` opens an .npz.

    `error` is the class of exception to raise. Raises it for anything that is not a pickle of a dictionary, and for one
    that mentions a class or function that is not on our list.
    """

    def __init__(self, path: Path | str, error: type[BodyfitError] = BodyfitError):
        self.path, self._error = Path(path), error
        check_file(self.path, error, most=MAX_FILE_BYTES)
        try:
            with self.path.open("rb") as stream:
                content = read_inert(stream, lambda module, name: f"{module}.{name}" in _ALLOWED)
        except PickleError as cause:
            wanted = "Expected arrays of numpy, scipy.sparse and chumpy only. Is the file complete?"
            raise error(f"{path}: refused, {cause}. {wanted}") from cause
        except OSError as cause:
            raise error(f"{path}: cannot be read ({cause.strerror}).") from cause
        if not isinstance(content, dict):
            raise error(f"{path}: holds a {type(content).__name__}. Expected a dictionary of arrays.")
        self._content = {str(key): value for key, value in content.items() if isinstance(key, str)}

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of what is in the file and may be numbers or text."""
        return tuple(key for key, value in self._content.items() if _may_be_plain(value))

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of an array; that of a sparse matrix as its file states it, before it is made dense."""
        return self._try(key, _shape)

    def read(self, key: str) -> np.ndarray:
        """One array. Raises for a missing key and for what cannot be turned into numbers or text."""
        return np.asarray(self._try(key, to_plain))

    def _try(self, key: str, read: Callable[[Any], Any]) -> Any:
        if key not in self._content:
            found = ", ".join(sorted(self.keys)[:30]) or "nothing"
            raise self._error(f"{self.path}: has no '{key}'. Found: {found}.")
        try:
            return read(self._content[key])
        except Exception as cause:  # parts of the wrong kinds can fail in any way
            raise self._error(f"{self.path}: '{key}' cannot be read ({cause!s:.200}).") from cause


def to_plain(value: Any, depth: int = 0) -> Any:
    """Numbers of an inert part as numpy; numbers and text as they are. Raises ValueError and others for all else."""
    if isinstance(value, str | int | float | bytes | np.ndarray | np.generic):
        return value
    reader = _READERS.get(_class_of(value))
    if reader is None or depth > _MAX_DEPTH:
        raise ValueError("no array of numbers")
    return reader(value, depth + 1)


def _may_be_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) or _class_of(value) in _READERS


def _class_of(value: Any) -> str:
    """What was to be made: the class's name, of either of the ways that pickles have to make an object."""
    if not isinstance(value, Made):
        return ""
    name = str(value.function) if isinstance(value.function, Name) else ""
    if name in _RECONSTRUCTORS and len(value.arguments) and isinstance(value.arguments[0], Name):
        return str(value.arguments[0])
    return name


def _attributes(made: Made) -> dict[str, Any]:
    """An object's attributes, from either of the two forms that pickles have."""
    state = made.state
    if isinstance(state, tuple) and len(state) == 2:  # (__dict__, __slots__)
        state = {**(state[0] or {}), **(state[1] or {})}
    if not isinstance(state, dict):
        raise ValueError("a sparse or chumpy array without attributes")
    return state


def _shape(value: Any) -> tuple[int, ...]:
    if _class_of(value) in _SPARSE:
        return _sparse_shape(_attributes(value), 0)
    return np.asarray(to_plain(value)).shape


# ---- numpy ----------------------------------------------------------------------------------------------------------


def _dtype(value: Any) -> np.dtype:
    """Of numpy.dtype("f8", False, True), with the byte order as the second part of its state."""
    if _class_of(value) != "numpy.dtype":
        raise ValueError("an array without a type")
    name = value.arguments[0]
    if not (isinstance(name, str) and re.fullmatch(r"[<>=|]?(b1|[iu][1248]|f[248]|[SU]\d{1,4})", name)):
        raise ValueError(f"an array of {name!s:.40}, not of numbers")
    order = value.state[1] if isinstance(value.state, tuple) else "="
    return np.dtype(name).newbyteorder(order if order in ("<", ">") else "=")


def _array(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """An array from its parts, none of them trusted; ValueError unless there are exactly as many bytes as it needs."""
    data, dtype, shape = _bytes(data), _dtype(dtype), tuple(int(n) for n in shape)
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes for an array of shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _bytes(data: Any) -> bytes | bytearray:
    if isinstance(data, Made) and str(data.function) == "_codecs.encode":  # how Python 2's protocols carry bytes
        data = data.arguments[0]
    if isinstance(data, str):  # Python 2 wrote bytes as text
        return data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise ValueError("an array of objects")
    return data


def _ndarray(made: Made, depth: int) -> np.ndarray:
    """numpy.ndarray; its state is (version, shape, dtype, is_fortran, bytes)."""
    shape, dtype, is_fortran, data = made.state[-4:]
    return _array(data, dtype, shape, "F" if is_fortran else "C")


def _ndarray_from_buffer(made: Made, depth: int) -> np.ndarray:
    """numpy's array of pickle protocol 5: (bytes, dtype, shape, order)."""
    data, dtype, shape, order = made.arguments
    return _array(data, dtype, shape, "F" if order == "F" else "C")


def _number(made: Made, depth: int) -> np.generic:
    """A single number of numpy: (dtype, bytes)."""
    dtype, data = made.arguments
    return _array(data, dtype, (), "C")[()]


# ---- scipy and chumpy -----------------------------------------------------------------------------------------------


def _sparse_shape(state: dict[str, Any], depth: int) -> tuple[int, int]:
    rows, columns = (int(to_plain(n, depth)) for n in state.get("_shape", state.get("shape")))
    if rows < 0 or columns < 0 or rows * columns > MAX_DENSE_NUMBERS:
        raise ValueError(f"a sparse matrix of shape {rows} x {columns}")
    return rows, columns


def _sparse(made: Made, depth: int) -> np.ndarray:
    """A scipy.sparse matrix in CSC or CSR form, made dense with its indices checked: scipy would trust them."""
    state = _attributes(made)
    by_columns = ".csc" in _class_of(made) or "._csc" in _class_of(made)
    rows, columns = _sparse_shape(state, depth)
    data, indices, indptr = (to_plain(state[name], depth) for name in ("data", "indices", "indptr"))
    compressed, other = (columns, rows) if by_columns else (rows, columns)
    if len(indptr) != compressed + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise ValueError("a sparse matrix whose parts do not fit together")
    if not indptr[-1] == len(data) == len(indices) or ((indices < 0) | (indices >= other)).any():
        raise ValueError("a sparse matrix with indices outside its shape")
    major = np.repeat(np.arange(compressed), np.diff(indptr))
    dense = np.zeros((rows, columns))
    np.add.at(dense, (indices, major) if by_columns else (major, indices), data)
    return dense


def _chumpy(made: Made, depth: int) -> np.ndarray:
    """A chumpy array: its numbers under `x`, or, for chumpy.reordering.Select, a choice `idxs` out of `a`."""
    state = _attributes(made)
    if "x" in state:
        return np.asarray(to_plain(state["x"], depth), dtype=np.float64)
    if {"a", "idxs"} <= state.keys():
        chosen = np.asarray(to_plain(state["a"], depth)).ravel()[to_plain(state["idxs"], depth)]
        return chosen.reshape(state.get("preferred_shape", chosen.shape))
    raise ValueError(f"a chumpy array of {', '.join(sorted(map(str, state))) or 'nothing':.200}")


_RECONSTRUCTORS = {f"{module}._reconstructor" for module in ("copy_reg", "copyreg")}
_SPARSE = {
    f"scipy.sparse.{dash}{form}.{form}_{kind}"
    for dash in ("", "_")
    for form in ("csc", "csr")
    for kind in ("matrix", "array")
}
_READERS: dict[str, Callable[[Made, int], Any]] = {
    **{f"numpy.{core}.multiarray._reconstruct": _ndarray for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _number for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _ndarray_from_buffer for core in ("core", "_core")},
    **dict.fromkeys(_SPARSE, _sparse),
    **dict.fromkeys(("chumpy.ch.Ch", "chumpy.Ch", "chumpy.reordering.Select"), _chumpy),
}
_ALLOWED = {
    *_READERS,
    *_RECONSTRUCTORS,
    *("numpy.ndarray", "numpy.dtype", "_codecs.encode", "__builtin__.object", "builtins.object"),
    *("__builtin__.set", "builtins.set"),  # chumpy arrays carry one, empty, of what is to be computed anew
}
"""What a pickled body model may mention. None of it is looked up."""
