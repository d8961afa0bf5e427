"""Animations as files: GIF, and video that browsers play."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import write_atomically
from bodyfit.data.lazy import LazyModule
from bodyfit.data.opencv import import_cv2

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")


def save_animation(frames: Iterable[UInt8[np.ndarray, "H W 3"]], path: Path | str, fps: float) -> Path:
    """Writes a .gif (an endless loop), or a .webm or .mp4 (VP9, which browsers play)."""
    path = Path(path)
    writers = {".gif": _write_gif, ".webm": _write_video, ".mp4": _write_video}
    if path.suffix.lower() not in writers:
        raise BodyfitError(f"{path}: an animation is a .gif, a .webm or an .mp4. Choose one of these endings.")
    return write_atomically(path, lambda temporary: writers[path.suffix.lower()](frames, temporary, fps))


def _write_gif(frames: Iterable[np.ndarray], path: Path, fps: float) -> None:
    first, *rest = [Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, optimize=False)


def _write_video(frames: Iterable[np.ndarray], path: Path, fps: float) -> None:
    writer = None
    try:
        for frame in frames:
            height, width = frame.shape[:2]
            # Chroma is stored per 2 x 2 pixels, and OpenCV would drop an odd row or column.
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if writer is None:
                writer = _video_writer(path, fps, frame.shape[1::-1])
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
    finally:
        if writer is not None:
            writer.release()


def _video_writer(path: Path, fps: float, size: tuple[int, int]) -> "cv2.VideoWriter":
    import_cv2()  # raises the error that says what is missing
    # VP9 is supported by both OpenCV's wheels and browsers; H.264 is not in the wheels, MPEG-4 part 2 not in browsers.
    with _quiet_stderr():
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"vp09"), fps, size)
    if not writer.isOpened():
        raise BodyfitError(f"{path.name}: this OpenCV cannot write VP9 video. Install opencv-python, or write a .gif.")
    return writer


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Suppresses a harmless message of OpenCV's C code: WebM has no codec tags."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
