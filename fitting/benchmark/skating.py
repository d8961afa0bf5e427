"""Foot skating: how far points of the feet move from frame to frame while the true ones rest."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

RESTING_M_S = 0.1
"""Speed below which a point of a true foot rests, m/s."""


def resting(truth: Float[Tensor, "T F 3"], fps: float) -> Bool[Tensor, "T-1 F"]:
    """Which points of true feet rest between neighbouring frames."""
    return fps * truth.diff(dim=0).norm(dim=-1) < RESTING_M_S


def skating_mm(
    feet: Float[Tensor, "T F 3"], truth: Float[Tensor, "T F 3"], fps: float, seen: Bool[Tensor, " T"]
) -> float | None:
    """Mean distance, mm per frame, that points of fitted feet move while the true ones rest; None where none rests.

    Args:
        feet, truth: points of fitted and of true feet, in the same frame, m.
        fps: frames per second.
        seen: moments that count.
    """
    rest = resting(truth, fps) & (seen[1:] & seen[:-1])[:, None]
    if not bool(rest.any()):
        return None
    return float(1000 * feet.diff(dim=0).norm(dim=-1)[rest].mean())
