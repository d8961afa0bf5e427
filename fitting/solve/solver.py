"""The solve of people in memory: what is seen of a batch in, the unknowns of each person out, and how sure they are."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Self, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel, load_body_model
from bodyfit.data.body.known_spheres import spheres_of
from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.record import Parameters
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import Solution
from bodyfit.fitting.energy.observations import Observations, PredictedPose, observe
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.sphere_model import SphereModel
from bodyfit.fitting.energy.terms import Term
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.solve.afterwards import Afterwards
from bodyfit.fitting.solve.ages import Screened, solution_of
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.hypotheses import StartConfig, Starter
from bodyfit.fitting.solve.landmark_sets import Landmarks, LandmarkSets
from bodyfit.fitting.solve.memory import free_bytes, people_at_once
from bodyfit.fitting.solve.networks import load_networks
from bodyfit.fitting.solve.stages import Alternative, follow, solve_in_stages
from bodyfit.fitting.solve.threads import map_in_threads, threads_at_work
from bodyfit.fitting.start.network import StartNetwork, StartProposals
from bodyfit.fitting.uncertainty.estimate import blocks_of
from bodyfit.prior.model.vposer import VPoser

Part = TypeVar("Part")
PEOPLE_ON_CPU = 128  # solved at a time by a thread, all their starts together: more is no faster
FEWEST_ON_CPU = 16  # fewer are not worth a thread
PEOPLE_ON_GPU = 2048


class Solver:
    """A body, a prior and a configuration, ready to solve any number of batches.

    Args:
        body: default: the open body that ships with bodyfit.
        prior: default: the prior that ships with bodyfit. It is copied: the caller's stays as it is.
        config: default: `FitConfig()`.
        network: the start network. Default: `start.safetensors` beside the prior's weights, else the shipped one.
        device: where to compute.
        dtype: what to compute in.
        like: a solver whose prior, start network, device and dtype are shared; those arguments are ignored then.
    """

    def __init__(
        self,
        body: BodyModel | None = None,
        prior: VPoser | None = None,
        config: FitConfig | None = None,
        *,
        network: StartNetwork | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        like: Solver | None = None,
    ):
        check_kind("body", body, BodyModel, "a body model, as load_body_model(path) reads it")
        check_kind("prior", prior, VPoser, "a prior, as load_prior(path) reads it")
        check_kind("config", config, FitConfig, "a FitConfig")
        config = config or FitConfig()
        self.body, self._body_of_children = config.age.bodies(body or load_body_model(), len(config.shape.betas))
        config.shape.check(self.body)
        self.device, self.dtype = (torch.device(device), dtype) if like is None else (like.device, like.dtype)
        energy = config.age.energy(config.shape.energy(config.energy), self.body)
        self.config = replace(config, energy=energy)
        to = {"device": self.device, "dtype": self.dtype}
        self.networks = load_networks(prior, network, self.config, **to) if like is None else like.networks
        self.prior = self.networks.prior
        self.everything = LandmarkModel(self.body, **to)
        self.unknowns = Unknowns(self.body, self.prior, self.everything, self.config.energy.hand_components)
        self.landmarks = LandmarkSets(self.body, self.unknowns, **to)
        self._making = threading.RLock()  # what is made when first needed, for several batches at a time

    @cached_property
    def children(self) -> Self | None:
        """The same for children, where both kinds are tried."""
        if self._body_of_children is None:
            return None
        config = replace(self.config, age=replace(self.config.age, kind="child"))
        return type(self)(self._body_of_children, config=config, like=self)

    @cached_property
    def afterwards(self) -> Afterwards:
        """What says how sure fits are."""
        to = {"dtype": self.dtype, "device": self.device}
        with torch.inference_mode(mode=False):  # what is kept may be used outside of it
            return Afterwards(self.body, self.unknowns, self.prior, self.config.uncertainty, **to)

    @property
    def whole_body(self) -> BodyModel:
        """The body that poses all results: with the kid axis where there are children among them."""
        return self._body_of_children or self.body

    @cached_property
    def identity(self) -> dict[str, str]:
        """What results depend on besides the configuration: body, prior and start network, each with a hash."""
        body = self.whole_body
        return {"body": f"{body.name} {body.fingerprint}", **self.networks.identity()}

    @cached_property
    def spheres(self) -> SphereModel:
        """The body's volume as spheres, made where it is first needed."""
        with torch.inference_mode(mode=False):  # what is kept may be used outside of it
            return SphereModel(self.body, spheres_of(self.body), self.everything)

    def observations(
        self, chosen: Sequence[tuple[Frame, int]], more: Sequence[str] = ()
    ) -> tuple[Observations, LandmarkModel]:
        """What is seen of people (a frame and a number in it each), and a model of the landmarks that they have, and of
        those named besides."""
        xy = np.stack([frame.detections.xy[i] for frame, i in chosen])
        confidence = np.stack([frame.detections.confidence[i] for frame, i in chosen])
        focal = np.array([frame.focal_px for frame, _ in chosen])
        center = np.array([frame.center_px for frame, _ in chosen])
        model = self.landmarks.model_for(confidence, more)
        to = {"dtype": self.dtype, "device": self.device}
        return observe(xy, confidence, focal, center, names=model.names, **to), model

    def problem(
        self, seen: Observations, model: LandmarkModel, *, collisions: bool = False, more: Sequence[Term] = ()
    ) -> BodyProblem:
        """The problem that is solved in the end, with the poses that the start network predicts.

        Args:
            seen, model: the people.
            collisions: with the term that keeps bodies out of themselves, if the energy has it.
            more: further terms.
        """
        on = self.landmarks.of(model)[0]
        return self.problem_on(on, self.with_predicted_pose(seen, model), collisions=collisions, more=more)

    def problem_on(
        self,
        on: Landmarks,
        seen: Observations,
        energy: EnergyConfig | None = None,
        *,
        collisions: bool = False,
        more: Sequence[Term] = (),
    ) -> BodyProblem:
        """The problem of people whose poses are predicted already, on some of the landmarks that they are seen with.

        Args:
            on: the landmarks.
            seen: the people.
            energy: default: the configuration's.
            collisions, more: as in `problem`.
        """
        if on.columns is not None:
            seen = seen.of_landmarks(on.columns)
        energy = energy or self.config.energy
        given: dict[str, Any] = {"rotation_jacobian": on.rotation_jacobian, "more": more}
        if collisions and energy.collision_sigma_m != math.inf:
            given["spheres"] = self.spheres
        return BodyProblem(self.unknowns, on.model, self.prior, seen, energy, **given)

    def with_predicted_pose(self, seen: Observations, model: LandmarkModel) -> Observations:
        """The same people with the poses that the start network predicts; those that have them already, and without a
        network, unchanged."""
        return seen if seen.predicted is not None else self._read(seen, model)[0]

    def _read(self, seen: Observations, model: LandmarkModel) -> tuple[Observations, StartProposals | None]:
        """Run the start network: the people with their predicted poses, and its proposals."""
        network, predictor = self.networks.start, self.networks.predictor
        if network is None:
            return seen, None
        proposed = network(seen.targets_px, seen.weights, seen.focal_px, seen.center_px, model.names)
        if predictor is None:
            return seen, proposed
        return replace(seen, predicted=predictor(proposed)), proposed

    def solve(
        self, seen: Observations, model: LandmarkModel, *, init: Float[Tensor, "B D"] | None = None
    ) -> tuple[Solution, Alternative]:
        """Fit people from their best starts, or from given unknowns.

        Returns:
            the best solution of each person, and the runner-up (its cost is NaN where all starts came to one).
        """

        return self.solve_with_uncertainty(seen, model, init=init, uncertain=False)[:2]

    def solve_with_uncertainty(
        self,
        seen: Observations,
        model: LandmarkModel,
        *,
        init: Float[Tensor, "B D"] | None = None,
        uncertain: bool = True,
    ) -> tuple[Solution, Alternative, dict[str, Any], Screened | None]:
        """`solve`, everybody's covariances as arrays by their names in a FitResult, empty where not wanted, and how
        much their proportions speak for a child, where children are tried."""
        with self._making:
            children, afterwards = self.children, self.afterwards  # made here, before threads need them
            _ = children and children.afterwards

        def solve(rows: Tensor) -> tuple[Solution, Alternative, dict[str, Tensor]]:
            some, proposed = self._read(seen.select(rows), model)
            starts = self._best_starts(some, proposed, model) if init is None else init[rows, None]
            solution, other = self._finish(some, model, starts)
            if not uncertain:
                return solution, other, {}
            return solution, *afterwards.said_of(self, some, model, solution, other, children)

        parts = self.in_groups(solve, len(seen))
        found = {name: torch.cat([part[2][name] for part in parts]) for name in parts[0][2]}
        screened = Screened(*(found.pop(name) for name in Screened._fields)) if "gain" in found else None
        return *_joined([part[:2] for part in parts]), self._as_arrays(found), screened

    def uncertainty_at(
        self,
        seen: Observations,
        model: LandmarkModel,
        solution: Solution,
        other: Alternative,
        *,
        held: tuple[str, ...] = (),
    ) -> tuple[Alternative, dict[str, Any]]:
        """What `solve_with_uncertainty` says of people at given solutions.

        Args:
            seen, model: the people.
            solution: where they are.
            other: their alternatives so far; its cost is NaN where there is none.
            held: blocks of unknowns that stay as they are in flipped modes.
        """
        afterwards = self.afterwards

        def work(rows: Tensor) -> tuple[Alternative, dict[str, Tensor]]:
            there = self.with_predicted_pose(seen.select(rows), model)
            mine, others = solution_of(solution, rows), Alternative(other.x[rows], other.cost[rows])
            return afterwards.said_of(self, there, model, mine, others, held=held)

        others, found = zip(*self.in_groups(work, len(seen)), strict=True)
        joined = {name: torch.cat([part[name] for part in found]) for name in found[0]}
        other = Alternative(torch.cat([part.x for part in others]), torch.cat([part.cost for part in others]))
        return other, self._as_arrays(joined)

    def _as_arrays(self, found: dict[str, Tensor]) -> dict[str, Any]:
        """What was found of people, as results take it."""
        arrays: dict[str, Any] = {name: value.cpu().numpy() for name, value in found.items()}
        return arrays | ({"posterior_blocks": blocks_of(self.unknowns, self.free())} if arrays else {})

    def best_starts(self, seen: Observations, model: LandmarkModel) -> Float[Tensor, "B F D"]:
        """Each person's few best starts, NaN where there are fewer: the first half of `solve`."""

        def start(rows: Tensor) -> Tensor:
            return self._best_starts(*self._read(seen.select(rows), model), model)

        return torch.cat(self.in_groups(start, len(seen)))

    def hypotheses(
        self, seen: Observations, model: LandmarkModel, start: StartConfig
    ) -> tuple[Float[Tensor, "B F D"], Float[Tensor, "B F"], Observations]:
        """Each person's few best starts after the first stage alone, for those who choose among them by other means
        than the cost.

        Args:
            seen, model: the people.
            start: how many, in place of the configuration's.

        Returns:
            unknowns, their costs under the wide robust scale (infinite where there are fewer starts), and the people
            with their predicted poses.
        """

        def solve(rows: Tensor) -> tuple[Tensor, Tensor, Observations]:
            some, proposed = self._read(seen.select(rows), model)
            return *self._follow(some, model, self._best_starts(some, proposed, model, start)), some

        x, cost, some = zip(*self.in_groups(solve, len(seen)), strict=True)
        if some[0].predicted is not None:
            mean = torch.cat([part.predicted.mean for part in some])
            seen = replace(seen, predicted=PredictedPose(mean, some[0].predicted.whitener))
        return torch.cat(x), torch.cat(cost), seen

    def follow(
        self, seen: Observations, model: LandmarkModel, starts: Float[Tensor, "B F D"]
    ) -> tuple[Float[Tensor, "B F D"], Float[Tensor, "B F"]]:
        """The first stage from given starts, as `hypotheses` returns it.

        Args:
            seen, model: the people, with their predicted poses.
            starts: F of each.
        """
        parts = self.in_groups(lambda rows: self._follow(seen.select(rows), model, starts[rows]), len(seen))
        x, cost = zip(*parts, strict=True)
        return torch.cat(x), torch.cat(cost)

    def _follow(self, seen: Observations, model: LandmarkModel, starts: Tensor) -> tuple[Tensor, Tensor]:
        make, config = partial(self.problem_on, self.landmarks.of(model)[1]), self.config
        given, first = follow(
            make,
            seen,
            starts,
            config.energy,
            self.unknowns,
            free=self.free(),
            stages=config.stages,
            options=config.solver,
        )
        x = starts.flatten(0, 1).nan_to_num().index_copy(0, given, first.x)
        cost = torch.full_like(x[:, 0], torch.inf).index_copy(0, given, first.cost)
        return x.view_as(starts), cost.view(starts.shape[:2])

    def finish(
        self, seen: Observations, model: LandmarkModel, starts: Float[Tensor, "B F D"]
    ) -> tuple[Solution, Alternative]:
        """The best solution from given starts: the second half of `solve`."""
        return _joined(self.in_groups(lambda rows: self._finish(seen.select(rows), model, starts[rows]), len(seen)))

    def in_groups(self, work: Callable[[Tensor], Part], people: int) -> list[Part]:
        """work(rows) for groups of people: on a CPU small ones, something for every thread; on a GPU large ones; none
        larger than there is memory for."""
        if self.config.energy.collision_sigma_m != math.inf:
            with self._making:
                _ = self.spheres  # made once, before threads need it
        rows, free = torch.arange(people, device=self.device), free_bytes(self.device)
        if self.device.type != "cpu":
            with torch.inference_mode():
                return [work(group) for group in rows.split(people_at_once(free, 1, PEOPLE_ON_GPU))]
        threads = threads_at_work()
        share = max(-(-people // threads), FEWEST_ON_CPU)
        return map_in_threads(work, rows.split(min(share, people_at_once(free, threads, PEOPLE_ON_CPU))))

    def _best_starts(
        self,
        seen: Observations,
        proposed: StartProposals | None,
        model: LandmarkModel,
        start: StartConfig | None = None,
    ) -> Tensor:
        starter = Starter(self.unknowns, self.prior, start or self.config.start, self.config.shape)
        coarse = self.landmarks.of(model)[1]
        return starter.best_starts(seen, proposed, partial(self.problem_on, coarse), self.config.energy)

    def free(self) -> Bool[Tensor, " D"]:
        """The unknowns that fits move."""
        held = (*self.config.shape.held, *(() if self.config.refine_focal else ("log_focal",)))
        blocks = [name for name in self.unknowns.layout.slices if name not in held]
        return self.unknowns.layout.mask(*blocks).to(self.device)

    def _finish(self, seen: Observations, model: LandmarkModel, starts: Tensor) -> tuple[Solution, Alternative]:
        config, (fine, coarse) = self.config, self.landmarks.of(model)
        return solve_in_stages(
            partial(self.problem_on, fine, collisions=True),
            partial(self.problem_on, coarse),
            seen,
            starts,
            config.energy,
            self.unknowns,
            free=self.free(),
            stages=config.stages,
            options=config.solver,
        )

    def unknowns_of(self, given: Parameters) -> Float[Tensor, " D"]:
        """The unknowns closest to given SMPL-X parameters; those left out are zero."""
        layout = self.unknowns.layout
        value = {k: torch.as_tensor(v, dtype=self.dtype, device=self.device) for k, v in given.items()}
        x = torch.zeros(layout.size, dtype=self.dtype, device=self.device)
        for name in ("global_orient", "transl", "betas", "expression", "jaw_pose"):
            if name in value:
                count = min(len(value[name]), layout[name].stop - layout[name].start)
                x[layout[name]][:count] = value[name][:count]
        x[layout["latent"]] = self.prior.encode(value["body_pose"]).mean
        for side, (_, mean, basis) in self.unknowns.hands.items():
            if len(value.get(f"{side}_hand_pose", ())) == len(mean):
                away = (value[f"{side}_hand_pose"] - mean)[:, None]
                x[layout[f"{side}_hand"]] = torch.linalg.lstsq(basis.T, away)[0][:, 0]
        return x


def check_kind(what: str, value: object, kind: type, expected: str) -> None:
    """Raises BodyfitError for a value that is neither None nor of a kind."""
    if value is not None and not isinstance(value, kind):
        raise BodyfitError(f"{what} is a {type(value).__name__}. Expected {expected}.")


def _joined(parts: list[tuple[Solution, Alternative]]) -> tuple[Solution, Alternative]:
    """One batch again from its groups."""
    solutions, others = zip(*parts, strict=True)
    names = ("x", "cost", "status", "iterations")
    solution = Solution(*(torch.cat([getattr(s, n) for s in solutions]) for n in names))
    return solution, Alternative(torch.cat([o.x for o in others]), torch.cat([o.cost for o in others]))
