"""`bodyfit convert`: results of a run in the formats of other programs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from tqdm import tqdm

from bodyfit.data.body_model import load_body_model, pose_body
from bodyfit.data.errors import BodyfitError
from bodyfit.data.meshes import save_mesh
from bodyfit.data.result import FitResult
from bodyfit.data.rigged import save_rigged_glb

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConvertCommand:
    """Write results in another format, beside each other in a new folder.

    pkl has SMPLify-X's keys (body_pose as 63 axis-angle numbers); json holds all that .npz does; obj, ply and glb are
    meshes. With --rigged, glb is a mesh bound to its skeleton, for Blender and game engines.
    """

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Output folders of `bodyfit fit`, or single .npz or .json results."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the converted files, in the same subfolders."""
    to: Literal["pkl", "json", "npz", "obj", "ply", "glb"]
    """Format to write."""
    frame: Literal["opencv", "opengl", "blender"] = "opencv"
    """Axes of meshes: opencv (y down, z forward), opengl (y up, z back), blender (z up). Parameters stay in the camera
    frame that their file describes."""
    rigged: bool = False
    """With --to glb: keep the skeleton. The file holds the unposed body, its 55 joints turned into the pose, and four
    weights a vertex."""
    body: Path | None = None
    """Body model of the meshes, the one that the results were fitted with. Default: the open body."""

    def run(self) -> int:
        """Convert everything; stops at the first result that cannot be read."""
        if not self.inputs:
            raise BodyfitError("name at least one output folder or result: bodyfit convert OUT -o NEW --to pkl")
        if self.rigged and self.to != "glb":
            raise BodyfitError(f"--rigged writes .glb files: say --to glb, not --to {self.to}.")
        files = [(f, base) for path in self.inputs for f, base in _results_in(path)]
        bodies: dict[str, object] = {}
        for file, base in tqdm(files, unit="file", disable=None):
            result = FitResult.load(file)
            target = self.out / file.relative_to(base).with_suffix(f".{self.to}")
            if self.to in ("pkl", "json", "npz"):
                result.save(target)
                continue
            gender = result.body_gender
            if gender not in bodies:
                bodies[gender] = load_body_model(self.body, gender=gender)
            body = bodies[gender]
            if body.name != result.body_model:
                raise BodyfitError(
                    f"{file}: fitted with the body '{result.body_model}', but the body at hand is '{body.name}'. "
                    "Shape numbers mean nothing to another body: name the right one with --body."
                )
            if self.rigged:
                save_rigged_glb(target, body, result.parameters(), frame=self.frame)
                continue
            parameters = {name: torch.from_numpy(value) for name, value in result.parameters().items()}
            vertices = pose_body(body, **parameters).vertices[0].numpy()
            save_mesh(target, vertices, body.faces, frame=self.frame)
        log.info("%d results written to %s", len(files), self.out)
        return 0


def _results_in(path: Path) -> list[tuple[Path, Path]]:
    """(file, folder it is named relative to) of each result."""
    if path.is_file():
        return [(path, path.parent)]
    results = path / "results"
    found = sorted(results.rglob("*.npz")) if results.is_dir() else []
    if not found:
        raise BodyfitError(f"{path}: no results in it. Expected the output folder of `bodyfit fit`.")
    return [(file, results) for file in found]
