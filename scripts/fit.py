"""`bodyfit fit`: photos and keypoints in, SMPL-X bodies out."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.data.photo.camera import parse_focal, read_camera
from bodyfit.fitting.run.config_files import read_config
from bodyfit.fitting.run.folder_run import FolderRun, OutputOptions, gather_inputs
from bodyfit.fitting.solve.fitter import FitConfig, Fitter, pick_device
from bodyfit.fitting.solve.frames import CameraOptions
from bodyfit.prior.model.checkpoint import load_prior

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitCommand:
    """Fit a 3D body to every person in photos, from the 2D keypoints beside them.

    A photo X.jpg goes with X_keypoints.json (OpenPose and its relatives) beside it or in keypoints/. The same command
    again does only what is missing.
    """

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Photos, keypoint files, or folders of both (pairs side by side, or images/ and keypoints/)."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for results/, meshes/, images/, config.json and summary.json."""
    body: Path | None = None
    """SMPL, SMPL-H or SMPL-X file (.npz, .pkl), or a folder of models. Default: the open body that comes along."""
    gender: Literal["neutral", "female", "male"] = "neutral"
    """Which body of a folder, or of the open ones."""
    prior: Path | None = None
    """Pose prior: our weights, or VPoser V02_05 or vposer_v1_0 (folder or checkpoint). Default: the one shipped."""
    focal: str | None = None
    """Focal length: pixels ("1500" or "1500px"), 35 mm equivalent ("35mm") or horizontal field of view ("60deg").
    Default: the photo's EXIF, else the image diagonal; the result says which."""
    camera: Path | None = None
    """Camera file (.json or .npz) with K (3x3), or focal and center."""
    image_size: tuple[int, int] | None = None
    """Width and height, px, for keypoints without a photo. Default: the extent of the keypoints."""
    format: str | None = None
    """Keypoint format, where it should not be recognised from the file."""
    people: Literal["all", "main"] = "all"
    """Everybody, or only the largest person of each photo."""
    init: Path | None = None
    """Start from parameters: the output folder of a previous run, or an .npz of a regressor (one person)."""
    config: Path | None = None
    """JSON of settings, as written to OUT/config.json."""
    refine_focal: bool = False
    """Also refine the focal length around its guess, where perspective shows it."""
    device: str = "auto"
    """cpu, cuda, cuda:1, or auto: CUDA where there is one."""
    no_meshes: bool = False
    """Do not write meshes."""
    no_overlays: bool = False
    """Do not draw overlays."""
    mesh_format: Literal["obj", "ply", "glb"] = "obj"
    """Format of the meshes."""
    frame: Literal["opencv", "opengl", "blender"] = "opencv"
    """Axes of the meshes: opencv (y down, z forward), opengl (y up, z back), blender (z up)."""
    window: int = 256
    """Photos that are read, fitted and written at a time."""
    json: bool = False
    """Print the summary as one JSON document on stdout, and nothing else."""

    def run(self) -> int:
        """Fit; 0 when every person with enough keypoints was fitted, 1 when some were not, 2 when nothing could be."""
        if not self.inputs:
            raise BodyfitError("name at least one photo, keypoint file or folder: bodyfit fit PHOTOS -o OUT")
        self._check_camera()
        inputs = gather_inputs(self.inputs, lambda path: find_inputs(path, exclude=[self.out]))
        for item in inputs:
            if item.keypoints is None:
                log.warning("%s: no keypoint file beside it or in keypoints/, left out", item.photo)
            elif item.photo is None:
                log.warning("%s: no photo with it; fitted all the same, drawn on a blank page", item.keypoints)
        config = read_config(self.config) if self.config else FitConfig()
        if self.refine_focal:
            config = replace(config, refine_focal=True)
        fitter = Fitter(
            load_body_model(self.body, gender=self.gender),
            load_prior(self.prior),
            config,
            device=pick_device(self.device),
        )
        camera = CameraOptions(self.focal, self.camera, self.image_size, self.format)
        output = OutputOptions(
            meshes=not self.no_meshes,
            mesh_format=self.mesh_format,
            frame=self.frame,
            overlays=not self.no_overlays,
            people=self.people,
            window=self.window,
        )
        settings = {"fit": asdict(config), "camera": asdict(camera), "output": asdict(output), "init": self.init}
        summary = FolderRun(self.out, fitter, camera, output, settings, init=self.init).run(inputs)
        if self.json:
            print(json.dumps(json.loads((self.out / "summary.json").read_text())))
        return self._conclude(summary, inputs)

    def _check_camera(self) -> None:
        """A mistake in what is said about the camera would fail every photo: say it once, before the work."""
        if self.focal is not None and self.camera is not None:
            raise BodyfitError(f"{self.camera}: a camera file and a focal length were given. Give one of them.")
        if self.focal is not None:
            parse_focal(self.focal, (1000, 1000))
        if self.camera is not None:
            read_camera(self.camera)

    def _conclude(self, summary: dict, inputs: list) -> int:
        counts, people = summary["counts"], summary["people"]
        if not people and all(item.keypoints is None for item in inputs):
            raise BodyfitError(
                f"{self.inputs[0]}: {len(inputs)} photos, but no keypoint file for any of them. "
                "Expected X_keypoints.json beside X.jpg or in keypoints/; run a detector such as OpenPose first."
            )
        fitted = counts["converged"] + counts["max_iterations"]
        log.info(
            "%d people fitted (%d not to convergence), %d failed, in %.1f s; see %s",
            fitted,
            counts["max_iterations"],
            counts["failed"],
            summary["seconds"],
            self.out / "summary.json",
        )
        return 0 if counts["failed"] == 0 else 1
