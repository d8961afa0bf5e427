"""A fit of more people than memory holds: frames from an iterator, results as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fit import fitter_for
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.prior.model.vposer import VPoser


def fit_many(
    frames: Iterable[Frame],
    *,
    batch: int = 256,
    body: BodyModel | None = None,
    prior: VPoser | None = None,
    config: FitConfig | None = None,
    device: str | torch.device = "auto",
    gender: str = "neutral",
    age: str | float = "auto",
    height: float | None = None,
    betas: Sequence[float] | None = None,
) -> Iterator[FitResult]:
    """Fit the people of any number of frames in batches, with the memory of two batches.

        for result in bodyfit.fit_many(frames_of_a_video()):
            result.save(...)

    While a batch is solved, the frames of the next are taken from the iterator, in the caller's thread.

    Args:
        frames: any iterable; a generator may read or detect one frame after another.
        batch: people that are solved together. A frame is never divided, so a batch with a crowd may be larger.
        body, prior, config, device, gender, age, height, betas: as in `fit`.

    Yields:
        one FitResult per person, in the order of the frames and their people, failures included.

    Raises:
        BodyfitError: at the call, for a batch below 1, and as `fit`.
    """
    if batch < 1:
        raise BodyfitError(f"batch must be at least 1, got {batch}.")
    fitter = fitter_for(body, prior, config, device=device, gender=gender, age=age, height=height, betas=betas)
    return _stream(frames, batch, fitter)


def _stream(frames: Iterable[Frame], batch: int, fitter: Fitter) -> Iterator[FitResult]:
    with ThreadPoolExecutor(1, "fit_many") as solver:
        solving: Future[list[FitResult]] | None = None
        for some in _batches(frames, batch):
            coming = solver.submit(fitter.fit, some)
            if solving is not None:
                yield from solving.result()
            solving = coming
        if solving is not None:
            yield from solving.result()


def _batches(frames: Iterable[Frame], batch: int) -> Iterator[list[Frame]]:
    some: list[Frame] = []
    people = 0
    for frame in frames:
        here = len(frame.detections.person_ids)
        if some and people + here > batch:
            yield some
            some, people = [], 0
        some.append(frame)
        people += here
    if some:
        yield some
