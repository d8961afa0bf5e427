"""Refuses output folders whose files would come to lie among the inputs, or over them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.inputs import PARTS_OF_A_FOLDER

_WRITTEN = ("images", "meshes", "results")


def refuse_input_folder(out: Path, inputs: Iterable[Path]) -> None:
    """Raise BodyfitError where results would come to lie in a folder that is searched for inputs, such as `photos` and
    photos/images of `bodyfit fit photos`: the next run would take overlays for photos."""
    for folder in inputs:
        if folder.is_dir() and out.resolve() in {
            folder.resolve(),
            *((folder / n).resolve() for n in PARTS_OF_A_FOLDER),
        }:
            raise BodyfitError(
                f"{out}: the inputs are there; among results the next run would not find them. "
                f"Choose another output folder, such as {folder / 'fitted'}."
            )


def refuse_inputs_in(out: Path, files: Iterable[Path | None]) -> None:
    """Raise BodyfitError where an input lies in a folder that results go to: photos/images/a.jpg with -o photos.

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
