"""Other modes of a fit: poses with a limb flipped in depth that explain the keypoints nearly as well.

The most probable flips of each person (`flip_probability`), a bone each, are followed for some steps, on the body's
landmarks, while a spring holds the limb at its flipped place, so that it does not slide back where there is a slope but
no second minimum. Flips that the pose prior undoes even so are no modes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.data.landmarks import LIMBS
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions, minimise
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.problem import Problem
from bodyfit.fitting.energy.terms import PointDistance
from bodyfit.fitting.uncertainty.flips import LimbFlipper, depth_sines

HELD_SIGMA_M = 0.005
"""Stiffness of the spring, as the standard deviation of a joint's place."""
STEPS = 3
KEPT_FROM = 0.01
"""Flips that are less probable are not kept as a mode."""
START_SCALE = 10.0
"""Another start is less probable by a factor e where it costs so much more: the energy is too sure of its differences.
There are too few such people (1 in 200) to measure this."""
MOST = 3
"""Alternative modes of a person that are kept at most."""


@dataclass(frozen=True)
class OtherModes:
    """The K most probable flips of some people, those worth keeping."""

    rows: Int[Tensor, " K"]
    """Whose they are, ascending; those of one person follow each other, the most probable one first."""
    x: Float[Tensor, "K D"]
    """Unknowns with the limb flipped."""
    bones: Bool[Tensor, "K 8"]
    """Which of LIMB_BONES are flipped."""
    weight: Float[Tensor, " K"]
    """Probability of this mode."""


class ModeFinder:
    """Looks for flipped limbs.

    Args:
        flipper: makes the flips.
        model: the landmarks of the problems that it is given.
    """

    def __init__(self, flipper: LimbFlipper, model: LandmarkModel):
        self.flipper, self.model = flipper, model
        self.rotation_jacobian = RotationJacobian(flipper.unknowns, model, each=3)
        rows = [[model.names.index(name) if name in model.names else -1 for name in limb[1:]] for limb in LIMBS]
        self._rows = torch.tensor(rows, device=model.device)

    def __call__(
        self,
        make_problem: Callable[[Observations], Problem],
        seen: Observations,
        x: Float[Tensor, "B D"],
        probability: Float[Tensor, "B 8"],
        free: Bool[Tensor, " D"],
    ) -> OtherModes:
        """The other modes of people.

        Args:
            make_problem: the problem of some people on the model's landmarks.
            seen: the people, with the model's landmarks.
            x: their solutions.
            probability: that each bone is flipped.
            free: unknowns that may move.
        """
        probability = probability * self._seen(seen.weights).repeat_interleave(2, 1)
        weight, bone = probability.sort(dim=1, descending=True)
        rows, place = (weight[:, :MOST] >= KEPT_FROM).nonzero().unbind(1)
        weight, bone = weight[rows, place], bone[rows, place]
        flipped = torch.nn.functional.one_hot(bone, probability.shape[1]).bool()
        bones = torch.nn.functional.one_hot(bone % 2, 2).bool()  # of its limb
        before = depth_sines(self.flipper.joints(x))
        x = self._followed(make_problem, seen.select(rows), x[rows], free, bone // 2, bones) if len(rows) else x[rows]
        there = (depth_sines(self.flipper.joints(x)) * before[rows] < 0) | ~flipped if len(rows) else flipped
        kept = there.all(1)  # the prior pulls limbs back against the spring that cannot be where the flip puts them
        return OtherModes(rows[kept], x[kept], flipped[kept], weight[kept])

    def _seen(self, weights: Float[Tensor, "B K"]) -> Bool[Tensor, "B 4"]:
        """Limbs of which keypoints show both outer joints; of the others, all is open."""
        return ((weights[:, self._rows] > 0) & (self._rows >= 0)).all(2)

    def _followed(
        self,
        make_problem: Callable[[Observations], Problem],
        seen: Observations,
        x: Float[Tensor, "K D"],
        free: Bool[Tensor, " D"],
        limb: Int[Tensor, " K"],
        bones: Bool[Tensor, "K 2"],
    ) -> Float[Tensor, "K D"]:
        """Unknowns of flipped people."""
        unknowns, flips = self.flipper.unknowns, self.flipper(x, limb, bones)
        start = x.clone()
        start[:, unknowns.layout["latent"]] = flips.latent
        problem = make_problem(seen)
        spring = self._spring(flips.places, self._rows[limb])
        held = Problem(unknowns, self.model, [*problem.terms, spring], problem.observations, problem.softness)
        options = SolverOptions(max_iterations=STEPS, tolerance=1e-3)
        return minimise(held.evaluate, unknowns.retract, start, options, cost=held.costs, free=free).x

    def _spring(self, places: Float[Tensor, "N 2 3"], rows: Int[Tensor, "N 2"]) -> PointDistance:
        """Holds the joints of each flip at their places."""
        targets = places.new_zeros(len(places), len(self.model.names), 3)
        weights = places.new_zeros(len(places), len(self.model.names))
        targets.scatter_(1, rows[..., None].expand(-1, -1, 3), places)
        weights.scatter_(1, rows, 1.0)
        jacobian = self.rotation_jacobian
        return PointDistance(self.flipper.unknowns, jacobian, targets, weights, sigma_m=HELD_SIGMA_M)


def alternative_weight(gap: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Probability of the alternative start by what it costs beyond the solution; NaN where there is none."""
    return 1 / (1 + (gap.clamp_min(0) / START_SCALE).exp())
