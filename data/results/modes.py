"""Modes of a fit: poses that explain the keypoints about as well, with weights, and how they differ in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from bodyfit.data.landmarks import LANDMARK_INDEX, LIMB_BONES, LIMBS


class TwoModes(Protocol):
    """What a `FitResult` says of its best mode and of the alternative."""

    landmarks: Float[np.ndarray, "144 3"]
    runner_up_weight: float
    runner_up_flipped: str
    flip_probability: Float[np.ndarray, " n"]

    @property
    def has_runner_up(self) -> bool: ...

    def parameters(self) -> dict[str, np.ndarray]: ...

    def runner_up_parameters(self) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Mode:
    """One of the poses that a person may have."""

    weight: float
    """Probability that it is the right one; NaN where none was estimated."""
    parameters: dict[str, Float[np.ndarray, "1 n"]]
    """As `FitResult.parameters`."""
    words: str
    """What differs from the best mode; empty for the best mode itself."""


def any_flip(probability: Float[np.ndarray, " n"]) -> float:
    """Probability that any bone is flipped, as if bones were flipped independently; 0 where nothing is known."""
    return float(1 - np.prod(1 - np.asarray(probability, dtype=float)))


def modes(result: TwoModes) -> tuple[Mode, ...]:
    """The best mode, then the alternative where one was kept. Weights sum to one; NaN where none was estimated."""
    best = Mode(1.0, result.parameters(), "")
    if not result.has_runner_up:
        return (best,)
    weight = result.runner_up_weight
    other = Mode(weight, result.runner_up_parameters(), difference(result))
    return Mode(1.0 - weight, best.parameters, ""), other


def difference(result: TwoModes) -> str:
    """How the alternative differs, in words: "left forearm towards the camera". Empty where there is none."""
    if not result.has_runner_up:
        return ""
    if not result.runner_up_flipped:
        return "another pose or orientation of the whole body"
    bones = result.runner_up_flipped.split(" and ")
    return " and ".join(f"{bone} {other_way(result, bone)} the camera" for bone in bones)


def doubt(result: TwoModes) -> str:
    """What is most ambiguous about a person: "left forearm may point towards the camera instead, weight 0.20". Empty
    where neither an alternative nor probabilities of flips are known."""
    if result.has_runner_up:
        weight = f", weight {result.runner_up_weight:.2f}" if np.isfinite(result.runner_up_weight) else ""
        if not result.runner_up_flipped:
            return f"may have {difference(result)}{weight}"
        bones = result.runner_up_flipped.split(" and ")
        return " and ".join(f"{bone} may point {other_way(result, bone)} the camera" for bone in bones) + (
            f" instead{weight}"
        )
    if not len(result.flip_probability):
        return ""
    bone, probability = LIMB_BONES[int(np.argmax(result.flip_probability))], doubt_probability(result)
    return f"{bone} may point {other_way(result, bone)} the camera instead, probability {probability:.2f}"


def doubt_probability(result: TwoModes) -> float:
    """Probability of what `doubt` says; NaN where none was estimated."""
    if result.has_runner_up:
        return result.runner_up_weight
    return float(np.max(result.flip_probability)) if len(result.flip_probability) else np.nan


def other_way(result: TwoModes, bone: str) -> str:
    """Where a bone points that is flipped in depth: "towards" or "away from" the camera."""
    return "away from" if points_towards(result, bone) else "towards"


def points_towards(result: TwoModes, bone: str) -> bool:
    """Whether a bone of LIMB_BONES points towards the camera in the best mode, rather than away."""
    number = LIMB_BONES.index(bone)
    joints = LIMBS[number // 2][number % 2 :]
    upper, lower = (result.landmarks[LANDMARK_INDEX[name]] for name in joints[:2])
    return bool((lower - upper) @ upper < 0)
