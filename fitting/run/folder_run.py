"""From a folder of photos to a folder of bodies: in windows of photos, resumable, one failure stopping nothing.

OUT/results/<image>/<nnn>.npz    parameters (data/results/result.py)
OUT/results/<image>/people.json  rows of the summary; written last, so that it says the image is done
OUT/meshes/<image>/<nnn>.obj     meshes in the camera frame
OUT/images/<image>.png           everybody drawn over the photo
OUT/config.json                  the whole configuration
OUT/summary.json                 a row a person, and a row for each photo or file that could not be read
OUT/errors.log                   tracebacks of errors that nobody foresaw, where there were any
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from tqdm import tqdm

import bodyfit
from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import pose_body
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import WriteError, confined, read_json, write_atomically
from bodyfit.data.keypoints.inputs import FitInput
from bodyfit.data.photo.photo import PhotoError, read_photo
from bodyfit.data.results.meshes import save_mesh
from bodyfit.data.results.result import FitResult, Status
from bodyfit.fitting.draw.page_size import blank_page, shrunk, shrunk_camera
from bodyfit.fitting.draw.render import render_overlay
from bodyfit.fitting.run.config_files import RunConfig, as_document
from bodyfit.fitting.run.error_log import ErrorLog
from bodyfit.fitting.run.previous import PreviousResults
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame, read_frame

log = logging.getLogger(__name__)

ROW_FIELDS = ("status", "reason", "cost", "runner_up_cost", "ambiguous", "error_px", "error_share")
ROW_FIELDS += ("error_share_body", "error_share_hands", "error_share_face", "iterations", "seconds")
ROW_FIELDS += ("focal_px", "focal_source", "keypoint_source")


class FolderRun:
    """One run over many photos, into one output folder."""

    def __init__(
        self,
        out: Path | str,
        fitter: Fitter,
        config: RunConfig,
    ):
        self.out, self.fitter, self.config = Path(out), fitter, config
        self.camera, self.output = config.camera, config.output
        self.starts = PreviousResults(config.init, fitter.prior) if config.init else None
        self.identity = run_identity(fitter, config)
        self.errors = ErrorLog(self.out)
        write_json(self.out / "config.json", {"bodyfit": bodyfit.__version__, **as_document(config)})

    def run(self, inputs: Sequence[FitInput]) -> dict[str, Any]:
        """Fit all inputs that are not done yet; returns the summary that OUT/summary.json holds."""
        began = time.perf_counter()
        rows: list[dict[str, Any]] = []
        fitted = reused = 0
        bar = tqdm(total=len(inputs), unit="photo", desc="fitting", disable=None)
        for window in _windows(inputs, self.config.batch):
            done = {item.name: self._finished_rows(item) for item in window}
            new_rows, count = self._fit_window([item for item in window if done[item.name] is None])
            fitted += count
            for item in window:
                reused += done[item.name] is not None
                rows += done[item.name] if done[item.name] is not None else new_rows[item.name]
            self._write_summary(rows, began, fitted)
            bar.update(len(window))
        bar.close()
        if reused:
            log.info("%d of %d photos were done already and were left as they are", reused, len(inputs))
        return self._write_summary(rows, began, fitted)

    def _fit_window(self, window: list[FitInput]) -> tuple[dict[str, list[dict]], int]:
        frames: list[Frame] = []
        rows: dict[str, list[dict]] = {}
        for item in window:
            try:
                confined(self.out, item.name)
                frame = read_frame(item, self.camera, decode=not self.output.overlays)
                frame = frame.chosen(self.output.people, self.output.min_size_px)
                frames.append(frame)
            except BodyfitError as error:
                rows[item.name] = self._failed(item, str(error))
            except Exception as error:
                rows[item.name] = self._failed(item, self.errors.reason(item.name, error))
            else:
                if not frame.detections.person_ids:
                    log.warning("%s: no people in it", item.keypoints or item.photo)
        count = 0
        by_name = {item.name: item for item in window}
        for frame, people in self._fit_frames(frames):
            item = by_name[frame.name]
            if isinstance(people, str):
                rows[frame.name] = self._failed(item, people)
                continue
            count += sum(result.status in ("converged", "max_iterations") for result in people)
            rows[frame.name] = self._write_photo(item, frame, people)
        return rows, count

    def _failed(self, item: FitInput, reason: str) -> list[dict]:
        log.warning("%s", reason)
        return [_failed_row(item, reason)]

    def _fit_frames(self, frames: list[Frame]) -> Iterator[tuple[Frame, list[FitResult] | str]]:
        """Each frame with its people's results, or with why it has none.

        An error that nobody foresaw comes from one frame of the batch: then each is fitted alone.
        """
        try:
            starts = [self.starts.find(frame) for frame in frames] if self.starts else None
            results = iter(self.fitter.fit(frames, init=starts and [s for of_frame in starts for s in of_frame]))
        except Exception as error:
            if len(frames) > 1:
                log.warning("a batch of %d photos could not be fitted together; each is fitted alone", len(frames))
                for frame in frames:
                    yield from self._fit_frames([frame])
                return
            (frame,) = frames
            yield frame, str(error) if isinstance(error, BodyfitError) else self.errors.reason(frame.name, error)
            return
        for frame in frames:
            yield frame, [next(results) for _ in frame.detections.person_ids]

    def _write_photo(self, item: FitInput, frame: Frame, people: list[FitResult]) -> list[dict]:
        """Write all of a photo's files; what only this photo's name or pixels are to blame for fails it alone."""
        try:
            return self._write_people(item, frame, people)
        except PhotoError as error:
            reason = str(error)
        except WriteError as error:
            if not error.of_this_name:
                raise
            reason = str(error)
        except BodyfitError:
            raise  # nothing can be written: the run's end
        except Exception as error:
            reason = self.errors.reason(item.name, error)
        return self._failed(item, reason)

    def _write_people(self, item: FitInput, frame: Frame, people: list[FitResult]) -> list[dict]:
        rows, fitted = [], [result for result in people if result.status != "failed"]
        bodies = self._bodies(fitted)
        overlay = self._overlay(frame, fitted, bodies)  # first: it finds out whether the photo is whole
        vertices_of = dict(zip((result.person_id for result in fitted), bodies, strict=False))
        for result in people:
            row = {"image": item.name, "person": result.person_id, "photo": result.photo}
            row |= {name: getattr(result, name) for name in ROW_FIELDS}
            if result.status in ("failed", "implausible"):
                log.warning("%s, person %s: %s", item.name, result.person_id, result.reason)
            if result.status != "failed":
                row["result"] = f"results/{item.name}/{result.person_id}.npz"
                result.save(self.out / row["result"])
                if self.output.meshes:
                    row["mesh"] = f"meshes/{item.name}/{result.person_id}.{self.output.mesh_format}"
                    vertices, faces = vertices_of[result.person_id], self.fitter.body.faces
                    save_mesh(self.out / row["mesh"], vertices, faces, frame=self.output.frame)
            rows.append(row)
        if overlay is not None:
            picture = f"images/{item.name}.png"
            write_picture(self.out / picture, overlay)
            rows = [row | {"overlay": picture} for row in rows]
        write_json(self.out / "results" / item.name / "people.json", {"made_by": self._key(item), "people": rows})
        return rows

    def _bodies(self, fitted: list[FitResult]) -> list[np.ndarray]:
        """Everybody's vertices, if anything is made of them."""
        return result_vertices(self.fitter.body, fitted) if self.output.meshes or self.output.overlays else []

    def _overlay(self, frame: Frame, fitted: list[FitResult], bodies: list[np.ndarray]) -> np.ndarray | None:
        if not self.output.overlays or not fitted:
            return None
        if frame.photo is not None:
            image = read_photo(frame.photo).image
            image = frame.lens.undistorted_image(image) if frame.lens else image
            size, image = image.shape[1::-1], shrunk(image)
        else:
            size, image = frame.image_size, blank_page(*frame.image_size)
        cameras = [shrunk_camera(result.focal_px, tuple(result.center_px), *size) for result in fitted]
        return render_overlay(
            image,
            [(vertices, self.fitter.body.faces) for vertices in bodies],
            focal_px=[focal for focal, _ in cameras],
            center_px=[center for _, center in cameras],
        )

    # ---- what is done already -----------------------------------------------------------------------------------

    def _key(self, item: FitInput) -> dict[str, Any]:
        """What a photo's results depend on: the settings, and its files as they are now."""
        stamps = [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in (item.photo, item.keypoints) if p]
        return {"settings": self.identity, "image": item.image, "files": stamps}

    def _finished_rows(self, item: FitInput) -> list[dict] | None:
        path = self.out / "results" / item.name / "people.json"
        try:
            saved = read_json(path)
            rows = saved["people"]
            kinds = ("result", "mesh", "overlay")
            wanted = [confined(self.out, row[kind]) for row in rows for kind in kinds if kind in row]
            sound = all(row["image"] == item.name and row["status"] in get_args(Status) for row in rows)
            done = sound and saved["made_by"] == self._key(item) and all(file.exists() for file in wanted)
            return rows if done else None
        except (BodyfitError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _write_summary(self, rows: list[dict], began: float, fitted: int) -> dict[str, Any]:
        seconds = time.perf_counter() - began
        counts = {s: sum(r["status"] == s for r in rows) for s in get_args(Status)}
        summary = {
            "body_model": self.fitter.body.name,
            "prior": self.fitter.prior.name,
            "counts": counts,
            "seconds": seconds,
            "fitted_now": fitted,
            "people": rows,
        }
        write_json(self.out / "summary.json", summary)
        return summary


def run_identity(fitter: Fitter, config: RunConfig) -> str:
    """What all results of a run depend on, as a hash: settings, body, prior and start network, files that are named."""
    document = as_document(config)
    for name in ("batch", "device", "body", "prior"):  # of body and prior the numbers count, not where they lie
        del document[name]
    named = [path for path in (config.camera.camera, config.init) if path is not None and path.is_file()]
    files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in named]
    return hashlib.sha256(json.dumps([document, fitter.identity, files], sort_keys=True).encode()).hexdigest()[:16]


POSED_AT_ONCE = 16


@torch.no_grad()
def result_vertices(body: BodyModel, results: Sequence[FitResult]) -> list[Float[np.ndarray, "V 3"]]:
    """The meshes of people in the camera frame, metres.

    Posed in single precision and put in place in double: 0.001 mm off at most (a test holds 0.01 mm).
    """
    meshes: list[np.ndarray] = []
    for start in range(0, len(results), POSED_AT_ONCE):
        some = [result.parameters() for result in results[start : start + POSED_AT_ONCE]]
        arrays = {name: np.concatenate([one[name] for one in some]) for name in some[0]}
        transl = arrays.pop("transl")
        posed = pose_body(body, **{name: torch.from_numpy(value).float() for name, value in arrays.items()})
        meshes += list(posed.vertices.double().numpy() + transl[:, None])
    return meshes


def write_picture(path: Path, picture: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write an RGB picture, in the format of the suffix, whole or not at all. Raises WriteError."""
    # OpenCV would be no faster here, and needs system libraries that slim containers lack.
    write_atomically(path, lambda temporary: Image.fromarray(picture).save(temporary, compress_level=1))


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all; numbers that are not finite become null."""
    text = json.dumps(_plain(document), indent=1, allow_nan=False)
    write_atomically(path, lambda temporary: temporary.write_text(text))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _failed_row(item: FitInput, reason: str) -> dict[str, Any]:
    row = {"image": item.name, "person": None, "photo": str(item.photo.resolve()) if item.photo else ""}
    return row | {name: None for name in ROW_FIELDS} | {"status": "failed", "reason": reason}


def _windows(items: Sequence[FitInput], size: int) -> Iterator[Sequence[FitInput]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def gather_inputs(paths: Iterable[Path], find: Callable[[Path], list[FitInput]]) -> list[FitInput]:
    """Inputs of several paths, those without keypoints too; a name used twice is an error, since its results would
    overwrite each other."""
    inputs: dict[str, FitInput] = {}
    for path in paths:
        for item in find(path):
            if item.name in inputs:
                raise BodyfitError(
                    f"{path}: '{item.name}' was already found in another input, and its results would overwrite each "
                    "other. Fit the two into different output folders."
                )
            inputs[item.name] = item
    return list(inputs.values())
