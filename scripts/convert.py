"""`bodyfit convert`: results of a run in the formats of other programs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tqdm import tqdm

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import confined

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConvertCommand:
    """Write results in another format, into a new folder.

    pkl has SMPLify-X's keys (body_pose as 63 axis-angle numbers); json has the same content as .npz; obj, ply and glb
    are meshes. With --rigged, glb is a mesh bound to its skeleton, for Blender and game engines.
    """

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Output folders of `bodyfit fit`, or single .npz or .json results."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the converted files, in the same subfolders."""
    to: Literal["pkl", "json", "npz", "obj", "ply", "glb"]
    """Format to write."""
    frame: Literal["opencv", "opengl", "blender"] = "opencv"
    """Axes of meshes: opencv (y down, z forward), opengl (y up, z back), blender (z up). Parameters stay in the camera
    frame."""
    rigged: bool = False
    """With --to glb: keep the skeleton. The file has the unposed body, its 55 joints in the pose, and four blend
    weights per vertex."""
    body: Path | None = None
    """Body model of the meshes, the one that the results were fitted with. Default: the open body."""

    def run(self) -> int:
        """Convert everything; 1 where some results could not be, and they are named; BodyfitError where none could."""
        from bodyfit.data.results.meshes import save_mesh
        from bodyfit.data.results.result import ResultError
        from bodyfit.data.results.rigged import save_rigged_glb
        from bodyfit.scripts.result_bodies import ResultBodies, results_in

        if not self.inputs:
            raise BodyfitError("name at least one output folder or result: bodyfit convert OUT -o NEW --to pkl")
        if self.rigged and self.to != "glb":
            raise BodyfitError(f"--rigged writes .glb files: say --to glb, not --to {self.to}.")
        found = [one for path in self.inputs for one in results_in(path)]
        bodies = ResultBodies(self.body)
        failed: list[str] = []
        for stored in tqdm(found, unit="file", disable=None):
            try:
                result, file = stored.load(), stored.path
            except ResultError as error:
                failed.append(str(error))
                log.warning("%s", error)
                continue
            target = confined(self.out, f"{stored.name}.{self.to}")
            if self.to in ("pkl", "json", "npz"):
                result.save(target)
            elif self.rigged:
                save_rigged_glb(target, bodies.of(result, file), result.parameters(), frame=self.frame)
            else:
                save_mesh(target, bodies.vertices(result, file), bodies.of(result, file).faces, frame=self.frame)
        if len(failed) == len(found):
            raise BodyfitError(failed[0])
        log.info("%d results written to %s, %d could not be read", len(found) - len(failed), self.out, len(failed))
        return 1 if failed else 0
