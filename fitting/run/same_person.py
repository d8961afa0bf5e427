"""One shape for a folder of photos of one person: found before the run, kept in OUT/shape.json, then held."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import read_json
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.words import counted
from bodyfit.fitting.run.config_files import RunConfig
from bodyfit.fitting.run.identity import run_identity
from bodyfit.fitting.run.parts import ReadOptions, input_key, read_inputs, short_hash
from bodyfit.fitting.run.writing import write_json
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.known_shape import KnownShape
from bodyfit.fitting.solve.same_person import main_people, shape_of_one_person

log = logging.getLogger(__name__)

MOST = 256
"""Photos that the shape is found from, evenly among all: more would tell no more about it."""


def shape_of_inputs(inputs: Sequence[FitInput], fitter: Fitter, config: RunConfig, out: Path) -> KnownShape:
    """The one shape of the person whom all inputs show; the same inputs and settings give what OUT/shape.json holds.

    Raises:
        BodyfitError: where not one of the inputs can be fitted.
        WriteError: when the folder cannot be written to.
    """
    some = [inputs[n * len(inputs) // min(len(inputs), MOST)] for n in range(min(len(inputs), MOST))]
    settings, file = run_identity(fitter, config), out / "shape.json"
    key = short_hash(settings, [_key(item, settings) for item in some])
    known = _kept(file, key)
    if known is not None:
        log.info("%s: %s", file, known.source)
        return known
    read = read_inputs(some, ReadOptions(config.camera, config.output, out))
    frames = main_people([one.frame for one in read if one.frame is not None])
    if not frames:
        photos = counted(len(some), "photo", "photos")
        raise BodyfitError(f"none of {photos} of one person can be read; the first: {read[0].problem}")
    known = shape_of_one_person(fitter, frames)
    write_json(file, {"key": key, "body_model": fitter.body.name, "source": known.source, "betas": known.betas})
    log.info("%s, in %s", known.source, file)
    return known


def _key(item: FitInput, settings: str) -> str | None:
    try:
        return input_key(item, settings)
    except (OSError, ValueError):
        return None


def _kept(file: Path, key: str) -> KnownShape | None:
    if not file.is_file():
        return None
    try:
        found = read_json(file)
        if found["key"] != key:
            return None
        return KnownShape(None, tuple(float(b) for b in found["betas"]), str(found["source"]), str(found["body_model"]))
    except (BodyfitError, KeyError, TypeError, ValueError):
        return None  # damaged: found anew
