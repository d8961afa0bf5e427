"""What the values of a result must be: whoever reads one from a file may trust it afterwards."""

from typing import Any

import numpy as np

from bodyfit.data.errors import BodyfitError

_LARGEST_IMAGE = 1_000_000
"""Pixels of a side, above any photo's."""
_LONGEST_TEXT = 10_000


class ResultError(BodyfitError):
    """A result, or a file of one, that does not have what was asked of it."""


def plain_value(name: str, kind: Any, value: Any) -> Any:
    """A number, truth value or text of Python. Raises ResultError for what is none, and for a text like a book."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    wanted = {float: (int, float), int: (int,), bool: (bool,), str: (str,)}.get(kind, object)
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind in (int, float)):
        raise ResultError(f"{name} is {value!r:.60}, expected {kind.__name__}.")
    if kind is str and (len(value) > _LONGEST_TEXT or "\0" in value):
        raise ResultError(f"{name} is a text of {len(value)} letters, expected at most {_LONGEST_TEXT}, without NUL.")
    return kind(value)


def check_covariances(name: str, covariances: np.ndarray) -> None:
    """Raises ResultError for matrices that are no covariances; NaN is a joint that is not there."""
    if not covariances.size:
        return
    known = covariances[np.isfinite(covariances).all(axis=(-2, -1))]
    if not known.size:
        raise ResultError(f"{name} holds no finite matrix. Expected an empty array where nothing is known.")
    size = np.einsum("kii->ki", known)
    if (size < 0).any() or np.abs(known - known.swapaxes(1, 2)).max() > 1e-4 * size.max():
        raise ResultError(
            f"{name} has matrices that are no covariances: expected symmetric ones, diagonals of 0 or more."
        )


def checked_image_size(size: Any) -> tuple[int, int]:
    """Width and height as whole numbers. Raises ResultError for anything else."""
    if type(size) is tuple and len(size) == 2 and all(type(n) is int and 0 < n <= _LARGEST_IMAGE for n in size):
        return size
    numbers = np.asarray(size)
    whole = numbers.shape == (2,) and numbers.dtype.kind in "iuf" and (numbers == np.round(numbers)).all()
    if not whole or not ((numbers > 0) & (numbers <= _LARGEST_IMAGE)).all():
        raise ResultError(f"image_size is {size!r:.60}, expected width and height, each 1 to {_LARGEST_IMAGE}.")
    return int(numbers[0]), int(numbers[1])


def checked_names(names: Any, usual: tuple[str, ...]) -> tuple[str, ...]:
    """As many texts as there usually are."""
    if names is usual:
        return names
    names = tuple(str(name) for name in names)
    if len(names) != len(usual):
        raise ResultError(f"landmark_names holds {len(names)} names, expected {len(usual)}.")
    return names


def fits_shape(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether an array has a shape, in which -1 is any length."""
    if found == expected:
        return True
    return len(found) == len(expected) and all(n in (-1, m) for n, m in zip(expected, found, strict=True))
