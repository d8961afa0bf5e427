"""Pictures of bodies: overlays on a photo, views from any direction, and contact sheets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from bodyfit.data.lazy import LazyModule
from bodyfit.fitting.draw.colours import BACKGROUND, INK, person_colour, rgb8
from bodyfit.fitting.draw.drawing import draw_keypoints
from bodyfit.fitting.draw.eye import VIEWPOINTS, Eye, Viewpoint, eye_camera, farthest
from bodyfit.fitting.draw.layers import Mesh, backend_name, blend, choose_renderer, draw_meshes, shadow_layer
from bodyfit.fitting.draw.rasteriser import Camera

if TYPE_CHECKING:
    import trimesh
else:
    trimesh = LazyModule("trimesh")

__all__ = [
    "VIEWPOINTS",
    "backend_name",
    "draw_meshes",
    "render_mesh_sheet",
    "render_overlay",
    "render_view",
    "side_by_side",
]


def render_overlay(
    image: UInt8[np.ndarray, "H W 3"],
    meshes: "Sequence[Mesh | trimesh.Trimesh]",
    *,
    focal_px: float | Sequence[float],
    center_px: Sequence[float] | Sequence[Sequence[float]] | None = None,
    colours: Sequence[Float[np.ndarray, "3"]] | None = None,
    alpha: float = 1.0,
    shadow: bool = False,
    backend: str = "auto",
) -> UInt8[np.ndarray, "H W 3"]:
    """Draws people over their photo; nearer ones hide farther ones.

    Args:
        image: The photo, RGB.
        meshes: (vertices, faces) or the trimesh.Trimesh (`FitResult.mesh`) of each person; vertices in metres in the
            camera frame (OpenCV: x right, y down, z forward, pixel (0, 0) the centre of the top-left pixel). Parts
            behind the camera are cut away; a mesh that is not finite is left out.
        focal_px: Focal length in pixels, one for all people or one each.
        center_px: Principal point (x, y), one for all or one each; the middle of the picture by default.
        colours: sRGB in [0, 1], one per person; by default a palette that is safe for colour blindness.
        alpha: Opacity of the bodies, 0 to 1.
        shadow: Whether each person casts a soft shadow on a floor under the lowest point of the body.
        backend: `egl` (pyrender), `software` (no OpenGL), or `auto`: the first of them that works here.

    Returns:
        The picture, RGB, of the photo's size.

    Raises:
        ValueError: For an image that is not (H, W, 3) uint8, meshes that are none, lists of unequal length or an
            unknown backend.
        RuntimeError: If `egl` is requested where there is none.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
    choose_renderer(backend)
    if not isinstance(meshes, Sequence):
        raise ValueError(f"meshes must be a list with a mesh for each person, got {type(meshes).__name__}")
    meshes = [_vertices_and_faces(mesh) for mesh in meshes]
    if len(meshes) == 0:
        return image.copy()
    camera, meshes = _in_one_camera(meshes, focal_px, center_px, image.shape[:2])
    picture = image
    if shadow:
        picture = blend(picture, shadow_layer(meshes, camera, backend), 0.45)
    return blend(picture, draw_meshes(meshes, camera, colours=colours, backend=backend), alpha)


def render_view(
    mesh: Mesh,
    *,
    view: Viewpoint = "front",
    size_px: tuple[int, int] = (512, 512),
    colour: Float[np.ndarray, "3"] | None = None,
    background: str = BACKGROUND,
    shadow: bool = True,
    landmarks: Float[np.ndarray, "144 3"] | None = None,
    distance: float | None = None,
    backend: str = "auto",
) -> UInt8[np.ndarray, "H W 3"]:
    """One body (world frame: y up, facing +z) filling a picture.

    Args:
        mesh: (vertices, faces).
        view: A name in `VIEWPOINTS` or (yaw, elevation) of the eye in degrees.
        size_px: (height, width).
        colour: sRGB in [0, 1].
        background: Colour of the background, `"#rrggbb"`.
        shadow: Whether the body casts a soft shadow on the floor it stands on.
        landmarks: The landmarks of the body in the order of LANDMARK_NAMES; draws its skeleton as well.
        distance: Metres from the eye to the centre of the body; by default the smallest from which all of it is seen.
        backend: As in `render_overlay`.
    """
    eye = Eye.at(mesh[0], view)
    eye = eye.backed_up(mesh[0], size_px) if distance is None else eye.at_distance(distance)
    colour = person_colour(0) if colour is None else colour
    return _portrait(mesh, eye, size_px, colour, background, shadow, landmarks, backend)


def render_mesh_sheet(
    meshes: Sequence[Mesh],
    *,
    columns: int = 8,
    cell_px: int = 256,
    view: Viewpoint = "three_quarter",
    colours: Sequence[Float[np.ndarray, "3"]] | None = None,
    labels: Sequence[str] | None = None,
    background: str = BACKGROUND,
    shadow: bool = True,
    backend: str = "auto",
) -> UInt8[np.ndarray, "H W 3"]:
    """A contact sheet of bodies (world frame: y up, facing +z), row by row, all at one scale.

    Args:
        meshes: (vertices, faces) of each body; each is centred in its own cell.
        columns: Cells in a row.
        cell_px: Side of a cell in pixels.
        view: A name in `VIEWPOINTS` or (yaw, elevation) of the eye in degrees.
        colours: sRGB in [0, 1], one per mesh; by default the same for all.
        labels: A few words under each body.
        background: Colour of the background, `"#rrggbb"`.
        shadow: Whether bodies cast a soft shadow on the floor they stand on.
        backend: As in `render_overlay`.
    """
    columns = max(1, min(columns, len(meshes)))
    rows = max(1, -(-len(meshes) // columns))
    sheet = _blank((rows * cell_px, columns * cell_px), background)
    cell_size = (cell_px, cell_px)
    eyes = [Eye.at(vertices, view).backed_up(vertices, cell_size) for vertices, _ in meshes]
    distance = farthest(eyes)
    colours = [person_colour(0)] * len(meshes) if colours is None else colours
    for index, (mesh, eye, colour) in enumerate(zip(meshes, eyes, colours, strict=True)):
        row, column = divmod(index, columns)
        cell = sheet[row * cell_px : (row + 1) * cell_px, column * cell_px : (column + 1) * cell_px]
        cell[:] = _portrait(mesh, eye.at_distance(distance), cell_size, colour, background, shadow, None, backend)
        if labels is not None:
            _write(cell, labels[index])
    return sheet


def side_by_side(*pictures: UInt8[np.ndarray, "H W 3"], gap_px: int = 8) -> UInt8[np.ndarray, "H W2 3"]:
    """Pictures next to each other, scaled to the height of the first one."""
    height = pictures[0].shape[0]
    row = []
    for picture in pictures:
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        scaled = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
        row += [np.asarray(scaled), np.full((height, gap_px, 3), 255, dtype=np.uint8)]
    return np.concatenate(row[:-1], axis=1)


def as_seen_by(
    vertices: Float[np.ndarray, "V 3"],
    own: tuple[float, Float[np.ndarray, "2"]],
    other: tuple[float, Float[np.ndarray, "2"]],
) -> Float[np.ndarray, "V 3"]:
    """A body, moved so that another camera sees it as its own does; cameras are (focal length px, principal point).

    (x, y, z) under (f, c) and (x f / f0 + z (c - c0) / f0, z) under (f0, c0) fall on the same pixel at the same depth.
    """
    (focal, center), (other_focal, other_center) = own, other
    if focal == other_focal and np.array_equal(center, other_center):
        return np.asarray(vertices, dtype=float)
    moved = np.array(vertices, dtype=float)
    shift = (np.asarray(center, dtype=float) - other_center) / other_focal
    moved[:, :2] = moved[:, :2] * (focal / other_focal) + moved[:, 2:] * shift
    return moved


def _vertices_and_faces(mesh: "Mesh | trimesh.Trimesh") -> Mesh:
    if hasattr(mesh, "vertices") and hasattr(mesh, "faces"):
        return np.asarray(mesh.vertices), np.asarray(mesh.faces)
    if isinstance(mesh, tuple | list) and len(mesh) == 2:
        return mesh[0], mesh[1]
    raise ValueError(f"a mesh must be (vertices, faces) or a trimesh.Trimesh, got {type(mesh).__name__}")


def _in_one_camera(meshes, focal_px, center_px, image_size) -> tuple[Camera, list[Mesh]]:
    """The camera of the first person, and all bodies as that camera sees them."""
    height, width = image_size
    if center_px is None:
        center_px = ((width - 1) / 2, (height - 1) / 2)
    focals = np.broadcast_to(np.asarray(focal_px, dtype=float).reshape(-1), (len(meshes),))
    centers = np.broadcast_to(np.asarray(center_px, dtype=float), (len(meshes), 2))
    first = (float(focals[0]), centers[0])
    moved = [
        (as_seen_by(vertices, (focal, center), first), faces)
        for (vertices, faces), focal, center in zip(meshes, focals, centers, strict=True)
    ]
    return Camera(first[0], tuple(float(c) for c in first[1]), (height, width)), moved


def _portrait(mesh, eye, size_px, colour, background, shadow, landmarks, backend) -> UInt8[np.ndarray, "H W 3"]:
    camera = eye_camera(size_px)
    seen = [(eye.see(mesh[0]), mesh[1])]
    picture = _blank(size_px, background)
    if shadow:
        picture = blend(picture, shadow_layer(seen, camera, backend, eye.floor()), 0.35)
    picture = blend(
        picture, draw_meshes(seen, camera, colours=[colour], backend=backend), 1.0 if landmarks is None else 0.55
    )
    return picture if landmarks is None else draw_keypoints(picture, camera.project(eye.see(landmarks)))


def _blank(size_px: tuple[int, int], background: str) -> UInt8[np.ndarray, "H W 3"]:
    return np.full((*size_px, 3), rgb8(background), dtype=np.uint8)


def _write(cell: UInt8[np.ndarray, "H W 3"], text: str) -> None:
    """A line of text at the bottom left of a cell, in place."""
    picture, size = Image.fromarray(cell), max(10, cell.shape[1] // 20)
    margin, font = size // 2, ImageFont.load_default(size)
    ImageDraw.Draw(picture).text((margin, cell.shape[0] - margin), text, fill=rgb8(INK), font=font, anchor="ls")
    cell[:] = np.asarray(picture)
