"""People of one photo solved once more, under what they share: a floor, and space that they cannot both take up.

Everybody is solved alone first. Then those who stand are lowered with their feet on the floor of their photo, and those
who pass through somebody move out, one after the other, while the others stay where they are. Whose keypoints would be
given up for it stays as he was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.energy.floor import FOOT_POINTS, Feet, seen_sides
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import FAILED, Solution, minimise
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.shared_space import FloorContact, FloorOf, Obstacles, OtherPeople
from bodyfit.fitting.energy.sphere_model import SphereModel
from bodyfit.fitting.energy.terms import Term
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.photo_floor import PhotoFloor, photo_floor
from bodyfit.fitting.solve.stages import GIVEN_UP

HEIGHT_SIGMA_M = 0.02
"""Standard deviation of the height of feet that stand on the floor, m."""
HEIGHT_ROBUST_SIGMAS = 10.0
"""Geman-McClure scale of these heights, in those units."""
TOUCH_M = 0.03
"""Feet up to so high above the floor touch it, m."""
AGAINST = 2.0
"""Rise of a person's own cost, about twice a log-likelihood, from which on the evidence is against the floor."""
ROUNDS = 2
"""How often everybody who passes through others moves."""


class FitterOfPhotos(Protocol):
    """What is used of `fitter.Fitter`."""

    body: BodyModel
    unknowns: Unknowns
    config: FitConfig
    dtype: torch.dtype
    device: torch.device

    @property
    def spheres(self) -> SphereModel: ...

    def observations(
        self, chosen: Sequence[tuple[Frame, int]], more: Sequence[str] = ()
    ) -> tuple[Observations, LandmarkModel]: ...

    def problem(
        self, seen: Observations, model: LandmarkModel, *, collisions: bool = False, more: Sequence[Term] = ()
    ) -> BodyProblem: ...

    def in_groups(self, work: Callable[[Tensor], Any], people: int) -> list[Any]: ...

    def free(self) -> Tensor: ...


_NOT_OF_CHILDREN = "none: children are not put on floors so far"


@dataclass(frozen=True)
class Together:
    """What became of people."""

    solution: Solution
    rows: Int[Tensor, " R"]
    """Who was moved."""
    ground: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Of people by their place in the batch, the fields of a FitResult about feet and floor."""


class _Photos:
    """People of a batch, by photo."""

    def __init__(self, chosen: Sequence[tuple[Frame, int]], usable: Bool[np.ndarray, " N"]):
        by_frame: dict[int, list[int]] = {}
        for n, (frame, _) in enumerate(chosen):
            if usable[n]:
                by_frame.setdefault(id(frame), []).append(n)
        self.photos = list(by_frame.values())

    def with_several(self) -> list[list[int]]:
        return [photo for photo in self.photos if len(photo) > 1]


@torch.no_grad()
def solve_together(
    fitter: FitterOfPhotos, chosen: Sequence[tuple[Frame, int]], solution: Solution, left_out: Int[Tensor, " L"]
) -> Together:
    """Solve people of photos once more, as `FitConfig.ground` and `FitConfig.people_apart` ask for it.

    Args:
        fitter: body, prior and weights.
        chosen: all people, a frame and a number in it each.
        solution: of each of them alone.
        left_out: people who are none of this body: children.
    """
    usable = torch.isfinite(solution.x).all(1) & (solution.status != FAILED)
    usable[left_out] = False
    photos = _Photos(chosen, usable.cpu().numpy())
    work = _Work(fitter, chosen, solution.x.clone())
    ground = work.on_floors(photos.photos) if fitter.config.ground.on else {}
    children = {n: {"floor_source": _NOT_OF_CHILDREN} for n in left_out.tolist() if fitter.config.ground.on}
    if fitter.config.people_apart:
        work.apart(photos.with_several())
    rows = work.moved.nonzero()[:, 0]
    ground = {n: work.said(n, found) for n, found in ground.items()} | children
    if not len(rows):
        return Together(solution, rows, ground)
    cost = solution.cost.index_copy(0, rows, work.base_costs(rows))
    return Together(replace(solution, x=work.x, cost=cost), rows, ground)


class _Work:
    """Everybody's unknowns while they change."""

    def __init__(self, fitter: FitterOfPhotos, chosen: Sequence[tuple[Frame, int]], x: Float[Tensor, "N D"]):
        self.fitter, self.chosen, self.x = fitter, chosen, x
        self.moved = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        to = {"dtype": fitter.dtype, "device": fitter.device}
        self.model = LandmarkModel(fitter.body, names=(*FOOT_POINTS, "pelvis", "neck"), **to)
        self.feet = Feet(fitter.body, self.model)
        weights = torch.as_tensor(np.stack([frame.detections.confidence[i] for frame, i in chosen]), **to)
        self.seen_feet = seen_sides(weights, LANDMARK_NAMES)[:, self.feet.side]
        self.floors: FloorOf | None = None

    # ---- the floor ----------------------------------------------------------------------------------------------

    def on_floors(self, photos: list[list[int]]) -> dict[int, PhotoFloor]:
        """Put those who stand on the floors of their photos; what was found of each person's photo."""
        points = self._points()
        pelvis, neck = (points[:, self.model.names.index(name)] for name in ("pelvis", "neck"))
        below, up = points[:, self.feet.landmarks], self.fitter.config.ground.up
        count, like = len(self.x), {"device": self.x.device}
        floors = FloorOf(
            self.x.new_zeros(count, 3),
            self.x.new_zeros(count),
            torch.zeros(count, len(self.feet), dtype=torch.bool, **like),
            torch.zeros(count, dtype=torch.bool, **like),
        )
        found = {}
        for photo in photos:
            rows = torch.tensor(photo, **like)
            one = photo_floor(below[rows], pelvis[rows], neck[rows], self.feet.clearance_m, self.seen_feet[rows], up)
            found |= dict.fromkeys(photo, one)
            if one.floor is not None:
                floors.normal[rows] = floors.normal.new_tensor(one.floor.normal)
                floors.offset_m[rows], floors.touches[rows] = one.floor.offset_m, one.touches
                floors.given[rows] = one.touches.any(1)  # others may be anywhere: on a wall, in a pool
        self.floors = floors
        rows = floors.given.nonzero()[:, 0]
        if len(rows):
            self._solve(rows, None)
        return found

    def said(self, n: int, found: PhotoFloor) -> dict[str, Any]:
        """The fields of person n's result about feet and floor."""
        if found.floor is None:
            return {"floor_source": found.reason}
        height = found.floor.height(self._points(torch.tensor([n], device=self.x.device))[0, self.feet.landmarks])
        near = ((height - self.feet.clearance_m).abs() < TOUCH_M) & self.seen_feet[n]
        sides = [
            f"{name} foot" for side, name in enumerate(("left", "right")) if bool(near[self.feet.side == side].any())
        ]
        floor, unknown = found.floor, not bool(self.seen_feet[n].any())
        return {
            "touching": "" if unknown else ", ".join(sides) or "none",
            "floor": floor.to_array(),
            "floor_source": floor.source,
        }

    def _points(self, rows: Int[Tensor, " R"] | None = None) -> Float[Tensor, "R K 3"]:
        x, unknowns = self.x if rows is None else self.x[rows], self.fitter.unknowns
        rotations, transl = unknowns.rotations(x, unknowns.decode(x)), x[:, unknowns.layout["transl"]]
        return self.model(rotations, unknowns.shape(x), transl, derivatives=False).points

    # ---- other people -------------------------------------------------------------------------------------------

    def apart(self, photos: list[list[int]]) -> None:
        """Move people of each photo out of each other, those who are seen worst first."""
        ordered = [sorted(photo, key=self._seen_of) for photo in photos]
        ordered = [photo for photo in ordered if self._obstacles([photo], range(len(photo)))[2]]
        for _ in range(ROUNDS):
            for place in range(max(map(len, ordered), default=0)):
                some = [photo for photo in ordered if place < len(photo)]
                rows, others, touching = self._obstacles(some, [place] * len(some))
                kept = torch.tensor(touching, dtype=torch.long, device=self.x.device)
                if len(kept):
                    rows = torch.tensor(rows, device=self.x.device)[kept]
                    self._solve(rows, others.of(kept))

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
        centres, radii = self._spheres(torch.tensor(everybody, device=self.x.device))
        at = {n: k for k, n in enumerate(everybody)}
        most, count = max(map(len, others)), centres.shape[1]
        there = centres.new_zeros(len(own), most * count, 3)
        sizes = radii.new_full((len(own), most * count), -torch.inf)
        for k, some in enumerate(others):
            rows = [at[n] for n in some]
            there[k, : len(rows) * count] = centres[rows].flatten(0, 1)
            sizes[k, : len(rows) * count] = radii[rows].flatten()
        obstacles = Obstacles(there, sizes)
        mine = torch.tensor([at[n] for n in own], device=self.x.device)
        items = torch.arange(len(own), device=self.x.device)
        found = obstacles.overlaps_of(centres[mine], radii[mine], items, OtherPeople.rows)
        return own, obstacles, found.item.unique().tolist()

    def _spheres(self, rows: Int[Tensor, " R"]) -> tuple[Float[Tensor, "R S 3"], Float[Tensor, "R S"]]:
        x, unknowns, spheres = self.x[rows], self.fitter.unknowns, self.fitter.spheres
        shape = unknowns.shape(x)
        bones = self.model.kinematics(unknowns.rotations(x, unknowns.decode(x)), shape, derivatives=False)
        return spheres.centres(bones, shape).transpose(0, 1) + x[:, None, unknowns.layout["transl"]], spheres.radii(
            shape
        )

    # ---- solving ------------------------------------------------------------------------------------------------

    def _solve(self, rows: Int[Tensor, " R"], others: Obstacles | None) -> None:
        """Lower the cost of some people with what they share; who would lose keypoints for it stays."""
        parts = self.fitter.in_groups(
            lambda group: self._solved(rows[group], None if others is None else others.of(group)), len(rows)
        )
        there, kept = (torch.cat(some) for some in zip(*parts, strict=True))
        self.x[rows[kept]] = there[kept]
        self.moved[rows[kept]] = True

    def _solved(
        self, rows: Int[Tensor, " R"], others: Obstacles | None
    ) -> tuple[Float[Tensor, "R D"], Bool[Tensor, " R"]]:
        """Where some people end, and who of them keeps his keypoints there."""
        fitter, config, x = self.fitter, self.fitter.config, self.x[rows]
        seen, model = fitter.observations([self.chosen[n] for n in rows.tolist()], FOOT_POINTS)
        more: list[Term] = []
        if self.floors is not None and bool(self.floors.given[rows].any()):
            by_rotation = RotationJacobian(fitter.unknowns, model, each=3)
            firm = {"sigma_m": HEIGHT_SIGMA_M, "robust_sigmas": HEIGHT_ROBUST_SIGMAS}
            feet = Feet(fitter.body, model)
            more.append(FloorContact(fitter.unknowns, by_rotation, feet, self.floors.of(rows), **firm))
        if others is not None:
            sigma = min(config.energy.collision_sigma_m, type(config.energy).collision_sigma_m)
            more.append(OtherPeople(fitter.unknowns, fitter.spheres, others, sigma_m=sigma))
        problem = fitter.problem(seen, model, more=more, collisions=True)
        there = minimise(
            problem.evaluate, fitter.unknowns.retract, x, config.solver, cost=problem.costs, free=fitter.free()
        ).x
        kept = problem.given_up(there) <= problem.given_up(x) + GIVEN_UP
        if more and isinstance(more[0], FloorContact):
            alone = fitter.problem(seen, model, collisions=True)
            kept &= alone.costs(there) - alone.costs(x) < AGAINST
        return there, kept & torch.isfinite(there).all(1)

    def base_costs(self, rows: Int[Tensor, " R"]) -> Float[Tensor, " R"]:
        """What people cost by themselves where they are now."""
        seen, model = self.fitter.observations([self.chosen[n] for n in rows.tolist()])
        return self.fitter.problem(seen, model, collisions=True).costs(self.x[rows])
