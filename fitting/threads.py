"""People are independent, so groups of them are solved side by side, each by one thread.

A fit is a long row of small products, too small for a thread pool inside each of them: two threads that share a product
gain little, two that share out people gain nearly twofold. PyTorch releases the interpreter while it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """function(item) of every item, in their order, on as many threads as PyTorch has; no gradients.

    Each thread computes on its own, without PyTorch's threads below it. The first exception is raised again here.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(items))

    def run(item: Item) -> Result:
        with torch.no_grad():  # what PyTorch records is a setting of each thread
            return function(item)

    if workers <= 1:
        return [run(item) for item in items]
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(run, items))
    finally:
        torch.set_num_threads(threads)
