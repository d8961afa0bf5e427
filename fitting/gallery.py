"""A results folder as `bodyfit fit` writes it, opened without reading what nobody looks at yet.

OUT/summary.json                    a row a person: image, person, status, reason, cost, errors, seconds, file paths
OUT/results/<image>/<nnn>.npz       parameters, camera, landmarks
OUT/meshes/<image>/<nnn>.obj        the body in the camera frame
OUT/images/<image>.png              the photo with its people drawn over it
"""

import json
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import trimesh

from bodyfit.data.errors import BodyfitError
from bodyfit.data.result import FitResult
from bodyfit.fitting.render import Mesh

logger = logging.getLogger(__name__)

_WORST_FIRST = {"failed": 0, "max_iterations": 1, "converged": 2}

ORDERS = ("failures first", "error, high to low", "error, low to high", "photo")


@dataclass(frozen=True)
class GalleryPerson:
    """One row of summary.json. Numbers that the row lacks, or that are not finite, are None."""

    folder: Path
    image: str
    person: str
    status: str
    reason: str
    error_px: float | None
    error_share: float | None
    """Reprojection error as a share of the person's size in the photo."""
    cost: float | None
    seconds: float | None
    row: dict = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.image} · {self.person}"

    @property
    def result_path(self) -> Path | None:
        return self._existing("result", f"results/{self.image}/{self.person}.npz")

    @property
    def mesh_path(self) -> Path | None:
        return self._existing("mesh", f"meshes/{self.image}/{self.person}.obj")

    @property
    def overlay_path(self) -> Path | None:
        return self._existing("overlay", f"images/{self.image}.png")

    @property
    def photo_path(self) -> Path | None:
        return self._existing("photo", None)

    def result(self) -> FitResult | None:
        """Parameters and landmarks; None (and a line in the log) where there is no result file or it cannot be read."""
        if self.result_path is None:
            return None
        try:
            return FitResult.load(self.result_path)
        except BodyfitError as error:
            logger.warning("results: %s", error)
            return None

    def mesh(self) -> Mesh | None:
        """Vertices (metres, camera frame) and faces; None where no mesh was written or it cannot be read."""
        if self.mesh_path is None:
            return None
        try:
            mesh = trimesh.load(self.mesh_path, process=False, maintain_order=True, force="mesh")
        except Exception as error:  # trimesh raises whatever the format's parser raises
            raise BodyfitError(f"{self.mesh_path}: not a mesh that can be read ({error}). Fit it again.") from error
        return np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces, dtype=np.int64)

    def _existing(self, key: str, usual: str | None) -> Path | None:
        written = self.row.get(key) or usual
        if not written:
            return None
        path = self.folder / written  # an absolute path stays what it is
        return path if path.is_file() else None


@dataclass(frozen=True)
class Gallery:
    """All people of a results folder, in the order of summary.json, and what the run says of itself."""

    folder: Path
    people: tuple[GalleryPerson, ...]
    run: dict
    """summary.json without its rows."""

    def sorted(self, order: str = ORDERS[0]) -> tuple[GalleryPerson, ...]:
        """People by one of `ORDERS`; those without an error come first where errors run high to low."""
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
        if order == "photo":
            return self.people

        def error(person: GalleryPerson) -> float:
            value = person.error_share if person.error_share is not None else person.error_px
            return math.inf if value is None else value

        if order == "error, low to high":
            return tuple(sorted(self.people, key=error))
        if order == "error, high to low":
            return tuple(sorted(self.people, key=lambda p: -error(p)))
        return tuple(sorted(self.people, key=lambda p: (_WORST_FIRST.get(p.status, 0), -error(p))))

    def statuses(self) -> tuple[str, ...]:
        return tuple(sorted({p.status for p in self.people}, key=lambda s: (_WORST_FIRST.get(s, 3), s)))


def open_gallery(folder: Path | str) -> Gallery:
    """Reads OUT/summary.json and nothing else.

    Raises:
        BodyfitError: If the folder or its summary is missing or is not what `bodyfit fit` writes.
    """
    folder = Path(folder)
    path = folder / "summary.json"
    if not path.is_file():
        what = "has no summary.json" if folder.is_dir() else "is no folder"
        raise BodyfitError(f"{folder}: {what}. Give the folder that `bodyfit fit PHOTOS -o OUT` wrote.")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BodyfitError(f"{path}: not JSON ({error}). Run `bodyfit fit` again; it writes the file anew.") from error
    rows = summary.get("people") if isinstance(summary, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "image" in row for row in rows):
        raise BodyfitError(f"{path}: expected an object with a list `people` of rows that name their `image`.")
    run = {key: value for key, value in summary.items() if key != "people"}
    return Gallery(folder, tuple(_person(folder, row) for row in rows), run)


def _person(folder: Path, row: dict) -> GalleryPerson:
    return GalleryPerson(
        folder=folder,
        image=str(row["image"]),
        person=str(row.get("person") if row.get("person") is not None else "?"),
        status=str(row.get("status") or "unknown"),
        reason=str(row.get("reason") or ""),
        error_px=_number(row.get("error_px")),
        error_share=_number(row.get("error_share")),
        cost=_number(row.get("cost")),
        seconds=_number(row.get("seconds")),
        row=row,
    )


def _number(value) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
