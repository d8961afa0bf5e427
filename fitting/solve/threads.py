"""People are independent, so groups of them are solved side by side, each by one thread.

A fit is a long sequence of small matrix products, too small for a thread pool inside each of them: two threads on one
product gain little, two threads on different people are nearly twice as fast. PyTorch releases the interpreter while it
computes.
"""

from __future__ import annotations

import itertools
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

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
    exception is raised again in the caller. Within `shared_threads`, these are the threads that callers share.
    """
    if _shared is not None:
        yield _shared.map
        return
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
    """function(item) of every item by `worker_threads`, or by `shared_threads` within their block."""
    if _shared is not None:
        return _shared.map(function, items)
    with worker_threads() as map_:
        return map_(function, items)


class _SharedThreads:
    """Threads that compute for several callers. Who entered `in_turn` first comes first: else callers would get in step
    with each other, and leave the cores idle together."""

    def __init__(self, count: int):
        self.count, self.mine = count, threading.local()
        self._numbers, self._waiting = itertools.count(), queue.PriorityQueue[_Task]()
        self._threads = [threading.Thread(target=self._work, name=f"solve_{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def number(self) -> int:
        """Each is larger than those before."""
        return next(self._numbers)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """function(item) of every item."""
        if getattr(self.mine, "works", False):  # a thread of these that waited for the others could wait for ever
            return [function(item) for item in items]
        turn = getattr(self.mine, "turn", None)
        tasks = [_Task((self.number() if turn is None else turn, self.number()), function, item) for item in items]
        for task in tasks:
            self._waiting.put(task)
        try:
            return [task.done.result() for task in tasks]
        finally:
            for task in tasks:
                task.done.cancel()

    def end(self) -> None:
        """End the threads, after what they have in work."""
        for _ in self._threads:
            self._waiting.put(_Task((-1, self.number())))
        for thread in self._threads:
            thread.join()
        while not self._waiting.empty():  # nobody waits for what will not come
            self._waiting.get().done.cancel()

    def _work(self) -> None:
        torch.set_num_threads(1)
        self.mine.works = True
        while (task := self._waiting.get()).function is not None:
            task.run()
            del task  # what it holds may go before the next one comes


@dataclass(order=True)
class _Task:
    """One call, and when it is its turn: the smallest comes first."""

    when: tuple[int, int]
    function: Callable[[Any], Any] | None = field(default=None, compare=False)
    """None: the thread that gets it ends."""
    item: Any = field(default=None, compare=False)
    done: Future[Any] = field(default_factory=Future, compare=False)

    def run(self) -> None:
        """Call it, unless nobody waits for it any more."""
        if not self.done.set_running_or_notify_cancel():
            return
        try:
            with torch.inference_mode():
                self.done.set_result(self.function(self.item))
        except BaseException as error:
            self.done.set_exception(error)


_shared: _SharedThreads | None = None


@contextmanager
def shared_threads() -> Iterator[None]:
    """Within, all threads that call `map_in_threads` share as many worker threads as PyTorch has, so that several
    batches can be in work at a time: while one waits for its last group, groups of the others keep the cores busy.

    The callers compute on one thread each. Not to be entered twice at a time.
    """
    global _shared
    count, interval = torch.get_num_threads(), sys.getswitchinterval()
    _shared = _SharedThreads(count)
    try:
        torch.set_num_threads(1)
        sys.setswitchinterval(SWITCH_INTERVAL)
        yield
    finally:
        shared, _shared = _shared, None
        shared.end()
        sys.setswitchinterval(interval)
        torch.set_num_threads(count)


@contextmanager
def in_turn() -> Iterator[None]:
    """Within, what this thread asks of `shared_threads` comes before what threads ask that have entered later."""
    if _shared is None:
        yield
        return
    mine = _shared.mine
    mine.turn = _shared.number()
    try:
        yield
    finally:
        mine.turn = None


def threads_at_work() -> int:
    """How many threads `map_in_threads` has."""
    return torch.get_num_threads() if _shared is None else _shared.count
