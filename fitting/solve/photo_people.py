"""People of one kind, adults or children, while they are solved once more beside others of their photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.fitting.energy.floor import FOOT_POINTS, Feet
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
from bodyfit.fitting.solve.photo_floor import CHILD_SIZE_SIGMA, KNOWN_SIZE_SIGMA, SIZE_SIGMA
from bodyfit.fitting.solve.stages import GIVEN_UP

HEIGHT_SIGMA_M = 0.02
"""Standard deviation of the height of feet that stand on the floor, m."""
HEIGHT_ROBUST_SIGMAS = 10.0
"""Geman-McClure scale of these heights, in those units."""
AGAINST = 2.0
"""Rise of a person's own cost, about twice a log-likelihood, from which on the evidence is against the floor."""


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


@dataclass(frozen=True)
class Kind:
    """People who are fitted with one body."""

    fitter: FitterOfPhotos
    numbers: Int[Tensor, " R"]
    """Their places among all people."""
    solution: Solution
    """Of each of them alone."""
    plausible: Bool[Tensor, " R"]
    """Whose solution can be a person in the photo."""

    @property
    def usable(self) -> Bool[Tensor, " R"]:
        """Who could be fitted: others say nothing about their photo's floor, and take up no space in it."""
        return torch.isfinite(self.solution.x).all(1) & (self.solution.status != FAILED) & self.plausible


class PeopleOfKind:
    """Their unknowns while they change.

    Args:
        kind: the people.
        chosen: all people, a frame and a number in it each.
    """

    def __init__(self, kind: Kind, chosen: Sequence[tuple[Frame, int]]):
        self.fitter, self.x = kind.fitter, kind.solution.x.clone()
        self.chosen = [chosen[n] for n in kind.numbers.tolist()]
        self.moved = torch.zeros(len(self.x), dtype=torch.bool, device=self.x.device)
        to = {"dtype": self.fitter.dtype, "device": self.fitter.device}
        self.model = LandmarkModel(self.fitter.body, names=(*FOOT_POINTS, "pelvis", "neck"), **to)
        self.feet = Feet(self.fitter.body, self.model)

    @property
    def size_sigma(self) -> float:
        """How well their size is known beforehand, as a share."""
        config = self.fitter.config
        if config.shape.betas or config.energy.height_m is not None:
            return KNOWN_SIZE_SIGMA
        free_age = self.fitter.body.has_kid_axis and config.age.years is None
        return CHILD_SIZE_SIGMA if free_age else SIZE_SIGMA

    def points(self) -> Float[Tensor, "R K 3"]:
        """The model's landmarks."""
        x, unknowns = self.x, self.fitter.unknowns
        rotations, transl = unknowns.rotations(x, unknowns.decode(x)), x[:, unknowns.layout["transl"]]
        return self.model(rotations, unknowns.shape(x), transl, derivatives=False).points

    def spheres(self, rows: Int[Tensor, " R"]) -> tuple[Float[Tensor, "R S 3"], Float[Tensor, "R S"]]:
        """Centres and radii of some."""
        x, unknowns, spheres = self.x[rows], self.fitter.unknowns, self.fitter.spheres
        shape = unknowns.shape(x)
        bones = self.model.kinematics(unknowns.rotations(x, unknowns.decode(x)), shape, derivatives=False)
        centres = spheres.centres(bones, shape).transpose(0, 1) + x[:, None, unknowns.layout["transl"]]
        return centres, spheres.radii(shape)

    def solve(self, rows: Int[Tensor, " R"], floors: FloorOf | None, others: Obstacles | None) -> None:
        """Lower the cost of some people with what they share; who would lose keypoints for it stays.

        Args:
            rows: whom.
            floors, others: of each of these; None: there are none.
        """
        if not len(rows):
            return

        def solved(group: Tensor) -> tuple[Tensor, Tensor]:
            given = (None if shared is None else shared.of(group) for shared in (floors, others))
            return self._solved(rows[group], *given)

        parts = self.fitter.in_groups(solved, len(rows))
        there, kept = (torch.cat(some) for some in zip(*parts, strict=True))
        self.x[rows[kept]] = there[kept]
        self.moved[rows[kept]] = True

    def _solved(
        self, rows: Int[Tensor, " R"], floors: FloorOf | None, others: Obstacles | None
    ) -> tuple[Float[Tensor, "R D"], Bool[Tensor, " R"]]:
        """Where some people end, and who of them keeps his keypoints there."""
        fitter, config, x = self.fitter, self.fitter.config, self.x[rows]
        seen, model = fitter.observations([self.chosen[n] for n in rows.tolist()], FOOT_POINTS)
        more: list[Term] = []
        if floors is not None and bool(floors.given.any()):
            by_rotation = RotationJacobian(fitter.unknowns, model, each=3)
            firm = {"sigma_m": HEIGHT_SIGMA_M, "robust_sigmas": HEIGHT_ROBUST_SIGMAS}
            more.append(FloorContact(fitter.unknowns, by_rotation, Feet(fitter.body, model), floors, **firm))
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
