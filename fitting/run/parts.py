"""A run in parts: a few hundred inputs in a row, read here. Batches never reach across parts, so that a part's results
do not depend on what else is done, where, or by whom. Nothing here imports PyTorch: helper processes start quickly."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import confined
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.fitting.run.error_log import ErrorLog
from bodyfit.fitting.run.options import OutputOptions
from bodyfit.fitting.solve.frames import CameraOptions, Frame, read_frame

log = logging.getLogger(__name__)

READ_AT_ONCE = 32
"""Inputs that a helper reads per request."""

Stamps = list[tuple[str, int, int]]
"""Path, bytes and time of change (ns) of each file of an input."""


@dataclass(frozen=True)
class Part:
    """Consecutive inputs that are fitted together."""

    number: int
    inputs: tuple[FitInput, ...]
    """In the order of the run; all of them are solved."""
    identity: str
    """A hash of what the composition of its batches depends on: inputs, their files as they were, settings."""
    wanted: frozenset[str] | None = None
    """Names to write; None: all. The others are solved with them so that batches are what they were before."""

    def writes(self, name: str) -> bool:
        """Whether results of this input are written."""
        return self.wanted is None or name in self.wanted


@dataclass(frozen=True)
class ReadInput:
    """An input after reading."""

    item: FitInput
    stamps: Stamps | None
    """Its files as they were before they were read; None where they could not be found."""
    frame: Frame | None
    problem: str = ""
    """Why there is no frame."""


def split(inputs: Sequence[FitInput], size: int) -> Iterator[tuple[FitInput, ...]]:
    """Inputs in parts of `size`, the last one smaller."""
    for start in range(0, len(inputs), size):
        yield tuple(inputs[start : start + size])


def stamps_of(item: FitInput) -> Stamps:
    """An input's files as they are now.

    Raises:
        OSError: when one of the files is not there.
    """
    stamps = []
    for path in (item.photo, item.keypoints):
        if path is not None:
            found = os.stat(path)
            stamps.append((os.fspath(path), found.st_size, found.st_mtime_ns))
    return stamps


def input_key(item: FitInput, settings: str, stamps: Stamps | None = None) -> str:
    """What an input's results depend on, as a hash: the settings, and its files as they were when they were stamped,
    by default now.

    Raises:
        OSError: when one of the files is not there.
    """
    return short_hash(settings, item.name, item.image, stamps_of(item) if stamps is None else stamps)


def short_hash(*values: object) -> str:
    """16 hexadecimal digits that speak for values."""
    return hashlib.sha256(repr(values).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True)
class ReadOptions:
    """What reading depends on besides the files."""

    camera: CameraOptions
    output: OutputOptions
    out: Path
    """Where errors.log is."""


def read_input(item: FitInput, options: ReadOptions) -> ReadInput:
    """Read keypoints and camera; what is wrong with the files is in `problem`. They are stamped before they are read:
    what changes later has other stamps, and is fitted again by the next run."""
    stamps = None
    try:
        stamps = stamps_of(item)
        confined("OUT", item.name)
        everybody = read_frame(item, options.camera, decode=not options.output.overlays)
        frame = everybody.chosen(options.output.people, options.output.min_size_px)
    except BodyfitError as error:
        return ReadInput(item, stamps, None, str(error))
    except OSError as error:  # removed since it was found
        missing = error.filename or item.keypoints
        return ReadInput(item, None, None, f"{missing}: cannot be read ({error.strerror or error}).")
    except Exception as error:
        return ReadInput(item, stamps, None, ErrorLog(options.out).reason(item.name, error))
    if not frame.detections.person_ids:
        found = ", ".join(everybody.detections.person_ids)
        nobody = f"--people and --min-size-px leave nobody of {found}" if found else "no people in it"
        log.warning("%s: %s", item.keypoints or item.photo, nobody)
    return ReadInput(item, stamps, frame)


def read_inputs(items: Sequence[FitInput], options: ReadOptions) -> list[ReadInput]:
    """`read_input` of several."""
    return [read_input(item, options) for item in items]


def gather_inputs(paths: Iterable[Path], find: Callable[[Path], list[FitInput]]) -> list[FitInput]:
    """Inputs of several paths, those without keypoints too; a name used twice is an error, since its results would
    overwrite each other."""
    inputs: dict[str, FitInput] = {}
    for path in paths:
        for item in find(path):
            if item.name in inputs:
                raise BodyfitError(
                    f"{path}: '{item.name}' was already found in another input, and its results would overwrite each "
                    "other. Fit the two into different output folders."
                )
            inputs[item.name] = item
    return list(inputs.values())
