"""What a fit over time leaves in its output folder: results and pictures of frames, tracks, the index, the summary.

OUT/results/<clip or camera>/<000123>/<person>.npz   the person in that frame, in that camera's frame
OUT/images/<clip or camera>/<000123>.jpg             everybody drawn over the frame
OUT/tracks/<person>.npz, .glb                        the person over time (data/results/track_files.py)
OUT/clip.json                                        which frame shows which moment (data/results/clip_index.py)
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import remove_file
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.data.results.completeness import is_complete
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.track import Track
from bodyfit.data.results.track_files import find_tracks, write_track
from bodyfit.fitting.clips.frame_results import frame_results, unseen
from bodyfit.fitting.run.config_files import RunConfig
from bodyfit.fitting.run.journal import Journal
from bodyfit.fitting.run.options import OutputOptions
from bodyfit.fitting.run.said import collected
from bodyfit.fitting.run.worker import result_vertices
from bodyfit.fitting.run.writing import PhotoJob, PhotoWriter, Record, failed_record
from bodyfit.fitting.sequence.ages import fitter_of
from bodyfit.fitting.sequence.group import Sighting
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame

log = logging.getLogger(__name__)

FRAMES_AT_ONCE = 16
"""Frames that are posed, and written by one helper."""
AHEAD = 6
"""Such groups that wait to be written; more would only take memory."""
MOST_PICTURES = 1000
"""Overlays of a run: of a longer clip every second frame is drawn, or every third, ...: it has a video besides."""
LONGEST_GAP_S = 1.5
"""Seconds between two sightings up to which frames in between show the interpolated body."""


@dataclass(frozen=True)
class FittedPerson:
    """One person of a clip."""

    name: str
    """Three digits, the same in all frames and cameras."""
    sightings: Sequence[Sighting] = field(repr=False)
    track: Track | None
    """None: could not be fitted."""
    reason: str = ""
    """Why not."""
    absent: frozenset[str] = field(default=frozenset(), repr=False)
    """Frames that do not show the person: cameras that look elsewhere."""


@dataclass(frozen=True)
class FittedClip:
    """What is written of a clip, or of several cameras."""

    index: ClipIndex
    frames: Mapping[str, Frame]
    """By name, in the order of the summary; all that could be read, also those without people."""
    people: Sequence[FittedPerson]
    failures: Mapping[str, tuple[FitInput, str]] = field(default_factory=dict)
    """Frames that could not be read, with the reason."""
    longest_gap_s: float = LONGEST_GAP_S
    """See LONGEST_GAP_S."""


def write_clip(
    out: Path,
    fitter: Fitter,
    config: RunConfig,
    clip: FittedClip,
    *,
    journal: Journal,
    key: str,
    helpers: Executor | None = None,
) -> int:
    """Write a fitted clip; frames that the journal has under this key are left as they are.

    Args:
        out: the output folder, which this run holds.
        fitter: the one that fitted it.
        config: what is written of frames.
        clip: what was fitted.
        journal: of the output folder; rows of frames go there.
        key: what the results depend on, as a hash.
        helpers: processes that draw and write; None: this one does.

    Returns:
        how many frames were written now.

    Raises:
        WriteError: when the folder cannot be written to.
    """
    clip.index.write(out)
    _remove_other_tracks(out, clip.people)
    tracks = [p.track for p in clip.people if p.track is not None and set(p.track.status) != {"failed"}]
    for track in tracks:
        write_track(out / "tracks", track, fitter_of(fitter, track).body, posterior=config.output.posterior)
    names = [name for name in [*clip.frames, *clip.failures] if not _is_written(out, journal, name, key)]
    names = list(dict.fromkeys(names))
    old = {name: _files_of(journal, name) for name in names}
    journal.redo(names)
    work = _FrameWork(out, fitter, config, clip, key)
    with tqdm(total=len(names), unit="frame", desc="writing", disable=None) as bar:
        for records in _written(work, names, helpers):
            journal.append(records)
            for record in records:
                _remove(out, old[record["name"]] - _files(record["rows"]))
            bar.update(len(records))
    return len(names)


def _written(work: _FrameWork, names: list[str], helpers: Executor | None) -> Iterator[list[Record]]:
    """Records of frames in groups, each after its files are written."""
    faces = np.ascontiguousarray(work.fitter.body.faces, dtype=np.int32)
    waiting: deque[Future] = deque()
    for start in range(0, len(names), FRAMES_AT_ONCE):
        for writer, part in work.jobs(names[start : start + FRAMES_AT_ONCE]):
            if helpers is None:
                yield work.with_failures(writer.write_all(part, faces))
            else:
                waiting.append(helpers.submit(collected, writer.write_all, part, faces))
        while len(waiting) > AHEAD:
            yield work.with_failures(_answer(waiting.popleft()))
    while waiting:
        yield work.with_failures(_answer(waiting.popleft()))
    yield work.unread(names)


def _answer(future: Future) -> list[Record]:
    records, said = future.result()
    for one in said:
        one.say()
    return records


class _FrameWork:
    """Makes what `PhotoWriter` writes of frames."""

    def __init__(self, out: Path, fitter: Fitter, config: RunConfig, clip: FittedClip, key: str):
        self.out, self.fitter, self.config, self.clip, self.key = out, fitter, config, clip, key
        step = math.ceil(len(clip.frames) / MOST_PICTURES)
        self.drawn = frozenset(list(clip.frames)[::step]) if config.output.overlays and step else frozenset()
        if step > 1 and self.drawn:
            log.info("images/: one of %d frames is drawn, %d in all", step, len(self.drawn))
        self.seen = {(person.name, s.frame.name): s for person in clip.people for s in person.sightings}
        self.shown = {person.name: self._moments_shown(person) for person in clip.people}

    def _moments_shown(self, person: FittedPerson) -> set[int]:
        """Moments at which somebody is there: seen, or unseen for a short time only."""
        moments = sorted({s.moment for s in person.sightings})
        longest = self.clip.longest_gap_s * self.clip.index.fps
        shown = set(moments)
        for before, after in itertools.pairwise(moments):
            if after - before <= longest:
                shown |= set(range(before + 1, after))
        return shown

    def jobs(self, names: Sequence[str]) -> list[tuple[PhotoWriter, list[PhotoJob]]]:
        """The frames that could be read, those that are drawn and those that are not."""
        there = [name for name in names if name in self.clip.frames]
        people: dict[str, list[FitResult]] = {name: [] for name in there}
        for person in self.clip.people:
            sightings = [s for name in there if (s := self._sighting(person, name)) is not None]
            for s, result in zip(sightings, self._results(person, sightings), strict=True):
                people[s.frame.name].append(result)
        groups = []
        for drawn in (True, False):
            some = [name for name in there if (name in self.drawn) == drawn]
            if some:
                output = replace(self.config.output, overlays=drawn)
                groups.append((PhotoWriter(self.out, output), self._photo_jobs(some, people, output)))
        return groups

    def _sighting(self, person: FittedPerson, name: str) -> Sighting | None:
        """A person in a frame: seen, or to be shown there all the same."""
        if (person.name, name) in self.seen:
            return self.seen[person.name, name]
        moment = self.clip.index.frames[name]
        if person.track is None or moment not in self.shown[person.name] or name in person.absent:
            return None
        row = moment - int(person.track.moments[0])
        if person.track.status[row] == "failed":  # at the ends, beside sightings that could not be fitted
            return None
        return Sighting(moment, unseen(self.clip.frames[name]))

    def _results(self, person: FittedPerson, sightings: list[Sighting]) -> list[FitResult]:
        if person.track is not None:
            return frame_results(self.fitter, person.track, sightings)
        made = [self.fitter.make.failed(s.frame, s.person, person.reason) for s in sightings]
        return [replace(result, person_id=person.name) for result in made]

    def _photo_jobs(
        self, names: Sequence[str], people: Mapping[str, list[FitResult]], output: OutputOptions
    ) -> list[PhotoJob]:
        fitted = [result for name in names for result in people[name] if result.status != "failed"]
        needed = output.overlays or output.meshes
        bodies = iter(result_vertices(self.fitter.whole_body, fitted) if needed else ())
        jobs = []
        for name in names:
            frame, mine = self.clip.frames[name], people[name]
            vertices = [next(bodies) for result in mine if result.status != "failed"] if needed else []
            item = FitInput(frame.photo, None, name)
            jobs.append(PhotoJob(item, self.key, self.key, frame.image_size, mine, vertices, lens=frame.lens))
        return jobs

    def with_failures(self, records: list[Record]) -> list[Record]:
        """The records of frames, with a row for what could not be read of them. What failed is tried again only when
        its files have changed."""
        return [
            record | {"key": self.key, "rows": [*record["rows"], *self._failure(record["name"])["rows"]]}
            if record["name"] in self.clip.failures
            else record | {"key": self.key}
            for record in records
        ]

    def unread(self, names: Sequence[str]) -> list[Record]:
        """The records of frames of which nothing could be read."""
        return [
            self._failure(name) | {"key": self.key}
            for name in names
            if name in self.clip.failures and name not in self.clip.frames
        ]

    def _failure(self, name: str) -> Record:
        item, reason = self.clip.failures[name]
        return failed_record(item, self.key, reason)


# ---- what was there before ------------------------------------------------------------------------------------------


def _is_written(out: Path, journal: Journal, name: str, key: str) -> bool:
    entry = journal.entries.get(name)
    return entry is not None and entry.key == key and all(is_complete(out / f) for f in _files_of(journal, name))


def is_whole(out: Path, journal: Journal, marker: str, key: str) -> bool:
    """Whether everything of a clip was written under this key, and is still there.

    `marker` names the journal's line that is written after all others.
    """
    entry = journal.entries.get(marker)
    if entry is None or entry.key != key or not (out / "summary.json").is_file():
        return False
    try:
        index = ClipIndex.read(out)
        if not all(_is_written(out, journal, name, key) for name in index.frames):
            return False
        rows = [row for name in index.frames for row in journal.rows(name)]
        people = {row["person"] for row in rows if row["status"] != "failed"}
        return all(is_complete(out / "tracks" / f"{person}{end}") for person in people for end in (".npz", ".glb"))
    except (BodyfitError, OSError, ValueError, KeyError, TypeError):  # a damaged folder is fitted again
        return False


def remove_other_frames(out: Path, journal: Journal, frames: Sequence[str]) -> None:
    """Remove files of frames that an earlier run of the same clip had, and that this one has not."""
    wanted = set(frames)
    gone = [name for name in journal.entries if name not in wanted]
    files = {name: _files_of(journal, name) for name in gone}
    journal.redo(gone)
    for name in gone:
        _remove(out, files[name])


def _remove_other_tracks(out: Path, people: Sequence[FittedPerson]) -> None:
    names = {person.name for person in people}
    for file in find_tracks(out):
        if file.stem not in names:
            for end in (".npz", ".glb"):
                file.with_suffix(end).unlink(missing_ok=True)


def _files_of(journal: Journal, name: str) -> set[str]:
    try:
        return _files(journal.rows(name))
    except (ValueError, KeyError, TypeError, AttributeError):  # a damaged journal
        return set()


def _files(rows: Sequence[dict]) -> set[str]:
    return {row[kind] for row in rows for kind in ("result", "mesh", "overlay") if isinstance(row.get(kind), str)}


def _remove(out: Path, files: set[str]) -> None:
    for file in files:
        with contextlib.suppress(BodyfitError):  # a name that leads elsewhere
            remove_file(out, file)
