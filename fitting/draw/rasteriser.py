"""A software rasteriser in numpy, for machines without OpenGL.

All triangles are tested against all samples of their bounding boxes at once, in chunks of bounded memory: edge
functions say which samples lie inside, and `numpy.maximum.at` keeps the nearest (z-buffer). 1 / z is linear on the
image plane, which gives both depth and perspective-correct colours. Pineda, "A parallel algorithm for polygon
rasterization", SIGGRAPH 1988.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

_PAIRS_AT_ONCE = 1 << 20  # (triangle, sample) pairs per chunk: about 100 MB


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in OpenCV's convention: x right, y down, z forward, pixel (0, 0) the centre of the top-left
    pixel."""

    focal_px: float
    center_px: tuple[float, float]
    """Principal point (x, y)."""
    image_size: tuple[int, int]
    """(height, width) in pixels."""

    def project(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 2"]:
        """Pixels of points in the camera frame; NaN for those that are not in front of it."""
        depth = np.where(points[:, 2:] > 0, points[:, 2:], np.nan)
        return self.focal_px * points[:, :2] / depth + np.array(self.center_px)


@dataclass(frozen=True)
class Surface:
    """Coloured triangles in the camera frame, all people of a picture together."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    colours: Float[np.ndarray, "V 3"]
    """sRGB in [0, 1], light included."""


@dataclass(frozen=True)
class Layer:
    """The output of a backend."""

    rgba: UInt8[np.ndarray, "H W 4"]
    """Colour multiplied by coverage, and coverage."""
    depth: Float[np.ndarray, "H W"]
    """z in metres; 0 where nothing is."""


def rasterise(surface: Surface, camera: Camera, near: float, *, samples: int = 2) -> Layer:
    """Draws a surface with `samples` x `samples` samples a pixel; what lies nearer than `near` metres is cut away."""
    height, width = camera.image_size
    fine = Camera(
        focal_px=camera.focal_px * samples,
        center_px=tuple((c + 0.5) * samples - 0.5 for c in camera.center_px),
        image_size=(height * samples, width * samples),
    )
    clipped = clip_near(surface, near)
    inverse_depth, triangle = _z_buffer(clipped, fine)
    colour = _interpolate(clipped, fine, triangle)
    alpha = _mean_of_samples((triangle >= 0).astype(np.float32), samples)
    rgb = _mean_of_samples(colour, samples)
    nearest = np.maximum.reduce(_sample_planes(inverse_depth, samples))
    depth = np.divide(1.0, nearest, out=np.zeros_like(nearest), where=nearest > 0)
    rgba = np.concatenate([rgb, alpha[..., None]], axis=2)
    return Layer(rgba=np.rint(255 * rgba).astype(np.uint8), depth=depth)


def _sample_planes(image: np.ndarray, samples: int) -> list[np.ndarray]:
    return [image[i::samples, j::samples] for i in range(samples) for j in range(samples)]


def _mean_of_samples(image: np.ndarray, samples: int) -> np.ndarray:
    return sum(_sample_planes(image, samples)) * np.float32(1 / samples**2)


def clip_near(surface: Surface, near: float) -> Surface:
    """Cuts triangles at the plane z = near (one corner in front leaves one triangle, two leave two)."""
    in_front = surface.vertices[:, 2] >= near
    count = in_front[surface.faces].sum(axis=1)
    whole = surface.faces[count == 3]
    cut = surface.faces[(count == 1) | (count == 2)]
    if len(cut) == 0:
        return Surface(surface.vertices, whole, surface.colours)
    inside = in_front[cut]
    single = inside.sum(axis=1) == 1
    # Rotate the corners of each triangle so that the one that is alone on its side of the plane comes first.
    lonely = np.where(single, inside.argmax(axis=1), (~inside).argmax(axis=1))
    a, b, c = (cut[np.arange(len(cut)), (lonely + turn) % 3] for turn in range(3))
    attributes = np.concatenate([surface.vertices, surface.colours], axis=1)
    crossings = []
    for other in (b, c):
        share = (near - attributes[a, 2]) / (attributes[other, 2] - attributes[a, 2])
        crossings.append(attributes[a] + share[:, None] * (attributes[other] - attributes[a]))
    first = len(attributes) + np.arange(len(cut))
    second = first + len(cut)
    attributes = np.concatenate([attributes, *crossings])
    pieces = [
        np.stack([a, first, second], axis=1)[single],
        np.stack([first, b, c], axis=1)[~single],
        np.stack([first, c, second], axis=1)[~single],
    ]
    return Surface(attributes[:, :3], np.concatenate([whole, *pieces]), attributes[:, 3:])


def _corners_on_image(surface: Surface, camera: Camera) -> Float[np.ndarray, "F 3 3"]:
    """Corners of each triangle as (x px, y px, 1 / z)."""
    x, y, z = surface.vertices.T
    with np.errstate(divide="ignore", invalid="ignore"):  # after clipping no face uses vertices behind the camera
        inverse = 1.0 / z
        u = camera.focal_px * x * inverse + camera.center_px[0]
        v = camera.focal_px * y * inverse + camera.center_px[1]
    return np.stack([u, v, inverse], axis=1)[surface.faces]


def _z_buffer(surface: Surface, camera: Camera) -> tuple[Float[np.ndarray, "H W"], Int[np.ndarray, "H W"]]:
    """1 / z of the nearest triangle at each sample, and which triangle it is (-1 for none)."""
    height, width = camera.image_size
    inverse_depth = np.zeros(height * width, dtype=np.float32)
    triangle = np.full(height * width, -1, dtype=np.int32)
    corners = _corners_on_image(surface, camera)
    low = np.ceil(np.clip(corners[..., :2].min(axis=1), 0, [width, height])).astype(np.int64)
    high = np.floor(np.clip(corners[..., :2].max(axis=1), -1, [width - 1, height - 1])).astype(np.int64)
    box = np.maximum(high - low + 1, 0)
    area = box[:, 0] * box[:, 1]
    planes = _edge_planes(corners)
    order = np.flatnonzero((area > 0) & np.isfinite(planes).all(axis=(1, 2)))
    cumulative = np.concatenate([[0], np.cumsum(area[order])])
    start = 0
    while start < len(order):
        stop = max(start + 1, int(np.searchsorted(cumulative, cumulative[start] + _PAIRS_AT_ONCE, side="right")) - 1)
        chosen = order[start:stop]
        _draw(chosen, low[chosen], box[chosen], planes[chosen], width, inverse_depth, triangle)
        start = stop
    return inverse_depth.reshape(height, width), triangle.reshape(height, width)


def _edge_planes(corners: Float[np.ndarray, "F 3 3"]) -> Float[np.ndarray, "F 4 3"]:
    """Planes (a, b, c): a x + b y + c is each corner's barycentric weight on the image, and 1 / z in the fourth row.

    Not finite for a triangle seen edge-on.
    """
    points = np.concatenate([corners[..., :2], np.ones_like(corners[..., :1])], axis=2)
    cofactors = np.stack([np.cross(points[:, (i + 1) % 3], points[:, (i + 2) % 3]) for i in range(3)], axis=1)
    determinant = np.einsum("fi,fi->f", points[:, 0], cofactors[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        planes = cofactors / determinant[:, None, None]
    inverse = np.einsum("fij,fi->fj", planes, corners[..., 2])
    return np.concatenate([planes, inverse[:, None, :]], axis=1)


def _draw(chosen, low, box, planes, width, inverse_depth, triangle) -> None:
    """Draws the triangles `chosen` into the z-buffer, in place."""
    area = box[:, 0] * box[:, 1]
    which = np.repeat(np.arange(len(chosen), dtype=np.int32), area)
    within = np.arange(len(which), dtype=np.int32) - np.repeat((np.cumsum(area) - area).astype(np.int32), area)
    row, column = np.divmod(within, np.repeat(box[:, 0].astype(np.int32), area))
    # Coordinates relative to the corner of the box keep float32 accurate enough on large pictures.
    corner = np.concatenate([low, np.ones((len(low), 1))], axis=1)
    offset = np.einsum("fkj,fj->kf", planes, corner).astype(np.float32)
    slope_x, slope_y = planes[:, :, 0].T.astype(np.float32), planes[:, :, 1].T.astype(np.float32)
    column_f, row_f = column.astype(np.float32), row.astype(np.float32)

    def weight(k: int) -> np.ndarray:
        value = np.repeat(slope_x[k], area)
        value *= column_f
        value += np.repeat(offset[k], area)
        rise = np.repeat(slope_y[k], area)
        rise *= row_f
        value += rise
        return value

    first, second = weight(0), weight(1)  # the three weights sum to one
    inside = np.flatnonzero((first >= -1e-6) & (second >= -1e-6) & (first + second <= 1 + 1e-6))
    which = which[inside]
    sample = (low[which, 1] + row[inside]) * width + low[which, 0] + column[inside]
    inverse = offset[3, which] + slope_x[3, which] * column_f[inside] + slope_y[3, which] * row_f[inside]
    np.maximum.at(inverse_depth, sample, inverse)
    nearest = inverse_depth[sample] == inverse
    triangle[sample[nearest]] = chosen[which[nearest]]


def _interpolate(surface: Surface, camera: Camera, triangle: Int[np.ndarray, "H W"]) -> Float[np.ndarray, "H W 3"]:
    """Perspective-correct colours of the visible triangles; 0 elsewhere."""
    colour = np.zeros((*camera.image_size, 3), dtype=np.float32)
    rows, columns = np.nonzero(triangle >= 0)
    visible = triangle[rows, columns]
    corners = _corners_on_image(surface, camera)
    # Colour / z and 1 / z are linear on the image: a plane for each per triangle, relative to its first corner
    # (float32).
    attributes = np.concatenate([surface.colours, np.ones((len(surface.colours), 1))], axis=1)[surface.faces]
    attributes *= corners[..., 2:]
    planes = np.einsum("fkj,fkc->fjc", _edge_planes(corners)[:, :3], attributes)
    origin = np.rint(corners[:, 0, :2])
    with np.errstate(invalid="ignore"):  # triangles seen edge-on have no planes, and no samples either
        planes[:, 2] += planes[:, 0] * origin[:, :1] + planes[:, 1] * origin[:, 1:]
    of_sample = planes.astype(np.float32)[visible]
    x = (columns - origin[visible, 0]).astype(np.float32)[:, None]
    y = (rows - origin[visible, 1]).astype(np.float32)[:, None]
    value = of_sample[:, 0] * x
    value += of_sample[:, 1] * y
    value += of_sample[:, 2]
    colour[rows, columns] = np.clip(value[:, :3] / value[:, 3:], 0.0, 1.0)
    return colour
