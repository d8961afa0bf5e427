"""`bodyfit fit`: photos and keypoints in, SMPL-X bodies out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.inputs import FitInput, find_inputs, find_inputs_with
from bodyfit.data.lazy import LazyModule
from bodyfit.data.photo.video import is_video
from bodyfit.data.words import counted
from bodyfit.fitting.clips.sources import is_clip
from bodyfit.fitting.run.cluster import OnCluster
from bodyfit.fitting.run.helpers import HelperPool
from bodyfit.fitting.run.how_many import chosen_processes, may_have_gpu, usable_cores
from bodyfit.fitting.run.lock import FolderLock
from bodyfit.fitting.run.memory import no_garbage_among_what_stays, share_memory_among_threads
from bodyfit.fitting.run.overwriting import refuse_input_folder
from bodyfit.fitting.run.parts import gather_inputs
from bodyfit.fitting.run.processes import InProcesses
from bodyfit.fitting.run.read_ahead import ReadAhead
from bodyfit.scripts.fit_clips import check_no_clip, fit_clip, fit_clips, several_clips
from bodyfit.scripts.fit_options import FitOptions

if TYPE_CHECKING:
    from bodyfit.fitting.run import config_files
else:  # it imports torch: `--help`, and helper processes, need not wait for it
    config_files = LazyModule("bodyfit.fitting.run.config_files")

log = logging.getLogger(__name__)

FEW = 48
"""Inputs up to which starting helper processes costs more than they save."""


class FitCommand(FitOptions):
    """Fit a 3D body to every person in photos, or in a video.

    A photo X.jpg goes with X_keypoints.json (OpenPose and its relatives) beside it or in keypoints/; where there is no
    such file, keypoints are found in the photo itself. The same command again does only what is missing. People of a
    video are followed from frame to frame, and each is fitted over time with one shape (docs/clips.md).
    """

    def run(self) -> int:
        """Fit; 0 when every person with enough keypoints was fitted, 1 when some were not, 2 when nothing could be."""
        if not self.inputs:
            raise BodyfitError("name at least one photo, keypoint file or folder: bodyfit fit PHOTOS -o OUT")
        refuse_input_folder(self.out, [*self.inputs, *([self.clip.keypoints] if self.clip.keypoints else [])])
        if self.work.batch < 1 or (self.work.workers != "auto" and self.work.workers < 1):
            raise BodyfitError("--batch and --workers must be at least 1.")
        if self.output.posterior and self.solve.uncertainty == "off":
            raise BodyfitError("--posterior writes what --uncertainty off leaves out. Leave out one of them.")
        FolderLock(self.out).check()  # before anything is loaded
        share_memory_among_threads()  # before PyTorch starts some
        if clips := several_clips(self.inputs, self.clip_options()):
            return fit_clips(self, clips)
        if self.clip.cameras is not None or is_clip(self.inputs, self.clip_options()):
            return fit_clip(self)
        check_no_clip(self)
        inputs = self._inputs()
        workers, loading = self._solving_processes(inputs), ExitStack()
        loading.enter_context(no_garbage_among_what_stays())
        with loading, self._backend(inputs, workers) as backend:
            from bodyfit.fitting.run.folder_run import FolderRun
            from bodyfit.fitting.solve.loading import load_fitter

            config = self.checked_config()
            device = "cpu" if self.work.cluster or workers > 1 else config.device.replace("cuda:all", "cuda:0")
            fitter = load_fitter(config, device)
            if config.same_person:
                fitter, config = self._of_one_person(inputs, fitter, config)
            loading.close()
            summary = FolderRun(self.out, fitter, config, backend).run(inputs)
        return self.say(summary)

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
        if self.work.workers != "auto":
            return self.work.workers
        detected = any(item.keypoints is None for item in inputs)  # by one detector, which has threads of its own
        drawn = self.output.meshes or self.output.overlays  # helper processes draw beside one that solves
        if self.work.cluster or self.shape.same_person or detected or drawn or may_have_gpu(self.work.device):
            return 1
        return chosen_processes(len(inputs), self.work.batch, usable_cores())

    @contextmanager
    def _backend(self, inputs: Sequence[FitInput], workers: int) -> Iterator[Any]:
        """Where the work is done. Helper processes start here, and begin to read while this one loads PyTorch."""
        cores = usable_cores()
        drawn, one_process = self.output.meshes or self.output.overlays, not self.work.cluster and workers == 1
        helpers = ahead = None
        if one_process and self.work.device != "cuda:all" and len(inputs) > FEW:
            from bodyfit.fitting.run.writing import prepare_overlays

            helpers = HelperPool(
                cores if drawn else max(1, cores // 6), prepare_overlays if self.output.overlays else None
            )
            ahead = ReadAhead(helpers.executor, inputs, self.read_options(), self.work.batch)
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

    def _started_workers(self, count: int) -> OnCluster | InProcesses | None:
        """Workers that import PyTorch while this process does, or will be copies of it; None where there are none, or
        nobody knows how many."""
        if self.work.cluster:
            cluster = OnCluster(self.work.cluster)
            cluster.start(self.work.device)
            return cluster
        if count > 1 and self.work.device != "cuda:all":
            device = "cpu" if self.work.device == "auto" else self.work.device
            workers = InProcesses([device] * count, max(1, usable_cores() // count))
            workers.start()
            return workers
        return None

    def _on_all_gpus(self, cores: int) -> InProcesses | None:
        """With `--device cuda:all`, a worker for each GPU."""
        if self.work.device != "cuda:all":
            return None
        import torch

        count = torch.cuda.device_count()
        if count == 0:
            raise BodyfitError(f"device 'cuda:all': PyTorch {torch.__version__} sees no CUDA device here.")
        return InProcesses([f"cuda:{n}" for n in range(count)], helpers=max(1, cores // count - 1))

    def _inputs(self) -> list[FitInput]:
        """Everything that there are keypoints for, or may be. Raises BodyfitError where there is nothing like that."""
        found = gather_inputs(self.inputs, self._find) if self.clip.keypoints is None else self._find_with_keypoints()
        alone = [str(item.photo) for item in found if item.keypoints is None]
        detector = None
        if alone:
            from bodyfit.data.detect.photos import shared_detector  # imports torch

            detector = shared_detector(self.reading.detector)
        if detector is not None:
            photos = counted(len(alone), "photo", "photos")
            log.info("keypoints of %s without a keypoint file: found by %s", photos, detector.name)
        inputs = [item for item in found if item.keypoints is not None or detector is not None]
        if not inputs:
            raise BodyfitError(
                f"{self.inputs[0]}: no keypoint file for any of {counted(len(found), 'photo', 'photos')}. "
                "Expected X_keypoints.json beside X.jpg or in keypoints/; leave out --detector none to find them."
            )
        if detector is None:
            where = f"in {self.clip.keypoints}" if self.clip.keypoints else "beside it or in keypoints/"
            _say_once(alone, f"no keypoint file {where}, left out")
        if self.reading.image_size is not None:
            sized = [str(item.photo) for item in inputs if item.photo is not None]
            _say_once(sized, "--image-size is for keypoints without a photo; the size of the photo itself counts")
        blank = [str(item.keypoints) for item in inputs if item.photo is None and item.problem is None]
        _say_once(blank, "no photo with it; fitted all the same" + ", drawn on a blank page" * self.output.overlays)
        return inputs

    def _find_with_keypoints(self) -> list[FitInput]:
        """Photos with what `--keypoints` has for them; keypoints of other photos are left out, and that is said."""
        found = find_inputs_with(self.inputs, self.clip_options().keypoints, exclude=[self.out])
        others = [item for item in found if item.photo is None and item.problem is None]
        names = [f"{item.keypoints} ({item.image})" if item.image else str(item.keypoints) for item in others]
        _say_once(names, "keypoints of none of these photos, left out")
        return [item for item in found if item.photo is not None or item.problem is not None]

    def _find(self, path: Path) -> list[FitInput]:
        """Photos and keypoint files of a path; videos among them are left out, and that is said."""
        videos = sorted(map(str, filter(is_video, path.iterdir()))) if path.is_dir() else []
        _say_once(videos, f"a video, left out; `bodyfit fit {videos[0]} -o OUT` fits it" if videos else "")
        return find_inputs(path, exclude=[self.out])


def _say_once(names: list[str], what: str) -> None:
    if names:
        log.warning("%s%s: %s", names[0], f" and {len(names) - 1} more" if len(names) > 1 else "", what)
