"""The benchmark of clips: joint fits beside fits of their frames one by one, as numbers and as a table."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bodyfit.fitting.benchmark.clip_noise import ClipNoise
from bodyfit.fitting.benchmark.sequences import Clip, imagined, make_clip, measure_clip
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.solve.fitter import Fitter

log = logging.getLogger(__name__)

# name of the measure, its words, digits
_MEASURES = (
    ("pa_mpjpe_mm", "PA-MPJPE, mm", 1),
    ("mpjpe_mm", "MPJPE without alignment, mm", 1),
    ("root_mpjpe_mm", "MPJPE, pelvis on pelvis, mm", 1),
    ("size_error_share", "error of the thighs' length, share", 3),
    ("acceleration_error_mm", "acceleration error, mm per frame squared", 2),
    ("acceleration_mm", "acceleration, mm per frame squared", 2),
    ("moments_per_second", "moments per second", 0),
)


def some_clips(
    fitter: Fitter, motions: list[Path], *, count: int, cameras: int, fps: float, moments: int, seed: int
) -> Iterator[Clip]:
    """Clips of randomly chosen motions; of none, motion between poses of the prior.

    Args:
        fitter: its body is seen, its prior imagines motion.
        motions: motion files.
        count, cameras, fps, moments: how many clips, cameras of each, frames per second and frames at most.
        seed: the same seed gives the same clips.
    """
    chosen = np.random.default_rng(seed).permutation(len(motions))[:count]
    for n in range(min(count, len(motions)) if motions else count):
        motion = motions[chosen[n]] if motions else imagined(fitter.prior, fps, moments, seed + n)
        given = {"cameras": cameras, "seed": seed + n, "fps": fps, "moments": moments, "noise": ClipNoise()}
        yield make_clip(fitter.body, motion, **given)


def measure_clips(fitter: Fitter, clips: Iterator[Clip], config: SequenceConfig | None = None) -> dict:
    """Rows of all clips, and their means: `mean`, and the medians of the ratios to single fits: `median_ratio`."""
    rows = []
    for clip in clips:
        if len(clip.joints) < 3:
            log.info("a clip of %d frames has no accelerations: left out", len(clip.joints))
            continue
        rows.append(measure_clip(fitter, clip, config))
        log.info("clip %d: %s", len(rows), ", ".join(f"{k} {v:.4g}" for k, v in rows[-1].items()))
    names = sorted(set().union(*rows))
    mean = {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
    ratios = {
        name: float(np.median([row[name] / row[f"single_{name}"] for row in rows]))
        for name, _, _ in _MEASURES
        if all(f"single_{name}" in row for row in rows)
    }
    moments = sum(row["moments"] for row in rows)
    return {"clips": len(rows), "moments": moments, "mean": mean, "median_ratio": ratios, "rows": rows}


def as_table(document: dict) -> str:
    """The means as text."""
    mean, ratios = document["mean"], document["median_ratio"]
    settings = document["settings"]
    lines = [
        f"{document['clips']} clips, {document['moments']} moments at {settings['fps']:g} per second, "
        f"cameras: {settings['cameras']}",
        "",
        f"{'mean over clips':44} {'one by one':>12} {'together':>12} {'ratio':>8} {'median':>8}",
    ]
    for name, words, digits in _MEASURES:
        alone, ours = mean.get(f"single_{name}"), mean[name]
        cells = [f"{alone:.{digits}f}" if alone is not None else "-", f"{ours:.{digits}f}"]
        cells += [f"{ours / alone:.3g}", f"{ratios[name]:.3g}"] if alone is not None else ["-", "-"]
        lines.append(f"{words:44} {cells[0]:>12} {cells[1]:>12} {cells[2]:>8} {cells[3]:>8}")
    true = mean["true_acceleration_mm"]
    lines.append(f"{'acceleration of the truth':44} {'':12} {true:12.2f} {mean['acceleration_mm'] / true:8.3g}")
    if "unseen_pa_mpjpe_mm" in mean:
        lines.append(f"{'PA-MPJPE of moments that nobody saw, mm':44} {'-':>12} {mean['unseen_pa_mpjpe_mm']:12.1f}")
    return "\n".join(lines)
