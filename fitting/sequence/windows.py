"""The joint problem is lowered in stages; a long clip window by window, in memory that does not grow with it.

The shape is settled first, by runs of moments spread over the clip. Then windows follow each other along time: the last
two moments of one are held while the next one is solved, which is all that couples them, and what a window found for
the moments past its end is thrown away. They are solved with it because the future, too, decides about the present.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.fitting.energy.floor import FOOT_POINTS
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import FAILED
from bodyfit.fitting.energy.shared_space import Obstacles, OtherPeople
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.contacts import Contacts
from bodyfit.fitting.sequence.problem import GroupProblem, Held, Jacobians
from bodyfit.fitting.sequence.smoothness import SMOOTHED
from bodyfit.fitting.sequence.solver import minimise_group
from bodyfit.fitting.sequence.views import Views
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.landmark_sets import COARSE_NAMES
from bodyfit.fitting.solve.threads import Mapper

_BODY_BLOCKS = ("global_orient", "transl", "latent")  # what early stages move, besides betas
_COUPLED = 2  # moments on either side that a moment's temporal terms reach


@dataclass(frozen=True)
class _Landmarks:
    """Landmarks that a stage looks at."""

    model: LandmarkModel
    jacobians: Jacobians
    columns: Int[Tensor, " K"]
    """Their places among all that are seen."""


class GroupSolver:
    """Lowers the cost of one person over time from a start.

    Args:
        fitter: body, prior and weights.
        model: landmarks seen, and those whose motion is smooth.
        views: all sightings.
        fps: moments per second.
        config: weights of temporal terms, stages, windows.
        map_: how chunks of moments are mapped.
    """

    def __init__(
        self, fitter: Fitter, model: LandmarkModel, views: Views, fps: float, config: SequenceConfig, map_: Mapper
    ):
        self.given = config
        self.several_views = len(views.moment.unique()) < len(views.moment)  # then these say how people move
        self._each = 3 if self.several_views else 2
        self._jacobians: dict[bool, Jacobians] = {}
        if not self.several_views:
            config = replace(config, latent_sigma=config.latent_factor * config.latent_sigma)
        self.fitter, self.model, self.views, self.fps, self.config, self.map = fitter, model, views, fps, config, map_
        self.shape, energy = fitter.unknowns.layout["betas"], fitter.config.energy
        factor = min(config.predicted_factor, max(len(views.moment), 1) ** 0.5)  # one sighting alone is a single fit
        self.energy = replace(energy, predicted_sigma=factor * energy.predicted_sigma)

    def solve(self, x: Float[Tensor, "T D"]) -> Float[Tensor, "T D"]:
        """From the start of all moments to the minimum.

        Raises:
            ValueError: if the cost at the start is not a number.
        """
        window, overlap, count = self.config.window, self.config.overlap, len(x)
        known_shape = bool(self.fitter.config.shape.betas)
        if count <= window + overlap:
            nothing = torch.zeros(count, dtype=torch.bool, device=x.device)
            return self._in_stages(x, self.views, Held(nothing, shape=True) if known_shape else None)
        out = x.clone()
        if not known_shape:
            out[:, self.shape] = self._shape_of_runs(x)
        return self._window_by_window(out, lambda x, views, held, _: self._in_stages(x, views, held))

    def again(
        self,
        x: Float[Tensor, "T D"],
        contacts: Contacts | None = None,
        others: Obstacles | None = None,
    ) -> Float[Tensor, "T D"]:
        """From a solution to the minimum with feet that rest where they do, out of other people; a long clip keeps its
        shape.

        Args:
            x: the solution.
            contacts: where feet rest; None: nothing is asked of feet.
            others: of each moment; None: other people may be passed through.

        Raises:
            ValueError: if the cost at the start is not a number.
        """
        config, count = self.config, len(x)
        if count <= config.window + config.overlap:
            nothing = torch.zeros(count, dtype=torch.bool, device=x.device)
            held = Held(nothing, shape=True) if self.fitter.config.shape.betas else None
            return self._last_stage(x, self.views, held, contacts=contacts, others=others)

        def last(x: Tensor, views: Views, held: Held, first: int) -> Tensor:
            some = torch.arange(first, first + len(x), device=x.device)
            given: Mapping = {
                "contacts": None if contacts is None else contacts.between(first, first + len(x)),
                "others": None if others is None else others.of(some),
            }
            return self._last_stage(x, views, held, **given)

        return self._window_by_window(x.clone(), last)

    def given_up(self, x: Float[Tensor, "T D"]) -> Float[Tensor, " V"]:
        """Share of each view's keypoints, by weight, that the robust loss has given up at x."""
        start = (self.fitter.unknowns, self.model, self.fitter.prior, self.views, len(x))
        problem = GroupProblem(*start, self.energy, self.fps, self.config, self.jacobians(), map_=self.map)
        return problem.reprojection.given_up(self.views.through_cameras(self.landmarks(x)))

    def cost(self, x: Float[Tensor, "T D"]) -> float:
        """All terms at x, under the widths of accelerations that do not follow the motion."""
        start = (self.fitter.unknowns, self.model, self.fitter.prior, self.views, len(x))
        problem = GroupProblem(*start, self.energy, self.fps, self.config, self.jacobians(), map_=self.map)
        return float(problem.cost(x))

    def landmarks(self, x: Float[Tensor, "T D"]) -> Float[Tensor, "T K 3"]:
        """All of the model's landmarks at all moments, m."""
        unknowns, parts = self.fitter.unknowns, []
        for some in x.split(self.config.chunk):
            rotations = unknowns.rotations(some, unknowns.decode(some))
            transl = some[:, unknowns.layout["transl"]]
            parts.append(self.model(rotations, unknowns.shape(some), transl, derivatives=False).points)
        return torch.cat(parts)

    def _window_by_window(self, out: Float[Tensor, "T D"], solve: Callable[..., Tensor]) -> Float[Tensor, "T D"]:
        """Windows along time, each from where the one before ended; `out` is changed."""
        window, count = self.config.window, len(out)
        for first in range(0, count, window):
            low, high = max(first - _COUPLED, 0), self._end(first + window, count)
            known = torch.arange(low, high, device=out.device) < first
            solved = solve(out[low:high], self.views.between(low, high), Held(known, shape=True), low)
            out[first:high] = solved[first - low :]
            if high == count:
                break
        return out

    def _end(self, end: int, count: int) -> int:
        """Where the moments end that are solved with a window: `overlap` later, or past a gap, whose far side decides
        about it."""
        later = self.views.moment[self.views.moment >= end]
        seen = int(later[0]) + 1 if len(later) else count
        return min(max(end + self.config.overlap, seen + self.config.overlap // 2), count)

    def _shape_of_runs(self, x: Float[Tensor, "T D"]) -> Float[Tensor, " S"]:
        """The shape that runs of consecutive moments agree on, evenly spread."""
        runs, length = self.config.shape_runs, self.config.shape_run
        starts = torch.linspace(0, len(x) - length, runs).long().tolist()
        parts = [self.views.between(first, first + length) for first in starts]
        moments = [part.moment + n * length for n, part in enumerate(parts)]
        views = replace(Views.joined(parts), moment=torch.cat(moments))
        rows = torch.cat([torch.arange(first, first + length) for first in starts]).to(x.device)
        middle = torch.arange(1, runs * length - 1, device=x.device) % length
        linked = (middle > 0) & (middle < length - 1)
        return self._in_stages(x[rows], views, linked=linked)[0, self.shape]

    def _in_stages(
        self,
        x: Float[Tensor, "W D"],
        views: Views,
        held: Held | None = None,
        linked: Bool[Tensor, " W-2"] | None = None,
    ) -> Float[Tensor, "W D"]:
        """Early stages on the body's landmarks under wide robust scales, then all landmarks and unknowns."""
        config, energy = self.config, self.energy
        given: Mapping = {"held": held, "linked": linked, "map_": self.map}
        far = replace(energy, robust_sigmas=max(config.early_robust_sigmas, energy.robust_sigmas))
        early = replace(config.solver, max_iterations=config.early_iterations, tolerance=1e-2)
        for factor in config.annealing:
            body = self._body
            start = (self.fitter.unknowns, body.model, self.fitter.prior, views.of_landmarks(body.columns), len(x))
            weights = (far, self.fps, config.softened(factor), body.jacobians)
            x = minimise_group(GroupProblem(*start, *weights, blocks=_BODY_BLOCKS, **given), x, early).x
        if not self.several_views and config.ground is None:
            x = self._last_stage(x, views, held, linked, tolerance=config.motion_tolerance)
        return self._last_stage(x, views, held, linked)

    def _last_stage(
        self,
        x: Float[Tensor, "W D"],
        views: Views,
        held: Held | None = None,
        linked: Bool[Tensor, " W-2"] | None = None,
        contacts: Contacts | None = None,
        others: Obstacles | None = None,
        tolerance: float | None = None,
    ) -> Float[Tensor, "W D"]:
        """All landmarks and unknowns, to the minimum, or to another tolerance than the configuration's."""
        config, start = self.config, (self.fitter.unknowns, self.model, self.fitter.prior, views, len(x))
        given: Mapping = {"held": held, "linked": linked, "contacts": contacts, "map_": self.map}
        given |= {"others": None if others is None else self._apart_from(others)}
        jacobians = self.jacobians(contacts)
        problem = GroupProblem(*start, self.energy, self.fps, config, jacobians, **given)
        if not self.several_views:
            problem.follow_motion(x)
        if tolerance is None:
            tolerance = config.solver.tolerance if others is None else config.apart_tolerance
        solution = minimise_group(problem, x, replace(config.solver, tolerance=tolerance))
        if solution.status == FAILED:
            raise ValueError("the cost at the start is not a number")
        return solution.x

    def _apart_from(self, others: Obstacles) -> OtherPeople:
        energy = self.fitter.config.energy
        sigma = min(energy.collision_sigma_m, type(energy).collision_sigma_m)
        return OtherPeople(self.fitter.unknowns, self.fitter.spheres, others, sigma_m=sigma)

    def jacobians(self, contacts: Contacts | None = None) -> Jacobians:
        """Of all landmarks that are seen."""
        feet = contacts is not None
        if feet not in self._jacobians:
            given = (self.fitter.unknowns, self.model, self._each)
            self._jacobians[feet] = Jacobians.of(*given, FOOT_POINTS if feet else ())
        return self._jacobians[feet]

    @cached_property
    def _body(self) -> _Landmarks:
        """The body's landmarks, and knuckles and finger tips, which show where the hands are."""
        fitter, all_names = self.fitter, self.model.names
        model = fitter.landmarks.model_of(tuple(name for name in all_names if name in COARSE_NAMES or name in SMOOTHED))
        columns = torch.tensor([all_names.index(name) for name in model.names], device=fitter.device)
        return _Landmarks(model, Jacobians.of(fitter.unknowns, model, self._each), columns)
