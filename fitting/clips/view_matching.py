"""Who is who in several calibrated views: detections matched across cameras and over time, by triangulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from bodyfit.data.landmarks import BODY, LANDMARK_NAMES
from bodyfit.fitting.clips.triangulation import AGREE_SHARE, CameraArrays, Triangulated, triangulate
from bodyfit.fitting.energy.observations import person_size
from bodyfit.fitting.sequence.group import Sighting
from bodyfit.fitting.solve.frames import Frame

Moments = Mapping[int, Mapping[str, Frame]]
"""The frame of each camera at each moment."""


@dataclass(frozen=True)
class MatchingConfig:
    """When detections are one person. Distances are shares of the size of the person in the picture."""

    across: float = 0.04
    """Median distance between where two views see a body, and where its triangulated points are."""
    over_time: float = 0.35
    """Median distance between a detection and where the person was last."""
    one_view: float = 0.08
    """Handicap, in these distances, of people whom one camera alone saw against those who are known in 3D."""
    outlier: float = 0.12
    """A view of a person is given up where it is so far from what the others say."""
    least_points: int = 5
    """Body landmarks that two views must share."""
    longest_gap_s: float = 2.0
    """A person who is out of sight for longer comes back as somebody else."""


@dataclass
class _Person:
    sightings: dict[int, dict[str, int]] = field(default_factory=dict)
    """Moment -> camera -> number in the frame."""
    points: Float[np.ndarray, "K 3"] | None = None
    """Body landmarks where they were last triangulated."""
    seen_px: dict[str, np.ndarray] = field(default_factory=dict)
    """The last detection in each camera."""
    last: int = -1


@dataclass(frozen=True)
class _Moment:
    """All usable detections of a moment: N of them."""

    frames: list[Frame]
    names: list[str]
    person: list[int]
    camera: np.ndarray
    """Index into the cameras of the moment, for each detection."""
    cameras: CameraArrays
    xy: Float[np.ndarray, "N K 2"]
    weight: Float[np.ndarray, "N K"]
    size: Float[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.person)


def match_people(moments: Moments, fps: float, config: MatchingConfig | None = None) -> list[list[Sighting]]:
    """Match detections across cameras and over time.

    At each moment, people of the moments before claim the detections nearest to where they were; what is left is put
    together where two views triangulate to one body. A detection that nothing matches is a person of its own.

    Args:
        moments: frames with extrinsics.
        fps: moments per second.
        config: when detections are one person.

    Returns:
        the sightings of each person, ascending in time; those with most sightings first.
    """
    config = config or MatchingConfig()
    people: list[_Person] = []
    for t in sorted(moments):
        now = _detections(moments[t])
        if len(now):
            groups = _grouped(now, _claimed(now, people, t, fps, config), config)
            _remember(now, groups, people, t)
    people = _merged(people, moments, config)
    people.sort(key=lambda person: -sum(len(views) for views in person.sightings.values()))
    return [
        [
            Sighting(t, moments[t][camera], n)
            for t, views in sorted(person.sightings.items())
            for camera, n in views.items()
        ]
        for person in people
    ]


def _detections(frames: Mapping[str, Frame]) -> _Moment:
    names, body = list(frames), list(BODY)
    found = [
        (c, i)
        for c, name in enumerate(names)
        for i, problem in enumerate(frames[name].detections.problems)
        if problem is None
    ]
    xy, weight = np.zeros((len(found), len(LANDMARK_NAMES), 2)), np.zeros((len(found), len(LANDMARK_NAMES)))
    for n, (c, i) in enumerate(found):
        xy[n], weight[n] = frames[names[c]].detections.xy[i], frames[names[c]].detections.confidence[i]
    size = np.array(person_size(xy, weight)) if found else np.zeros(0)
    ordered = [frames[name] for name in names]
    return _Moment(
        ordered,
        names,
        [i for _, i in found],
        np.array([c for c, _ in found], dtype=int),
        CameraArrays.of_frames(ordered),
        xy[:, body],
        weight[:, body],
        size,
    )


# --- over time -------------------------------------------------------------------------------------------------------


def _claimed(now: _Moment, people: list[_Person], t: int, fps: float, config: MatchingConfig) -> list[int]:
    """Which of the people each detection is; -1: nobody yet."""
    owner = [-1] * len(now)
    alive = [n for n, person in enumerate(people) if t - person.last <= max(1, config.longest_gap_s * fps)]
    for c in sorted(set(now.camera.tolist())):
        here = [n for n in range(len(now)) if now.camera[n] == c]
        cost = np.array([[_distance(now, n, people[p]) for n in here] for p in alive]).reshape(len(alive), len(here))
        handicap = np.array([config.one_view * (people[p].points is None) for p in alive])
        cost = np.where(cost < config.over_time, cost + handicap[:, None], 1e3)
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            if cost[row, column] < 1e3:
                owner[here[column]] = alive[row]
    for p in set(owner) - {-1}:
        for n in _disagreeing(now, [n for n, mine in enumerate(owner) if mine == p], config):
            owner[n] = -1
    return owner


def _distance(now: _Moment, n: int, person: _Person) -> float:
    """How far a detection is from where a person was, as a share of its size."""
    expected = np.full(now.xy.shape[1:], np.nan)
    if person.points is not None:
        expected = now.cameras.of([now.camera[n]]).project(person.points)[:, 0]
    before = person.seen_px.get(now.names[now.camera[n]])
    if before is not None:
        unknown = np.isnan(expected).any(1)
        expected[unknown] = before[unknown]
    off = np.linalg.norm(expected - now.xy[n], axis=1)[now.weight[n] > 0]
    off = off[np.isfinite(off)]
    return float(np.median(off) / max(now.size[n], 1e-9)) if len(off) >= 3 else np.inf


def _disagreeing(now: _Moment, mine: list[int], config: MatchingConfig) -> list[int]:
    """Detections of a person that the others contradict, the worst first."""
    dropped: list[int] = []
    while len(mine) > 1:
        error = _together(now, mine)
        worst = int(np.nanargmax(error)) if np.isfinite(error).any() else -1
        if worst < 0 or error[worst] < config.outlier:
            break
        if len(mine) == 2:  # either may be the wrong one: the less confident is
            worst = int(np.argmin([now.weight[n].sum() for n in mine]))
        dropped.append(mine.pop(worst))
    return dropped


def _together(now: _Moment, mine: list[int]) -> Float[np.ndarray, " M"]:
    """How far each of some detections is from the body that they triangulate to, as a share of its size."""
    found = _triangulated(now, mine, 3 * AGREE_SHARE)
    off = np.where(now.weight[mine].T > 0, found.error_px, np.nan)
    known = np.isfinite(off).sum(0) >= 3
    return np.array([np.nanmedian(off[:, v]) / now.size[n] if known[v] else np.nan for v, n in enumerate(mine)])


def _triangulated(now: _Moment, mine: list[int], tolerance: float) -> Triangulated:
    """The body landmarks (K) that some detections, each of another camera, say together."""
    xy, cameras = now.xy[mine].transpose(1, 0, 2), now.cameras.of(now.camera[mine])
    return triangulate(xy, now.weight[mine].T, cameras, tolerance * now.size[mine])


# --- across cameras --------------------------------------------------------------------------------------------------


def _grouped(now: _Moment, owner: list[int], config: MatchingConfig) -> list[tuple[int, list[int]]]:
    """Groups of detections, each with the person that it is (-1: somebody new), one detection per camera."""
    groups = [(p, [n for n in range(len(now)) if owner[n] == p]) for p in sorted(set(owner) - {-1})]
    groups += [(-1, [n]) for n in range(len(now)) if owner[n] == -1]
    if all(p >= 0 for p, _ in groups):
        return groups
    cost = _pair_costs(now, config)
    while len(groups) > 1:
        best = (config.across, -1, -1)
        for a, b in combinations(range(len(groups)), 2):
            (p, first), (q, second) = groups[a], groups[b]
            if (p >= 0 and q >= 0) or set(now.camera[first]) & set(now.camera[second]):
                continue
            mean = float(np.mean([[cost[n, m] for m in second] for n in first]))
            best = min(best, (mean, a, b))
        if best[1] < 0:
            break
        _, a, b = best
        (p, first), (q, second) = groups[a], groups.pop(b)
        groups[a] = (max(p, q), first + second)
    return groups


def _pair_costs(now: _Moment, config: MatchingConfig) -> Float[np.ndarray, "N N"]:
    """How badly two detections of different cameras agree on one body, as a share of its size; infinite: not at all."""
    cost = np.full((len(now), len(now)), np.inf)
    for n, m in combinations(range(len(now)), 2):
        if now.camera[n] != now.camera[m]:
            cost[n, m] = cost[m, n] = _pair_cost(now, n, m, config)
    return cost


def _pair_cost(now: _Moment, n: int, m: int, config: MatchingConfig) -> float:
    both = (now.weight[n] > 0.2) & (now.weight[m] > 0.2)
    if both.sum() < config.least_points:
        return np.inf
    cameras = now.cameras.of(now.camera[[n, m]])
    xy = np.stack([now.xy[n], now.xy[m]], 1)[both]
    found = triangulate(xy, np.ones(xy.shape[:2]), cameras, np.inf)
    off = np.linalg.norm(cameras.project(found.points) - xy, axis=-1) / now.size[[n, m]]
    off = np.where(np.isfinite(off), off, 1.0).max(1)
    return float(np.median(off))


def _remember(now: _Moment, groups: list[tuple[int, list[int]]], people: list[_Person], t: int) -> None:
    for p, mine in groups:
        if p < 0:
            people.append(_Person())
        person = people[p]
        person.sightings[t] = {now.names[now.camera[n]]: now.person[n] for n in mine}
        person.last = t
        if len(mine) > 1:
            person.points = _triangulated(now, mine, AGREE_SHARE).points
        for n in mine:
            person.seen_px[now.names[now.camera[n]]] = np.where(now.weight[n][:, None] > 0, now.xy[n], np.nan)


def _merged(people: list[_Person], moments: Moments, config: MatchingConfig) -> list[_Person]:
    """People joined who are never in one picture and agree wherever both are seen: one whom each camera found alone."""
    people = sorted(people, key=lambda person: min(person.sightings))
    for b in range(len(people) - 1, 0, -1):
        for a in range(b):
            if _are_one(people[a], people[b], moments, config):
                for t, views in people[b].sightings.items():
                    people[a].sightings.setdefault(t, {}).update(views)
                del people[b]
                break
    return people


def _are_one(first: _Person, second: _Person, moments: Moments, config: MatchingConfig) -> bool:
    common = sorted(first.sightings.keys() & second.sightings.keys())
    if not common or any(first.sightings[t].keys() & second.sightings[t].keys() for t in common):
        return False
    costs = []
    for t in common[:: max(1, len(common) // 20)]:
        now = _detections(moments[t])
        mine, other = (
            [n for n in range(len(now)) if person.sightings[t].get(now.names[now.camera[n]]) == now.person[n]]
            for person in (first, second)
        )
        costs += [_pair_cost(now, n, m, config) for n in mine for m in other]
    return float(np.median(costs)) < config.across
