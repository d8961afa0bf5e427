"""`bodyfit measure`: stature, inseam, arm span, girths, volume and mass of the bodies of a run."""

from __future__ import annotations

import json
import logging
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from bodyfit.data.body.measures import SCALE_NOTE, measure_body
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import write_atomically
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.data.results.record import UNKNOWN_SIZE
from bodyfit.data.results.store import StoredResult
from bodyfit.data.results.tables import MEASURE_COLUMNS, measure_table
from bodyfit.data.words import counted
from bodyfit.scripts.result_bodies import ResultBodies, results_in

log = logging.getLogger(__name__)
Person = dict[str, Any]

_HEADS = {"stature": 100, "inseam": 100, "arm span": 100, "head": 100, "chest": 100, "waist": 100, "hip": 100}
_HEADS |= {"volume": 1000, "mass": 1}
"""Columns for people, in the order of `MEASURE_COLUMNS`, and what makes centimetres, litres and kilograms of them."""


@dataclass(frozen=True)
class MeasureCommand:
    """Measure the bodies of a run: stature, inseam, arm span, girths of head, chest, waist and hip, volume, mass.

    Each person's shape is measured standing with the arms out, whatever the pose in the photo; once per person of a
    clip. Absolute size is a guess
    where only one photo is known: see the note under the table, and docs/measures.md for every definition.
    """

    out: tyro.conf.Positional[Path]
    """Output folder of `bodyfit fit`, or one result (.npz, .json)."""
    body: Path | None = None
    """Body model that the results were fitted with. Default: the open body."""
    json: bool = False
    """Print one JSON document on stdout, and nothing else: metres, cubic metres, kilograms."""
    csv: Path | None = None
    """Write a table to this file instead: a row per person, metres, cubic metres, kilograms."""

    def run(self) -> int:
        """Print, or write the table. 1 where somebody's result cannot be read or measured."""
        if self.json and self.csv is not None:
            raise BodyfitError("--json prints and --csv writes: give one of them.")
        people = measured_people(self.out, self.body)
        wrong = [person for person in people if person["status"] == "not measured"]
        if len(wrong) == len(people):
            raise BodyfitError(wrong[0]["reason"])
        if self.csv is not None:
            write_atomically(self.csv, lambda path: path.write_text(measure_table(people), encoding="utf-8"))
            print(self.csv)
        else:
            print(json.dumps({"note": SCALE_NOTE, "people": people}) if self.json else "\n".join(_as_text(people)))
        for person in wrong:
            log.warning("%s", person["reason"])
        return 1 if wrong else 0


def measured_people(out: Path, body: Path | None) -> list[Person]:
    """The row of each person of a run. Raises BodyfitError where there are no results."""
    bodies = ResultBodies(body)
    if not ClipIndex.exists(out):
        return [_measured(stored, bodies) for stored in results_in(out)]
    people: dict[str, Person] = {}  # whose shapes are the same in all frames
    for stored in results_in(out):
        if "mass_kg" not in people.get(stored.person, {}):
            people[stored.person] = _measured(stored, bodies) | {"image": ""}
    return list(people.values())


def _measured(stored: StoredResult, bodies: ResultBodies) -> Person:
    """The person's row; without numbers, and with the reason, where there is nothing to measure."""
    row: Person = {"image": stored.image, "person": stored.person}
    try:
        result = stored.load()
        row |= {name: getattr(result, name) for name in ("status", "focal_source", "size_source", "reason")}
        if result.status == "failed":
            return row
        found = measure_body(bodies.of(result, stored.path), result.betas)
    except BodyfitError as error:
        return row | {"status": "not measured", "reason": str(error)}
    return row | {column: getattr(found, name) for column, name in MEASURE_COLUMNS.items()}


def _as_text(people: list[Person]) -> Iterator[str]:
    """For people: centimetres, litres, kilograms."""
    names = ["/".join(filter(None, (person["image"], person["person"]))) for person in people]
    width = max(map(len, names))
    yield " " * width + "".join(f"{head:>10}" for head in _HEADS)
    yield " " * width + "".join(f"{unit:>10}" for unit in ["cm"] * 7 + ["litres", "kg"])
    for name, person in zip(names, people, strict=True):
        if "mass_kg" not in person:
            yield f"{name:<{width}}  {person['status']}: {person['reason']}"
            continue
        scaled = zip(MEASURE_COLUMNS, _HEADS.values(), strict=True)
        numbers = "".join(f"{scale * person[column]:10.1f}" for column, scale in scaled)
        yield f"{name:<{width}}{numbers}" + ("  (implausible fit)" if person["status"] == "implausible" else "")
    guessed = sum("diagonal" in person.get("focal_source", "") for person in people)
    yield ""
    everybody = counted(len(people), "person", "people")
    known = Counter(
        source
        for person in people
        if (source := person.get("size_source")) and not source.startswith(UNKNOWN_SIZE) and "mass_kg" in person
    )
    yield from (f"Absolute size, {count} of {everybody}: {source}." for source, count in known.items())
    if known.total() < len(people):
        yield from textwrap.wrap(SCALE_NOTE, 100)
    if guessed:
        yield f"Focal length guessed from the image diagonal: {guessed} of {everybody}."
