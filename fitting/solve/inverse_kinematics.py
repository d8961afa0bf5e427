"""Inverse kinematics: bodies fitted to points known in 3D (joints, skin points), by the solver of the 2D fits.

    result = inverse_kinematics(points, names)     # (B, K, 3) metres, K names of LANDMARK_NAMES
    result.body_pose, result.global_orient, ...

What VPoser's IK engine does with L-BFGS, in batches of Levenberg-Marquardt with an analytic Jacobian.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel, load_body_model
from bodyfit.data.errors import BodyfitError
from bodyfit.data.words import counted
from bodyfit.fitting.energy.config import EnergyConfig, parameter_priors, pose_prior
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.landmark_places import has_landmark
from bodyfit.fitting.energy.levenberg_marquardt import CONVERGED, Solution, SolverOptions, minimise
from bodyfit.fitting.energy.problem import Problem
from bodyfit.fitting.energy.terms import PointDistance
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.prior.model.vposer import VPoser

SOFTNESS = (0.1, 0.03)  # roundings of a decoder with kinks, before the decoder as it is


@dataclass(frozen=True)
class KinematicsConfig:
    """Weights of the terms."""

    sigma_m: float = 0.01
    """Expected error of a point, metres."""
    robust_sigmas: float = float("inf")
    """Geman-McClure scale in those units, for points that may be wrong; inf: plain squares."""
    latent_sigma: float = 1.0
    """Standard deviation of the latent under the pose prior, in its own units; larger trusts the points more."""
    betas_sigma: float = 1.0
    """Standard deviation of the shape numbers."""


@dataclass(frozen=True)
class KinematicsResult:
    """Parameters, as a body model's forward takes them; radians, metres."""

    global_orient: Float[Tensor, "B 3"]
    transl: Float[Tensor, "B 3"]
    body_pose: Float[Tensor, "B 63"]
    latent: Float[Tensor, "B Z"]
    betas: Float[Tensor, "B Nb"]
    expression: Float[Tensor, "B Ne"]
    jaw_pose: Float[Tensor, "B 3"]
    left_hand_pose: Float[Tensor, "B 45"]
    right_hand_pose: Float[Tensor, "B 45"]
    points: Float[Tensor, "B K 3"]
    """The fitted landmarks, m."""
    cost: Float[Tensor, " B"]
    status: Int[Tensor, " B"]
    """levenberg_marquardt's CONVERGED, MAX_ITERATIONS or FAILED."""

    def __repr__(self) -> str:
        converged, count = int((self.status == CONVERGED).sum()), len(self.status)
        return (
            f"<KinematicsResult: {counted(count, 'pose', 'poses')} ({converged} converged) from "
            f"{counted(self.points.shape[1], 'point', 'points')}, {self.betas.shape[1]} betas>"
        )


def kinematics_problem(
    unknowns: Unknowns,
    model: LandmarkModel,
    prior: VPoser,
    points: Float[Tensor, "N K 3"],
    weights: Float[Tensor, "N K"],
    config: KinematicsConfig,
    softness: float = 0.0,
) -> Problem:
    """Points in 3D, the pose prior and the priors on shape, jaw and hands, as one problem.

    Args:
        points, weights: in the order of the model's landmarks.
        softness: width over which kinks of the decoder are rounded at least.
    """
    data = PointDistance(
        unknowns,
        RotationJacobian(unknowns, model, each=3),
        points,
        weights,
        sigma_m=config.sigma_m,
        robust_sigmas=config.robust_sigmas,
    )
    energy = EnergyConfig(pose_prior="mahalanobis", latent_sigma=config.latent_sigma, betas_sigma=config.betas_sigma)
    priors = [pose_prior(unknowns, model, prior, energy), *parameter_priors(unknowns, model, energy)]
    return Problem(unknowns, model, [data, *priors], softness=softness)


def inverse_kinematics(
    points: Float[Tensor, "B K 3"] | Float[np.ndarray, "B K 3"],
    names: Sequence[str],
    *,
    weights: Float[Tensor, "B K"] | Float[np.ndarray, "B K"] | None = None,
    body: BodyModel | None = None,
    prior: VPoser | None = None,
    config: KinematicsConfig | None = None,
    options: SolverOptions | None = None,
) -> KinematicsResult:
    """Fit bodies to 3D points.

    Args:
        points: metres, in any frame; results are in the same. A point with NaN is not known.
        names: which landmark each point is.
        weights: how much each point counts; 0: not known. Default 1.
        body, prior: default the shipped ones.
        config: how much points and priors count.
        options: of the solver, such as its steps.

    Returns:
        what `pose_body` takes of each body, as tensors in the precision of the points; `points`, where the landmarks
        ended, and `status`, whether each converged.

    Raises:
        BodyfitError: for points of another shape, and for a name that the body does not have.
    """
    points, weights = _points_and_weights(points, weights, names)
    config, options = config or KinematicsConfig(), options or SolverOptions(max_iterations=60)
    body, prior = body or load_body_model(), copy.deepcopy(prior or load_prior()).to(points)
    missing = [name for name in names if not has_landmark(body, name)]
    if missing:
        raise BodyfitError(
            f"{body.name} has no landmark {', '.join(missing)}; see bodyfit.data.landmarks.LANDMARK_NAMES."
        )
    model = LandmarkModel(body, names=tuple(names), dtype=points.dtype, device=points.device)
    unknowns = Unknowns(body, prior, model)
    roundings = [softness for softness in SOFTNESS if softness > unknowns.softness] + [0.0]
    problems = [kinematics_problem(unknowns, model, prior, points, weights, config, softness) for softness in roundings]
    x, free = _aligned_start(problems[-1], prior, points, weights), ~unknowns.layout.mask("log_focal").to(points.device)
    for problem in problems:
        with torch.no_grad():
            solution = minimise(problem.evaluate, unknowns.retract, x, options, cost=problem.costs, free=free)
        x = solution.x
    return _result(problems[-1], solution)


def _points_and_weights(
    points: Tensor | np.ndarray, weights: Tensor | np.ndarray | None, names: Sequence[str]
) -> tuple[Float[Tensor, "B K 3"], Float[Tensor, "B K"]]:
    """Both as tensors; points that are not known have weight 0."""
    points = torch.as_tensor(points)
    if points.ndim != 3 or points.shape[1:] != (len(names), 3):
        raise BodyfitError(
            f"points has shape {tuple(points.shape)}. Expected (B, {len(names)}, 3): bodies, names, x y z in metres."
        )
    points = points if points.is_floating_point() else points.to(torch.get_default_dtype())
    known = points.isfinite().all(dim=-1)
    weights = torch.ones_like(points[..., 0]) if weights is None else torch.as_tensor(weights).to(points)
    if weights.shape != known.shape:
        raise BodyfitError(f"weights has shape {tuple(weights.shape)}. Expected {tuple(known.shape)}, one per point.")
    return points.where(known[..., None], 0.0), weights.where(known, 0.0)


def _aligned_start(
    problem: Problem, prior: VPoser, points: Float[Tensor, "B K 3"], weights: Float[Tensor, "B K"]
) -> Float[Tensor, "B D"]:
    """The prior's mean pose, turned and moved onto the points as a rigid body."""
    layout = problem.unknowns.layout
    x = points.new_zeros(len(points), layout.size)
    x[:, layout["latent"]] = prior.latent_mean.to(points)
    with torch.no_grad():
        bare = problem.landmarks(x).points
        turn, _ = roma.rigid_points_registration(bare, points, weights=weights)
        x[:, layout["global_orient"]] = roma.rotmat_to_rotvec(turn)
        moved = (weights[..., None] * (points - problem.landmarks(x).points)).sum(1)
        x[:, layout["transl"]] = moved / weights.sum(1, keepdim=True).clamp_min(1e-9)
    return x


def _result(problem: Problem, solution: Solution) -> KinematicsResult:
    unknowns, x, layout = problem.unknowns, solution.x, problem.unknowns.layout
    blank = x.new_zeros(len(x), 45)
    hands = {f"{s}_hand_pose": unknowns.hand_pose(x, s) if s in unknowns.hands else blank for s in ("left", "right")}
    names = ("global_orient", "transl", "latent", "betas", "expression", "jaw_pose")
    blocks = {name: x[:, layout[name]] for name in names}
    body_pose = roma.rotmat_to_rotvec(unknowns.decode(x)).flatten(1)
    points = problem.landmarks(x).points
    return KinematicsResult(
        **blocks, **hands, body_pose=body_pose, points=points, cost=solution.cost, status=solution.status
    )
