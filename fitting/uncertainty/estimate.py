"""What results say about their uncertainty: covariances of joints and landmarks, the posterior of the unknowns."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import JOINT_NAMES, LANDMARK_INDEX, LANDMARK_NAMES
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import Linearization, total_cost
from bodyfit.fitting.energy.problem import Problem
from bodyfit.fitting.energy.terms import Evaluation
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.uncertainty.flip_probability import SolvedLimbs, features, flip_probability
from bodyfit.fitting.uncertainty.flips import BONE_ROWS
from bodyfit.fitting.uncertainty.laplace import PointCovariance, Posterior, posterior_at
from bodyfit.fitting.uncertainty.temperature import OVERALL, PHOTO, SCALES, VARIANCES, part_of

Kind = Literal["off", "joints", "landmarks"]


class Estimator:
    """Estimates everybody's uncertainty at their solutions.

    Args:
        body, unknowns: what was fitted.
        kind: "joints", or "landmarks" for all 144 points.
        dtype, device: to compute in.
    """

    def __init__(
        self, body: BodyModel, unknowns: Unknowns, kind: Kind, *, dtype: torch.dtype, device: torch.device | str
    ):
        self.unknowns, self.kind = unknowns, kind
        names = LANDMARK_NAMES if kind == "landmarks" else JOINT_NAMES
        model = LandmarkModel(body, names=names, dtype=dtype, device=device)
        self.points = PointCovariance(unknowns, model)
        here = [[n for n, name in enumerate(model.names) if name == JOINT_NAMES[row]] for row in range(22)]
        self.limbs = BONE_ROWS.tolist() if all(rows == [n] for n, rows in enumerate(here)) else []
        """Rows of the joints that LIMB_BONES join, where the body has them in the order of JOINT_NAMES."""
        self.for_studies = False
        """Whether to say as well what probabilities come from: `flip_features`, which no result holds."""
        self._latent = unknowns.layout.mask("latent").nonzero()[:, 0].to(model.device)
        self.places = torch.tensor([LANDMARK_INDEX[name] for name in model.names], device=model.device)
        parts = [part_of(name) for name in model.names]
        to = {"dtype": dtype, "device": device}
        self.scales = {
            seen_as: [torch.tensor([by_part[part] for part in parts], **to) for by_part in frames.values()]
            for seen_as, frames in SCALES.items()
        }
        """Factor and floor of each point in the frame of the fit, and relative to the pelvis."""

    def __call__(
        self, problem: Problem, at: Evaluation, free: Bool[Tensor, " D"], floor: float, lin: Linearization | None = None
    ) -> dict[str, Tensor]:
        """Covariances by their names in a FitResult; NaN where there are none.

        Args:
            problem: of the last stage, with all of its terms.
            at: everybody at their solution, with derivatives.
            free, floor, lin: as in `posterior_at`.
        """
        lin = problem.linearized(at) if lin is None else lin
        posterior = posterior_at(problem, at, free, floor, VARIANCES, lin)
        whitened = self.points.whitened(posterior, at)
        relative = whitened - whitened[:, :1]
        covariances = self.named(whitened @ whitened.mT, relative @ relative.mT, PHOTO)
        covariances["posterior_factor"] = packed(posterior)
        if self.limbs:
            upper, lower = self.bones
            bones = whitened[:, lower] - whitened[:, upper]
            found = features(self.solved_limbs(problem, at, lin, bones @ bones.mT))
            covariances["flip_probability"] = flip_probability(found)
            if self.for_studies:
                covariances["flip_features"] = found
        return covariances

    def named(
        self, camera: Float[Tensor, "B K 3 3"], relative: Float[Tensor, "B K 3 3"], seen_as: str
    ) -> dict[str, Float[Tensor, "B N 3 3"]]:
        """Covariances of the estimator's points as results have them: calibrated, in the order of all landmarks.

        Args:
            camera, relative: in the frame of the fit, and relative to the pelvis.
            seen_as: how people were seen: `temperature.PHOTO`, CLIP or VIEWS.
        """
        found = zip((camera, relative), self.scales[seen_as], strict=True)
        camera, relative = (scaled(covariance, scale) for covariance, scale in found)
        count = len(JOINT_NAMES)
        named = {
            "joint_covariance": self._of_all(camera, count),
            "joint_covariance_root_relative": self._of_all(relative, count),
        }
        if self.kind == "landmarks":
            named["landmark_covariance"] = self._of_all(camera, len(LANDMARK_NAMES))
        return named

    def solved_limbs(
        self, problem: Problem, at: Evaluation, lin: Linearization, bones: Float[Tensor, "B 8 3 3"]
    ) -> SolvedLimbs:
        """What is known of arms and legs at the solutions `at`.

        Args:
            problem, at, lin: as in the posterior.
            bones: covariance of the lower joint of each of LIMB_BONES relative to its upper one, camera frame.
        """
        points = self._joints(at.x, at.body)
        ray = torch.nn.functional.normalize(points[:, self.bones[0]], dim=-1)
        deviation = (ray[:, :, None] @ bones @ ray[..., None])[:, :, 0, 0].clamp_min(0).sqrt()
        predicted = points
        seen = problem.observations
        if seen is not None and seen.predicted is not None:
            x = at.x.index_copy(1, self._latent, seen.predicted.mean)
            predicted = self._joints(x, self.unknowns.decode(x))
        rows, weights = problem.rows.slices, torch.ones_like(at.x[:, 0]) if seen is None else seen.weights.sum(1)
        misfit = lin.residuals[:, rows["pose_prior"]].square().sum(1) if "pose_prior" in rows else weights
        return SolvedLimbs(points, predicted, deviation, misfit, total_cost(lin) / weights.clamp_min(1e-6))

    @property
    def bones(self) -> tuple[Int[Tensor, " 8"], Int[Tensor, " 8"]]:
        """Rows of the upper and the lower joint of each of LIMB_BONES, where there are `limbs`."""
        upper, lower = torch.tensor(self.limbs, device=self.places.device).unbind(1)
        return upper, lower

    def _joints(self, x: Float[Tensor, "B D"], body: Tensor) -> Float[Tensor, "B K 3"]:
        unknowns, transl = self.unknowns, x[:, self.unknowns.layout["transl"]]
        return self.points.model(unknowns.rotations(x, body), unknowns.shape(x), transl, derivatives=False).points

    def _of_all(self, covariance: Float[Tensor, "B K 3 3"], count: int) -> Float[Tensor, "B N 3 3"]:
        """Those of the first `count` landmarks, NaN where the body lacks one."""
        here = (self.places < count).nonzero()[:, 0]
        whole = covariance.new_full((len(covariance), count, 3, 3), torch.nan)
        return whole.index_copy(1, self.places[here], covariance[:, here])


def scaled(covariance: Float[Tensor, "B K 3 3"], scale: Float[Tensor, "K 2"]) -> Float[Tensor, "B K 3 3"]:
    """Covariances times a factor, plus the square of a floor (m) in all directions."""
    factor, floor = scale.unbind(1)
    floors = floor.square()[:, None, None] * torch.eye(3, dtype=scale.dtype, device=scale.device)
    return factor[:, None, None] * covariance + floors


def blocks_of(unknowns: Unknowns, free: Bool[Tensor, " D"]) -> str:
    """The unknowns that `posterior_factor` is about: names and sizes of their blocks, in its order."""
    slices = unknowns.layout.slices.items()
    return " ".join(f"{name}:{s.stop - s.start}" for name, s in slices if s.stop > s.start and free[s].all())


def packed(posterior: Posterior) -> Float[Tensor, "B N"]:
    """Square root A of the covariance, the upper triangle of L^-T row by row: A u has it for a standard normal u."""
    root = OVERALL[PHOTO] ** 0.5 * posterior.inverse_factor.mT
    rows, columns = torch.triu_indices(*root.shape[1:], device=root.device)
    return root[:, rows, columns]
