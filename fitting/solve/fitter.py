"""The fit of people in memory: frames (keypoints and cameras) in, one FitResult per person out.

All people of all frames form one batch. A person who cannot be fitted comes back as `failed` with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from textwrap import shorten
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.record import Parameters
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import Solution
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.solve.ages import Children, find_children, solution_of
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.photo_people import Kind
from bodyfit.fitting.solve.results import ResultMaker
from bodyfit.fitting.solve.solver import Solver, check_kind
from bodyfit.fitting.solve.stages import Alternative
from bodyfit.fitting.solve.together import Moved, solve_together

Sure = tuple[Alternative, dict[str, Any]]


@dataclass(frozen=True)
class Shared:
    """People under what those of one photo share."""

    adults: Solution
    """Of everybody as adults."""
    children: Children | None
    ground: dict[int, dict[str, Any]]
    """`Together.ground`."""


def pick_device(name: str | torch.device = "auto") -> torch.device:
    """ "auto": CUDA where there is one, else the CPU.

    Raises:
        BodyfitError: for a device that PyTorch does not know, or that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if str(name).startswith("cuda") and not torch.cuda.is_available():
        raise BodyfitError(f"device '{name}' was asked for, but PyTorch {torch.__version__} sees no CUDA device here.")
    try:
        if not isinstance(name, str | torch.device):
            raise TypeError(f"it is of type {type(name).__name__}")
        return torch.zeros((), device=name).device
    except (RuntimeError, TypeError, ImportError, AssertionError) as error:  # the last two: PyTorch is built without it
        why = shorten(str(error), 120, placeholder=" ...")
        raise BodyfitError(
            f"device {name!r} cannot be used ({why}). Expected 'auto', 'cpu', 'cuda', or 'cuda:1' for the second GPU."
        ) from error


class Fitter(Solver):
    """A body, a prior and a configuration, ready to fit the people of any number of frames; see `Solver`."""

    @cached_property
    def make(self) -> ResultMaker:
        """Makes results of solutions."""
        return ResultMaker(
            self.body,
            self.prior,
            self.unknowns,
            self.everything,
            self.config.refine_focal,
            (self.config.ambiguous_margin, self.config.ambiguous_probability),
            self.config.age.kind != "auto" or bool(self.config.shape.betas),
            self.config.shape.said,
        )

    def fit(
        self,
        frames: Sequence[Frame],
        *,
        init: Sequence[Parameters | None] | None = None,
        turn: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> list[FitResult]:
        """Fit all people of all frames; results in their order, failures included.

        Args:
            frames: keypoints and cameras.
            init: parameters to start from, one entry per person; None: start from hypotheses.
            turn: entered while people are solved, not while their results are made: for callers whose threads take
                turns.

        Raises:
            BodyfitError: for anything else than a list of frames.
        """
        if isinstance(frames, Frame | str):
            raise BodyfitError(f"frames is a {type(frames).__name__}. Expected a list of frames: fit([frame]).")
        for frame in frames:
            check_kind("one of frames", frame, Frame, "a Frame: Frame.from_files(photo, keypoints) or .from_keypoints")
        people = [(frame, i) for frame in frames for i in range(len(frame.detections.person_ids))]
        usable = [n for n, (frame, i) in enumerate(people) if frame.detections.problems[i] is None]
        results = {
            n: self.make.failed(frame, i, frame.detections.problems[i])
            for n, (frame, i) in enumerate(people)
            if frame.detections.problems[i] is not None
        }
        with_start = [n for n in usable if init is not None and init[n] is not None]
        for group in (with_start, [n for n in usable if n not in set(with_start)]):
            starts = [init[n] for n in group] if group == with_start and init is not None else None
            results |= zip(group, self._fit_people([people[n] for n in group], starts, turn), strict=True)
        return [results[n] for n in range(len(people))]

    @torch.no_grad()
    def _fit_people(
        self,
        chosen: list[tuple[Frame, int]],
        init: list[Parameters] | None,
        turn: Callable[[], AbstractContextManager[Any]],
    ) -> list[FitResult]:
        if not chosen:
            return []
        seen, model = self.observations(chosen)
        start = None
        if init is not None:
            start = torch.stack([self.unknowns_of(given) for given in init])
            start = self.config.shape.applied(start, self.unknowns)
            placed, _ = self.problem_on(self.landmarks.of(model)[0], seen).placed(start)
            resized = bool(self.config.shape.said)  # what was a place for another size is none for this one
            unplaced = torch.tensor([resized or "transl" not in given for given in init], device=self.device)
            start = torch.where(unplaced[:, None], placed, start)
        with turn():
            began = time.perf_counter()
            solution, other, uncertainty, screened = self.solve_with_uncertainty(seen, model, init=start)
            kids = self.children
            children = None if kids is None else find_children(self, kids, seen, model, solution, screened)
            of_children = self._sure_of_children(seen, model, children)
            shared = self._together(chosen, seen, model, solution, (other, uncertainty), children, of_children)
            seconds = (time.perf_counter() - began) / len(chosen)
        if shared is not None:
            solution, children = shared.adults, shared.children
        margin = None if children is None else children.margin
        results = self.make.results(chosen, seen, solution, other, seconds, uncertainty, margin)
        if children is not None and len(children.rows):
            rows, (other, sure) = children.rows.tolist(), of_children
            people, some = [chosen[n] for n in rows], seen.select(children.rows)
            found = kids.make.results(people, some, children.solution, other, seconds, sure, margin[children.rows])
            for n, result in zip(rows, found, strict=True):
                results[n] = result
        for n, said in shared.ground.items() if shared is not None else ():
            if results[n].status != "failed":
                results[n] = replace(results[n], **said).with_prior(self.prior)
        return results

    def _sure_of_children(
        self, seen: Observations, model: LandmarkModel, children: Children | None
    ) -> tuple[Alternative, dict[str, Any]]:
        """Alternatives and uncertainty of those who are children. Their arrays have other sizes than those of adults:
        they have one more shape number."""
        if children is None or not len(children.rows):
            return Alternative(seen.size_px.new_zeros(0, 0), seen.size_px.new_zeros(0)), {}
        fits, kids = children.solution, self.children
        nothing = Alternative(fits.x, torch.full_like(fits.cost, torch.nan))
        return kids.uncertainty_at(seen.select(children.rows), kids.landmarks.model_of(model.names), fits, nothing)

    def _together(
        self,
        chosen: list[tuple[Frame, int]],
        seen: Observations,
        model: LandmarkModel,
        solution: Solution,
        sure: Sure,
        children: Children | None,
        of_children: Sure,
    ) -> Shared | None:
        """People of photos once more, under what they share, where that is asked for; what is said of how sure they are
        follows."""
        if not (self.config.ground.on or self.config.people_apart):
            return None
        adult = torch.ones(len(chosen), dtype=torch.bool, device=self.device)
        if children is not None:
            adult[children.rows] = False
        adults, there = adult.nonzero()[:, 0], solution
        kinds = []
        if len(adults):
            kinds.append(self._kind(chosen, seen, adults, solution_of(solution, adults)))
        if not bool(adult.all()):
            kinds.append(self.children._kind(chosen, seen, children.rows, children.solution))
        found = solve_together(chosen, kinds)
        if len(adults):
            moved = found.kinds[0]
            x, cost = (getattr(solution, n).index_copy(0, adults, getattr(moved.solution, n)) for n in ("x", "cost"))
            there = replace(solution, x=x, cost=cost)
            self._follow_moved(seen, model, solution, Moved(there, adults[moved.rows]), *sure)
        if not bool(adult.all()):
            kids, some, moved = self.children, seen.select(children.rows), found.kinds[-1]
            kids._follow_moved(some, kids.landmarks.model_of(model.names), children.solution, moved, *of_children)
            children = replace(children, solution=moved.solution)
        return Shared(there, children, found.ground)

    def _kind(
        self, chosen: list[tuple[Frame, int]], seen: Observations, rows: Int[Tensor, " R"], solution: Solution
    ) -> Kind:
        """Some of these people, who are fitted with this fitter's body, where they are alone."""
        people = [chosen[n] for n in rows.tolist()]
        return Kind(self, rows, solution, self.make.plausible(people, seen.select(rows), solution.x))

    def _follow_moved(
        self,
        seen: Observations,
        model: LandmarkModel,
        before: Solution,
        moved: Moved,
        other: Alternative,
        uncertainty: dict[str, Any],
    ) -> None:
        """What is said of people who were moved, once more where they are now: `other` and `uncertainty` are changed.

        Flipped limbs are looked for anew, while the body stays where it was put; another start's pose moves along."""
        if not uncertainty or not len(moved.rows):
            return
        rows, place = moved.rows, self.unknowns.layout["transl"]
        some, there, x = seen.select(rows), solution_of(moved.solution, rows), other.x[rows]
        x[:, place] += there.x[:, place] - before.x[rows, place]
        flipped = torch.as_tensor(uncertainty["runner_up_flips"], device=rows.device)[rows].any(1)
        alone = self.problem(some, model).costs(x)
        cost = torch.where(flipped | torch.isnan(other.cost[rows]), torch.nan, alone)
        held = ("global_orient", "transl", "betas")
        followed, anew = self.uncertainty_at(some, model, there, Alternative(x, cost), held=held)
        other.x[rows], other.cost[rows] = followed.x, followed.cost
        for name in anew.keys() & uncertainty.keys() - {"posterior_blocks"}:
            uncertainty[name][rows.cpu().numpy()] = anew[name]
