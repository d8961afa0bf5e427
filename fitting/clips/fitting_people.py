"""The people of a clip by one camera: followed, fitted over time, each with one shape."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.clips.tracking import Tracking, Tracklet
from bodyfit.fitting.clips.writing import FittedPerson
from bodyfit.fitting.run.memory import give_back_freed_memory
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.group import Sighting, fit_group
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame

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
    fitter: Fitter, people: Sequence[FollowedPerson], fps: float, config: SequenceConfig | None = None
) -> Iterator[FittedPerson]:
    """Fit each person over time; who cannot be fitted has a reason instead of a track."""
    for person in people:
        try:
            track = fit_group(fitter, person.sightings, fps=fps, config=config, person=person.name)
            if set(track.status) == {"failed"}:
                log.warning("person %s: %s", person.name, track.reason)
            yield FittedPerson(person.name, person.sightings, track)
        except BodyfitError as error:
            log.warning("person %s: %s", person.name, error)
            yield FittedPerson(person.name, person.sightings, None, str(error))
        give_back_freed_memory()


def named_anew(people: Sequence[FollowedPerson]) -> list[FollowedPerson]:
    """The same, numbered in their order."""
    return [replace(person, name=f"{n:03d}") for n, person in enumerate(people)]
