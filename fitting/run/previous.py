"""Starts that others made: the results of a previous run or of SMPLify-X, or the .npz that a regressor wrote."""

from __future__ import annotations

import logging
from pathlib import Path

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import confined
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.record import Parameters
from bodyfit.data.results.store import StoredResult, open_results
from bodyfit.fitting.run.starts import KEYS, InitError, read_starts
from bodyfit.fitting.solve.frames import Frame
from bodyfit.prior.model.vposer import VPoser

log = logging.getLogger(__name__)


class PreviousResults:
    """Looks up starts by photo and person.

    Args:
        path: the output folder of a run (in either layout) or of SMPLify-X (results/<image>/<nnn>.pkl), or of `convert
            --to pkl` or npz (<image>/<nnn>.pkl); or one .npz or .pkl with a row for each person, in the order of the
            people of the one photo that is fitted. `starts` says which layouts.
        prior: decodes poses that are the latent of a VPoser, if it is that one.

    Raises:
        InitError: for a path that is neither.
    """

    def __init__(self, path: Path | str, prior: VPoser | None = None):
        self.path, self.prior = Path(path), prior
        self._rows: list[Parameters] | None = None
        self._saved: dict[tuple[str, str], StoredResult] = {}
        if self.path.is_file():
            self._rows = read_starts(self.path, prior)
            return
        if not self.path.is_dir():
            raise InitError(f"{self.path}: no such file or folder. Expected an .npz, a .pkl or the output of a run.")
        self.folder = self.path / "results" if (self.path / "results").is_dir() else self.path
        try:
            self._saved = {(one.image, one.person): one for one in open_results(self.path).stored}
        except BodyfitError as error:
            if not any(next(self.folder.rglob(f"*{suffix}"), None) for suffix in (".npz", ".pkl")):
                raise InitError(
                    f"{self.path}: no results (.npz, .pkl) in it. Expected the output folder of a run."
                ) from error

    def find(self, frame: Frame) -> list[Parameters | None]:
        """A start, or None, for each person of the frame."""
        people = frame.detections.person_ids
        if self._rows is not None:
            if len(self._rows) != len(people):
                raise InitError(
                    f"{self.path}: has starts for {len(self._rows)} people, but {frame.detections.source} has "
                    f"{len(people)}. Expected a row a person, in the file's order."
                )
            return list(self._rows)
        return [self._start(frame.name, person) for person in people]

    def _start(self, image: str, person: str) -> Parameters | None:
        """A start from our result, or from SMPLify-X's pickle of the same name."""
        stored = self._saved.get((image, person))
        if stored is None:
            pickled, ours = (confined(self.folder, f"{image}/{person}{suffix}") for suffix in (".pkl", ".npz"))
            if pickled.exists() and not ours.exists():
                return read_starts(pickled, self.prior)[0]
            if ours.exists():
                stored = StoredResult(image, person, self.folder, f"{image}/{person}.npz")
        if stored is None:
            log.info("%s: no result of %s, person %s, to start from; started anew", self.path, image, person)
            return None
        try:
            result = stored.load()
        except ResultError as error:
            log.warning("%s Started anew.", error)
            return None
        if result.status == "implausible":
            return None
        return {key: getattr(result, key) for key in KEYS}
