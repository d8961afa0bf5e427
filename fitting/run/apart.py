"""What runs in a worker process of its own, on this machine or another.

Nothing heavy is imported when this file is: a worker imports in the right order, and while the leading process loads.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING

from bodyfit.data.lazy import LazyModule
from bodyfit.fitting.run.memory import share_memory_among_threads
from bodyfit.fitting.run.parts import Part

if TYPE_CHECKING:
    from bodyfit.fitting.run import executors, worker
else:  # they import torch
    executors = LazyModule("bodyfit.fitting.run.executors")
    worker = LazyModule("bodyfit.fitting.run.worker")


class Apart:
    """A worker: it has imported everything when it is made, is told later what to load, and works on parts then.

    Args:
        loaded: what it works with, where that is loaded already.
    """

    def __init__(self, loaded: worker.PartWorker | None = None) -> None:
        share_memory_among_threads()  # before PyTorch starts some
        from bodyfit.data.quick_imports import import_roma

        import_roma()  # before anything else does
        import bodyfit.fitting.run.executors  # noqa: F401

        self._spec: bytes | None = None
        self._worker = loaded

    def load(self, spec: bytes) -> None:
        """Load a pickled `executors.WorkerSpec`. What goes wrong is raised by `work`, for whoever waits for it."""
        self._spec = spec
        with contextlib.suppress(Exception):
            self._loaded()

    def work(self, part: Part) -> worker.PartOutcome:
        """`PartWorker.work`, with what it logs in the outcome. Raises BodyfitError, too, where loading fails."""
        return executors.work_apart(self._loaded(), part)

    def _loaded(self) -> worker.PartWorker:
        if self._worker is None:
            assert self._spec is not None
            self._worker = pickle.loads(self._spec).load()
        return self._worker


_apart: Apart | None = None


def start() -> None:
    """What a process of a pool does first."""
    global _apart
    from bodyfit.fitting.run.helpers import be_a_helper

    be_a_helper()
    _apart = Apart()


def start_with(make: Callable[[], worker.PartWorker]) -> None:
    """The same in a process that is a copy of the leading one: everything is imported and loaded."""
    global _apart
    from bodyfit.fitting.run.helpers import be_a_helper

    be_a_helper()
    _apart = Apart(make())


def load(spec: bytes) -> None:
    """`Apart.load` in such a process."""
    assert _apart is not None
    _apart.load(spec)


def work(part: Part) -> worker.PartOutcome:
    """`Apart.work` in such a process."""
    assert _apart is not None
    return _apart.work(part)
