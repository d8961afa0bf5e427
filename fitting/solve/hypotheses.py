"""Where to start: several hypotheses per person, a few cheap steps each; the best few go on.

The cost has many minima, and which one is reached is decided here: a body seen from behind, a limb bent the other way.
So each person starts from several orientations and, with a start network, from its proposals. Given a pose
and the focal length, the translation is a linear solve.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions, minimise
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.solve.known_shape import KnownShape
from bodyfit.fitting.start.network import StartProposals
from bodyfit.prior.model.vposer import VPoser

MakeProblem = Callable[[Observations, EnergyConfig], BodyProblem]

SAME_FACING = 0.35  # rad: hypotheses closer than both of these count as one
SAME_LATENT = 2.0


@dataclass(frozen=True)
class StartConfig:
    """How many hypotheses, and how far each is followed before the worse ones are dropped."""

    yaws: int = 4
    """Upright orientations all around, from the prior's mean pose."""
    tilted: bool = True
    """Also lying with the head to either side, upside-down, and from above or below."""
    learned: bool = True
    """Also the start network's proposals, where there is a network."""
    followed: int = 3
    """Hypotheses followed, the best by their cost with nothing but the translation solved."""
    iterations: int = 1
    """Steps on each followed hypothesis before they are ranked."""
    finished: int = 2
    """Hypotheses finished for each person at most."""
    finished_within: float = 2.0
    """Of these, the ones that cost more than so many times the best one's are dropped."""
    robust_sigmas: float = 30.0
    """Robust scale while ranking: wide, so that far-off limbs still have a gradient."""
    softness: float = 0.2
    """Rounding of the decoder's kinks while ranking."""


def upright_orientations(yaws: int, like: Tensor) -> Float[Tensor, "H 3 3"]:
    """Orientations of a standing body in the camera frame, turned about its own axis; the first faces the camera."""
    angles = torch.arange(yaws, dtype=like.dtype, device=like.device) * (2 * math.pi / yaws)
    turn = roma.rotvec_to_rotmat(angles[:, None] * angles.new_tensor([0.0, 1.0, 0.0]))
    return _upright(like) @ turn


def tilted_orientations(like: Tensor) -> Float[Tensor, "H 3 3"]:
    """Lying with the head to either side, upside-down, and seen from above or below, facing the camera or not."""
    half = math.pi / 2
    tilts = [(0, 0, half), (0, 0, -half), (0, 0, math.pi), (half, 0, 0), (-half, 0, 0)]
    tilt = roma.rotvec_to_rotmat(like.new_tensor(tilts))
    turn = roma.rotvec_to_rotmat(like.new_tensor([[0.0, 0.0, 0.0], [0.0, math.pi, 0.0]]))
    return (tilt[:, None] @ _upright(like) @ turn).flatten(0, 1)


def _upright(like: Tensor) -> Float[Tensor, "3 3"]:
    """Half a turn about x: head up (-y), facing the camera (-z)."""
    return torch.diag(like.new_tensor([1.0, -1.0, -1.0]))


class Starter:
    """Makes starts for people and follows them until the best few are clear."""

    def __init__(self, unknowns: Unknowns, prior: VPoser, config: StartConfig, known: KnownShape | None = None):
        self.unknowns, self.prior, self.config = unknowns, prior, config
        self.known = known or KnownShape()

    def hypotheses(
        self, people: int, like: Float[Tensor, " 1"], proposed: StartProposals | None, kid_mean: float = 0.5
    ) -> Float[Tensor, "B H D"]:
        """Unknowns of all hypotheses but their translation.

        Args:
            people: how many.
            like: a tensor of the dtype and device wanted.
            proposed: the start network's proposals, where there is one.
            kid_mean: where the kid axis starts, if the body has one.
        """
        layout, parts = self.unknowns.layout, []
        orientations = [upright_orientations(self.config.yaws, like)] if self.config.yaws else []
        if self.config.tilted:
            orientations.append(tilted_orientations(like))
        if orientations:
            fixed = torch.cat(orientations)
            x = like.new_zeros(people, len(fixed), layout.size)
            x[..., layout["global_orient"]] = roma.rotmat_to_rotvec(fixed)
            x[..., layout["latent"]] = self.prior.latent_mean.to(like)
            parts.append(x)
        if proposed is not None and self.config.learned:
            x = like.new_zeros(people, proposed.score.shape[1], layout.size)
            x[..., layout["global_orient"]] = roma.rotmat_to_rotvec(proposed.global_orient)
            body_pose = roma.rotmat_to_rotvec(proposed.body_pose).flatten(-2)
            x[..., layout["latent"]] = self.prior.encode(body_pose).mean
            # Shape numbers mean nothing to another body, and the network has learnt those of adults.
            if proposed.body == self.unknowns.body_name and not self.unknowns.has_kid_axis:
                count = min(self.unknowns.num_betas, proposed.betas.shape[-1])
                x[..., layout["betas"]][..., :count] = proposed.betas[..., :count]
            parts.append(x)
        x = torch.cat(parts, dim=1)
        if self.unknowns.has_kid_axis:
            kid, curve = layout["betas"].stop - 1, self.unknowns.age_curve
            x[..., kid] = kid_mean
            if curve is not None:
                x[..., layout["betas"].start : kid] = curve.at(x.new_tensor([kid_mean]))[0]
        return self.known.applied(x, self.unknowns)

    def best_starts(
        self, seen: Observations, proposed: StartProposals | None, make_problem: MakeProblem, energy: EnergyConfig
    ) -> Float[Tensor, "B F D"]:
        """Each person's few best hypotheses, best first: screened by cost, followed for some steps, ranked again.

        Args:
            seen: the people.
            proposed: the start network's proposals, where there is one.
            make_problem: the problem of some people under an energy; the body's landmarks are enough.
            energy: the energy to be lowered in the end.

        Returns:
            unknowns; NaN where a person has fewer starts worth finishing.
        """
        config = self.config
        wide = replace(energy, robust_sigmas=config.robust_sigmas, softness=config.softness)
        x = self.hypotheses(len(seen), seen.size_px[:1], proposed, energy.kid_mean)
        people, count, size = x.shape
        x, cost = make_problem(seen.repeat(count), wide).placed(x.flatten(0, 1))
        x, _ = _keep_best(cost.view(people, count), x.view(people, count, size), self.unknowns, config.followed)
        followed = x.shape[1]
        problem = make_problem(seen.repeat(followed), wide)
        options = SolverOptions(max_iterations=config.iterations, damping=0.1, tolerance=1e-2)
        moving = [n for n in ("global_orient", "transl", "latent", "betas") if n not in self.known.held]
        free = self.unknowns.layout.mask(*moving).to(x.device)
        solution = minimise(
            problem.evaluate, self.unknowns.retract, x.flatten(0, 1), options, cost=problem.costs, free=free
        )
        solved = solution.x.view(people, followed, size)
        x, cost = _keep_best(solution.cost.view(people, followed), solved, self.unknowns, config.finished)
        return x.masked_fill((cost > config.finished_within * cost[:, :1])[..., None], torch.nan)


def _keep_best(
    cost: Float[Tensor, "B H"], x: Float[Tensor, "B H D"], unknowns: Unknowns, keep: int
) -> tuple[Float[Tensor, "B F D"], Float[Tensor, "B F"]]:
    """The cheapest hypothesis, then the cheapest that differs in orientation or pose, and so on; their costs, infinite
    where there is no other."""
    cost = cost.nan_to_num(torch.finfo(cost.dtype).max, posinf=torch.finfo(cost.dtype).max)
    facing = roma.rotvec_to_rotmat(x[..., unknowns.layout["global_orient"]])
    latent = x[..., unknowns.layout["latent"]]
    rows = torch.arange(len(x), device=x.device)
    chosen: list[Tensor] = []
    costs: list[Tensor] = []
    for _ in range(min(keep, x.shape[1])):
        best = cost.argmin(dim=1)
        chosen.append(x[rows, best])
        costs.append(cost[rows, best])
        turned = roma.rotmat_geodesic_distance(facing[rows, best][:, None].expand_as(facing), facing)
        apart = (latent - latent[rows, best][:, None]).norm(dim=-1)
        cost = cost.masked_fill((turned < SAME_FACING) & (apart < SAME_LATENT), torch.inf)
        cost[rows, best] = torch.inf
    return torch.stack(chosen, dim=1), torch.stack(costs, dim=1)
