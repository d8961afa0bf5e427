"""`bodyfit fit` on clips: a video, the views of several cameras, or several clips, each into a folder of its own."""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import PHOTO_SUFFIXES, result_name
from bodyfit.data.photo.video import is_video
from bodyfit.data.results.clip_failures import write_clip_failures
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.data.words import counted
from bodyfit.fitting.clips.sources import open_source
from bodyfit.fitting.run.error_log import ErrorLog
from bodyfit.fitting.run.how_many import usable_cores
from bodyfit.fitting.run.memory import share_memory_among_threads
from bodyfit.fitting.run.options import ClipOptions
from bodyfit.scripts.fit_options import FitOptions

log = logging.getLogger(__name__)


def several_clips(paths: Sequence[Path], options: ClipOptions) -> list[Path]:
    """The clips, where inputs are several videos, folders of videos without pictures, or several folders with --clip;
    empty where they are not."""
    if options.cameras is not None:
        return []
    if options.clip:
        return list(paths) if len(paths) > 1 else []
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
            videos = [file for file in files if is_video(file)]
            if not videos or any(file.suffix.lower() in PHOTO_SUFFIXES for file in files):
                return []
            found += videos
        elif is_video(path):
            found.append(path)
        else:
            return []
    return found if len(found) > 1 or any(path.is_dir() for path in paths) else []


def fit_clip(options: FitOptions) -> int:
    """Fit a video, a folder that is one, or the views of several cameras; the exit status, as of photos."""
    if options.work.cluster:
        raise BodyfitError("--cluster is for photos; the frames of a video are fitted together, in one process.")
    if options.work.workers not in ("auto", 1):
        log.info("--workers: the people of one clip share this process and its cores; several clips have their own")
    if options.output.results == "shards":
        raise BodyfitError("--results shards is for photos; a video has a file per frame and person.")
    if options.shape.same_person:
        raise BodyfitError("--same-person is for photos; a person of a video has one shape in all frames anyway.")
    if options.solve.refine_focal:
        log.warning("--refine-focal: focal lengths of videos stay as they are given")
    from bodyfit.data.quick_imports import import_roma

    import_roma()  # before anything else does
    from bodyfit.fitting.solve.loading import load_fitter

    source = _opened(options)  # mistakes are said before PyTorch is loaded
    config = options.checked_config()
    config = replace(config, output=replace(config.output, meshes=options.clip.frame_meshes))
    fitter = load_fitter(config, config.device.replace("cuda:all", "cuda:0"))
    if options.clip.cameras is not None:
        from bodyfit.fitting.clips.run_views import run_views

        return options.say(run_views(source, options.out, fitter, config))
    from bodyfit.fitting.clips.run import run_video

    return options.say(run_video(source, options.out, fitter, config))


def _opened(options: FitOptions) -> Any:
    """The clip, or the views of several cameras. Raises BodyfitError for those that cannot be read."""
    if options.clip.cameras is None:
        _check_units(options)
        return open_source(options.inputs[0], options.clip_options(), exclude=[options.out])
    for name, given in (
        ("--camera", options.reading.camera),
        ("--focal", options.reading.focal),
        ("--camera-name", options.reading.camera_name),
    ):
        if given is not None:
            raise BodyfitError(f"{name} and --cameras exclude each other: the calibration says all of the cameras.")
    from bodyfit.data.photo.rig import read_rig
    from bodyfit.fitting.clips.view_sources import open_views

    return open_views(options.inputs, read_rig(options.clip.cameras), options.clip_options(), exclude=[options.out])


def check_no_clip(options: FitOptions) -> None:
    """Options of videos without one would do nothing."""
    _check_units(options)
    clip = options.clip
    given = {"--fps": clip.fps, "--video-fps": clip.video_fps, "--start": clip.start, "--end": clip.end}
    given |= {"--moving-camera": clip.moving_camera or None, "--frame-meshes": clip.frame_meshes or None}
    for name, value in given.items():
        if value is not None:
            raise BodyfitError(
                f"{name} is for videos. Expected one (clip.mp4), or --clip for a folder whose pictures follow each "
                "other in time."
            )
    if ClipIndex.exists(options.out):
        raise BodyfitError(f"{options.out}: holds the results of a clip. Choose another folder for photos.")


def _check_units(options: FitOptions) -> None:
    if options.clip.camera_units is not None:
        raise BodyfitError("--camera-units goes with --cameras, the calibration of several cameras.")


def fit_clips(command: FitOptions, clips: Sequence[Path]) -> int:
    """Fit each clip into OUT/<its name>; one that cannot be fitted does not end the others.

    Args:
        command: the options.
        clips: videos, or folders of pictures.

    Returns:
        0 when everybody of all clips was fitted, 1 when somebody or a clip was not, 2 when no clip was.

    Raises:
        BodyfitError: for clips of one name, and for options that mean one clip.
    """
    if command.clip.keypoints is not None and command.clip.keypoints.is_file():
        raise BodyfitError(
            f"--keypoints {command.clip.keypoints}: one file has the frames of one clip, not of {len(clips)}."
        )
    if ClipIndex.exists(command.out):
        raise BodyfitError(f"{command.out}: holds the results of a clip. Choose another folder for several clips.")
    names = [result_name(clip.stem if clip.is_file() else clip.name) for clip in clips]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BodyfitError(f"{len(clips)} clips, and two are called {twice}: they would have one folder. Rename one.")
    commands = [_of_one_clip(command, clip, name) for clip, name in zip(clips, names, strict=True)]
    codes, documents = [], {}
    at_once = 1 if command.work.workers == "auto" else min(command.work.workers, len(clips))
    for name, (code, printed, reason) in zip(names, _ran(commands, at_once), strict=True):
        codes.append(code)
        documents[name] = json.loads(printed) if printed else {"failed": reason}
        if reason:
            log.error("%s: %s", name, reason)
        write_clip_failures(command.out, {name: reason})
    if command.json:
        print(json.dumps({"clips": documents}))
    fitted = codes.count(0)
    log.info("%s, %d of them with everybody fitted; see %s", counted(len(clips), "clip", "clips"), fitted, command.out)
    return 2 if set(codes) == {2} else 1 if any(codes) else 0


def _of_one_clip(command: FitOptions, clip: Path, name: str) -> FitOptions:
    """The options of one of several clips; `--init OUT` means OUT/<its name> where there is such a folder."""
    init = command.model.init
    if init is not None and (init / name).is_dir():
        init = init / name
    return replace(
        command,
        inputs=(clip,),
        out=command.out / name,
        model=replace(command.model, init=init),
        work=replace(command.work, workers=1),
    )


def _ran(commands: Sequence[FitOptions], workers: int) -> Iterator[tuple[int, str, str]]:
    """The exit status of each, what it printed, and why it failed."""
    if workers < 2:
        yield from map(_run, commands)
        return
    cores = usable_cores()
    given = {"initializer": _begin, "initargs": (max(1, cores // workers), log.getEffectiveLevel())}
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), **given) as pool:
        for future in [pool.submit(_run, command) for command in commands]:
            try:
                yield future.result()
            except BrokenProcessPool:
                yield 2, "", "a process was ended from outside, mostly for want of memory: try again with --workers 1"


def _begin(threads: int, level: int) -> None:
    """A process that fits clips: it has its share of the cores."""
    share_memory_among_threads()  # before PyTorch starts some
    import torch

    logging.basicConfig(level=logging.WARNING, format="bodyfit: %(message)s")
    logging.getLogger("bodyfit").setLevel(level)
    torch.set_num_threads(threads)


def _run(command: FitOptions) -> tuple[int, str, str]:
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            return fit_clip(command), printed.getvalue(), ""
    except BodyfitError as error:
        return 2, "", str(error)
    except Exception as error:  # one clip's; the others go on
        return 2, "", ErrorLog(command.out).reason(command.inputs[0].name, error)
