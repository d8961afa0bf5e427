"""From the track of a person to what single photos give: one FitResult per sighting, in that camera's frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.results.modes import any_flip
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.track import COVARIANCES, Track
from bodyfit.fitting.energy.levenberg_marquardt import CONVERGED, Solution
from bodyfit.fitting.energy.observations import Observations, observe
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.sequence import places
from bodyfit.fitting.sequence.ages import fitter_of
from bodyfit.fitting.sequence.group import Sighting
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.stages import Alternative

AT_ONCE = 128
"""Sightings that are posed together."""


@torch.no_grad()
def frame_results(fitter: Fitter, track: Track, sightings: Sequence[Sighting]) -> list[FitResult]:
    """What each of a person's frames shows, as if it had been fitted alone: parameters, landmarks, errors.

    Args:
        fitter: the one that fitted the track.
        track: the person, in the one camera's frame or in the world.
        sightings: of this person; those of several cameras where these have extrinsics. Frames in which the person was
            not seen may be among them (`unseen`).

    Returns:
        a result per sighting, in their order. Its status is "converged" (or "implausible") where the moment was fitted,
        "interpolated" where nothing was seen at it, and "failed" where the track has no body at it.
    """
    fitter = fitter_of(fitter, track)
    row = {int(moment): n for n, moment in enumerate(track.moments)}
    results: list[FitResult | None] = [None] * len(sightings)
    for n, s in enumerate(sightings):
        if s.moment not in row or track.status[row[s.moment]] == "failed":
            reason = s.frame.detections.problems[s.person] or track.reason or "no body at this moment"
            results[n] = replace(fitter.make.failed(s.frame, s.person, reason), person_id=track.person)
    places = [n for n, result in enumerate(results) if result is None]
    for start in range(0, len(places), AT_ONCE):
        some = places[start : start + AT_ONCE]
        rows = [row[sightings[n].moment] for n in some]
        for n, result in zip(some, _results(fitter, track, rows, [sightings[n] for n in some]), strict=True):
            results[n] = result
    return [result for result in results if result is not None]


def unseen(frame: Frame) -> Frame:
    """The same frame with one person of whom no keypoint was seen: for results of moments that are interpolated."""
    count = frame.detections.xy.shape[1]
    nobody = replace(
        frame.detections,
        xy=np.zeros((1, count, 2)),
        confidence=np.zeros((1, count)),
        person_ids=("000",),
        problems=("no keypoints of this person in this frame",),
        warnings=(),
    )
    return replace(frame, detections=nobody)


def _results(fitter: Fitter, track: Track, rows: list[int], sightings: list[Sighting]) -> list[FitResult]:
    chosen = [(s.frame, s.person) for s in sightings]
    x = in_cameras(fitter, track_unknowns(fitter, track, rows), [frame for frame, _ in chosen])
    xy, confidence = (np.stack([getattr(f.detections, name)[i] for f, i in chosen]) for name in ("xy", "confidence"))
    focal, center = (np.array([getattr(frame, name) for frame, _ in chosen]) for name in ("focal_px", "center_px"))
    names = fitter.everything.names
    seen = observe(xy, confidence, focal, center, names=names, dtype=fitter.dtype, device=fitter.device)
    cost = _costs(fitter, seen, x)
    count = torch.zeros(len(x), dtype=torch.long)
    solution = Solution(x, cost, torch.full_like(count, CONVERGED), count)
    made = fitter.make.results(chosen, seen, solution, Alternative(x, torch.full_like(cost, torch.nan)), float("nan"))
    said = _said(fitter, track)
    return [
        replace(
            result,
            person_id=track.person,
            **said,
            **_interpolated(track, row, result),
            **_ground(track, row, frame),
            **_sure(track, row, frame),
            **_flips(track, row, fitter.config.ambiguous_probability),
        )
        for row, result, (frame, _) in zip(rows, made, chosen, strict=True)
    ]


def _said(fitter: Fitter, track: Track) -> dict[str, Any]:
    """What the shape of a track rests on, where that is not what the shape of a photo rests on."""
    said: dict[str, Any] = {"age": track.age, "age_margin": track.age_margin}
    if track.views.max() > 1 and not fitter.make.known_size:
        said["size_source"] = "several calibrated cameras"
    return said


def _ground(track: Track, row: int, frame: Frame) -> dict[str, Any]:
    """Which feet touch the ground at a row of a track, and the floor in the frame's camera."""
    if not len(track.touching):
        return {}
    feet = [f"{side} foot" for side, touches in zip(("left", "right"), track.touching[row], strict=True) if touches]
    said = {"touching": ", ".join(feet) or "none", "floor_source": track.floor_source}
    if not track.floor.size:
        return said
    normal, offset = track.floor[:3], track.floor[3]
    if frame.extrinsics is not None:
        normal = np.asarray(frame.extrinsics.rotation) @ normal
        offset = offset + normal @ np.asarray(frame.extrinsics.translation)
    return said | {"floor": np.array([*normal, offset])}


def _sure(track: Track, row: int, frame: Frame) -> dict[str, np.ndarray]:
    """The covariances at a row of a track, in the frame's camera; none where they are not known."""
    found = {name: getattr(track, name)[row] for name in COVARIANCES if len(getattr(track, name))}
    if not found or not np.isfinite(found["joint_covariance"][0]).all():
        return {}
    if frame.extrinsics is None:
        return found
    turn = np.asarray(frame.extrinsics.rotation, dtype=np.float32)
    return {name: turn @ value @ turn.T for name, value in found.items()}


def _flips(track: Track, row: int, ambiguous_from: float) -> dict[str, Any]:
    """Which limbs may be flipped at a row of a track; nothing where that is not known."""
    if not len(track.flip_probability) or not np.isfinite(track.flip_probability[row]).all():
        return {}
    found = track.flip_probability[row].astype(float)
    return {"flip_probability": found, "ambiguous": any_flip(found) >= ambiguous_from}


def _interpolated(track: Track, row: int, result: FitResult) -> dict[str, str]:
    """The status of somebody who was not seen; what single photos call plausible does not matter then."""
    if result.status == "failed" or (track.status[row] == "fitted" and (result.keypoint_confidence > 0).any()):
        return {}
    source = "other cameras" if track.status[row] == "fitted" else "the moments around it"
    return {"status": "interpolated", "reason": f"not seen in this frame: the pose comes from {source}"}


def _costs(fitter: Fitter, seen: Observations, x: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
    """The cost that each frame alone has at these unknowns."""
    seen = fitter.with_predicted_pose(seen, fitter.everything)
    energy = fitter.config.energy
    return BodyProblem(fitter.unknowns, fitter.everything, fitter.prior, seen, energy).costs(x)


def track_unknowns(fitter: Fitter, track: Track, rows: Sequence[int]) -> Float[Tensor, "B D"]:
    """The solver's unknowns at some rows of a track, in the track's own space."""
    unknowns, layout = fitter.unknowns, fitter.unknowns.layout

    def tensor(name: str) -> Tensor:
        values = getattr(track, name)[list(rows)]
        return torch.as_tensor(values, dtype=fitter.dtype, device=fitter.device)

    x = torch.zeros(len(rows), layout.size, dtype=fitter.dtype, device=fitter.device)
    for name in ("global_orient", "transl", "latent", "expression"):
        x[:, layout[name]] = tensor(name)
    x[:, layout["betas"]] = torch.as_tensor(track.betas, dtype=fitter.dtype, device=fitter.device)
    if unknowns.has_jaw:
        x[:, layout["jaw_pose"]] = tensor("jaw_pose")
    for side, (_, mean, basis) in unknowns.hands.items():
        away = (tensor(f"{side}_hand_pose") - mean).T
        x[:, layout[f"{side}_hand"]] = torch.linalg.lstsq(basis.T, away)[0].T
    return x


def in_cameras(fitter: Fitter, x: Float[Tensor, "B D"], frames: Sequence[Frame]) -> Float[Tensor, "B D"]:
    """Unknowns of bodies in the world, each brought to its frame's camera; without extrinsics, unchanged."""
    if not any(frame.extrinsics for frame in frames):
        return x
    like = {"dtype": x.dtype, "device": x.device}
    placed = [frame.extrinsics for frame in frames]
    rotation = torch.as_tensor(np.array([np.eye(3) if e is None else e.rotation for e in placed]), **like)
    shift = torch.as_tensor(np.array([np.zeros(3) if e is None else e.translation for e in placed]), **like)
    return places.in_cameras(fitter, x, rotation, shift)
