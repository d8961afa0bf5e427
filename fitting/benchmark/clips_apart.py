"""Synthetic clips of two people who come as near to each other as they can, fitted with and without `people_apart`."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.posing import pose_body
from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.track import Track
from bodyfit.fitting.benchmark.clip_noise import ClipNoise
from bodyfit.fitting.benchmark.groups import camera_above_floor, uniform
from bodyfit.fitting.benchmark.penetration import PenetrationMeter
from bodyfit.fitting.benchmark.sequences import (
    Clip,
    Recording,
    clip_errors,
    clip_feet,
    posed_in_world,
    recorded,
    seen_around,
    seen_over_time,
    track_landmarks,
    true_parameters,
)
from bodyfit.fitting.energy.shared_space import SKIN_M
from bodyfit.fitting.sequence.ages import fitter_of
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.contacts import GroundConfig
from bodyfit.fitting.sequence.group import GroupFit, keep_apart, put_on_ground, solve_group
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions

log = logging.getLogger(__name__)
_NEAR_M, _FAR_M = 3.5, 6.0
_STEP_M, _APART_M = 0.02, 3.0
_LATER_SECONDS = 0.5
_AROUND_M, _MIDDLE_M = 4.5, 0.9
EVERY = 5
"""Of the moments of a clip, each so many-th is measured on the meshes."""
_DEEP_MM = 30.0


def pair_clips(
    fitter: Fitter, motions: Sequence[Path], *, count: int, cameras: int, fps: float, moments: int, seed: int
) -> Iterator[tuple[Clip, Clip]]:
    """Clips of two people as near to each other as they can be without overlapping.

    Both move in the same randomly chosen way, one half a second after the other, so that they stay near to each other.

    Args:
        fitter: its body.
        motions: motion files.
        count: how many clips.
        cameras: 1, which is not calibrated, or as many calibrated ones around them.
        fps, moments: frame rate, and frames at most.
        seed: the same seed gives the same clips.
    """
    order = np.random.default_rng(seed).permutation(len(motions))
    later = round(_LATER_SECONDS * fps)
    for n in range(count):
        found = recorded(motions[order[n % len(order)]], fps, moments + later)
        if len(found.pose) < later + 3:
            continue
        both = [
            Recording(*(part[some] for part in (found.pose, found.path_m)))
            for some in (slice(later, None), slice(0, -later))
        ]
        pair = _pair(fitter, both, cameras, fps, seed + n)
        if all(len(one.sightings) > 2 for one in pair):
            yield pair


def _pair(fitter: Fitter, found: Sequence[Recording], cameras: int, fps: float, seed: int) -> tuple[Clip, Clip]:
    draw = torch.Generator().manual_seed(seed)
    maker = PeopleMaker(fitter.body, SyntheticOptions(cropped=0.0))
    count, truths = len(found[0].pose), []
    for motion in found:
        betas = torch.randn(1, fitter.body.num_betas, generator=draw).clamp(-2.5, 2.5).expand(count, -1)
        truth = true_parameters(fitter.body, motion.pose, betas, motion.path_m.clone())
        lowest = posed_in_world(maker.model, truth)[0][:, clip_feet(fitter.body), 1].amin(1)
        truth["transl"][:, 1] -= lowest.quantile(0.1)
        truths.append(truth)
    angle = float(uniform(draw, 1, high=2 * math.pi))
    _bring_together(fitter, truths, torch.tensor([math.cos(angle), 0.0, math.sin(angle)]))
    if cameras == 1:
        posed = [posed_in_world(maker.model, truth) for truth in truths]
        rotation, shift = camera_above_floor(draw)
        far = torch.tensor([0.0, 0.0, float(uniform(draw, 1, low=_NEAR_M, high=_FAR_M))])
        return tuple(
            seen_over_time(maker, t, (p + far) @ rotation.T + shift, rotation @ head, ClipNoise(), fps, 1000 * seed + k)
            for k, (t, (p, head)) in enumerate(zip(truths, posed, strict=True))
        )
    for truth in truths:
        truth["transl"][:, 1] -= _MIDDLE_M
    start = 2 * math.pi * float(uniform(draw, 1))
    far = _AROUND_M + max(float(truth["transl"][:, [0, 2]].norm(dim=1).max()) for truth in truths)
    around = {"cameras": cameras, "start": start, "far": far, "fps": fps, "noise": ClipNoise()}
    posed = [posed_in_world(maker.model, truth) for truth in truths]
    return tuple(
        seen_around(maker, truth, *there, seed=1000 * seed + 100 * k, **around)
        for k, (truth, there) in enumerate(zip(truths, posed, strict=True))
    )


def _bring_together(fitter: Fitter, truths: Sequence[dict[str, Tensor]], side: Float[Tensor, " 3"]) -> None:
    """Move the second person along a direction to where he touches the first at some moment, and not before."""
    (mine, radii), (there, sizes) = (_spheres(fitter, truth) for truth in truths)
    reach = radii[0][:, None] + sizes[0] - SKIN_M
    distance = 0.0
    for away in torch.arange(_APART_M, 0.0, -_STEP_M).tolist():
        gaps = [
            (torch.cdist(a, b + away * side) - reach).amin()
            for a, b in zip(mine.split(16), there.split(16), strict=True)
        ]
        if float(torch.stack(gaps).min()) < 0:
            distance = away + _STEP_M
            break
    for truth, part in zip(truths, (-0.5, 0.5), strict=True):
        truth["transl"] += part * distance * side


def _spheres(fitter: Fitter, truth: dict[str, Tensor]) -> tuple[Float[Tensor, "T S 3"], Float[Tensor, "T S"]]:
    unknowns, spheres = fitter.unknowns, fitter.spheres
    given = [{name: value[n] for name, value in truth.items()} for n in range(len(truth["betas"]))]
    x = torch.stack([fitter.unknowns_of(one) for one in given])
    turns = unknowns.rotations(x, roma.rotvec_to_rotmat(truth["body_pose"].unflatten(1, (-1, 3))))
    shape = unknowns.shape(x)
    bones = fitter.everything.kinematics(turns, shape, derivatives=False)
    centres = spheres.centres(bones, shape).transpose(0, 1) + x[:, None, unknowns.layout["transl"]]
    return centres, spheres.radii(shape)


@torch.no_grad()
def measure_pairs(
    fitter: Fitter, clips: Iterator[tuple[Clip, Clip]], *, ground: bool = False
) -> dict[str, dict[str, float]]:
    """Means over the clips whose people are in each other somewhere, of fits without and with `people_apart`.

    Raises:
        BodyfitError: for no clips.
    """
    meter = PenetrationMeter(fitter.body)
    config = SequenceConfig(ground=GroundConfig() if ground else None)
    rows: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    clips_seen = 0
    for pair in clips:
        began = time.perf_counter()
        fits = [solve_group(fitter, one.sightings, fps=one.fps, config=config) for one in pair]
        fits = put_on_ground(fits, config.ground) if config.ground else fits
        seconds = time.perf_counter() - began
        apart = keep_apart(fits)
        clips_seen += 1
        if all(after is before for before, after in zip(fits, apart, strict=True)):
            continue
        found = {"without": (fits, seconds), "with": (apart, time.perf_counter() - began)}
        for name, (some, took) in found.items():
            rows[name].append(_figures(fitter, meter, pair, some) | {"seconds": took})
            log.info("%s: %s", name, ", ".join(f"{k} {v:.3g}" for k, v in rows[name][-1].items()))
    if not clips_seen:
        raise BodyfitError(
            f"no motion lasts longer than the {_LATER_SECONDS:g} s by which one person follows the other."
        )
    counts = {"clips": float(clips_seen), "clips_with_overlap": float(len(rows["with"]))}
    return {name: counts | in_short(some) for name, some in rows.items()}


def in_short(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over clips."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} if rows else {}


def _figures(
    fitter: Fitter, meter: PenetrationMeter, pair: tuple[Clip, Clip], fits: Sequence[GroupFit]
) -> dict[str, float]:
    tracks = [fit.track() for fit in fits]
    out: dict[str, list[float]] = {}
    depths, shares = [], []
    for one, fit, track in zip(pair, fits, tracks, strict=True):
        seen = torch.as_tensor(track.views > 0)
        landmarks = track_landmarks(fitter, track)
        errors = clip_errors(landmarks, one, track.moments, seen, clip_feet(fitter.body))
        for name in ("pa_mpjpe_mm", "mpjpe_mm", "root_mpjpe_mm", "acceleration_error_mm"):
            out.setdefault(name, []).append(errors[name])
        depths.append(float((landmarks[seen, 0, 2] / one.joints[track.moments][seen, 0, 2]).log().mean()))
        shares.append(_error_share(fit))
    found = {name: float(np.mean(values)) for name, values in out.items()}
    found["error_percent"] = 100 * float(np.mean(shares))
    if pair[0].sightings[0].frame.extrinsics is None:
        found["relative_depth_error_percent"] = 50 * abs(depths[0] - depths[1])
    return found | _between(fitter, meter, tracks)


def _error_share(fit: GroupFit) -> float:
    """Distance from keypoints to the body in the picture, as a share of the person's size: the mean over keypoints."""
    views = fit.solver.views
    off = (views.through_cameras(fit.solver.landmarks(fit.x)).points_px - views.seen.targets_px).norm(dim=2)
    seen = views.seen.weights > 0
    return float((off / views.seen.size_px[:, None])[seen].mean())


def _between(fitter: Fitter, meter: PenetrationMeter, tracks: Sequence[Track]) -> dict[str, float]:
    """Penetration of the two meshes at every few moments of both."""
    moments = sorted(set.intersection(*(set(track.moments.tolist()) for track in tracks)))[::EVERY]
    vertices = []
    for track in tracks:
        body = fitter_of(fitter, track).body
        rows = [track.moments.tolist().index(moment) for moment in moments]
        given = {name: torch.as_tensor(value[rows]).float() for name, value in track.parameters().items()}
        vertices.append(pose_body(body, **given).vertices.double().numpy())
    measured = [meter.between(*both) for both in zip(*vertices, strict=True)]
    deepest = np.array([one.deepest_mm for one in measured])
    return {
        "volume_cm3": float(np.mean([one.volume_cm3 for one in measured])),
        "deepest_mm": float(deepest.mean()),
        "deepest_of_clip_mm": float(deepest.max()),
        "deeper_3cm_share": float((deepest > _DEEP_MM).mean()),
    }
