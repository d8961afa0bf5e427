"""The weights of the energy, and the list of terms that they make."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.landmarks import BODY, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND
from bodyfit.fitting.energy.age_prior import ShapeOfAge
from bodyfit.fitting.energy.collisions import SelfCollision
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.sphere_model import SphereModel
from bodyfit.fitting.energy.terms import (
    Bending,
    Gaussian,
    KnownStature,
    LatentGaussian,
    RelativeReprojection,
    Reprojection,
    Term,
)
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.prior.model.vposer import VPoser

# Added to the Hessian's diagonal for fingers, per squared radian. Gauss-Newton ignores second derivatives of the
# residuals, and for fingers that point towards the camera these are most of the curvature: steps overshot.
FINGER_CURVATURE = 1.0


@dataclass(frozen=True)
class EnergyConfig:
    """Weights of the energy's terms: standard deviations of priors and errors, and factors on losses."""

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
    """The latent's prior: "unit" normal; "mahalanobis": under the prior's aggregate posterior; "predicted": about the
    pose that the start network predicts from each person's keypoints, and like "mahalanobis" without such a network."""
    latent_sigma: float = 1.0
    """Standard deviation of the unit and the aggregate pose prior, in their own units."""
    predicted_sigma: float = 1.2
    """Standard deviation of the predicted pose, in that of the network's errors; more than 1, as the keypoints that it
    was predicted from count in the reprojection, too."""
    betas_sigma: float = 1.0
    """Standard deviation of the shape numbers."""
    betas_mean: tuple[float, ...] = ()
    """Means of an adult's shape numbers, zeros where shorter: those of the old, where an age is given."""
    child_betas_sigma: float = 0.6
    """Standard deviation of the shape numbers about those of the average child, who differ less in metres; for bodies
    with a kid axis."""
    kid_mean: float = 0.55
    """Mean of the kid beta, where the body has a kid axis: 0 an adult, 1 the smallest child."""
    kid_sigma: float = 0.2
    """Its standard deviation."""
    height_m: float | None = None
    """Known stature, m, of everybody; None: unknown."""
    height_sigma_m: float = 0.001
    """How exactly a known stature is reached, m."""
    expression_sigma: float = 1.0
    """Standard deviation of the expression numbers."""
    jaw_sigma: float = 0.15
    """Standard deviation of the jaw's opening, rad."""
    jaw_sideways_sigma: float = 0.15
    """Standard deviation of the jaw's other two rotations, rad."""
    hand_sigma: float = 1.0
    """Standard deviation of the hands' numbers, in those of their principal components."""
    hand_components: int = 12
    """Principal components per hand."""
    bending_sigma: float = float("inf")
    """Standard deviation of the penalty on elbows and knees that bend the wrong way, as in SMPLify; inf switches the
    term off: under our prior it changes nothing."""
    log_focal_sigma: float = 0.15
    """Standard deviation of log(focal / guess) where the focal length is refined."""
    depth_sigma_m: float = float("inf")
    """Standard deviation, m, of the depth about a depth given to the problem; inf: no such term."""
    collision_sigma_m: float = 0.015
    """Depth, m, to which spheres that fill the body may overlap, on top of what is natural, at a cost of one; inf: no
    such term. It takes part in the last stage of a fit only."""
    softness: float = 0.0
    """Width over which the kinks of the decoder's activations are rounded at least; 0: the decoder as it is. For
    decoders that have kinks, the early stages of the solver use a rounded one."""


def energy_terms(
    unknowns: Unknowns,
    model: LandmarkModel,
    prior: VPoser,
    seen: Observations,
    energy: EnergyConfig,
    *,
    depth_m: Float[Tensor, " N"] | None = None,
    rotation_jacobian: RotationJacobian | None = None,
    spheres: SphereModel | None = None,
) -> list[Term]:
    """The terms of a fit to keypoints.

    Args:
        unknowns, model: unknowns and landmarks.
        prior: the pose prior.
        seen: the people.
        depth_m: distances that `energy.depth_sigma_m` is about; None: no such term.
        rotation_jacobian: of the same unknowns and model, where there is one already: it takes 4 ms to build.
        spheres: of the body, for `energy.collision_sigma_m`; None: no such term.
    """
    reprojection = Reprojection(
        unknowns,
        rotation_jacobian or RotationJacobian(unknowns, model),
        _part_weights(model, energy),
        sigma_share=energy.sigma_share,
        robust_sigmas=energy.robust_sigmas,
        robust_px=energy.robust_px,
    )
    terms = [reprojection, *_relative_terms(reprojection, model, energy)]
    if energy.bending_sigma != torch.inf:
        terms.append(Bending(unknowns, energy.bending_sigma, reprojection.landmark_weights))
    if spheres is not None and energy.collision_sigma_m != torch.inf:
        terms.append(SelfCollision(unknowns, spheres, sigma_m=energy.collision_sigma_m))
    terms.append(pose_prior(unknowns, model, prior, energy, seen))
    terms += parameter_priors(unknowns, model, energy)
    if energy.height_m is not None:
        known = energy.height_m, energy.height_sigma_m
        terms.append(KnownStature(unknowns.layout["betas"], unknowns.stature, *known))
    if depth_m is not None and energy.depth_sigma_m != torch.inf:
        z = unknowns.layout["transl"].stop - 1
        sigma = depth_m.new_full((1,), energy.depth_sigma_m)
        terms.append(Gaussian("depth", slice(z, z + 1), sigma, depth_m[:, None]))
    return terms


def pose_prior(
    unknowns: Unknowns, model: LandmarkModel, prior: VPoser, energy: EnergyConfig, seen: Observations | None = None
) -> Term:
    """The term that `energy.pose_prior` names.

    Raises:
        ValueError: for another name.
    """
    columns, to = unknowns.layout["latent"], {"dtype": model.dtype, "device": model.device}
    if energy.pose_prior == "predicted" and seen is not None and seen.predicted is not None:
        return LatentGaussian(columns, None, seen.predicted.whitener / energy.predicted_sigma)
    if energy.pose_prior in ("predicted", "mahalanobis"):
        factor = torch.linalg.cholesky(prior.latent_covariance.double())
        whitener = torch.linalg.inv(factor).to(**to) / energy.latent_sigma
        return LatentGaussian(columns, prior.latent_mean.to(**to), whitener)
    if energy.pose_prior == "unit":
        return Gaussian("pose_prior", columns, torch.full((prior.latent_dim,), energy.latent_sigma, **to))
    raise ValueError(f"pose_prior must be 'unit', 'mahalanobis' or 'predicted', got {energy.pose_prior!r}")


def parameter_priors(unknowns: Unknowns, model: LandmarkModel, energy: EnergyConfig) -> list[Term]:
    """Gaussians on shape, expression, jaw, hands and the focal length."""
    layout, to = unknowns.layout, {"dtype": model.dtype, "device": model.device}

    def equal(name: str, sigma: float) -> Gaussian:
        return Gaussian(name, layout[name], torch.full((layout[name].stop - layout[name].start,), sigma, **to))

    terms: list[Term] = [equal("betas", energy.betas_sigma), equal("expression", energy.expression_sigma)]
    if energy.betas_mean:
        mean = torch.zeros(unknowns.num_betas, **to)
        mean[: len(energy.betas_mean)] = torch.tensor(energy.betas_mean, **to)[: len(mean)]
        terms[0] = Gaussian("betas", layout["betas"], torch.full_like(mean, energy.betas_sigma), mean)
    if unknowns.has_kid_axis:
        curve = unknowns.age_curve
        free = torch.inf if curve is not None else energy.child_betas_sigma
        sigma = torch.full((unknowns.num_betas,), free, **to)
        mean = torch.zeros_like(sigma)
        sigma[-1], mean[-1] = energy.kid_sigma, energy.kid_mean
        terms[0] = Gaussian("betas", layout["betas"], sigma, mean)
        if curve is not None:
            terms.append(ShapeOfAge(layout["betas"], curve, energy.child_betas_sigma))
    if unknowns.has_jaw:
        sigma = torch.tensor([energy.jaw_sigma] + [energy.jaw_sideways_sigma] * 2, **to)
        terms.append(Gaussian("jaw_pose", layout["jaw_pose"], sigma))
    for side, (_, _, basis) in unknowns.hands.items():
        # Components are scaled differently in different files: the prior is on the angles they make.
        angle = basis.norm(dim=1).clamp_min(1e-6)
        curvature = FINGER_CURVATURE * angle**2
        name = f"{side}_hand"
        terms.append(Gaussian(name, layout[name], energy.hand_sigma / angle, curvature=curvature))
    return [*terms, equal("log_focal", energy.log_focal_sigma)]


def _relative_terms(reprojection: Reprojection, model: LandmarkModel, energy: EnergyConfig) -> list[Term]:
    """Fingers relative to their wrists, the face relative to the nose, where they have a weight."""
    index = {name: k for k, name in enumerate(model.names)}
    parts = [("left_wrist", LEFT_HAND, energy.relative_hands), ("right_wrist", RIGHT_HAND, energy.relative_hands)]
    parts.append(("nose", tuple(range(76, len(LANDMARK_NAMES))), energy.relative_face))
    terms = []
    for anchor, part, weight in parts:
        members = [index[LANDMARK_NAMES[i]] for i in part if LANDMARK_NAMES[i] in index]
        if weight > 0 and anchor in index and members:
            rows = torch.tensor(members, device=model.device)
            terms.append(RelativeReprojection(reprojection, index[anchor], rows, weight, f"relative_{anchor}"))
    return terms


def _part_weights(model: LandmarkModel, energy: EnergyConfig) -> Float[Tensor, " K"]:
    """The weight of each of the model's landmarks by its part: body, hands or face."""
    body, hands = {LANDMARK_NAMES[i] for i in BODY}, {LANDMARK_NAMES[i] for i in LEFT_HAND + RIGHT_HAND}
    weights = [energy.body if n in body else energy.hands if n in hands else energy.face for n in model.names]
    return torch.tensor(weights, dtype=model.dtype, device=model.device)
