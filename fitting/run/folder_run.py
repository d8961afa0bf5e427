"""From a folder of photos to a folder of bodies: a stream of parts with bounded memory, one failure stopping nothing.

OUT/results/<image>/<nnn>.npz    parameters (data/results/result.py), or OUT/shards/<name>.safetensors for many people
OUT/meshes/<image>/<nnn>.obj     meshes in the camera frame
OUT/images/<image>.jpg           everybody drawn over the photo
OUT/config.json                  the whole configuration
OUT/journal.jsonl                what is done, a line per photo (fitting/run/journal.py)
OUT/errors.log                   tracebacks of errors that nobody foresaw, where there were any
OUT/summary.json                 a row per person, and a row for each photo or file that could not be read
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

import bodyfit
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import WriteError, confined, remove_file, remove_unfinished
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.results.completeness import is_complete
from bodyfit.data.results.store import split_row
from bodyfit.data.words import counted
from bodyfit.fitting.run.config_files import RunConfig, as_document
from bodyfit.fitting.run.executors import Backend, InThreads
from bodyfit.fitting.run.identity import run_identity
from bodyfit.fitting.run.journal import Journal
from bodyfit.fitting.run.lock import FolderLock
from bodyfit.fitting.run.overwriting import refuse_inputs_in
from bodyfit.fitting.run.parts import Part, input_key, short_hash, split
from bodyfit.fitting.run.said import repeats_counted
from bodyfit.fitting.run.summary_files import STATUSES, SummaryWriter
from bodyfit.fitting.run.worker import PartOutcome
from bodyfit.fitting.run.writing import Record, write_json
from bodyfit.fitting.solve.fitter import Fitter

log = logging.getLogger(__name__)

INPUTS_PER_PERSON_OF_A_BATCH = 1
"""A part holds this many inputs for each person of a batch: photos of one person give whole batches, those of several
more of them."""
LOGGED_EVERY = 60.0
"""Seconds between two lines about the progress where there is no terminal to show a bar."""
FILES = ("result", "mesh", "overlay")


class FolderRun:
    """One run over many photos, into one output folder.

    Args:
        out: the output folder; it is made where there is none.
        fitter: body, prior and settings of the fit.
        config: everything else.
        backend: where parts are worked on; None: in this process.
    """

    def __init__(self, out: Path | str, fitter: Fitter, config: RunConfig, backend: Backend | None = None):
        self.out, self.fitter, self.config = Path(out), fitter, config
        self.identity = run_identity(fitter, config)
        self.backend = backend or InThreads()

    def run(self, inputs: Sequence[FitInput]) -> dict[str, Any]:
        """Fit all inputs that are not done yet; returns OUT/summary.json without its rows.

        Raises:
            FolderInUse: when another run is writing into the folder.
            WriteError: when the folder cannot be written to; what was finished by then stays.
            BodyfitError: when inputs lie where results would be written.
        """
        refuse_inputs_in(self.out, (file for item in inputs for file in (item.photo, item.keypoints)))
        self.backend.prepare(self, inputs)
        with FolderLock(self.out) as lock, contextlib.closing(Journal(self.out)) as journal, repeats_counted():
            if lock.after_a_kill:
                remove_unfinished(self.out)
            document = {"bodyfit": bodyfit.__version__, **as_document(self.config)}
            write_json(self.out / "config.json", document)
            try:
                return _Run(self, journal, inputs).go()
            except OSError as error:
                reason = error.strerror or error
                raise WriteError(f"{self.out}: cannot be written: {reason}. The same command goes on later.") from error


class _Run:
    """A run at work: what is open and counted while it lasts."""

    def __init__(self, settings: FolderRun, journal: Journal, inputs: Sequence[FitInput]):
        self.settings, self.journal, self.inputs = settings, journal, inputs
        self.out, self.identity = settings.out, settings.identity
        self.began, self.fitted, self.reused = time.perf_counter(), 0, 0
        self.changed = self.damaged = 0
        self.old_files: dict[str, set[str]] = {}
        self.bar = tqdm(total=len(inputs), unit="photo", desc="fitting", disable=None)
        self.said_at = self.began

    def go(self) -> dict[str, Any]:
        whole = False
        try:
            with self.settings.backend.running(self.settings) as finished:
                for outcome in finished(self._parts()):
                    self._take(outcome)
            whole = True
        finally:
            self.bar.close()
            self._say_what_was_done()
            try:
                summary = self._write_summary(whole)
            except (WriteError, OSError):
                if whole:
                    raise  # else what stopped the run is what the user should read
        self._remove_stray_shards()
        return summary

    def _say_what_was_done(self) -> None:
        if self.reused:
            photos = counted(len(self.inputs), "photo", "photos")
            log.info("done already and left as before: %d of %s", self.reused, photos)
        if self.changed:
            photos = counted(self.changed, "photo", "photos")
            log.warning("fitted anew: %s with results of other settings or of files that have changed since", photos)
        if self.damaged:
            photos = counted(self.damaged, "photo", "photos")
            log.warning("fitted anew: %s whose results were removed or cut off", photos)

    # ---- what is to be done -----------------------------------------------------------------------------------------

    def _parts(self) -> Iterator[Part]:
        """The parts that something is missing of, with what is missing."""
        size = INPUTS_PER_PERSON_OF_A_BATCH * self.settings.config.batch
        for number, inputs in enumerate(split(self.inputs, size)):
            keys = [self._key(item) for item in inputs]
            missing = [(item, key) for item, key in zip(inputs, keys, strict=True) if not self._is_done(item, key)]
            self.reused += len(inputs) - len(missing)
            self.bar.update(len(inputs) - len(missing))
            if missing:
                self._announce(missing)
                yield self._part(number, inputs, keys, [item for item, _ in missing])

    def _part(self, number: int, inputs: tuple[FitInput, ...], keys: list[str | None], missing: list[FitInput]) -> Part:
        """With all of its inputs where this very part was begun before, so that its batches are the same again; where
        the others were done by another part, they are left out."""
        identity = short_hash(keys, self.settings.config.batch)
        names = {item.name for item in missing}
        others = {self.journal.entries[item.name].part for item in inputs if item.name not in names}
        if others <= {identity}:
            return Part(number, inputs, identity, frozenset(names) if others else None)
        keys = [key for key, item in zip(keys, inputs, strict=True) if item.name in names]
        return Part(number, tuple(missing), short_hash(keys, self.settings.config.batch))

    def _key(self, item: FitInput) -> str | None:
        try:
            return input_key(item, self.identity)
        except (OSError, ValueError):
            return None

    def _is_done(self, item: FitInput, key: str | None) -> bool:
        entry = self.journal.entries.get(item.name)
        if key is None or entry is None or entry.key != key:
            return False
        try:  # a journal may come from anybody
            rows = self.journal.rows(item.name)
            files = [confined(self.out, row[kind]) for row in rows for kind in FILES if kind in row]
            sound = all(row["image"] == item.name and row["status"] in STATUSES for row in rows)
            return sound and all(is_complete(split_row(file)[0]) for file in files)
        except (BodyfitError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def _announce(self, missing: list[tuple[FitInput, str | None]]) -> None:
        """Before anything is replaced: neither the summary nor the journal may speak of files that will change."""
        (self.out / "summary.json").unlink(missing_ok=True)
        known = [item.name for item, _ in missing if item.name in self.journal.entries]
        old = [(self.journal.entries[item.name].key, key) for item, key in missing if item.name in known]
        self.changed += sum(before not in (None, now) for before, now in old)
        self.damaged += sum(before is not None and before == now for before, now in old)
        for name in known:
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # of a damaged journal
                self.old_files[name] = _files_of(self.journal.rows(name))
        self.journal.redo(known)

    # ---- what was done ----------------------------------------------------------------------------------------------

    def _take(self, outcome: PartOutcome) -> None:
        for one in outcome.said:
            one.say()
        self.journal.append(record for record in outcome.records)
        for record in outcome.records:
            self._remove_old_files(record)
        self.fitted += outcome.fitted
        self.bar.update(len(outcome.records))
        seconds = time.perf_counter() - self.began
        self.bar.set_postfix_str(f"{self.fitted / seconds:.3g} people/s{self.settings.backend.status()}")
        if self.bar.disable and time.perf_counter() - self.said_at > LOGGED_EVERY:
            self.said_at = time.perf_counter()
            self._log_progress(seconds)

    def _log_progress(self, seconds: float) -> None:
        done = len(self.journal.entries)
        left = max(len(self.inputs) - done, 0) * seconds / max(done - self.reused, 1)
        rate = f"{self.fitted / seconds:.3g} people/s{self.settings.backend.status()}"
        log.info("%d of %d photos, %s, %.0f minutes left", done, len(self.inputs), rate, left / 60)

    def _remove_old_files(self, record: Record) -> None:
        """Files of a photo's earlier results that its new ones have not replaced: people who are gone, meshes that are
        no longer wanted."""
        for file in self.old_files.pop(record["name"], set()) - _files_of(record["rows"]):
            with contextlib.suppress(BodyfitError):  # a name that leads elsewhere
                if "#" not in file:
                    remove_file(self.out, file)

    def _remove_stray_shards(self) -> None:
        """Shards that no row names any more: their people were fitted anew."""
        shards = self.out / "shards"
        if not shards.is_dir() or not (self.fitted or self.changed or self.damaged):
            return
        named = {str(split_row(row["result"])[0]) for _, rows in self.journal for row in rows if "result" in row}
        for file in shards.glob("*.safetensors"):
            if f"shards/{file.name}" not in named:
                file.unlink(missing_ok=True)

    def _write_summary(self, whole: bool) -> dict[str, Any]:
        fitter = self.settings.fitter
        header = {"body_model": fitter.body.name, "prior": fitter.prior.name, "complete": whole}
        header |= {"known_shape": fitter.config.shape.said or None}
        header |= {"seconds": time.perf_counter() - self.began, "fitted_now": self.fitted}
        rows = (row for item in self.inputs for row in self.journal.rows(item.name))
        return SummaryWriter(self.out).write(header, rows)


def _files_of(rows: list[dict[str, Any]]) -> set[str]:
    return {row[kind] for row in rows for kind in FILES if isinstance(row.get(kind), str)}
