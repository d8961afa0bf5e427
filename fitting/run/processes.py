"""Parts of a run in several processes of this machine, one per core or GPU. Nothing heavy is imported here.

Workers on a CPU are copies of the leading process, made (forked) when it has loaded everything: they start at once, and
the system keeps libraries, body and networks once for all. Where that is not possible (GPUs, threads at work, systems
other than Linux), and in place of one that died, they are processes that import and load by themselves.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import multiprocessing
import os
import pickle
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.lazy import LazyModule
from bodyfit.fitting.run import apart
from bodyfit.fitting.run.helpers import LOST, deaf_to_ctrl_c
from bodyfit.fitting.run.memory import give_back_freed_memory
from bodyfit.fitting.run.parts import Part
from bodyfit.fitting.solve.frames import read_frame

if TYPE_CHECKING:
    from bodyfit.fitting.run import executors, worker
else:  # they import torch
    executors = LazyModule("bodyfit.fitting.run.executors")
    worker = LazyModule("bodyfit.fitting.run.worker")

TRIES = 3
"""Times that a part is begun before the run gives up: each lost worker costs one."""


class InProcesses:
    """A worker process for each of the given devices.

    Args:
        devices: "cuda:0", "cuda:1", ... or "cpu" several times.
        threads: CPU threads of each; None: PyTorch's choice.
        helpers: helper processes of each.
    """

    def __init__(self, devices: list[str], threads: int | None = None, helpers: int = 0):
        self.devices, self.threads, self.helpers = devices, threads, helpers
        self._pools: list[ProcessPoolExecutor] = []
        self._are_copies = False

    def start(self) -> None:
        """Start the processes, if they are not to be copies of this one: they import while this one loads."""
        if not self._pools and not self._can_copy():
            self._pools = [_pool() for _ in self.devices]

    def prepare(self, run: executors.RunSettings, inputs: Sequence[FitInput]) -> None:
        """Start them as copies of this process, if that can be. Before the folder is locked: the lock is not theirs."""
        if self._pools or not self._can_copy() or threading.active_count() > 1:
            return  # a lock that another thread holds would stay locked in a copy
        _warm_up(run, inputs)
        give_back_freed_memory()
        gc.collect()
        gc.freeze()  # looking for garbage would write to pages that are shared
        make = partial(_worker_of, run, self.threads)
        self._pools, self._are_copies = [_copy(make) for _ in self.devices], True

    def _can_copy(self) -> bool:
        return sys.platform == "linux" and set(self.devices) == {"cpu"} and not self.helpers

    def end(self) -> None:
        """End the processes, after what they have in work."""
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)
        self._pools, self._are_copies = [], False

    @contextmanager
    def running(self, run: executors.RunSettings) -> Iterator[executors.Finished]:
        specs = [
            pickle.dumps(executors.WorkerSpec(run.out, run.config, run.identity, device, self.threads, self.helpers))
            for device in self.devices
        ]
        try:
            self._pools = self._pools or [_pool() for _ in self.devices]
            for pool, spec in zip(self._pools, specs, strict=True):
                with contextlib.suppress(BrokenProcessPool):  # a new one takes its place below
                    if not self._are_copies:
                        pool.submit(apart.load, spec)
            yield lambda parts: self._finished(parts, specs, self._pools)
        finally:
            self.end()

    def _finished(
        self, parts: Iterable[Part], specs: list[bytes], pools: list[ProcessPoolExecutor]
    ) -> Iterator[worker.PartOutcome]:
        """Each worker has a part in work, and one queued while there are enough for all; parts of a worker that died
        are begun again elsewhere."""
        coming, again, tries = iter(parts), deque[Part](), Counter[int]()
        pending: dict[Future[worker.PartOutcome], tuple[int, Part]] = {}
        while True:
            again.extend(itertools.islice(coming, max(0, 2 * len(pools) - len(again))))
            while again:
                busy = Counter(place for place, _ in pending.values())
                place = min(range(len(pools)), key=lambda n: busy[n])
                if busy[place] >= 2 or (busy[place] and len(again) < len(pools)):  # the last ones go to who is free
                    break
                part = again.popleft()
                try:
                    future = pools[place].submit(apart.work, part)
                except BrokenProcessPool:  # it has died since
                    if busy[place]:  # what it had comes back below
                        again.appendleft(part)
                        break
                    pools[place] = _pool(specs[place])
                    future = pools[place].submit(apart.work, part)
                pending[future] = (place, part)
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            by_place: dict[int, list[Future[worker.PartOutcome]]] = {}
            for future in done:
                by_place.setdefault(pending[future][0], []).append(future)
            for place, mine in by_place.items():
                lost = [future for future in mine if isinstance(future.exception(), BrokenProcessPool)]
                for future in mine:
                    if future not in lost:
                        del pending[future]
                        yield future.result()
                if lost:  # with the process everything is lost that was queued for it
                    begun = [pending.pop(future)[1] for future, (p, _) in list(pending.items()) if p == place]
                    tries.update(part.number for part in begun)
                    if max(tries.values()) >= TRIES:
                        raise BodyfitError(LOST) from lost[0].exception()
                    again.extend(begun)
                    pools[place] = _pool(specs[place])

    def status(self) -> str:
        return f", {len(self.devices)} workers"


def _pool(spec: bytes | None = None) -> ProcessPoolExecutor:
    """A worker process, which has begun to start; with a pickled WorkerSpec it loads that next."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=apart.start)
    with deaf_to_ctrl_c():
        pool.submit(os.getpid) if spec is None else pool.submit(apart.load, spec)
    return pool


def _copy(make: Callable[[], worker.PartWorker]) -> ProcessPoolExecutor:
    """A worker process that is a copy of this one, and works with what `make` makes there."""
    pool = ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("fork"), initializer=apart.start_with, initargs=(make,)
    )
    with deaf_to_ctrl_c():
        pool.submit(os.getpid)
    return pool


def _worker_of(run: executors.RunSettings, threads: int | None) -> worker.PartWorker:
    if threads:
        import torch

        torch.set_num_threads(threads)
    return worker.PartWorker(run.out, run.fitter, run.config, run.identity)


def _warm_up(run: executors.RunSettings, inputs: Sequence[FitInput]) -> None:
    """Fit two people, so that what is made at the first fit is made once, and shared. What is wrong with them is said
    by the run."""
    from bodyfit.fitting.solve.threads import one_thread

    some = [item for item in inputs[:2] if item.keypoints is not None]
    logging.disable(logging.CRITICAL)
    try:
        with one_thread(), contextlib.suppress(Exception):  # copies must not inherit PyTorch's threads
            frames = [read_frame(item, run.config.camera, decode=False).chosen("main") for item in some]
            run.fitter.fit(frames)
    finally:
        logging.disable(logging.NOTSET)
