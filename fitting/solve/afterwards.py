"""What is said of people once they are solved: covariances, flipped limbs, whether their proportions are a child's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import LIMB_BONES
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import Solution
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.solve.ages import AsChildren, OneKind, as_child
from bodyfit.fitting.solve.landmark_sets import Landmarks, remembered
from bodyfit.fitting.solve.stages import Alternative, coarse_unknowns
from bodyfit.fitting.uncertainty.estimate import Estimator, Kind
from bodyfit.fitting.uncertainty.flips import LimbFlipper
from bodyfit.fitting.uncertainty.modes import MOST, ModeFinder, OtherModes, alternative_weight
from bodyfit.prior.model.vposer import VPoser


class SolverLike(OneKind, Protocol):
    """What is used of a fitter (`solver.Solver`)."""

    afterwards: Afterwards

    def problem_on(self, on: Landmarks, seen: Observations) -> BodyProblem: ...


class Afterwards:
    """Estimates how sure fits are.

    Args:
        body, unknowns, prior: what is fitted.
        kind: `FitConfig.uncertainty`.
        dtype, device: to compute in.
    """

    def __init__(
        self,
        body: BodyModel,
        unknowns: Unknowns,
        prior: VPoser,
        kind: Kind,
        *,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        to = {"dtype": dtype, "device": device}
        on = kind != "off"
        self.estimator = Estimator(body, unknowns, kind, **to) if on else None
        self.flipper = LimbFlipper(body, unknowns, prior, **to) if on else None
        self._modes_on = remembered(self._make_modes)

    def _make_modes(self, model: LandmarkModel) -> ModeFinder:
        """Looks for flipped limbs on these landmarks."""
        with torch.inference_mode(mode=False):  # what is kept may be used outside of it
            return ModeFinder(self.flipper, model)

    def found(
        self,
        fitter: SolverLike,
        seen: Observations,
        model: LandmarkModel,
        solution: Solution,
        children: SolverLike | None,
    ) -> dict[str, Tensor]:
        """Covariances of people at their solutions, and what `ages.Screened` says of them where there are children:
        both from the problem that also knows the kid axis, which is evaluated once.

        Args:
            fitter: whose people they are.
            seen, model, solution: the people, with their predicted poses.
            children: the fitter of children, where both kinds are tried.
        """
        free, floor = fitter.free(), fitter.config.solver.curvature_floor
        if children is None:
            if self.estimator is None:
                return {}
            problem = fitter.problem_on(fitter.landmarks.of(model)[0], seen)
            at = problem.at(solution.x, torch.arange(len(seen), device=solution.x.device), derivatives=True)
            return self.estimator(problem, at, free, floor)
        on = children.landmarks.of(children.landmarks.model_of(model.names))[0]
        there = AsChildren(children.problem_on(on, seen), as_child(solution.x, fitter, children))
        screened, estimator = there.screened()._asdict(), children.afterwards.estimator
        if estimator is None:
            return screened
        kid = fitter.unknowns.layout["betas"].stop
        free = torch.cat([free[:kid], free.new_zeros(1), free[kid:]])
        return screened | estimator(there.problem, there.at, free, floor, there.lin)

    def said_of(
        self,
        fitter: SolverLike,
        seen: Observations,
        model: LandmarkModel,
        solution: Solution,
        other: Alternative,
        children: SolverLike | None = None,
        *,
        held: tuple[str, ...] = (),
    ) -> tuple[Alternative, dict[str, Tensor]]:
        """All that is said of people at their solutions, and their alternative modes.

        Args:
            fitter, seen, model, solution, children: as in `found`.
            other: each person's runner-up among the starts.
            held: blocks of unknowns that stay as they are in flipped modes.
        """
        found = self.found(fitter, seen, model, solution, children)
        if "flip_probability" not in found:
            return other, found
        return self.with_flips(fitter, seen, model, solution, other, found, held)

    def with_flips(
        self,
        fitter: SolverLike,
        seen: Observations,
        model: LandmarkModel,
        solution: Solution,
        other: Alternative,
        found: dict[str, Tensor],
        held: tuple[str, ...] = (),
    ) -> tuple[Alternative, dict[str, Tensor]]:
        """The most probable alternatives, flipped limbs among them, and what is found about them: of the first as
        `runner_up_...`, of others as `further_...`.

        Args:
            fitter, seen, model, solution: as in `found`.
            other: each person's runner-up among the starts.
            found: what `found` says, with the probabilities of flips.
            held: as in `said_of`.
        """
        fine, coarse = fitter.landmarks.of(model)
        make = partial(fitter.problem_on, replace(coarse, columns=None))
        body = seen if coarse.columns is None else seen.of_landmarks(coarse.columns)
        movable = fitter.free() & coarse_unknowns(fitter.unknowns).to(solution.x.device)
        movable &= ~fitter.unknowns.layout.mask(*held).to(movable.device)
        modes = self._modes_on(coarse.model)(make, body, solution.x, found["flip_probability"], movable)
        ranked = _Ranked.of_starts(other, alternative_weight(other.cost - solution.cost))
        if len(modes.rows):
            problem = fitter.problem_on(fine, seen.select(modes.rows))
            ranked = ranked.with_flips(modes, problem.costs(modes.x))
        return Alternative(ranked.x[:, 0], ranked.cost[:, 0]), found | {
            "runner_up_weight": ranked.weight[:, 0],
            "runner_up_flips": ranked.flips[:, 0],
            **{f"further_{name}": getattr(ranked, name)[:, 1:] for name in ("x", "cost", "weight", "flips")},
        }


@dataclass(frozen=True)
class _Ranked:
    """M alternatives of each person, the most probable one first; cost and weight are NaN where there are fewer."""

    x: Float[Tensor, "B M D"]
    cost: Float[Tensor, "B M"]
    weight: Float[Tensor, "B M"]
    flips: Bool[Tensor, "B M 8"]

    @classmethod
    def of_starts(cls, other: Alternative, weight: Float[Tensor, " B"]) -> _Ranked:
        """The runners-up among the starts alone."""
        more = (0, MOST - 1)
        x = torch.nn.functional.pad(other.x[:, None], (0, 0, *more))
        weight = torch.where(torch.isfinite(other.cost), weight, torch.nan)
        cost, weight = (torch.nn.functional.pad(one[:, None], more, value=torch.nan) for one in (other.cost, weight))
        return cls(x, cost, weight, torch.zeros(*cost.shape, len(LIMB_BONES), dtype=torch.bool, device=x.device))

    def with_flips(self, modes: OtherModes, cost: Float[Tensor, " K"]) -> _Ranked:
        """The same and flipped limbs, the most probable of all of them."""
        same = modes.rows[:, None] == modes.rows
        place = same.tril(-1).sum(1)  # how many of the same person come before
        weight = torch.where(torch.isfinite(cost), modes.weight, torch.nan)  # what has no cost is no mode
        parts = {"x": modes.x, "cost": cost, "weight": weight, "flips": modes.bones}
        both = {}
        for name, values in parts.items():
            mine = getattr(self, name)
            blank = torch.full_like(mine, False if name == "flips" else torch.nan)
            both[name] = torch.cat([mine, blank.index_put((modes.rows, place), values)], 1)
        order = both["weight"].nan_to_num(-1.0).argsort(dim=1, descending=True, stable=True)[:, :MOST]
        rows = torch.arange(len(order), device=order.device)[:, None]
        ranked = {name: values[rows, order] for name, values in both.items()}
        return _Ranked(**ranked | {"x": ranked["x"].nan_to_num()})
