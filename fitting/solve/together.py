"""People of one photo solved once more, under what they share: a floor, and space that they cannot both take up.

Everybody is solved alone first. Then those who stand are lowered with their feet on the floor of their photo, and those
who pass through somebody move out, one after the other, while the others stay where they are. Whose keypoints would be
given up for it stays as he was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.energy.floor import seen_sides
from bodyfit.fitting.energy.levenberg_marquardt import Solution
from bodyfit.fitting.energy.shared_space import FloorOf, Obstacles, OtherPeople
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.photo_floor import PhotoFloor, photo_floor
from bodyfit.fitting.solve.photo_people import Kind, PeopleOfKind

TOUCH_M = 0.03
"""Feet up to so high above the floor touch it, m."""
NOBODY_ON_IT = "none: the keypoints are against the plane nearest to the feet of those who stand: nobody touches it"
"""Why there is no floor after all."""
ROUNDS = 2
"""How often everybody who passes through others moves."""


@dataclass(frozen=True)
class Moved:
    """What became of people of one kind."""

    solution: Solution
    rows: Int[Tensor, " R"]
    """Who of them was moved."""


@dataclass(frozen=True)
class Together:
    """What became of people."""

    kinds: tuple[Moved, ...]
    """Of each kind, in the order in which they were given."""
    ground: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Of people by their place in the batch, the fields of a FitResult about feet and floor."""


@torch.no_grad()
def solve_together(chosen: Sequence[tuple[Frame, int]], kinds: Sequence[Kind]) -> Together:
    """Solve people of photos once more, as `FitConfig.ground` and `FitConfig.people_apart` ask for it.

    Args:
        chosen: all people, a frame and a number in it each.
        kinds: adults and children: each person is in one of them. The configuration is that of the first.
    """
    config, by_frame = kinds[0].fitter.config, dict[int, list[int]]()
    usable = sorted(n for kind in kinds for n in kind.numbers[kind.usable].tolist())
    for n in usable:
        by_frame.setdefault(id(chosen[n][0]), []).append(n)
    photos = list(by_frame.values())
    work = _Work(chosen, kinds)
    found = work.on_floors(photos, config.ground.up) if config.ground.on else {}
    if config.people_apart:
        work.apart([photo for photo in photos if len(photo) > 1])
    ground = work.said(found) if found else {}
    return Together(tuple(map(_moved, work.kinds, kinds)), ground)


def _moved(people: PeopleOfKind, kind: Kind) -> Moved:
    rows = people.moved.nonzero()[:, 0]
    if not len(rows):
        return Moved(kind.solution, rows)
    cost = kind.solution.cost.index_copy(0, rows, people.base_costs(rows))
    return Moved(replace(kind.solution, x=people.x, cost=cost), rows)


class _Work:
    """Everybody while they change."""

    def __init__(self, chosen: Sequence[tuple[Frame, int]], kinds: Sequence[Kind]):
        self.chosen, self.kinds = chosen, [PeopleOfKind(kind, chosen) for kind in kinds]
        self.numbers = [kind.numbers for kind in kinds]
        self.places = {n: (k, r) for k, kind in enumerate(kinds) for r, n in enumerate(kind.numbers.tolist())}
        first = kinds[0].fitter
        self.like = {"dtype": first.dtype, "device": first.device}
        self.feet = self.kinds[0].feet
        weights = torch.as_tensor(np.stack([frame.detections.confidence[i] for frame, i in chosen]), **self.like)
        self.seen_feet = seen_sides(weights, LANDMARK_NAMES)[:, self.feet.side]
        self.floors: FloorOf | None = None

    def _rows(self, numbers: Sequence[int]) -> list[tuple[PeopleOfKind, Tensor, Tensor]]:
        """Of each kind: its people among these, which of the kind's rows they are, and which of the numbers."""
        found = []
        for k, people in enumerate(self.kinds):
            mine = [(self.places[n][1], at) for at, n in enumerate(numbers) if self.places[n][0] == k]
            rows, at = torch.tensor(mine, dtype=torch.long, device=self.like["device"]).reshape(-1, 2).unbind(1)
            found.append((people, rows, at))
        return found

    # ---- the floor ----------------------------------------------------------------------------------------------

    def on_floors(self, photos: list[list[int]], up: tuple[float, float, float] | None) -> dict[int, PhotoFloor]:
        """Put those who stand on the floors of their photos; what was found of each person's photo."""
        points, count, device = self._points(), len(self.chosen), self.like["device"]
        pelvis, neck = (points[:, self.kinds[0].model.names.index(name)] for name in ("pelvis", "neck"))
        below, sizes = points[:, self.feet.landmarks], points.new_zeros(count)
        for people, numbers in zip(self.kinds, self.numbers, strict=True):
            sizes[numbers] = people.size_sigma
        nobody = torch.zeros(count, len(self.feet), dtype=torch.bool, device=device)
        floors = FloorOf(points.new_zeros(count, 3), points.new_zeros(count), nobody, nobody.any(1))
        found = {}
        for photo in photos:
            rows = torch.tensor(photo, device=device)
            given = (below[rows], pelvis[rows], neck[rows], self.feet.clearance_m, self.seen_feet[rows])
            one = photo_floor(*given, up, sizes[rows])
            for place, n in enumerate(photo):
                found[n] = one.of(place)
            if one.floor is not None:
                floors.normal[rows] = floors.normal.new_tensor(one.floor.normal)
                floors.offset_m[rows], floors.touches[rows] = one.floor.offset_m, one.touches
                floors.given[rows] = one.touches.any(1)  # others may be anywhere: on a wall, in a pool
        self.floors = floors
        before = [(people.x.clone(), people.moved.clone()) for people in self.kinds]
        self._solve(floors.given.nonzero()[:, 0].tolist(), None)
        below = self._points()[:, self.feet.landmarks]
        for photo in photos:
            if not any(bool(self._touching(n, found[n], below[n]).any()) for n in photo):
                self._leave_floor(photo, found, before)
        return found

    def _leave_floor(self, photo: list[int], found: dict[int, PhotoFloor], before: list[tuple[Tensor, Tensor]]) -> None:
        """Put people of a photo back to where they were: the keypoints of all who stand are against their floor."""
        for n in photo:
            if found[n].floor is None:
                continue
            kind, row = self.places[n]
            self.kinds[kind].x[row], self.kinds[kind].moved[row] = (values[row] for values in before[kind])
            self.floors.given[n] = False
            found[n] = replace(found[n], floor=None, reason=NOBODY_ON_IT)

    def said(self, found: dict[int, PhotoFloor]) -> dict[int, dict[str, Any]]:
        """The fields of people's results about feet and floor."""
        below = self._points()[:, self.feet.landmarks]
        return {n: self._said(n, one, below[n]) for n, one in found.items()}

    def _said(self, n: int, found: PhotoFloor, below: Float[Tensor, "F 3"]) -> dict[str, Any]:
        if found.floor is None:
            return {"floor_source": found.reason}
        near = self._touching(n, found, below)
        sides = [
            f"{name} foot" for side, name in enumerate(("left", "right")) if bool(near[self.feet.side == side].any())
        ]
        unknown = not bool(self.seen_feet[n].any())
        return {
            "touching": "" if unknown else ", ".join(sides) or "none",
            "floor": found.floor.to_array(),
            "floor_source": found.floor.source,
        }

    def _touching(self, n: int, found: PhotoFloor, below: Float[Tensor, "F 3"]) -> Bool[Tensor, " F"]:
        """Which points of a person's feet touch the floor; none of those who are elsewhere, which are near by chance:
        nobody knows exactly how far away somebody is who jumps."""
        if found.floor is None:
            return torch.zeros_like(self.seen_feet[n])
        near = ((found.floor.height(below) - self.feet.clearance_m).abs() < TOUCH_M) & self.seen_feet[n]
        return near & ~found.elsewhere

    def _points(self) -> Float[Tensor, "N K 3"]:
        parts = [people.points() for people in self.kinds]
        points = parts[0].new_zeros(len(self.chosen), *parts[0].shape[1:])
        for numbers, part in zip(self.numbers, parts, strict=True):
            points[numbers] = part
        return points

    # ---- other people -------------------------------------------------------------------------------------------

    def apart(self, photos: list[list[int]]) -> None:
        """Move people of each photo out of each other, those who are seen worst first."""
        ordered = [sorted(photo, key=self._seen_of) for photo in photos]
        ordered = [photo for photo in ordered if self._obstacles([photo], range(len(photo)))[2]]
        for _ in range(ROUNDS):
            for place in range(max(map(len, ordered), default=0)):
                some = [photo for photo in ordered if place < len(photo)]
                own, others, touching = self._obstacles(some, [place] * len(some))
                kept = torch.tensor(touching, dtype=torch.long, device=self.like["device"])
                self._solve([own[n] for n in touching], others.of(kept))

    def _seen_of(self, n: int) -> tuple[float, int]:
        frame, i = self.chosen[n]
        return float(frame.detections.confidence[i].sum()), n

    def _obstacles(self, photos: list[list[int]], places: Sequence[int]) -> tuple[list[int], Obstacles, list[int]]:
        """People at these places of photos (all places of the one photo, or one of each), the spheres of the others,
        and which of them touch these."""
        pairs = [(photo, p) for photo, p in zip(photos * (len(places) // len(photos)), places, strict=True)]
        own = [photo[p] for photo, p in pairs]
        others = [[n for n in photo if n != photo[p]] for photo, p in pairs]
        everybody = sorted({n for photo in photos for n in photo})
        centres, radii = self._spheres(everybody)
        at = {n: k for k, n in enumerate(everybody)}
        most, count = max(map(len, others)), centres.shape[1]
        there = centres.new_zeros(len(own), most * count, 3)
        sizes = radii.new_full((len(own), most * count), -torch.inf)
        for k, some in enumerate(others):
            rows = [at[n] for n in some]
            there[k, : len(rows) * count] = centres[rows].flatten(0, 1)
            sizes[k, : len(rows) * count] = radii[rows].flatten()
        obstacles = Obstacles(there, sizes)
        mine = torch.tensor([at[n] for n in own], device=centres.device)
        items = torch.arange(len(own), device=centres.device)
        found = obstacles.overlaps_of(centres[mine], radii[mine], items, OtherPeople.rows)
        return own, obstacles, found.item.unique().tolist()

    def _spheres(self, numbers: Sequence[int]) -> tuple[Float[Tensor, "R S 3"], Float[Tensor, "R S"]]:
        """Of some people; of radius minus infinity beyond those that a person's body has."""
        parts = [(*people.spheres(rows), at) for people, rows, at in self._rows(numbers) if len(rows)]
        most = max(part[0].shape[1] for part in parts)
        centres = parts[0][0].new_zeros(len(numbers), most, 3)
        radii = parts[0][1].new_full((len(numbers), most), -torch.inf)
        for some, sizes, at in parts:
            centres[at, : some.shape[1]], radii[at, : some.shape[1]] = some, sizes
        return centres, radii

    # ---- solving ------------------------------------------------------------------------------------------------

    def _solve(self, numbers: Sequence[int], others: Obstacles | None) -> None:
        """Lower the cost of some people with what they share."""
        for people, rows, at in self._rows(numbers):
            which = torch.tensor([numbers[n] for n in at.tolist()], dtype=torch.long, device=rows.device)
            floors = None if self.floors is None else self.floors.of(which)
            people.solve(rows, floors, None if others is None else others.of(at))
