"""`bodyfit benchmark-uncertainty`: whether fits of synthetic people know how sure they are."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import write_atomically
from bodyfit.fitting.benchmark import calibration, clip_calibration, flips
from bodyfit.fitting.benchmark.clip_table import some_clips
from bodyfit.fitting.solve.ages import ADULT_YEARS, AgeConfig
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter, pick_device
from bodyfit.fitting.start.pose_sources import split_clips
from bodyfit.fitting.uncertainty.flip_coefficients import CLIP_OFFSET
from bodyfit.fitting.uncertainty.temperature import CLIP, PHOTO, VIEWS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkUncertaintyCommand:
    """Measure whether fits know how sure they are, on synthetic people with known truth.

    The covariance of a joint promises regions: 68 % of the true joints should lie in those of 68 %. Printed are the
    shares found, by part of the body, in the camera frame and relative to the pelvis. Then limbs that are flipped in
    depth: how many of those who are wrong by one are marked as ambiguous, how many others are, and whether the
    probabilities of flips are true; of clips, by moment.
    """

    people: int = 512
    """People to fit, for each keypoint error."""
    poses: Path | None = None
    """Folder of motion files (.npz) to take poses from. Default: samples of the prior."""
    split: str | None = None
    """Which split of the folder's splits.json, such as test; all clips by default."""
    noise: tuple[float, ...] = (0.004,)
    """Keypoint errors (standard deviations along x and y) as shares of a person's size."""
    ages: tuple[float, float] | None = None
    """Ages of the people, from and to, years: children, who are fitted as such. Default: adults."""
    elsewhere: float = 0.0
    """Share of people, or clips, whose skeletons are as another laboratory would have measured them: a few degrees
    off in trunk, collars and limbs, by random amounts that are the same throughout a clip."""
    clips: int = 0
    """Measure so many clips instead: people over time, whose keypoints also have errors that last, and are hidden."""
    cameras: int = 1
    """Of clips: calibrated cameras around the person; 1: one that is not."""
    moments: int = 60
    """Of clips: frames of each at most, at 30 per second."""
    refit: bool = False
    """Also fit factors and floors of covariances and the probabilities of flips to these people, and print them as
    `fitting/uncertainty/temperature.py` and `flip_coefficients.py` have them."""
    plot: Path | None = None
    """Draw the reliability of the body's joints into this .svg file."""
    seed: int = 0
    """The same seed gives the same people."""
    device: str = "auto"
    """cpu, cuda, cuda:1, or auto: CUDA if available."""
    threads: int = 0
    """CPU threads; 0: as PyTorch chooses."""
    json: bool = False
    """Print one JSON document on stdout, and nothing else."""

    def run(self) -> int:
        """Measure and print."""
        if self.people < 8:
            raise BodyfitError(f"--people must be at least 8, got {self.people}.")
        if not self.noise or min(self.noise) <= 0:
            raise BodyfitError("--noise needs one or more shares above 0, such as 0.004.")
        if self.plot is not None and self.plot.suffix.lower() != ".svg":
            raise BodyfitError(f"--plot {self.plot}: expected a name that ends in .svg.")
        if self.clips < 0 or self.cameras < 1 or self.moments < 3:
            raise BodyfitError("--clips must not be below 0, --cameras not below 1, --moments not below 3.")
        if self.ages is not None and not 0 <= self.ages[0] <= self.ages[1] <= ADULT_YEARS:
            raise BodyfitError(f"--ages {self.ages[0]:g} {self.ages[1]:g}: expected years from 0 to {ADULT_YEARS:g}.")
        if not 0 <= self.elsewhere <= 1:
            raise BodyfitError(f"--elsewhere {self.elsewhere:g}: expected a share from 0 to 1.")
        if self.threads:
            torch.set_num_threads(self.threads)
        if self.clips:
            document = self._clips()
            print(json.dumps(document) if self.json else as_text(document))
            return 0
        config = FitConfig() if self.ages is None else FitConfig(age=AgeConfig(kind="child"))
        fitter, studies = Fitter(config=config, device=pick_device(self.device)), []
        for noise in self.noise:
            log.info("%d people, keypoint error %.2g %% of their size", self.people, 100 * noise)
            given = (self.poses, self.split, self.people, self.seed, noise, self.ages, self.elsewhere)
            people = calibration.make_people(fitter, *given)
            studies.append(calibration.study(fitter, people, noise))
        document = self._document(studies)
        if self.plot is not None:
            picture = reliability_svg(studies)
            write_atomically(self.plot, lambda temporary: temporary.write_text(picture, encoding="utf-8"))
        print(json.dumps(document) if self.json else as_text(document))
        return 0

    def _clips(self) -> dict[str, Any]:
        """How sure fits over time are."""
        fitter, motions = Fitter(device=pick_device(self.device)), []
        if self.poses is not None:
            motions = split_clips(self.poses, self.split) if self.split else sorted(self.poses.rglob("*.npz"))
        settings = {"count": self.clips, "cameras": self.cameras, "fps": 30.0, "moments": self.moments}
        settings |= {"seed": self.seed, "elsewhere": self.elsewhere}
        errors, flipped = clip_calibration.study_over_time(fitter, some_clips(fitter, motions, **settings))
        found = {} if flipped is None else {"flips": clip_calibration.figures(flipped)}
        document: dict[str, Any] = {"clips": self.clips, "cameras": self.cameras, "studies": [found | _figures(errors)]}
        if self.refit:
            seen_as = CLIP if self.cameras == 1 else VIEWS
            document["refit"] = _refitted([errors], seen_as)
            if flipped is not None:
                document["refit"]["CLIP_OFFSET"] = clip_calibration.refitted_offset(flipped, CLIP_OFFSET)
        return document

    def _document(self, studies: list[calibration.Study]) -> dict[str, Any]:
        document: dict[str, Any] = {"people": sum(len(one.joints) for one in studies), "studies": []}
        for one in studies:
            figures = {"noise_share": one.noise_share, "flips": flips.figures([one])}
            document["studies"].append(figures | _figures(one.errors))
        if self.refit:
            errors = [one.errors for one in studies]
            document["refit"] = _refitted(errors, PHOTO) | flips.refitted(studies)
        return document


def _refitted(errors: list[calibration.Errors], seen_as: str) -> dict[str, Any]:
    """Factors and floors, as `temperature.py` has them."""
    scales, overall = (fit(errors, seen_as) for fit in (calibration.fitted_scales, calibration.fitted_overall))
    return {f"SCALES['{seen_as}']": scales, f"OVERALL['{seen_as}']": overall}


def _figures(errors: calibration.Errors) -> dict[str, Any]:
    """Coverage, and the largest gaps."""
    found = calibration.coverage([errors])
    gaps = {"worst_gap_at_68": calibration.worst_gap(found, 0.68), "worst_gap": calibration.worst_gap(found)}
    return {"coverage": found} | gaps


def as_text(document: dict[str, Any]) -> str:
    """For people."""
    clips = "clips" in document
    lines = [f"{document['clips']} clips, cameras: {document['cameras']}" if clips else f"{document['people']} people"]
    for one in document["studies"]:
        noise = "" if clips else f"keypoint error {100 * one['noise_share']:.2g} % of a person's size: "
        lines += ["", f"{noise}true joints within regions, %"]
        levels = [100 * level for level in calibration.LEVELS]
        for frame, parts in one["coverage"].items():
            head = {"camera": "camera frame", "root_relative": "relative to the pelvis"}[frame]
            lines += [f"  {head:24}" + "".join(f"{level:9.0f}" for level in levels)]
            lines += [
                f"    {part:22}" + "".join(f"{100 * s:9.1f}" for s in shares.values()) for part, shares in parts.items()
            ]
        lines += [
            f"  largest difference at 68 %: {100 * one['worst_gap_at_68']:.1f}, anywhere {100 * one['worst_gap']:.1f}"
        ]
        lines += flips_as_text(one["flips"]) if "flips" in one else []
    if "refit" in document:
        lines += ["", *(f"{name} = {value}" for name, value in document["refit"].items())]
    return "\n".join(lines)


def flips_as_text(found: dict[str, Any]) -> list[str]:
    """Flipped limbs, for people."""
    percent = {name: f"{100 * value:.1f} %" for name, value in found.items() if isinstance(value, float)}
    lines = _of_people(found, percent) if "modes" in found else _of_moments(found, percent)
    rates = [f"{100 * float(share):.0f} %: {100 * rate:.1f} %" for share, rate in found["roc"].items()]
    lines = ["", *lines, "    detected at other shares of false alarms: " + ", ".join(rates)]
    titles = {"bones": "probability that a bone is flipped", "modes": "weight of a kept mode"}
    for title, name in ((titles[name], name) for name in titles if name in found):
        lines += [f"    {title:36}{'mean, %':>9}{'found, %':>10}{'count':>8}"]
        lines += [
            f"      from {100 * one['from']:<29.0f}{100 * one['promised']:9.1f}"
            f"{100 * one['found']:10.1f}{one['count']:8}"
            for one in found[name]
        ]
    return lines


def _of_people(found: dict[str, Any], percent: dict[str, str]) -> list[str]:
    return [
        f"  limbs flipped in depth: the best mode of {percent['wrong']} of these people is wrong by one",
        f"    of these, ambiguous or with the right mode kept {percent['flagged']} (ambiguous {percent['marked']}, "
        f"right mode kept {percent['right_mode_kept']})",
        f"    false alarms: ambiguous of those whose limbs are right {percent['false_alarms']}; "
        f"people with a flipped mode kept {percent['modes_kept']}, {found['modes_per_person']:.2f} modes per person",
    ]


def _of_moments(found: dict[str, Any], percent: dict[str, str]) -> list[str]:
    lines = [
        f"  limbs flipped in depth: {percent['wrong']} of {found['people']} moments are wrong by one",
        f"    of these ambiguous {percent['marked']}; false alarms, ambiguous of the others: {percent['false_alarms']}",
    ]
    if "median_seconds" in found:
        lasts = f"{found['median_seconds']:.2f} s (median), {found['longest_seconds']:.2f} s at most"
        lines += [f"    a bone stays flipped for {lasts}"]
    return lines


def reliability_svg(studies: list[calibration.Study]) -> str:
    """Promised against found shares, in both frames."""
    from bodyfit.fitting.draw.colours import BLUE, GREY, INK, ORANGE

    size, left, top = 300, 60, 40
    panels = []
    for number, (frame, title) in enumerate([("camera", "camera frame"), ("root_relative", "relative to the pelvis")]):
        x0 = left + number * (size + 80)
        lines = [f"<rect x='{x0}' y='{top}' width='{size}' height='{size}' fill='white' stroke='{GREY}'/>"]
        lines.append(
            f"<line x1='{x0}' y1='{top + size}' x2='{x0 + size}' y2='{top}' stroke='{GREY}' stroke-dasharray='4 4'/>"
        )
        for tick in (0, 25, 50, 68, 90):
            x, y = x0 + size * tick / 100, top + size * (1 - tick / 100)
            lines.append(f"<text x='{x}' y='{top + size + 18}' text-anchor='middle'>{tick}</text>")
            lines.append(f"<text x='{x0 - 8}' y='{y + 4}' text-anchor='end'>{tick}</text>")
        for colour, one in zip((BLUE, ORANGE, INK), studies, strict=False):
            promised, found = calibration.reliability([one.errors], frame)
            points = " ".join(
                f"{x0 + size * p:.1f},{top + size * (1 - f):.1f}" for p, f in zip(promised, found, strict=True)
            )
            lines.append(f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2'/>")
        lines.append(f"<text x='{x0 + size / 2}' y='{top - 12}' text-anchor='middle' font-weight='bold'>{title}</text>")
        lines.append(f"<text x='{x0 + size / 2}' y='{top + size + 38}' text-anchor='middle'>region promised, %</text>")
        panels += lines
    for row, (colour, one) in enumerate(zip((BLUE, ORANGE, INK), studies, strict=False)):
        y = top + size - 14 - 18 * row
        label = f"keypoint error {100 * one.noise_share:.1f} %"
        panels.append(
            f"<line x1='{left + 130}' x2='{left + 150}' y1='{y - 4}' y2='{y - 4}' stroke='{colour}' stroke-width='2'/>"
        )
        panels.append(f"<text x='{left + 156}' y='{y}'>{label}</text>")
    middle = top + size / 2
    panels.append(
        f"<text transform='translate(18 {middle}) rotate(-90)' text-anchor='middle'>true joints within, %</text>"
    )
    width, height = left + 2 * size + 100, top + size + 50
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' "
        f"font-family='system-ui,sans-serif' font-size='12'><rect width='100%' height='100%' fill='white'/>"
        + "".join(panels)
        + "</svg>\n"
    )
