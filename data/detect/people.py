"""Everybody in a picture, as 17 points each: MoveNet MultiPose on the picture at several sizes, then on each person.

The network has CenterNet heads: a heat map of the centres of people, from each centre a coarse regression of that
person's points, and a heat map with offsets for each kind of point. It is convolutional: on a larger copy of the
picture it finds smaller people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from bodyfit.data.detect.crops import Picture, Regions
from bodyfit.data.detect.network import Network

POINTS = 17
"""Of COCO, in the order of `data.keypoints.formats.COCO_17`."""
MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
"""Places of the points in the mirror: left and right change names."""
SHOULDERS, HIPS = slice(5, 7), slice(11, 13)
CELL = 4
"""Pixels from one cell of the maps to the next."""
SPREAD = 19.2
"""How far from where its person expects it a point may be: exp(-d^2 / SPREAD), d in cells, weighs its map."""
BLUR = 0.1
"""Points this far apart, as a share of a person's size, count as alike by 0.6."""
SEEN = 0.1
"""Points below this confidence do not count when people are measured and compared."""


@dataclass(frozen=True)
class SearchOptions:
    """How thoroughly people are searched for, and what counts as one."""

    long_sides: tuple[int, ...] = (256, 384, 640)
    """Sizes at which the picture is looked at: its longer side, pixels. People below about 35 pixels are not found."""
    min_score: float = 0.45
    """Centres of people with a lower score are dropped."""
    min_confidence: float = 0.22
    """People whose points have a lower mean confidence are dropped, too."""
    same_person: float = 0.4
    """Two people are one if their points are more alike (`likeness`, between 0 and 1)."""
    somebody_else: float = 0.1
    """A closer look found another person if its points are further off, as a share of the size, in the median."""
    as_good: float = 0.9
    """In a video, a smaller look at the picture suffices where it shows people as well as this share of the best."""
    margin: float = 0.25
    """In a video, around people where they were, as a share of their size."""
    unsure: float = 0.4
    """In a video, these shares of the two above suffice of people who were there a moment ago."""
    less_sure: float = 0.75
    """In a video, people are searched for again if their mean confidence falls below this share of the last one."""
    agree: float = 0.1
    """Points of two looks closer than this, as a share of the person's size, are averaged."""
    crop_scales: tuple[float, float] = (1.3, 1.8)
    """Sides of the squares for two closer looks at a person, over the longer side of the box around the points."""
    batch: int = 16
    """People at a time in the second look: limits memory in crowds."""


@dataclass(frozen=True, eq=False)
class People:
    """N people's points."""

    xy: Float[np.ndarray, "N 17 2"]
    """Pixels."""
    confidence: Float[np.ndarray, "N 17"]
    """In [0, 1], as the network says."""
    score: Float[np.ndarray, " N"]
    """Of the person as a whole, in [0, 1]."""

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, which: Int[np.ndarray, " M"]) -> People:
        return People(self.xy[which], self.confidence[which], self.score[which])


def find_people(
    network: Network, picture: Picture, options: SearchOptions, device: torch.device
) -> tuple[People, dict[int, People]]:
    """Look at all sizes, drop doubles, then look closely at each person; also who was seen at each size."""
    looks = {side: _look(network, picture, side, options, device) for side in options.long_sides}
    people = _without_doubles(_together([_sure(seen, options) for seen in looks.values()]), options)
    return _without_doubles(_all_closely(network, picture, people, options, device), options), looks


def sides_to_follow(
    looks: dict[int, People], people: People, options: SearchOptions
) -> tuple[Int[np.ndarray, " N"], int]:
    """Sizes of the picture that suffice to see each person again, and how many people may be seen in the smallest.

    A person's is the smallest size that showed them about as well as any other one.
    """
    sides = np.full(len(people), max(looks))
    for i, (xy, confidence) in enumerate(zip(people.xy, people.confidence, strict=True)):
        quality = {}
        for side in sorted(looks):
            alike = likeness(looks[side].xy, looks[side].confidence, xy, confidence) > options.same_person
            quality[side] = _quality(looks[side])[alike].max(initial=0.0)
        sides[i] = next(side for side in quality if quality[side] >= options.as_good * max(quality.values()))
    seen = _sure(_without_doubles(looks[min(looks)], options), options)
    return sides, max(len(seen), len(people))


def follow_people(
    network: Network,
    picture: Picture,
    before: People,
    sides: Int[np.ndarray, " N"],
    count: int,
    options: SearchOptions,
    device: torch.device,
) -> People | None:
    """The people of the picture before, in their order, from looks at the picture and two closer ones at each of them.

    The whole picture is looked at in the smallest size; in the size of each person, only the part where they were. None
    if one of them is not there or much less sure, or if the whole picture surely shows more than `count`.
    """
    smallest = min(options.long_sides)
    whole = _look(network, picture, smallest, options, device)
    if len(_sure(_without_doubles(whole, options), options)) > count:
        return None
    looks = [whole]
    for side in sorted(set(sides.tolist()) - {smallest}):
        there = before[np.flatnonzero(sides == side)]
        margin = options.margin * size_of(there.xy, there.confidence)[:, None]
        low, high = box_of(there.xy, there.confidence)
        part = (low - margin).min(axis=0), (high + margin).max(axis=0)
        looks.append(_look(network, picture, side, options, device, part))
    seen = _without_doubles(_together(looks), options)
    same = same_people(seen, before, options)
    if same is None:
        return None
    people = _all_closely(network, picture, seen[same], options, device)
    sure = people.confidence.mean(axis=1) >= options.less_sure * before.confidence.mean(axis=1)
    return people if sure.all() and len(_without_doubles(people, options)) == len(people) else None


def same_people(seen: People, people: People, options: SearchOptions) -> Int[np.ndarray, " N"] | None:
    """Which of those seen each of N people is; None if one of them is nobody."""
    if not len(people):
        return np.zeros(0, int)
    alike = np.array(
        [likeness(seen.xy, seen.confidence, p, c) for p, c in zip(people.xy, people.confidence, strict=True)]
    )
    rows, columns = linear_sum_assignment(-alike)
    return columns if len(rows) == len(people) and alike[rows, columns].min() > options.same_person else None


def _sure(people: People, options: SearchOptions) -> People:
    sure = (people.score >= options.min_score) & (people.confidence.mean(axis=1) >= options.min_confidence)
    return people[np.flatnonzero(sure)]


def _together(parts: list[People]) -> People:
    return People(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("xy", "confidence", "score")))


def _all_closely(
    network: Network, picture: Picture, people: People, options: SearchOptions, device: torch.device
) -> People:
    """A close look at each person, `options.batch` at a time."""
    parts = [people[np.arange(i, min(i + options.batch, len(people)))] for i in range(0, len(people), options.batch)]
    return _together([_look_closely(network, picture, part, options, device) for part in parts]) if parts else people


def _without_doubles(people: People, options: SearchOptions) -> People:
    return people[without_doubles(people.xy, people.confidence, _quality(people), options.same_person)]


def _quality(people: People) -> Float[np.ndarray, " N"]:
    return people.score * people.confidence.mean(axis=1)


def _look(
    network: Network,
    picture: Picture,
    long_side: int,
    options: SearchOptions,
    device: torch.device,
    part: tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]] | None = None,
) -> People:
    """People in the picture at one size, also those who are unsure; `part` is its least and greatest x and y."""
    small, scale = picture.resized(long_side)
    corner = np.zeros(2, int)
    if part is not None:
        size = np.array(small.shape[1::-1])
        corner = np.clip(np.floor(part[0] / scale).astype(int), 0, size - 1)
        end = np.clip(np.ceil(part[1] / scale).astype(int), corner + 1, size)
        small = small[corner[1] : end[1], corner[0] : end[0]]
    height, width = small.shape[:2]
    padded = [-(-side // 32) * 32 for side in (height, width)]
    top, left = (padded[0] - height) // 2, (padded[1] - width) // 2
    canvas = np.zeros((*padded, 3), np.uint8)
    canvas[top : top + height, left : left + width] = small
    out = network(torch.from_numpy(canvas).to(device).permute(2, 0, 1)[None].to(torch.float32) / 127.5 - 1)
    score = torch.sigmoid(out["center"][0, ..., 0])
    peaks = (F.max_pool2d(score[None], 3, 1, 1)[0] == score) & (score >= options.unsure * options.min_score)
    cells = peaks.nonzero()
    xy, confidence = _points(out, torch.zeros_like(cells[:, 0]), cells)
    people = People((xy - (left, top) + corner + 0.5) * scale - 0.5, confidence, score[peaks].double().cpu().numpy())
    return people[np.flatnonzero(confidence.mean(axis=1) >= options.unsure * options.min_confidence)]


def _points(
    out: dict[str, Tensor], which: Int[Tensor, " N"], cells: Int[Tensor, "N 2"]
) -> tuple[Float[np.ndarray, "N 17 2"], Float[np.ndarray, "N 17"]]:
    """Points and confidences of people with their centres in `cells` (row, column) of pictures `which`; pixels."""
    batch, height, width = out["center"].shape[:3]
    maps = torch.sigmoid(out["heatmaps"])
    offsets = out["offsets"].reshape(batch, height, width, POINTS, 2)
    expected = out["regression"][which, cells[:, 0], cells[:, 1]].reshape(-1, POINTS, 2) + cells[:, None]
    rows, columns = (torch.arange(n, device=maps.device) for n in (height, width))
    xy, confidence = np.zeros((len(cells), POINTS, 2)), np.zeros((len(cells), POINTS))
    for i in range(len(cells)):
        near_row = torch.exp(-((rows[:, None] - expected[i, :, 0]) ** 2) / SPREAD)
        near_column = torch.exp(-((columns[:, None] - expected[i, :, 1]) ** 2) / SPREAD)
        weight = maps[which[i]] * near_row[:, None] * near_column[None]
        value, place = weight.reshape(-1, POINTS).max(dim=0)
        row, column = place // width, place % width
        exact = offsets[which[i], row, column, torch.arange(POINTS, device=maps.device)]
        yx = torch.stack([row, column], dim=-1) + exact
        xy[i] = (yx.flip(-1) * CELL).double().cpu().numpy()
        confidence[i] = value.double().cpu().numpy()
    return xy, confidence


def close_up(people: People, scale: float) -> Regions:
    """Upright squares around people, `scale` times as wide as the longer side of the boxes around their points."""
    low, high = box_of(people.xy, people.confidence)
    side = np.maximum((high - low).max(axis=1) * scale, 8.0)
    return Regions((low + high) / 2, side, np.tile([0.0, -1.0], (len(people), 1)))


def _look_closely(
    network: Network, picture: Picture, people: People, options: SearchOptions, device: torch.device
) -> People:
    """The same people at the size that the network knows best, and with more around them, in the mirror."""
    which, side = torch.arange(len(people), device=device), size_of(people.xy, people.confidence)
    first = people
    for scale, mirrored in zip(options.crop_scales, (False, True), strict=True):
        regions, size = close_up(first, scale), network.input_size
        crops = picture.crops(regions, size).to(device) * 2 - 1
        out = network(crops.flip(-1) if mirrored else crops)
        xy, confidence = _points(out, which, _best_center(torch.sigmoid(out["center"][..., 0])))
        if mirrored:
            xy[..., 0] = size - 1 - xy[..., 0]
            xy, confidence = xy[:, MIRRORED], confidence[:, MIRRORED]
        again = People(regions.to_picture((xy + 0.5) / size), confidence, people.score)
        people = _averaged(people, again, side, options)
    return people


def _averaged(people: People, again: People, side: Float[np.ndarray, " N"], options: SearchOptions) -> People:
    """Points that agree are averaged, of others the more confident is taken; a look at another person is ignored."""
    gap = np.linalg.norm(again.xy - people.xy, axis=-1) / side[:, None]
    somebody_else = np.median(gap, axis=1, keepdims=True) > options.somebody_else
    first, second = people.confidence**2, np.where(somebody_else, 0.0, again.confidence**2)
    apart = gap > options.agree
    first, second = np.where(apart & (second > first), 0.0, first), np.where(apart & (second <= first), 0.0, second)
    total = np.maximum(first + second, 1e-12)
    xy = (people.xy * first[..., None] + again.xy * second[..., None]) / total[..., None]
    return People(xy, (people.confidence * first + again.confidence * second) / total, people.score)


def _best_center(score: Float[Tensor, "N h w"]) -> Int[Tensor, "N 2"]:
    """For each picture the cell with the best score, those near the centre of the picture preferred."""
    _, height, width = score.shape
    rows, columns = (torch.linspace(-1, 1, n, device=score.device) for n in (height, width))
    weighted = score * torch.exp(-2 * (rows[:, None] ** 2 + columns**2))
    best = weighted.flatten(1).argmax(dim=1)
    return torch.stack([best // width, best % width], dim=-1)


def box_of(
    xy: Float[np.ndarray, "N K 2"], confidence: Float[np.ndarray, "N K"]
) -> tuple[Float[np.ndarray, "N 2"], Float[np.ndarray, "N 2"]]:
    """Least and greatest x and y of the points seen; of all points for people with fewer than three."""
    seen = confidence >= SEEN
    seen |= seen.sum(axis=1, keepdims=True) < 3
    low = np.where(seen[..., None], xy, np.inf).min(axis=1)
    return low, np.where(seen[..., None], xy, -np.inf).max(axis=1)


def size_of(xy: Float[np.ndarray, "N K 2"], confidence: Float[np.ndarray, "N K"]) -> Float[np.ndarray, " N"]:
    """Longer side of the box around the points seen, at least a pixel."""
    low, high = box_of(xy, confidence)
    return (high - low).max(axis=-1, initial=1.0)


def without_doubles(
    xy: Float[np.ndarray, "N K 2"],
    confidence: Float[np.ndarray, "N K"],
    quality: Float[np.ndarray, " N"],
    same_person: float,
) -> Int[np.ndarray, " M"]:
    """Whom to keep, best first: non-maximum suppression by `likeness`."""
    kept: list[int] = []
    for i in np.argsort(-quality):
        if not (likeness(xy[kept], confidence[kept], xy[i], confidence[i]) > same_person).any():
            kept.append(int(i))
    return np.array(kept, dtype=int)


def likeness(
    xy: Float[np.ndarray, "N K 2"],
    confidence: Float[np.ndarray, "N K"],
    other_xy: Float[np.ndarray, "K 2"],
    other_confidence: Float[np.ndarray, " K"],
) -> Float[np.ndarray, " N"]:
    """How much people are one and the same, in [0, 1]: COCO's object keypoint similarity, with points that both see."""
    size = np.minimum(size_of(xy, confidence), size_of(other_xy[None], other_confidence[None]))
    gap = np.linalg.norm(xy - other_xy, axis=-1) / (BLUR * size[:, None])
    weight = confidence * other_confidence
    return (weight * np.exp(-(gap**2) / 2)).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-9)
