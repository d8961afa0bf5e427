"""Fitting people as a least-squares problem: unknowns, residuals of all terms, and their analytic Jacobian.

A person's unknowns are in `unknowns`. Stages of a fit are weights and masks on this one problem.
"""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.landmarks import BODY, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND
from bodyfit.fitting.energy import residuals as terms
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel, LandmarkState
from bodyfit.fitting.energy.levenberg_marquardt import Linearization, total_cost
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.projection import NEAREST_M, project, projection_jacobian, solve_translation
from bodyfit.fitting.energy.unknowns import Layout, Unknowns
from bodyfit.prior.model.vposer import VPoser

# Cost per squared radian that steps of fingers are held back by. Gauss-Newton leaves out how the residuals bend, and
# for fingers that point towards the camera that is most of the curvature: their steps went too far, back and forth.
# It changes the way, not the minimum.
FINGER_CURVATURE = 1.0


@dataclass(frozen=True)
class EnergyConfig:
    """Weights of the energy's terms. Standard deviations are what one expects; weights are what one trusts."""

    sigma_share: float = 0.008
    """Expected keypoint error as a share of the person's size in the image: the unit of the reprojection residuals."""
    robust_sigmas: float = 6.0
    """Geman-McClure scale of the reprojection residuals, in those units; inf for plain squares."""
    robust_px: float | None = None
    """Geman-McClure scale in pixels instead, whatever the person's size, as in SMPLify-X."""
    body: float = 1.0
    """Weight of body points."""
    hands: float = 2.0
    """Weight of finger joints and tips."""
    face: float = 0.3
    """Weight of face points."""
    relative_hands: float = 0.0
    """Weight of finger points relative to their wrist."""
    relative_face: float = 0.0
    """Weight of face points relative to the nose."""
    pose_prior: str = "predicted"
    """The latent's prior: "unit" normal; "mahalanobis": under the prior's aggregate posterior; "predicted": under what
    the start network expects of each person's keypoints, and like "mahalanobis" where there is no such network."""
    latent_sigma: float = 1.0
    """Standard deviation of the unit and the aggregate pose prior, in their own units."""
    predicted_sigma: float = 1.2
    """Standard deviation of the predicted pose, in that of the network's errors; more than 1, as the keypoints that it
    was predicted from count in the reprojection, too."""
    betas_sigma: float = 1.0
    """Standard deviation of the shape numbers."""
    expression_sigma: float = 1.0
    """Standard deviation of the expression numbers."""
    jaw_sigma: float = 0.15
    """Standard deviation of the jaw's opening, rad."""
    jaw_sideways_sigma: float = 0.15
    """Standard deviation of the jaw's other two rotations, rad."""
    hand_sigma: float = 1.0
    """Standard deviation of the hands' numbers, in those of their principal components."""
    hand_components: int = 12
    """Principal components a hand."""
    bending_sigma: float = float("inf")
    """The smaller, the more elbows and knees that bend the wrong way cost, as in SMPLify; inf switches the term off:
    under our prior it changes nothing."""
    log_focal_sigma: float = 0.15
    """Standard deviation of log(focal / guess) where the focal length is refined."""
    depth_sigma_m: float = float("inf")
    """Standard deviation, m, of the distance about the one that the problem is given as expected; inf: no such term."""
    softness: float = 0.0
    """Width over which the kinks of the decoder's activations are rounded at least; 0: the decoder as it is. For
    decoders that have kinks, the solver goes most of the way on a rounded one."""


class BodyProblem:
    """Residuals and Jacobian for `levenberg_marquardt.minimise`.

    Args:
        unknowns, model: unknowns and landmarks.
        prior: the pose prior.
        observations: the people.
        energy: weights of the terms.
        expected_depth_m: distances that `energy.depth_sigma_m` is about.
        rotation_jacobian: of the same unknowns and model, where there is one already: it takes 4 ms to build.
    """

    def __init__(
        self,
        unknowns: Unknowns,
        model: LandmarkModel,
        prior: VPoser,
        observations: Observations,
        energy: EnergyConfig,
        *,
        expected_depth_m: Float[Tensor, " B"] | None = None,
        rotation_jacobian: RotationJacobian | None = None,
    ):
        self.expected_depth_m = expected_depth_m
        self.unknowns, self.model, self.energy, self.observations = unknowns, model, energy, observations
        self.part_weight = _part_weights(model, energy)
        self.rotation_jacobian = rotation_jacobian or RotationJacobian(unknowns, model)
        self._build_priors(prior)
        self._build_relative()
        self._build_rows()

    def _build_priors(self, prior: VPoser) -> None:
        energy, layout, to = self.energy, self.unknowns.layout, {"dtype": self.model.dtype, "device": self.model.device}
        sigma, self.curvature = torch.full((layout.size,), torch.inf, **to), torch.zeros(layout.size, **to)
        for name in ("betas", "expression"):
            sigma[layout[name]] = getattr(energy, f"{name}_sigma")
        if self.unknowns.has_jaw:
            sigma[layout["jaw_pose"]] = torch.tensor([energy.jaw_sigma] + [energy.jaw_sideways_sigma] * 2, **to)
        sigma[layout["log_focal"]] = energy.log_focal_sigma
        sigma[layout["transl"].stop - 1] = energy.depth_sigma_m if self.expected_depth_m is not None else torch.inf
        for side, (_, _, basis) in self.unknowns.hands.items():
            # Components are not of one size in all files: the prior is on the angles they make.
            angle = basis.norm(dim=1).clamp_min(1e-6)
            sigma[layout[f"{side}_hand"]] = energy.hand_sigma / angle
            self.curvature[layout[f"{side}_hand"]] = FINGER_CURVATURE * angle**2
        self.latent_mean, self.whitener = torch.zeros(layout["latent"].stop - layout["latent"].start, **to), None
        if energy.pose_prior == "predicted" and self.observations.predicted is not None:
            self.latent_mean = None  # each person's own
            self.whitener = self.observations.predicted.whitener / energy.predicted_sigma
        elif energy.pose_prior in ("predicted", "mahalanobis"):
            self.latent_mean = prior.latent_mean.to(**to)
            factor = torch.linalg.cholesky(prior.latent_covariance.double())
            self.whitener = torch.linalg.inv(factor).to(**to) / energy.latent_sigma
        elif energy.pose_prior == "unit":
            sigma[layout["latent"]] = energy.latent_sigma
        else:
            raise ValueError(f"pose_prior must be 'unit', 'mahalanobis' or 'expected', got {energy.pose_prior!r}")
        self.prior_sigma, self.prior_slope = sigma, 1 / sigma
        names = self.unknowns.names
        self.bending_joints = torch.tensor([names.index(n) - 1 for n in terms.BENDING_JOINTS], device=to["device"])
        self.bending_signs = torch.tensor(terms.BENDING_SIGNS, **to)
        self.bending_axes = torch.eye(3, **to)[list(terms.BENDING_AXES)]

    def _build_relative(self) -> None:
        """(anchor, members, weight) of the root-relative terms in use."""
        index = {name: k for k, name in enumerate(self.model.names)}
        parts = [("left_wrist", LEFT_HAND, "relative_hands"), ("right_wrist", RIGHT_HAND, "relative_hands")]
        face = [i for i in range(76, len(LANDMARK_NAMES))]
        self.relative: dict[str, tuple[int, Tensor, float]] = {}
        for anchor, part, weight in [*parts, ("nose", face, "relative_face")]:
            members = [index[LANDMARK_NAMES[i]] for i in part if LANDMARK_NAMES[i] in index]
            if getattr(self.energy, weight) > 0 and anchor in index and members:
                rows = torch.tensor(members, device=self.model.device)
                self.relative[anchor] = (index[anchor], rows, getattr(self.energy, weight))

    def _build_rows(self) -> None:
        """Where each term's residuals stand among the rows."""
        sizes = {"reprojection": 2 * len(self.model.names)}
        sizes |= {anchor: 2 * len(members) for anchor, (_, members, _) in self.relative.items()}
        if self.energy.bending_sigma != torch.inf:
            sizes["bending"] = len(terms.BENDING_JOINTS)
        if self.whitener is not None:
            sizes["pose_prior"] = len(self.whitener)
        self.rows = Layout(sizes)

    def focal(self, x: Float[Tensor, "B D"], focal_px: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        return focal_px * x[:, self.unknowns.layout["log_focal"]].squeeze(1).exp()

    def landmarks(self, x: Float[Tensor, "B D"]) -> LandmarkState:
        """Landmarks only, no derivatives."""
        rotations = self.unknowns.rotations(x, self.unknowns.decode(x, self.energy.softness))
        return self.model(rotations, self.unknowns.shape(x), x[:, self.unknowns.layout["transl"]], derivatives=False)

    def costs(self, x: Float[Tensor, "B D"], items: Int[Tensor, " B"] | None = None) -> Float[Tensor, " B"]:
        """Cost at x for the people `items`, all in their order where None: what `total_cost(evaluate(x, items))` is, at
        a sixth of its price."""
        items = torch.arange(len(x), device=x.device) if items is None else items
        body = self.unknowns.decode(x, self.energy.softness)
        rotations, transl = self.unknowns.rotations(x, body), x[:, self.unknowns.layout["transl"]]
        points = self.model(rotations, self.unknowns.shape(x), transl, derivatives=False).points
        return self._cost_of(x, items, points, self.observations.select(items), body)

    def _cost_of(self, x, items, points, seen, body) -> Float[Tensor, " B"]:
        pixels, _ = self._reprojection_rows(points, self.focal(x, seen.focal_px), seen)
        return total_cost(self._linearization(x, items, pixels, seen, body, None))

    def placed(self, x: Float[Tensor, "B D"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, " B"]]:
        """Everyone's x with the translation of the linear solve (`projection.solve_translation`), and its cost."""
        x, block, seen = x.clone(), self.unknowns.layout["transl"], self.observations
        body = self.unknowns.decode(x, self.energy.softness)
        rotations, origin = self.unknowns.rotations(x, body), torch.zeros_like(x[:, block])
        points = self.model(rotations, self.unknowns.shape(x), origin, derivatives=False).points
        weights = seen.weights * self.part_weight
        transl = solve_translation(points, seen.targets_px, weights, seen.focal_px, seen.center_px)
        x[:, block] = transl
        return x, self._cost_of(x, torch.arange(len(x), device=x.device), points + transl[:, None], seen, body)

    def _reprojection_rows(self, points, focal, seen) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K 2"]]:
        """Residuals (infinite where a seen point is behind the camera, zero where unseen) and projected pixels."""
        points_px = project(points, focal, seen.center_px)
        rows = terms.reprojection(points_px, seen.targets_px, self.energy.sigma_share * seen.size_px)
        behind = (points[..., 2] < NEAREST_M) & (seen.weights > 0)
        return rows.masked_fill((seen.weights == 0)[..., None], 0).masked_fill(behind[..., None], torch.inf), points_px

    def evaluate(self, x: Float[Tensor, "B D"], items: Int[Tensor, " B"]) -> Linearization:
        """All residuals and their Jacobian at x, for the people `items`."""
        seen, layout = self.observations.select(items), self.unknowns.layout
        body, tangent = self.unknowns.decode_with_tangent(x, self.energy.softness)
        turns, slopes = self.unknowns.turns(x)
        state = self.model(self.unknowns.joined(turns, body), self.unknowns.shape(x), x[:, layout["transl"]])
        focal = self.focal(x, seen.focal_px)
        pixels, points_px = self._reprojection_rows(state.points, focal, seen)
        jacobian = x.new_zeros(len(x), self.rows.size, layout.size)
        of_pixels = jacobian[:, self.rows["reprojection"]].unflatten(1, (-1, 2))
        self._reprojection_jacobian(of_pixels, state, tangent, slopes, focal, seen, points_px)
        for anchor, (place, members, _) in self.relative.items():
            jacobian[:, self.rows[anchor]] = terms.relative(of_pixels, place, members).flatten(1, 2)
        if "bending" in self.rows.slices:
            jacobian[:, self.rows["bending"], layout["latent"]] = self._bending_jacobian(body, tangent)
        if self.whitener is not None:
            jacobian[:, self.rows["pose_prior"], layout["latent"]] = self.whitener
        return self._linearization(x, items, pixels, seen, body, jacobian)

    def _reprojection_jacobian(self, jacobian, state, tangent, slopes, focal, seen, points_px) -> None:
        """Fill (B, K, 2, D): each projected point's derivative in all unknowns, in units of the residuals."""
        layout, visible = self.unknowns.layout, (seen.weights > 0).to(focal.dtype)
        unit = self.energy.sigma_share * seen.size_px
        slope = projection_jacobian(state.points, focal / unit) * visible[..., None, None]
        jacobian[..., layout["transl"]] = slope
        moved = state.shape_jacobian
        # Rows are (f/z, 0, -f x/z^2) and (0, f/z, -f y/z^2): what moves across, and what moves along the axis.
        across = slope[:, :, 0, 0, None, None] * moved[:, :, :2]
        shape = slice(layout["betas"].start, layout["expression"].stop)
        jacobian[..., shape] = torch.addcmul(across, slope[..., 2:], moved[:, :, 2:])
        by_focal = (points_px - seen.center_px[:, None]) / unit[:, None, None] * visible[..., None]
        jacobian[..., layout["log_focal"]] = by_focal[..., None]
        levers = state.levers.transpose(0, 1)[:, :, None]
        turning = torch.linalg.cross(levers, slope.index_select(1, self.rotation_jacobian.landmark_of_lever))
        self.rotation_jacobian.write(jacobian, turning, state, tangent, slopes)
        if state.correctives is not None:
            self.rotation_jacobian.add_correctives(jacobian, state.correctives, tangent, slopes, slope)

    def _linearization(self, x, items, pixels, seen, body, jacobian) -> Linearization:
        """All residuals with their weights and scales."""
        weight = seen.weights * self.part_weight
        residuals, weights = [pixels.flatten(1)], [weight.repeat_interleave(2, 1)]
        for place, members, share in self.relative.values():
            residuals.append(terms.relative(pixels, place, members).flatten(1))
            both = weight.index_select(1, members) * (weight[:, place : place + 1] > 0) * share
            weights.append(both.repeat_interleave(2, 1))
        robust = sum(r.shape[1] for r in residuals)
        if "bending" in self.rows.slices:
            residuals.append(self._bent(self._bending_rotvec(body)))
        if self.whitener is not None:
            mean = seen.predicted.mean if self.latent_mean is None else self.latent_mean
            residuals.append(terms.mahalanobis(x[:, self.unknowns.layout["latent"]], mean, self.whitener))
        plain = self.rows.size - robust
        weights.append(x.new_ones(len(x), plain))
        mean = torch.zeros_like(x)
        if self.expected_depth_m is not None:
            mean[:, self.unknowns.layout["transl"].stop - 1] = self.expected_depth_m[items]
        diagonal = terms.gaussian(x, mean, self.prior_sigma)
        slopes = self.prior_slope.expand_as(diagonal)
        scale = self._robust_scale(seen, robust, plain)
        rows, weights = torch.cat(residuals, 1), torch.cat(weights, 1)
        return Linearization(rows, jacobian, weights, scale, diagonal, slopes, self.curvature)

    def _robust_scale(self, seen, robust: int, plain: int) -> Float[Tensor, "#B M"]:
        """Geman-McClure scale of the reprojection's rows; infinite for the priors'."""
        like = seen.size_px
        if self.energy.robust_px is None:
            scale = like.new_full((1, robust), self.energy.robust_sigmas)
        else:
            scale = (self.energy.robust_px / (self.energy.sigma_share * like))[:, None].expand(-1, robust)
        return torch.cat([scale, scale.new_full((len(scale), plain), torch.inf)], dim=1)

    def _bending_rotvec(self, body: Float[Tensor, "B 21 3 3"]) -> Float[Tensor, "B 4 3"]:
        return roma.rotmat_to_rotvec(body[:, self.bending_joints])

    def _bent(self, rotvec: Float[Tensor, "B 4 3"]) -> Float[Tensor, "B 4"]:
        return terms.bending((rotvec * self.bending_axes).sum(-1), self.bending_signs) / self.energy.bending_sigma

    def _bending_jacobian(self, body, tangent) -> Float[Tensor, "B 4 Z"]:
        rotvec = self._bending_rotvec(body)
        slope = terms.bending_tangent(rotvec, tangent[:, self.bending_joints], self.bending_axes)
        return (self._bent(rotvec) * self.bending_signs)[..., None] * slope


def _part_weights(model: LandmarkModel, energy: EnergyConfig) -> Float[Tensor, " K"]:
    """The weight of each of the model's landmarks by its part: body, hands or face."""
    body, hands = {LANDMARK_NAMES[i] for i in BODY}, {LANDMARK_NAMES[i] for i in LEFT_HAND + RIGHT_HAND}
    weights = [energy.body if n in body else energy.hands if n in hands else energy.face for n in model.names]
    return torch.tensor(weights, dtype=model.dtype, device=model.device)
