"""`bodyfit fit --cameras`: read calibrated views, match people across them, fit each in the world, write."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.photo.rig import read_rig
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.data.words import counted
from bodyfit.fitting.clips.fitting_people import FollowedPerson, chosen_people
from bodyfit.fitting.clips.reading import read_clip
from bodyfit.fitting.clips.run import ClipRun, clip_key, run_source, source_files, writing_helpers
from bodyfit.fitting.clips.view_fit import ViewPeople, cameras_of, fit_view_people, match_views, placed, size_of
from bodyfit.fitting.clips.view_matching import Moments
from bodyfit.fitting.clips.view_sources import ViewSource, open_views
from bodyfit.fitting.clips.writing import FittedClip, FittedPerson, write_clip
from bodyfit.fitting.run.config_files import RunConfig
from bodyfit.fitting.run.identity import run_identity
from bodyfit.fitting.run.overwriting import refuse_inputs_in
from bodyfit.fitting.run.parts import short_hash
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import CameraOptions, Frame

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadViews:
    """Frames of all cameras with their people."""

    source: ViewSource
    moments: Moments
    """Placed frames."""
    failures: dict[str, tuple[FitInput, str]]
    """Frames that could not be read, by name, with the reason."""
    found: ViewPeople | None = None
    """Who is in them, once that is known."""


def run_views(views: Sequence[Path] | ViewSource, out: Path, fitter: Fitter, config: RunConfig) -> dict[str, Any]:
    """Fit the people whom several calibrated cameras saw into an output folder.

    Args:
        views: folders or files of all cameras, or what `open_views` made of them.
        out: the output folder; it is made where there is none.
        fitter: body, prior and settings of the fit.
        config: everything else; `config.clip.cameras` is the calibration.

    Returns:
        OUT/summary.json without its rows.

    Raises:
        BodyfitError: for views or a calibration that cannot be used, and for an output folder that cannot be.
    """
    source = views
    if not isinstance(source, ViewSource):
        source = open_views(source, read_rig(config.clip.cameras), config.clip, exclude=[out])
    for camera in source.cameras.values():
        refuse_inputs_in(out, source_files(camera))
    sequence, identity = SequenceConfig.for_choice(config.fit.ground), run_identity(fitter, config)
    keys = [clip_key(camera, identity, config, sequence) for camera in source.cameras.values()]
    key = short_hash(keys, sorted(source.rig.cameras.items()), source.fps)
    names = [source.name, *source.cameras]
    return run_source(source, names, _ViewsRun, (out, fitter, config, sequence), key)


def read_views(source: ViewSource, camera: CameraOptions, out: Path) -> ReadViews:
    """Read the frames of all cameras; keypoints that there are no files of are found by the detector.

    Raises:
        CameraError: where the calibration cannot be of these pictures.
        BodyfitError: where no camera has a frame that can be used.
    """
    moments: dict[int, dict[str, Frame]] = {}
    failures: dict[str, tuple[FitInput, str]] = {}
    for name, clip in source.cameras.items():
        options = replace(camera, image_size=camera.image_size or size_of(source.rig.cameras[name]))
        try:
            read = read_clip(clip, options, out)
        except BodyfitError as error:
            log.error("camera %s: %s", name, error)
            failures |= {frame.item.name: (frame.item, str(error)) for frame in clip.frames}
            continue
        items = {frame.moment: frame.item for frame in read.source.frames}
        failures |= {items[m].name: (items[m], reason) for m, reason in read.failures.items() if m in items}
        for moment, frame in read.frames.items():
            moments.setdefault(moment, {})[name] = placed(frame, name, source.rig)
    if not moments:
        reason = next(iter(failures.values()), (None, "there are none"))[1]
        raise BodyfitError(f"no frame of any camera can be used; the first: {reason}")
    return ReadViews(source, dict(sorted(moments.items())), failures)


class _ViewsRun(ClipRun):
    """A run over several cameras at work."""

    def _read(self, source: ViewSource) -> ReadViews:
        views, least = read_views(source, self.config.camera, self.out), self.config.output.min_size_px
        moments = {t: {c: f.chosen("all", least) for c, f in some.items()} for t, some in views.moments.items()}
        found = match_views(self.fitter, moments, source.fps, source.rig, self.config.clip.camera_units)
        return replace(views, moments=found.moments, found=found)

    def _index(self, views: ReadViews) -> ClipIndex:
        cameras = views.source.cameras
        frames = {frame.item.name: frame.moment for clip in cameras.values() for frame in clip.frames}
        videos = {name: clip.video and clip.video.resolve() for name, clip in cameras.items()}
        return ClipIndex(views.source.fps, (min(frames.values()), max(frames.values())), videos, frames)

    def _people(self, views: ReadViews) -> tuple[list[FollowedPerson], dict[str, Any]]:
        source, found = views.source, views.found
        cameras = [f"{p.name}: {len({s.frame.name.rpartition('/')[0] for s in p.sightings})}" for p in found.people]
        log.info(
            "%s at %s; cameras that saw each: %s",
            *(counted(len(found.people), "person", "people"), counted(len(views.moments), "moment", "moments")),
            ", ".join(cameras[:20]) or "none",
        )
        if lonely := _disagreeing_cameras(found.people):
            log.warning(
                "cameras that agree with no other on anybody: %s. Does %s belong to these views, do names go with the "
                "right cameras, and do frames of one number show one moment?",
                *(", ".join(lonely), source.rig.source),
            )
        for camera, (unusable, count, first) in _unusable(views.moments).items():
            people = counted(count, "person", "people")
            log.warning("%s: %d of %s found in its frames are not used. %s", camera, unusable, people, first)
        if found.dropped:
            log.info("%d sightings of people seen too shortly left out as spurious", sum(map(len, found.dropped)))
        section = {
            "cameras": list(source.cameras),
            "calibration": source.rig.source,
            "metres_per_unit": found.metres_per_unit,
            "fps": source.fps,
            "moments": len(views.moments),
            "spurious_tracks": len(found.dropped),
            "spurious_sightings": sum(map(len, found.dropped)),
            "people_found": len(found.people),
        }
        return chosen_people(found.people, self.config.output.people), section

    def _fitted(self, people: list[FollowedPerson], views: ReadViews) -> Iterator[FittedPerson]:
        with tqdm(total=len(people), unit="person", desc="fitting", disable=None) as bar:
            fps, names = views.source.fps, [f.name for some in views.moments.values() for f in some.values()]
            given = views.moments, fps, self.sequence, self._starts(fps, names)
            for person in fit_view_people(self.fitter, people, *given):
                bar.update()
                yield person

    def _shots(self, views: ReadViews) -> dict[str, Any]:
        return {"cameras": cameras_of(views.moments)}

    def _write(self, views: ReadViews, index: ClipIndex, people: Sequence[FittedPerson]) -> None:
        frames = {f.name: f for name in views.source.cameras for f in _of_camera(views.moments, name)}
        fitted = FittedClip(index, frames, people, views.failures)
        with writing_helpers(self.config, len(frames)) as helpers:
            write_clip(self.out, self.fitter, self.config, fitted, journal=self.journal, key=self.key, helpers=helpers)


def _disagreeing_cameras(people: Sequence[FollowedPerson]) -> list[str]:
    """Cameras that saw people, but none of them together with another camera."""
    seen, agreeing = set[str](), set[str]()
    for person in people:
        moments: dict[int, set[str]] = {}
        for s in person.sightings:
            moments.setdefault(s.moment, set()).add(s.frame.name.rpartition("/")[0])
        seen.update(*moments.values())
        agreeing.update(*(cameras for cameras in moments.values() if len(cameras) > 1))
    return sorted(seen - agreeing) if len(seen) > 1 else []


def _unusable(moments: Moments) -> dict[str, tuple[int, int, str]]:
    """Of each camera with people who cannot be used: how many, of how many, and the first one with the reason."""
    found: dict[str, tuple[int, int, str]] = {}
    for frames in moments.values():
        for camera, frame in frames.items():
            bad, count, first = found.get(camera, (0, 0, ""))
            of = frame.detections
            for person, problem in zip(of.person_ids, of.problems, strict=True):
                count += 1
                if problem is not None:
                    bad, first = bad + 1, first or f"{frame.name}, person {person}: {problem}"
            found[camera] = (bad, count, first)
    return {camera: values for camera, values in found.items() if values[0]}


def _of_camera(moments: Moments, name: str) -> list[Frame]:
    return [frames[name] for frames in moments.values() if name in frames]
