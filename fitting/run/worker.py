"""One worker's share of a run: a part of the inputs is read, solved in batches of people, posed, drawn and written.

Several parts may be in work at a time, in threads: while one is solved, others are read, drawn and written. What holds
the interpreter (parsing, formatting, drawing) goes to helper processes where there are any.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import pose_body
from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.store import SHARDS, save_shard
from bodyfit.fitting.run.config_files import RunConfig
from bodyfit.fitting.run.error_log import ErrorLog
from bodyfit.fitting.run.memory import give_back_freed_memory
from bodyfit.fitting.run.parts import (
    READ_AT_ONCE,
    Part,
    ReadInput,
    ReadOptions,
    input_key,
    read_inputs,
    short_hash,
    split,
)
from bodyfit.fitting.run.previous import PreviousResults
from bodyfit.fitting.run.read_ahead import ReadAhead, needs_this_process
from bodyfit.fitting.run.said import Said, collected
from bodyfit.fitting.run.writing import PhotoJob, PhotoWriter, Record, failed_record
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.threads import in_turn

log = logging.getLogger(__name__)

POSED_AT_ONCE = 16
SLICES_AHEAD = 8
"""Slices of a part that are read before they are needed."""
BATCHES_ON_CPU = 2
"""Batches that are solved at a time on a CPU: they share its cores (`threads.shared_threads`), and while one waits for
its last group, or does what only one thread can do, the other keeps the cores busy."""
WRITES_AHEAD = 8
"""Slices of a part that wait to be written; more would only take memory."""


class Stopped(Exception):
    """The run is ending: what is in work is dropped."""


@dataclass(frozen=True)
class PartOutcome:
    """What came of a part."""

    part: Part
    records: list[Record]
    """Of the inputs that were to be written, in their order."""
    fitted: int
    """People who were fitted and written."""
    said: list[Said] = field(default_factory=list)
    """What was logged on the way, where the worker is another process."""


class PartWorker:
    """Fits parts into an output folder. Safe to use from several threads: one batch is solved at a time, on a CPU two.

    Args:
        out: the output folder, which exists.
        fitter: what solves.
        config: everything else.
        settings: the identity of the run (`run_identity`).
        helpers: processes that read, draw and write; None: all of it happens in the calling thread.
        ahead: inputs that helpers have begun to read.
    """

    def __init__(
        self,
        out: Path,
        fitter: Fitter,
        config: RunConfig,
        settings: str,
        helpers: Executor | None = None,
        ahead: ReadAhead | None = None,
    ):
        self.fitter, self.batch, self.out = fitter, config.batch, out
        self.settings, self.reading = settings, ReadOptions(config.camera, config.output, out)
        self.writer = PhotoWriter(out, config.output)
        self.starts = PreviousResults(config.init, fitter.prior) if config.init else None
        self.faces = np.ascontiguousarray(fitter.body.faces, dtype=np.int32)
        self._helpers, self._ahead = helpers, ahead
        at_once = BATCHES_ON_CPU if fitter.device.type == "cpu" else 1
        self._solving, self._stop = threading.BoundedSemaphore(at_once), threading.Event()
        self._at_home = threading.Lock()  # detectors and caches of files are not made for several threads

    def stop(self) -> None:
        """Make parts in work end with Stopped before their next batch."""
        self._stop.set()

    def work(self, part: Part) -> PartOutcome:
        """Fit a part and write its results.

        Raises:
            WriteError: when the folder cannot be written to.
            Stopped: after `stop`.
        """
        records: dict[str, Record] = {}
        waiting: deque[Future[list[Record]]] = deque()
        shard, fitted = _Shard(self._shard_name(part)), 0
        for batch in self._batches(part):
            records |= {
                r.item.name: self._not_read(r, part) for r in batch if r.frame is None and part.writes(r.item.name)
            }
            read = [r for r in batch if r.frame is not None]
            solved = []
            for r, people in self._solve(read):
                if isinstance(people, list):
                    solved.append((r, people))
                elif part.writes(r.item.name):
                    records[r.item.name] = failed_record(r.item, part.identity, people)
            wanted = [(r, people) for r, people in solved if part.writes(r.item.name)]
            fitted += sum(result.status in ("converged", "max_iterations") for _, people in wanted for result in people)
            for jobs in self._jobs(wanted, part, shard):
                waiting.append(self._submit(self.writer.write_all, jobs, self.faces))
                while len(waiting) > WRITES_AHEAD:
                    records |= _by_name(waiting.popleft().result())
        while waiting:
            records |= _by_name(waiting.popleft().result())
        if shard.people and self.writer.output.results == "shards":
            save_shard(self.out / shard.name, shard.people)
        return PartOutcome(part, [records[item.name] for item in part.inputs if item.name in records], fitted)

    # ---- reading ----------------------------------------------------------------------------------------------------

    def _batches(self, part: Part) -> Iterator[list[ReadInput]]:
        """A part's inputs in groups of about `batch` people; a photo is never divided."""
        batch: list[ReadInput] = []
        people = 0
        for read in self._read(part):
            here = 0 if read.frame is None else len(read.frame.detections.person_ids)
            if batch and people + here > self.batch:
                yield batch
                batch, people = [], 0
            batch.append(read)
            people += here
        if batch:
            yield batch

    def _read(self, part: Part) -> Iterator[ReadInput]:
        slices = split(part.inputs, READ_AT_ONCE)
        ahead: deque[Future[list[ReadInput]]] = deque()
        for some in slices:
            begun = self._ahead.take(some, self.reading) if self._ahead else None
            at_home = needs_this_process(some)
            ahead.append(_Spoken(begun) if begun else self._submit(read_inputs, some, self.reading, at_home=at_home))
            if len(ahead) > SLICES_AHEAD or self._helpers is None:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()

    def _not_read(self, read: ReadInput, part: Part) -> Record:
        return failed_record(read.item, part.identity, read.problem)

    # ---- solving ----------------------------------------------------------------------------------------------------

    def _solve(self, read: Sequence[ReadInput]) -> Iterator[tuple[ReadInput, list[FitResult] | str]]:
        """Each photo with its people's results, or with why it has none.

        An error that nobody foresaw comes from one photo of the batch: then each is fitted alone.
        """
        try:
            results = iter(self._solve_together([r.frame for r in read if r.frame is not None]))
        except Stopped:
            raise
        except Exception as error:
            if len(read) > 1:
                log.warning("a batch of %d photos could not be fitted together; each is fitted alone", len(read))
                for one in read:
                    yield from self._solve([one])
                return
            known = isinstance(error, BodyfitError)
            yield read[0], str(error) if known else ErrorLog(self.out).reason(read[0].item.name, error)
            return
        for r in read:
            yield r, [next(results) for _ in r.frame.detections.person_ids]

    def _solve_together(self, frames: list[Frame]) -> list[FitResult]:
        starts = [start for frame in frames for start in self.starts.find(frame)] if self.starts else None
        results = self.fitter.fit(frames, init=starts, turn=self._turn)
        return results if self.writer.output.posterior else [one.without_posterior() for one in results]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Few batches are solved at a time; results are made of one while the next is solved."""
        with self._solving, in_turn():
            if self._stop.is_set():
                raise Stopped
            yield
            give_back_freed_memory()

    # ---- writing ----------------------------------------------------------------------------------------------------

    def _shard_name(self, part: Part) -> str:
        wanted = None if part.wanted is None else sorted(part.wanted)
        return f"{SHARDS}/{short_hash(part.identity, wanted, self.settings)}.safetensors"

    def _jobs(
        self, solved: Sequence[tuple[ReadInput, list[FitResult]]], part: Part, shard: _Shard
    ) -> Iterator[list[PhotoJob]]:
        """What is to be written, a few people at a time: with meshes, they are posed just before they are written."""
        drawn = self.writer.output.meshes or self.writer.output.overlays
        for some in _few_people(solved, POSED_AT_ONCE if drawn else READ_AT_ONCE):
            if self._stop.is_set():
                raise Stopped
            fitted = [[result for result in people if result.status != "failed"] for _, people in some]
            bodies = iter(
                result_vertices(self.fitter.whole_body, [r for of_photo in fitted for r in of_photo]) if drawn else ()
            )
            jobs = []
            for (read, people), of_photo in zip(some, fitted, strict=True):
                place = {"shard": shard.name, "first_row": len(shard.people)}
                if self.writer.output.results == "folders":
                    place = {}
                else:
                    shard.people += of_photo
                vertices = [next(bodies) for _ in of_photo] if drawn else []
                place |= {"lens": read.frame.lens}
                size = read.frame.image_size
                key = input_key(read.item, self.settings, read.stamps)
                jobs.append(PhotoJob(read.item, key, part.identity, size, people, vertices, **place))
            yield jobs

    def _submit(self, function: Callable[..., Any], *arguments: Any, at_home: bool = False) -> Future:
        """In a helper if there are any, else here and now. What helpers log is logged here."""
        if self._helpers is not None and not at_home:
            return _Spoken(self._helpers.submit(collected, function, *arguments))
        done: Future = Future()
        try:
            with self._at_home:
                done.set_result(function(*arguments))
        except BaseException as error:
            done.set_exception(error)
        return done


@dataclass
class _Shard:
    """People of a part who go into one file."""

    name: str
    people: list[FitResult] = field(default_factory=list)


class _Spoken:
    """A helper's future answer, whose log messages are said when it is taken."""

    def __init__(self, future: Future):
        self._future = future

    def result(self) -> Any:
        answer, said = self._future.result()
        for one in said:
            one.say()
        return answer


def _by_name(records: list[Record]) -> dict[str, Record]:
    return {record["name"]: record for record in records}


def _few_people(
    solved: Sequence[tuple[ReadInput, list[FitResult]]], most: int
) -> Iterator[list[tuple[ReadInput, list[FitResult]]]]:
    some: list[tuple[ReadInput, list[FitResult]]] = []
    for pair in solved:
        if some and sum(len(people) for _, people in some) + len(pair[1]) > most:
            yield some
            some = []
        some.append(pair)
    if some:
        yield some


@torch.no_grad()
def result_vertices(body: BodyModel, results: Sequence[FitResult]) -> list[Float[np.ndarray, "V 3"]]:
    """The meshes of people in the camera frame, metres.

    Posed in single precision and put in place in double: 0.001 mm off at most (a test holds 0.01 mm).
    """
    meshes: list[np.ndarray] = []
    for start in range(0, len(results), POSED_AT_ONCE):
        some = [result.parameters() for result in results[start : start + POSED_AT_ONCE]]
        for one in some:  # adults among children
            one["betas"] = np.pad(one["betas"], ((0, 0), (0, body.num_betas - one["betas"].shape[1])))
        arrays = {name: np.concatenate([one[name] for one in some]) for name in some[0]}
        transl = arrays.pop("transl")
        posed = pose_body(body, **{name: torch.from_numpy(value).float() for name, value in arrays.items()})
        meshes += list(posed.vertices.double().numpy() + transl[:, None])
    return meshes
