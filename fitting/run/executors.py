"""Where the parts of a run are worked on: in this process; and what workers in other processes are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.fitting.run.config_files import RunConfig
from bodyfit.fitting.run.helpers import LOST, HelperPool
from bodyfit.fitting.run.identity import run_identity
from bodyfit.fitting.run.memory import share_memory_among_threads
from bodyfit.fitting.run.parts import Part
from bodyfit.fitting.run.read_ahead import ReadAhead
from bodyfit.fitting.run.said import collected
from bodyfit.fitting.run.worker import PartOutcome, PartWorker
from bodyfit.fitting.run.writing import prepare_overlays
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.loading import load_fitter
from bodyfit.fitting.solve.threads import shared_threads

PARTS_AT_ONCE = 3
"""Parts in work in one process: one is solved while others are read and written."""

Finished = Callable[[Iterable[Part]], Iterator[PartOutcome]]


class RunSettings(Protocol):
    """What a backend must know of a run (`folder_run.FolderRun`)."""

    out: Path
    config: RunConfig
    fitter: Fitter
    identity: str


class Backend(Protocol):
    """Works on parts, several at a time, and gives each one's outcome as it comes."""

    def prepare(self, run: RunSettings, inputs: Sequence[FitInput]) -> None:
        """What is best done before the folder is locked, or nothing."""

    def running(self, run: RunSettings) -> AbstractContextManager[Finished]:
        """Start workers; ended and cleaned up after the block, whatever happens in it."""

    def status(self) -> str:
        """A few words for the progress line, or none."""


# ---- in this process ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InThreads:
    """Work in this process: one batch is solved at a time, what comes before and after it in threads and helpers."""

    helpers: HelperPool | None = None
    """None: everything happens in threads of this process, which is right for a few photos."""
    ahead: ReadAhead | None = None
    """Inputs that helpers have begun to read."""

    def prepare(self, run: RunSettings, inputs: Sequence[FitInput]) -> None:
        """Nothing."""

    @contextmanager
    def running(self, run: RunSettings) -> Iterator[Finished]:
        executor = self.helpers.executor if self.helpers else None
        worker = PartWorker(run.out, run.fitter, run.config, run.identity, executor, self.ahead)
        share_memory_among_threads()
        one = {"initializer": torch.set_num_threads, "initargs": (1,)}
        with shared_threads():  # they end last: parts in work wait for them
            threads = ThreadPoolExecutor(PARTS_AT_ONCE if self.helpers else 1, "part", **one)
            try:
                yield lambda parts: _as_they_come(lambda part: threads.submit(worker.work, part), parts, PARTS_AT_ONCE)
            except BrokenProcessPool as error:
                raise BodyfitError(LOST) from error
            finally:
                worker.stop()
                threads.shutdown(wait=True, cancel_futures=True)

    def status(self) -> str:
        return ""


def _as_they_come(
    submit: Callable[[Part], Future[PartOutcome]], parts: Iterable[Part], most: int
) -> Iterator[PartOutcome]:
    """Outcomes as they come, with at most `most` parts in work: the next is only asked for when there is room."""
    pending: set[Future[PartOutcome]] = set()
    for part in parts:
        pending.add(submit(part))
        if len(pending) >= most:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


# ---- in other processes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker in another process loads its models from."""

    out: Path
    config: RunConfig
    identity: str
    device: str
    threads: int | None = None
    """CPU threads; None: as many as PyTorch takes."""
    helpers: int = 0
    """Processes that read and write beside it."""

    def load(self) -> PartWorker:
        """Body, prior and network, read once per worker.

        Raises:
            BodyfitError: when they are not the ones that the run was started with.
        """
        if self.threads:
            torch.set_num_threads(self.threads)
        fitter = load_fitter(self.config, self.device)
        found = run_identity(fitter, self.config)
        if found != self.identity:
            raise BodyfitError(
                "a worker loaded another body, prior or network, or another bodyfit, than the run was started with: "
                f"{fitter.identity}. Install the same version and put the same files everywhere."
            )
        prepare = prepare_overlays if self.config.output.overlays else None
        helpers = HelperPool(self.helpers, prepare).executor if self.helpers else None
        return PartWorker(self.out, fitter, self.config, self.identity, helpers)


def work_apart(worker: PartWorker, part: Part) -> PartOutcome:
    """`PartWorker.work`, with what it logs in the outcome."""
    outcome, said = collected(worker.work, part)
    return replace(outcome, said=said)


__all__ = ["Backend", "Finished", "InThreads", "WorkerSpec", "work_apart"]
