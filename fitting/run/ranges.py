"""What settings may be: beyond these a fit takes for ever, fills the memory or divides by zero."""

from __future__ import annotations

import math
from typing import Any

from bodyfit.data.errors import BodyfitError

_POSITIVE = (1e-9, 1e9)
_SIGMA = (1e-9, math.inf)
_WEIGHT = (0.0, 1e6)
_COUNT = (0, 1000)

_RANGES: dict[str, tuple[float, float]] = {
    "fit.energy.sigma_share": (1e-6, 1.0),
    **{f"fit.energy.{name}": _SIGMA for name in ("robust_sigmas", "robust_px", "bending_sigma", "depth_sigma_m")},
    **{f"fit.energy.{name}": _WEIGHT for name in ("body", "hands", "face", "relative_hands", "relative_face")},
    **{
        f"fit.energy.{name}_sigma": _SIGMA
        for name in ("latent", "predicted", "betas", "expression", "jaw", "jaw_sideways", "hand", "log_focal")
    },
    **{f"fit.energy.{name}": _SIGMA for name in ("child_betas_sigma", "kid_sigma")},
    "fit.energy.kid_mean": (-1.0, 2.0),
    **dict.fromkeys((f"fit.age.{n}" for n in ("screen", "adult_advantage", "misfit_asks", "most_misfit")), (-1e6, 1e6)),
    "fit.age.body_says": (-1e6, 1e6),
    "fit.age.usual_misfit": (1e-6, 1e6),
    "fit.age.years_sigma": _SIGMA,
    "fit.energy.height_m": (0.35, 2.75),
    "fit.energy.height_sigma_m": (1e-6, 1.0),
    "fit.energy.collision_sigma_m": _SIGMA,
    "fit.energy.hand_components": (1, 45),
    "fit.energy.softness": (0.0, 10.0),
    "fit.start.yaws": (0, 64),
    "fit.start.followed": (1, 100),
    "fit.start.iterations": _COUNT,
    "fit.start.finished": (1, 16),
    "fit.start.finished_within": (1.0, math.inf),
    "fit.start.robust_sigmas": _SIGMA,
    "fit.start.softness": (0.0, 10.0),
    "fit.solver.max_iterations": (0, 10_000),
    "fit.solver.tolerance": (0.0, 1.0),
    **{f"fit.solver.{name}": _POSITIVE for name in ("damping", "damping_min")},
    "fit.solver.damping_max": (1e-9, 1e30),
    "fit.solver.damping_down": (1e-3, 1.0),
    "fit.solver.damping_up": (1.0, 1e3),
    "fit.solver.shortened": (0.0, 1.0),
    "fit.solver.trusted_share": (0.0, 1.0),
    "fit.solver.curvature_floor": (0.0, 1e9),
    "fit.solver.chunk": (1, 1_000_000),
    **{f"fit.stages.{stage}_iterations": _COUNT for stage in ("wide", "soft", "sharp")},
    **{f"fit.stages.{stage}_softness": (0.0, 10.0) for stage in ("wide", "soft", "sharp")},
    "fit.stages.wide_robust_sigmas": _SIGMA,
    "fit.stages.keep_within": (1.0, math.inf),
    "fit.stages.tolerance": (0.0, 1.0),
    "fit.ambiguous_margin": (0.0, math.inf),
    "fit.ambiguous_probability": (0.0, 1.0),
    "camera.image_size": (1, 100_000),
    "camera.keypoints_size": (1, 100_000),
    "camera.min_confidence": (0.0, 1.0),
    "output.min_size_px": (0.0, 100_000),
    "num_betas": (1, 400),
    "batch": (1, 1_000_000),
}
"""Smallest and largest value of each setting that is a number, by its place in config.json."""


def check_ranges(document: dict[str, Any], source: str) -> None:
    """Compare every number of a run's settings with what it may be.

    Args:
        document: as `config_files.as_document` writes them.
        source: names the file in errors.

    Raises:
        BodyfitError: naming the first setting that is out of range, and the range.
    """
    for place, value in _numbers(document):
        low, high = _RANGES.get(place, (-1e9, 1e9))
        if not low <= value <= high:  # NaN is in no range
            shown = f"{value:g}" if isinstance(value, float) else f"{value!s:.40}"
            raise BodyfitError(f"{source}: {place} is {shown}. Expected {low:g} to {high:g}.")


def _numbers(value: Any, place: str = "") -> list[tuple[str, float]]:
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in _numbers(item, f"{place}.{key}".lstrip("."))]
    if isinstance(value, list | tuple):
        return [found for item in value for found in _numbers(item, place)]
    return [(place, value)] if isinstance(value, int | float) and not isinstance(value, bool) else []
