"""People are independent, so groups of them are solved side by side, each by one thread.

A fit is a long sequence of small matrix products, too small for a thread pool inside each of them: two threads on one
product gain little, two threads on different people are nearly twice as fast. PyTorch releases the interpreter while it
computes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")
SWITCH_INTERVAL = 1e-5  # seconds


Mapper = Callable[[Callable[[Item], Result], Sequence[Item]], list[Result]]


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, PyTorch computes on the calling thread alone: for many small operations, which its other threads only
    delay, by tenfold where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def worker_threads() -> Iterator[Mapper]:
    """Gives map(function, items): function(item) of every item, in their order, on as many threads as PyTorch has, in
    PyTorch's inference mode.

    Each thread computes on its own, without PyTorch's threads below it, which for small products cost more time to wake
    than they save: one person takes half as long without them; so does what the caller computes meanwhile. The first
    exception is raised again in the caller.
    """
    threads, interval, pool = torch.get_num_threads(), sys.getswitchinterval(), None

    def map_(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        def run(item: Item) -> Result:
            with torch.inference_mode():  # a setting of each thread; a tenth faster than no_grad for small operations
                return function(item)

        nonlocal pool
        if min(threads, len(items)) <= 1:
            return [run(item) for item in items]
        pool = pool or ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        return list(pool.map(run, items))

    try:
        torch.set_num_threads(1)
        # Threads come back to the interpreter every few dozen microseconds: waiting 5 ms for it costs a quarter.
        sys.setswitchinterval(SWITCH_INTERVAL)
        yield map_
    finally:
        if pool is not None:
            pool.shutdown()
        sys.setswitchinterval(interval)
        torch.set_num_threads(threads)


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """function(item) of every item by `worker_threads`."""
    with worker_threads() as map_:
        return map_(function, items)
