"""How well the detector finds people: against keypoint files of the same photos, and through fits from both.

    python -m bodyfit.scripts.detector.measure PHOTOS ... [--detector NAME] [--no-fits]

PHOTOS are folders with photos and keypoint files, as `bodyfit fit` takes them. Prints a table of photos, of parts, of
confidences, and how far the bodies fitted from detected points are from those fitted from the files.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from jaxtyping import Float

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.detect.choose import load_detector
from bodyfit.data.detect.photos import detect_photos
from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.keypoints.formats import OPENPOSE_BODY_25
from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.data.landmarks import FACE, LANDMARK_INDEX, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND
from bodyfit.data.photo.photo import read_photo
from bodyfit.fitting.solve.fit import fit
from bodyfit.fitting.solve.frames import Frame

BODY_25 = np.array([LANDMARK_INDEX[name] for name in OPENPOSE_BODY_25.points])
SEEN, MIN_POINTS, FOUND = 0.1, 8, 0.15
"""Points of a file count above the first; people with this many body points count as people; and they are found if the
points of somebody detected are this close in the median, as a share of their size."""
HAND_SEEN, HAND_POINTS, FACE_POINTS = 0.2, 10, 20
"""Points of hands and faces count above the first; hands and faces with this many of them count."""


@dataclass(frozen=True)
class Match:
    """One person of a file, and who was detected there."""

    person: int
    detected: int
    size_px: float
    error: float
    """Median distance of body points, as a share of the size."""


def match(truth: Detections, found: Detections) -> tuple[list[Match], list[int], list[int]]:
    """Who was found, people with enough points who were missed, and who was invented."""
    pairs = []
    for i in range(len(truth)):
        points = BODY_25[truth.confidence[i, BODY_25] > SEEN]
        size = max(float(np.ptp(truth.xy[i, points], axis=0).max()), 1.0) if len(points) else 1.0
        for j in range(len(found)):
            both = points[found.confidence[j, points] > 0]
            if len(both) >= 4:
                error = float(np.median(np.linalg.norm(truth.xy[i, both] - found.xy[j, both], axis=1))) / size
                pairs.append(Match(i, j, size, error))
    chosen: list[Match] = []
    for pair in sorted(pairs, key=lambda p: p.error):
        taken = any(pair.person == c.person or pair.detected == c.detected for c in chosen)
        if pair.error < FOUND and not taken:
            chosen.append(pair)
    count = (truth.confidence[:, BODY_25] > SEEN).sum(axis=1)
    missed = [i for i in range(len(truth)) if count[i] >= MIN_POINTS and i not in {c.person for c in chosen}]
    invented = sorted(set(range(len(found))) - {c.detected for c in chosen})
    return [c for c in chosen if count[c.person] >= MIN_POINTS], missed, invented


def part_errors(truth: Detections, found: Detections, one: Match) -> dict[str, float | None]:
    """Median distance of each hand and the face, as shares of the person's size; None: not found."""
    errors: dict[str, float | None] = {}
    for name, part, least in (
        ("left hand", LEFT_HAND, HAND_POINTS),
        ("right hand", RIGHT_HAND, HAND_POINTS),
        ("face", FACE, FACE_POINTS),
    ):
        points = np.array([p for p in part if truth.confidence[one.person, p] > HAND_SEEN], dtype=int)
        if len(points) >= least:
            seen = points[found.confidence[one.detected, points] > SEEN]
            gap = np.linalg.norm(truth.xy[one.person, seen] - found.xy[one.detected, seen], axis=1)
            errors[name] = float(np.median(gap)) / one.size_px if len(seen) else None
    return errors


def aligned_distance_mm(a: Float[np.ndarray, "V 3"], b: Float[np.ndarray, "V 3"]) -> float:
    """Mean distance of two bodies' vertices after the similarity that puts the first on the second (Procrustes)."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    u, s, vt = np.linalg.svd(a.T @ b)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (s * np.diag(sign)).sum() / (a**2).sum()
    return float(np.linalg.norm(scale * a @ (u @ sign @ vt) - b, axis=1).mean()) * 1000


def fits_apart(frames: Sequence[Frame], found: Sequence[Detections], matches: Sequence[list[Match]]) -> list[float]:
    """Distance of vertices, mm, for each match in turn: fitted from the file, and from the detected points."""
    body = load_body_model()

    def bodies(frames: Sequence[Frame]) -> list[list[np.ndarray]]:
        results = iter(fit(frames))
        posed = []
        for frame in frames:
            here = [next(results) for _ in frame.detections.person_ids]
            parameters = [{k: torch.from_numpy(v).float() for k, v in r.parameters().items()} for r in here]
            posed.append([pose_body(body, **p).vertices[0].double().numpy() for p in parameters])
        return posed

    ours = bodies([replace(frame, detections=d) for frame, d in zip(frames, found, strict=True)])
    theirs = bodies(frames)
    return [
        aligned_distance_mm(ours[n][one.detected], theirs[n][one.person]) for n, m in enumerate(matches) for one in m
    ]


def report(frames: Sequence[Frame], found: Sequence[Detections], seconds: Sequence[float], fits: bool) -> None:
    """Print the tables."""
    matches, lost = [], []
    for frame, detections in zip(frames, found, strict=True):
        here, missed, invented = match(frame.detections, detections)
        matches.append(here)
        lost.append((missed, invented))
    apart = iter(fits_apart(frames, found, matches) if fits else [])
    parts, points, all_apart = defaultdict(list), defaultdict(list), []
    print("| photo | found | missed | invented | body | hands | faces | fits apart, mm | s |\n|" + "---|" * 9)
    for n, (frame, detections) in enumerate(zip(frames, found, strict=True)):
        here = [part_errors(frame.detections, detections, one) for one in matches[n]]
        mm = [next(apart) for _ in matches[n]] if fits else []
        all_apart += mm
        for one, errors in zip(matches[n], here, strict=True):
            parts["body"].append(one.error)
            for name, error in errors.items():
                parts[name.split()[-1]].append(error)
            seen = BODY_25[frame.detections.confidence[one.person, BODY_25] > SEEN]
            for p in seen[detections.confidence[one.detected, seen] > 0]:
                gap = np.linalg.norm(frame.detections.xy[one.person, p] - detections.xy[one.detected, p]) / one.size_px
                points[LANDMARK_NAMES[p]].append((gap, detections.confidence[one.detected, p]))
        share = [f"{e:.1%}" for e in (one.error for one in matches[n])]
        tally = [
            _tally([e for errors in here for name, e in errors.items() if part in name]) for part in ("hand", "face")
        ]
        cells = (frame.name, len(matches[n]), len(lost[n][0]), len(lost[n][1]), " ".join(share), *tally)
        print("|", *(f"{cell} |" for cell in (*cells, " ".join(f"{x:.0f}" for x in mm), f"{seconds[n]:.2f}")))
    for name in ("body", "hand", "face"):
        print(f"\n{name}: {_tally(parts[name])}")
    print("\n| point | n | median | nine in ten below |\n|---|---|---|---|")
    for name in [n for n in OPENPOSE_BODY_25.points if n in points]:
        gaps = np.array(points[name])[:, 0]
        print(f"| {name} | {len(gaps)} | {np.median(gaps):.1%} | {np.percentile(gaps, 90):.1%} |")
    print("\n| confidence | n | median | within 5 % | within 10 % |\n|---|---|---|---|---|")
    every = np.array([pair for name in points for pair in points[name]])
    for low, high in ((0, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1)):
        gaps = every[(every[:, 1] >= low) & (every[:, 1] < high), 0]
        if len(gaps):
            cells = f"{len(gaps)} | {np.median(gaps):.1%} | {(gaps < 0.05).mean():.0%} | {(gaps < 0.1).mean():.0%}"
            print(f"| {low} to {high} | {cells} |")
    if fits:
        print(f"\nfits apart, median: {np.median(all_apart):.0f} mm; mean: {np.mean(all_apart):.0f} mm")


def _tally(errors: list[float | None]) -> str:
    """How many were found of how many, and their median distance."""
    found = [e for e in errors if e is not None]
    return f"{len(found)} of {len(errors)}, {np.median(found):.1%}" if found else f"0 of {len(errors)}" * bool(errors)


def main(photos: tyro.conf.Positional[tuple[Path, ...]], /, detector: str = "auto", fits: bool = True) -> None:
    """Measure a detector on photos that have keypoint files."""
    items = [item for path in photos for item in find_inputs(path) if item.photo and item.keypoints]
    frames = [Frame.from_files(item.photo, item.keypoints) for item in items]
    run = load_detector(detector)
    run(read_photo(items[0].photo).image)  # the first one warms up
    found, seconds = [], []
    for item in items:
        began = time.perf_counter()
        [(_, detections)] = detect_photos(run, [item.photo], workers=1)
        seconds.append(time.perf_counter() - began)
        found.append(detections)
    began = time.perf_counter()
    list(detect_photos(run, [item.photo for item in items]))
    side_by_side = (time.perf_counter() - began) / len(items)
    report(frames, found, seconds, fits)
    print(f"\nall photos, side by side: {side_by_side:.2f} s per photo")


if __name__ == "__main__":
    tyro.cli(main)
