"""From solved unknowns to what a user gets: a FitResult a person, with its errors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import roma

from bodyfit.data.landmarks import BODY, FACE, LANDMARK_INDEX, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND
from bodyfit.data.result import FitResult
from bodyfit.fitting.camera import project
from bodyfit.fitting.frames import Frame
from bodyfit.fitting.levenberg_marquardt import CONVERGED, FAILED, Solution
from bodyfit.fitting.observations import CONFIDENT, Observations, person_size
from bodyfit.fitting.stages import OtherReading

if TYPE_CHECKING:
    from bodyfit.fitting.pipeline import Fitter


def person_results(
    fitter: Fitter,
    chosen: list[tuple[Frame, int]],
    seen: Observations,
    solution: Solution,
    other: OtherReading,
    seconds: float,
) -> list[FitResult]:
    """A result for each of the people `chosen`, a frame and a number in it each, from their solutions."""
    fitted, others = _fitted(fitter, solution.x, seen), _other_reading(fitter, other.x)
    cost, second = solution.cost.double().cpu().numpy(), other.cost.double().cpu().numpy()
    status, iterations = solution.status.cpu().numpy(), solution.iterations.cpu().numpy()
    results = []
    for n, (frame, i) in enumerate(chosen):
        mine = {name: array[n] for name, array in fitted.items()}
        if np.isfinite(second[n]):
            mine |= {name: array[n] for name, array in others.items()}
        margin = (second[n] - cost[n]) / cost[n] if cost[n] > 0 else np.inf
        state = {CONVERGED: "converged", FAILED: "failed"}.get(int(status[n]), "max_iterations")
        results.append(
            replace(
                _blank(fitter, frame, i),
                **mine,
                **_errors(mine["landmarks_px"], frame.detections.xy[i], frame.detections.confidence[i]),
                status=state,
                reason="the cost at the start is not a number" if state == "failed" else "",
                cost=float(cost[n]),
                runner_up_cost=float(second[n]),
                ambiguous=bool(margin < fitter.config.ambiguous_margin),
                iterations=int(iterations[n]),
                seconds=seconds,
            )
        )
    return results


def _fitted(fitter: Fitter, x: Float[Tensor, "B D"], seen: Observations) -> dict[str, np.ndarray]:
    """Everybody's parameters and landmarks, by their names in a FitResult."""
    chart, layout, transl = fitter.chart, fitter.chart.layout, x[:, fitter.chart.layout["transl"]]
    body = chart.decode(x)
    state = fitter.everything(chart.rotations(x, body), chart.shape(x), transl, derivatives=False)
    focal = seen.focal_px * x[:, layout["log_focal"]].squeeze(1).exp()
    pixels = project(state.points, focal, seen.center_px)
    values = {
        "body_pose": roma.rotmat_to_rotvec(body).flatten(1),
        **{name: x[:, layout[name]] for name in ("global_orient", "transl", "latent", "betas", "expression")},
        **{f"{side}_hand_pose": chart.hand_pose(x, side) for side in chart.hands},
        **({"jaw_pose": x[:, layout["jaw_pose"]]} if chart.has_jaw else {}),
        **({"focal_px": focal} if fitter.config.refine_focal else {}),
    }
    arrays = {name: value.double().cpu().numpy() for name, value in values.items()}
    places = [LANDMARK_INDEX[name] for name in fitter.everything.names]
    for name, points in (("landmarks", state.points), ("landmarks_px", pixels)):
        # All 144 rows, NaN where the body has no such point.
        arrays[name] = np.full((len(x), len(LANDMARK_NAMES), points.shape[-1]), np.nan)
        arrays[name][:, places] = points.double().cpu().numpy()
    return arrays


def _other_reading(fitter: Fitter, x: Float[Tensor, "B D"]) -> dict[str, np.ndarray]:
    """Everybody's parameters in the other reading, by their names in a FitResult."""
    values = {
        "runner_up_body_pose": roma.rotmat_to_rotvec(fitter.chart.decode(x)).flatten(1),
        **{f"runner_up_{name}": x[:, fitter.chart.layout[name]] for name in ("global_orient", "transl", "betas")},
    }
    return {name: value.double().cpu().numpy() for name, value in values.items()}


def _blank(fitter: Fitter, frame: Frame, i: int) -> FitResult:
    """A result with what is known before fitting."""
    zeros = {f"{name}_pose": np.zeros(3) for name in ("jaw", "leye", "reye")}
    zeros |= {f"{side}_hand_pose": np.zeros(45) for side in ("left", "right")}
    count = len(LANDMARK_NAMES)
    return FitResult(
        **zeros,
        global_orient=np.zeros(3),
        body_pose=np.zeros(63),
        betas=np.zeros(fitter.chart.num_betas),
        expression=np.zeros(fitter.chart.num_expression),
        transl=np.zeros(3),
        latent=np.zeros(fitter.prior.latent_dim),
        landmarks=np.full((count, 3), np.nan),
        landmarks_px=np.full((count, 2), np.nan),
        keypoints_px=frame.detections.xy[i],
        keypoint_confidence=frame.detections.confidence[i],
        focal_px=frame.focal_px,
        focal_source=frame.focal_source,
        center_px=np.asarray(frame.center_px),
        image_size=frame.image_size,
        status="failed",
        body_model=fitter.body.name,
        body_gender=fitter.body.gender,
        prior=fitter.prior.name,
        person_id=frame.detections.person_ids[i],
        photo=str(frame.photo.resolve()) if frame.photo else "",
    )


def failed_result(fitter: Fitter, frame: Frame, i: int, reason: str | None) -> FitResult:
    """Person i of a frame, who cannot be fitted."""
    return replace(_blank(fitter, frame, i), reason=reason or "")


def _errors(fitted_px: np.ndarray, xy: np.ndarray, confidence: np.ndarray) -> dict[str, float]:
    """Median distance between fitted and detected landmarks that are confident: px, and as a share of person size."""
    distance = np.linalg.norm(fitted_px - xy, axis=-1)
    distance[(confidence <= CONFIDENT) | ~np.isfinite(distance)] = np.nan
    size = float(person_size(xy, confidence))
    parts = {"error_share_body": BODY, "error_share_hands": LEFT_HAND + RIGHT_HAND, "error_share_face": FACE}

    def median(values: np.ndarray) -> float:
        return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")

    errors = {name: median(distance[list(part)]) / max(size, 1e-9) for name, part in parts.items()}
    return {"error_px": median(distance), "error_share": median(distance) / max(size, 1e-9), **errors}
