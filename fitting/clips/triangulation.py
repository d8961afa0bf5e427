"""Points in 3D from several calibrated views: the best pair of views, then Gauss-Newton on all that agree with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float

from bodyfit.fitting.solve.frames import Frame

AGREE_SHARE = 0.06
"""Views agree on a point where it is seen within this share of the person's size from where it should be."""
_LEAST_PARALLAX = np.cos(np.deg2rad(1.5))  # rays closer to parallel say nothing about depth
_MOST_PAIRS = 120
_STEPS = 6
_AT_ONCE = 4096  # points


@dataclass(frozen=True)
class CameraArrays:
    """V ideal pinhole cameras in one world."""

    focal_px: Float[np.ndarray, " V"]
    center_px: Float[np.ndarray, "V 2"]
    rotation: Float[np.ndarray, "V 3 3"]
    """From the world to the camera."""
    translation: Float[np.ndarray, "V 3"]

    @classmethod
    def of_frames(cls, frames: Sequence[Frame]) -> CameraArrays:
        """The cameras that took some frames, all with extrinsics."""
        placed = [frame.extrinsics for frame in frames]
        return cls(
            np.array([frame.focal_px for frame in frames], dtype=float),
            np.array([frame.center_px for frame in frames], dtype=float).reshape(-1, 2),
            np.array([e.rotation for e in placed], dtype=float).reshape(-1, 3, 3),
            np.array([e.translation for e in placed], dtype=float).reshape(-1, 3),
        )

    def __len__(self) -> int:
        return len(self.focal_px)

    def of(self, views: Sequence[int] | np.ndarray) -> CameraArrays:
        """Some of the cameras."""
        rows = np.asarray(views, dtype=int)
        return CameraArrays(self.focal_px[rows], self.center_px[rows], self.rotation[rows], self.translation[rows])

    def centers(self) -> Float[np.ndarray, "V 3"]:
        """Where the cameras stand."""
        return -(self.rotation.transpose(0, 2, 1) @ self.translation[..., None])[..., 0]

    def rays(self, xy: Float[np.ndarray, "... V 2"]) -> Float[np.ndarray, "... V 3"]:
        """Unit directions in the world of what is seen at these pixels."""
        flat = (xy - self.center_px) / self.focal_px[:, None]
        rays = np.concatenate([flat, np.ones_like(flat[..., :1])], axis=-1)
        rays = np.einsum("vji,...vj->...vi", self.rotation, rays)
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def project(self, points: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... V 2"]:
        """Where all cameras see points; NaN behind a camera."""
        there = np.einsum("vij,...j->...vi", self.rotation, points) + self.translation
        depth = np.where(there[..., 2] > 1e-9, there[..., 2], np.nan)
        return there[..., :2] / depth[..., None] * self.focal_px[:, None] + self.center_px


@dataclass(frozen=True)
class Triangulated:
    """Points and what the views say about them."""

    points: Float[np.ndarray, "... 3"]
    """World; NaN where fewer than two views agree."""
    agree: Bool[np.ndarray, "... V"]
    """Views that agree with the point."""
    error_px: Float[np.ndarray, "... V"]
    """Distance between the point's projection and what each view saw; NaN where it saw nothing."""


def triangulate(
    xy: Float[np.ndarray, "... V 2"],
    weight: Float[np.ndarray, "... V"],
    cameras: CameraArrays,
    tolerance_px: Float[np.ndarray, "... V"] | float,
) -> Triangulated:
    """Triangulate points robustly: views that disagree with the others are left out.

    Every pair of views proposes a point. The one with the least truncated squared error over all views is refined by
    Gauss-Newton on the views that agree with it, with Huber's weights.

    Args:
        xy: where ideal pinhole cameras saw the points.
        weight: confidence; 0: unseen.
        cameras: of the V views.
        tolerance_px: error up to which a view agrees.
    """
    shape = xy.shape[:-2]
    views = len(cameras)
    xy, weight = xy.reshape(-1, views, 2), weight.reshape(-1, views)
    tolerance = np.broadcast_to(tolerance_px, (*shape, views)).reshape(-1, views)
    parts = [
        _some(xy[rows], weight[rows], cameras, tolerance[rows])
        for rows in (slice(n, n + _AT_ONCE) for n in range(0, max(len(xy), 1), _AT_ONCE))
    ]
    points, agree, error = (np.concatenate([part[n] for part in parts]) for n in range(3))
    return Triangulated(points.reshape(*shape, 3), agree.reshape(*shape, views), error.reshape(*shape, views))


def _some(xy: np.ndarray, weight: np.ndarray, cameras: CameraArrays, tolerance: np.ndarray) -> tuple[np.ndarray, ...]:
    seen = (weight > 0) & np.isfinite(xy).all(-1)
    xy = np.where(seen[..., None], xy, 0.0)
    best, least = np.full((len(xy), 3), np.nan), np.full(len(xy), np.inf)
    rays, centers = cameras.rays(xy), cameras.centers()
    for i, j in _pairs(len(cameras)):
        points, good = _between_rays(centers[i], rays[:, i], centers[j], rays[:, j])
        good &= seen[:, i] & seen[:, j]
        if not good.any():
            continue
        cost = _truncated(_errors(points, xy, cameras), weight * seen, tolerance)
        better = good & (cost < least)
        best[better], least[better] = points[better], cost[better]
    error = _errors(best, xy, cameras)
    for _ in range(_STEPS):
        agree = seen & (error < tolerance)
        best = _gauss_newton(best, xy, weight * agree, cameras, tolerance)
        error = _errors(best, xy, cameras)
    agree = seen & (error < tolerance)
    lost = agree.sum(1) < 2
    best[lost], agree[lost] = np.nan, False
    return best, agree, np.where(seen & ~lost[:, None], error, np.nan)


def _pairs(views: int) -> list[tuple[int, int]]:
    """All pairs of views, or some of each distance in a long list of cameras."""
    pairs = list(combinations(range(views), 2))
    if len(pairs) <= _MOST_PAIRS:
        return pairs
    return [pairs[n] for n in np.random.default_rng(0).permutation(len(pairs))[:_MOST_PAIRS]]


def _between_rays(
    a: np.ndarray, u: Float[np.ndarray, "N 3"], b: np.ndarray, v: Float[np.ndarray, "N 3"]
) -> tuple[Float[np.ndarray, "N 3"], Bool[np.ndarray, " N"]]:
    """The middle of the shortest line between two rays; good where they are not parallel and it is ahead of both."""
    cos = (u * v).sum(-1)
    sine2 = np.maximum(1 - cos**2, 1e-12)
    across = b - a
    along_u, along_v = u @ across, v @ across
    s = (along_u - cos * along_v) / sine2
    t = (cos * along_u - along_v) / sine2
    middle = 0.5 * (a + s[:, None] * u + b + t[:, None] * v)
    return middle, (np.abs(cos) < _LEAST_PARALLAX) & (s > 0) & (t > 0)


def _errors(points: np.ndarray, xy: np.ndarray, cameras: CameraArrays) -> Float[np.ndarray, "N V"]:
    """Reprojection errors; infinite behind a camera."""
    return np.nan_to_num(np.linalg.norm(cameras.project(points) - xy, axis=-1), nan=np.inf)


def _truncated(error: np.ndarray, weight: np.ndarray, tolerance: np.ndarray) -> Float[np.ndarray, " N"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.nan_to_num(error / tolerance, nan=1.0)
    return (weight * np.minimum(share, 1.0) ** 2).sum(-1)


def _gauss_newton(
    points: np.ndarray, xy: np.ndarray, weight: np.ndarray, cameras: CameraArrays, tolerance: np.ndarray
) -> np.ndarray:
    """One step on the weighted squares of reprojection errors; unchanged where two views are not left."""
    there = np.einsum("vij,nj->nvi", cameras.rotation, points) + cameras.translation
    depth = np.where(there[..., 2] > 1e-9, there[..., 2], 1.0)
    residual = there[..., :2] / depth[..., None] * cameras.focal_px[:, None] + cameras.center_px - xy
    slope = np.zeros((*there.shape[:2], 2, 3))
    slope[..., 0, 0] = slope[..., 1, 1] = cameras.focal_px / depth
    slope[..., 2] = -there[..., :2] * (cameras.focal_px / depth**2)[..., None]
    slope = slope @ cameras.rotation
    size = np.linalg.norm(residual, axis=-1)
    huber = np.minimum(1.0, 0.25 * tolerance / np.maximum(size, 1e-9))
    trust = np.where(weight > 0, weight * huber, 0.0)[..., None, None]
    normal = (slope.swapaxes(-1, -2) @ (trust * slope)).sum(1)
    right = (slope.swapaxes(-1, -2) @ (trust * residual[..., None])).sum(1)
    good = ((weight > 0).sum(1) >= 2) & np.isfinite(points).all(1)
    normal[~good], right[~good] = np.eye(3), 0
    normal += 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    return points - np.linalg.solve(normal, right)[..., 0]
