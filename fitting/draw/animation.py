"""Animations as files: GIF, and video that browsers play."""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
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


_CODECS = {".mp4": ("libx264", "libvpx-vp9"), ".webm": ("libvpx-vp9",)}
_QUALITY = {
    "libx264": {"preset": "medium", "crf": "18"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "5", "row-mt": "1", "crf": "28", "b": "0"},
}


def save_animation(frames: Iterable[UInt8[np.ndarray, "H W 3"]], path: Path | str, fps: float) -> Path:
    """Writes a .gif (an endless loop), or a .webm (VP9) or .mp4, which browsers play: H.264 by PyAV where that is
    installed (extra `video`), else VP9 by OpenCV, which takes several times as long."""
    path = Path(path)
    writers = {".gif": _write_gif, ".webm": _write_video, ".mp4": _write_video}
    if path.suffix.lower() not in writers:
        raise BodyfitError(f"{path}: an animation is a .gif, a .webm or an .mp4. Choose one of these endings.")
    return write_atomically(path, lambda temporary: writers[path.suffix.lower()](frames, temporary, fps))


def _write_gif(frames: Iterable[np.ndarray], path: Path, fps: float) -> None:
    first, *rest = [Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, optimize=False)


def _write_video(frames: Iterable[np.ndarray], path: Path, fps: float) -> None:
    # Chroma is stored per 2 x 2 pixels, and OpenCV would drop an odd row or column.
    even = (np.pad(f, ((0, f.shape[0] % 2), (0, f.shape[1] % 2), (0, 0)), mode="edge") for f in frames)
    found = _av_with_codec(path.suffix.lower())
    if found is not None:
        _write_with_av(*found, even, path, fps)
    else:
        _write_with_opencv(even, path, fps)


def _av_with_codec(suffix: str) -> tuple[ModuleType, str] | None:
    """PyAV and the first codec of _CODECS that it can write; None where it is not installed, or can write none."""
    try:
        import av
    except ImportError:
        return None
    codec = next((name for name in _CODECS[suffix] if name in av.codecs_available), None)
    return None if codec is None else (av, codec)


def _write_with_av(av: ModuleType, codec: str, frames: Iterator[np.ndarray], path: Path, fps: float) -> None:
    if (first := next(frames, None)) is None:
        return
    kind = path.suffix.lower()[1:]
    # The index at the beginning of an .mp4 lets a page play it before all of it has arrived.
    with av.open(str(path), "w", format=kind, options={"movflags": "faststart"} if kind == "mp4" else {}) as file:
        stream = file.add_stream(codec, rate=Fraction(fps).limit_denominator(10_000), options=_QUALITY[codec])
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in itertools.chain([first], frames):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        file.mux(stream.encode())


def _write_with_opencv(frames: Iterator[np.ndarray], path: Path, fps: float) -> None:
    writer = None
    try:
        for frame in frames:
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
