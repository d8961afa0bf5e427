"""Laplace's approximation: the posterior of a person's unknowns as a Gaussian about the solution.

The solver minimises C, which is minus twice the logarithm of the posterior density up to a constant: residuals are in
units of their standard deviations. Near the solution C is a quadratic with the Gauss-Newton matrix H that the solver
itself steps with: the robust weights and all priors are in it. So the posterior is Gaussian with covariance H^-1, and
points of the body that move by P dx have the covariance P H^-1 P^T. With H = L L^T all 3 x 3 blocks of it come from
V = L^-1 P^T: V_j^T V_j for a joint, (V_j - V_0)^T (V_j - V_0) for a joint relative to the pelvis.

How large keypoint errors are is an assumption of the energy that differs from photo to photo (`sigma_share`). So their
variance is estimated for each person, from the residuals (`noise_variance`), as in any adjustment of observations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.data.landmarks import BODY, LANDMARK_INDEX, LEFT_HAND, RIGHT_HAND
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import (
    Linearization,
    gauss_newton,
    geman_mcclure,
    slice_or_index,
)
from bodyfit.fitting.energy.problem import Problem
from bodyfit.fitting.energy.terms import Evaluation, write_point_jacobian
from bodyfit.fitting.energy.unknowns import Unknowns

PARTS = 3
"""Landmarks of the body, of the hands and of the face have keypoint errors of their own."""


@dataclass(frozen=True)
class Variances:
    """What residuals are divided by before the Hessian is formed: 1 is what the energy assumes."""

    pose_prior: float = 1.0
    """Variance of the pose prior's residuals."""
    assumed_rows: float | None = None
    """The variance of keypoint errors is estimated from each person's residuals, as if so many more residuals had
    shown the assumed one; None: not estimated, the assumed one counts."""


@dataclass(frozen=True)
class Posterior:
    """The Gaussian posterior of each person. NaN where the Hessian has no Cholesky factor."""

    inverse_factor: Float[Tensor, "B F F"]
    """L^-1, of the lower Cholesky factor L of the Hessian in the F free unknowns."""
    free: slice | Int[Tensor, " F"]
    """Their places among the unknowns; the others are known exactly."""

    def whiten(self, jacobian: Float[Tensor, "B N D"]) -> Float[Tensor, "B N F"]:
        """W = J L^-T of N numbers with this Jacobian: W W^T is their covariance."""
        return jacobian[..., self.free] @ self.inverse_factor.mT

    def covariance(self) -> Float[Tensor, "B F F"]:
        """Of the free unknowns: H^-1."""
        return self.inverse_factor.mT @ self.inverse_factor

    def log_volume(self) -> Float[Tensor, " B"]:
        """-log det(H) / 2: the logarithm of the Gaussian's volume, but for a constant."""
        return self.inverse_factor.diagonal(dim1=1, dim2=2).log().sum(1)


def posterior_at(
    problem: Problem,
    at: Evaluation,
    free: Bool[Tensor, " D"],
    floor: float,
    variances: Variances | None = None,
    lin: Linearization | None = None,
) -> Posterior:
    """The posterior about the solutions of everybody in a problem.

    Args:
        problem: with the terms that the solutions were found under, whatever they are.
        at: everybody at their solution, with derivatives (`Problem.at`).
        free: True for the unknowns that were solved for.
        floor: `SolverOptions.curvature_floor`, so that the Hessian is the solver's.
        variances: of residuals, where they are not to be as the energy assumes.
        lin: the problem linearised there, where that was done already.
    """
    lin = problem.linearized(at) if lin is None else lin
    places, rows = slice_or_index(free, len(free)), problem.rows.slices
    _, weight, curvature = geman_mcclure(lin.residuals, lin.robust_scale)
    weight = lin.weights * torch.maximum(curvature, floor * weight)
    if variances is not None and "pose_prior" in rows:
        weight[:, rows["pose_prior"]] /= variances.pose_prior
    root = lin.jacobian * weight.sqrt()[..., None]
    # Without lin.curvature: what guides the solver's steps is no knowledge about the person.
    inverse = _inverse_factor(gauss_newton(root, lin.diagonal_slope)[:, places][:, :, places])
    if variances is not None and variances.assumed_rows is not None and "reprojection" in rows:
        some = rows["reprojection"]
        whitener = root.new_zeros(len(root), inverse.shape[1], root.shape[2])  # of all unknowns: L^-1 with gaps
        whitener[:, :, places] = inverse
        leverage = torch.linalg.vector_norm(root[:, some] @ whitener.mT, dim=-1).square()
        squares = weight[:, some] * lin.residuals[:, some].square()
        noise = noise_variance(squares, lin.weights[:, some] - leverage, problem.model.names, variances.assumed_rows)
        root[:, some] *= noise.rsqrt()[..., None]
        inverse = _inverse_factor(gauss_newton(root, lin.diagonal_slope)[:, places][:, :, places])
    return Posterior(inverse, places)


def noise_variance(
    squares: Float[Tensor, "B R"], freedom: Float[Tensor, "B R"], names: tuple[str, ...], assumed_rows: float
) -> Float[Tensor, "B R"]:
    """Variance of keypoint errors in units of the assumed one, for each row of the reprojection.

    The sum of squared residuals over their degrees of freedom. Landmarks of the body, hands and face have one each.

    Args:
        squares: weighted squared residuals.
        freedom: the weight of each residual less its leverage (the diagonal of J H^-1 J^T W): summed up, how many
            residuals there are less the unknowns that they determine.
        names: of the landmarks, two rows each.
        assumed_rows: as in `Variances`.
    """
    parts = keypoint_parts(names, squares)
    return variance_of(squares @ parts, freedom @ parts, assumed_rows) @ parts.T


def variance_of(
    squares: Float[Tensor, "*B P"], freedom: Float[Tensor, "*B P"], assumed_rows: float
) -> Float[Tensor, "*B P"]:
    """Variance of keypoint errors of each part, in units of the assumed one: see `noise_variance`, whose arguments are
    summed up over each part here."""
    return (squares + assumed_rows) / (freedom.clamp_min(0) + assumed_rows)


def keypoint_parts(names: tuple[str, ...], like: Tensor) -> Float[Tensor, "R P"]:
    """1 where a row of the reprojection belongs to a part."""
    hands, body = {*LEFT_HAND, *RIGHT_HAND}, set(BODY)
    part = [0 if LANDMARK_INDEX[n] in body else 1 if LANDMARK_INDEX[n] in hands else 2 for n in names]
    return torch.eye(PARTS, dtype=like.dtype, device=like.device)[part].repeat_interleave(2, 0)


def _inverse_factor(hessian: Float[Tensor, "B F F"]) -> Float[Tensor, "B F F"]:
    """Inverse of the Cholesky factors, NaN where there are none.

    In single precision the decoder's rare singular poses make H numerically indefinite: diagonals are scaled to one,
    and a few rounding errors are added to them.
    """
    scale = hessian.diagonal(dim1=1, dim2=2).clamp_min(torch.finfo(hessian.dtype).tiny).rsqrt()
    matrix = hessian.mul_(scale[:, :, None]).mul_(scale[:, None, :])
    matrix.diagonal(dim1=1, dim2=2).add_(16 * torch.finfo(hessian.dtype).eps)
    factor, info = torch.linalg.cholesky_ex(matrix)
    eye = torch.diag_embed(scale)  # (S L)^-1 = L^-1 S^-1
    inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
    return inverse.masked_fill_((info != 0)[:, None, None], torch.nan)


class PointCovariance:
    """Covariances of points of the body: joints and other landmarks.

    Args:
        unknowns: what they depend on.
        model: the points; the first one is the pelvis.
    """

    def __init__(self, unknowns: Unknowns, model: LandmarkModel):
        self.unknowns, self.model = unknowns, model
        self.rotation_jacobian = RotationJacobian(unknowns, model, each=3)

    def jacobian(self, at: Evaluation) -> Float[Tensor, "B K 3 D"]:
        """Derivative of the points, camera frame, m, in all unknowns.

        Args:
            at: people posed by whatever landmarks, with derivatives.
        """
        unknowns, x = self.unknowns, at.x
        transl = x[:, unknowns.layout["transl"]]
        state = self.model(unknowns.rotations(x, at.body), unknowns.shape(x), transl)
        out = x.new_zeros(len(x), len(self.model.names), 3, x.shape[1])
        write_point_jacobian(unknowns, self.rotation_jacobian, replace(at, points=state.points, state=state), out)
        return out

    def __call__(
        self, posterior: Posterior, at: Evaluation
    ) -> tuple[Float[Tensor, "B K 3 3"], Float[Tensor, "B K 3 3"]]:
        """Covariance of each point in the camera frame, and of its position relative to the pelvis, m^2."""
        whitened = self.whitened(posterior, at)
        relative = whitened - whitened[:, :1]
        return whitened @ whitened.mT, relative @ relative.mT

    def whitened(self, posterior: Posterior, at: Evaluation) -> Float[Tensor, "B K 3 F"]:
        """W of each point: W_j W_k^T is the covariance between points j and k."""
        return posterior.whiten(self.jacobian(at).flatten(1, 2)).unflatten(1, (-1, 3))
