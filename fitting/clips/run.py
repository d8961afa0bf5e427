"""`bodyfit fit` on a video or on a folder that is one: read, follow people, fit each over time, write."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

import bodyfit
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import WriteError, read_json, remove_unfinished
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.data.words import counted
from bodyfit.fitting.clips.earlier_results import EarlierResults
from bodyfit.fitting.clips.fitting_people import (
    FollowedPerson,
    Starts,
    chosen_people,
    fit_people,
    followed_people,
    said_of_dropped,
)
from bodyfit.fitting.clips.reading import ReadClip, read_clip
from bodyfit.fitting.clips.shared_worlds import in_shared_worlds
from bodyfit.fitting.clips.sources import ClipSource, open_source
from bodyfit.fitting.clips.tracking import TrackingConfig, track_people
from bodyfit.fitting.clips.writing import FittedClip, FittedPerson, is_whole, remove_other_frames, write_clip
from bodyfit.fitting.run.config_files import RunConfig, as_document
from bodyfit.fitting.run.helpers import HelperPool
from bodyfit.fitting.run.how_many import usable_cores
from bodyfit.fitting.run.identity import run_identity
from bodyfit.fitting.run.journal import Journal
from bodyfit.fitting.run.lock import FolderLock
from bodyfit.fitting.run.overwriting import refuse_inputs_in
from bodyfit.fitting.run.parts import short_hash
from bodyfit.fitting.run.said import repeats_counted
from bodyfit.fitting.run.summary_files import SummaryWriter
from bodyfit.fitting.run.writing import prepare_overlays, write_json
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.solve.fitter import Fitter

log = logging.getLogger(__name__)

FEW = 48
"""Frames up to which starting helper processes costs more than they save."""


def run_video(clip: Path | ClipSource, out: Path, fitter: Fitter, config: RunConfig) -> dict[str, Any]:
    """Fit the people of a video, or of a folder of pictures that is a clip, into an output folder.

    Args:
        clip: the video or folder, or what `open_source` made of it.
        out: the output folder; it is made where there is none.
        fitter: body, prior and settings of the fit.
        config: everything else; `config.clip` says what is fitted of the clip.

    Returns:
        OUT/summary.json without its rows.

    Raises:
        BodyfitError: for a clip that cannot be read, and for an output folder that cannot be used.
    """
    source = clip if isinstance(clip, ClipSource) else open_source(clip, config.clip, exclude=[out])
    refuse_inputs_in(out, source_files(source))
    sequence = SequenceConfig.for_choice(config.fit.ground, moving_camera=config.clip.moving_camera)
    key = clip_key(source, run_identity(fitter, config), config, sequence)
    return run_source(source, [source.name], ClipRun, (out, fitter, config, sequence), key)


def run_source(
    source: Any,
    names: list[str],
    kind: type[ClipRun],
    settings: tuple[Path, Fitter, RunConfig, SequenceConfig],
    key: str,
) -> dict[str, Any]:
    """Fit and write a clip, or several cameras, unless that is done.

    Args:
        source: what `kind` reads; its `name` is that of the journal's line which says that all is written.
        names: what frames are named after, and the source's own name.
        kind: what the run does.
        settings: output folder, fitter, configuration of the run and of the fit over time.
        key: what the results depend on.

    Returns:
        OUT/summary.json without its rows.

    Raises:
        BodyfitError: for what cannot be read, and for an output folder that cannot be used.
    """
    out, _, config, _ = settings
    with FolderLock(out) as lock, contextlib.closing(Journal(out)) as journal, repeats_counted():
        refuse_other_results(out, journal, names)
        if lock.after_a_kill:
            remove_unfinished(out)
        run = kind(*settings, journal, key)
        if is_whole(out, journal, source.name, key):
            log.info("%s: done already; nothing has changed since", source.name)
            return run.summary(ClipIndex.read(out).frames, _clip_section(out), True)
        write_json(out / "config.json", {"bodyfit": bodyfit.__version__, **as_document(config)})
        try:
            return run.go(source)
        except OSError as error:
            reason = error.strerror or error
            raise WriteError(f"{out}: cannot be written: {reason}. The same command goes on later.") from error


def clip_key(source: ClipSource, identity: str, config: RunConfig, sequence: SequenceConfig) -> str:
    """What the results of a clip depend on, as a hash: settings, and its files as they are now (size, time)."""
    stamps = []
    for file in sorted(source_files(source)):
        found = os.stat(file)
        stamps.append((os.fspath(file), found.st_size, found.st_mtime_ns))
    settings = json.dumps([asdict(config.clip), asdict(sequence), asdict(TrackingConfig())], default=str)
    moments = [frame.moment for frame in source.frames]
    return short_hash(identity, source.name, source.fps, moments, settings, stamps)


def source_files(source: ClipSource) -> set[Path]:
    """All files that a clip is read from."""
    files = {frame.item.photo for frame in source.frames} if source.video is None else {source.video}
    files |= {frame.item.keypoints for frame in source.frames}
    if source.keypoints is not None:
        files |= {found.file for found in source.keypoints.by_number.values()}
    return {file for file in files if file is not None}


def refuse_other_results(out: Path, journal: Journal, names: list[str]) -> None:
    """Raise BodyfitError where an output folder holds results of something else than clips of these names."""
    others = [name for name in journal.entries if name not in names and name.rpartition("/")[0] not in names]
    if others:
        raise BodyfitError(
            f"{out}: holds results of something else ({others[0]}). Choose another folder: people of different clips "
            "would get the same names."
        )


def _clip_section(out: Path) -> dict[str, Any]:
    """What the summary of an earlier run says of the clip."""
    try:
        return dict(read_json(out / "summary.json")["clip"])
    except (BodyfitError, KeyError, TypeError, ValueError):
        return {}


@dataclass(frozen=True)
class ClipRun:
    """A run at work."""

    out: Path
    fitter: Fitter
    config: RunConfig
    sequence: SequenceConfig
    journal: Journal
    key: str

    def go(self, source: ClipSource) -> dict[str, Any]:
        """Everything; what is written stays when the run is stopped, and the summary says so."""
        began, section, frames, whole = time.perf_counter(), {}, {}, False
        if self.config.init is not None:
            EarlierResults(self.config.init)  # a mistake is said before the work
        (self.out / "summary.json").unlink(missing_ok=True)
        self.journal.redo([source.name])  # the line that says that all is written
        try:
            clip = self._read(source)
            people, section = self._people(clip)
            index = self._index(clip)
            frames = index.frames
            remove_other_frames(self.out, self.journal, list(frames))
            fitted = in_shared_worlds(self._fitted(people, clip), self.sequence.ground, **self._shots(clip))
            section |= {"people": [_about(person) for person in fitted]}
            self._write(clip, index, fitted)
            self.journal.append([{"name": source.name, "key": self.key, "part": self.key, "rows": []}])
            whole = True
        finally:
            section |= {"seconds": time.perf_counter() - began}
            try:
                summary = self.summary(frames, section, whole)
            except (WriteError, OSError):
                if whole:
                    raise  # else what stopped the run is what the user should read
        return summary

    def _read(self, source: ClipSource) -> ReadClip:
        return read_clip(source, self.config.camera, self.out)

    def _index(self, clip: ReadClip) -> ClipIndex:
        return clip_index(clip)

    def _people(self, clip: ReadClip) -> tuple[list[FollowedPerson], dict[str, Any]]:
        """Who is followed, and what the summary says of that."""
        source, least = clip.source, self.config.output.min_size_px
        frames = {moment: frame.chosen("all", least) for moment, frame in clip.frames.items()}
        tracking = track_people(frames, source.fps, clip.cuts)
        people = followed_people(tracking.tracklets, frames)
        log.info(
            "%s: %s in %s, %.1f s at %g per second",
            *(source.name, counted(len(people), "person", "people"), counted(len(source.frames), "frame", "frames")),
            *(len(source.frames) / source.fps, source.fps),
        )
        if said := said_of_dropped(tracking, source.fps):
            log.info("%s: %s", source.name, said)
        some = chosen_people(people, self.config.output.people)
        section = {
            "name": source.name,
            "fps": source.fps,
            "frames": len(source.frames),
            "cuts_s": [moment / source.fps for moment in clip.cuts],
            "spurious_tracks": len(tracking.dropped),
            "spurious_sightings": sum(len(t.moments) for t in tracking.dropped),
            "people_found": len(people),
        }
        return some, section

    def _fitted(self, people: list[FollowedPerson], clip: ReadClip) -> Iterator[FittedPerson]:
        with tqdm(total=len(people), unit="person", desc="fitting", disable=None) as bar:
            starts = self._starts(clip.source.fps, [frame.name for frame in clip.frames.values()])
            for person in fit_people(self.fitter, people, clip.source.fps, self.sequence, clip.cuts, starts):
                bar.update()
                yield person

    def _shots(self, clip: ReadClip) -> dict[str, Any]:
        """Where the camera changes its place, or the places of calibrated ones, as `in_shared_worlds` takes them."""
        return {"cuts": clip.cuts}

    def _starts(self, fps: float, frames: list[str]) -> Starts | None:
        """What `--init` says."""
        if self.config.init is None:
            return None
        earlier = EarlierResults(self.config.init)
        earlier.check(frames)
        return lambda person: earlier.starts(self.fitter, person, fps)

    def _write(self, clip: ReadClip, index: ClipIndex, people: Sequence[FittedPerson]) -> None:
        items = {frame.moment: frame.item for frame in clip.source.frames}
        failures = {items[m].name: (items[m], reason) for m, reason in clip.failures.items() if m in items}
        frames = {frame.name: frame for _, frame in sorted(clip.frames.items())}
        fitted = FittedClip(index, frames, people, failures)
        with writing_helpers(self.config, len(frames)) as helpers:
            write_clip(self.out, self.fitter, self.config, fitted, journal=self.journal, key=self.key, helpers=helpers)

    def summary(self, frames: Mapping[str, int], section: dict[str, Any], whole: bool) -> dict[str, Any]:
        """Write OUT/summary.json from the journal; returns it without its rows."""
        header = {"body_model": self.fitter.body.name, "prior": self.fitter.prior.name, "complete": whole}
        header |= {"seconds": section.get("seconds", 0.0), "clip": section}
        rows = (row for name in frames for row in self.journal.rows(name))
        return SummaryWriter(self.out).write(header, rows)


def clip_index(clip: ReadClip) -> ClipIndex:
    """Which frame of a clip shows which moment."""
    source = clip.source
    frames = {frame.item.name: frame.moment for frame in source.frames}
    moments = list(frames.values())
    video = source.video and source.video.resolve()
    return ClipIndex(source.fps, (min(moments), max(moments)), {source.name: video}, frames)


def _about(person: FittedPerson) -> dict[str, Any]:
    """What the summary says of a person."""
    moments = [s.moment for s in person.sightings]
    status = person.track.status if person.track is not None else ()
    counts = {name: status.count(name) for name in ("fitted", "interpolated", "failed")}
    reason = person.reason or (person.track.reason if person.track is not None else "")
    about = {"person": person.name, "moments": [moments[0], moments[-1]], **counts, "reason": reason}
    world = None if person.track is None else person.track.world
    return about if world is None else about | {"up": world.source}


@contextlib.contextmanager
def writing_helpers(config: RunConfig, frames: int) -> Iterator[Any]:
    """Processes that draw and write, where that pays."""
    cores = usable_cores()
    if frames <= FEW or not (config.output.overlays or config.output.meshes):
        yield None
        return
    pool = HelperPool(cores, prepare_overlays if config.output.overlays else None)
    try:
        yield pool.executor
    finally:
        pool.close()
