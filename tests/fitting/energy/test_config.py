"""What an EnergyConfig adds up to: the cost of a fit, written out a second time from its formulas."""

from dataclasses import replace

import pytest
import roma
import torch

from bodyfit.data.landmarks import BODY, LANDMARK_INDEX, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND
from bodyfit.fitting.benchmark import smplify_x
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.observations import Observations, PredictedPose
from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.energy.unknowns import Unknowns

BENT = {"left_elbow": (1, 1.0), "right_elbow": (1, -1.0), "left_knee": (0, -1.0), "right_knee": (0, -1.0)}


def cost_by_formula(x, seen, energy, unknowns, prior, points, names):
    """The cost of one person, term by term."""
    block = {name: x[part] for name, part in unknowns.layout.slices.items()}
    body_pose = roma.rotmat_to_rotvec(prior.decode(block["latent"]))
    total = data_term(block, seen, energy, points, names) + pose_term(block["latent"], seen, energy, prior)
    total += (block["betas"] / energy.betas_sigma).square().sum()
    total += (block["expression"] / energy.expression_sigma).square().sum()
    opening, *sideways = block["jaw_pose"]
    total += (opening / energy.jaw_sigma) ** 2 + sum((a / energy.jaw_sideways_sigma) ** 2 for a in sideways)
    for side, (_, _, basis) in unknowns.hands.items():
        total += (block[f"{side}_hand"] * basis.norm(dim=1) / energy.hand_sigma).square().sum()
    for joint, (axis, sign) in BENT.items():
        total += (sign * body_pose[LANDMARK_INDEX[joint] - 1, axis]).exp() ** 2 / energy.bending_sigma**2
    return total + (block["log_focal"] / energy.log_focal_sigma).square().sum()


def data_term(block, seen, energy, points, names):
    focal = seen.focal_px[0] * block["log_focal"].exp()
    pixels = focal * points[:, :2] / points[:, 2:] + seen.center_px[0]
    body, hands = {LANDMARK_NAMES[i] for i in BODY}, {LANDMARK_NAMES[i] for i in LEFT_HAND + RIGHT_HAND}
    parts = [energy.body if n in body else energy.hands if n in hands else energy.face for n in names]
    unit = energy.sigma_share * seen.size_px[0]
    scale = energy.robust_px / unit if energy.robust_px is not None else energy.robust_sigmas
    square = ((pixels - seen.targets_px[0]) / unit) ** 2
    return (
        (seen.weights[0] * torch.tensor(parts, dtype=torch.float64))[:, None] * square / (1 + square / scale**2)
    ).sum()


def pose_term(latent, seen, energy, prior):
    if energy.pose_prior == "unit":
        return (latent / energy.latent_sigma).square().sum()
    if energy.pose_prior == "predicted":
        predicted = seen.predicted
        return (predicted.whitener @ (latent - predicted.mean[0]) / energy.predicted_sigma).square().sum()
    away = latent - prior.latent_mean
    return away @ torch.linalg.solve(prior.latent_covariance, away) / energy.latent_sigma**2


CONFIGS = {
    "default": EnergyConfig(),
    "aggregate": EnergyConfig(pose_prior="mahalanobis", latent_sigma=1.5, bending_sigma=2.0, robust_sigmas=torch.inf),
    **{f"SMPLify-X stage {n}": smplify_x.energy(stage) for n, stage in enumerate(smplify_x.STAGES)},
}


@pytest.mark.parametrize("energy", CONFIGS.values(), ids=CONFIGS)
def test_the_cost_is_the_sum_of_its_formulas(body, random_prior, energy):
    generator, prior = torch.Generator().manual_seed(0), random_prior.double()
    try:
        model = LandmarkModel(body, dtype=torch.float64)
        unknowns = Unknowns(body, prior, model)
        x = 0.2 * torch.randn(3, unknowns.layout.size, generator=generator, dtype=torch.float64)
        x[:, unknowns.layout["transl"]] += torch.tensor([0, 0, 5.0])
        count = len(model.names)
        targets = 300 + 100 * torch.randn(3, count, 2, generator=generator, dtype=torch.float64)
        weights, size = torch.rand(3, count, generator=generator, dtype=torch.float64), torch.full((3,), 400.0).double()
        mean, whitener = x[:, :32] - 0.1, torch.linalg.inv(torch.linalg.cholesky(prior.latent_covariance)) * 1.5
        seen = Observations(targets, weights, size, 2 * size, torch.full((3, 2), 300.0).double())
        seen = replace(seen, predicted=PredictedPose(mean, whitener))
        problem = BodyProblem(unknowns, model, prior, seen, energy)
        points = problem.landmarks(x).points
        one = [seen.select(torch.tensor([i])) for i in range(3)]
        with torch.no_grad():
            wanted = [cost_by_formula(x[i], one[i], energy, unknowns, prior, points[i], model.names) for i in range(3)]
            found = problem.costs(x)
    finally:
        random_prior.float()
    torch.testing.assert_close(found, torch.cat([w.reshape(1) for w in wanted]), rtol=1e-9, atol=0)
