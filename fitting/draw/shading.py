"""Lighting per vertex, so that every backend draws the same picture.

Bodies have so many vertices (13 000 per person) that interpolating lit colours (Gouraud shading) looks like shading per
pixel, costs little, and leaves only visibility to the backends.
"""

import numpy as np
from jaxtyping import Float, Int

# Directions towards the lights in the OpenCV camera frame (x right, y down, z forward).
_KEY = np.array([-0.45, -0.75, -0.65])
_FILL = np.array([0.75, -0.05, -0.55])
_SKY = np.array([0.0, -1.0, 0.0])
_EYE = np.array([0.0, 0.0, -1.0])


def vertex_normals(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V 3"]:
    """Unit normals, each the area-weighted mean of those of its faces (zero for a vertex that no face uses)."""
    a, b, c = (np.ascontiguousarray(vertices[corner].T) for corner in faces.T)
    (x1, y1, z1), (x2, y2, z2) = b - a, c - a  # coordinate by coordinate: numpy.cross takes three times as long
    face_normals = (y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2)
    index = faces.ravel()
    normals = np.stack(
        [np.bincount(index, np.repeat(values, 3), minlength=len(vertices)) for values in face_normals], axis=1
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def lit_colours(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], base: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "V 3"]:
    """sRGB colour of every vertex of a mesh in the camera frame, lit from the upper left in front.

    Wrapped diffuse light (not black on the far side), hemispheric ambient light, a soft highlight.
    """
    normals = vertex_normals(vertices, faces)
    key, fill, eye = (_unit(direction) for direction in (_KEY, _FILL, _EYE))
    sky = 0.5 + 0.5 * normals @ _SKY
    light = 0.16 + 0.20 * sky + 0.72 * _wrapped(normals @ key) + 0.16 * _wrapped(normals @ fill)
    highlight = 0.10 * np.clip(normals @ _unit(key + eye), 0.0, 1.0) ** 24
    linear = _linear_from_srgb(base)[None, :] * light[:, None] + highlight[:, None]
    return _srgb_from_linear(np.clip(linear, 0.0, 1.0))


def _wrapped(cosine: Float[np.ndarray, " V"], wrap: float = 0.35) -> Float[np.ndarray, " V"]:
    return np.clip((cosine + wrap) / (1.0 + wrap), 0.0, 1.0)


def _unit(vector: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    return vector / np.linalg.norm(vector)


def _linear_from_srgb(colour: np.ndarray) -> np.ndarray:
    colour = np.asarray(colour, dtype=float)
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def _srgb_from_linear(colour: np.ndarray) -> np.ndarray:
    return np.where(colour <= 0.0031308, colour * 12.92, 1.055 * np.maximum(colour, 1e-9) ** (1 / 2.4) - 0.055)
