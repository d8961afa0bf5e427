"""Spheres of the bodies that ship with bodyfit, from files beside them: fitting them takes half a second."""

from __future__ import annotations

from dataclasses import fields
from importlib import resources
from pathlib import Path

import numpy as np

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.volume import Spheres, fit_spheres

KID = "_kid"
"""What files of bodies with the kid axis are called besides."""


def spheres_of(body: BodyModel) -> Spheres:
    """A body's spheres: those of its file, where it is a shipped body, else fitted to it (`volume.fit_spheres`)."""
    known = _spheres_file(body)
    if known is not None:
        with resources.as_file(known) as path, np.load(path, allow_pickle=False) as file:
            if str(file["fingerprint"]) == body.fingerprint:
                arrays = {f.name: file[f.name].astype(np.float64) for f in fields(Spheres)}
                return Spheres(**arrays | {"error_m": tuple(arrays["error_m"].tolist())})
    return fit_spheres(body)


def save_spheres(body: BodyModel, path: Path) -> None:
    """Write the file that `spheres_of` reads, in single precision."""
    found = fit_spheres(body)
    arrays = {f.name: np.asarray(getattr(found, f.name), np.float32) for f in fields(Spheres)}
    np.savez_compressed(path, fingerprint=np.array(body.fingerprint), **arrays)


def _spheres_file(body: BodyModel):
    name = f"smplx_open_{body.gender}{KID if body.has_kid_axis else ''}.spheres.npz"
    file = resources.files("bodyfit.data") / "assets" / "body" / name
    return file if file.is_file() else None
