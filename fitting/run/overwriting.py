"""Refuses output folders whose files would come to lie among the inputs, or over them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bodyfit.data.errors import BodyfitError

_WRITTEN = ("images", "meshes", "results")


def refuse_inputs_in(out: Path, files: Iterable[Path | None]) -> None:
    """Raise BodyfitError where an input lies in a folder that results go to: photos/images/a.png with -o photos.

    The overlay of that photo would replace it, or be taken for a photo by the next run.
    """
    written = [(out / name).resolve() for name in _WRITTEN]
    folders = {os.path.dirname(os.fspath(file)): file for file in files if file is not None}
    for folder, file in folders.items():  # few folders, whatever the number of files
        here = Path(folder).resolve()
        inside = next((own for own in written if here.is_relative_to(own)), None)
        if inside is not None:
            raise BodyfitError(
                f"{file}: lies in {out / inside.name}, where results of this run would be written. "
                f"Choose another output folder, such as {out / 'fitted'}."
            )
