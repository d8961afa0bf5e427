"""The people of a clip by one camera: followed, fitted over time, each with one shape."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.record import Parameters
from bodyfit.fitting.clips.shared_worlds import shot_of
from bodyfit.fitting.clips.tracking import Tracking, Tracklet
from bodyfit.fitting.clips.writing import FittedPerson
from bodyfit.fitting.run.memory import give_back_freed_memory
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.contacts import GroundConfig
from bodyfit.fitting.sequence.group import GroupFit, Sighting, keep_apart, put_on_ground, solve_group
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.threads import shared_threads

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FollowedPerson:
    """One person before the fit."""

    name: str
    """Three digits, in the order in which people come into the clip."""
    sightings: tuple[Sighting, ...]
    """In order of time."""
    size_px: float
    """Median size in the picture."""


Starts = Callable[[FollowedPerson], dict[int, Parameters]]


def followed_people(tracklets: Sequence[Tracklet], frames: Mapping[int, Frame]) -> list[FollowedPerson]:
    """Sightings of those who were followed."""
    people = []
    for n, tracklet in enumerate(tracklets):
        pairs = zip(tracklet.moments, tracklet.people, strict=True)
        sightings = tuple(Sighting(moment, frames[moment], i) for moment, i in pairs)
        people.append(FollowedPerson(f"{n:03d}", sightings, float(np.median(tracklet.sizes))))
    return people


def chosen_people(people: Sequence[FollowedPerson], which: str) -> list[FollowedPerson]:
    """Some of the people, under the names they have.

    Args:
        people: everybody.
        which: "all"; "main", who is seen largest and longest; "3", the three of these; "002" (three digits), the person
            of this name.
    """
    if which == "all":
        return list(people)
    if which.isdigit() and len(which) > 2:
        return [person for person in people if person.name == which]
    count = 1 if which == "main" else int(which)
    largest = sorted(people, key=lambda p: -p.size_px * len(p.sightings))[:count]
    return [person for person in people if person in largest]


def said_of_dropped(tracking: Tracking, fps: float) -> str:
    """What is left out as spurious, in words; empty for nothing."""
    if not tracking.dropped:
        return ""
    count, most = len(tracking.dropped), max(len(t.moments) for t in tracking.dropped)
    return f"{count} spurious tracks of at most {most} frames ({most / fps:.2f} s) are left out"


def fit_people(
    fitter: Fitter,
    people: Sequence[FollowedPerson],
    fps: float,
    config: SequenceConfig | None = None,
    cuts: Collection[int] = (),
    starts: Starts | None = None,
) -> Iterator[FittedPerson]:
    """Fit each person over time; who cannot be fitted has a reason instead of a track.

    Args:
        fitter, fps, config: as `fit_group` takes them.
        people: whom to fit. With the ground in the configuration, or `people_apart` in that of the fitter, all are
            fitted before the first is given.
        cuts: moments that begin a new shot, whose people stand on another floor.
        starts: gives each person's starts, as `fit_group` takes them.
    """
    config = config or SequenceConfig()

    def solved(person: FollowedPerson) -> GroupFit:
        given = starts(person) if starts else None
        return solve_group(fitter, person.sightings, fps=fps, config=config, person=person.name, starts=given)

    shared = (config.ground, fitter.config.people_apart)
    yield from fitted_together(people, solved, *shared, lambda person: shot_of(person.sightings, cuts))


def fitted_together(
    people: Sequence[FollowedPerson],
    solve: Callable[[FollowedPerson], GroupFit],
    ground: GroundConfig | None,
    apart: bool,
    shot: Callable[[FollowedPerson], int] = lambda _: 0,
) -> Iterator[FittedPerson]:
    """People one after the other; with a floor or space that they share, each shot's people once all are solved.

    Args:
        people: whom to fit.
        solve: fits one person alone.
        ground: what is asked of feet; None: nothing.
        apart: whether people do not pass through each other.
        shot: in which shot a person is.
    """
    waiting: list[tuple[FollowedPerson, GroupFit | str]] = []
    for person, fit in _solved(people, solve):
        give_back_freed_memory()
        if ground is None and not apart:
            yield _fitted(person, fit)
        else:
            waiting.append((person, fit))
    for number in sorted({shot(person) for person, _ in waiting}):
        rows = [n for n, (person, fit) in enumerate(waiting) if shot(person) == number and isinstance(fit, GroupFit)]
        fits = [waiting[n][1] for n in rows]
        fits = fits if ground is None else put_on_ground(fits, ground)
        for n, fit in zip(rows, keep_apart(fits) if apart else fits, strict=True):
            waiting[n] = waiting[n][0], fit
    for person, fit in waiting:
        yield _fitted(person, fit)


def _solved(
    people: Sequence[FollowedPerson], solve: Callable[[FollowedPerson], GroupFit]
) -> Iterator[tuple[FollowedPerson, GroupFit | str]]:
    """People in their order with their fits, or why there is none.

    As many as there are cores are solved at a time: what of a fit is done one moment after the other, such as the
    factorisation along time, leaves the other cores idle, and the other people use them.
    """

    def one(person: FollowedPerson) -> GroupFit | str:
        try:
            return solve(person)
        except BodyfitError as error:
            return str(error)

    cores = min(torch.get_num_threads(), len(people))
    if cores < 2:
        yield from ((person, one(person)) for person in people)
        return
    one_each: dict[str, Any] = {"initializer": torch.set_num_threads, "initargs": (torch.get_num_threads() // cores,)}
    with shared_threads(), ThreadPoolExecutor(cores, **one_each) as pool:
        waiting, rest = deque(), iter(people)
        try:
            for person in itertools.islice(rest, cores):
                waiting.append((person, pool.submit(one, person)))
            while waiting:
                person, fit = waiting.popleft()
                found = fit.result()
                waiting.extend((more, pool.submit(one, more)) for more in itertools.islice(rest, 1))
                yield person, found
        finally:
            for _, fit in waiting:
                fit.cancel()


def _fitted(person: FollowedPerson, fit: GroupFit | str) -> FittedPerson:
    if isinstance(fit, str):
        log.warning("person %s: %s", person.name, fit)
        return FittedPerson(person.name, person.sightings, None, fit)
    track = fit.track()
    if set(track.status) == {"failed"}:
        log.warning("person %s: %s", person.name, track.reason)
    return FittedPerson(person.name, person.sightings, track)


def named_anew(people: Sequence[FollowedPerson]) -> list[FollowedPerson]:
    """The same, numbered in their order."""
    return [replace(person, name=f"{n:03d}") for n, person in enumerate(people)]
