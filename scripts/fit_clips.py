"""`bodyfit fit` on several clips: each into a folder of its own, several at a time with --workers."""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import PHOTO_SUFFIXES, result_name
from bodyfit.data.photo.video import is_video
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.fitting.run.options import ClipOptions

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


def fit_clips(command: Any, clips: Sequence[Path]) -> int:
    """Fit each clip into OUT/<its name>; one that cannot be fitted does not end the others.

    Args:
        command: the options, a `FitCommand`.
        clips: videos, or folders of pictures.

    Returns:
        0 when everybody of all clips was fitted, 1 when somebody or a clip was not, 2 when no clip was.

    Raises:
        BodyfitError: for clips of one name, and for options that mean one clip.
    """
    if command.keypoints is not None and command.keypoints.is_file():
        raise BodyfitError(
            f"--keypoints {command.keypoints}: one file has the frames of one clip, not of {len(clips)}."
        )
    if ClipIndex.exists(command.out):
        raise BodyfitError(f"{command.out}: holds the results of a clip. Choose another folder for several clips.")
    names = [result_name(clip.stem if clip.is_file() else clip.name) for clip in clips]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BodyfitError(f"{len(clips)} clips, and two are called {twice}: they would have one folder. Rename one.")
    commands = [
        replace(command, inputs=(clip,), out=command.out / name, init=_init_of(command.init, name), workers=1)
        for clip, name in zip(clips, names, strict=True)
    ]
    codes, documents = [], {}
    at_once = 1 if command.workers == "auto" else min(command.workers, len(clips))
    for name, (code, printed) in zip(names, _ran(commands, at_once), strict=True):
        codes.append(code)
        if printed:
            documents[name] = json.loads(printed)
    if command.json:
        print(json.dumps({"clips": documents}))
    log.info("%d clips, %d without anybody missing; see %s", len(clips), codes.count(0), command.out)
    return 2 if set(codes) == {2} else 1 if any(codes) else 0


def _init_of(init: Path | None, name: str) -> Path | None:
    """The earlier results of one of several clips."""
    return init / name if init is not None and (init / name).is_dir() else init


def _ran(commands: Sequence[Any], workers: int) -> Iterator[tuple[int, str]]:
    """The exit status of each, and what it printed."""
    if workers < 2:
        yield from map(_run, commands)
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = {"initializer": _begin, "initargs": (max(1, cores // workers), log.getEffectiveLevel())}
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), **given) as pool:
        yield from pool.map(_run, commands)


def _begin(threads: int, level: int) -> None:
    """A process that fits clips: it has its share of the cores."""
    import torch

    logging.basicConfig(level=logging.WARNING, format="bodyfit: %(message)s")
    logging.getLogger("bodyfit").setLevel(level)
    torch.set_num_threads(threads)


def _run(command: Any) -> tuple[int, str]:
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            return command.run(), printed.getvalue()
    except BodyfitError as error:
        log.error("%s: %s", command.inputs[0].name, error)
        return 2, ""
