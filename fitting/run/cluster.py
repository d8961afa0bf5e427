"""The parts of a run as tasks on a Ray cluster: an actor per GPU, or per CPU core, that has loaded its models once.
Nothing heavy is imported when this file is."""

from __future__ import annotations

import logging
import pickle
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.lazy import LazyModule
from bodyfit.data.words import counted
from bodyfit.fitting.run.apart import Apart
from bodyfit.fitting.run.parts import Part

if TYPE_CHECKING:
    from bodyfit.fitting.run import executors, worker
else:  # they import torch
    executors = LazyModule("bodyfit.fitting.run.executors")
    worker = LazyModule("bodyfit.fitting.run.worker")

log = logging.getLogger(__name__)

QUEUED = 2
"""Parts that an actor has at a time, the one in work among them: more would only wait in its memory."""
TRIES = 5
"""Times that a part is begun before the run gives up: each lost actor costs one of its parts one."""


class OnCluster:
    """Work on a Ray cluster.

    Args:
        address: "auto", or ray://HOST:10001.
    """

    def __init__(self, address: str):
        self.address, self.actors, self.lost = address, 0, 0
        self._pool: _Pool | None = None
        self._ours = False

    def start(self, device: str) -> None:
        """Connect, and start the workers: they import what they need while this process loads.

        Args:
            device: "cpu" keeps them off GPUs.
        """
        if self._pool is None:
            ray = _ray()
            self._ours = not ray.is_initialized()
            if self._ours:
                _connect(ray, self.address)
            self._pool = _Pool(ray, device)
            self._pool.grow()

    def end(self) -> None:
        """End the workers, and the connection where it was made here."""
        if self._pool is not None:
            self._pool.end()
            if self._ours:
                self._pool.ray.shutdown()
            self._pool = None

    def prepare(self, run: executors.RunSettings, inputs: Sequence[FitInput]) -> None:
        """Nothing: actors that start have no part in the folder's lock."""

    @contextmanager
    def running(self, run: executors.RunSettings) -> Iterator[executors.Finished]:
        try:
            self.start(run.config.device)
            assert self._pool is not None
            self._pool.load(run)
            yield lambda parts: self._finished(self._pool, parts)
        finally:
            self.end()

    def _finished(self, pool: _Pool, parts: Iterable[Part]) -> Iterator[worker.PartOutcome]:
        coming, again, tries = iter(parts), deque[Part](), Counter[int]()
        while True:
            pool.grow()
            self.actors = len(pool.actors)
            for actor in pool.with_room():
                part = again.popleft() if again else next(coming, None)
                if part is None:
                    break
                pool.submit(actor, part)
            if not pool.pending:
                return
            for part, outcome in pool.wait():
                if outcome is not None:
                    yield outcome
                    continue
                self.lost += 1
                tries[part.number] += 1
                if tries[part.number] >= TRIES:
                    raise BodyfitError(
                        f"the photos from {part.inputs[0].name} on were lost with {TRIES} workers in a row. Is there "
                        "too little memory on the nodes? The same command goes on where it stopped."
                    )
                photos = counted(len(part.inputs), "photo", "photos")
                log.warning("a worker was lost; another fits its %s again", photos)
                again.append(part)

    def status(self) -> str:
        return f", {self.actors} workers" + (f", {self.lost} parts begun again" if self.lost else "")


class _Pool:
    """The actors of a run, and the parts that each has."""

    def __init__(self, ray: Any, device: str):
        self.ray, self.actors, self.pending = ray, list[Any](), dict[Any, tuple[Any, Part]]()
        self.on_gpu = device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
        self.spec: bytes | None = None
        """A pickled executors.WorkerSpec: Ray would unpickle it before the worker has imported in the right order."""

    def load(self, run: executors.RunSettings) -> None:
        """Let all actors, those of later, too, load what the run needs."""
        device = "cuda" if self.on_gpu else "cpu"
        self.spec = pickle.dumps(executors.WorkerSpec(run.out.absolute(), run.config, run.identity, device, 1))
        for actor in self.actors:
            actor.load.remote(self.spec)

    def grow(self) -> None:
        """An actor for each GPU or core that the cluster has now; nodes may come and go."""
        alive = [node for node in self.ray.nodes() if node["Alive"]]
        kind = "GPU" if self.on_gpu else "CPU"
        wanted = int(sum(node["Resources"].get(kind, 0) for node in alive))
        resources = {"num_gpus": 1, "num_cpus": 1} if self.on_gpu else {"num_cpus": 1}
        while len(self.actors) < wanted:
            remote = self.ray.remote(**resources, scheduling_strategy="SPREAD", max_restarts=0)(Apart)
            self.actors.append(remote.remote())
            if self.spec is not None:
                self.actors[-1].load.remote(self.spec)
        if not self.actors:
            raise BodyfitError(f"the Ray cluster has no {kind}s. Start nodes with `ray start --address=HOST:6379`.")

    def with_room(self) -> Iterator[Any]:
        """Actors that can take a part, the least busy first, until all are full."""
        for round_ in range(1, QUEUED + 1):
            for actor in self.actors:
                if sum(owner is actor for owner, _ in self.pending.values()) < round_:
                    yield actor

    def submit(self, actor: Any, part: Part) -> None:
        """Hand a part to an actor."""
        self.pending[actor.work.remote(part)] = (actor, part)

    def wait(self) -> list[tuple[Part, worker.PartOutcome | None]]:
        """Parts that have ended since, each with its outcome; None: its worker was lost."""
        ended, _ = self.ray.wait(list(self.pending), num_returns=1, timeout=5.0)
        found = []
        for task in ended:
            if task not in self.pending:
                continue
            actor, part = self.pending.pop(task)
            try:
                found.append((part, self.ray.get(task)))
            except self.ray.exceptions.RayTaskError as error:
                raise _cause(error) from error
            except self.ray.exceptions.RayError as error:
                log.debug("lost: %s", error)
                found.append((part, None))
                found += self._drop(actor)
        return found

    def _drop(self, actor: Any) -> list[tuple[Part, None]]:
        """Forget an actor; the parts that it had."""
        self.actors = [other for other in self.actors if other is not actor]
        tasks = [task for task, (owner, _) in self.pending.items() if owner is actor]
        return [(self.pending.pop(task)[1], None) for task in tasks]

    def end(self) -> None:
        """End all actors."""
        for actor in self.actors:
            self.ray.kill(actor)


def _cause(error: Exception) -> BaseException:
    """Our own error inside of Ray's."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BodyfitError) else BodyfitError(f"a worker failed: {error}")


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise BodyfitError('--cluster needs Ray: pip install "bodyfit[cluster]", on every machine.') from error
    return ray


def _connect(ray: Any, address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, ValueError, OSError, RuntimeError) as error:
        raise BodyfitError(
            f"{address}: no Ray cluster answers ({error!s:.200}). Start one: `ray start --head` here, and `ray start "
            "--address=HOST:6379` on the other machines (docs/scale.md)."
        ) from error


__all__ = ["OnCluster"]
