"""Bodies as their triangles' edges, drawn over a picture with OpenCV."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from bodyfit.fitting.draw.layers import Mesh

_SUBPIXEL_BITS = 3  # cv2 takes whole numbers: eighths of a pixel
_NEAREST = 0.05  # metres; triangles nearer to the camera's plane are left out
_FARTHEST_PX = 20_000
_FINE_PX = 3000  # as large as bodies are drawn before they are made small again


def draw_wireframe(
    picture: UInt8[np.ndarray, "H W 3"],
    mesh: Mesh,
    *,
    focal_px: float,
    center_px: Sequence[float],
    colour: tuple[int, int, int],
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of `picture` with the edges of the triangles that face the camera.

    Args:
        mesh: (vertices, faces); vertices in metres in the camera frame (OpenCV).
        focal_px: Focal length in pixels.
        center_px: Principal point (x, y).
        colour: RGB, 0 to 255.
    """
    vertices, faces = (np.asarray(part) for part in mesh)
    pixels = _projected(vertices, focal_px, center_px)
    corners = pixels[faces]
    near = (vertices[faces, 2] > _NEAREST).all(axis=1) & (np.abs(corners) < _FARTHEST_PX).all(axis=(1, 2))
    first, second = (corners[:, i] - corners[:, 0] for i in (1, 2))
    facing = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0  # counter-clockwise outside, y down
    corners = corners[near & facing]
    if not len(corners):
        return picture.copy()
    covered = _coverage(corners, picture.shape[:2])[..., None]
    return (picture * (1 - covered) + np.array(colour) * covered).round().astype(np.uint8)


def _coverage(corners: Float[np.ndarray, "T 3 2"], shape: tuple[int, int]) -> Float[np.ndarray, "H W"]:
    """Share of each pixel that thin lines cover: drawn enlarged, since small bodies would be blots of colour else."""
    import cv2

    extent = float(np.ptp(corners.reshape(-1, 2), axis=0).max())
    scale = int(np.clip(_FINE_PX / max(extent, 1.0), 1, 4))
    low = np.floor(corners.min(axis=(0, 1))).clip(0).astype(int)
    high = np.ceil(corners.max(axis=(0, 1))).astype(int) + 1
    high = np.minimum(high, (shape[1], shape[0]))
    covered = np.zeros(shape, dtype=np.float32)
    if (high <= low).any():
        return covered
    width, height = high - low
    lines = np.round(((corners - low + 0.5) * scale - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
    large = np.zeros((height * scale, width * scale), dtype=np.uint8)
    cv2.polylines(large, list(lines), True, 255, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    small = cv2.resize(large, (int(width), int(height)), interpolation=cv2.INTER_AREA)
    covered[low[1] : high[1], low[0] : high[0]] = small / np.float32(255)
    return covered


def _projected(
    vertices: Float[np.ndarray, "V 3"], focal_px: float, center_px: Sequence[float]
) -> Float[np.ndarray, "V 2"]:
    depth = np.maximum(vertices[:, 2:], _NEAREST)
    return vertices[:, :2] / depth * focal_px + np.asarray(center_px)
