"""Modes of a fit: poses that explain the keypoints about as well, with weights, and how they differ in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from bodyfit.data.landmarks import LANDMARK_INDEX

if TYPE_CHECKING:
    from bodyfit.data.results.result import FitResult

_SIDES = ("left", "right")
LIMBS: tuple[tuple[str, str, str], ...] = tuple(
    (f"{side}_{joints[0]}", f"{side}_{joints[1]}", f"{side}_{joints[2]}")
    for side in _SIDES
    for joints in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
)
"""Joints of arms and legs, from the trunk outwards."""
LIMB_BONES: tuple[str, ...] = tuple(
    f"{side} {bone}" for side in _SIDES for bone in ("upper arm", "forearm", "thigh", "shin")
)
"""The two bones of each of LIMBS, in its order: what may point towards the camera or away from it."""
LIMB_NAMES: tuple[str, ...] = tuple(f"{side} {limb}" for side in _SIDES for limb in ("arm", "leg"))


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


def modes(result: FitResult) -> tuple[Mode, ...]:
    """The best mode, then the alternative where one was kept. Weights sum to one; NaN where none was estimated."""
    best = Mode(1.0, result.parameters(), "")
    if not result.has_runner_up:
        return (best,)
    weight = result.runner_up_weight
    other = Mode(weight, result.runner_up_parameters(), difference(result))
    return Mode(1.0 - weight, best.parameters, ""), other


def difference(result: FitResult) -> str:
    """How the alternative differs, in words: "left forearm points towards the camera". Empty where there is none."""
    if not result.has_runner_up:
        return ""
    if not result.runner_up_flipped:
        return "another pose or orientation of the whole body"
    bones = result.runner_up_flipped.split(" and ")
    ways = ["away from" if points_towards(result, bone) else "towards" for bone in bones]
    if len(set(ways)) == 1:
        verb = "points" if len(bones) == 1 else "point"
        return f"{result.runner_up_flipped} {verb} {ways[0]} the camera"
    return ", ".join(f"{bone} points {way} the camera" for bone, way in zip(bones, ways, strict=True))


def doubt(result: FitResult) -> str:
    """The alternative in one line, "left forearm points towards the camera instead, weight 0.20"; empty without."""
    words = difference(result)
    weight = result.runner_up_weight
    return f"{words} instead" + (f", weight {weight:.2f}" if np.isfinite(weight) else "") if words else ""


def points_towards(result: FitResult, bone: str) -> bool:
    """Whether a bone of LIMB_BONES points towards the camera in the best mode, rather than away."""
    number = LIMB_BONES.index(bone)
    joints = LIMBS[number // 2][number % 2 :]
    upper, lower = (result.landmarks[LANDMARK_INDEX[name]] for name in joints[:2])
    return bool((lower - upper) @ upper < 0)
