"""How well bodies and triangulated points explain calibrated views, also one that neither was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bodyfit.data.landmarks import BODY
from bodyfit.fitting.clips.frame_results import frame_results
from bodyfit.fitting.clips.triangulation import AGREE_SHARE, CameraArrays, triangulate
from bodyfit.fitting.clips.view_fit import for_views
from bodyfit.fitting.clips.view_starts import triangulated_person, view_starts
from bodyfit.fitting.energy.observations import person_size
from bodyfit.fitting.sequence.group import Sighting, fit_group
from bodyfit.fitting.solve.fitter import Fitter

CONFIDENT = 0.3
"""Keypoints with less confidence are not measured at."""


@dataclass(frozen=True)
class ViewErrors:
    """Median distances from the keypoints of one camera, px, at the same body points for all three."""

    camera: str
    body: float
    """Of the fitted body's landmarks."""
    triangulated: float
    """Of points triangulated robustly, from the views that agree."""
    plain: float
    """Of points triangulated linearly from all views (confidence-weighted DLT)."""
    points: int
    """How many keypoints were measured at."""


def camera_of(sighting: Sighting) -> str:
    """The camera that a sighting's frame is named after."""
    return sighting.frame.name.rpartition("/")[0]


def errors_of_views(
    fitter: Fitter, sightings: Sequence[Sighting], fps: float, left_out: str | None = None
) -> list[ViewErrors]:
    """Fit one person, and compare each camera's keypoints with the body and with triangulated points.

    Args:
        fitter: body, prior and settings.
        sightings: of one person by several cameras, ascending in time.
        fps: moments per second.
        left_out: a camera whose sightings neither fit nor triangulation get; only its errors are given.
    """
    used = [s for s in sightings if camera_of(s) != left_out]
    solver, seen = for_views(fitter), triangulated_person(used)
    track = fit_group(solver, used, fps=fps, starts=view_starts(solver, seen.thinned()))
    known = {int(t) for t, status in zip(track.moments, track.status, strict=True) if status == "fitted"}
    asked = [s for s in sightings if s.moment in known and left_out in (None, camera_of(s))]
    results, points = frame_results(solver, track, asked), _points_of_moments(used)
    rows: dict[str, list[Float[np.ndarray, "K 3"]]] = {}
    for s, result in zip(asked, results, strict=True):
        if s.moment in points:
            rows.setdefault(camera_of(s), []).append(_distances(s, result.landmarks_px, *points[s.moment]))
    return [_summed(camera, np.concatenate(some)) for camera, some in sorted(rows.items())]


def _points_of_moments(sightings: Sequence[Sighting]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Each moment's robust and plain points, (144, 3), of moments with two views or more."""
    moments: dict[int, list[Sighting]] = {}
    for s in sightings:
        moments.setdefault(s.moment, []).append(s)
    found = {}
    for moment, views in moments.items():
        if len(views) > 1:
            xy, weight = (
                np.stack([getattr(v.frame.detections, n)[v.person] for v in views], 1) for n in ("xy", "confidence")
            )
            cameras = CameraArrays.of_frames([v.frame for v in views])
            tolerance = AGREE_SHARE * np.array(person_size(xy.swapaxes(0, 1), weight.T))
            found[moment] = triangulate(xy, weight, cameras, tolerance).points, linear_points(xy, weight, cameras)
    return found


def linear_points(
    xy: Float[np.ndarray, "K V 2"], weight: Float[np.ndarray, "K V"], cameras: CameraArrays
) -> Float[np.ndarray, "K 3"]:
    """The weighted direct linear transform from all views that are confident; NaN where there are fewer than two.

    Hartley and Zisserman, Multiple View Geometry, 12.2.
    """
    weight = np.where(weight > CONFIDENT, weight, 0.0)
    flat = (xy - cameras.center_px) / cameras.focal_px[:, None]
    matrices = np.concatenate([cameras.rotation, cameras.translation[..., None]], axis=2)
    rows = flat[..., None] * matrices[:, None, 2] - matrices[:, :2]  # (K, V, 2, 4)
    rows = (weight[..., None, None] * rows).reshape(len(xy), -1, 4)
    homogeneous = np.linalg.svd(rows, full_matrices=False)[2][:, -1]
    points = homogeneous[:, :3] / homogeneous[:, 3:]
    points[(weight > 0).sum(1) < 2] = np.nan
    return points


def _distances(s: Sighting, body_px: np.ndarray, robust: np.ndarray, plain: np.ndarray) -> Float[np.ndarray, "K 3"]:
    """Distances of body, robust and plain points, where all are known and the keypoint is confident; else NaN."""
    camera, detections = CameraArrays.of_frames([s.frame]), s.frame.detections
    columns = [body_px, camera.project(robust)[:, 0], camera.project(plain)[:, 0]]
    away = np.stack([np.linalg.norm(column - detections.xy[s.person], axis=1) for column in columns], 1)[list(BODY)]
    seen = detections.confidence[s.person, list(BODY)] > CONFIDENT
    return away[seen & np.isfinite(away).all(1)]


def _summed(camera: str, away: Float[np.ndarray, "N 3"]) -> ViewErrors:
    medians = np.median(away, axis=0) if len(away) else np.full(3, np.nan)
    return ViewErrors(camera, *map(float, medians), len(away))
