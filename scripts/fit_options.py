"""The options of `bodyfit fit`, and the settings that they mean."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.data.lazy import LazyModule
from bodyfit.fitting.run.options import ClipOptions, OutputOptions
from bodyfit.fitting.run.parts import ReadOptions
from bodyfit.fitting.solve.frames import CameraOptions, check_people

if TYPE_CHECKING:
    from bodyfit.fitting.run import config_files
else:  # it imports torch: `--help`, and helper processes, need not wait for it
    config_files = LazyModule("bodyfit.fitting.run.config_files")

log = logging.getLogger(__name__)

_OUTPUT, _CAMERA, _CLIP = (tuple(f.name for f in fields(c)) for c in (OutputOptions, CameraOptions, ClipOptions))
_BODY = ("body", "gender", "num_betas", "prior", "init", "device")
"""Options that are fields of the configuration's parts, under the same names."""


@dataclass(frozen=True)
class FitOptions:
    """Options as they are given. What runs with them is `fit.FitCommand` and, of clips, `fit_clips`."""

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Photos, keypoint files, or folders of both (pairs side by side, or images/ and keypoints/); or a video. Several
    videos, or a folder of videos without photos: each is fitted into OUT/<its name>."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for results/, meshes/, images/, config.json and summary.json; of a video, tracks/ and clip.json, too."""
    body: Path | None = None
    """SMPL, SMPL-H or SMPL-X file (.npz, .pkl), or a folder of models. Default: the open body that comes along."""
    gender: Literal["neutral", "female", "male"] = "neutral"
    """Which body of a folder, or of the open ones."""
    num_betas: int = 10
    """Shape components to fit, at most those of the body: 10 to 300 in official files."""
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
    prior: Path | None = None
    """Pose prior: our weights, or VPoser V02_05 or vposer_v1_0 (folder or checkpoint). Default: the one shipped. A
    start.safetensors of `bodyfit prior train-start` beside it is used, too."""
    focal: str | None = None
    """Focal length: pixels ("1500" or "1500px"), 35 mm equivalent ("35mm") or horizontal field of view ("60deg").
    Default: the photo's EXIF, else the image diagonal; the result says which."""
    camera: Path | None = None
    """Camera file: K (3x3) or focal and center as .json, .npz or .npy; OpenCV's YAML, XML; ROS, Kalibr, EasyMocap
    (intri.yml), Pose2Sim and anipose (.toml), COLMAP (cameras.txt), nerfstudio. Distortion and fx != fy are used."""
    camera_name: str | None = None
    """Which camera of a camera file with several. Default: the one that the photo's folder or name says."""
    image_size: tuple[int, int] | None = None
    """Width and height, px, for keypoints without a photo. Default: their extent. A photo has its own."""
    format: str | None = None
    """Keypoint format, where it should not be recognised from the file (docs/keypoints.md names them)."""
    detector: str = "auto"
    """What finds keypoints in photos without a keypoint file: auto or builtin (included, works offline), none,
    rtmlib (pip install rtmlib onnxruntime; downloads models), or the path of a whole-body ONNX file (extra onnx)."""
    keypoints_size: tuple[int, int] | None = None
    """Width and height, px, of the picture that the keypoints were made on, where it was a scaled copy of the photo and
    the file does not say so."""
    keypoints: Path | None = None
    """Keypoints that lie elsewhere: a folder or a file. Of photos: X_keypoints.json, ... for X.jpg, or files that name
    the photos. Of a video: clip_000000000000_keypoints.json, ..., or one file with all frames; by default what
    lies beside clip.mp4 (keypoints/, clip_json/, ../pose/clip_json/), else the detector."""
    clip: bool = False
    """A folder's pictures (or keypoint files) follow each other in time, by the numbers in their names. Needs --fps."""
    fps: float | None = None
    """Frames per second that are fitted: of a video with more, the nearest ones. Default: all of its frames. Of a
    folder with --clip: how many pictures per second there are."""
    video_fps: float | None = None
    """Frames per second with which the video was taken, where the file says another rate (slow motion)."""
    start: float | None = None
    """Seconds from the beginning of the video at which to start."""
    end: float | None = None
    """Seconds from the beginning of the video at which to end."""
    moving_camera: bool = False
    """The video's camera moves: each frame's position and orientation of the body is free. Default: it stands still."""
    cameras: Path | None = None
    """Calibration of several cameras that saw the same moments; their views are fitted together, in the world. Pose2Sim
    or anipose (.toml), EasyMocap (folder of intri.yml and extri.yml), COLMAP (folder of cameras.txt and images.txt),
    OpenCV YAML, or JSON with K, dist, R and t. Views lie in folders, or have names, like the cameras."""
    camera_units: float | None = None
    """Metres that one unit of the calibration is: 0.001 for millimetres. Default: by the size of people."""
    frame_meshes: bool = False
    """Also write a mesh per person and frame of a video; its tracks/ hold animated bodies in any case."""
    people: str = "all"
    """all: everybody. main: the largest person of each photo. 3: the three largest. 002 (three digits): the person of
    this number."""
    min_confidence: float | None = None
    """Count points with less confidence as unseen. Default: 0.1 for what a person needs at least. For detectors whose
    scores are all low (Detectron2): 0.02 or so, and the best of the file count as 1."""
    min_size_px: Annotated[float, tyro.conf.arg(name="min-size")] = 0.0
    """Leave out people whose body keypoints span fewer pixels."""
    checks: bool = True
    """Fail people whose keypoints cannot be right: outside of the photo, left and right exchanged, at impossible
    distances. --no-checks fits them, too."""
    init: Path | None = None
    """Start from parameters: the output folder of a previous run or of SMPLify-X, or an .npz or .pkl with a row for
    each person of the one photo (SMPLify-X, 4D-Humans, Multi-HMR, SMPLer-X, ROMP; layouts: docs/keypoints.md). Of
    videos and several cameras: the output folder of an earlier run on the same frames."""
    config: Path | None = None
    """Take all settings from a JSON file, such as the OUT/config.json of another run; options on the command line come
    before what it says."""
    refine_focal: bool = False
    """Also refine the focal length around its guess, where perspective shows it."""
    collisions: Literal["self", "people", "none"] = "self"
    """Of photos. self: limbs do not pass through the body or each other (docs/contact.md). people: nor do people of one
    photo pass through each other. none: nothing keeps them from it."""
    ground: bool = False
    """Feet that stand, stand: people of one photo on a common floor, where two or more stand or --gravity is given; in
    videos and several cameras, feet that rest do not slide. Results say which feet touch (docs/contact.md)."""
    gravity: tuple[float, float, float] | None = None
    """Which way things fall, for --ground: in the camera's frame (x right, y down, z forward), so that 0 1 0 is a level
    camera; of several cameras, in their world. Default: by how people stand."""
    device: str = "auto"
    """cpu, cuda, cuda:1, cuda:all (a process for each GPU), or auto: CUDA where there is one."""
    meshes: bool = True
    """Write one mesh per person; of a video only with --frame-meshes."""
    overlays: bool = True
    """Draw everybody over each photo, or frame."""
    mesh_format: Literal["obj", "ply", "glb"] = "obj"
    """Format of the meshes."""
    frame: Literal["opencv", "opengl", "blender"] = "opencv"
    """Axes of the meshes: opencv (y down, z forward), opengl (y up, z back), blender (z up)."""
    results: Literal["folders", "shards"] = "folders"
    """Parameters as one .npz per person, or shards: hundreds of people per .safetensors file, for large runs.
    `bodyfit.open_results(OUT)` and all commands read both."""
    uncertainty: Literal["off", "joints", "landmarks"] = "joints"
    """How sure the places of joints are, or of all 144 landmarks, as covariances in the results of photos, frames and
    tracks; and which limbs of photos may be flipped in depth (docs/uncertainty.md). off: nothing of it."""
    posterior: bool = False
    """Of photos, also write the posterior of everybody's unknowns, from which `FitResult.sample` draws: 15 kB more per
    person."""
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
    json: bool = False
    """Print the summary as one JSON document on stdout, and nothing else."""

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
        output = {f: getattr(run.output, f) for f in _OUTPUT}
        cameras = {f: getattr(camera, f) for f in _CAMERA}
        others = {f: getattr(run, f) for f in _BODY}
        others |= {f: getattr(run.clip, f) for f in _CLIP}
        own = {"config": path, "refine_focal": run.fit.refine_focal, "batch": run.batch}
        own |= {"height": run.fit.shape.height_m, "same_person": run.same_person, "age": run.fit.age.kind}
        own |= {"uncertainty": run.fit.uncertainty, "ground": run.fit.ground.on, "gravity": run.fit.ground.gravity}
        own["collisions"] = "none" if math.isinf(run.fit.energy.collision_sigma_m) else "self"
        own["collisions"] = "people" if run.fit.people_apart else own["collisions"]
        return cls(**required, **output, **cameras, **others, **own)

    def run_config(self) -> config_files.RunConfig:
        """All settings in one, as OUT/config.json holds them; what has no option comes from `--config`."""
        from bodyfit.fitting.solve.config import FitConfig

        fit = config_files.read_config(self.config).fit if self.config else FitConfig()
        shape = replace(fit.shape, height_m=self.height)
        if self.betas is not None:
            from bodyfit.fitting.run.known_betas import read_betas

            shape = replace(read_betas(self.betas), height_m=self.height)
        energy = replace(fit.energy, collision_sigma_m=self._collision_sigma_m(fit.energy.collision_sigma_m))
        from bodyfit.fitting.solve.config import on_ground

        fit = replace(fit, people_apart=self.collisions == "people", uncertainty=self.uncertainty)
        gravity = self.gravity if self.ground or self.gravity != fit.ground.gravity else None  # --no-ground
        fit = on_ground(replace(fit, ground=replace(fit.ground, on=self.ground)), self.ground, gravity)
        return config_files.RunConfig(
            fit=replace(
                fit, refine_focal=self.refine_focal, shape=shape, age=replace(fit.age, kind=self.age), energy=energy
            ),
            camera=CameraOptions(**{f: getattr(self, f) for f in _CAMERA}),
            output=OutputOptions(**{f: getattr(self, f) for f in _OUTPUT}),
            clip=self.clip_options(),
            **{f: getattr(self, f) for f in _BODY},
            batch=self.batch,
            same_person=self.same_person,
        ).with_absolute_paths()

    def _collision_sigma_m(self, given: float) -> float:
        """That of the energy: the given or the usual one, infinite without collisions."""
        from bodyfit.fitting.energy.config import EnergyConfig

        if self.collisions == "none":
            return math.inf
        return EnergyConfig.collision_sigma_m if math.isinf(given) else given

    def clip_options(self) -> ClipOptions:
        """What is fitted of a clip, with whole paths."""
        given = ClipOptions(**{f: getattr(self, f) for f in _CLIP})
        paths = {name: getattr(given, name) for name in ("keypoints", "cameras")}
        return replace(given, **{name: path and path.expanduser().absolute() for name, path in paths.items()})

    def read_options(self) -> ReadOptions:
        """How inputs are read: what `run_config` says of it, without loading PyTorch."""
        camera = CameraOptions(**{f: getattr(self, f) for f in _CAMERA})
        if camera.camera is not None:
            camera = replace(camera, camera=camera.camera.expanduser().absolute())
        return ReadOptions(camera, OutputOptions(**{f: getattr(self, f) for f in _OUTPUT}), self.out)

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
            "%d people fitted (%d not to convergence), %s%d implausible, %d failed, in %.1f s; see %s",
            counts["converged"] + counts["max_iterations"],
            counts["max_iterations"],
            f"{counts['interpolated']} interpolated, " if counts["interpolated"] else "",
            counts["implausible"],
            counts["failed"],
            summary["seconds"],
            self.out / "summary.json",
        )
        return 0 if counts["failed"] == counts["implausible"] == 0 else 1


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
