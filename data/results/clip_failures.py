"""OUT/clips.json: which of several clips could not be fitted, and why; what came of the others is in their folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import read_json, write_atomically
from bodyfit.data.results.store import is_run

FILE_NAME = "clips.json"


def write_clip_failures(out: Path, reasons: Mapping[str, str]) -> None:
    """Write why clips failed, by their names; an empty reason: it did not. What the file says of clips that are not
    named stays, and there is none where no clip failed. Raises WriteError."""
    known = read_clip_failures(out) | reasons
    failed = {name: reason for name, reason in known.items() if reason}
    if failed:
        text = json.dumps({"failed": failed}, indent=1) + "\n"
        write_atomically(out / FILE_NAME, lambda temporary: temporary.write_text(text))
    else:
        (out / FILE_NAME).unlink(missing_ok=True)


def read_clip_failures(out: Path) -> dict[str, str]:
    """Why clips failed, by their names, but for those that have results of an earlier or later run."""
    try:
        failed = read_json(out / FILE_NAME)["failed"] if (out / FILE_NAME).is_file() else {}
        found = {str(name): str(reason) for name, reason in failed.items()}
    except (BodyfitError, KeyError, TypeError, AttributeError):  # somebody else's file
        return {}
    return {name: reason for name, reason in found.items() if not is_run(out / Path(name).name)}
