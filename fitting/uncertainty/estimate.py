"""What results say about their uncertainty: covariances of joints and landmarks, the posterior of the unknowns."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import JOINT_NAMES, LANDMARK_INDEX, LANDMARK_NAMES
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import Linearization
from bodyfit.fitting.energy.problem import Problem
from bodyfit.fitting.energy.terms import Evaluation
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.uncertainty.laplace import PointCovariance, Posterior, posterior_at
from bodyfit.fitting.uncertainty.temperature import OVERALL, TEMPERATURES, VARIANCES, part_of

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
        self.places = torch.tensor([LANDMARK_INDEX[name] for name in model.names], device=model.device)
        self.temperatures = [
            torch.tensor([TEMPERATURES[frame][part_of(name)] for name in model.names], dtype=dtype, device=device)
            for frame in ("camera", "root_relative")
        ]

    def __call__(
        self, problem: Problem, at: Evaluation, free: Bool[Tensor, " D"], floor: float, lin: Linearization | None = None
    ) -> dict[str, Tensor]:
        """Covariances by their names in a FitResult; NaN where there are none.

        Args:
            problem: of the last stage, with all of its terms.
            at: everybody at their solution, with derivatives.
            free, floor, lin: as in `posterior_at`.
        """
        posterior = posterior_at(problem, at, free, floor, VARIANCES, lin)
        found = zip(self.points(posterior, at), self.temperatures, strict=True)
        camera, relative = (temperature[:, None, None] * covariance for covariance, temperature in found)
        count = len(JOINT_NAMES)
        covariances = {
            "joint_covariance": self._of_all(camera, count),
            "joint_covariance_root_relative": self._of_all(relative, count),
            "posterior_factor": packed(posterior),
        }
        if self.kind == "landmarks":
            covariances["landmark_covariance"] = self._of_all(camera, len(LANDMARK_NAMES))
        return covariances

    def _of_all(self, covariance: Float[Tensor, "B K 3 3"], count: int) -> Float[Tensor, "B N 3 3"]:
        """Those of the first `count` landmarks, NaN where the body lacks one."""
        here = (self.places < count).nonzero()[:, 0]
        whole = covariance.new_full((len(covariance), count, 3, 3), torch.nan)
        return whole.index_copy(1, self.places[here], covariance[:, here])


def blocks_of(unknowns: Unknowns, free: Bool[Tensor, " D"]) -> str:
    """The unknowns that `posterior_factor` is about: names and sizes of their blocks, in its order."""
    slices = unknowns.layout.slices.items()
    return " ".join(f"{name}:{s.stop - s.start}" for name, s in slices if s.stop > s.start and free[s].all())


def packed(posterior: Posterior) -> Float[Tensor, "B N"]:
    """Square root A of the covariance, the upper triangle of L^-T row by row: A u has it for a standard normal u."""
    root = OVERALL**0.5 * posterior.inverse_factor.mT
    rows, columns = torch.triu_indices(*root.shape[1:], device=root.device)
    return root[:, rows, columns]
