"""Pictures of the results of a run: overlays in several styles, views of a body, turntables."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import write_atomically
from bodyfit.data.photo.lens import Lens
from bodyfit.data.photo.photo import read_photo
from bodyfit.data.results.meshes import to_frame
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.draw.colours import GREY, person_colour, rgb
from bodyfit.fitting.draw.drawing import draw_keypoints, draw_residuals
from bodyfit.fitting.draw.eye import Eye, farthest
from bodyfit.fitting.draw.layers import Mesh
from bodyfit.fitting.draw.render import render_overlay, render_view, side_by_side
from bodyfit.fitting.draw.wireframe import draw_wireframe
from bodyfit.fitting.show.results_folder import PersonEntry

logger = logging.getLogger(__name__)

_TWO_SIDES = ("front", "side")
_NO_ALTERNATIVE = (
    "no alternative hypothesis to draw: the run kept none, or its body model is not at hand (--body names it)."
)


@dataclass(frozen=True)
class OverlayStyle:
    """How people are drawn over their photo."""

    opacity: float = 1.0
    """Opacity of the bodies, 0 to 1."""
    shadow: bool = False
    """Whether people cast a soft shadow on the floor under their lowest point."""
    skeleton: bool = False
    """Whether the fitted skeleton is drawn."""
    keypoints: bool = False
    """Whether the detected keypoints are drawn, each with a line to the fitted one."""
    runner_up: bool = False
    """Whether the alternative hypothesis is drawn in place of the best one, for those who have one."""
    background: Literal["photo", "white", "transparent"] = "photo"
    """What is behind the bodies; a transparent picture is RGBA."""
    wireframe: bool = False
    """Whether bodies are the edges of their triangles."""


def overlay_picture(
    people: Iterable[PersonEntry], style: OverlayStyle | None = None, *, backend: str = "auto"
) -> tuple[UInt8[np.ndarray, "H W C"], UInt8[np.ndarray, "H W 3"]]:
    """An overlay of the people of one photo. Returns the overlay (RGB, or RGBA if it is transparent) and the photo.

    Raises:
        BodyfitError: If nobody in the photo has a result and a mesh, or an alternative hypothesis if that is requested.
    """
    style, people = style or OverlayStyle(), list(people)
    others = {id(p): p.runner_up_mesh() for p in people} if style.runner_up else {}
    if style.runner_up and all(mesh is None for mesh in others.values()):
        raise BodyfitError(f"{_names(people)}: {_NO_ALTERNATIVE}")
    found = [(p, p.result(), others.get(id(p)) or p.mesh()) for p in people]
    found = [(person, result, mesh) for person, result, mesh in found if result is not None and mesh is not None]
    if not found:
        raise BodyfitError(f"{_names(people)}: no result and mesh to draw. Fit with meshes, or choose another photo.")
    photo = photo_of(*found[0][:2])
    if style.background != "transparent":
        return drawn_people(photo, found, style, backend), photo
    white, black = (_drawn_on(np.full_like(photo, grey), found, style, backend) for grey in (255, 0))
    return _transparent(white, black), photo


def drawn_people(
    photo: UInt8[np.ndarray, "H W 3"],
    found: list[tuple[PersonEntry, FitResult, Mesh]],
    style: OverlayStyle,
    backend: str = "auto",
) -> UInt8[np.ndarray, "H W 3"]:
    """As `overlay_picture` of people who were read already, over the photo or white; these alone where nobody is."""
    background = np.full_like(photo, 255) if style.background == "white" else photo
    return _drawn_on(background, found, style, backend) if found else background


def _transparent(on_white: UInt8[np.ndarray, "H W 3"], on_black: UInt8[np.ndarray, "H W 3"]) -> np.ndarray:
    """RGBA from the same picture drawn on white and on black: where they differ, the background shows through."""
    on_black = on_black.astype(np.float32)
    through = (on_white - on_black).max(axis=-1, keepdims=True).clip(0, 255)
    alpha = 255 - through
    colour = np.where(alpha > 0, on_black * 255 / np.maximum(alpha, 1), 0)
    return np.concatenate([colour, alpha], axis=-1).round().clip(0, 255).astype(np.uint8)


def _drawn_on(
    background: UInt8[np.ndarray, "H W 3"],
    found: list[tuple[PersonEntry, FitResult, Mesh]],
    style: OverlayStyle,
    backend: str,
) -> UInt8[np.ndarray, "H W 3"]:
    if style.wireframe:
        picture = background
        for person, result, mesh in sorted(found, key=lambda item: -float(np.median(item[2][0][:, 2]))):
            camera = {"focal_px": result.focal_px, "center_px": result.center_px}
            picture = draw_wireframe(picture, mesh, **camera, colour=_bytes(_colour(person)))
        return _with_points(picture, found, style)
    picture = render_overlay(
        background,
        [mesh for _, _, mesh in found],
        focal_px=[result.focal_px for _, result, _ in found],
        center_px=[result.center_px for _, result, _ in found],
        colours=[_colour(person) for person, _, _ in found],
        alpha=style.opacity,
        shadow=style.shadow,
        backend=backend,
    )
    return _with_points(picture, found, style)


def _colour(person: PersonEntry) -> Float[np.ndarray, "3"]:
    """The person's; pale where nothing was seen of him or her, and the body comes from the moments around."""
    colour = person_colour(person.number)
    return colour + 0.5 * (1 - colour) if person.status == "interpolated" else colour


def _bytes(colour: Float[np.ndarray, "3"]) -> tuple[int, int, int]:
    return tuple(round(255 * float(channel)) for channel in colour)


def _with_points(
    picture: UInt8[np.ndarray, "H W 3"], found: list[tuple[PersonEntry, FitResult, Mesh]], style: OverlayStyle
) -> UInt8[np.ndarray, "H W 3"]:
    for _, result, _ in found:
        if style.skeleton:
            picture = draw_keypoints(picture, result.landmarks_px)
        if style.keypoints:
            confidence = result.keypoint_confidence
            picture = draw_residuals(picture, result.keypoints_px, result.landmarks_px, confidence)
            picture = draw_keypoints(picture, result.keypoints_px, confidence, hollow=True)
    return picture


def views_picture(
    person: PersonEntry,
    *,
    height_px: int = 512,
    skeleton: bool = False,
    runner_up: bool = False,
    backend: str = "auto",
) -> UInt8[np.ndarray, "H W 3"]:
    """One person from the front, the left, the back and the top, at the same scale."""
    mesh, landmarks = _in_world(person, skeleton, runner_up)
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


def mode_pictures(
    person: PersonEntry, result: FitResult, *, cell_px: int = 150, backend: str = "auto"
) -> list[UInt8[np.ndarray, "H W 3"]]:
    """The best mode (in the colour of the person) and the alternatives (grey), the most probable first: each as
    photographed, and from the side. Empty where there is no alternative, or one of them cannot be drawn."""
    meshes = [person.mesh(), *person.other_meshes(result)]
    if len(meshes) == 1 or any(mesh is None or not np.isfinite(mesh[0]).all() for mesh in meshes):
        return []
    meshes = [(to_frame(vertices, "opengl"), faces) for vertices, faces in meshes]
    eyes = [Eye.at(mesh[0], view).backed_up(mesh[0], (cell_px, cell_px)) for mesh in meshes for view in _TWO_SIDES]
    options = {"size_px": (cell_px, cell_px), "distance": farthest(eyes), "backend": backend}
    return [
        np.hstack([render_view(mesh, view=view, colour=colour, **options) for view in _TWO_SIDES])
        for mesh, colour in zip(meshes, [person_colour(person.number), *[rgb(GREY)] * (len(meshes) - 1)], strict=True)
    ]


def turntable(
    person: PersonEntry,
    *,
    frames: int,
    size_px: tuple[int, int] = (512, 512),
    elevation_deg: float = 8.0,
    skeleton: bool = False,
    runner_up: bool = False,
    backend: str = "auto",
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """One full turn around a person, starting at the camera."""
    mesh, landmarks = _in_world(person, skeleton, runner_up)
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


def save_picture(picture: UInt8[np.ndarray, "H W 3"], path: Path | str) -> Path:
    """Writes a .png or .jpg."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise BodyfitError(f"{path}: a picture is a .png or a .jpg. Choose one of these endings.")
    return write_atomically(path, lambda temporary: Image.fromarray(picture).save(temporary, quality=92))


def _names(people: Iterable[PersonEntry]) -> str:
    return ", ".join(person.name for person in people) or "nobody"


def _in_world(person: PersonEntry, skeleton: bool, runner_up: bool) -> tuple[Mesh, Float[np.ndarray, "144 3"] | None]:
    mesh = person.runner_up_mesh() if runner_up else person.mesh()
    if mesh is None and runner_up:
        raise BodyfitError(f"{person.name}: {_NO_ALTERNATIVE}")
    if mesh is None:
        raise BodyfitError(f"{person.name}: {person.folder} holds no mesh of this person ({person.status}).")
    landmarks = None
    if skeleton:
        result = person.result()
        if result is None:
            raise BodyfitError(f"{person.name}: {person.folder} holds no result file, so no skeleton.")
        landmarks = to_frame(result.landmarks, "opengl")
    return (to_frame(mesh[0], "opengl"), mesh[1]), landmarks


def photo_of(person: PersonEntry, result: FitResult) -> UInt8[np.ndarray, "H W 3"]:
    """The photo, or a grey background of its size where it is gone."""
    width, height = result.image_size
    if person.photo_path is not None:
        try:
            photo = read_photo(person.photo_path).image
            lens = Lens.from_array(result.lens)
            photo = lens.undistorted_image(photo) if lens else photo
        except BodyfitError as error:
            logger.warning("pictures: %s", error)
        else:
            if photo.shape[:2] == (height, width):
                return photo
            logger.warning("pictures: %s is not %d x %d pixels any more; left out", person.photo_path, width, height)
    return np.full((height, width, 3), 200, dtype=np.uint8)
