"""`bodyfit fit`: photos and keypoints in, SMPL-X bodies out."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.inputs import FitInput, find_inputs, find_inputs_with
from bodyfit.data.lazy import LazyModule
from bodyfit.data.photo.video import is_video
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.fitting.clips.sources import is_clip, open_source
from bodyfit.fitting.run.cluster import OnCluster
from bodyfit.fitting.run.helpers import HelperPool
from bodyfit.fitting.run.how_many import chosen_processes, may_have_gpu
from bodyfit.fitting.run.memory import no_garbage_among_what_stays, share_memory_among_threads
from bodyfit.fitting.run.options import ClipOptions, OutputOptions
from bodyfit.fitting.run.parts import ReadOptions, gather_inputs
from bodyfit.fitting.run.processes import InProcesses
from bodyfit.fitting.run.read_ahead import ReadAhead
from bodyfit.fitting.solve.frames import CameraOptions, check_people
from bodyfit.scripts.fit_clips import fit_clips, several_clips

if TYPE_CHECKING:
    from bodyfit.fitting.run import config_files
else:  # it imports torch: `--help`, and helper processes, need not wait for it
    config_files = LazyModule("bodyfit.fitting.run.config_files")

log = logging.getLogger(__name__)

FEW = 48
"""Inputs up to which starting helper processes costs more than they save."""


_OUTPUT, _CAMERA, _CLIP = (tuple(f.name for f in fields(c)) for c in (OutputOptions, CameraOptions, ClipOptions))
_BODY = ("body", "gender", "num_betas", "prior", "init", "device")
"""Options that are fields of the configuration's parts, under the same names."""


@dataclass(frozen=True)
class FitCommand:
    """Fit a 3D body to every person in photos, or in a video.

    A photo X.jpg goes with X_keypoints.json (OpenPose and its relatives) beside it or in keypoints/; where there is no
    such file, keypoints are found in the photo itself. The same command again does only what is missing. People of a
    video are followed from frame to frame, and each is fitted over time with one shape (docs/clips.md).
    """

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
    def with_config_of(cls, arguments: Sequence[str]) -> FitCommand:
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
            clip=self._clip(),
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

    def run(self) -> int:
        """Fit; 0 when every person with enough keypoints was fitted, 1 when some were not, 2 when nothing could be."""
        if not self.inputs:
            raise BodyfitError("name at least one photo, keypoint file or folder: bodyfit fit PHOTOS -o OUT")
        if any(path.is_dir() and path.resolve() == self.out.resolve() for path in self.inputs):
            raise BodyfitError(
                f"{self.out}: the inputs are there; among results the next run would not find them. "
                f"Choose another output folder, such as {self.out / 'fitted'}."
            )
        if self.batch < 1 or (self.workers != "auto" and self.workers < 1):
            raise BodyfitError("--batch and --workers must be at least 1.")
        if self.posterior and self.uncertainty == "off":
            raise BodyfitError("--posterior writes what --uncertainty off leaves out. Leave out one of them.")
        share_memory_among_threads()  # before PyTorch starts some
        if clips := several_clips(self.inputs, self._clip()):
            return fit_clips(self, clips)
        if self.cameras is not None or is_clip(self.inputs, self._clip()):
            return self._run_clip()
        self._check_no_clip()
        inputs = self._inputs()
        workers, loading = self._solving_processes(inputs), ExitStack()
        loading.enter_context(no_garbage_among_what_stays())
        with loading, self._backend(inputs, workers) as backend:
            from bodyfit.fitting.run.folder_run import FolderRun
            from bodyfit.fitting.run.ranges import check_ranges
            from bodyfit.fitting.solve.loading import load_fitter

            config = self.run_config()
            check_people(config.output.people)
            check_ranges(config_files.as_document(config), "options")
            _check_camera(config.camera)
            device = "cpu" if self.cluster or workers > 1 else config.device.replace("cuda:all", "cuda:0")
            fitter = load_fitter(config, device)
            if config.same_person:
                fitter, config = self._of_one_person(inputs, fitter, config)
            loading.close()
            summary = FolderRun(self.out, fitter, config, backend).run(inputs)
        return self._say(summary)

    def _say(self, summary: dict[str, Any]) -> int:
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

    # ---- videos -----------------------------------------------------------------------------------------------------

    def _clip(self) -> ClipOptions:
        given = ClipOptions(**{f: getattr(self, f) for f in _CLIP})
        paths = {name: getattr(given, name) for name in ("keypoints", "cameras")}
        return replace(given, **{name: path and path.expanduser().absolute() for name, path in paths.items()})

    def _run_clip(self) -> int:
        """Fit a video, a folder that is one, or the views of several cameras."""
        if self.cluster:
            raise BodyfitError("--cluster is for photos; the frames of a video are fitted together, in one process.")
        if self.workers not in ("auto", 1):
            log.info("--workers: the people of one clip share this process and its cores; several clips have their own")
        if self.results == "shards":
            raise BodyfitError("--results shards is for photos; a video has a file per frame and person.")
        if self.collisions == "people":
            raise BodyfitError("--collisions people is for photos; people of videos are fitted one by one so far.")
        if self.posterior:
            raise BodyfitError("--posterior is for photos; frames of a video have the covariances of joints alone.")
        if self.same_person:
            raise BodyfitError("--same-person is for photos; a person of a video has one shape in all frames anyway.")
        if self.refine_focal:
            log.warning("--refine-focal: focal lengths of videos stay as they are given")
        from bodyfit.data.quick_imports import import_roma

        import_roma()  # before anything else does
        from bodyfit.fitting.run.ranges import check_ranges
        from bodyfit.fitting.solve.loading import load_fitter

        source = self._opened_clip()  # mistakes are said before PyTorch is loaded
        config = self.run_config()
        config = replace(config, output=replace(config.output, meshes=self.frame_meshes))
        check_people(config.output.people)
        check_ranges(config_files.as_document(config), "options")
        _check_camera(config.camera)
        fitter = load_fitter(config, config.device.replace("cuda:all", "cuda:0"))
        if self.cameras is not None:
            from bodyfit.fitting.clips.run_views import run_views

            return self._say(run_views(source, self.out, fitter, config))
        from bodyfit.fitting.clips.run import run_video

        return self._say(run_video(source, self.out, fitter, config))

    def _opened_clip(self) -> Any:
        """The clip, or the views of several cameras. Raises BodyfitError for those that cannot be read."""
        if self.cameras is None:
            self._check_units()
            return open_source(self.inputs[0], self._clip(), exclude=[self.out])
        for name, given in (("--camera", self.camera), ("--focal", self.focal), ("--camera-name", self.camera_name)):
            if given is not None:
                raise BodyfitError(f"{name} and --cameras exclude each other: the calibration says all of the cameras.")
        from bodyfit.data.photo.rig import read_rig
        from bodyfit.fitting.clips.view_sources import open_views

        return open_views(self.inputs, read_rig(self.cameras), self._clip(), exclude=[self.out])

    def _check_units(self) -> None:
        if self.camera_units is not None:
            raise BodyfitError("--camera-units goes with --cameras, the calibration of several cameras.")

    def _check_no_clip(self) -> None:
        """Options of videos without one would do nothing."""
        self._check_units()
        given = {"--fps": self.fps, "--video-fps": self.video_fps, "--start": self.start, "--end": self.end}
        given |= {"--moving-camera": self.moving_camera or None, "--frame-meshes": self.frame_meshes or None}
        for name, value in given.items():
            if value is not None:
                raise BodyfitError(
                    f"{name} is for videos. Expected one (clip.mp4), or --clip for a folder whose pictures follow each "
                    "other in time."
                )
        if ClipIndex.exists(self.out):
            raise BodyfitError(f"{self.out}: holds the results of a clip. Choose another folder for photos.")

    def _of_one_person(self, inputs: list[FitInput], fitter: Any, config: config_files.RunConfig) -> tuple[Any, Any]:
        """The fitter and the settings with the one shape of all photos."""
        from bodyfit.fitting.run.same_person import shape_of_inputs
        from bodyfit.fitting.solve.same_person import with_shape

        if config.output.people == "all":
            config = replace(config, output=replace(config.output, people="main"))
        shape = shape_of_inputs(inputs, fitter, config, self.out)
        return with_shape(fitter, shape), replace(config, fit=replace(config.fit, shape=shape), same_person=False)

    def _solving_processes(self, inputs: Sequence[FitInput]) -> int:
        """How many processes solve, each with its share of the cores."""
        if self.workers != "auto":
            return self.workers
        detected = any(item.keypoints is None for item in inputs)  # by one detector, which has threads of its own
        drawn = self.meshes or self.overlays  # helper processes draw beside one that solves
        if self.cluster or self.same_person or detected or drawn or may_have_gpu(self.device):
            return 1
        return chosen_processes(len(inputs), self.batch, _cores())

    @contextmanager
    def _backend(self, inputs: Sequence[FitInput], workers: int) -> Iterator[Any]:
        """Where the work is done. Helper processes start here, and begin to read while this one loads PyTorch."""
        cores = _cores()
        drawn, one_process = self.meshes or self.overlays, not self.cluster and workers == 1
        helpers = ahead = None
        if one_process and self.device != "cuda:all" and len(inputs) > FEW:
            from bodyfit.fitting.run.writing import prepare_overlays

            helpers = HelperPool(cores if drawn else max(1, cores // 6), prepare_overlays if self.overlays else None)
            ahead = ReadAhead(helpers.executor, inputs, self._reading(), self.batch)
        backend = self._started_workers(workers)
        try:
            from bodyfit.data.quick_imports import import_roma

            import_roma()  # before anything else does
            from bodyfit.fitting.run.executors import InThreads

            yield backend or self._on_all_gpus(cores) or InThreads(helpers, ahead)
        finally:
            if backend is not None:
                backend.end()
            if helpers is not None:
                helpers.close()

    def _reading(self) -> ReadOptions:
        """How inputs are read: what `run_config` says of it, without loading PyTorch."""
        camera = CameraOptions(**{f: getattr(self, f) for f in _CAMERA})
        if camera.camera is not None:
            camera = replace(camera, camera=camera.camera.expanduser().absolute())
        return ReadOptions(camera, OutputOptions(**{f: getattr(self, f) for f in _OUTPUT}), self.out)

    def _started_workers(self, count: int) -> OnCluster | InProcesses | None:
        """Workers that import PyTorch while this process does, or will be copies of it; None where there are none, or
        nobody knows how many."""
        if self.cluster:
            cluster = OnCluster(self.cluster)
            cluster.start(self.device)
            return cluster
        if count > 1 and self.device != "cuda:all":
            device = "cpu" if self.device == "auto" else self.device
            workers = InProcesses([device] * count, max(1, _cores() // count))
            workers.start()
            return workers
        return None

    def _on_all_gpus(self, cores: int) -> InProcesses | None:
        """With `--device cuda:all`, a worker for each GPU."""
        if self.device != "cuda:all":
            return None
        import torch

        count = torch.cuda.device_count()
        if count == 0:
            raise BodyfitError(f"device 'cuda:all': PyTorch {torch.__version__} sees no CUDA device here.")
        return InProcesses([f"cuda:{n}" for n in range(count)], helpers=max(1, cores // count - 1))

    def _inputs(self) -> list[FitInput]:
        """Everything that there are keypoints for, or may be. Raises BodyfitError where there is nothing like that."""
        found = gather_inputs(self.inputs, self._find) if self.keypoints is None else self._find_with_keypoints()
        alone = [str(item.photo) for item in found if item.keypoints is None]
        detector = None
        if alone:
            from bodyfit.data.detect.photos import shared_detector  # imports torch

            detector = shared_detector(self.detector)
        if detector is not None:
            log.info("keypoints of %d photos without a keypoint file: found by %s", len(alone), detector.name)
        inputs = [item for item in found if item.keypoints is not None or detector is not None]
        if not inputs:
            raise BodyfitError(
                f"{self.inputs[0]}: {len(found)} photos, but no keypoint file for any of them. "
                "Expected X_keypoints.json beside X.jpg or in keypoints/; leave out --detector none to find them."
            )
        if detector is None:
            where = f"in {self.keypoints}" if self.keypoints else "beside it or in keypoints/"
            _say_once(alone, f"no keypoint file {where}, left out")
        if self.image_size is not None:
            sized = [str(item.photo) for item in inputs if item.photo is not None]
            _say_once(sized, "--image-size is for keypoints without a photo; the size of the photo itself counts")
        blank = [str(item.keypoints) for item in inputs if item.photo is None and item.problem is None]
        _say_once(blank, "no photo with it; fitted all the same" + ", drawn on a blank page" * self.overlays)
        return inputs

    def _find_with_keypoints(self) -> list[FitInput]:
        """Photos with what `--keypoints` has for them; keypoints of other photos are left out, and that is said."""
        found = find_inputs_with(self.inputs, self._clip().keypoints, exclude=[self.out])
        others = [item for item in found if item.photo is None and item.problem is None]
        names = [f"{item.keypoints} ({item.image})" if item.image else str(item.keypoints) for item in others]
        _say_once(names, "keypoints of none of these photos, left out")
        return [item for item in found if item.photo is not None or item.problem is not None]

    def _find(self, path: Path) -> list[FitInput]:
        """Photos and keypoint files of a path; videos among them are left out, and that is said."""
        videos = sorted(map(str, filter(is_video, path.iterdir()))) if path.is_dir() else []
        _say_once(videos, f"a video, left out; `bodyfit fit {videos[0]} -o OUT` fits it" if videos else "")
        return find_inputs(path, exclude=[self.out])


def _cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _say_once(names: list[str], what: str) -> None:
    if names:
        log.warning("%s%s: %s", names[0], f" and {len(names) - 1} more" if len(names) > 1 else "", what)


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
