"""Records as files: .npz (complete) and .json (the same)."""

import json
import math
from dataclasses import MISSING, Field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bodyfit.data.files import ArrayFile, read_json
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.npz import npz_bytes
from bodyfit.data.results.record import CONVENTIONS_VERSION, NAN, FitRecord

Record = TypeVar("Record", bound=FitRecord)

_MAX_FIELD_BYTES = 16 * 1024**2
"""Far above any field of a result, and above all of them written as JSON."""
_FIELDS = tuple(f.name for f in fields(FitRecord))


def record_bytes(record: FitRecord, path: Path) -> bytes:
    """A record as the content of a file, .npz or .json by its suffix. Raises ResultError for another one."""
    writer = {".npz": _npz, ".json": _json}.get(path.suffix.lower())
    if writer is None:
        raise ResultError(f"{path}: a result ends in .npz, .json or .pkl, not '{path.suffix}'.")
    return writer(record)


def read_record(kind: type[Record], path: Path) -> Record:
    """A record from a .npz or .json file.

    Args:
        kind: `FitRecord`, or what is made of its fields.
        path: the file.

    Raises:
        ResultError: naming what is missing or does not fit.
    """
    reader = {".npz": _read_npz, ".json": _read_json}.get(path.suffix.lower())
    if reader is None:
        raise ResultError(f"{path}: expected a result in .npz or .json, found '{path.suffix}'.")
    content = reader(path)
    missing = [f.name for f in fields(kind) if f.name not in content and _is_required(f)]
    if missing:
        raise ResultError(f"{path}: not a complete result, it has no {', '.join(missing)}. Was bodyfit its writer?")
    version = content.get("conventions_version", 0)
    if not isinstance(version, int) or isinstance(version, bool):
        raise ResultError(f"{path}: conventions_version is {version!r:.40}, expected a whole number.")
    if version > CONVENTIONS_VERSION:
        raise ResultError(
            f"{path}: written by a newer bodyfit (conventions {content['conventions_version']}, this one knows "
            f"{CONVENTIONS_VERSION}). Update bodyfit."
        )
    try:
        record = kind(**content)
        if not all(np.isfinite(array).all() for array in (*record.parameters().values(), record.center_px)):
            raise ResultError("its parameters are not finite numbers.")
        if not 0 < record.focal_px < math.inf:
            raise ResultError(f"its focal length is {record.focal_px} px, expected more than 0.")
        return record
    except (TypeError, ValueError, OverflowError) as cause:
        raise ResultError(f"{path}: {cause!s:.300}") from cause


def _npz(record: FitRecord) -> bytes:
    arrays = {name: np.asarray(getattr(record, name)) for name in _FIELDS}
    return npz_bytes(arrays | {"landmark_names": _as_array(record.landmark_names)})


def _json(record: FitRecord) -> bytes:
    content = {name: _to_json(getattr(record, name)) for name in _FIELDS}
    return json.dumps(content, indent=1, allow_nan=False).encode()


@lru_cache(maxsize=4)
def _as_array(names: tuple[str, ...]) -> np.ndarray:
    """Texts as an array: the same in every result."""
    return np.asarray(names)


def _is_required(one: Field) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray | tuple):
        return [_to_json(item) for item in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN
    return value


def _read_json(path: Path) -> dict[str, Any]:
    content = read_json(path, ResultError, most=_MAX_FIELD_BYTES)
    if not isinstance(content, dict):
        raise ResultError(f"{path}: not a result: expected a JSON object.")
    nan_for_null = {name: NAN if value is None else value for name, value in content.items()}
    return {name: value for name, value in nan_for_null.items() if name in _FIELDS}


def _read_npz(path: Path) -> dict[str, Any]:
    with ArrayFile(path, ResultError) as file:
        arrays = {name: file.read(name, most=_MAX_FIELD_BYTES) for name in _FIELDS if name in file}
    return {name: array.item() if array.ndim == 0 else array for name, array in arrays.items()}
