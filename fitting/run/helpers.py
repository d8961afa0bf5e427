"""Processes that read, draw and write for one that solves. They load no PyTorch: they start quickly."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from bodyfit.fitting.run.memory import no_garbage_among_what_stays

LOST = (
    "a helper process ended unexpectedly; is there too little memory? What was finished is kept: the same command goes "
    "on where it stopped."
)


class _Helper(SpawnProcess):
    """A daemon: a process that ends waits for its other children, and these for it."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs | {"daemon": True})


class _HelperContext(SpawnContext):
    Process = _Helper


class HelperPool:
    """Processes that read, draw and write for one that solves. They start at once, and end with it, even by kill -9.

    Args:
        count: processes.
        prepare: what each does before its first work, such as slow imports.
    """

    def __init__(self, count: int, prepare: Callable[[], None] | None = None):
        self.executor = ProcessPoolExecutor(
            count, mp_context=_HelperContext(), initializer=be_a_helper, initargs=(prepare,)
        )
        with deaf_to_ctrl_c():
            for _ in range(count):
                self.executor.submit(os.getpid)

    def close(self) -> None:
        """End the processes; what is queued is dropped."""
        self.executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that start within never hear Ctrl-C, not even while they import: the one that solves ends the run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)


def be_a_helper(prepare: Callable[[], None] | None = None) -> None:
    """What a process of a pool does first: leave Ctrl-C to the one that solves, end when that one ends, `prepare`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that solves ends the run in an orderly way
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with no_garbage_among_what_stays():
        if prepare is not None:
            prepare()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)
