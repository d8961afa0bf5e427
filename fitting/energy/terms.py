"""The terms of the energy. A term gives its rows: residuals, their Jacobian, their weights and their robust scale.

A residual of one is one typical error, so squares add up to a cost without further factors. A problem is a list of
terms (`problem.Problem`): fits to photos, inverse kinematics, SMPLify-X's energy and the plain reference are different
lists of the terms below. To add one: write a class here, add it to a list (`config.energy_terms`), and give it a case
in the tests, which compare its Jacobian with automatic differentiation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import Kinematics, LandmarkState
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.projection import NEAREST_M, projection_jacobian
from bodyfit.fitting.energy.so3 import inverse_left_jacobian
from bodyfit.fitting.energy.stature import Stature
from bodyfit.fitting.energy.unknowns import Unknowns


@dataclass(eq=False)
class Evaluation:
    """A batch of people at given unknowns: everything that terms are computed from."""

    x: Float[Tensor, "B D"]
    items: Int[Tensor, " B"]
    """Which people of the problem these are."""
    body: Float[Tensor, "B 21 3 3"]
    """Rotations of the body joints."""
    points: Float[Tensor, "B K 3"]
    """The posed landmarks, m."""
    seen: Observations | None = None
    """What is known of these people; None for problems without a camera, like the next two."""
    focal_px: Float[Tensor, " B"] | None = None
    points_px: Float[Tensor, "B K 2"] | None = None
    kinematics: Kinematics | None = None
    """The posed joints, without the translation."""
    state: LandmarkState | None = None
    """The landmarks' derivatives; None, like the next two, where only costs are wanted."""
    tangent: Float[Tensor, "B 21 3 Z"] | None = None
    """Derivative of the body joints' rotations in the latent, see `decoder_tangent.decode_with_tangent`."""
    left_jacobians: Float[Tensor, "B T 3 3"] | None = None
    """Of root, jaw and fingers, see `Unknowns.direct_rotations`."""
    residuals: dict[Term, Float[Tensor, "B M"]] = field(default_factory=dict)
    """Of the terms before the present one."""
    jacobians: dict[Term, Float[Tensor, "B M D"]] = field(default_factory=dict)
    """The same."""
    kept: dict[Term, Any] = field(default_factory=dict)
    """What a term found here and needs again."""


class Term:
    """One term of the energy.

    Attributes:
        name: what its rows are found by in `Problem.rows`.
        rows: how many residuals it has per person.
    """

    name: str
    rows: int

    def residuals(self, at: Evaluation) -> Float[Tensor, "B M"]:
        """Its residuals, in units of a typical error."""
        raise NotImplementedError

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B M D"]) -> None:
        """Write the derivative of the residuals in the unknowns into `out`, which is zero."""
        raise NotImplementedError

    def weights(self, at: Evaluation) -> Float[Tensor, "B M"] | None:
        """How much the loss of each residual counts; None: 1."""
        return None

    def robust_scale(self, at: Evaluation) -> Float[Tensor, "#B M"] | None:
        """Geman-McClure scale of each residual; None: plain squares."""
        return None


class Reprojection(Term):
    """Distance from each detected keypoint to its projected landmark, per image axis.

    Args:
        unknowns, rotation_jacobian: what the landmarks depend on.
        landmark_weights: trust in each landmark, on top of the keypoint's own weight.
        sigma_share: expected keypoint error, as a share of the person's size in the image.
        robust_sigmas: Geman-McClure scale in units of that error.
        robust_px: the same in pixels; it counts where it is given.
    """

    name = "reprojection"

    def __init__(
        self,
        unknowns: Unknowns,
        rotation_jacobian: RotationJacobian,
        landmark_weights: Float[Tensor, " K"],
        *,
        sigma_share: float,
        robust_sigmas: float = torch.inf,
        robust_px: float | None = None,
    ):
        self.unknowns, self.rotation_jacobian = unknowns, rotation_jacobian
        self.landmark_weights, self.sigma_share = landmark_weights, sigma_share
        self.robust_sigmas, self.robust_px = robust_sigmas, robust_px
        self.rows = 2 * len(landmark_weights)
        self._scale = landmark_weights.new_full((1, self.rows), robust_sigmas)

    def residuals(self, at: Evaluation) -> Float[Tensor, "B M"]:
        """(projected - detected) / expected error; 0 where unseen, infinite where a seen point is behind the camera."""
        rows = (at.points_px - at.seen.targets_px) / self._unit_px(at)[:, None, None]
        behind = (at.points[..., 2] < NEAREST_M) & (at.seen.weights > 0)
        rows = rows.masked_fill((at.seen.weights == 0)[..., None], 0).masked_fill(behind[..., None], torch.inf)
        return rows.flatten(1)

    def weights(self, at: Evaluation) -> Float[Tensor, "B M"]:
        """The keypoint's weight times the landmark's, for both axes."""
        return self.point_weights(at.seen).repeat_interleave(2, 1)

    def point_weights(self, seen: Observations) -> Float[Tensor, "B K"]:
        """One per keypoint."""
        return seen.weights * self.landmark_weights

    def robust_scale(self, at: Evaluation) -> Float[Tensor, "#B M"]:
        """In units of the expected error."""
        if self.robust_px is None:
            return self._scale
        return (self.robust_px / self._unit_px(at))[:, None].expand(-1, self.rows)

    def given_up(self, at: Evaluation) -> Float[Tensor, " B"]:
        """Share of a person's keypoints, by weight, that are farther off than the robust scale: they hardly pull."""
        distance = self.residuals(at).unflatten(1, (-1, 2)).norm(dim=2)
        scale = self.robust_scale(at)[:, ::2]
        weights = self.point_weights(at.seen)
        return (weights * (distance > scale)).sum(1) / weights.sum(1).clamp_min(torch.finfo(weights.dtype).tiny)

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B M D"]) -> None:
        """Each projected point's derivative in all unknowns, chained through the camera."""
        layout, state, unit = self.unknowns.layout, at.state, self._unit_px(at)
        out = out.unflatten(1, (-1, 2))
        visible = (at.seen.weights > 0).to(unit.dtype)
        slope = projection_jacobian(at.points, at.focal_px / unit) * visible[..., None, None]  # (B, K, 2, 3)
        out[..., layout["transl"]] = slope
        moved = state.shape_jacobian
        # Rows are (f/z, 0, -f x/z^2) and (0, f/z, -f y/z^2): what moves across, and what moves along the axis.
        across = slope[:, :, 0, 0, None, None] * moved[:, :, :2]
        out[..., layout.span("betas", "expression")] = torch.addcmul(across, slope[..., 2:], moved[:, :, 2:])
        by_focal = (at.points_px - at.seen.center_px[:, None]) / unit[:, None, None] * visible[..., None]
        out[..., layout["log_focal"]] = by_focal[..., None]
        levers = state.levers.transpose(0, 1)[:, :, None]
        by_rotation = torch.linalg.cross(levers, slope.index_select(1, self.rotation_jacobian.landmark_of_lever))
        self.rotation_jacobian.write(out, by_rotation, state, at.tangent, at.left_jacobians)
        if state.correctives is not None:
            self.rotation_jacobian.add_correctives(out, state.correctives, at.tangent, at.left_jacobians, slope)

    def _unit_px(self, at: Evaluation) -> Float[Tensor, " B"]:
        return self.sigma_share * at.seen.size_px


class RelativeReprojection(Term):
    """Reprojection of some landmarks relative to an anchor: fingers to their wrist, the face to the nose.

    It is linear in the residuals of the reprojection, which must come before it in the list.
    """

    def __init__(self, reprojection: Reprojection, anchor: int, members: Int[Tensor, " M"], weight: float, name: str):
        self.reprojection, self.anchor, self.members, self.weight = reprojection, anchor, members, weight
        self.name, self.rows = name, 2 * len(members)

    def residuals(self, at: Evaluation) -> Float[Tensor, "B M"]:
        """The members' residuals less the anchor's."""
        return self._relative(at.residuals[self.reprojection])

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B M D"]) -> None:
        """The same difference of the reprojection's Jacobian."""
        out.copy_(self._relative(at.jacobians[self.reprojection]))

    def weights(self, at: Evaluation) -> Float[Tensor, "B M"]:
        """Those of the members, 0 where the anchor is unseen."""
        point = self.reprojection.point_weights(at.seen)
        seen_anchor = point[:, self.anchor : self.anchor + 1] > 0
        return (point.index_select(1, self.members) * seen_anchor * self.weight).repeat_interleave(2, 1)

    def robust_scale(self, at: Evaluation) -> Float[Tensor, "#B M"]:
        """That of the reprojection."""
        return self.reprojection.robust_scale(at)[:, : self.rows]

    def _relative(self, rows: Float[Tensor, "B R *rest"]) -> Float[Tensor, "B M *rest"]:
        pairs = rows.unflatten(1, (-1, 2))
        return (pairs.index_select(1, self.members) - pairs[:, self.anchor : self.anchor + 1]).flatten(1, 2)


class PointDistance(Term):
    """Distance from each known 3D point to its landmark, per axis: the data term of inverse kinematics.

    Args:
        targets: the points, m.
        point_weights: trust in each; 0 where a point is not known.
        sigma_m: their expected error, m.
        robust_sigmas: Geman-McClure scale in units of that error.
    """

    name = "points"

    def __init__(
        self,
        unknowns: Unknowns,
        rotation_jacobian: RotationJacobian,
        targets: Float[Tensor, "N K 3"],
        point_weights: Float[Tensor, "N K"],
        *,
        sigma_m: float,
        robust_sigmas: float = torch.inf,
    ):
        self.unknowns, self.rotation_jacobian, self.sigma_m = unknowns, rotation_jacobian, sigma_m
        self.targets, self.point_weights = targets, point_weights
        self.rows = 3 * targets.shape[1]
        self._scale = targets.new_full((1, self.rows), robust_sigmas)

    def residuals(self, at: Evaluation) -> Float[Tensor, "B M"]:
        """(landmark - point) / expected error; 0 where the point is not known."""
        rows, unknown = (at.points - self.targets[at.items]) / self.sigma_m, self.point_weights[at.items] == 0
        return rows.masked_fill(unknown[..., None], 0).flatten(1)

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B M D"]) -> None:
        """That of the points."""
        out = out.unflatten(1, (-1, 3))
        write_point_jacobian(self.unknowns, self.rotation_jacobian, at, out)
        known = (self.point_weights[at.items] > 0).to(out.dtype)
        out.mul_(known[..., None, None] / self.sigma_m)

    def weights(self, at: Evaluation) -> Float[Tensor, "B M"]:
        """The point's, for its three axes."""
        return self.point_weights[at.items].repeat_interleave(3, 1)

    def robust_scale(self, at: Evaluation) -> Float[Tensor, "#B M"]:
        """The same for all."""
        return self._scale


class LatentGaussian(Term):
    """The pose prior as a Gaussian in the latent space: L^-1 (z - mean), for a covariance L L^T.

    Args:
        columns: the latent's among the unknowns.
        mean: of the aggregate posterior; None: each person's own predicted pose (`Observations.predicted`).
        whitener: L^-1.
    """

    name = "pose_prior"

    def __init__(self, columns: slice, mean: Float[Tensor, " Z"] | None, whitener: Float[Tensor, "Z Z"]):
        self.columns, self.mean, self.whitener = columns, mean, whitener
        self.rows = len(whitener)

    def residuals(self, at: Evaluation) -> Float[Tensor, "B Z"]:
        """Standard deviations along the covariance's axes."""
        mean = at.seen.predicted.mean if self.mean is None else self.mean
        return (at.x[:, self.columns] - mean) @ self.whitener.T

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B Z D"]) -> None:
        """The whitener."""
        out[..., self.columns] = self.whitener


def write_point_jacobian(
    unknowns: Unknowns,
    rotation_jacobian: RotationJacobian,
    at: Evaluation,
    out: Float[Tensor, "B K E D"],
    through: Float[Tensor, "B K E 3"] | None = None,
) -> None:
    """Write the derivative of the landmarks' positions into `out`, which is zero: d p = omega x lever for each joint's
    small rotation omega.

    Args:
        unknowns: what the landmarks depend on.
        rotation_jacobian: of the same landmarks, or of some of them, with E numbers each.
        at: with derivatives.
        out: of the first D unknowns, whole blocks of them.
        through: d (E numbers of a landmark) / d (its position); None: the numbers are the position's own.
    """
    layout, state, some = unknowns.layout, at.state, rotation_jacobian.some
    moved = state.shape_jacobian if some is None else state.shape_jacobian.index_select(1, some)
    levers = state.levers if some is None else state.levers.index_select(0, rotation_jacobian.levers)
    shape = slice(layout["betas"].start, min(layout["expression"].stop, out.shape[-1]))
    moved, levers = moved[..., : shape.stop - shape.start], levers.transpose(0, 1)
    if through is None:
        axes = torch.eye(3, dtype=out.dtype, device=out.device)
        out[..., layout["transl"]], out[..., shape] = axes, moved
        # Row c of the matrix -[lever]_x is lever x e_c: one product with numbers that are 0, 1 and -1.
        turned = torch.linalg.cross(axes[:, None].expand(3, 3, 3), axes.expand(3, 3, 3)).flatten(1)
        by_rotation = (levers @ turned).unflatten(-1, (3, 3))
    else:
        out[..., layout["transl"]] = through
        # By axes: products of small matrices one by one take several times as long.
        along = through[..., :1] * moved[:, :, None, 0]
        along = torch.addcmul(along, through[..., 1:2], moved[:, :, None, 1])
        out[..., shape] = along.addcmul_(through[..., 2:], moved[:, :, None, 2])
        by_rotation = torch.linalg.cross(
            levers[:, :, None], through.index_select(1, rotation_jacobian.landmark_of_lever)
        )
    rotation_jacobian.write(out, by_rotation, state, at.tangent, at.left_jacobians)
    if state.correctives is not None:
        rotation_jacobian.add_correctives(out, state.correctives, at.tangent, at.left_jacobians, through)


BENDING_JOINTS = ("left_elbow", "right_elbow", "left_knee", "right_knee")
BENDING_AXES = (1, 1, 0, 0)  # elbows bend about y, knees about x
BENDING_SIGNS = (1.0, -1.0, -1.0, -1.0)  # exp(sign * angle) grows where the joint bends the wrong way


class Bending(Term):
    """Elbows and knees bent the wrong way: exp(sign * angle), whose square SMPLify (Bogo et al. 2016) adds up."""

    name, rows = "bending", len(BENDING_JOINTS)

    def __init__(self, unknowns: Unknowns, sigma: float, like: Tensor):
        self.columns, self.sigma = unknowns.layout["latent"], sigma
        self.joints = torch.tensor([unknowns.names.index(n) - 1 for n in BENDING_JOINTS], device=like.device)
        self.signs = like.new_tensor(BENDING_SIGNS)
        self.axes = torch.eye(3, dtype=like.dtype, device=like.device)[list(BENDING_AXES)]

    def residuals(self, at: Evaluation) -> Float[Tensor, "B 4"]:
        """exp(sign * angle) / sigma; the angle is a component of the joint's axis-angle."""
        return torch.exp(self.signs * (self._rotvec(at) * self.axes).sum(-1)) / self.sigma

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B 4 D"]) -> None:
        """The angle's derivative in small rotations of the joint (inverse left Jacobian), chained with the decoder."""
        by_rotation = (self.axes[:, None] @ inverse_left_jacobian(self._rotvec(at)))[..., 0, :]  # (B, 4, 3)
        slope = (by_rotation[..., None, :] @ at.tangent[:, self.joints])[..., 0, :]  # (B, 4, Z)
        out[..., self.columns] = (self.residuals(at) * self.signs)[..., None] * slope

    def _rotvec(self, at: Evaluation) -> Float[Tensor, "B 4 3"]:
        return roma.rotmat_to_rotvec(at.body[:, self.joints])


class Gaussian(Term):
    """Independent Gaussians on some unknowns: shape, expression, jaw, hands, focal length, depth, the unit pose prior.

    Args:
        columns: the unknowns.
        sigma: their standard deviations.
        mean: for all people (n,), or for each of them (N, n).
        curvature: added to these unknowns' diagonal of the Hessian, where residuals bend so much that Gauss-Newton
            steps overshoot. It changes the path of the solver, not the minimum.

    Each residual depends on one unknown. `Problem` makes use of that: the Jacobian is kept as a diagonal.
    """

    def __init__(
        self,
        name: str,
        columns: slice,
        sigma: Float[Tensor, " n"],
        mean: Float[Tensor, "*N n"] | None = None,
        curvature: Float[Tensor, " n"] | None = None,
    ):
        self.name, self.columns, self.sigma, self.curvature = name, columns, sigma, curvature
        self.mean = torch.zeros_like(sigma) if mean is None else mean
        self.rows = len(sigma)

    def residuals(self, at: Evaluation) -> Float[Tensor, "B n"]:
        """Standard deviations from the mean."""
        mean = self.mean[at.items] if self.mean.dim() == 2 else self.mean
        return (at.x[:, self.columns] - mean) / self.sigma

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B n D"]) -> None:
        """1 / sigma on the diagonal."""
        out[..., self.columns] = torch.diag(1 / self.sigma)


class KnownStature(Term):
    """(stature - height) / sigma.

    Args:
        columns: the shape numbers among the unknowns.
        stature: of the same body.
        height_m: the known height.
        sigma_m: how exactly it is to be reached.
    """

    name, rows = "stature", 1

    def __init__(self, columns: slice, stature: Stature, height_m: float, sigma_m: float):
        self.columns, self.stature, self.height_m, self.sigma_m = columns, stature, height_m, sigma_m

    def residuals(self, at: Evaluation) -> Float[Tensor, "B 1"]:
        """In units of sigma."""
        return (self.stature(at.x[:, self.columns])[0] - self.height_m)[:, None] / self.sigma_m

    def jacobian(self, at: Evaluation, out: Float[Tensor, "B 1 D"]) -> None:
        """That of the stature."""
        out[:, 0, self.columns] = self.stature(at.x[:, self.columns])[1] / self.sigma_m
