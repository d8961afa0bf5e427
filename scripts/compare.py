"""`bodyfit compare`: how much the results of several runs for the same people differ."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean, median

import torch
import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.store import StoredResult
from bodyfit.fitting.benchmark.accuracy import aligned, mean_distance_mm, rigidly_aligned
from bodyfit.scripts.result_bodies import ResultBodies, results_in

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompareCommand:
    """Compare the results of two or more runs: of the same photos, or of synchronised cameras.

    Results are matched when their photos have the same name or, where no names match, end in the same number
    (cam1.0042 and cam2.0042); several people in a photo by their number. Distances are means over all vertices, in
    mm: `rigid` after removing rotation and translation, `scaled` also after removing scale.
    """

    outs: tyro.conf.Positional[tuple[Path, ...]]
    """Output folders of `bodyfit fit`, two or more."""
    body: Path | None = None
    """Body model that the results were fitted with. Default: the open body."""
    json: bool = False
    """Print one JSON document on stdout, and nothing else."""

    def run(self) -> int:
        """Compare all pairs of runs and print their differences."""
        if len(self.outs) < 2:
            raise BodyfitError("name at least two output folders: bodyfit compare OUT1 OUT2")
        bodies = ResultBodies(self.body)
        runs = [_by_name(out) for out in self.outs]
        unreadable: dict[str, str] = {}
        pairs = [self._pair(a, b, runs, bodies, unreadable) for a, b in combinations(range(len(runs)), 2)]
        distances = [(d["rigid"], d["scaled"]) for pair in pairs for d in pair["people"]]
        rigid, scaled = zip(*distances, strict=True)
        document = {
            "people_compared": len(distances),
            "rigid_mm": mean(rigid),
            "rigid_mm_median": median(rigid),
            "scaled_mm": mean(scaled),
            "unreadable": unreadable,
            "pairs": pairs,
        }
        print(json.dumps(document) if self.json else _as_text(document))
        return 1 if unreadable else 0

    def _pair(
        self, a: int, b: int, runs: list[dict[str, StoredResult]], bodies: ResultBodies, unreadable: dict[str, str]
    ) -> dict:
        first, second = _matching(runs[a], runs[b])
        people = []
        for name in sorted(first.keys() & second.keys()):
            loaded = [_loaded(run[name], unreadable) for run in (first, second)]
            results = [one for one in loaded if one is not None and one.status not in ("failed", "implausible")]
            if len(results) < 2:
                continue
            meshes = [
                torch.from_numpy(bodies.vertices(result, run[name].path))[None]
                for result, run in zip(results, (first, second), strict=True)
            ]
            if meshes[0].shape != meshes[1].shape:
                raise BodyfitError(
                    f"{first[name].path} and {second[name].path}: bodies of different meshes cannot be compared."
                )
            people.append(
                {
                    "name": name,
                    "rigid": float(mean_distance_mm(rigidly_aligned(*meshes), meshes[1])),
                    "scaled": float(mean_distance_mm(aligned(*meshes), meshes[1])),
                }
            )
        if not people:
            raise BodyfitError(
                f"{self.outs[a]} and {self.outs[b]}: no fitted person in both. Expected photos of the same names, or "
                "names that end in the same numbers."
            )
        return {"runs": [str(self.outs[a]), str(self.outs[b])], "people": people}


def _loaded(stored: StoredResult, unreadable: dict[str, str]) -> FitResult | None:
    """The result, or None where its file cannot be read: the others are compared all the same."""
    try:
        return stored.load()
    except BodyfitError as error:
        if str(stored.path) not in unreadable:
            log.error("left out: %s", error)
        unreadable[str(stored.path)] = str(error)
        return None


def _by_name(out: Path) -> dict[str, StoredResult]:
    """photo/person -> result."""
    return {stored.name: stored for stored in results_in(out)}


def _matching(
    first: dict[str, StoredResult], second: dict[str, StoredResult]
) -> tuple[dict[str, StoredResult], dict[str, StoredResult]]:
    """Both runs by name if any names match, else by the numbers at the end of the photo names."""
    if first.keys() & second.keys():
        return first, second
    return _by_number(first), _by_number(second)


def _by_number(run: dict[str, StoredResult]) -> dict[str, StoredResult]:
    found = {}
    for name, file in run.items():
        photo, _, person = name.rpartition("/")
        if number := re.search(r"(\d+)(_keypoints)?$", photo):
            found[f"{int(number[1])}/{person}"] = file
    return found


def _as_text(document: dict) -> str:
    lines = []
    for pair in document["pairs"]:
        rigid = mean(person["rigid"] for person in pair["people"])
        lines.append(f"{len(pair['people']):6} people  {rigid:8.1f} mm  {pair['runs'][0]}  {pair['runs'][1]}")
    means = f"{document['rigid_mm']:.1f} mm in the mean, {document['rigid_mm_median']:.1f} in the median"
    lines += ["", f"vertices differ by {means}; after removing scale, by {document['scaled_mm']:.1f}"]
    return "\n".join(lines)
