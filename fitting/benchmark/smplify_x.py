"""SMPLify-X's energy (Pavlakos et al., CVPR 2019) and its five stages, term for term, on our problem and solver.

Written from the paper and from the numbers of its configuration for SMPL-X with VPoser. For image height H, weights w
of the stage, and detections c of confidence, the energy of a stage is

    (1000 / H)^2 sum_k (w_k c_k)^2 rho^2 d_k^2 / (rho^2 + d_k^2)   per coordinate, d in px, rho = 100
    + w_pose^2 |z|^2 + 3.17 w_pose sum exp(bend)^2 + w_shape^2 |betas|^2 + w_expression^2 |expression|^2
    + w_hand^2 (|left|^2 + |right|^2) + sum_a (w_jaw,a jaw_a)^2

with w_k = 1 for body points, the stage's weights for hands and face, and 0 for neck and hips. Interpenetration, which
its configuration leaves off, is not there. Two faults of the original are not copied: of two orientations tried the
better one is kept whole, and an image's camera is stored with the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import Solution, SolverOptions, minimise
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.prior.model.vposer import VPoser

RHO_PX = 100.0
BENDING_FACTOR = 3.17
DEPTH_WEIGHT = 100.0
SIDE_VIEW_PX = 25.0
NEAREST_START_M = 0.3
IGNORED = ("neck", "left_hip", "right_hip")
TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


@dataclass(frozen=True)
class StageWeights:
    """Weights of one stage."""

    body_pose: float
    shape: float
    expression: float
    jaw: tuple[float, float]
    """Opening, and the two other rotations."""
    hand_pose: float
    hand_joints: float
    face_joints: float


STAGES = (
    StageWeights(404.0, 100.0, 100.0, (4040.0, 40400.0), 404.0, 0.0, 0.0),
    StageWeights(404.0, 50.0, 50.0, (4040.0, 40400.0), 404.0, 0.0, 0.0),
    StageWeights(57.4, 10.0, 10.0, (574.0, 5740.0), 57.4, 0.0, 0.0),
    StageWeights(4.78, 5.0, 5.0, (47.8, 478.0), 4.78, 0.1, 0.0),
    StageWeights(4.78, 5.0, 5.0, (47.8, 478.0), 4.78, 2.0, 2.0),
)


def energy(stage: StageWeights = STAGES[-1], *, hand_components: int = 12) -> EnergyConfig:
    """A stage's energy; its observations must come from `observe`, whose unit is a thousandth of the image's height."""
    return EnergyConfig(
        sigma_share=1 / 1000,
        robust_px=RHO_PX,
        body=1.0,
        hands=stage.hand_joints**2,
        face=stage.face_joints**2,
        pose_prior="unit",
        latent_sigma=1 / stage.body_pose,
        betas_sigma=1 / stage.shape,
        expression_sigma=1 / stage.expression,
        jaw_sigma=1 / stage.jaw[0],
        jaw_sideways_sigma=1 / stage.jaw[1],
        hand_sigma=1 / stage.hand_pose,
        hand_components=hand_components,
        bending_sigma=(BENDING_FACTOR * stage.body_pose) ** -0.5,
    )


def observe(
    xy: Float[np.ndarray, "P 144 2"],
    confidence: Float[np.ndarray, "P 144"],
    focal_px: Float[np.ndarray, " P"],
    center_px: Float[np.ndarray, "P 2"],
    image_height: Float[np.ndarray, " P"],
    *,
    names: tuple[str, ...],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Observations:
    """Keypoints as this energy weighs them: confidence squared, and nothing for neck and hips."""
    columns = [LANDMARK_INDEX[name] for name in names]
    weights = confidence[:, columns] ** 2 * np.array([name not in IGNORED for name in names])
    arrays = (xy[:, columns], weights, image_height, focal_px, center_px)
    return Observations(*(torch.as_tensor(np.array(a), dtype=dtype, device=device) for a in arrays))


class SmplifyX:
    """The five-stage procedure on a batch of people.

    Args:
        unknowns, model, prior: body and pose prior in use; any body model and any VPoser.
        options: the solver's, for each stage.
        softness: roundings of the decoder's kinks, in turn, in each stage, before the energy itself; those that the
            decoder's own bend exceeds are passed over.
    """

    def __init__(
        self,
        unknowns: Unknowns,
        model: LandmarkModel,
        prior: VPoser,
        options: SolverOptions | None = None,
        softness: tuple[float, ...] = (0.1, 0.03),
    ):
        self.unknowns, self.model, self.prior, self.softness = unknowns, model, prior, softness
        self.options = options or SolverOptions(max_iterations=30)
        self.index = {name: k for k, name in enumerate(model.names)}

    def problem(self, seen: Observations, config: EnergyConfig, **given) -> BodyProblem:
        return BodyProblem(self.unknowns, self.model, self.prior, seen, config, **given)

    def fit(self, seen: Observations, torso: Observations) -> Solution:
        """Fit people from the mean pose.

        Args:
            seen: from `observe`.
            torso: the same with weight 1 on the torso's detected points and 0 elsewhere, from `torso_only`.
        """
        start = self.camera_start(torso)
        straight = self._all_stages(seen, start)
        narrow = self._shoulder_distance(seen) < SIDE_VIEW_PX
        if not narrow.any():
            return straight
        turned = self._all_stages(seen, self._turned(start))
        better = narrow & (turned.cost < straight.cost)
        pick = {
            name: torch.where(better.view(-1, *[1] * (a.dim() - 1)), b, a)
            for name in ("x", "cost", "status", "iterations")
            for a, b in [(getattr(straight, name), getattr(turned, name))]
        }
        return Solution(**pick)

    def fit_from(self, seen: Observations, starts: Float[Tensor, "B S D"]) -> Solution:
        """Fit people from several starts each, by the last stage alone and by the last two; the lowest cost counts.

        The energy is that of `fit` without its annealing: from the mean pose the annealing decides which of many minima
        a person ends in, and starts that are nearly right do not need it.
        """
        solutions = [self._stages(seen, x, stages) for x in starts.unbind(1) for stages in (STAGES[-1:], STAGES[-2:])]
        best = torch.stack([s.cost for s in solutions]).argmin(0)
        rows = torch.arange(len(best), device=best.device)
        chosen = (torch.stack([getattr(s, n) for s in solutions])[best, rows] for n in ("x", "cost", "status"))
        return Solution(*chosen, sum(s.iterations for s in solutions))

    def camera_start(self, torso: Observations) -> Float[Tensor, "B D"]:
        """Upright mean pose; depth from the torso's length; then orientation and translation on the torso alone."""
        layout, count = self.unknowns.layout, len(torso)
        x = torso.targets_px.new_zeros(count, layout.size)
        x[:, layout["global_orient"].start] = torch.pi
        depth = self._torso_depth(x, torso)
        x[:, layout["transl"].stop - 1] = depth
        # Its unknowns are in px of the whole image, like the energy's; plain squares; distance held by a strong weight.
        config = replace(energy(), robust_px=None, robust_sigmas=torch.inf, depth_sigma_m=1 / DEPTH_WEIGHT)
        problem = self.problem(torso, config, depth_m=depth)
        free = layout.mask("global_orient", "transl").to(x.device)
        x = minimise(problem.evaluate, self.unknowns.retract, x, self.options, cost=problem.costs, free=free).x
        nearest = problem.landmarks(x).points[..., 2].amin(1)  # of all points: the torso may be before the camera alone
        x[:, layout["transl"].stop - 1] += (NEAREST_START_M - nearest).clamp_min(0)
        return x

    def _torso_depth(self, x: Tensor, torso: Observations) -> Float[Tensor, " B"]:
        """Focal length times the torso's length in metres over that in pixels, both sides."""
        points = self.problem(torso, energy()).landmarks(x).points
        sides = [(self.index[f"{side}_shoulder"], self.index[f"{side}_hip"]) for side in ("left", "right")]
        metres = torch.stack([(points[:, a] - points[:, b]).norm(dim=-1) for a, b in sides]).mean(0)
        pixels = [(torso.targets_px[:, a] - torso.targets_px[:, b]).norm(dim=-1) for a, b in sides]
        return torso.focal_px * metres / torch.stack(pixels).mean(0).clamp_min(1e-3)

    def _shoulder_distance(self, seen: Observations) -> Float[Tensor, " B"]:
        left, right = self.index["left_shoulder"], self.index["right_shoulder"]
        return (seen.targets_px[:, left] - seen.targets_px[:, right]).norm(dim=-1)

    def _turned(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Half a turn about the body's own axis."""
        root, turned = self.unknowns.layout["global_orient"], x.clone()
        half = x.new_tensor([0.0, torch.pi, 0.0]).expand(len(x), 3)
        turned[:, root] = roma.rotvec_composition([x[:, root], half])
        return turned

    def _all_stages(self, seen: Observations, x: Float[Tensor, "B D"]) -> Solution:
        return self._stages(seen, x, STAGES)

    def _stages(self, seen: Observations, x: Float[Tensor, "B D"], stages: Sequence[StageWeights]) -> Solution:
        free, steps = ~self.unknowns.layout.mask("log_focal").to(x.device), 0
        roundings = [softness for softness in self.softness if softness > self.unknowns.softness] + [0.0]
        for stage in stages:
            for softness in roundings:
                config = replace(energy(stage, hand_components=self._components()), softness=softness)
                problem = self.problem(seen, config)
                solution = minimise(
                    problem.evaluate, self.unknowns.retract, x, self.options, cost=problem.costs, free=free
                )
                x, steps = solution.x, steps + solution.iterations
        return replace(solution, iterations=steps)

    def _components(self) -> int:
        block = self.unknowns.layout["left_hand"]
        return block.stop - block.start


def torso_only(seen: Observations, names: tuple[str, ...], detected: Float[Tensor, "B K"]) -> Observations:
    """Observations for the camera's stage: shoulders and hips, each with weight 1 where detected."""
    in_torso = torch.tensor([name in TORSO for name in names], device=detected.device)
    return replace(seen, weights=((detected > 0) & in_torso).to(seen.weights))
