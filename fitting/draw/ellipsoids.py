"""Ellipsoids of covariances, coloured by how unsure they are: for viewers and pages."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

LEAST_M, MOST_M = 0.02, 0.25
"""Standard deviations at the ends of the scale of colours."""
_SCALE = np.array([[0, 114, 178], [0, 158, 115], [240, 228, 66], [230, 159, 0], [213, 94, 0]], dtype=float)


def colour_of(deviation_m: float) -> tuple[int, int, int]:
    """From blue (sure) over green and yellow to red (unsure), by the logarithm of a standard deviation."""
    share = np.log(max(deviation_m, 1e-6) / LEAST_M) / np.log(MOST_M / LEAST_M)
    place = np.clip(share, 0, 1) * (len(_SCALE) - 1)
    low = min(int(place), len(_SCALE) - 2)
    mixed = _SCALE[low] + (place - low) * (_SCALE[low + 1] - _SCALE[low])
    red, green, blue = (round(float(one)) for one in mixed)
    return red, green, blue


def ellipsoids(
    centres: Float[np.ndarray, "K 3"], covariances: Float[np.ndarray, "K 3 3"], deviations: float = 1.0
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"], Int[np.ndarray, "V 3"]]:
    """Ellipsoids of some standard deviations about points, as one mesh with a colour (0 to 255) for each vertex.

    Points without a covariance, and those that are known exactly, have none.
    """
    sphere, faces = _sphere()
    vertices, triangles, colours = [], [], []
    for centre, covariance in zip(centres, covariances, strict=True):
        if not (np.isfinite(centre).all() and np.isfinite(covariance).all()):
            continue
        variances, axes = np.linalg.eigh(covariance.astype(float))
        radii = np.sqrt(variances.clip(0))
        if radii[-1] < 1e-4:
            continue
        triangles.append(faces + len(sphere) * len(vertices))
        vertices.append(centre + (deviations * sphere * radii.clip(0.002)) @ axes.T)
        colours.append(np.tile(colour_of(radii[-1]), (len(sphere), 1)))
    if not vertices:
        return np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros((0, 3), int)
    return np.concatenate(vertices), np.concatenate(triangles), np.concatenate(colours)


@lru_cache(maxsize=1)
def _sphere() -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]:
    """A unit sphere of rings and meridians."""
    rings, meridians = 9, 14
    theta = np.linspace(0, np.pi, rings)[:, None]
    phi = np.arange(meridians)[None] * 2 * np.pi / meridians
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta) + 0 * phi], -1)
    faces = []
    for ring in range(rings - 1):
        for place in range(meridians):
            a, b = ring * meridians + place, ring * meridians + (place + 1) % meridians
            faces += [[a, a + meridians, b], [b, a + meridians, b + meridians]]
    return points.reshape(-1, 3), np.array(faces)
