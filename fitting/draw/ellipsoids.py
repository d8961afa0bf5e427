"""Ellipsoids of covariances, coloured by how unsure they are: for viewers and pages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

LEAST_M, MOST_M = 0.02, 0.25
"""Standard deviations at the ends of the scale of colours."""
_SCALE = np.array([[0, 114, 178], [0, 158, 115], [240, 228, 66], [230, 159, 0], [213, 94, 0]], dtype=float)
_THINNEST_M = 0.002
_EXACT_M = 1e-4


@dataclass(frozen=True)
class Ellipsoids:
    """Some ellipsoids: the unit sphere, scaled along its axes, turned, and moved."""

    centres: Float[np.ndarray, "K 3"]
    turns: Float[np.ndarray, "K 3 3"]
    """Rotations; columns are the axes."""
    radii: Float[np.ndarray, "K 3"]
    """Standard deviations along the axes, metres, smallest first; never below 2 mm, so that all are visible."""
    colours: UInt8[np.ndarray, "K 3"]
    """By the largest standard deviation."""

    def __len__(self) -> int:
        return len(self.centres)


def colour_of(deviation_m: float) -> tuple[int, int, int]:
    """From blue (sure) over green and yellow to red (unsure), by the logarithm of a standard deviation."""
    share = np.log(max(deviation_m, 1e-6) / LEAST_M) / np.log(MOST_M / LEAST_M)
    place = np.clip(share, 0, 1) * (len(_SCALE) - 1)
    low = min(int(place), len(_SCALE) - 2)
    mixed = _SCALE[low] + (place - low) * (_SCALE[low + 1] - _SCALE[low])
    red, green, blue = (round(float(one)) for one in mixed)
    return red, green, blue


def ellipsoids(centres: Float[np.ndarray, "N 3"], covariances: Float[np.ndarray, "N 3 3"]) -> Ellipsoids:
    """Ellipsoids of one standard deviation about points.

    Points without a covariance, and those that are known exactly, have none.
    """
    known = np.isfinite(centres).all(axis=1) & np.isfinite(covariances).all(axis=(1, 2))
    variances, turns = np.linalg.eigh(covariances[known].astype(float))
    radii = np.sqrt(variances.clip(0))
    unsure = radii[:, -1] >= _EXACT_M
    radii, turns = radii[unsure], turns[unsure]
    turns[np.linalg.det(turns) < 0, :, 0] *= -1  # rotations, no reflections
    colours = np.array([colour_of(largest) for largest in radii[:, -1]], dtype=np.uint8).reshape(-1, 3)
    return Ellipsoids(centres[known][unsure].astype(float), turns, radii.clip(_THINNEST_M), colours)
