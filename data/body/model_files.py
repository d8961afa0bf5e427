"""Body-model files: where they lie in a folder, what their names say, and their arrays, checked one by one."""

import math
from pathlib import Path

import numpy as np

from bodyfit.data.body.restricted_pickle import PickledArrays
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import ArrayFile, check_file

GENDERS = ("neutral", "female", "male")
FILE_VERSION = 3
"""Of files that this project writes (`bodyfit_version`). 1: ten betas; 2: with a kid axis; 3: with the betas of average
people by age. Files without it are 1."""
KINDS = ("smplx", "smplh", "smpl")

MAX_NUMBERS = 2**25
"""In one array; the largest of SMPL-X, its pose correctives, has 15 million."""
LARGEST_NUMBER = 1e10
"""Indices of parents are written as 2**32 - 1; metres, weights and components are far smaller."""


class BodyModelError(BodyfitError):
    """A body-model file, or parameters for a body model, that cannot be used."""


def find_model_file(folder: Path, gender: str, kind: str | None = None) -> Path:
    """The model of `gender` in a folder laid out as smplx wants it; SMPL-X before SMPL-H before SMPL.

    Raises:
        BodyModelError: naming the models that are there, if none fits.
    """
    models = sorted(
        (file for pattern in ("*", "*/*", "*/*/*") for file in folder.glob(pattern)),
        key=lambda file: (len(file.parts), file.suffix != ".npz", file.name),  # nearest first, .npz before .pkl
    )
    models = [file for file in models if file.suffix in (".npz", ".pkl") and _kind_from_name(file) is not None]
    for wanted in [kind] if kind else KINDS:
        fitting = [file for file in models if _kind_from_name(file) == wanted and gender_from_name(file) == gender]
        if fitting:
            return fitting[0]
    found = ", ".join(str(file.relative_to(folder)) for file in models) or "no model files"
    example = f"{kind or 'smplx'}/{(kind or 'smplx').upper()}_{gender.upper()}.npz"
    raise BodyModelError(f"{folder}: no {gender} {kind or 'body'} model. Found: {found}. Expected, say, {example}.")


def _kind_from_name(file: Path) -> str | None:
    name, parent = file.stem.lower(), [part.lower() for part in file.parts[-3:-1]]
    if name.startswith(("smplx_", "smplh_", "smpl_")):
        return name.split("_")[0]
    if name.startswith("basicmodel_"):
        return "smpl"
    if name == "model":  # the AMASS layout, smplh/female/model.npz
        return next((part for part in reversed(parent) if part in KINDS), None)
    return None


def gender_from_name(file: Path) -> str | None:
    """Gender by the words of the file's name, or of its folder's for `.../female/model.npz`."""
    words = file.stem.lower().replace(".", "_").split("_")
    if words == ["model"]:
        words = [file.parent.name.lower()]
    letters = {"f": "female", "m": "male"} if words[0] == "basicmodel" else {}  # basicModel_f_lbs_10_207_0_v1.0.0
    return next((g for word in words if (g := letters.get(word, word)) in GENDERS), None)


class ModelFields:
    """Arrays of a model file by key, each checked for shape and finiteness when it is asked for."""

    def __init__(self, path: Path):
        self.path = path
        if path.suffix.lower() == ".npz":
            self._file: ArrayFile | PickledArrays = ArrayFile(path, BodyModelError)
        elif path.suffix.lower() == ".pkl":
            self._file = PickledArrays(path, BodyModelError)
        else:
            raise BodyModelError(f"{path}: expected a body model with the suffix .npz or .pkl, found '{path.suffix}'.")
        self.keys = self._file.keys

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    def _require(self, key: str) -> None:
        if key not in self.keys:
            raise BodyModelError(
                f"{self.path}: this is not a complete body model: it has no '{key}'. "
                f"Found: {', '.join(sorted(self.keys)[:60]) or 'nothing'}."
            )

    def numbers(self, key: str, shape: tuple[int | None, ...], dtype: type | None = np.float64) -> np.ndarray:
        """The array under `key`, not empty; None in `shape` stands for any length from 1, None as `dtype` for that of
        the file."""
        self._require(key)
        found = self._file.shape(key)
        if len(found) != len(shape) or any(n not in (None, m) for n, m in zip(shape, found, strict=True)):
            wanted = " x ".join("any" if n is None else str(n) for n in shape)
            raise BodyModelError(f"{self.path}: '{key}' has shape {found}, expected {wanted}.")
        if not 0 < math.prod(found) <= MAX_NUMBERS:
            raise BodyModelError(
                f"{self.path}: '{key}' has shape {found}, expected at least one number and at most {MAX_NUMBERS}."
            )
        array = self._file.read(key)
        if array.dtype.kind not in "fiub":
            raise BodyModelError(f"{self.path}: '{key}' holds {array.dtype}, expected numbers.")
        if array.dtype.kind == "f" and not (array.min() > -LARGEST_NUMBER and array.max() < LARGEST_NUMBER):  # nor NaN
            raise BodyModelError(f"{self.path}: '{key}' holds values that are not finite, or beyond any body's.")
        return np.require(array, dtype, ["C", "W"])

    def indices(self, key: str, shape: tuple[int | None, ...], limit: int) -> np.ndarray:
        """Whole numbers in [0, limit)."""
        array = self.numbers(key, shape, np.int64)
        if array.size and (array.min() < 0 or array.max() >= limit):
            raise BodyModelError(f"{self.path}: '{key}' points outside the model (expected 0 to {limit - 1}).")
        return array

    def text(self, key: str) -> str | None:
        """A string, None where there is no such key."""
        if key not in self.keys:
            return None
        if self._file.shape(key) != () or len(word := str(self._file.read(key))) > 200 or not word.isprintable():
            raise BodyModelError(f"{self.path}: '{key}' is no text of at most 200 letters.")
        return word


def numbers_of_npy(path: Path) -> np.ndarray:
    """The rows of three numbers of an .npy, such as smplx_kid_template.npy. Raises BodyModelError for anything else."""
    check_file(path, BodyModelError)
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        array = np.array(found, dtype=np.float64) if found.size <= MAX_NUMBERS else np.zeros(0)
    except (OSError, ValueError, TypeError) as cause:
        raise BodyModelError(f"{path}: not a readable .npy of numbers ({cause!s:.100}).") from cause
    if array.ndim != 2 or array.shape[1] != 3 or not (np.abs(array) < LARGEST_NUMBER).all():
        raise BodyModelError(f"{path}: shape {array.shape}. Expected (vertices, 3) finite numbers.")
    return array
