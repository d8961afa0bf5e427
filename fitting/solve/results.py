"""From solved unknowns to what a user gets: one FitResult per person, with its errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import BODY, FACE, LANDMARK_INDEX, LANDMARK_NAMES, LEFT_HAND, LIMB_BONES, RIGHT_HAND
from bodyfit.data.results.modes import any_flip
from bodyfit.data.results.record import UNKNOWN_SIZE
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import CONVERGED, FAILED, Solution
from bodyfit.fitting.energy.observations import CONFIDENT, Observations, person_size
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.solve.ages import years_of
from bodyfit.fitting.solve.frames import GUESSED_FOCAL, Frame
from bodyfit.fitting.solve.plausible import Placed, why_implausible
from bodyfit.fitting.solve.stages import Alternative
from bodyfit.prior.model.vposer import VPoser


@dataclass(frozen=True)
class ResultMaker:
    """Makes results of people who were fitted, or could not be, with one body and prior."""

    body: BodyModel
    prior: VPoser
    unknowns: Unknowns
    landmarks: LandmarkModel
    """All landmarks of the body."""
    refined_focal: bool
    """Whether the focal length was among the unknowns that moved."""
    ambiguous_from: tuple[float, float]
    """`FitConfig.ambiguous_margin` and `ambiguous_probability`."""
    given_age: bool = False
    """Whether the user said who is a child."""
    known_size: str = ""
    """Where the size comes from that was given; empty where none was."""

    def results(
        self,
        chosen: list[tuple[Frame, int]],
        seen: Observations,
        solution: Solution,
        alternative: Alternative,
        seconds: float,
        uncertainty: dict[str, np.ndarray] | None = None,
        age_margin: Float[Tensor, " B"] | None = None,
    ) -> list[FitResult]:
        """A result for each of the people `chosen` (a frame and a number in it each) from their solutions.

        Args:
            uncertainty: everybody's covariances by their names in a FitResult, NaN where somebody has none.
            age_margin: by how much the other kind, adult or child, costs more; None where one was not tried.
        """
        age = {"kid_axis": self.body.has_kid_axis, "age": self._age(age_margin is not None)}
        margins = None if age_margin is None else age_margin.double().cpu().numpy()
        fitted, alternatives = self._fitted(solution.x, seen), self._alternative(alternative.x, "runner_up")
        further = self._further(uncertainty or {})
        cost, second = solution.cost.double().cpu().numpy(), alternative.cost.double().cpu().numpy()
        status, iterations = solution.status.tolist(), solution.iterations.tolist()
        finite = np.isfinite(fitted["landmarks_px"][:, 0]).all(axis=1)
        for name in fitted.keys() - {"landmarks", "landmarks_px", "stature_m"}:
            finite &= np.isfinite(fitted[name].reshape(len(chosen), -1)).all(axis=1)
        errors = _errors(
            fitted["landmarks_px"],
            np.stack([frame.detections.xy[i] for frame, i in chosen]),
            np.stack([frame.detections.confidence[i] for frame, i in chosen]),
        )
        results = []
        for n, (frame, i) in enumerate(chosen):
            state = {CONVERGED: "converged", FAILED: "failed"}.get(status[n], "max_iterations")
            if state != "failed" and not finite[n]:
                results.append(self.failed(frame, i, "the solution is not a number"))
                continue
            mine = {name: array[n] for name, array in fitted.items()}
            if np.isfinite(second[n]):
                mine |= {name: array[n] for name, array in alternatives.items()}
            sure = _covariances(uncertainty or {}, n)
            flipped = sure.pop("runner_up_flips", np.zeros(0, dtype=bool))
            mine |= sure | {"runner_up_flipped": _names_of(flipped)} | ({} if not sure else further[n])
            margin = (second[n] - cost[n]) / cost[n] if cost[n] > 0 and not flipped.any() else np.inf
            mine |= {name: float(values[n]) for name, values in errors.items()}
            mine |= {"cost": float(cost[n]), "runner_up_cost": float(second[n]), "iterations": iterations[n]}
            flips = any_flip(mine.get("flip_probability", np.zeros(0)))
            ambiguous = bool(margin < self.ambiguous_from[0] or flips >= self.ambiguous_from[1])
            mine |= {"ambiguous": ambiguous, "status": state, "seconds": seconds}
            mine["reason"] = "the cost at the start is not a number" if state == "failed" else _warning(frame, i)
            if self.refined_focal:
                mine["focal_source"] = f"{frame.focal_source}, refined"
            mine["size_source"] = self.known_size or _size_unknown(frame)
            mine |= age
            if margins is not None:
                mine["age_margin"] = float(margins[n])
            if self.body.has_kid_axis:
                mine["age_years"] = years_of(self.body, float(mine["betas"][-1]))
            results.append(_judged(FitResult(**self._known(frame, i) | mine)).with_prior(self.prior))
        return results

    def _age(self, tried: bool) -> str:
        """How results say which kind of body they have."""
        kind = "child" if self.body.has_kid_axis else "adult"
        if tried:
            return f"{kind}, by proportions"
        return f"{kind}, given" if self.given_age else f"{kind}: the body knows no children"

    def failed(self, frame: Frame, i: int, reason: str | None) -> FitResult:
        """Person i of a frame, who cannot be fitted."""
        return FitResult(**self._known(frame, i), reason=reason or "")

    def plausible(
        self, chosen: list[tuple[Frame, int]], seen: Observations, x: Float[Tensor, "B D"]
    ) -> Bool[Tensor, " B"]:
        """Whose solutions can be people in their photos: those whose results will not be `implausible`."""
        fitted, found = self._fitted(x, seen), torch.ones(len(chosen), dtype=torch.bool, device=x.device)
        focal = (seen.focal_px * x[:, self.unknowns.layout["log_focal"]].squeeze(1).exp()).tolist()
        for n, (frame, i) in enumerate(chosen):
            detected = (frame.detections.xy[i], frame.detections.confidence[i])
            points = (fitted["landmarks"][n], fitted["landmarks_px"][n])
            found[n] = (
                why_implausible(Placed(*detected, *points, frame.image_size, focal[n], frame.focal_source)) is None
            )
        return found

    def _fitted(self, x: Float[Tensor, "B D"], seen: Observations) -> dict[str, np.ndarray]:
        """Everybody's parameters and landmarks, by their names in a FitResult."""
        unknowns, layout = self.unknowns, self.unknowns.layout
        body = unknowns.decode(x)
        rotations, transl = unknowns.rotations(x, body), x[:, layout["transl"]]
        points = self.landmarks(rotations, unknowns.shape(x), transl, derivatives=False).points
        focal = seen.focal_px * x[:, layout["log_focal"]].squeeze(1).exp()
        pixels = project(points, focal, seen.center_px)
        values = {
            "body_pose": roma.rotmat_to_rotvec(body).flatten(1),
            **{name: x[:, layout[name]] for name in ("global_orient", "transl", "latent", "betas", "expression")},
            **{f"{side}_hand_pose": unknowns.hand_pose(x, side) for side in unknowns.hands},
            **({"jaw_pose": x[:, layout["jaw_pose"]]} if unknowns.has_jaw else {}),
            **({"focal_px": focal} if self.refined_focal else {}),
        }
        values["stature_m"] = unknowns.stature(values["betas"])[0]
        arrays = {name: value.double().cpu().numpy() for name, value in values.items()}
        places = [LANDMARK_INDEX[name] for name in self.landmarks.names]
        for name, some in (("landmarks", points), ("landmarks_px", pixels)):
            # All 144 rows, NaN where the body has no such point.
            arrays[name] = np.full((len(x), len(LANDMARK_NAMES), some.shape[-1]), np.nan)
            arrays[name][:, places] = some.double().cpu().numpy()
        return arrays

    def _further(self, uncertainty: dict[str, np.ndarray]) -> list[dict[str, Any]]:
        """Everybody's further modes, by their names in a FitResult."""
        if "further_x" not in uncertainty:
            return [{}] * len(next(iter(uncertainty.values()), ()))
        x, weight = torch.as_tensor(uncertainty["further_x"]).to(self.landmarks.device), uncertainty["further_weight"]
        values = self._alternative(x.flatten(0, 1), "further")
        values = {name: value.reshape(*weight.shape, -1) for name, value in values.items()}
        values |= {"further_weight": weight, "further_cost": uncertainty["further_cost"]}
        people = []
        for n, kept in enumerate(np.isfinite(weight)):
            flipped = [_names_of(flips) for flips in uncertainty["further_flips"][n][kept]]
            mine = {name: value[n][kept] for name, value in values.items()} if kept.any() else {}
            people.append(mine | {"further_flipped": "; ".join(flipped)})
        return people

    def _alternative(self, x: Float[Tensor, "B D"], prefix: str) -> dict[str, np.ndarray]:
        """Everybody's parameters under an alternative hypothesis, by their names in a FitResult."""
        layout = self.unknowns.layout
        values = {
            f"{prefix}_body_pose": roma.rotmat_to_rotvec(self.unknowns.decode(x)).flatten(1),
            **{f"{prefix}_{name}": x[:, layout[name]] for name in ("global_orient", "transl", "betas")},
        }
        return {name: value.double().cpu().numpy() for name, value in values.items()}

    def _known(self, frame: Frame, i: int) -> dict[str, Any]:
        """The fields of a result with what is known before fitting."""
        zeros = {f"{name}_pose": np.zeros(3) for name in ("jaw", "leye", "reye")}
        zeros |= {f"{side}_hand_pose": np.zeros(45) for side in ("left", "right")}
        count = len(LANDMARK_NAMES)
        return dict(
            **zeros,
            global_orient=np.zeros(3),
            body_pose=np.zeros(63),
            betas=np.zeros(self.unknowns.num_betas),
            expression=np.zeros(self.unknowns.num_expression),
            transl=np.zeros(3),
            latent=np.zeros(self.prior.latent_dim),
            landmarks=np.full((count, 3), np.nan),
            landmarks_px=np.full((count, 2), np.nan),
            keypoints_px=frame.detections.xy[i],
            keypoint_confidence=frame.detections.confidence[i],
            focal_px=frame.focal_px,
            focal_source=frame.focal_source,
            center_px=np.asarray(frame.center_px),
            image_size=frame.image_size,
            status="failed",
            body_model=self.body.name,
            body_gender=self.body.gender,
            prior=self.prior.name,
            person_id=frame.detections.person_ids[i],
            photo=str(frame.photo.resolve()) if frame.photo else "",
            keypoint_source=frame.keypoint_source,
            **_calibration(frame),
        )


def _names_of(flips: Bool[np.ndarray, " 8"]) -> str:
    """Of the flipped ones of LIMB_BONES, "left forearm and left upper arm"."""
    return " and ".join(name for name, yes in zip(LIMB_BONES, flips, strict=False) if yes)


def _covariances(uncertainty: dict[str, Any], n: int) -> dict[str, Any]:
    """Person n's covariances; none where the Hessian had no inverse."""
    factor = uncertainty.get("posterior_factor")
    if factor is None or not np.isfinite(factor[n]).all():
        return {}
    given = {name: array for name, array in uncertainty.items() if not name.startswith("further_")}
    mine = {name: array if isinstance(array, str) else array[n] for name, array in given.items()}
    return mine | {name: value.item() for name, value in mine.items() if isinstance(value, np.floating)}


def _judged(result: FitResult) -> FitResult:
    """The result of a person; `implausible` where no person explains the solution."""
    reason = why_implausible(result) if result.status != "failed" else None
    return result if reason is None else replace(result, status="implausible", reason=reason)


def _size_unknown(frame: Frame) -> str:
    """What size rests on where nothing is known of it: a small person nearby looks like a tall one farther away."""
    guessed = ", and the distance on a guessed focal length" if frame.focal_source == GUESSED_FOCAL else ""
    return f"{UNKNOWN_SIZE}: one photo does not show absolute size (give a height){guessed}"


def _warning(frame: Frame, i: int) -> str:
    """What looked wrong about person i before the fit."""
    return (frame.detections.warnings[i] or "") if frame.detections.warnings else ""


def _calibration(frame: Frame) -> dict[str, np.ndarray]:
    """What is known of the camera beyond focal length and centre."""
    known = {"lens": frame.lens.to_array()} if frame.lens else {}
    if frame.extrinsics:
        known["camera_rotation"] = np.array(frame.extrinsics.rotation)
        known["camera_translation"] = np.array(frame.extrinsics.translation)
    return known


def _errors(
    fitted_px: Float[np.ndarray, "P 144 2"],
    xy: Float[np.ndarray, "P 144 2"],
    confidence: Float[np.ndarray, "P 144"],
) -> dict[str, Float[np.ndarray, " P"]]:
    """Median distance between fitted and detected landmarks that are confident: px, and as a share of person size."""
    distance = np.linalg.norm(fitted_px - xy, axis=-1)
    distance[(confidence <= CONFIDENT) | ~np.isfinite(distance)] = np.nan
    size = np.maximum(person_size(xy, confidence), 1e-9)
    parts = {"error_share_body": BODY, "error_share_hands": LEFT_HAND + RIGHT_HAND, "error_share_face": FACE}
    error_px = _medians(distance)
    shares = {name: _medians(distance[:, list(part)]) / size for name, part in parts.items()}
    return {"error_px": error_px, "error_share": error_px / size, **shares}


def _medians(values: Float[np.ndarray, "P n"]) -> Float[np.ndarray, " P"]:
    """The median of each row's numbers; NaN, which does not count, where there are none."""
    ordered, count = np.sort(values, axis=1), np.isfinite(values).sum(axis=1)  # NaN comes last
    rows = np.arange(len(values))
    return (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, count // 2]) / 2
