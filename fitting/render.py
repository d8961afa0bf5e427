"""Pictures of bodies: drawn over a photo, seen from the side or from above, and in sheets of many.

pyrender draws them through EGL where that works, a software rasteriser where it does not; the light is worked out
beforehand (`shading`), so both give the same picture.
"""

import logging
from collections.abc import Sequence

import cv2
import numpy as np
from bodyfit.fitting.colours import INK, PAPER, person_colour, rgb
from bodyfit.fitting.gl_renderer import gl_renderer
from bodyfit.fitting.rasteriser import Camera, Layer, Surface, rasterise
from bodyfit.fitting.shading import lit_colours
from jaxtyping import Float, Int, UInt8

logger = logging.getLogger(__name__)

Mesh = tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]

BACKENDS = ("auto", "egl", "software")

VIEWS = {
    "front": (0.0, 0.0),
    "three_quarter": (30.0, 12.0),
    "side": (90.0, 0.0),
    "back": (180.0, 0.0),
    "top": (0.0, 90.0),
}
"""Named views as (yaw, elevation) of the eye in degrees, about a body that faces +z with y up."""

_FIELD_OF_VIEW = np.radians(20.0)  # of views and sheets: long enough a lens not to swell what is near
_NEAREST = 0.02  # metres; what is nearer to the camera than this is never drawn


def render_overlay(
    image: UInt8[np.ndarray, "H W 3"],
    meshes: Sequence[Mesh],
    *,
    focal_px: float | Sequence[float],
    center_px: Sequence[float] | Sequence[Sequence[float]] | None = None,
    colours: Sequence[Float[np.ndarray, "3"]] | None = None,
    alpha: float = 0.9,
    shadow: bool = False,
    backend: str = "auto",
) -> UInt8[np.ndarray, "H W 3"]:
    """Draws people over their photo, nearer ones before farther ones.

    Args:
        image: The photo, RGB.
        meshes: (vertices, faces) of each person; vertices in metres in the camera frame (OpenCV: x right, y down, z
            forward, pixel (0, 0) the centre of the top-left pixel). Parts behind the camera are cut away; a mesh that
            is not finite is left out.
        focal_px: Focal length in pixels, one for all people or one each.
        center_px: Principal point (x, y), one for all or one each; the middle of the picture by default.
        colours: sRGB in [0, 1], one a person; by default a palette that colour-blind readers can tell apart.
        alpha: Opacity of the bodies, 0 to 1.
        shadow: Whether each person casts a soft shadow on a floor under the lowest point of the body.
        backend: `egl` (pyrender), `software` (no OpenGL), or `auto`: the first of them that works here.

    Returns:
        The picture, RGB, of the photo's size.

    Raises:
        ValueError: For an image that is not (H, W, 3) uint8, lists of unequal length or an unknown backend.
        RuntimeError: If `egl` is demanded where there is none.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
    _choose(backend)
    if len(meshes) == 0:
        return image.copy()
    camera, meshes = _in_one_camera(meshes, focal_px, center_px, image.shape[:2])
    colours = _colours_for(meshes, colours)
    picture = image
    if shadow:
        picture = _blend(picture, _shadow(meshes, camera, backend), 0.45)
    return _blend(picture, draw_meshes(meshes, camera, colours=colours, backend=backend), alpha)


def draw_meshes(
    meshes: Sequence[Mesh],
    camera: Camera,
    *,
    colours: Sequence[Float[np.ndarray, "3"]] | None = None,
    backend: str = "auto",
    lit: bool = True,
) -> Layer:
    """Bodies in the camera frame as a transparent layer with depth; `lit=False` gives flat silhouettes."""
    pieces, offset = [], 0
    for (vertices, faces), colour in zip(meshes, _colours_for(meshes, colours), strict=True):
        vertices, faces = np.asarray(vertices, dtype=float), np.asarray(faces, dtype=np.int64)
        if not np.isfinite(vertices).all():
            logger.warning("pictures: a mesh with NaN or infinite vertices is not drawn")
            continue
        shade = lit_colours(vertices, faces, colour) if lit else np.broadcast_to(colour, vertices.shape)
        pieces.append((vertices, faces + offset, shade))
        offset += len(vertices)
    if not pieces:
        return _empty_layer(camera.image_size)
    return _draw(Surface(*(np.concatenate(part) for part in zip(*pieces, strict=True))), camera, backend)


def render_view(
    mesh: Mesh,
    *,
    view: str | tuple[float, float] = "front",
    size_px: tuple[int, int] = (512, 512),
    colour: Float[np.ndarray, "3"] | None = None,
    background: str = PAPER,
    shadow: bool = True,
    backend: str = "auto",
) -> UInt8[np.ndarray, "H W 3"]:
    """One body (world frame: y up, facing +z) filling a picture of `size_px` (height, width).

    `view` is a name in `VIEWS` or (yaw, elevation) of the eye in degrees.
    """
    vertices, faces = mesh
    seen, floor = eye_from_world(vertices, view)
    return _portrait(
        (_at_distance(seen, _distance_to_fit(seen, size_px)), faces),
        floor if shadow else None,
        size_px,
        person_colour(0) if colour is None else colour,
        background,
        backend,
    )


def render_mesh_sheet(
    meshes: Sequence[Mesh],
    *,
    columns: int = 8,
    cell_px: int = 256,
    view: str | tuple[float, float] = "three_quarter",
    colours: Sequence[Float[np.ndarray, "3"]] | None = None,
    labels: Sequence[str] | None = None,
    background: str = PAPER,
    shadow: bool = True,
    backend: str = "auto",
) -> UInt8[np.ndarray, "H W 3"]:
    """A contact sheet of bodies (world frame: y up, facing +z), row by row, all at one scale.

    Args:
        meshes: (vertices, faces) of each body; each is centred in its own cell.
        columns: Cells in a row.
        cell_px: Side of a cell in pixels.
        view: A name in `VIEWS` or (yaw, elevation) of the eye in degrees.
        colours: sRGB in [0, 1], one a mesh; all alike by default.
        labels: A few words under each body.
        background: Colour of the paper, `"#rrggbb"`.
        shadow: Whether bodies cast a soft shadow on the floor they stand on.
        backend: As in `render_overlay`.
    """
    columns = max(1, min(columns, len(meshes)))
    rows = -(-len(meshes) // columns)
    sheet = np.empty((max(rows, 1) * cell_px, columns * cell_px, 3), dtype=np.uint8)
    sheet[:] = np.rint(255 * rgb(background))
    seen = [eye_from_world(vertices, view) for vertices, _ in meshes]
    distance = max((_distance_to_fit(vertices, (cell_px, cell_px)) for vertices, _ in seen), default=1.0)
    colours = [person_colour(0)] * len(meshes) if colours is None else colours
    for index, ((vertices, floor), (_, faces)) in enumerate(zip(seen, meshes, strict=True)):
        mesh = (_at_distance(vertices, distance), faces)
        row, column = divmod(index, columns)
        cell = sheet[row * cell_px : (row + 1) * cell_px, column * cell_px : (column + 1) * cell_px]
        cell[:] = _portrait(mesh, floor if shadow else None, cell.shape[:2], colours[index], background, backend)
        if labels is not None:
            _write(cell, labels[index])
    return sheet


def eye_from_world(
    vertices: Float[np.ndarray, "V 3"], view: str | tuple[float, float]
) -> tuple[Float[np.ndarray, "V 3"], tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]]:
    """A body (y up, facing +z) as an eye sees it: OpenCV axes, the body's middle at the origin.

    Also returns the floor under it in the same frame: a point and the upward normal.
    """
    if isinstance(view, str) and view not in VIEWS:
        raise ValueError(f"view must be one of {', '.join(VIEWS)} or (yaw, elevation) in degrees, got {view!r}")
    yaw, elevation = np.radians(VIEWS[view] if isinstance(view, str) else view)
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(elevation), -np.sin(elevation)], [0, np.sin(elevation), np.cos(elevation)]])
    rotation = np.diag([1.0, -1.0, -1.0]) @ tilt @ turn
    vertices = np.asarray(vertices, dtype=float)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    middle = (low + high) / 2
    foot = np.array([middle[0], low[1], middle[2]])
    return (vertices - middle) @ rotation.T, (rotation @ (foot - middle), rotation[:, 1])


def side_by_side(*pictures: UInt8[np.ndarray, "H W 3"], gap_px: int = 8) -> UInt8[np.ndarray, "H W2 3"]:
    """Pictures next to each other, scaled to the first one's height, on paper."""
    height = pictures[0].shape[0]
    row = []
    for picture in pictures:
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        smaller = picture.shape[0] > height
        scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
        row += [scaled, np.full((height, gap_px, 3), 255, dtype=np.uint8)]
    return np.concatenate(row[:-1], axis=1)


def backend_name(backend: str = "auto") -> str:
    """What would draw a picture here: `egl (<device>)` or `software`."""
    renderer = _choose(backend)
    return "software" if renderer is None else f"egl ({renderer.device})"


def _choose(backend: str):
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    renderer = None if backend == "software" else gl_renderer()
    if renderer is None and backend == "egl":
        raise RuntimeError("no EGL context can be made here (the log says why); use backend='software' or 'auto'")
    return renderer


def _in_one_camera(meshes, focal_px, center_px, image_size) -> tuple[Camera, list[Mesh]]:
    """People photographed by cameras of their own, moved so that one camera sees each where its own does.

    (x, y, z) under (f, c) and (x f / f0 + z (c - c0) / f0, z) under (f0, c0) fall on the same pixel at the same depth.
    """
    height, width = image_size
    if center_px is None:
        center_px = ((width - 1) / 2, (height - 1) / 2)
    focals = np.broadcast_to(np.asarray(focal_px, dtype=float).reshape(-1), (len(meshes),))
    centers = np.broadcast_to(np.asarray(center_px, dtype=float), (len(meshes), 2))
    camera = Camera(float(focals[0]), tuple(float(c) for c in centers[0]), (height, width))
    moved = []
    for (vertices, faces), focal, center in zip(meshes, focals, centers, strict=True):
        vertices = np.array(vertices, dtype=float)
        shift = (center - centers[0]) / focals[0]
        vertices[:, :2] = vertices[:, :2] * (focal / focals[0]) + vertices[:, 2:] * shift
        moved.append((vertices, faces))
    return camera, moved


def _draw(surface: Surface, camera: Camera, backend: str) -> Layer:
    """Draws only the part of the picture where something can be, then puts it in its place."""
    renderer = _choose(backend)
    depth = surface.vertices[:, 2]
    layer = _empty_layer(camera.image_size)
    if depth.max() <= _NEAREST:
        return layer
    near, far = max(0.9 * depth.min(), _NEAREST), 1.1 * depth.max()
    top, left, bottom, right = _window(surface, camera, near)
    if top >= bottom or left >= right:
        return layer
    center = (camera.center_px[0] - left, camera.center_px[1] - top)
    crop = Camera(camera.focal_px, center, (bottom - top, right - left))
    part = None
    if renderer is not None:
        try:
            part = renderer.render(surface, crop, near, far)
        except Exception as error:  # a picture too large for the driver, a lost context
            if backend == "egl":
                raise
            logger.warning("pictures: OpenGL failed (%s: %s); software instead", type(error).__name__, error)
    if part is None:
        part = rasterise(surface, crop, near)
    layer.rgba[top:bottom, left:right] = part.rgba
    layer.depth[top:bottom, left:right] = part.depth
    return layer


def _window(surface: Surface, camera: Camera, near: float) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of what the surface can cover; the whole picture if it crosses the near plane."""
    height, width = camera.image_size
    x, y, z = surface.vertices.T
    if z.min() < near:
        return 0, 0, height, width
    u = camera.focal_px * x / z + camera.center_px[0]
    v = camera.focal_px * y / z + camera.center_px[1]
    left, right = np.clip([np.floor(u.min()) - 1, np.ceil(u.max()) + 2], 0, width).astype(int)
    top, bottom = np.clip([np.floor(v.min()) - 1, np.ceil(v.max()) + 2], 0, height).astype(int)
    return top, left, bottom, right


def _empty_layer(image_size: tuple[int, int]) -> Layer:
    return Layer(np.zeros((*image_size, 4), dtype=np.uint8), np.zeros(image_size, dtype=np.float32))


def _blend(picture: UInt8[np.ndarray, "H W 3"], layer: Layer, alpha: float) -> UInt8[np.ndarray, "H W 3"]:
    """Puts a layer, `alpha` opaque, over a picture."""
    rows, columns = np.flatnonzero(layer.rgba[..., 3].any(axis=1)), np.flatnonzero(layer.rgba[..., 3].any(axis=0))
    out = picture.copy()
    if len(rows) == 0:
        return out
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    over = layer.rgba[window].astype(np.float32) * alpha
    under = picture[window].astype(np.float32)
    out[window] = np.rint(over[..., :3] + under * (1 - over[..., 3:] / 255)).astype(np.uint8)
    return out


def _shadow(meshes: Sequence[Mesh], camera: Camera, backend: str, floor=None) -> Layer:
    """Bodies pressed flat on the floor and blurred. Without a floor, each stands on its own, square to the y axis."""
    flat = []
    for vertices, faces in meshes:
        point, up = floor or (np.array([0.0, vertices[:, 1].max(), 0.0]), np.array([0.0, -1.0, 0.0]))
        height = (vertices - point) @ up
        flat.append((vertices - height[:, None] * up, faces))
    layer = draw_meshes(flat, camera, colours=[rgb(INK)] * len(flat), backend=backend, lit=False)
    nearest = min((v[:, 2].mean() for v, _ in flat), default=1.0)
    sigma = max(1.0, 0.05 * camera.focal_px / max(nearest, _NEAREST))  # about 5 cm of penumbra
    return Layer(cv2.GaussianBlur(layer.rgba, (0, 0), min(sigma, 60.0)), layer.depth)


def _portrait(mesh: Mesh, floor, size_px, colour, background: str, backend: str) -> UInt8[np.ndarray, "H W 3"]:
    height, width = size_px
    camera = Camera(_portrait_focal(size_px), ((width - 1) / 2, (height - 1) / 2), (height, width))
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[:] = np.rint(255 * rgb(background))
    if floor is not None:
        point, up = floor
        moved = (_at_distance(point, mesh[0][:, 2].mean()), up)
        picture = _blend(picture, _shadow([mesh], camera, backend, moved), 0.35)
    return _blend(picture, draw_meshes([mesh], camera, colours=[colour], backend=backend), 1.0)


def _portrait_focal(size_px: tuple[int, int]) -> float:
    return min(size_px) / (2 * np.tan(_FIELD_OF_VIEW / 2))


def _distance_to_fit(vertices: Float[np.ndarray, "V 3"], size_px: tuple[int, int], margin: float = 0.92) -> float:
    """How far an eye must stand from the origin for all of a body centred there to be in its picture."""
    half = margin * np.array([size_px[1], size_px[0]]) / 2
    reach = np.abs(vertices[:, :2]) * _portrait_focal(size_px) / half
    return float((reach.max(axis=1) - vertices[:, 2]).max())


def _at_distance(points: Float[np.ndarray, "*batch 3"], distance: float) -> Float[np.ndarray, "*batch 3"]:
    return points + np.array([0.0, 0.0, distance])


def _colours_for(meshes: Sequence[Mesh], colours) -> list[Float[np.ndarray, "3"]]:
    return [person_colour(index) for index in range(len(meshes))] if colours is None else list(colours)


def _write(cell: UInt8[np.ndarray, "H W 3"], text: str) -> None:
    scale = cell.shape[1] / 512
    ink = tuple(int(c) for c in np.rint(255 * rgb(INK)))
    place = (int(8 * scale) + 4, cell.shape[0] - int(10 * scale) - 4)
    cv2.putText(cell, text, place, cv2.FONT_HERSHEY_SIMPLEX, max(0.35, scale), ink, 1, cv2.LINE_AA)
