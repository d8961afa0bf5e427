"""The world of the files of a shot: level where floor or gravity are known, people in their places."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from bodyfit.data.photo.intrinsics import Extrinsics
from bodyfit.data.results.levelling import shared_world
from bodyfit.fitting.clips.writing import FittedPerson
from bodyfit.fitting.sequence.contacts import GroundConfig
from bodyfit.fitting.sequence.group import Sighting


def shot_of(sightings: Sequence[Sighting], cuts: Collection[int]) -> int:
    """In which shot a person is, by his sightings and the moments that begin a new one."""
    return sum(sightings[0].moment >= cut for cut in cuts)


def in_shared_worlds(
    people: Iterable[FittedPerson],
    ground: GroundConfig | None,
    *,
    cuts: Collection[int] = (),
    cameras: Collection[Extrinsics] = (),
) -> tuple[FittedPerson, ...]:
    """The same people, whose tracks know the world of their shot (`data/results/levelling.py`).

    Args:
        people: of a clip, or of several cameras.
        ground: with the gravity that was given; None: none was.
        cuts: moments that begin a new shot, in which the camera stands elsewhere.
        cameras: places of calibrated ones.
    """
    shots: dict[int, list[FittedPerson]] = {}
    for person in (people := tuple(people)):
        shots.setdefault(shot_of(person.sightings, cuts), []).append(person)
    up = None if ground is None else ground.up
    turns = np.array([camera.rotation for camera in cameras]).reshape(-1, 3, 3)
    worlds = {}
    for shot, some in shots.items():
        tracks = [p.track for p in some if p.track is not None and set(p.track.status) != {"failed"}]
        worlds[shot] = shared_world(tracks, cameras=turns, up=up)
    return tuple(
        p if p.track is None else replace(p, track=replace(p.track, world=worlds[shot_of(p.sightings, cuts)]))
        for p in people
    )
