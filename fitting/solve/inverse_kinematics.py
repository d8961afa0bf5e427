"""Inverse kinematics: bodies through points known in 3D (joints, skin points), by the solver of the 2D fits.

    result = inverse_kinematics(points, names)     # (B, K, 3) metres, K names of LANDMARK_NAMES
    result.body_pose, result.global_orient, ...

What VPoser's IK engine does with L-BFGS, in batches of Levenberg-Marquardt with an analytic Jacobian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel, load_body_model
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel, has_landmark
from bodyfit.fitting.energy.levenberg_marquardt import Linearization, SolverOptions, minimise, total_cost
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.problem import BodyProblem, EnergyConfig
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.prior.model.vposer import VPoser

SOFTNESS = (0.1, 0.03)  # roundings of a decoder with kinks, before the decoder as it is


@dataclass(frozen=True)
class KinematicsConfig:
    """Weights of the energy."""

    sigma_m: float = 0.01
    """Expected error of a point, metres."""
    robust_sigmas: float = float("inf")
    """Geman-McClure scale in those units, for points that may be wrong; inf: plain squares."""
    latent_sigma: float = 1.0
    """Standard deviation of the pose prior; larger trusts the points more."""
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
    """As fitted."""
    cost: Float[Tensor, " B"]
    status: Int[Tensor, " B"]
    """levenberg_marquardt's CONVERGED, MAX_ITERATIONS or FAILED."""


class PointProblem:
    """Residuals of 3D points and their Jacobian; the parts of the 2D problem that know no camera, reused."""

    def __init__(
        self, problem: BodyProblem, points: Tensor, weights: Tensor, config: KinematicsConfig, softness: float
    ):
        self.inner, self.unknowns, self.model = problem, problem.unknowns, problem.model
        self.rotation_jacobian = RotationJacobian(self.unknowns, self.model, each=3)
        self.points, self.weights, self.config, self.softness = points, weights, config, softness

    def evaluate(self, x: Float[Tensor, "B D"], items: Int[Tensor, " B"]) -> Linearization:
        """All residuals and their Jacobian."""
        layout = self.unknowns.layout
        body, tangent = self.unknowns.decode_with_tangent(x, self.softness)
        turns, slopes = self.unknowns.turns(x)
        state = self.model(self.unknowns.joined(turns, body), self.unknowns.shape(x), x[:, layout["transl"]])
        jacobian = self._jacobian(x, state, tangent, slopes) / self.config.sigma_m
        return self._assemble(x, items, state.points, jacobian.flatten(1, 2))

    def costs(self, x: Float[Tensor, "B D"], items: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Costs alone."""
        rotations = self.unknowns.rotations(x, self.unknowns.decode(x, self.softness))
        transl = x[:, self.unknowns.layout["transl"]]
        state = self.model(rotations, self.unknowns.shape(x), transl, derivatives=False)
        return total_cost(self._assemble(x, items, state.points, None))

    def _assemble(self, x, items, points, jacobian) -> Linearization:
        weights = self.weights[items]
        rows = ((points - self.points[items]) / self.config.sigma_m).masked_fill((weights == 0)[..., None], 0)
        scale, slope = x.new_full((1, 3 * rows.shape[1]), self.config.robust_sigmas), self.inner.prior_slope
        return Linearization(
            rows.flatten(1), jacobian, weights.repeat_interleave(3, 1), scale, x * slope, slope.expand_as(x)
        )

    def _jacobian(self, x, state, tangent, slopes) -> Float[Tensor, "B K 3 D"]:
        """d point / d unknown; d p = omega x lever for each joint's small turn."""
        layout = self.unknowns.layout
        axes = torch.eye(3, dtype=x.dtype, device=x.device)
        jacobian = x.new_zeros(len(x), len(self.model.names), 3, layout.size)
        jacobian[..., layout["transl"]] = axes
        jacobian[..., layout["betas"].start : layout["expression"].stop] = state.shape_jacobian
        # Row c of the matrix -[lever]_x is lever x e_c.
        levers = state.levers.transpose(0, 1)[:, :, None].expand(-1, -1, 3, -1)
        self.rotation_jacobian.write(
            jacobian, torch.linalg.cross(levers, axes.expand_as(levers)), state, tangent, slopes
        )
        if state.correctives is not None:
            self.rotation_jacobian.add_correctives(jacobian, state.correctives, tangent, slopes)
        return jacobian


def inverse_kinematics(
    points: Float[Tensor, "B K 3"],
    names: Sequence[str],
    *,
    weights: Float[Tensor, "B K"] | None = None,
    body: BodyModel | None = None,
    prior: VPoser | None = None,
    config: KinematicsConfig | None = None,
    options: SolverOptions | None = None,
) -> KinematicsResult:
    """Bodies whose landmarks go through the points.

    Args:
        points: metres, in any frame; results are in the same.
        names: which landmark each point is.
        weights: how much each point counts; 0: not known. Default 1.
        body, prior: default the shipped ones.

    Raises:
        ValueError: for a name that the body does not have.
    """
    config, options = config or KinematicsConfig(), options or SolverOptions(max_iterations=60)
    body, prior = body or load_body_model(), (prior or load_prior()).to(points)
    missing = [name for name in names if not has_landmark(body, name)]
    if missing:
        raise ValueError(f"{body.name} has no landmark {', '.join(missing)}; see bodyfit.data.landmarks.LANDMARK_NAMES")
    model = LandmarkModel(body, names=tuple(names), dtype=points.dtype, device=points.device)
    unknowns = Unknowns(body, prior, model)
    count, like = len(points), points
    weights = torch.ones_like(points[..., 0]) if weights is None else weights
    energy = EnergyConfig(latent_sigma=config.latent_sigma, betas_sigma=config.betas_sigma)
    blank = Observations(points[..., :2], weights, *(like.new_ones(count) for _ in range(2)), like.new_zeros(count, 2))
    problem = BodyProblem(unknowns, model, prior, blank, energy)
    x = _aligned_start(unknowns, problem, prior, points, weights)
    for softness in [s for s in SOFTNESS if s > unknowns.softness] + [0.0]:
        stage = PointProblem(problem, points, weights, config, softness)
        free = ~unknowns.layout.mask("log_focal").to(x.device)
        with torch.no_grad():
            solution = minimise(stage.evaluate, unknowns.retract, x, options, cost=stage.costs, free=free)
        x = solution.x
    return _result(unknowns, problem, solution)


def _aligned_start(unknowns, problem, prior, points, weights) -> Float[Tensor, "B D"]:
    """The prior's mean pose, turned and moved onto the points as a rigid body."""
    x = points.new_zeros(len(points), unknowns.layout.size)
    x[:, unknowns.layout["latent"]] = prior.latent_mean.to(points)
    with torch.no_grad():
        bare = problem.landmarks(x).points
        turn, _ = roma.rigid_points_registration(bare, points, weights=weights)
        x[:, unknowns.layout["global_orient"]] = roma.rotmat_to_rotvec(turn)
        moved = (weights[..., None] * (points - problem.landmarks(x).points)).sum(1)
        x[:, unknowns.layout["transl"]] = moved / weights.sum(1, keepdim=True).clamp_min(1e-9)
    return x


def _result(unknowns, problem, solution) -> KinematicsResult:
    x, layout = solution.x, unknowns.layout
    blank = x.new_zeros(len(x), 45)
    hands = {f"{s}_hand_pose": unknowns.hand_pose(x, s) if s in unknowns.hands else blank for s in ("left", "right")}
    names = ("global_orient", "transl", "latent", "betas", "expression", "jaw_pose")
    blocks = {name: x[:, layout[name]] for name in names}
    body_pose = roma.rotmat_to_rotvec(unknowns.decode(x)).flatten(1)
    points = problem.landmarks(x).points
    return KinematicsResult(
        **blocks, **hands, body_pose=body_pose, points=points, cost=solution.cost, status=solution.status
    )
