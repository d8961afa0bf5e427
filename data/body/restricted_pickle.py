"""Reading the pickled body models of the SMPL family without running anything that a file may ask for.

A pickle is a little program that names classes and functions to call. Here every name it may use is one of ours, and
none of ours does anything but hold what it is given: numpy's arrays, scipy's sparse matrices and chumpy's arrays all
become holders, and only when the whole file is read are their numbers taken out, with sizes checked. Any other name
stops the reading. So does, before the reading begins, a file that would make the unpickler itself take memory.
"""

import io
import math
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

from bodyfit.data.errors import BodyfitError

MAX_FILE_BYTES = 2 * 1024**3
MAX_DENSE_NUMBERS = 2**28
"""A sparse matrix with more places than this is not made dense (a joint regressor has 0.6 million)."""


class _Refused(pickle.UnpicklingError):
    """The file asks for something that is not on the list."""


class _Holder:
    """What is left of a foreign object: what it was built from, and nothing that can be called."""

    state: Any = None

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: object) -> None:
        self.state = state

    def attributes(self) -> dict[str, Any]:
        """The object's attributes, from either of the two forms that pickles have."""
        state = self.state
        if isinstance(state, tuple) and len(state) == 2:  # (__dict__, __slots__)
            state = {**(state[0] or {}), **(state[1] or {})}
        if not isinstance(state, dict):
            raise ValueError("a sparse or chumpy array without attributes")
        return state

    def to_plain(self) -> Any:
        """The numbers."""
        raise NotImplementedError


class _DType(_Holder):
    """numpy.dtype("f8", False, True), then its byte order as the second part of its state."""

    def to_plain(self) -> np.dtype:
        name = self.arguments[0] if self.arguments else None
        if not (isinstance(name, str) and re.fullmatch(r"[<>=|]?(b1|[iu][1248]|f[248]|[SU]\d{1,4})", name)):
            raise ValueError(f"an array of {name}, not of numbers")
        order = self.state[1] if isinstance(self.state, tuple) else "="
        return np.dtype(name).newbyteorder(order if order in ("<", ">") else "=")


class _Array(_Holder):
    """numpy.ndarray; its state is (version, shape, dtype, is_fortran, bytes)."""

    def to_plain(self) -> np.ndarray:
        shape, dtype, is_fortran, data = self.state[-4:]
        return _array(data, dtype, shape, "F" if is_fortran else "C")


class _ArrayFromBuffer(_Holder):
    """numpy's array of pickle protocol 5: (bytes, dtype, shape, order)."""

    def to_plain(self) -> np.ndarray:
        return _array(*self.arguments)


class _Scalar(_Holder):
    """A single number of numpy: (dtype, bytes)."""

    def to_plain(self) -> Any:
        dtype, data = self.arguments
        return _array(data, dtype, (), "C")[()]


class _Sparse(_Holder):
    """A scipy.sparse matrix in CSC form, made dense with its indices checked: scipy would trust them."""

    compressed_axis = 1

    def to_plain(self) -> np.ndarray:
        state = {key: to_plain(value) for key, value in self.attributes().items()}
        rows, columns = (int(n) for n in state.get("_shape", state.get("shape")))
        data, indices, indptr = state["data"], state["indices"], state["indptr"]
        if rows < 0 or columns < 0 or rows * columns > MAX_DENSE_NUMBERS:
            raise ValueError(f"a sparse matrix of shape {rows} x {columns}")
        compressed, other = (columns, rows) if self.compressed_axis == 1 else (rows, columns)
        if len(indptr) != compressed + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
            raise ValueError("a sparse matrix whose parts do not fit together")
        if not indptr[-1] == len(data) == len(indices) or ((indices < 0) | (indices >= other)).any():
            raise ValueError("a sparse matrix with indices outside its shape")
        major = np.repeat(np.arange(compressed), np.diff(indptr))
        dense = np.zeros((rows, columns))
        np.add.at(dense, (indices, major) if self.compressed_axis == 1 else (major, indices), data)
        return dense


class _SparseRows(_Sparse):
    """The same in CSR form."""

    compressed_axis = 0


class _Chumpy(_Holder):
    """A chumpy array: its numbers under `x`, or, for chumpy.reordering.Select, a choice `idxs` out of `a`."""

    def to_plain(self) -> np.ndarray:
        state = self.attributes()
        if "x" in state:
            return np.asarray(to_plain(state["x"]), dtype=np.float64)
        if {"a", "idxs"} <= state.keys():
            chosen = np.asarray(to_plain(state["a"])).ravel()[to_plain(state["idxs"])]
            return chosen.reshape(state.get("preferred_shape", chosen.shape))
        raise ValueError(f"a chumpy array of {', '.join(sorted(state)) or 'nothing'}")


class _Name(_Holder):
    """A class that is only mentioned, as an argument: numpy.ndarray, object."""


def to_plain(value: Any) -> Any:
    """Numbers of a holder as numpy; everything else as it is."""
    return value.to_plain() if isinstance(value, _Holder) else value


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """An array from its parts, none of them trusted; ValueError unless there are exactly as many bytes as it needs."""
    data = data.encode("latin1") if isinstance(data, str) else bytes(data)  # Python 2 wrote bytes as text
    dtype, shape = to_plain(dtype), tuple(int(n) for n in shape)
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes for an array of shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape, order=str(order))


def _new_array(*_: object) -> _Array:
    return _Array()


def _new_object(cls: Any, *_: object) -> _Holder:
    if not (isinstance(cls, type) and issubclass(cls, _Holder)):
        raise _Refused("it builds an object of an unknown class")
    return cls()


def _latin_bytes(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")  # how pickles of Python 2's protocols carry bytes


_ALLOWED: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _new_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _ArrayFromBuffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _Name,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _latin_bytes,
    **{(module, "_reconstructor"): _new_object for module in ("copy_reg", "copyreg")},
    **{(module, "object"): _Name for module in ("__builtin__", "builtins")},
    **{(f"scipy.sparse.{dash}csc", f"csc_{form}"): _Sparse for dash in ("", "_") for form in ("matrix", "array")},
    **{(f"scipy.sparse.{dash}csr", f"csr_{form}"): _SparseRows for dash in ("", "_") for form in ("matrix", "array")},
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _Chumpy,
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"it asks for '{module}.{name}'") from None


def _check_memory(content: bytes) -> None:
    """Refuse pickles that make the unpickler itself take memory, which it does on the word of two kinds of opcode."""
    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name.endswith("PUT") and argument > number:  # its table grows to whatever index is named
            raise _Refused(f"it numbers an object {argument}, with {number} before it")
        if opcode.name == "FRAME" and argument > len(content):
            raise _Refused(f"it announces {argument} bytes, of which there are {len(content)}")


def read_pickled_arrays(path: Path | str, error: type[BodyfitError] = BodyfitError) -> dict[str, Any]:
    """The dictionary in a pickled body model, each value as numpy or a plain Python value.

    Nothing of the file is executed. Values that cannot be turned into numbers (a chumpy expression, an array of
    objects) are left out, for body models carry things that nobody needs. Raises `error` for anything that is not a
    pickle of a dictionary, and for one that asks for a class or function that is not on our list.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise error(f"{path}: {path.stat().st_size / 1e9:.1f} GB. Expected a body model of less than 2 GB.")
        content = path.read_bytes()
        _check_memory(content)
        model = _RestrictedUnpickler(io.BytesIO(content), encoding="latin1").load()
    except FileNotFoundError as cause:
        raise error(f"{path}: no such file.") from cause
    except BodyfitError:
        raise
    except _Refused as cause:
        raise error(f"{path}: refused, {cause}. Expected arrays of numpy, scipy.sparse and chumpy only.") from cause
    except Exception as cause:  # a damaged pickle can raise nearly anything
        raise error(f"{path}: not a readable body model ({type(cause).__name__}: {cause}). Is it complete?") from cause
    if not isinstance(model, dict):
        raise error(f"{path}: holds a {type(model).__name__.strip('_')}. Expected a dictionary of arrays.")
    return {str(key): plain for key, value in model.items() if (plain := _plain_or_none(value)) is not None}


def _plain_or_none(value: Any) -> Any:
    try:
        return to_plain(value)
    except Exception:  # foreign content: what cannot be turned into numbers is missing, and named so if it is needed
        return None
