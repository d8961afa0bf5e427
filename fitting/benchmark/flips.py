"""Whether fits know which limbs may be flipped in depth: detection, false alarms, and whether probabilities are true.

A person's best mode is wrong by a flipped limb where an arm or leg bone is flipped (`uncertainty.flips.flipped_bones`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from bodyfit.data.results.modes import any_flip
from bodyfit.fitting.benchmark.calibration import Study
from bodyfit.fitting.uncertainty.flip_coefficients import AMBIGUOUS_FROM
from bodyfit.fitting.uncertainty.flip_probability import fitted_coefficients
from bodyfit.fitting.uncertainty.flips import flipped_bones

FALSE_ALARMS = (0.05, 0.10, 0.15, 0.20, 0.30)
"""Shares of the people whose limbs are right at which the detection rate is reported."""
EDGES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 1.0)
"""Probabilities are compared with what is found in bins between these."""


def flipped(study: Study) -> Bool[np.ndarray, "N 8"]:
    """Which bones of which people are flipped in the best mode."""
    return flipped_bones(torch.as_tensor(study.joints), torch.as_tensor(_truth(study))).numpy()


def figures(studies: Sequence[Study]) -> dict[str, Any]:
    """Shares of people and of bones.

    Returns:
        `wrong`: people whose best mode is wrong by a flipped limb; `flagged`: of these, those marked as ambiguous, or
        with a mode kept in which the flipped bones are right; `false_alarms`: people marked as ambiguous whose limbs
        are right, of all whose limbs are; `right_mode_kept`: of the wrong; `modes_kept`: people with a flipped mode
        kept, `modes_per_person`: how many on average; `roc`: detection at other thresholds;
        `bones`, `modes`: rows of a reliability table for probabilities of bones and weights of kept modes.
    """
    wrong_bones = np.concatenate([flipped(one) for one in studies])
    probability = np.concatenate([one.uncertainty["flip_probability"] for one in studies])
    weight, bones = (np.concatenate([_of_modes(one, name) for one in studies]) for name in ("weight", "flips"))
    cured = np.concatenate([_cured(one) for one in studies])
    wrong, marked = wrong_bones.any(1), _likely(probability) >= AMBIGUOUS_FROM
    kept = np.isfinite(weight) & bones.any(2)
    mode_right = kept & (wrong_bones[:, None] & bones).any(2)
    return of_probabilities(wrong_bones, probability) | {
        "flagged": _share((marked | cured)[wrong]),
        "right_mode_kept": _share(cured[wrong]),
        "modes_kept": float(kept.any(1).mean()),
        "modes_per_person": float(kept.sum(1).mean()),
        "modes": _reliability(weight[kept], mode_right[kept]),
    }


def of_probabilities(flipped: Bool[np.ndarray, "N 8"], probability: Float[np.ndarray, "N 8"]) -> dict[str, Any]:
    """The figures that say whether probabilities of flipped bones are true: `people` (or moments), `wrong`, `marked`,
    `false_alarms`, `roc` and `bones` of `figures`."""
    wrong, likely = flipped.any(1), _likely(probability)
    marked = likely >= AMBIGUOUS_FROM
    return {
        "people": len(wrong),
        "wrong": float(wrong.mean()),
        "marked": _share(marked[wrong]),
        "false_alarms": _share(marked[~wrong]),
        "roc": {str(share): detection(likely, wrong, share) for share in FALSE_ALARMS},
        "bones": _reliability(probability.ravel(), flipped.ravel()),
    }


def _likely(probability: Float[np.ndarray, "N 8"]) -> Float[np.ndarray, " N"]:
    return np.array([any_flip(row) for row in probability])


def detection(likely: Float[np.ndarray, " N"], wrong: Bool[np.ndarray, " N"], false_alarms: float) -> float:
    """Share of the wrong above the threshold that so many of the right ones are above."""
    return _share(likely[wrong] > threshold(likely, wrong, false_alarms))


def threshold(likely: Float[np.ndarray, " N"], wrong: Bool[np.ndarray, " N"], false_alarms: float) -> float:
    """The threshold that a share of the right ones are above."""
    return float(np.quantile(likely[~wrong], 1 - false_alarms)) if (~wrong).any() else 1.0


def refitted(studies: Sequence[Study]) -> dict[str, Any]:
    """The coefficients of `uncertainty/flip_coefficients.py`, from these people."""
    wrong = torch.as_tensor(np.concatenate([flipped(one) for one in studies]))
    found = torch.as_tensor(np.concatenate([one.uncertainty["flip_features"] for one in studies]))
    return {"COEFFICIENTS": fitted_coefficients(found, wrong)}


def _truth(study: Study) -> Float[np.ndarray, "N 55 3"]:
    return study.people.landmarks[:, : study.joints.shape[1]].double().cpu().numpy()


def _of_modes(study: Study, name: str) -> np.ndarray:
    """Of the runner-up and further modes, (N, M, ...)."""
    found = study.uncertainty
    return np.concatenate([found[f"runner_up_{name}"][:, None], found[f"further_{name}"]], 1)


def _cured(study: Study) -> Bool[np.ndarray, " N"]:
    """Who has a kept alternative mode without a flipped bone where the best mode has one."""
    count = study.alternatives.shape[1]
    other, true = torch.as_tensor(study.alternatives), torch.as_tensor(_truth(study))[:, None].expand(-1, count, -1, -1)
    still = flipped_bones(other.flatten(0, 1), true.flatten(0, 1)).numpy().reshape(-1, count, 8)
    before = flipped(study)[:, None]
    there = np.isfinite(study.alternatives[:, :, 0, 0])
    return (there & before.any(2) & ~(still & before).any(2)).any(1)


def _share(values: Bool[np.ndarray, " N"]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _reliability(promised: Float[np.ndarray, " N"], found: Bool[np.ndarray, " N"]) -> list[dict[str, float]]:
    """Mean probability and share found in bins, those with nobody left out."""
    rows = []
    for low, high in itertools.pairwise(EDGES):
        some = (promised >= low) & ((promised < high) | (high == EDGES[-1]))
        if some.any():
            mean = float(promised[some].mean())
            rows.append({"from": low, "promised": mean, "found": _share(found[some]), "count": int(some.sum())})
    return rows
