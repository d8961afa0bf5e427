"""Many photos through a detector, several at a time; a photo that cannot be used costs nothing but itself."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from bodyfit.data.detect.choose import load_detector
from bodyfit.data.detect.detector import Detector
from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.photo.photo import Photo, PhotoError, read_photo

MIN_SIDE = 32
"""Pictures with a shorter side, in pixels, are refused: a person cannot be recognised in them."""


@lru_cache(maxsize=2)
def shared_detector(name: str) -> Detector | None:
    """The detector called `name`, on the CPU, loaded once in a process. Raises as `load_detector` does."""
    return load_detector(name)


def detect_photo(detector: Detector, photo: Photo | Path) -> Detections:
    """Everybody in one photo.

    Raises:
        PhotoError: if the photo is missing, broken, or too small for a person to be seen in it.
    """
    photo = photo if isinstance(photo, Photo) else read_photo(photo)
    width, height = photo.size
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"{photo.path}: {width} x {height} pixels; people are searched for in photos of at least {MIN_SIDE} x "
            f"{MIN_SIDE}. Use the photo in full size."
        )
    return replace(detector(photo.image), source=photo.path)


def detect_photos(
    detector: Detector, photos: Iterable[Path], workers: int | None = None
) -> Iterator[tuple[Path, Detections | BodyfitError]]:
    """Each photo with its people, or with what is wrong with it, in the order given; `workers` photos at a time.

    Photos are taken from the iterable as they are needed, never all at once. None: as many workers as cores, at most 8.
    """
    workers = workers or min(os.cpu_count() or 1, 8)
    pending: deque[tuple[Path, Future]] = deque()
    with ThreadPoolExecutor(workers, initializer=_one_thread) as pool:
        try:
            for path in photos:
                pending.append((path, pool.submit(detect_photo, detector, path)))
                if len(pending) >= 2 * workers:
                    yield _finished(*pending.popleft())
            while pending:
                yield _finished(*pending.popleft())
        finally:
            for _, future in pending:
                future.cancel()


def _one_thread() -> None:
    """Photos side by side keep the cores busy; threads within each would get into each other's way."""
    torch.set_num_threads(1)


def _finished(path: Path, future: Future) -> tuple[Path, Detections | BodyfitError]:
    try:
        return path, future.result()
    except BodyfitError as error:
        return path, error
