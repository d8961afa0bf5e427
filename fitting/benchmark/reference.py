"""The slow, plain way, to measure the fast one against: one person, smplx's whole mesh, autograd, torch's L-BFGS.

The terms of the energy are those of the fits, on the points that smplx's own forward gives. The tests hold the two
together; `bodyfit benchmark` compares what they reach and how long they take.
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
from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import FLIP_Y_Z, LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import total_cost
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.energy.terms import Evaluation
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
    """The energy of one person through smplx. Only for SMPL-X files."""

    def __init__(
        self, body: BodyModel, prior: VPoser, unknowns: Unknowns, energy: EnergyConfig, names: tuple[str, ...]
    ):
        if body.kind != "smplx":
            raise ValueError("the reference knows SMPL-X bodies only")
        self.body, self.prior, self.unknowns, self.energy = body, prior, unknowns, energy
        like = unknowns.layers[0][0]
        self.dtype, self.device = like.dtype, like.device
        self.columns = [LANDMARK_INDEX[name] for name in names]
        with contextlib.redirect_stdout(sys.stderr):  # smplx prints its warnings
            self.model = smplx.create(
                str(body.path), model_type="smplx", gender=body.gender, use_pca=False, flat_hand_mean=True, ext="npz",
                num_betas=body.num_betas, num_expression_coeffs=body.num_expression, dtype=self.dtype,
            )  # fmt: skip
        # The same 21 points in smplx's order, at this file's own vertices: smplx knows the official meshes' only.
        own_vertices = torch.tensor(list(body.extra_vertex_ids.values()))
        self.model.vertex_joint_selector.extra_joints_idxs = own_vertices
        self.model.to(self.device)
        self.landmarks = LandmarkModel(body, names=names, dtype=self.dtype, device=self.device)
        self._rotation_jacobian = RotationJacobian(unknowns, self.landmarks)

    def problem(self, seen: Observations) -> BodyProblem:
        """The terms of the energy for one person (`seen` holds one)."""
        given = {"rotation_jacobian": self._rotation_jacobian}
        return BodyProblem(self.unknowns, self.landmarks, self.prior, seen, self.energy, **given)

    def cost(self, x: Float[Tensor, " D"], problem: BodyProblem) -> Float[Tensor, ""]:
        """The energy of one person at x: the problem's terms on the points of smplx's forward."""
        block = {name: x[None, part] for name, part in self.unknowns.layout.slices.items()}
        rotations, seen = self.prior.decode(block["latent"]), problem.observations
        points = self._points(block, roma.rotmat_to_rotvec(rotations))[:, self.columns]
        focal = problem.focal(x[None], seen.focal_px)
        pixels = project(points, focal, seen.center_px)
        at = Evaluation(
            x[None], torch.zeros(1, dtype=torch.long, device=x.device), rotations, points, seen, focal, pixels
        )
        return total_cost(problem.linearization(at))[0]

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
            torch.tensor(_NECK_CHAIN, device=self.device), pose2rot=False,
        )  # fmt: skip
        contour = vertices2landmarks(out.vertices, self.model.faces_tensor, faces, bary)
        return torch.cat([out.joints[:, :127], contour], dim=1)

    def minimise(
        self, start: Float[Tensor, " D"], seen: Observations, *, max_evaluations: int = 2000, tolerance: float = 1e-9
    ) -> ReferenceSolution:
        """L-BFGS with strong Wolfe line search from the start; the focal length stays."""
        x, problem = start.clone().requires_grad_(True), self.problem(seen)
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
                cost = self.cost(x, problem)
                cost.backward()
            x.grad[held] = 0
            return cost

        optimiser.step(closure)
        with torch.no_grad():
            return ReferenceSolution(x.detach(), float(self.cost(x, problem)), evaluations)


def _like(values, like: Tensor) -> Tensor:
    """Numbers as a tensor of another's dtype and device."""
    return torch.tensor(list(values), dtype=like.dtype, device=like.device)
