"""Parts of a run in several processes of this machine, one per GPU. Nothing heavy is imported when this file is."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bodyfit.data.errors import BodyfitError
from bodyfit.data.lazy import LazyModule
from bodyfit.fitting.run import apart
from bodyfit.fitting.run.helpers import LOST, deaf_to_ctrl_c
from bodyfit.fitting.run.parts import Part

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

    def start(self) -> None:
        """Start the processes: they import what they need while this one loads."""
        self._pools = self._pools or [_pool() for _ in self.devices]

    def end(self) -> None:
        """End the processes, after what they have in work."""
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)
        self._pools = []

    @contextmanager
    def running(self, run: executors.RunSettings) -> Iterator[executors.Finished]:
        specs = [
            pickle.dumps(executors.WorkerSpec(run.out, run.config, run.identity, device, self.threads, self.helpers))
            for device in self.devices
        ]
        try:
            self.start()
            for pool, spec in zip(self._pools, specs, strict=True):
                with contextlib.suppress(BrokenProcessPool):  # a new one takes its place below
                    pool.submit(apart.load, spec)
            yield lambda parts: self._finished(parts, specs, self._pools)
        finally:
            self.end()

    def _finished(
        self, parts: Iterable[Part], specs: list[bytes], pools: list[ProcessPoolExecutor]
    ) -> Iterator[worker.PartOutcome]:
        """Each worker has one part in work and one queued; parts of a worker that died are begun again elsewhere."""
        coming, again, tries = iter(parts), deque[Part](), Counter[int]()
        pending: dict[Future[worker.PartOutcome], tuple[int, Part]] = {}
        while True:
            busy = Counter(place for place, _ in pending.values())
            for place in sorted(range(len(pools)), key=lambda n: busy[n]):
                while busy[place] < 2 and (part := again.popleft() if again else next(coming, None)) is not None:
                    try:
                        future = pools[place].submit(apart.work, part)
                    except BrokenProcessPool:  # it has died since
                        if busy[place]:  # what it had comes back below
                            again.appendleft(part)
                            break
                        pools[place] = _pool(specs[place])
                        future = pools[place].submit(apart.work, part)
                    pending[future] = (place, part)
                    busy[place] += 1
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for place in {pending[future][0] for future in done}:
                mine = [future for future in done if pending[future][0] == place]
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
