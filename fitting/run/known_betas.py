"""Shape numbers that a user gives as a file: .npz, .npy or .json of any program, or a result of a previous run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import ArrayFile, check_file, read_json
from bodyfit.fitting.solve.known_shape import KnownShape

_NAMES = ("betas", "shape", "shapes", "smplx_shape", "smpl_betas", "pred_betas", "pred_shape")
_MOST_BYTES = 1024**2
_LARGEST = 50.0
"""No body of a model's range has a shape number beyond this: metres or pixels in their place do."""


def read_betas(path: Path | str) -> KnownShape:
    """The shape of one person.

    Args:
        path: .npz with `betas` (SMPL-X's name; a result of bodyfit, AMASS, ...), .npy, or .json with a list or `betas`.

    Raises:
        BodyfitError: naming the file, what was found and what was expected.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise BodyfitError(f"{path}: a folder. Expected the file of one person, such as OUT/results/<image>/000.npz.")
    read = {".npz": _from_npz, ".npy": _from_npy, ".json": _from_json}.get(path.suffix.lower())
    if read is None:
        raise BodyfitError(f"{path}: shape numbers are read from .npz, .npy or .json, not '{path.suffix}'.")
    values, body = read(path)
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise BodyfitError(f"{path}: betas are no numbers. Expected one row of them.") from None
    if numbers.ndim == 2 and len(numbers) == 1:
        numbers = numbers[0]
    if numbers.ndim != 1 or not 1 <= len(numbers) <= 400:
        raise BodyfitError(f"{path}: betas have shape {numbers.shape}. Expected one row of numbers, of one person.")
    if not (np.abs(numbers) < _LARGEST).all():  # NaN is not
        raise BodyfitError(
            f"{path}: betas reach {np.abs(numbers).max():g}. Expected standard deviations, about -5 to 5."
        )
    return KnownShape(betas=tuple(float(n) for n in numbers), source=f"betas given ({path.name})", body=body)


def _from_npz(path: Path) -> tuple[object, str]:
    with ArrayFile(path, BodyfitError) as file:
        name = next((n for n in _NAMES if n in file), None)
        if name is None:
            raise BodyfitError(f"{path}: has no 'betas'. Found: {', '.join(file.keys) or 'nothing'}.")
        body = str(file.read("body_model", most=_MOST_BYTES)) if "body_model" in file else ""
        return file.read(name, most=_MOST_BYTES), body


def _from_npy(path: Path) -> tuple[object, str]:
    check_file(path, BodyfitError)
    try:
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[:400]), ""
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise BodyfitError(f"{path}: not a readable .npy of numbers ({error!s:.100}).") from None


def _from_json(path: Path) -> tuple[object, str]:
    document = read_json(path)
    if isinstance(document, list):
        return document, ""
    name = next((n for n in _NAMES if isinstance(document, dict) and n in document), None)
    if name is None:
        raise BodyfitError(f"{path}: expected a list of shape numbers, or an object with 'betas'.")
    body = document.get("body_model")
    return document[name], body if isinstance(body, str) else ""
