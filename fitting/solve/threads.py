"""People are independent, so groups of them are solved side by side, each by one thread.

A fit is a long sequence of small matrix products, too small for a thread pool inside each of them: two threads on one
product gain little, two threads on different people are nearly twice as fast. PyTorch releases the interpreter while it
computes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")
SWITCH_INTERVAL = 1e-5  # seconds


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """function(item) of every item, in their order, on as many threads as PyTorch has, in PyTorch's inference mode.

    Each thread computes on its own, without PyTorch's threads below it, which for small products cost more time to wake
    than they save: one person takes half as long without them. The first exception is raised again here.
    """
    threads, interval = torch.get_num_threads(), sys.getswitchinterval()
    workers = min(threads, len(items))

    def run(item: Item) -> Result:
        with torch.inference_mode():  # a setting of each thread; a tenth faster than no_grad where operations are small
            return function(item)

    try:
        torch.set_num_threads(1)
        if workers <= 1:
            return [run(item) for item in items]
        # Threads come back to the interpreter every few dozen microseconds: waiting 5 ms for it costs a quarter.
        sys.setswitchinterval(SWITCH_INTERVAL)
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(run, items))
    finally:
        sys.setswitchinterval(interval)
        torch.set_num_threads(threads)
