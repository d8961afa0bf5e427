"""The first inputs of a new run, read by helper processes while the one that solves still loads PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any

from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.results.store import JOURNAL
from bodyfit.fitting.run.parts import READ_AT_ONCE, ReadOptions, read_inputs, split
from bodyfit.fitting.run.said import collected


class ReadAhead:
    """Slices of inputs that are being read.

    Args:
        helpers: who reads.
        inputs: all inputs of the run.
        options: how they are read.
        most: inputs to read, those of the first batch.
    """

    def __init__(self, helpers: Executor, inputs: Sequence[FitInput], options: ReadOptions, most: int):
        self.options = options
        self._begun: dict[tuple[FitInput, ...], Future[Any]] = {}
        if not (options.out / JOURNAL).exists():  # else nobody knows yet what is missing
            some = split(inputs[: most - most % READ_AT_ONCE], READ_AT_ONCE)
            self._begun = {
                items: helpers.submit(collected, read_inputs, items, options)
                for items in some
                if not needs_this_process(items)
            }

    def take(self, items: tuple[FitInput, ...], options: ReadOptions) -> Future[Any] | None:
        """The answer of `collected(read_inputs, items, options)`, once; None where that was not begun."""
        return self._begun.pop(items, None) if options == self.options else None


def needs_this_process(items: Sequence[FitInput]) -> bool:
    """Whether inputs are not for helpers: a file of many images has been parsed where inputs were found; a detector is
    loaded once."""
    return any(item.image is not None or item.keypoints is None for item in items)
