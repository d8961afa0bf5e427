"""Files of one photo's people: parameters, meshes, the overlay. Runs in helper processes: nothing imports PyTorch."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import WriteError, write_atomically
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.photo.lens import Lens
from bodyfit.data.photo.photo import PhotoError, read_photo
from bodyfit.data.results.distrust import weaknesses
from bodyfit.data.results.meshes import save_mesh
from bodyfit.data.results.modes import doubt, doubt_probability
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.run.error_log import ErrorLog
from bodyfit.fitting.run.options import OutputOptions
from bodyfit.fitting.run.summary_files import DOUBT_FIELDS, RESULT_FIELDS

log = logging.getLogger(__name__)

Row = dict[str, Any]
Record = dict[str, Any]
"""What the journal holds of a photo: name, key, part, rows."""


@dataclass(frozen=True)
class PhotoJob:
    """A photo that has been solved."""

    item: FitInput
    key: str | None
    part: str
    image_size: tuple[int, int]
    """(width, height), px."""
    people: list[FitResult]
    """All of them, those who failed too."""
    vertices: list[Float[np.ndarray, "V 3"]] = field(default_factory=list)
    """Of those who were fitted, if anything is made of them."""
    shard: str | None = None
    """The shard that holds the fitted people; None: a file each."""
    first_row: int = 0
    """Row of the photo's first fitted person in that shard."""
    lens: Lens | None = None
    """Distortion of the camera: bodies are drawn over the photo as an ideal lens would have taken it."""


@dataclass(frozen=True)
class PhotoWriter:
    """Writes photos into an output folder."""

    out: Path
    output: OutputOptions

    def write_all(self, jobs: Sequence[PhotoJob], faces: Int[np.ndarray, "F 3"]) -> list[Record]:
        """The records of photos, in their order, after all of their files are written."""
        return [self.write(job, faces) for job in jobs]

    def write(self, job: PhotoJob, faces: Int[np.ndarray, "F 3"]) -> Record:
        """Write all of a photo's files; what only this photo's name or pixels are to blame for fails it alone.

        Raises:
            WriteError: when the folder cannot be written to.
        """
        try:
            rows = self._write_people(job, faces)
            return {"name": job.item.name, "key": job.key, "part": job.part, "rows": rows}
        except PhotoError as error:
            reason = str(error)
        except WriteError as error:
            if not error.of_this_name:
                raise
            reason = str(error)
        except BodyfitError:
            raise  # nothing can be written: the run's end
        except Exception as error:
            reason = ErrorLog(self.out).reason(job.item.name, error)
        return failed_record(job.item, job.part, reason)

    def _write_people(self, job: PhotoJob, faces: Int[np.ndarray, "F 3"]) -> list[Row]:
        name, rows = job.item.name, []
        fitted = [result for result in job.people if result.status != "failed"]
        overlay = self._overlay(job, fitted, faces)  # first: it finds out whether the photo is whole
        bodies = dict(zip((result.person_id for result in fitted), job.vertices, strict=False))
        places = {result.person_id: n for n, result in enumerate(fitted)}
        for result in job.people:
            row = {"image": name, "person": result.person_id, "photo": result.photo}
            row |= {kind: getattr(result, kind) for kind in RESULT_FIELDS}
            row |= dict(zip(DOUBT_FIELDS, (*_weakest(result), *_doubt(result)), strict=True))
            if result.status in ("failed", "implausible"):
                log.warning("%s, person %s: %s", name, result.person_id, result.reason)
            if result.status != "failed":
                row["result"] = self._write_parameters(job, result, places[result.person_id])
                if self.output.meshes:
                    row["mesh"] = f"meshes/{name}/{result.person_id}.{self.output.mesh_format}"
                    save_mesh(self.out / row["mesh"], bodies[result.person_id], faces, frame=self.output.frame)
            rows.append(plain(row))
        if overlay is not None:
            picture = f"images/{name}.jpg"
            write_picture(self.out / picture, overlay)
            rows = [row | {"overlay": picture} for row in rows]
        return rows

    def _write_parameters(self, job: PhotoJob, result: FitResult, place: int) -> str:
        if job.shard is not None:
            return f"{job.shard}#{job.first_row + place}"
        file = f"results/{job.item.name}/{result.person_id}.npz"
        result.save(self.out / file)
        return file

    def _overlay(
        self, job: PhotoJob, fitted: list[FitResult], faces: Int[np.ndarray, "F 3"]
    ) -> UInt8[np.ndarray, "H W 3"] | None:
        if not self.output.overlays or not fitted:
            return None
        from bodyfit.fitting.draw.page_size import blank_page, shrunk, shrunk_camera
        from bodyfit.fitting.draw.render import render_overlay

        if job.item.photo is not None:
            image = read_photo(job.item.photo).image
            image = image if job.lens is None else job.lens.undistorted_image(image)
            size, image = image.shape[1::-1], shrunk(image)
        else:
            size, image = job.image_size, blank_page(*job.image_size)
        cameras = [shrunk_camera(result.focal_px, tuple(result.center_px), *size) for result in fitted]
        return render_overlay(
            image,
            [(vertices, faces) for vertices in job.vertices],
            focal_px=[focal for focal, _ in cameras],
            center_px=[center for _, center in cameras],
        )


def _doubt(result: FitResult) -> tuple[str, float | None]:
    """The most probable other pose in words, and its probability; nothing of people who are not ambiguous."""
    if not result.ambiguous or result.status == "failed":
        return "", None
    return doubt(result), doubt_probability(result)


def _weakest(result: FitResult) -> tuple[str, float | None]:
    """The least sure part of a fit in words, and its standard deviation, m; nothing of a fit that failed."""
    found = weaknesses(result) if result.status not in ("failed", "implausible") else []
    return (str(found[0]), round(found[0].deviation_m, 4)) if found else ("", None)


def prepare_overlays() -> None:
    """Import what `PhotoWriter` needs to draw. Helper processes do so while the one that solves is still starting."""
    from bodyfit.fitting.draw import page_size, render  # noqa: F401
    from bodyfit.fitting.draw.gl_renderer import preload

    preload()


def failed_record(item: FitInput, part: str, reason: str) -> Record:
    """The record of an input that could not be read or written: the next run tries it again (key None)."""
    log.warning("%s", reason)
    row = {"image": item.name, "person": None, "photo": str(item.photo.resolve()) if item.photo else ""}
    row |= dict.fromkeys(RESULT_FIELDS + DOUBT_FIELDS) | {"status": "failed", "reason": reason}
    return {"name": item.name, "key": None, "part": part, "rows": [row]}


def write_picture(path: Path, picture: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write an RGB picture as JPEG, whole or not at all. Raises WriteError.

    A photo is no sharper in PNG, which takes twelve times as long and five times the bytes.
    """
    from PIL import Image

    write_atomically(path, lambda temporary: Image.fromarray(picture).save(temporary, "JPEG", quality=92))


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all; numbers that are not finite become null."""
    text = json.dumps(plain(document), indent=1, allow_nan=False)
    write_atomically(path, lambda temporary: temporary.write_text(text))


def plain(value: Any) -> Any:
    """The same of values that JSON has."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
