"""Starts that others made: the results of a previous run, or the .npz that a regressor wrote."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import roma
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import ArrayFile
from bodyfit.data.results.result import Parameters, ResultError
from bodyfit.data.results.store import StoredResult, open_results
from bodyfit.fitting.solve.frames import Frame

log = logging.getLogger(__name__)

_KEYS = ("global_orient", "body_pose", "betas", "expression", "transl", "jaw_pose", "left_hand_pose", "right_hand_pose")


_MAX_BYTES = 64 * 1024**2
_LARGEST = 1e4
"""Of metres, radians and shape numbers."""


class InitError(BodyfitError):
    """A file of starts that cannot be used."""


class PreviousResults:
    """Looks up starts by photo and person.

    Args:
        path: the output folder of a run (in either layout), or one .npz whose arrays have a row a person, in
            the order of the people of the one photo that is fitted. Rotations may be axis-angle or matrices.

    Raises:
        InitError: for a path that is neither.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._rows: list[Parameters] | None = None
        self._saved: dict[tuple[str, str], StoredResult] = {}
        if self.path.is_file():
            self._rows = _read_rows(self.path)
            return
        try:
            self._saved = {(one.image, one.person): one for one in open_results(self.path).stored}
        except BodyfitError as error:
            if not (self.path / "results").is_dir():
                raise InitError(
                    f"{self.path}: neither an .npz file nor the output folder of a run (with results). Expected either."
                ) from error

    def find(self, frame: Frame) -> list[Parameters | None]:
        """A start, or None, for each person of the frame."""
        people = frame.detections.person_ids
        if self._rows is not None:
            if len(self._rows) != len(people):
                raise InitError(
                    f"{self.path}: has starts for {len(self._rows)} people, but {frame.detections.source} has "
                    f"{len(people)}. Expected a row a person, in the file's order."
                )
            return list(self._rows)
        return [self._start(frame.name, person) for person in people]

    def _start(self, image: str, person: str) -> Parameters | None:
        stored = self._saved.get((image, person))
        if stored is None:
            log.info("%s: no result of %s, person %s, to start from; started anew", self.path, image, person)
            return None
        try:
            result = stored.load()
        except ResultError as error:
            log.warning("%s Started anew.", error)
            return None
        if result.status == "implausible":
            return None
        return {key: getattr(result, key) for key in _KEYS}


def _read_rows(path: Path) -> list[Parameters]:
    with ArrayFile(path, InitError) as file:
        missing = [key for key in ("global_orient", "body_pose") if key not in file]
        if missing:
            raise InitError(
                f"{path}: has no {' and no '.join(missing)}. Found: {', '.join(file.keys)}. Expected SMPL-X parameters."
            )
        arrays = {key: _numbers(file, key) for key in _KEYS if key in file}
    count = len(arrays["global_orient"]) if arrays["global_orient"].ndim > 1 else 1
    for key, array in arrays.items():
        if array.size % max(count, 1) or not count or (array.ndim > 1 and len(array) != count):
            raise InitError(f"{path}: '{key}' has shape {array.shape}. Expected a row for each of {count} people.")
    for key, array in arrays.items():
        if key.endswith(("orient", "pose")):
            array = _axis_angle(array, path, key)
        arrays[key] = array.reshape(count, -1) if array.size else array.reshape(count, 0)
    arrays["body_pose"] = arrays["body_pose"][:, :63]  # SMPL's two hand joints are not SMPL-X's
    if arrays["body_pose"].shape[1] != 63 or arrays["global_orient"].shape[1] != 3:
        raise InitError(f"{path}: expected body_pose of 21 (or 23) joints and global_orient of one, a row a person.")
    return [{key: array[n] for key, array in arrays.items()} for n in range(count)]


def _numbers(file: ArrayFile, key: str) -> np.ndarray:
    array = file.read(key, most=_MAX_BYTES)
    if array.dtype.kind not in "fiu" or array.ndim == 0:
        raise InitError(f"{file.path}: '{key}' holds {array.dtype} of shape {array.shape}. Expected rows of numbers.")
    array = array.astype(np.float64)
    if not (np.abs(array) < _LARGEST).all():  # NaN is not
        raise InitError(f"{file.path}: '{key}' holds numbers that are not finite, or beyond any body's.")
    return array


def _axis_angle(array: np.ndarray, path: Path, key: str) -> np.ndarray:
    if array.shape[-2:] == (3, 3) and array.ndim > 2:
        return roma.rotmat_to_rotvec(torch.from_numpy(array)).numpy()
    if array.shape[-1] % 3:
        raise InitError(f"{path}: '{key}' has shape {array.shape}. Expected axis-angle numbers or 3 x 3 matrices.")
    return array
