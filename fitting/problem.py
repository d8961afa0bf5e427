"""Fitting people as a least-squares problem: unknowns, residuals of all terms, and their analytic Jacobian.

The unknowns of a person are a chart of SMPL-X's parameters: the body's pose is a latent number vector that the prior's
decoder turns into rotations, hands are a few principal components each. Stages of a fit are weights and masks on this
one problem.
"""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.data.body_model import BodyModel
from bodyfit.data.landmarks import BODY, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND
from bodyfit.fitting import residuals as terms
from bodyfit.fitting.camera import NEAREST_M, project, projection_jacobian
from bodyfit.fitting.chain_rule import ChainRule
from bodyfit.fitting.landmark_model import LandmarkModel, LandmarkState
from bodyfit.fitting.levenberg_marquardt import Linearization, total_cost
from bodyfit.fitting.observations import Observations
from bodyfit.fitting.rotations import left_jacobian
from bodyfit.prior.decoder_tangent import decode, decode_with_tangent
from bodyfit.prior.vposer import VPoser

NUM_BODY_JOINTS = 21


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
    pose_prior: str = "mahalanobis"
    """The latent's prior: "unit" normal, or "mahalanobis" under the prior's aggregate posterior."""
    latent_sigma: float = 1.0
    """Standard deviation of the pose prior, in its own units."""
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
    bending_sigma: float = 10.0
    """The smaller, the more elbows and knees that bend the wrong way cost; inf switches the term off."""
    log_focal_sigma: float = 0.15
    """Standard deviation of log(focal / guess) where the focal length is refined."""
    depth_sigma_m: float = float("inf")
    """Standard deviation, m, of the distance about the one that the problem is given as expected; inf: no such term."""
    softness: float = 0.0
    """Width over which the kinks of the decoder's activations are rounded; 0: the decoder as it is. The solver needs a
    tenth of the iterations where it first goes most of the way on a rounded decoder (0.1, then 0.03)."""


class Layout:
    """Where each block of unknowns stands. The same for unknowns and steps."""

    def __init__(self, sizes: dict[str, int]):
        self.slices: dict[str, slice] = {}
        at = 0
        for name, size in sizes.items():
            self.slices[name] = slice(at, at + size)
            at += size
        self.size = at

    def __getitem__(self, name: str) -> slice:
        return self.slices[name]

    def mask(self, *names: str) -> Bool[Tensor, " D"]:
        """True in the named blocks."""
        mask = torch.zeros(self.size, dtype=torch.bool)
        for name in names:
            mask[self.slices[name]] = True
        return mask


class Chart:
    """Unknowns of a body model under a prior, and how they become joint rotations."""

    def __init__(self, body: BodyModel, prior: VPoser, model: LandmarkModel, hand_components: int = 12):
        dtype, device = model.dtype, model.device
        self.layers = [
            (w.detach().to(device, dtype), b.detach().to(device, dtype), s) for w, b, s in prior.decoder_layers()
        ]
        self.names, self.body_name = tuple(body.joint_names), body.name
        self.has_hands, self.has_jaw = "left_index1" in self.names, "jaw" in self.names
        self.jaw = self.names.index("jaw") if self.has_jaw else None
        self.parents = torch.as_tensor(body.parents, dtype=torch.long, device=device)
        self.parent_rank = torch.as_tensor(model.level_rank[body.parents], dtype=torch.long, device=device)
        self.hands: dict[str, tuple[list[int], Tensor, Tensor]] = {}
        components = 0
        if self.has_hands:
            components = hand_components
            for side in ("left", "right"):
                first = self.names.index(f"{side}_index1")
                mean, basis = getattr(body, f"hand_mean_{side}"), getattr(body, f"hand_components_{side}")
                to = {"dtype": dtype, "device": device}
                joints = list(range(first, first + 15))
                self.hands[side] = joints, torch.as_tensor(mean, **to), torch.as_tensor(basis[:components], **to)
        self.num_betas, self.num_expression = body.shapedirs.shape[2], body.exprdirs.shape[2]
        self.layout = Layout(
            {
                "global_orient": 3,
                "transl": 3,
                "latent": prior.latent_dim,
                "betas": self.num_betas,
                "expression": self.num_expression,
                "jaw_pose": 3 if self.has_jaw else 0,
                "left_hand": components,
                "right_hand": components,
                "log_focal": 1,
            }
        )

    def hand_pose(self, x: Float[Tensor, "B D"], side: str) -> Float[Tensor, "B 45"]:
        """Axis-angle of the 15 joints of a hand, mean included."""
        _, mean, basis = self.hands[side]
        return mean + x[:, self.layout[f"{side}_hand"]] @ basis

    def rotations(self, x: Float[Tensor, "B D"], body: Float[Tensor, "B 21 3 3"]) -> Float[Tensor, "B J 3 3"]:
        """All joints' rotations, given the decoded body."""
        parts = [roma.rotvec_to_rotmat(x[:, None, self.layout["global_orient"]]), body]
        eye = torch.eye(3, dtype=x.dtype, device=x.device).expand(x.shape[0], 2, 3, 3)
        if self.has_jaw:
            parts += [roma.rotvec_to_rotmat(x[:, None, self.layout["jaw_pose"]]), eye]
        for side in self.hands:
            parts.append(roma.rotvec_to_rotmat(self.hand_pose(x, side).unflatten(1, (15, 3))))
        if not self.has_hands:
            parts.append(eye)
        return torch.cat(parts, dim=1)

    def decode(self, x: Float[Tensor, "B D"], softness: float = 0.0) -> Float[Tensor, "B 21 3 3"]:
        return decode(self.layers, x[:, self.layout["latent"]], softness)

    def shape(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B S"]:
        return x[:, self.layout["betas"].start : self.layout["expression"].stop]

    def retract(self, x: Float[Tensor, "B D"], step: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Take a step: the root's is a small rotation in the camera frame, all others add."""
        moved = x + step
        root = self.layout["global_orient"]
        moved[:, root] = roma.rotvec_composition([step[:, root], x[:, root]])
        return moved


class BodyProblem:
    """Residuals and Jacobian for `levenberg_marquardt.minimise`.

    The derivative of the pose correctives is left out (their value is in): it changes steps by about one part in a
    thousand and would cost more than all the rest.
    """

    def __init__(
        self,
        chart: Chart,
        model: LandmarkModel,
        prior: VPoser,
        observations: Observations,
        energy: EnergyConfig,
        *,
        expected_depth_m: Float[Tensor, " B"] | None = None,
    ):
        self.expected_depth_m = expected_depth_m
        self.chart, self.model, self.energy, self.observations = chart, model, energy, observations
        self.part_weight = _part_weights(model, energy)
        self.chains = {"latent": ChainRule(model, list(range(1, NUM_BODY_JOINTS + 1)))}
        if chart.has_jaw:
            self.chains["jaw_pose"] = ChainRule(model, [chart.jaw])
        for side, (joints, _, _) in chart.hands.items():
            self.chains[f"{side}_hand"] = ChainRule(model, joints)
        self.root_pairs = torch.as_tensor((model.pair_joint == 0).nonzero()[0], device=model.device)
        self.root_landmarks = torch.as_tensor(model.pair_landmark, device=model.device)[self.root_pairs]
        self.pair_landmark = torch.as_tensor(model.pair_landmark, device=model.device)
        self._build_priors(prior)
        self._build_relative()

    def _build_priors(self, prior: VPoser) -> None:
        energy, layout, to = self.energy, self.chart.layout, {"dtype": self.model.dtype, "device": self.model.device}
        sigma = torch.full((layout.size,), torch.inf, **to)
        for name in ("betas", "expression"):
            sigma[layout[name]] = getattr(energy, f"{name}_sigma")
        if self.chart.has_jaw:
            sigma[layout["jaw_pose"]] = torch.tensor([energy.jaw_sigma] + [energy.jaw_sideways_sigma] * 2, **to)
        sigma[layout["log_focal"]] = energy.log_focal_sigma
        sigma[layout["transl"].stop - 1] = energy.depth_sigma_m if self.expected_depth_m is not None else torch.inf
        for side, (_, _, basis) in self.chart.hands.items():
            # Components are not of one size in all files: the prior is on the angles they make.
            sigma[layout[f"{side}_hand"]] = energy.hand_sigma / basis.norm(dim=1).clamp_min(1e-6)
        self.latent_mean, self.whitener = torch.zeros(layout["latent"].stop - layout["latent"].start, **to), None
        if energy.pose_prior == "mahalanobis":
            self.latent_mean = prior.latent_mean.to(**to)
            factor = torch.linalg.cholesky(prior.latent_covariance.double())
            self.whitener = torch.linalg.inv(factor).to(**to) / energy.latent_sigma
        elif energy.pose_prior == "unit":
            sigma[layout["latent"]] = energy.latent_sigma
        else:
            raise ValueError(f"pose_prior must be 'unit' or 'mahalanobis', got {energy.pose_prior!r}")
        self.prior_slope = 1 / sigma
        names = self.chart.names
        self.bending_joints = torch.tensor([names.index(n) - 1 for n in terms.BENDING_JOINTS], device=to["device"])
        self.bending_signs = torch.tensor(terms.BENDING_SIGNS, **to)
        self.bending_axes = torch.eye(3, **to)[list(terms.BENDING_AXES)]

    def _build_relative(self) -> None:
        """(anchor, members, weight) of the root-relative terms in use."""
        index = {name: k for k, name in enumerate(self.model.names)}
        parts = [("left_wrist", LEFT_HAND, "relative_hands"), ("right_wrist", RIGHT_HAND, "relative_hands")]
        face = [i for i in range(76, len(LANDMARK_NAMES))]
        self.relative: list[tuple[int, Tensor, float]] = []
        for anchor, part, weight in [*parts, ("nose", face, "relative_face")]:
            members = [index[LANDMARK_NAMES[i]] for i in part if LANDMARK_NAMES[i] in index]
            if getattr(self.energy, weight) > 0 and anchor in index and members:
                rows = torch.tensor(members, device=self.model.device)
                self.relative.append((index[anchor], rows, getattr(self.energy, weight)))

    def focal(self, x: Float[Tensor, "B D"], focal_px: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        return focal_px * x[:, self.chart.layout["log_focal"]].squeeze(1).exp()

    def landmarks(self, x: Float[Tensor, "B D"]) -> LandmarkState:
        """Landmarks only, no derivatives."""
        rotations = self.chart.rotations(x, self.chart.decode(x, self.energy.softness))
        return self.model(rotations, self.chart.shape(x), x[:, self.chart.layout["transl"]], derivatives=False)

    def cost(self, x: Float[Tensor, "B D"], chunk: int = 512) -> Float[Tensor, " B"]:
        """Cost of everyone at x, without derivatives."""
        return torch.cat([self.costs(x[items], items) for items in torch.arange(len(x), device=x.device).split(chunk)])

    def costs(self, x: Float[Tensor, "B D"], items: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Cost at x for the people `items`: what `total_cost(evaluate(x, items))` is, at a sixth of its price."""
        seen = self.observations.select(items)
        body = self.chart.decode(x, self.energy.softness)
        rotations, transl = self.chart.rotations(x, body), x[:, self.chart.layout["transl"]]
        state = self.model(rotations, self.chart.shape(x), transl, derivatives=False)
        rows, _ = self._reprojection_rows(state, self.focal(x, seen.focal_px), seen)
        return total_cost(self._assemble(x, items, rows, None, seen, body, None))

    def _reprojection_rows(self, state, focal, seen) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K 2"]]:
        """Residuals (infinite where a seen point is behind the camera, zero where unseen) and projected pixels."""
        points_px = project(state.points, focal, seen.center_px)
        rows = terms.reprojection(points_px, seen.targets_px, self.energy.sigma_share * seen.size_px)
        behind = (state.points[..., 2] < NEAREST_M) & (seen.weights > 0)
        return rows.masked_fill((seen.weights == 0)[..., None], 0).masked_fill(behind[..., None], torch.inf), points_px

    def evaluate(self, x: Float[Tensor, "B D"], items: Int[Tensor, " B"]) -> Linearization:
        """All residuals and their Jacobian at x, for the people `items`."""
        seen, layout = self.observations.select(items), self.chart.layout
        body, tangent = decode_with_tangent(self.chart.layers, x[:, layout["latent"]], self.energy.softness)
        rotations = self.chart.rotations(x, body)
        state = self.model(rotations, self.chart.shape(x), x[:, layout["transl"]])
        focal = self.focal(x, seen.focal_px)
        unit = self.energy.sigma_share * seen.size_px
        rows, points_px = self._reprojection_rows(state, focal, seen)
        jacobian = self._reprojection_jacobian(x, state, tangent, focal, seen, unit, points_px)
        return self._assemble(x, items, rows, jacobian, seen, body, tangent)

    def _reprojection_jacobian(self, x, state, tangent, focal, seen, unit, points_px) -> Float[Tensor, "B K 2 D"]:
        layout, batch, count = self.chart.layout, x.shape[0], len(self.model.names)
        slope = projection_jacobian(state.points, focal) / unit[:, None, None, None]
        slope = slope * (seen.weights > 0)[..., None, None]
        jacobian = x.new_zeros(batch, count, 2, layout.size)
        jacobian[..., layout["transl"]] = slope
        shape = slice(layout["betas"].start, layout["expression"].stop)
        moved = state.shape_jacobian
        along = moved[:, :, 2]
        for axis in (0, 1):  # row (f/z, 0, -f x / z^2) and its like: two products, not three
            across = slope[:, :, axis, axis, None] * moved[:, :, axis]
            jacobian[:, :, axis, shape] = across + slope[:, :, axis, 2, None] * along
        seen_from_center = (points_px - seen.center_px[:, None]) / unit[:, None, None]
        jacobian[..., layout["log_focal"]] = (seen_from_center * (seen.weights > 0)[..., None])[..., None]
        by_turning = slope.transpose(0, 1).index_select(0, self.pair_landmark)  # (N, B, 2, 3)
        by_turning = torch.linalg.cross(state.levers[:, :, None].expand_as(by_turning), by_turning)
        jacobian[:, self.root_landmarks, :, layout["global_orient"]] = by_turning[self.root_pairs].transpose(0, 1)
        by_turning = torch.cat([by_turning, by_turning.new_zeros(1, *by_turning.shape[1:])])
        for name, block in self._tangents(x, tangent, state).items():
            self.chains[name].write(jacobian, layout[name], by_turning, block)
        return jacobian

    def _tangents(self, x, tangent, state) -> dict[str, Float[Tensor, "B W P"]]:
        """World rotations of each block's joints per unit of its parameters."""
        world = state.kinematics.rotations  # level order
        body = world.index_select(0, self.chart.parent_rank[1 : NUM_BODY_JOINTS + 1]).transpose(0, 1)
        blocks = {"latent": (body @ tangent).flatten(1, 2)}
        if self.chart.has_jaw:
            parent = world[self.chart.parent_rank[self.chart.jaw]]
            blocks["jaw_pose"] = parent @ left_jacobian(x[:, self.chart.layout["jaw_pose"]])
        for side, (joints, _, basis) in self.chart.hands.items():
            parents = world.index_select(0, self.chart.parent_rank[joints[0] : joints[-1] + 1]).transpose(0, 1)
            turn = parents @ left_jacobian(self.chart.hand_pose(x, side).unflatten(1, (15, 3)))
            blocks[f"{side}_hand"] = (turn @ basis.T.unflatten(0, (15, 3))).flatten(1, 2)
        return blocks

    def _assemble(self, x, items, rows, jacobian, seen, body, tangent) -> Linearization:
        """Stack the terms; without a Jacobian where None is given."""
        weights, wanted = seen.weights * self.part_weight, jacobian is not None
        scale = x.new_full((1, 1), self.energy.robust_sigmas)
        if self.energy.robust_px is not None:
            scale = (self.energy.robust_px / (self.energy.sigma_share * seen.size_px))[:, None]
        moved = jacobian.flatten(1, 2) if wanted else None
        stacks = [(rows.flatten(1), moved, weights.repeat_interleave(2, 1), scale)]
        for anchor, members, weight in self.relative:
            both = weights.index_select(1, members) * (weights[:, anchor : anchor + 1] > 0) * weight
            moved = terms.relative(jacobian, anchor, members).flatten(1, 2) if wanted else None
            apart = terms.relative(rows, anchor, members).flatten(1)
            stacks.append((apart, moved, both.repeat_interleave(2, 1), scale))
        if self.energy.bending_sigma != torch.inf:
            stacks.append(self._bending(body, tangent))
        if self.whitener is not None:
            stacks.append(self._mahalanobis(x, wanted))
        residual, slope, weight, scales = zip(*stacks, strict=True)
        scales = torch.cat(
            [s.expand(s.shape[0], r.shape[1]).expand_as(r) for r, s in zip(residual, scales, strict=True)], 1
        )
        slope = torch.cat(slope, dim=1) if wanted else None
        diagonal = x * self.prior_slope
        if self.expected_depth_m is not None:
            z = self.chart.layout["transl"].stop - 1
            diagonal[:, z] = (x[:, z] - self.expected_depth_m[items]) * self.prior_slope[z]
        weight, slopes = torch.cat(weight, dim=1), self.prior_slope.expand_as(diagonal)
        return Linearization(torch.cat(residual, dim=1), slope, weight, scales, diagonal, slopes)

    def _bending(self, body, tangent) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        layout = self.chart.layout
        rotvec = roma.rotmat_to_rotvec(body[:, self.bending_joints])
        bent = terms.bending((rotvec * self.bending_axes).sum(-1), self.bending_signs) / self.energy.bending_sigma
        turned = None
        if tangent is not None:
            slope = terms.bending_tangent(rotvec, tangent[:, self.bending_joints], self.bending_axes)
            turned = body.new_zeros(len(body), 4, layout.size)
            turned[..., layout["latent"]] = (bent * self.bending_signs)[..., None] * slope
        return bent, turned, torch.ones_like(bent), bent.new_full((1, 1), torch.inf)

    def _mahalanobis(self, x, wanted: bool) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        layout, moved = self.chart.layout, None
        distance = terms.mahalanobis(x[:, layout["latent"]], self.latent_mean, self.whitener)
        if wanted:
            moved = x.new_zeros(len(x), distance.shape[1], layout.size)
            moved[..., layout["latent"]] = self.whitener
        return distance, moved, torch.ones_like(distance), x.new_full((1, 1), torch.inf)


def _part_weights(model: LandmarkModel, energy: EnergyConfig) -> Float[Tensor, " K"]:
    """The weight of each of the model's landmarks by its part: body, hands or face."""
    body, hands = {LANDMARK_NAMES[i] for i in BODY}, {LANDMARK_NAMES[i] for i in LEFT_HAND + RIGHT_HAND}
    weights = [energy.body if n in body else energy.hands if n in hands else energy.face for n in model.names]
    return torch.tensor(weights, dtype=model.dtype, device=model.device)
