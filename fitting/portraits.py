"""Pictures of what a run found: overlays in several styles, bodies from all sides, turntables as GIF or MP4."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import write_atomically
from bodyfit.data.meshes import to_frame
from bodyfit.data.photo import read_photo
from bodyfit.data.result import FitResult
from bodyfit.fitting.colours import person_colour
from bodyfit.fitting.drawing import draw_keypoints, draw_residuals
from bodyfit.fitting.eye import Eye
from bodyfit.fitting.gallery import GalleryPerson
from bodyfit.fitting.layers import Mesh
from bodyfit.fitting.render import render_overlay, render_view, side_by_side

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OverlayStyle:
    """How people are drawn over their photo."""

    opacity: float = 0.9
    """Opacity of the bodies, 0 to 1."""
    shadow: bool = False
    """Whether people cast a soft shadow on a floor under their lowest point."""
    skeleton: bool = False
    """Whether the fitted skeleton shows."""
    keypoints: bool = False
    """Whether the detected keypoints show, each joined to the fitted body's own by a line."""


def overlay_picture(
    people: Iterable[GalleryPerson], style: OverlayStyle | None = None, *, backend: str = "auto"
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W 3"]]:
    """The people of one photo over it. Returns the picture and the photo itself.

    Raises:
        BodyfitError: If nobody of the photo has a result and a mesh.
    """
    style, people = style or OverlayStyle(), list(people)
    found = [(p, p.result(), p.mesh()) for p in people]
    found = [(person, result, mesh) for person, result, mesh in found if result is not None and mesh is not None]
    if not found:
        names = ", ".join(person.name for person in people) or "nobody"
        raise BodyfitError(f"{names}: no result and mesh to draw. Fit with meshes, or choose another photo.")
    photo = photo_of(*found[0][:2])
    picture = render_overlay(
        photo,
        [mesh for _, _, mesh in found],
        focal_px=[result.focal_px for _, result, _ in found],
        center_px=[result.center_px for _, result, _ in found],
        colours=[person_colour(person.number) for person, _, _ in found],
        alpha=style.opacity,
        shadow=style.shadow,
        backend=backend,
    )
    for _, result, _ in found:
        if style.skeleton:
            picture = draw_keypoints(picture, result.landmarks_px)
        if style.keypoints:
            confidence = result.keypoint_confidence
            picture = draw_residuals(picture, result.keypoints_px, result.landmarks_px, confidence)
            picture = draw_keypoints(picture, result.keypoints_px, confidence, hollow=True)
    return picture, photo


def views_picture(
    person: GalleryPerson, *, height_px: int = 512, skeleton: bool = False, backend: str = "auto"
) -> UInt8[np.ndarray, "H W 3"]:
    """One person from the camera's side, from the left, from behind and from above, at one scale."""
    mesh, landmarks = _in_world(person, skeleton)
    size = (height_px, round(0.75 * height_px))
    views = ("front", "side", "back", "top")
    distance = max(Eye.at(mesh[0], view).backed_up(mesh[0], size).distance for view in views)
    return side_by_side(
        *(
            render_view(
                mesh,
                view=view,
                size_px=size,
                colour=person_colour(person.number),
                landmarks=landmarks,
                distance=distance,
                backend=backend,
            )
            for view in views
        ),
        gap_px=0,
    )


def turntable(
    person: GalleryPerson,
    *,
    frames: int,
    size_px: tuple[int, int] = (512, 512),
    elevation_deg: float = 8.0,
    skeleton: bool = False,
    backend: str = "auto",
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """One person while an eye goes once around, beginning where the camera stood."""
    mesh, landmarks = _in_world(person, skeleton)
    yaws = np.arange(frames) * 360.0 / frames
    distance = max(Eye.at(mesh[0], (yaw, elevation_deg)).backed_up(mesh[0], size_px).distance for yaw in yaws)
    for yaw in yaws:
        yield render_view(
            mesh,
            view=(yaw, elevation_deg),
            size_px=size_px,
            colour=person_colour(person.number),
            landmarks=landmarks,
            distance=distance,
            backend=backend,
        )


def save_animation(frames: Iterable[UInt8[np.ndarray, "H W 3"]], path: Path | str, fps: float) -> Path:
    """Writes a .gif (repeating for ever) or an .mp4 (MPEG-4 part 2, which OpenCV's wheels can write everywhere)."""
    path = Path(path)
    writers = {".gif": _write_gif, ".mp4": _write_mp4}
    if path.suffix.lower() not in writers:
        raise BodyfitError(f"{path}: an animation is a .gif or an .mp4. Choose one of these endings.")
    return write_atomically(path, lambda temporary: writers[path.suffix.lower()](frames, temporary, fps))


def save_picture(picture: UInt8[np.ndarray, "H W 3"], path: Path | str) -> Path:
    """Writes a .png or .jpg."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise BodyfitError(f"{path}: a picture is a .png or a .jpg. Choose one of these endings.")
    return write_atomically(path, lambda temporary: Image.fromarray(picture).save(temporary, quality=92))


def _in_world(person: GalleryPerson, skeleton: bool) -> tuple[Mesh, Float[np.ndarray, "144 3"] | None]:
    mesh = person.mesh()
    if mesh is None:
        raise BodyfitError(f"{person.name}: {person.folder} holds no mesh of this person ({person.status}).")
    landmarks = None
    if skeleton:
        result = person.result()
        if result is None:
            raise BodyfitError(f"{person.name}: {person.folder} holds no result file, so no skeleton.")
        landmarks = to_frame(result.landmarks, "opengl")
    return (to_frame(mesh[0], "opengl"), mesh[1]), landmarks


def photo_of(person: GalleryPerson, result: FitResult) -> UInt8[np.ndarray, "H W 3"]:
    """The photo, or grey paper of its size where it is gone."""
    width, height = result.image_size
    if person.photo_path is not None:
        try:
            photo = read_photo(person.photo_path).image
        except BodyfitError as error:
            logger.warning("pictures: %s", error)
        else:
            if photo.shape[:2] == (height, width):
                return photo
            logger.warning("pictures: %s is not %d x %d any more; left out", person.photo_path, width, height)
    return np.full((height, width, 3), 200, dtype=np.uint8)


def _write_gif(frames: Iterable[np.ndarray], path: Path, fps: float) -> None:
    first, *rest = [Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, optimize=False)


def _write_mp4(frames: Iterable[np.ndarray], path: Path, fps: float) -> None:
    writer = None
    try:
        for frame in frames:
            if writer is None:
                height, width = frame.shape[:2]
                writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
                if not writer.isOpened():
                    raise OSError("OpenCV has no MPEG-4 writer here; write a .gif")
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
    finally:
        if writer is not None:
            writer.release()
