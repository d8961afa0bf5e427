"""The options of `bodyfit fit`, and the settings that they mean."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.data.lazy import LazyModule
from bodyfit.data.words import counted
from bodyfit.fitting.run.options import ClipOptions, OutputOptions
from bodyfit.fitting.run.parts import ReadOptions
from bodyfit.fitting.solve.frames import CameraOptions, check_people

if TYPE_CHECKING:
    from bodyfit.fitting.run import config_files
else:  # it imports torch: `--help`, and helper processes, need not wait for it
    config_files = LazyModule("bodyfit.fitting.run.config_files")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BodyOptions:
    """Which body and prior are fitted, and where fits start."""

    body: Path | None = None
    """SMPL, SMPL-H or SMPL-X file (.npz, .pkl), or a folder of models. Default: the open body that comes along."""
    gender: Literal["neutral", "female", "male"] = "neutral"
    """Which body of a folder, or of the open ones."""
    num_betas: int = 10
    """Shape components to fit, at most those of the body: 10 to 300 in official files."""
    prior: Path | None = None
    """Pose prior: our weights, or VPoser V02_05 or vposer_v1_0 (folder or checkpoint). Default: the one shipped. A
    start.safetensors of `bodyfit prior train-start` beside it is used, too."""
    init: Path | None = None
    """Start from parameters: the output folder of a previous run or of SMPLify-X, or an .npz or .pkl with a row for
    each person of the one photo (SMPLify-X, 4D-Humans, Multi-HMR, SMPLer-X, ROMP; layouts: docs/keypoints.md). Of
    videos and several cameras: the output folder of an earlier run on the same frames."""


@dataclass(frozen=True)
class ShapeOptions:
    """What is known of the people who are fitted."""

    age: str = "auto"
    """adult, child, auto (by proportions: the result says which, and by what margin), or the age in years: a
    child by growth charts, from 45 years on an adult who has lost stature. Bodies other than the open ones know
    children where smplx_kid_template.npy lies beside them, and no old; else everybody is an adult."""
    height: float | None = None
    """Known stature of everybody who is fitted, in metres (1.80). Bodies reach it, and their distance follows."""
    betas: Path | None = None
    """Known shape of everybody who is fitted, held: .npz, .npy or .json with `betas`, or a result of a previous run."""
    same_person: bool = False
    """All photos show one person: one shape for all of them, a pose and a place for each. Of several people in a photo,
    the largest is fitted."""


@dataclass(frozen=True)
class SolveOptions:
    """What the fit takes care of besides keypoints and prior."""

    collisions: Literal["self", "people", "none"] = "self"
    """self: of photos, limbs do not pass through the body or each other (docs/contact.md); clips and several cameras do
    not have this. people: nor do people of one photo, of a clip or of several cameras pass through each other. none:
    nothing keeps them from it."""
    ground: bool = False
    """Feet that stand, stand: people of one photo on a common floor, where two or more stand or --gravity is given; in
    videos and several cameras, feet that rest do not slide. Results say which feet touch (docs/contact.md)."""
    gravity: tuple[float, float, float] | None = None
    """Which way things fall, for --ground: in the camera's frame (x right, y down, z forward), so that 0 1 0 is a level
    camera; of several cameras, in their world. Default: by how people stand."""
    refine_focal: bool = False
    """Also refine the focal length around its guess, where perspective shows it."""
    uncertainty: Literal["off", "joints", "landmarks"] = "joints"
    """How sure the places of joints are, or of all 144 landmarks, as covariances in the results of photos, frames and
    tracks; and which limbs of photos may be flipped in depth (docs/uncertainty.md). off: nothing of it."""


@dataclass(frozen=True)
class WorkOptions:
    """Where the work is done."""

    device: str = "auto"
    """cpu, cuda, cuda:1, cuda:all (a process for each GPU), or auto: CUDA where there is one."""
    batch: int = 256
    """People that are solved together."""
    workers: int | Literal["auto"] = "auto"
    """Processes that solve, each with its share of the CPU cores. auto: one per core on a CPU, for runs without
    meshes and overlays, as many as have a batch to solve and there is memory for; else one. Results do not depend on it
    beyond rounding, and a run may be continued with another number. Of several videos, so many are fitted at a time
    (auto: one); a single one has no use for it."""
    cluster: str | None = None
    """Work on a Ray cluster: "auto" for the one that this machine belongs to, or ray://HOST:10001. Inputs and OUT must
    lie on a file system that all of its machines see. Needs `pip install bodyfit[cluster]`."""


@dataclass(frozen=True)
class FitOptions:
    """Options as they are given. What runs with them is `fit.FitCommand` and, of clips, `fit_clips`."""

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Photos, keypoint files, or folders of both (pairs side by side, or images/ and keypoints/); or a video. Several
    videos, or a folder of videos without photos: each is fitted into OUT/<its name>."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for results/, meshes/, images/, config.json and summary.json; of a video, tracks/ and clip.json, too."""
    config: Path | None = None
    """Take all settings from a JSON file, such as the OUT/config.json of another run; options on the command line come
    before what it says."""
    json: bool = False
    """Print the summary as one JSON document on stdout, and nothing else."""
    reading: tyro.conf.OmitArgPrefixes[CameraOptions] = field(default_factory=CameraOptions)
    shape: tyro.conf.OmitArgPrefixes[ShapeOptions] = field(default_factory=ShapeOptions)
    clip: tyro.conf.OmitArgPrefixes[ClipOptions] = field(default_factory=ClipOptions)
    solve: tyro.conf.OmitArgPrefixes[SolveOptions] = field(default_factory=SolveOptions)
    output: tyro.conf.OmitArgPrefixes[OutputOptions] = field(default_factory=OutputOptions)
    model: tyro.conf.OmitArgPrefixes[BodyOptions] = field(default_factory=BodyOptions)
    work: tyro.conf.OmitArgPrefixes[WorkOptions] = field(default_factory=WorkOptions)

    @classmethod
    def with_config_of(cls, arguments: Sequence[str]) -> Self:
        """The defaults of the options: from the file that `--config` names in the arguments, else the usual ones."""
        required = {"inputs": tyro.MISSING, "out": tyro.MISSING}
        words = [word for argument in arguments for word in argument.split("=", 1)]
        if "--config" not in words[:-1]:
            return cls(**required)
        path = Path(words[words.index("--config") + 1])
        run = config_files.read_config(path)
        camera = run.camera
        if "--focal" in words or "--camera" in words:  # they exclude each other, and the command line comes first
            camera = replace(camera, focal=None, camera=None)
        fit, collisions = run.fit, "none" if math.isinf(run.fit.energy.collision_sigma_m) else "self"
        return cls(
            **required,
            config=path,
            reading=camera,
            shape=ShapeOptions(fit.age.kind, fit.shape.height_m, None, run.same_person),
            clip=run.clip,
            solve=SolveOptions(
                "people" if fit.people_apart else collisions,
                fit.ground.on,
                fit.ground.gravity,
                fit.refine_focal,
                fit.uncertainty,
            ),
            output=run.output,
            model=BodyOptions(**{f.name: getattr(run, f.name) for f in fields(BodyOptions)}),
            work=WorkOptions(run.device, run.batch),
        )

    def run_config(self) -> config_files.RunConfig:
        """All settings in one, as OUT/config.json holds them; what has no option comes from `--config`."""
        from bodyfit.fitting.solve.config import FitConfig, on_ground

        fit = config_files.read_config(self.config).fit if self.config else FitConfig()
        shape = replace(fit.shape, height_m=self.shape.height)
        if self.shape.betas is not None:
            from bodyfit.fitting.run.known_betas import read_betas

            shape = replace(read_betas(self.shape.betas), height_m=self.shape.height)
        ground, gravity = self.solve.ground, self.solve.gravity
        if not ground and gravity == fit.ground.gravity:  # --no-ground
            gravity = None
        fit = replace(
            fit,
            people_apart=self.solve.collisions == "people",
            uncertainty=self.solve.uncertainty,
            refine_focal=self.solve.refine_focal,
            shape=shape,
            age=replace(fit.age, kind=self.shape.age),
            energy=replace(fit.energy, collision_sigma_m=self._collision_sigma_m(fit.energy.collision_sigma_m)),
            ground=replace(fit.ground, on=ground),
        )
        return config_files.RunConfig(
            fit=on_ground(fit, ground, gravity),
            camera=self.reading,
            output=self.output,
            clip=self.clip,
            **{f.name: getattr(self.model, f.name) for f in fields(BodyOptions)},
            device=self.work.device,
            batch=self.work.batch,
            same_person=self.shape.same_person,
        ).with_absolute_paths()

    def _collision_sigma_m(self, given: float) -> float:
        """That of the energy: the given or the usual one, infinite without collisions."""
        from bodyfit.fitting.energy.config import EnergyConfig

        if self.solve.collisions == "none":
            return math.inf
        return EnergyConfig.collision_sigma_m if math.isinf(given) else given

    def clip_options(self) -> ClipOptions:
        """What is fitted of a clip, with whole paths."""
        paths = {name: getattr(self.clip, name) for name in ("keypoints", "cameras")}
        return replace(self.clip, **{name: path and path.expanduser().absolute() for name, path in paths.items()})

    def read_options(self) -> ReadOptions:
        """How inputs are read: what `run_config` says of it, without loading PyTorch."""
        camera = self.reading
        if camera.camera is not None:
            camera = replace(camera, camera=camera.camera.expanduser().absolute())
        return ReadOptions(camera, self.output, self.out)

    def checked_config(self) -> config_files.RunConfig:
        """`run_config`. Raises BodyfitError for what cannot be."""
        from bodyfit.fitting.run.ranges import check_ranges

        config = self.run_config()
        check_people(config.output.people)
        check_ranges(config_files.as_document(config), "options")
        _check_camera(config.camera)
        return config

    def say(self, summary: dict[str, Any]) -> int:
        """Say what came of it; the exit status."""
        if self.json:
            print(json.dumps(json.loads((self.out / "summary.json").read_text())))
        counts = summary["counts"]
        log.info(
            "%s fitted (%d not to convergence), %s%d implausible, %d failed, in %.1f s; see %s",
            _said_of_fitted(counts["converged"] + counts["max_iterations"], summary.get("clip") or {}),
            counts["max_iterations"],
            f"{counts['interpolated']} interpolated, " if counts["interpolated"] else "",
            counts["implausible"],
            counts["failed"],
            summary["seconds"],
            self.out / "summary.json",
        )
        return 0 if counts["failed"] == counts["implausible"] == 0 else 1


def _said_of_fitted(count: int, clip: dict[str, Any]) -> str:
    """How many people, or, of a clip, how many of their results: a person has one at each moment in each camera."""
    if "people" not in clip:
        return counted(count, "person", "people")
    people = counted(sum(one["fitted"] > 0 for one in clip["people"]), "person", "people")
    if "cameras" in clip:
        cameras = counted(len(clip["cameras"]), "camera", "cameras")
        where = f"at {counted(clip['moments'], 'moment', 'moments')} before {cameras}"
    else:
        where = f"in {counted(clip['frames'], 'frame', 'frames')}"
    return f"{people} {where}: {counted(count, 'result', 'results')}"


def _check_camera(camera: CameraOptions) -> None:
    """A mistake in what is said about the camera would fail every photo: say it once, before the work."""
    from bodyfit.data.keypoints.formats import BODY_FORMATS, find_body_format
    from bodyfit.data.photo.camera import parse_focal
    from bodyfit.data.photo.camera_files import camera_fields
    from bodyfit.data.photo.intrinsics import read_camera

    if camera.format is not None and find_body_format(camera.format) is None:
        raise BodyfitError(f"--format {camera.format}: expected one of {', '.join(BODY_FORMATS)}.")
    if camera.focal is not None and camera.camera is not None:
        raise BodyfitError(f"{camera.camera}: a camera file and a focal length were given. Give one of them.")
    if camera.focal is not None:
        parse_focal(camera.focal, (1000, 1000))
    if camera.camera is not None and (camera.camera_name is not None or len(camera_fields(camera.camera)) == 1):
        read_camera(camera.camera, camera.camera_name)
