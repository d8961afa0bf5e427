"""What a detector makes of a clip, beside its noise in single pictures: errors that last, and occlusions.

Noise that is drawn anew in every frame averages out over time and flatters every smoother. Real detectors err the same
way for a while: their errors depend on pose, clothes and light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.landmarks import BODY, FACE, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND


@dataclass(frozen=True)
class ClipNoise:
    """Errors that are correlated over time."""

    lasting_share: float = 0.004
    """Standard deviation, as a share of the person's size, of the part of the noise that lasts."""
    lasting_seconds: float = 0.25
    """Time after which it has fallen to 1 / e."""
    lost_points: float = 0.03
    """Share of points that are missed for several frames in a row."""
    lost_seconds: float = 0.2
    """How long these stay missed, on average."""
    occlusions_per_second: float = 0.5
    """How often something hides a limb, the legs or the whole person."""
    occluded_frames: tuple[int, int] = (5, 20)
    """How long that lasts."""


NO_CLIP_NOISE = ClipNoise(lasting_share=0.0, lost_points=0.0, occlusions_per_second=0.0)


def lasting_errors(
    noise: ClipNoise, size_px: Float[Tensor, " T"], fps: float, draw: torch.Generator
) -> Float[Tensor, "T 144 2"]:
    """Errors in pixels: each point's follows a first-order autoregression."""
    keep = math.exp(-1 / (fps * noise.lasting_seconds))
    new = torch.randn(len(size_px), len(LANDMARK_NAMES), 2, generator=draw)
    value, out = new[0], [new[0]]
    for step in new[1:]:
        value = keep * value + math.sqrt(1 - keep**2) * step
        out.append(value)
    return noise.lasting_share * size_px[:, None, None] * torch.stack(out)


def lost_points(noise: ClipNoise, moments: int, fps: float, draw: torch.Generator) -> Bool[Tensor, "T 144"]:
    """Points that are missed in runs: a Markov chain with the share and the length asked for."""
    end = min(1.0, 1 / (fps * noise.lost_seconds))
    begin = end * noise.lost_points / (1 - noise.lost_points)
    luck = torch.rand(moments, len(LANDMARK_NAMES), generator=draw)
    lost, out = luck[0] < noise.lost_points, [luck[0] < noise.lost_points]
    for chance in luck[1:]:
        lost = torch.where(lost, chance >= end, chance < begin)
        out.append(lost)
    return torch.stack(out)


def occluded_points(noise: ClipNoise, moments: int, fps: float, draw: torch.Generator) -> Bool[Tensor, "T 144"]:
    """Points behind something, for the frames of each occlusion."""
    out = torch.zeros(moments, len(LANDMARK_NAMES), dtype=torch.bool)
    expected, parts = noise.occlusions_per_second * moments / fps, _parts()
    for _ in range(int(torch.poisson(torch.tensor(float(expected)), generator=draw))):
        part = parts[int(torch.randint(len(parts), (), generator=draw))]
        length = int(torch.randint(noise.occluded_frames[0], noise.occluded_frames[1] + 1, (), generator=draw))
        # The clip begins and ends with the person in view: what lies outside of all sightings cannot be solved for.
        first = 1 + int(torch.rand((), generator=draw) * max(moments - length - 2, 1))
        rows = slice(first, min(first + length, moments - 1))
        out[rows, part] = True
    return out


def _parts() -> list[list[int]]:
    """What is hidden at a time: an arm, a leg, both legs, or everybody."""

    def points(*words: str) -> list[int]:
        return [i for i in BODY if any(word in LANDMARK_NAMES[i] for word in words)]

    leg = ("knee", "ankle", "big_toe", "small_toe", "heel")
    sides = [
        points(*(f"{side}_{word}" for word in words)) + hand
        for side, fingers in (("left", LEFT_HAND), ("right", RIGHT_HAND))
        for words, hand in ((("elbow", "wrist"), list(fingers)), (leg, []))
    ]
    return [*sides, points(*leg), list(BODY + LEFT_HAND + RIGHT_HAND + FACE)]
