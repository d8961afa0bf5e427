"""The slow, plain way, to measure the fast one against: one person, smplx's whole mesh, autograd, torch's L-BFGS.

The energy is written out a second time, directly from its formulas, on the points that smplx's own forward gives. The
tests hold the two energies together; `bodyfit benchmark` compares what they reach and how long they take.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass

import roma
import smplx
import torch
from jaxtyping import Float
from smplx.lbs import find_dynamic_lmk_idx_and_bcoords, vertices2landmarks
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import BODY, LANDMARK_INDEX, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND
from bodyfit.fitting.energy.landmark_model import FLIP_Y_Z
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.problem import EnergyConfig
from bodyfit.fitting.energy.residuals import BENDING_AXES, BENDING_JOINTS, BENDING_SIGNS
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.prior.model.vposer import VPoser

_NECK_CHAIN = (12, 9, 6, 3, 0)


@dataclass
class ReferenceSolution:
    """Where L-BFGS ended."""

    x: Float[Tensor, " D"]
    cost: float
    evaluations: int


class Reference:
    """The energy of one person through smplx. Only for SMPL-X files, without root-relative terms."""

    def __init__(
        self, body: BodyModel, prior: VPoser, unknowns: Unknowns, energy: EnergyConfig, names: tuple[str, ...]
    ):
        if body.kind != "smplx" or energy.relative_hands or energy.relative_face:
            raise ValueError("the reference knows SMPL-X bodies and no root-relative terms")
        self.body, self.prior, self.unknowns, self.energy = body, prior, unknowns, energy
        self.dtype = unknowns.layers[0][0].dtype
        self.columns = [LANDMARK_INDEX[name] for name in names]
        with contextlib.redirect_stdout(sys.stderr):  # smplx prints its warnings
            self.model = smplx.create(
                str(body.path), model_type="smplx", gender=body.gender, use_pca=False, flat_hand_mean=True, ext="npz",
                num_betas=body.num_betas, num_expression_coeffs=body.num_expression, dtype=self.dtype,
            )  # fmt: skip
        # The same 21 points in smplx's order, at this file's own vertices: smplx knows the official meshes' only.
        own_vertices = torch.tensor(list(body.extra_vertex_ids.values()))
        self.model.vertex_joint_selector.extra_joints_idxs = own_vertices
        body_part = {LANDMARK_NAMES[i] for i in BODY}
        hands = {LANDMARK_NAMES[i] for i in LEFT_HAND + RIGHT_HAND}
        parts = [energy.body if n in body_part else energy.hands if n in hands else energy.face for n in names]
        self.part_weight = torch.tensor(parts, dtype=self.dtype)

    def cost(self, x: Float[Tensor, " D"], seen: Observations) -> Float[Tensor, ""]:
        """The energy of one person (`seen` holds one) at unknowns laid out as the unknowns's."""
        block = {name: x[None, part] for name, part in self.unknowns.layout.slices.items()}
        rotations = self.prior.decode(block["latent"])
        rotvec = roma.rotmat_to_rotvec(rotations)
        points = self._points(block, rotvec)[:, self.columns]
        focal = seen.focal_px * block["log_focal"][:, 0].exp()
        pixels = focal[:, None, None] * points[..., :2] / points[..., 2:] + seen.center_px[:, None]
        unit = self.energy.sigma_share * seen.size_px
        scale = self.energy.robust_px / unit if self.energy.robust_px is not None else self.energy.robust_sigmas
        square = ((pixels - seen.targets_px) / unit) ** 2
        weights = (seen.weights * self.part_weight)[..., None]
        loss = torch.where(weights > 0, square / (1 + square / scale**2), 0.0)
        return (weights * loss).sum() + self._priors(block, rotvec, seen)

    def _priors(
        self, block: dict[str, Tensor], rotvec: Float[Tensor, "1 21 3"], seen: Observations
    ) -> Float[Tensor, ""]:
        energy = self.energy
        total = self._pose_prior(block["latent"][0], seen)
        total = total + (block["betas"] / energy.betas_sigma).square().sum()
        total = total + (block["expression"] / energy.expression_sigma).square().sum()
        jaw = block["jaw_pose"] / _like([energy.jaw_sigma] + [energy.jaw_sideways_sigma] * 2, rotvec)
        total = total + jaw.square().sum()
        for side, (_, _, basis) in self.unknowns.hands.items():
            total = total + (block[f"{side}_hand"] * basis.norm(dim=1) / energy.hand_sigma).square().sum()
        for joint, axis, sign in zip(BENDING_JOINTS, BENDING_AXES, BENDING_SIGNS, strict=True):
            angle = rotvec[0, LANDMARK_INDEX[joint] - 1, axis]
            total = total + (sign * angle).exp().square() / energy.bending_sigma**2
        return total + (block["log_focal"] / energy.log_focal_sigma).square().sum()

    def _pose_prior(self, latent: Float[Tensor, " Z"], seen: Observations) -> Float[Tensor, ""]:
        """Squared distance of the latent from the middle of the unit normal, the aggregate's, or the person's."""
        energy, expected = self.energy, seen.predicted
        if energy.pose_prior == "unit":
            return (latent / energy.latent_sigma).square().sum()
        if energy.pose_prior == "predicted" and expected is not None:
            return (expected.whitener @ (latent - expected.mean[0]) / energy.predicted_sigma).square().sum()
        away = latent - self.prior.latent_mean.to(latent)
        return away @ torch.linalg.solve(self.prior.latent_covariance.to(latent), away) / energy.latent_sigma**2

    def _points(self, block: dict[str, Tensor], rotvec: Float[Tensor, "1 21 3"]) -> Float[Tensor, "1 144 3"]:
        """All landmarks by smplx's forward; the contour by its functions, with the root turned into its y-up axes."""
        pose = {
            "global_orient": block["global_orient"], "body_pose": rotvec.flatten(1), "jaw_pose": block["jaw_pose"],
            **{f"{side}_hand_pose": mean + block[f"{side}_hand"] @ basis
               for side, (_, mean, basis) in self.unknowns.hands.items()},
        }  # fmt: skip
        shape = {name: block[name] for name in ("betas", "expression")}
        out = self.model(**pose, **shape, transl=block["transl"])
        flip = torch.diag(_like(FLIP_Y_Z, rotvec))
        root = flip @ roma.rotvec_to_rotmat(block["global_orient"])
        turns = torch.cat([root[:, None], roma.rotvec_to_rotmat(rotvec)], dim=1)
        faces, bary = find_dynamic_lmk_idx_and_bcoords(
            out.vertices, turns, self.body.tensor("contour_faces", rotvec), self.body.tensor("contour_bary", rotvec),
            torch.tensor(_NECK_CHAIN), pose2rot=False,
        )  # fmt: skip
        contour = vertices2landmarks(out.vertices, self.model.faces_tensor, faces, bary)
        return torch.cat([out.joints[:, :127], contour], dim=1)

    def minimise(
        self, start: Float[Tensor, " D"], seen: Observations, *, max_evaluations: int = 2000, tolerance: float = 1e-9
    ) -> ReferenceSolution:
        """L-BFGS with strong Wolfe line search from the start; the focal length stays."""
        x = start.clone().requires_grad_(True)
        optimiser = torch.optim.LBFGS(
            [x], lr=1.0, max_iter=max_evaluations, max_eval=max_evaluations, history_size=100, tolerance_grad=tolerance,
            tolerance_change=tolerance, line_search_fn="strong_wolfe",
        )  # fmt: skip
        held, evaluations = self.unknowns.layout["log_focal"], 0

        def closure() -> Tensor:
            nonlocal evaluations
            evaluations += 1
            optimiser.zero_grad()
            with torch.enable_grad():
                cost = self.cost(x, seen)
                cost.backward()
            x.grad[held] = 0
            return cost

        optimiser.step(closure)
        with torch.no_grad():
            return ReferenceSolution(x.detach(), float(self.cost(x, seen)), evaluations)


def _like(values, like: Tensor) -> Tensor:
    """Numbers as a tensor of another's dtype and device."""
    return torch.tensor(list(values), dtype=like.dtype, device=like.device)
