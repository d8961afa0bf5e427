"""Reading the pickled body models of the SMPL family without running anything that a file may ask for.

A pickle is a little program that names functions to call. Here every name it may use is one of ours: numpy's arrays are
rebuilt by a function that takes no size from the file, and scipy's sparse matrices and chumpy's arrays become plain
holders of their numbers, so neither scipy nor chumpy is imported. Any other name stops the reading.
"""

import _codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from bodyfit.data.errors import BodyfitError


class _Refused(pickle.UnpicklingError):
    """The file asks for something that is not on the list."""


class _Holder:
    """What is left of a foreign object: its attributes, and nothing that can be called."""

    state: dict[str, Any] = {}  # noqa: RUF012  (stands in until __setstate__ replaces it; never changed in place)

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) == 2:  # (__dict__, __slots__) of newer pickles
            state = {**(state[0] or {}), **(state[1] or {})}
        if not isinstance(state, dict):
            raise _Refused("unexpected state of a sparse or chumpy array")
        self.state = state


class _Sparse(_Holder):
    """A scipy.sparse matrix in CSC or CSR form, to be made dense by us: scipy would trust the indices."""

    compressed_axis = 1

    def to_numpy(self) -> np.ndarray:
        shape = self.state.get("_shape", self.state.get("shape"))
        data, indices, indptr = (np.asarray(self.state[key]) for key in ("data", "indices", "indptr"))
        rows, columns = (int(n) for n in shape)
        if rows < 0 or columns < 0 or rows * columns > 2**28:
            raise ValueError(f"sparse matrix of shape {rows} x {columns}")
        compressed, other = (columns, rows) if self.compressed_axis == 1 else (rows, columns)
        if len(indptr) != compressed + 1 or np.any(np.diff(indptr) < 0) or indptr[-1] > min(len(data), len(indices)):
            raise ValueError("sparse matrix whose parts do not fit together")
        major = np.repeat(np.arange(compressed), np.diff(indptr))
        minor = indices[: len(major)]
        if len(minor) and (minor.min() < 0 or minor.max() >= other):
            raise ValueError("sparse matrix with indices outside its shape")
        dense = np.zeros((rows, columns))
        np.add.at(dense, (minor, major) if self.compressed_axis == 1 else (major, minor), data[: len(major)])
        return dense


class _SparseRows(_Sparse):
    compressed_axis = 0


class _Chumpy(_Holder):
    """A chumpy array: its numbers under `x`, or, for chumpy.reordering.Select, a choice `idxs` out of `a`."""

    def to_numpy(self) -> np.ndarray:
        if "x" in self.state:
            return np.asarray(to_plain(self.state["x"]))
        if {"a", "idxs"} <= self.state.keys():
            chosen = np.asarray(to_plain(self.state["a"])).ravel()[np.asarray(self.state["idxs"])]
            return chosen.reshape(self.state.get("preferred_shape", chosen.shape))
        raise ValueError(f"chumpy array with attributes {', '.join(sorted(self.state)) or 'none'}")


def to_plain(value: Any) -> Any:
    """Numbers of a sparse or chumpy holder as a numpy array; everything else as it is."""
    return value.to_numpy() if isinstance(value, _Sparse | _Chumpy) else value


class _ArrayType:
    """Stands where a pickle names `numpy.ndarray`, so that it cannot be called with a shape of the file's choice."""


def _empty_array(*_: object) -> np.ndarray:
    return np.ndarray((0,), dtype="b")  # its shape, type and bytes come with __setstate__, which checks them


def _rebuild_object(cls: type, *_: object) -> _Holder:
    if not (isinstance(cls, type) and issubclass(cls, _Holder)):
        raise _Refused("only sparse and chumpy arrays may be rebuilt")
    return cls()


def _latin_bytes(text: str, encoding: str = "latin1") -> bytes:
    return _codecs.encode(text, "latin1")  # how Python 2 pickles carry the raw bytes of an array


def _scalar(dtype: np.dtype, data: bytes = b"") -> Any:
    if dtype.hasobject or len(data) != dtype.itemsize:
        raise _Refused("a number with the wrong size")
    return np.frombuffer(data, dtype)[0]


def _array_from_bytes(data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape, order=order)  # protocol 5; refuses objects and wrong sizes


_ALLOWED: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array_from_bytes for core in ("core", "_core")},
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin_bytes,
    **{(module, "_reconstructor"): _rebuild_object for module in ("copy_reg", "copyreg")},
    **{(module, "__newobj__"): _rebuild_object for module in ("copy_reg", "copyreg")},
    **{(module, "object"): _ArrayType for module in ("__builtin__", "builtins")},
    **{(f"scipy.sparse.{module}csc", name): _Sparse for module in ("", "_") for name in ("csc_matrix", "csc_array")},
    **{
        (f"scipy.sparse.{module}csr", name): _SparseRows for module in ("", "_") for name in ("csr_matrix", "csr_array")
    },
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


def read_pickled_arrays(path: Path | str, error: type[BodyfitError] = BodyfitError) -> dict[str, Any]:
    """The dictionary in a pickled body model, each value as numpy or a plain Python value.

    Nothing of the file is executed. Values that are not numbers after all (a chumpy expression, say) are left out when
    they cannot be turned into numbers, for a body model carries things that nobody needs. Raises `error` for anything
    that is not a pickle of a dictionary of arrays.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            content = _RestrictedUnpickler(stream, encoding="latin1").load()
    except FileNotFoundError as cause:
        raise error(f"{path}: no such file.") from cause
    except _Refused as cause:
        raise error(
            f"{path}: refused, {cause}. Expected a body model: arrays of numpy, scipy.sparse, chumpy."
        ) from cause
    except Exception as cause:  # a damaged pickle can raise nearly anything
        raise error(f"{path}: not a readable body model ({type(cause).__name__}: {cause}). Is it complete?") from cause
    if not isinstance(content, dict):
        raise error(f"{path}: holds a {type(content).__name__}. Expected a dictionary of arrays.")
    return {str(key): plain for key, value in content.items() if (plain := _plain_or_none(value)) is not None}


def _plain_or_none(value: Any) -> Any:
    try:
        return to_plain(value)
    except Exception:  # foreign content: what cannot be turned into numbers is missing, and named so if it is needed
        return None
