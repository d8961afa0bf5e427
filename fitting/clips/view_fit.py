"""The people of several calibrated cameras: brought into one world, matched, scaled to metres and fitted."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError
from bodyfit.data.photo.intrinsics import Extrinsics, Intrinsics
from bodyfit.data.photo.rig import Rig
from bodyfit.data.results.track import Track
from bodyfit.fitting.clips.fitting_people import FollowedPerson, Starts, fitted_together
from bodyfit.fitting.clips.frame_results import track_unknowns
from bodyfit.fitting.clips.tracking import TrackingConfig
from bodyfit.fitting.clips.triangulation import CameraArrays
from bodyfit.fitting.clips.view_matching import Moments, match_people
from bodyfit.fitting.clips.view_starts import metres_per_unit, triangulated_person, view_starts
from bodyfit.fitting.clips.writing import FittedPerson
from bodyfit.fitting.energy.observations import person_size
from bodyfit.fitting.sequence.ages import fitter_of
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.group import GroupFit, Sighting, solve_group
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame, seen_by_pinhole

log = logging.getLogger(__name__)

ROBUST_SIGMAS = 3.0
"""Geman-McClure scale of reprojection where several cameras saw a person: other views hold what a wrong one loses."""
_OF_SCALE = 5  # people that a scale is told by


@dataclass(frozen=True)
class ViewPeople:
    """People of several cameras before the fit."""

    moments: Moments
    """All frames, by moment and camera; the world is in metres."""
    people: tuple[FollowedPerson, ...]
    """Those with most sightings first."""
    dropped: tuple[tuple[Sighting, ...], ...]
    """Who was seen too shortly to be a person."""
    metres_per_unit: float


def placed(frame: Frame, name: str, rig: Rig) -> Frame:
    """A frame as a camera of a rig took it: without distortion, and with its place.

    Raises:
        CameraError: where the calibration cannot be of such pictures.
    """
    camera = rig.for_size(name, frame.image_size)
    detections = frame.detections if camera.lens is None else seen_by_pinhole(frame.detections, camera.lens)
    width, height = frame.image_size
    return replace(
        frame,
        detections=detections,
        focal_px=camera.focal_px,
        focal_source=f"camera file {Path(rig.source).name}, {name}",
        center_px=camera.center_px or ((width - 1) / 2, (height - 1) / 2),
        lens=camera.lens,
        extrinsics=camera.extrinsics,
    )


def cameras_of(moments: Moments) -> set[Extrinsics]:
    """Where the cameras of placed frames stand."""
    found = {frame.extrinsics for frames in moments.values() for frame in frames.values()}
    return {place for place in found if place is not None}


def size_of(camera: Intrinsics) -> tuple[int, int] | None:
    """The image size of a camera of which no picture is at hand; where the file does not say it, twice its centre."""
    if camera.image_size is not None or camera.center_px is None:
        return camera.image_size
    return round(2 * camera.center_px[0] + 1), round(2 * camera.center_px[1] + 1)


def match_views(fitter: Fitter, moments: Moments, fps: float, rig: Rig, units: float | None = None) -> ViewPeople:
    """Find out who is who, and bring the world to metres.

    Args:
        fitter: its body tells human size.
        moments: placed frames.
        fps: moments per second.
        rig: where they come from.
        units: metres per unit of the calibration; None: by the size of people.

    Raises:
        BodyfitError: for a unit that is no positive number.
    """
    if units is not None and not 0 < units < np.inf:
        raise BodyfitError(f"--camera-units {units}: expected a positive number of metres.")
    found, config = match_people(moments, fps), TrackingConfig()
    least = min(max(config.least_sightings, round(config.least_seconds * fps)), max(len(moments) // 2, 1))
    kept = [mine for mine in found if len({s.moment for s in mine}) >= least]
    dropped = [tuple(mine) for mine in found if len({s.moment for s in mine}) < least]
    arbitrary, said = rig.units == "arbitrary", "auto" if units is None else units
    known = [triangulated_person(mine) for mine in kept[:_OF_SCALE]]
    factor = metres_per_unit(fitter, known, said, arbitrary=arbitrary, source=rig.source)
    if factor != 1:
        moments, kept = _scaled(moments, kept, factor)
    people = tuple(FollowedPerson(f"{n:03d}", tuple(mine), _size(mine)) for n, mine in enumerate(kept))
    return ViewPeople(moments, people, tuple(dropped), factor)


def _scaled(moments: Moments, people: list[list[Sighting]], factor: float) -> tuple[Moments, list[list[Sighting]]]:
    """The same in a world whose unit is `factor` times the old one."""

    def moved(frame: Frame) -> Frame:
        shift = tuple(factor * value for value in frame.extrinsics.translation)
        return replace(frame, extrinsics=replace(frame.extrinsics, translation=shift))

    there = {t: {camera: moved(frame) for camera, frame in frames.items()} for t, frames in moments.items()}
    by_old = {id(frame): there[t][camera] for t, frames in moments.items() for camera, frame in frames.items()}
    return there, [[replace(s, frame=by_old[id(s.frame)]) for s in mine] for mine in people]


def _size(sightings: Sequence[Sighting]) -> float:
    """Median size in the pictures, px."""
    found = [s.frame.detections for s in sightings]
    sizes = [person_size(d.xy[s.person], d.confidence[s.person]) for d, s in zip(found, sightings, strict=True)]
    return float(np.median(np.array(sizes, dtype=float)))


def for_views(fitter: Fitter) -> Fitter:
    """The same fitter with the weights that several cameras want."""
    energy = fitter.config.energy
    other = copy.copy(fitter)
    other.config = replace(
        fitter.config, energy=replace(energy, robust_sigmas=min(energy.robust_sigmas, ROBUST_SIGMAS))
    )
    if fitter.children is not None:
        vars(other)["children"] = for_views(fitter.children)
    return other


def fit_view_people(
    fitter: Fitter,
    people: Sequence[FollowedPerson],
    moments: Moments,
    fps: float,
    config: SequenceConfig | None = None,
    given: Starts | None = None,
) -> Iterator[FittedPerson]:
    """Fit each person in the world, from triangulated landmarks and from the fits of single views; with the ground, all
    on one floor, and with `people_apart` in the fitter's configuration out of each other."""
    config, several = config or SequenceConfig(), for_views(fitter)

    def solved(person: FollowedPerson) -> GroupFit:
        seen = triangulated_person(person.sightings)
        solver = several if len(seen.moments) else fitter
        starts = {**view_starts(solver, seen.thinned()), **(given(person) if given else {})}
        return solve_group(solver, person.sightings, fps=fps, config=config, person=person.name, starts=starts)

    by_name = {person.name: person for person in people}
    for fitted in fitted_together(people, solved, config.ground, fitter.config.people_apart):
        if fitted.track is not None:
            absent = out_of_sight(fitter, fitted.track, moments) | _unconcerned(by_name[fitted.name], moments)
            fitted = replace(fitted, absent=absent)
        yield fitted


def _unconcerned(person: FollowedPerson, moments: Moments) -> frozenset[str]:
    """Names of the frames of cameras that never saw a person."""
    seeing = {s.frame.name.rpartition("/")[0] for s in person.sightings}
    return frozenset(f.name for frames in moments.values() for camera, f in frames.items() if camera not in seeing)


def out_of_sight(fitter: Fitter, track: Track, moments: Moments) -> frozenset[str]:
    """Names of the frames whose cameras do not have a person's pelvis in the picture."""
    pelvis, absent = pelvis_of(fitter, track), set[str]()
    row = {int(moment): n for n, moment in enumerate(track.moments)}
    for moment, frames in moments.items():
        if moment not in row:
            continue
        ordered = list(frames.values())
        pixels = CameraArrays.of_frames(ordered).project(pelvis[row[moment]])
        for frame, (x, y) in zip(ordered, pixels, strict=True):
            width, height = frame.image_size
            if not (0 <= x < width and 0 <= y < height):
                absent.add(frame.name)
    return frozenset(absent)


def pelvis_of(fitter: Fitter, track: Track) -> Float[np.ndarray, "T 3"]:
    """Where the pelvis is at each moment of a track, in its frame."""
    fitter = fitter_of(fitter, track)
    x = track_unknowns(fitter, track, [0])
    still = torch.eye(3, dtype=x.dtype, device=x.device).expand(1, len(fitter.unknowns.names), 3, 3)
    rest = fitter.everything.kinematics(still, fitter.unknowns.shape(x), derivatives=False).positions[0]
    return track.transl + rest.double().cpu().numpy().reshape(1, 3)
