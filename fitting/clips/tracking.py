"""Who is who over time: the people of consecutive frames, joined by where their keypoints are and how they move.

Each frame's people are assigned to those followed so far by the Hungarian method, on how alike their keypoints are
after each was moved on as it moved last. Nobody is followed across a cut. Who comes back after a long absence is
somebody new: shapes of single views tell people apart too rarely to say more (of 12 people in three videos, the nearest
shape was the person's own for 8).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from bodyfit.data.landmarks import BODY, MIRRORED
from bodyfit.fitting.energy.observations import CONFIDENT, person_size
from bodyfit.fitting.solve.frames import Frame

_BODY = np.array(BODY)
_OTHER_SIDE = np.array([BODY.index(MIRRORED[i]) for i in BODY])


@dataclass(frozen=True)
class TrackingConfig:
    """How people are followed. Lengths are shares of a person's size in the picture."""

    longest_gap_s: float = 1.5
    """Seconds that somebody may be unseen and still be followed."""
    blur: float = 0.08
    """How far keypoints move between two frames beside the motion that was expected, and ..."""
    blur_per_s: float = 1.0
    """... how much further for each second between the two; at most half a person."""
    size_sigma: float = 0.35
    """Spread of the logarithm of a person's size from one sighting to the next."""
    least_likeness: float = 0.15
    """Likeness, of 1, below which two sightings are of two people."""
    mirrored: float = 0.8
    """How much a sighting counts that is alike only with left and right exchanged, as detectors see people at times."""
    own_point: float = 0.15
    """Distance from which on a point is not that of the others in the frame."""
    least_own: float = 0.3
    """Share of own points that somebody new has: detectors invent people from the points of those side by side."""
    newcomer: float = 0.8
    """How much the likeness to somebody who was seen once only counts, and more with every sighting: in a dispute, who
    has been followed for long goes first."""
    extrapolated_s: float = 0.4
    """Seconds that somebody unseen is expected to go on moving."""
    least_sightings: int = 3
    """Tracks seen in fewer frames are spurious ..."""
    least_seconds: float = 0.2
    """... and those seen for a shorter time."""


@dataclass(eq=False)
class Tracklet:
    """One person while being followed."""

    shot: int
    """Number of the shot, between two cuts."""
    moments: list[int] = field(default_factory=list)
    people: list[int] = field(default_factory=list)
    """Who of the frame at each of these moments."""
    sizes: list[float] = field(default_factory=list)
    """In pixels, at each."""
    own: list[float] = field(default_factory=list)
    """Share of points, at each, that are not those of somebody else who is followed and seen better."""
    xy: Float[np.ndarray, "K 2"] = field(default_factory=lambda: np.zeros((len(_BODY), 2)))
    """Where the body's landmarks were seen last."""
    weight: Float[np.ndarray, " K"] = field(default_factory=lambda: np.zeros(len(_BODY)))
    velocity: Float[np.ndarray, " 2"] = field(default_factory=lambda: np.zeros(2))
    """Pixels per moment."""

    @property
    def size(self) -> float:
        """In pixels, lately."""
        return float(np.median(self.sizes[-9:]))

    def add(self, moment: int, person: int, xy: np.ndarray, weight: np.ndarray, size: float) -> None:
        """The next sighting."""
        common = (self.weight > 0) & (weight > 0)
        if self.moments and common.any():
            moved = np.median(xy[common] - self.xy[common], axis=0) / (moment - self.moments[-1])
            self.velocity = moved if len(self.moments) == 1 else 0.5 * (self.velocity + moved)
        drift = self.velocity * (moment - self.moments[-1]) if self.moments else 0.0
        self.xy = np.where((weight > 0)[:, None], xy, self.xy + drift)
        self.weight = np.where(weight > 0, weight, 0.5 * self.weight)  # not seen now: an older place counts less
        self.moments.append(moment)
        self.people.append(person)
        self.sizes.append(size)


@dataclass(frozen=True)
class Tracking:
    """What following people through a clip has found."""

    tracklets: list[Tracklet]
    """By the time at which each begins."""
    dropped: list[Tracklet]
    """Those too short to be people, or made of the points of others."""


def track_people(
    frames: Mapping[int, Frame],
    fps: float,
    cuts: Collection[int] = (),
    config: TrackingConfig | None = None,
) -> Tracking:
    """Follow people through the frames of one camera.

    Args:
        frames: by moment; moments without a frame are gaps.
        fps: moments per second.
        cuts: moments that begin a new shot: everybody before is somebody else.
        config: bounds.
    """
    config = config or TrackingConfig()
    active: list[Tracklet] = []
    ended: list[Tracklet] = []
    starts, longest = sorted(cuts), max(config.longest_gap_s * fps, 1.0)
    for moment in sorted(frames):
        shot = int(np.searchsorted(starts, moment, side="right"))
        over = [t for t in active if t.shot != shot or moment - t.moments[-1] > longest]
        ended += over
        active = [t for t in active if t not in over]
        active += _step(active, frames[moment], moment, shot, fps, config)
    return _sorted_out(ended + active, frames, fps, config)


@dataclass(frozen=True)
class _Seen:
    """The people of one frame."""

    points: Float[np.ndarray, "M K 2"]
    weights: Float[np.ndarray, "M K"]
    sizes: Float[np.ndarray, " M"]
    numbers: list[int]
    """Their numbers in the frame; whoever is seen best first."""

    @classmethod
    def of(cls, frame: Frame) -> _Seen:
        xy, confidence = frame.detections.xy, frame.detections.confidence
        weights = np.where(confidence[:, _BODY] > CONFIDENT, confidence[:, _BODY], 0.0)
        order = np.argsort(-weights.sum(1), kind="stable")
        order = order[(weights[order] > 0).sum(1) >= 3]
        sizes = person_size(xy[order], confidence[order])
        return cls(xy[order][:, _BODY], weights[order], sizes, order.tolist())

    def own(self, n: int, others: Sequence[int], config: TrackingConfig) -> float:
        """Which share of person n's points is not where the others have the same points."""
        reach, them = config.own_point * self.sizes[n], list(others)
        return own_share(self.points[n], self.weights[n], self.points[them], self.weights[them], reach)

    def continues(self, track: Tracklet, moment: int, n: int) -> None:
        """Give person n to a track."""
        track.add(moment, self.numbers[n], self.points[n], self.weights[n], float(self.sizes[n]))


def _step(
    active: list[Tracklet], frame: Frame, moment: int, shot: int, fps: float, config: TrackingConfig
) -> list[Tracklet]:
    """Give a frame's people to those who are followed; those who are new."""
    seen = _Seen.of(frame)
    alike = np.array([likeness_to(t, moment, seen.points, seen.weights, seen.sizes, fps, config) for t in active])
    taken: dict[int, Tracklet] = {}
    if alike.size:
        for a, n in zip(*linear_sum_assignment(-alike), strict=True):
            if alike[a, n] >= config.least_likeness:
                taken[int(n)] = active[a]
    new = []
    for n in range(len(seen.numbers)):  # of one person found twice, the better one is followed
        if n not in taken and seen.own(n, sorted(taken), config) >= config.least_own:
            taken[n] = Tracklet(shot)
            new.append(taken[n])
    for n, track in taken.items():
        seen.continues(track, moment, n)
        track.own.append(seen.own(n, [m for m in taken if m < n], config))
    return new


def own_share(
    xy: Float[np.ndarray, "K 2"],
    weight: Float[np.ndarray, " K"],
    other_xy: Float[np.ndarray, "M K 2"],
    other_weight: Float[np.ndarray, "M K"],
    reach: float,
) -> float:
    """Which share of a person's points are not within `reach` of the same points, of either side, of the others."""
    taken = np.zeros(len(weight), dtype=bool)
    for order in (slice(None), _OTHER_SIDE):
        near = np.linalg.norm(other_xy[:, order] - xy, axis=-1) < reach
        taken |= (near & (other_weight[:, order] > 0)).any(axis=0)
    return float(weight[~taken].sum() / max(weight.sum(), 1e-9))


def likeness_to(
    track: Tracklet,
    moment: int,
    xy: Float[np.ndarray, "M K 2"],
    weight: Float[np.ndarray, "M K"],
    size: Float[np.ndarray, " M"],
    fps: float,
    config: TrackingConfig,
) -> Float[np.ndarray, " M"]:
    """How much people look like whom a track expects at a moment, in [0, 1]."""
    elapsed = moment - track.moments[-1]
    expected = track.xy + track.velocity * min(elapsed, max(config.extrapolated_s * fps, 1.0))
    blur = min(config.blur + config.blur_per_s * elapsed / fps, 0.5)
    seen = expected, track.weight, track.size
    alike = _likeness(*seen, xy, weight, size, blur, config)
    mirrored = _likeness(*seen, xy[:, _OTHER_SIDE], weight[:, _OTHER_SIDE], size, blur, config)
    known = 1 - (1 - config.newcomer) / len(track.moments)
    return known * np.maximum(alike, config.mirrored * mirrored)


def _likeness(
    xy: np.ndarray,
    weight: np.ndarray,
    size: float,
    other_xy: np.ndarray,
    other_weight: np.ndarray,
    other_size: np.ndarray,
    blur: float,
    config: TrackingConfig,
) -> Float[np.ndarray, " M"]:
    """Object keypoint similarity on the points that both have, less where sizes differ."""
    both = weight * other_weight
    # Somebody half hidden is smaller in the picture, and still as large where both are seen.
    seen_in_both = both > 0
    scale, other_scale = _spread(xy[None], seen_in_both), _spread(other_xy, seen_in_both)
    larger = np.maximum(np.maximum(scale, other_scale), 0.3 * np.maximum(size, other_size))
    gap = np.linalg.norm(other_xy - xy, axis=-1) / (blur * np.maximum(larger, 1.0)[:, None])
    alike = (both * np.exp(-(gap**2) / 2)).sum(1) / np.maximum(both.sum(1), 1e-9)
    ratio = np.log(np.maximum(scale, 1.0) / np.maximum(other_scale, 1.0))
    return np.where(seen_in_both.sum(1) >= 3, alike * np.exp(-(ratio**2) / (2 * config.size_sigma**2)), 0.0)


def _spread(xy: np.ndarray, seen: np.ndarray) -> Float[np.ndarray, " M"]:
    """Longer side of the box around the points that count."""
    low = np.where(seen[..., None], xy, np.inf).min(axis=1, initial=np.inf)
    high = np.where(seen[..., None], xy, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(seen.any(1), (high - low).max(axis=-1), 0.0)


def _sorted_out(
    tracklets: Sequence[Tracklet], frames: Mapping[int, Frame], fps: float, config: TrackingConfig
) -> Tracking:
    """Without the spurious ones, in order: who is there first, of these the largest."""
    least = max(config.least_sightings, round(config.least_seconds * fps))
    least = min(least, max(len(frames) // 2, 1))  # of very short clips
    ordered = sorted(tracklets, key=lambda t: (t.moments[0], -np.median(t.sizes)))
    kept = [t for t in ordered if len(t.moments) >= least and np.median(t.own) >= config.least_own]
    return Tracking(kept, [t for t in ordered if t not in kept])
