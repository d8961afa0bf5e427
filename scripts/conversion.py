"""Writes the files of `bodyfit convert`."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from tqdm import tqdm

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import confined, write_atomically
from bodyfit.data.keypoints.image_names import natural_key
from bodyfit.data.results import exports
from bodyfit.data.results.bvh_export import bvh
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.meshes import COORDINATE_FRAMES, save_mesh
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.rigged import save_rigged_glb
from bodyfit.data.results.store import StoredResult
from bodyfit.data.results.tables import joint_table, parameter_table
from bodyfit.data.words import counted
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.scripts.result_bodies import ResultBodies, results_in

log = logging.getLogger(__name__)

Found = list[tuple[StoredResult, FitResult]]
"""Where each result is, and the result."""


class Options(Protocol):
    """What `ConvertCommand` asks for, as its help says."""

    inputs: tuple[Path, ...]
    out: Path
    to: str
    frame: str | None
    world: bool
    rigged: bool
    latent: bool
    prior: Path | None
    fps: float | None
    body: Path | None


class Conversion:
    """One run of the command."""

    def __init__(self, command: Options):
        self.command, self.out, self.to = command, command.out, command.to

    def run(self) -> int:
        """Convert everything; 1 where some results could not be read, BodyfitError where none could."""
        files = [stored for path in self.command.inputs for stored in results_in(path)]
        files.sort(key=lambda stored: natural_key(f"{stored.folder}/{stored.name}"))
        found: Found = []
        failed: list[str] = []
        for stored in tqdm(files, unit="file", disable=None):
            try:
                found.append((stored, stored.load()))
            except ResultError as error:
                failed.append(str(error))
        for reason in failed if found else failed[1:]:  # where there is nothing to convert, the first is the error
            log.warning("%s", reason)
        if not found:
            raise BodyfitError(failed[0])
        together: dict[str, Callable[[Found], int]] = {
            "csv": self._tables,
            "easymocap": self._images,
            "amass": self._people,
            "bvh": self._people,
        }
        written = together[self.to](found) if self.to in together else self._each(found)
        unread = f", {len(failed)} could not be read" if failed else ""
        results, files_written = counted(len(found), "result", "results"), counted(written, "file", "files")
        log.info("%s written to %s in %s%s", results, self.out, files_written, unread)
        return 1 if failed else 0

    # ---- a file for each result ----------------------------------------------------------------------------------

    def _each(self, found: Found) -> int:
        bodies = ResultBodies(self.command.body)
        prior = load_prior(self.command.prior) if self.command.latent else None
        for stored, result in found:
            file, suffix = stored.path, ".npz" if self.to == "smpl" else f".{self.to}"
            target = confined(self.out, f"{stored.name}{suffix}")
            if self.to == "pkl" and prior is not None:
                pose = torch.from_numpy(result.body_pose).float()[None]
                content = pickle.dumps(result.smplify_x(prior.encode(pose).mean[0].detach().numpy()), protocol=2)
                write_atomically(target, lambda path, content=content: path.write_bytes(content))
            elif self.to in ("pkl", "json", "npz"):
                result.save(target)
            elif self.to == "smpl":
                _save_arrays(target, exports.smpl(bodies.of(result, file), result, *self._placed(result)))
            elif self.command.rigged:
                frame = self.command.frame or "opencv"
                save_rigged_glb(target, bodies.of(result, file), result.parameters(), frame=frame)
            else:
                rotation, shift = self._placed(result)
                vertices = bodies.vertices(result, file) @ rotation.T + shift
                save_mesh(target, vertices, bodies.of(result, file).faces)
        return len(found)

    def _placed(self, result: FitResult) -> tuple[np.ndarray, np.ndarray]:
        """Rotation and shift from the camera frame to that of the file."""
        axes = COORDINATE_FRAMES[self.command.frame or ("opengl" if self.to == "bvh" else "opencv")]
        if not self.command.world:
            return axes, np.zeros(3)
        rotation, shift = exports.camera_to_world(result)
        turn = (
            axes if self.command.frame else np.eye(3)
        )  # a world has axes of its own; --frame turns them as it does the camera's
        return turn @ rotation, turn @ shift

    # ---- files for several results -------------------------------------------------------------------------------

    def _tables(self, found: Found) -> int:
        rows = [(stored.image or ".", result) for stored, result in found]
        for name, text in (("joints.csv", joint_table(rows)), ("parameters.csv", parameter_table(rows))):
            write_atomically(
                self.out / name, lambda path, text=text: path.write_text(text, encoding="utf-8", newline="")
            )
        return 2

    def _images(self, found: Found) -> int:
        bodies, images = ResultBodies(self.command.body), {}
        for stored, result in found:
            images.setdefault(Path(stored.image), []).append((stored.path, result))
        for image, people in images.items():
            listed = [
                person
                for file, result in people
                for person in exports.easymocap(bodies.of(result, file), [result], *self._placed(result))
            ]
            text = json.dumps(listed, indent=1)
            target = self.out / image.parent / f"{image.name or 'people'}.json"
            write_atomically(target, lambda path, text=text: path.write_text(text))
        return len(images)

    def _people(self, found: Found) -> int:
        """Frames of one folder of photos are in natural order; a person's number has to mean the same one in all."""
        bodies, people = ResultBodies(self.command.body), {}
        for stored, result in found:
            people.setdefault((Path(stored.image).parent, result.person_id), []).append((stored, result))
        for (folder, number), frames in people.items():
            results = [result for _, result in frames]
            first = next((n for n, result in enumerate(results) if result.kid_axis), 0)  # its body has all shapes
            body, places = bodies.of(results[first], frames[first][0].path), [self._placed(r) for r in results]
            if {result.body_model for result in results} != {results[0].body_model}:
                raise BodyfitError(
                    f"{frames[0][0].path}: person {number} was fitted with several bodies. Convert them apart."
                )
            if self.to == "amass":
                arrays = exports.amass(body, results, places, self.command.fps or 30.0)
                arrays["images"] = np.array([Path(stored.image).name for stored, _ in frames])
                _save_arrays(self.out / folder / f"{number}.npz", arrays)
            else:
                text = bvh(body, results, places, self.command.fps or 30.0)
                write_atomically(self.out / folder / f"{number}.bvh", lambda path, text=text: path.write_text(text))
        return len(people)


def _save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)

    write_atomically(path, write)
