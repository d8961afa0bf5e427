"""The benchmark of clips: joint fits beside fits of their frames one by one, as numbers and as a table."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bodyfit.fitting.benchmark.clip_noise import ClipNoise
from bodyfit.fitting.benchmark.laboratories import measured_elsewhere, offsets, who_is_elsewhere
from bodyfit.fitting.benchmark.sequences import Clip, Recording, imagined, make_clip, measure_clip, recorded
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
    ("skating_mm", "foot skating, mm per frame", 2),
    ("acceleration_mm", "acceleration, mm per frame squared", 2),
    ("moments_per_second", "moments per second", 0),
)


def some_clips(
    fitter: Fitter,
    motions: list[Path],
    *,
    count: int,
    cameras: int,
    fps: float,
    moments: int,
    seed: int,
    elsewhere: float = 0.0,
) -> Iterator[Clip]:
    """Clips of randomly chosen motions; of none, motion between poses of the prior.

    Args:
        fitter: its body is seen, its prior imagines motion.
        motions: motion files.
        count, cameras, fps, moments: how many clips, cameras of each, frames per second and frames at most.
        seed: the same seed gives the same clips.
        elsewhere: share of clips as another laboratory would have measured them.
    """
    far = who_is_elsewhere(count, elsewhere, seed).tolist()
    chosen = np.random.default_rng(seed).permutation(len(motions))[:count]
    for n in range(min(count, len(motions)) if motions else count):
        motion = motions[chosen[n]] if motions else imagined(fitter.prior, fps, moments, seed + n)
        if far[n]:
            motion = motion if isinstance(motion, Recording) else recorded(motion, fps, moments)
            by = offsets(1, seed + n).expand(len(motion.pose), -1, -1)
            body = measured_elsewhere(motion.pose[:, 1:], by)
            motion = replace(motion, pose=torch.cat([motion.pose[:, :1], body], 1))
        given = {"cameras": cameras, "seed": seed + n, "fps": fps, "moments": moments, "noise": ClipNoise()}
        yield make_clip(fitter.body, motion, **given)


def measure_clips(
    fitter: Fitter, clips: Iterator[Clip], config: SequenceConfig | None = None, *, ground: bool = False
) -> dict:
    """Rows of all clips, and their means: `mean`, and the medians of the ratios to single fits: `median_ratio`.

    With `ground`, also those of joint fits whose feet stand on the ground, and the medians of their ratios to joint
    fits without: `median_ground_ratio`.
    """
    rows = []
    for clip in clips:
        if len(clip.joints) < 3:
            log.info("a clip of %d frames has no accelerations: left out", len(clip.joints))
            continue
        rows.append(measure_clip(fitter, clip, config, ground=ground))
        log.info("clip %d: %s", len(rows), ", ".join(f"{k} {v:.4g}" for k, v in rows[-1].items()))
    names = sorted(set().union(*rows))
    mean = {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
    document = {"clips": len(rows), "moments": sum(row["moments"] for row in rows), "mean": mean, "rows": rows}
    document["median_ratio"] = _median_ratios(rows, "", "single_")
    return document | ({"median_ground_ratio": _median_ratios(rows, "ground_", "")} if ground else {})


def _median_ratios(rows: list[dict], above: str, below: str) -> dict[str, float]:
    """Of each measure, the median over clips of its value in one kind of fit over that in another."""
    pairs = {
        name: [(row[f"{above}{name}"], row[f"{below}{name}"]) for row in rows if f"{below}{name}" in row]
        for name, _, _ in _MEASURES
    }
    return {name: float(np.median([a / b for a, b in some])) for name, some in pairs.items() if some}


def as_table(document: dict) -> str:
    """The means as text."""
    mean, settings = document["mean"], document["settings"]
    ground = document.get("median_ground_ratio")
    heads = ["one by one", "together", "ratio", "median"] + (["on ground", "ratio", "median"] if ground else [])
    lines = [
        f"{document['clips']} clips, {document['moments']} moments at {settings['fps']:g} per second, "
        f"cameras: {settings['cameras']}",
        "",
        f"{'mean over clips':44}" + "".join(f" {head:>10}" for head in heads),
    ]
    for name, words, digits in _MEASURES:
        if name not in mean:
            continue
        alone, ours = mean.get(f"single_{name}"), mean[name]
        cells = ["-" if alone is None else f"{alone:.{digits}f}", f"{ours:.{digits}f}"]
        cells += ["-", "-"] if alone is None else [f"{ours / alone:.3g}", f"{document['median_ratio'][name]:.3g}"]
        if ground:
            there = mean[f"ground_{name}"]
            cells += [f"{there:.{digits}f}", f"{there / ours:.3g}", f"{ground[name]:.3g}"]
        lines.append(f"{words:44}" + "".join(f" {cell:>10}" for cell in cells))
    if "true_skating_mm" in mean:
        lines.append(f"{'foot skating of the truth':44} {'':10} {mean['true_skating_mm']:10.2f}")
    true = mean["true_acceleration_mm"]
    lines.append(f"{'acceleration of the truth':44} {'':10} {true:10.2f} {mean['acceleration_mm'] / true:10.3g}")
    if "unseen_pa_mpjpe_mm" in mean:
        lines.append(f"{'PA-MPJPE of moments that nobody saw, mm':44} {'-':>10} {mean['unseen_pa_mpjpe_mm']:10.1f}")
    return "\n".join(lines)
