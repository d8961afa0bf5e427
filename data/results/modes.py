"""Modes of a fit: poses that explain the keypoints about as well, with weights, and how they differ in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import LANDMARK_INDEX, LIMB_BONES, LIMBS

_MOST_OF_OTHERS = 0.95
"""Weights of alternatives sum up to this at most."""


BEST = "best"
"""What lists of modes call the best one."""


class ModesError(BodyfitError):
    """Modes that do not belong together."""


class SeveralModes(Protocol):
    """What a `FitResult` says of its best mode and of the alternatives."""

    landmarks: Float[np.ndarray, "144 3"]
    runner_up_weight: float
    runner_up_flipped: str
    further_weight: Float[np.ndarray, " M"]
    further_flipped: str
    flip_probability: Float[np.ndarray, " n"]

    @property
    def has_runner_up(self) -> bool: ...

    def parameters(self) -> dict[str, np.ndarray]: ...

    def runner_up_parameters(self) -> dict[str, np.ndarray]: ...

    def further_parameters(self, n: int) -> dict[str, np.ndarray]: ...


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


def modes(result: SeveralModes) -> tuple[Mode, ...]:
    """The best mode, then the alternatives that were kept. Weights sum to one; NaN where none was estimated."""
    parameters = result.parameters()
    if not result.has_runner_up:
        return (Mode(1.0, parameters, ""),)
    others = [Mode(result.runner_up_weight, result.runner_up_parameters(), difference(result))]
    flipped = result.further_flipped.split("; ")
    for n, weight in enumerate(result.further_weight):
        others.append(Mode(float(weight), result.further_parameters(n), _in_words(result, flipped[n])))
    rest = sum(mode.weight for mode in others)
    scale = 1 / max(rest / _MOST_OF_OTHERS, 1.0)  # probabilities of single flips, as if there were no others
    others = [replace(mode, weight=scale * mode.weight) for mode in others]
    return Mode(1.0 - scale * rest, parameters, ""), *others


def mode_labels(result: SeveralModes) -> tuple[str, ...]:
    """A person's modes with their weights: "1: best (0.85)", "2: right forearm towards the camera (0.15)"."""
    found = modes(result)
    weights = [f" ({mode.weight:.2f})" if np.isfinite(mode.weight) else "" for mode in found]
    pairs = zip(found, weights, strict=True)
    return tuple(f"{n}: {mode.words or BEST}{weight}" for n, (mode, weight) in enumerate(pairs, 1))


def check_further(values: Mapping[str, Any]) -> None:
    """Raises ModesError for fields of further modes (`FitResult.further_...`) that do not belong together."""
    count, flipped = len(values["further_weight"]), values["further_flipped"]
    rows = {name: len(values[name]) for name in values if name.startswith("further_") and name != "further_flipped"}
    words = len(flipped.split("; ")) if count else 0
    if set(rows.values()) != {count} or (count and words != count) or (flipped and not count):
        raise ModesError(f"further modes have different numbers of rows: {rows}, further_flipped {flipped!r:.60}.")
    if count and not values["runner_up_body_pose"].size:
        raise ModesError("further modes need a runner-up before them.")
    if not ((values["further_weight"] >= 0) & (values["further_weight"] <= 1)).all():
        raise ModesError("further_weight holds numbers that are no probabilities: expected 0 to 1.")


def difference(result: SeveralModes) -> str:
    """How the alternative differs, in words: "left forearm towards the camera". Empty where there is none."""
    return _in_words(result, result.runner_up_flipped) if result.has_runner_up else ""


def _in_words(result: SeveralModes, flipped: str) -> str:
    """How a mode differs in which some bones are flipped."""
    if not flipped:
        return "another pose or orientation of the whole body"
    return " and ".join(f"{bone} {other_way(result, bone)} the camera" for bone in flipped.split(" and "))


def doubt(result: SeveralModes) -> str:
    """What is most ambiguous about a person: "left forearm may point towards the camera instead, weight 0.20; any limb
    flipped: probability 0.35". Empty where neither an alternative nor probabilities of flips are known.

    The weight is that of one pose, refined and compared by its cost. `FitResult.ambiguous` asks for the second number.
    """
    words = _most_probable(result)
    if not words or not len(result.flip_probability):
        return words
    return f"{words}; any limb flipped: probability {any_flip(result.flip_probability):.2f}"


def _most_probable(result: SeveralModes) -> str:
    """The most probable alternative in words, or the most probable flip where no alternative was kept."""
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


def doubt_probability(result: SeveralModes) -> float:
    """Probability of the pose or flip that `doubt` names; NaN where none was estimated."""
    if result.has_runner_up:
        return result.runner_up_weight
    return float(np.max(result.flip_probability)) if len(result.flip_probability) else np.nan


def other_way(result: SeveralModes, bone: str) -> str:
    """Where a bone points that is flipped in depth: "towards" or "away from" the camera."""
    return "away from" if points_towards(result, bone) else "towards"


def points_towards(result: SeveralModes, bone: str) -> bool:
    """Whether a bone of LIMB_BONES points towards the camera in the best mode, rather than away."""
    number = LIMB_BONES.index(bone)
    joints = LIMBS[number // 2][number % 2 :]
    upper, lower = (result.landmarks[LANDMARK_INDEX[name]] for name in joints[:2])
    return bool((lower - upper) @ upper < 0)
