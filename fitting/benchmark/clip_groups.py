"""Synthetic clips of several people on one floor before one camera, and what a floor of all does for them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.results.track import Track
from bodyfit.fitting.benchmark.clip_noise import ClipNoise
from bodyfit.fitting.benchmark.groups import JUMP_M, camera_above_floor, uniform
from bodyfit.fitting.benchmark.sequences import (
    Clip,
    Recording,
    clip_feet,
    posed_in_world,
    recorded,
    seen_over_time,
    track_landmarks,
    true_parameters,
)
from bodyfit.fitting.benchmark.skating import resting, skating_mm
from bodyfit.fitting.energy.floor import FOOT_POINTS, Feet
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.contacts import GroundConfig
from bodyfit.fitting.sequence.group import put_on_ground, solve_group
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions

log = logging.getLogger(__name__)
_NEAR_M, _FAR_M = 4.0, 7.0


@dataclass(frozen=True)
class SharedClip:
    """Several people in one clip of a camera that stands still, in its frame."""

    people: tuple[Clip, ...]
    height_m: tuple[Float[Tensor, "T F"], ...]
    """Of each person's points of the feet above the floor, less what each is above the sole."""
    up: Float[Tensor, " 3"]
    """The floor's normal."""
    offset_m: float
    """Its offset."""


def shared_clips(
    fitter: Fitter,
    motions: Sequence[Path],
    *,
    count: int,
    people: int,
    lifted: float,
    fps: float,
    moments: int,
    seed: int,
) -> Iterator[SharedClip]:
    """Clips of people in randomly chosen motions, who stand side by side on one floor.

    Args:
        fitter: its body.
        motions: motion files.
        count, people: how many clips, and people of each.
        lifted: share of people who are `JUMP_M` above the floor for the whole clip.
        fps, moments: frame rate, and frames at most.
        seed: the same seed gives the same clips.
    """
    order = np.random.default_rng(seed).permutation(len(motions))
    maker = PeopleMaker(fitter.body, SyntheticOptions(cropped=0.0))
    for n in range(count):
        chosen = [motions[order[(people * n + k) % len(order)]] for k in range(people)]
        found = [recorded(path, fps, moments) for path in chosen]
        yield _shared_clip(maker, [one for one in found if len(one.pose) > 2], lifted, fps, seed + n)


def _shared_clip(maker: PeopleMaker, found: Sequence[Recording], lifted: float, fps: float, seed: int) -> SharedClip:
    draw = torch.Generator().manual_seed(seed)
    rotation, shift = camera_above_floor(draw)
    names = LandmarkModel(maker.body, names=FOOT_POINTS)
    clearance = Feet(maker.body, names).clearance_m
    clips, heights = [], []
    for k, motion in enumerate(found):
        count, body = len(motion.pose), maker.body
        betas = torch.randn(1, body.num_betas, generator=draw).clamp(-2.5, 2.5).expand(count, -1)
        across = 1.8 * (k - (len(found) - 1) / 2) + float(uniform(draw, 1, low=-0.3, high=0.3))
        far = float(uniform(draw, 1, low=_NEAR_M, high=_FAR_M))
        truth = true_parameters(body, motion.pose, betas, motion.path_m + torch.tensor([across, 0.0, far]))
        points, head = posed_in_world(maker.model, truth)
        height = points[:, clip_feet(body), 1] - clearance
        rise = JUMP_M * float(uniform(draw, 1) < lifted) - float(height.amin(1).quantile(0.1))
        points[..., 1] += rise
        truth["transl"][:, 1] += rise
        there = points @ rotation.T + shift
        clips.append(seen_over_time(maker, truth, there, rotation @ head, ClipNoise(), fps, 1000 * seed + k))
        heights.append(height + rise)
    up = rotation[:, 1]
    return SharedClip(tuple(clips), tuple(heights), up, float(up @ shift))


@torch.no_grad()
def measure_shared_clips(
    fitter: Fitter, clips: Iterator[SharedClip], config: SequenceConfig | None = None
) -> dict[str, dict[str, float]]:
    """Means over clips: fits without the ground, on a floor for each person alone, and on a floor of all."""
    ground = (config.ground if config else None) or GroundConfig()
    config = replace(config or SequenceConfig(), ground=ground)
    rows: dict[str, list[dict[str, float]]] = {"without": [], "alone": [], "common": []}
    for clip in clips:
        fits = [solve_group(fitter, one.sightings, fps=one.fps, config=config) for one in clip.people]
        found = {
            "without": fits,
            "alone": [put_on_ground([fit], ground)[0] for fit in fits],
            "common": put_on_ground(fits, ground),
        }
        for name, some in found.items():
            rows[name].append(_errors(fitter, clip, [fit.track() for fit in some]))
            log.info("%s: %s", name, ", ".join(f"{k} {v:.3g}" for k, v in rows[name][-1].items()))
    names = list(dict.fromkeys(name for some in rows.values() for row in some for name in row))
    return {
        kind: {name: float(np.nanmean(values)) for name in names if len(values := [r[name] for r in some if name in r])}
        for kind, some in rows.items()
    }


def _errors(fitter: Fitter, clip: SharedClip, tracks: Sequence[Track]) -> dict[str, float]:
    points = [track_landmarks(fitter, track) for track in tracks]
    found: dict[str, list[float]] = {}
    depths = []
    for one, height, track, ours in zip(clip.people, clip.height_m, tracks, points, strict=True):
        seen, feet = torch.as_tensor(track.views > 0), ours[:, clip_feet(fitter.body)]
        truth, true_feet = one.joints[track.moments], one.feet[track.moments]
        slides = skating_mm(feet, true_feet, one.fps, seen)
        away = 1000 * (ours[:, :22] - truth).norm(dim=-1).mean(1)[seen]
        mine = {"skating_mm": torch.nan if slides is None else slides, "mpjpe_mm": float(away.mean())}
        depths.append(float((ours[seen, 0, 2] / truth[seen, 0, 2]).log().mean()))
        if len(track.touching):
            mine |= _of_contacts(torch.as_tensor(track.touching), height[track.moments], true_feet, one.fps)
        if track.floor.size:
            normal = torch.as_tensor(track.floor[:3]).float()
            mine["normal_error_degrees"] = math.degrees(float((normal @ clip.up).clamp(max=1).acos()))
        for name, value in mine.items():
            found.setdefault(name, []).append(value)
    out = {name: float(np.nanmean(values)) for name, values in found.items() if not np.isnan(values).all()}
    out["relative_depth_error_percent"] = 100 * float(np.abs(np.array(depths) - np.mean(depths)).mean())
    floors = [track.floor for track in tracks if track.floor.size]
    out["people_with_floor_share"] = len(floors) / max(len(tracks), 1)
    if len(floors) > 1:
        middle = torch.stack([one.joints[:, 0].mean(0) for one in clip.people]).mean(0).double().numpy()
        heights = [float(floor[:3] @ middle - floor[3]) for floor in floors]
        out["floors_apart_mm"] = 1000 * (max(heights) - min(heights))
    return out


def _of_contacts(
    said: Bool[Tensor, "T 2"], height: Float[Tensor, "T F"], feet: Float[Tensor, "T F 3"], fps: float
) -> dict[str, float]:
    """How often feet on the floor and feet above it are said to touch it."""
    side = torch.tensor([int(name.startswith("right")) for name in FOOT_POINTS])
    lowest = torch.stack([height[:, side == s].amin(1) for s in (0, 1)], 1)
    still = resting(feet, fps)
    still = torch.cat([still, still[-1:]])
    still = torch.stack([still[:, side == s].any(1) for s in (0, 1)], 1)
    on, off = (lowest < 0.02) & still, lowest > 0.08
    shares = {"touching_said_share": said[on], "touching_said_wrongly_share": said[off]}
    return {name: float(some.double().mean()) for name, some in shares.items() if len(some)}
