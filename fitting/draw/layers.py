"""Bodies as transparent layers, and blending of layers over pictures.

pyrender draws through EGL where that works, a software rasteriser where it does not; lighting is computed before
(`shading`), so both give the same picture.
"""

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageFilter

from bodyfit.fitting.draw.colours import INK, person_colour, rgb
from bodyfit.fitting.draw.gl_renderer import gl_renderer
from bodyfit.fitting.draw.rasteriser import Camera, Layer, Surface, rasterise
from bodyfit.fitting.draw.shading import lit_colours

logger = logging.getLogger(__name__)

Mesh = tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]
Plane = tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]
"""A point and the unit normal of a floor."""

BACKENDS = ("auto", "egl", "software")
_SMOOTHED_PIXELS = 4_000_000  # larger pictures are drawn without antialiasing, to save time
_NEAREST = 0.02  # metres; what is nearer to the camera than this is never drawn


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


def blend(picture: UInt8[np.ndarray, "H W 3"], layer: Layer, alpha: float) -> UInt8[np.ndarray, "H W 3"]:
    """Blends a layer over a picture with opacity `alpha`."""
    out = np.array(picture, order="C")
    pixels, layer_pixels = out.reshape(-1, 3), layer.rgba.reshape(-1, 4)
    covered = np.flatnonzero(layer_pixels[:, 3])
    over = layer_pixels[covered].astype(np.float32) * alpha
    under = pixels[covered].astype(np.float32)
    pixels[covered] = np.rint(over[:, :3] + under * (1 - over[:, 3:] / 255)).astype(np.uint8)
    return out


def shadow_layer(meshes: Sequence[Mesh], camera: Camera, backend: str, floor: Plane | None = None) -> Layer:
    """Shadows: bodies projected on the floor and blurred. Without a floor, each has its own, orthogonal to the y
    axis."""
    flat = []
    for vertices, faces in meshes:
        point, up = floor or (np.array([0.0, vertices[:, 1].max(), 0.0]), np.array([0.0, -1.0, 0.0]))
        height = (vertices - point) @ up
        flat.append((vertices - height[:, None] * up, faces))
    layer = draw_meshes(flat, camera, colours=[rgb(INK)] * len(flat), backend=backend, lit=False)
    nearest = min((v[:, 2].mean() for v, _ in flat), default=1.0)
    sigma = max(1.0, 0.05 * camera.focal_px / max(nearest, _NEAREST))  # about 5 cm of penumbra
    sharp = Image.fromarray(layer.rgba[..., 3])
    coverage = np.asarray(sharp.filter(ImageFilter.GaussianBlur(min(float(sigma), 60.0))))
    ink = np.rint(np.arange(256)[:, None] * np.append(rgb(INK), 1.0)).astype(np.uint8)
    return Layer(ink[coverage], layer.depth)


def backend_name(backend: str = "auto") -> str:
    """What would draw a picture here: `egl (<device>)` or `software`."""
    renderer = choose_renderer(backend)
    return "software" if renderer is None else f"egl ({renderer.device})"


def choose_renderer(backend: str):
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    renderer = None if backend == "software" else gl_renderer()
    if renderer is None and backend == "egl":
        raise RuntimeError("no EGL context can be made here (the log says why); use backend='software' or 'auto'")
    return renderer


def _draw(surface: Surface, camera: Camera, backend: str) -> Layer:
    """Draws only the window of the picture that the surface can cover."""
    renderer = choose_renderer(backend)
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
        pixels = crop.image_size[0] * crop.image_size[1]
        part = rasterise(surface, crop, near, samples=2 if pixels <= _SMOOTHED_PIXELS else 1)
    layer.rgba[top:bottom, left:right] = part.rgba
    layer.depth[top:bottom, left:right] = part.depth
    return layer


def _window(surface: Surface, camera: Camera, near: float) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the window that the surface can cover; the whole picture if it crosses the near
    plane."""
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


def _colours_for(meshes: Sequence[Mesh], colours) -> list[Float[np.ndarray, "3"]]:
    return [person_colour(index) for index in range(len(meshes))] if colours is None else list(colours)
