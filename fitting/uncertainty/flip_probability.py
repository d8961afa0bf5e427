"""How probable it is that a bone of an arm or leg is flipped in depth: a logistic regression on what a fit knows.

What it looks at costs nothing beyond the solution and its covariance: how far a bone leaves the image plane, how sure
that is, the limb's other bone, the pose that the start network predicts, and how well person and pose fit. The
coefficients come from validation people (`flip_coefficients.py`), so that the probabilities are true of such people.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.landmarks import LIMB_BONES
from bodyfit.fitting.uncertainty.flip_coefficients import COEFFICIENTS
from bodyfit.fitting.uncertainty.flips import depth_sines

KINDS = ("upper arm", "forearm", "thigh", "shin")
FEATURES: tuple[str, ...] = (
    *(f"{kind}{toward}" for kind in KINDS for toward in ("", ", towards the camera")),
    "sine", "squared sine", "log of sine", "log of deviation", "log of depth over deviation",
    "log of pose misfit", "log of cost", "log of distance",
    "other bone's sine, same way", "other bone's sine", "predicted sine, same way",
    "angle from prediction up to 0.5", "angle from prediction up to 1.5",
)  # fmt: skip
"""Names of the features, in order. `sine`: of the angle between the bone and the plane perpendicular to the ray;
`deviation`: standard deviation of the bone's depth; `same way`: positive where it points as the bone does."""


@dataclass(frozen=True)
class SolvedLimbs:
    """What is known of arms and legs after a fit."""

    points: Float[Tensor, "B J 3"]
    """Joints in the order of JOINT_NAMES, camera frame, m."""
    predicted: Float[Tensor, "B J 3"]
    """The same in the predicted pose; the solution's where there is none."""
    deviation_m: Float[Tensor, "B 8"]
    """Standard deviation of the depth of each of LIMB_BONES: of its lower joint relative to its upper one."""
    pose_misfit: Float[Tensor, " B"]
    """Squared residuals of the pose prior."""
    cost: Float[Tensor, " B"]
    """Cost per weight of the keypoints."""


def features(limbs: SolvedLimbs) -> Float[Tensor, "B 8 F"]:
    """FEATURES of each of LIMB_BONES."""
    sine, predicted = depth_sines(limbs.points), depth_sines(limbs.predicted)
    way, towards = sine.sign(), (sine < 0).to(sine)
    kind = torch.eye(len(KINDS), dtype=sine.dtype, device=sine.device).repeat(len(LIMB_BONES) // len(KINDS), 1)
    kinds = kind[None, :, :, None] * torch.stack([torch.ones_like(towards), towards], -1)[:, :, None]
    other = sine.unflatten(1, (-1, 2)).flip(2).flatten(1)
    of_person = (limbs.pose_misfit, limbs.cost, limbs.points[:, 0].norm(dim=1))
    apart = (sine.clamp(-1, 1).asin() - predicted.clamp(-1, 1).asin()).abs()
    small = torch.finfo(sine.dtype).tiny
    columns = [
        sine.abs(),
        sine.square(),
        (sine.abs() + 0.02).log(),
        limbs.deviation_m.clamp_min(1e-4).log(),
        (sine.abs() / (4 * limbs.deviation_m).clamp_min(1e-4)).clamp(max=20).log1p(),
        *(value.clamp_min(small).log()[:, None].expand_as(sine) for value in of_person),
        other * way,
        other.abs(),
        predicted * way,
        apart.clamp(max=0.5),
        apart.clamp(max=1.5),
    ]
    return torch.cat([kinds.flatten(2), torch.stack(columns, -1)], -1).nan_to_num().clamp(-30, 30)


def flip_probability(found: Float[Tensor, "B 8 F"], offset: float = 0.0) -> Float[Tensor, "B 8"]:
    """Probability that each of LIMB_BONES is flipped in depth (`flips.flipped_bones`), by its `features`; `offset` is
    added to the logarithm of the odds."""
    return (found @ found.new_tensor([COEFFICIENTS[name] for name in FEATURES]) + offset).sigmoid()


def fitted_coefficients(found: Float[Tensor, "B 8 F"], flipped: Tensor, ridge: float = 1e-3) -> dict[str, float]:
    """Coefficients of the logistic regression, by the name of their feature.

    Args:
        found: `features` of people with known truth.
        flipped: (B, 8), whether each bone is flipped.
        ridge: weight of the squared coefficients of standardised features.
    """
    found, flipped = found.double().flatten(0, 1), flipped.double().flatten()
    kinds = 2 * len(KINDS)
    mean, scale = found.mean(0), found.std(0).clamp_min(1e-4)
    mean[:kinds], scale[:kinds] = 0.0, 0.3
    weight, bias = logistic_regression((found - mean) / scale, flipped, ridge)
    slope = weight / scale
    constant = float(bias - slope @ mean)
    values = slope.tolist()
    values[:kinds:2] = [value + constant for value in values[:kinds:2]]  # every bone is of exactly one kind
    return {name: round(value, 4) for name, value in zip(FEATURES, values, strict=True)}


def fitted_offset(probability: Float[Tensor, "N 8"], flipped: Tensor) -> float:
    """What is to be added to the logarithm of the odds so that as many bones are flipped as promised.

    Args:
        probability: of each bone.
        flipped: (N, 8), whether it is.
    """
    odds, (low, high) = probability.double().clamp(1e-9, 1 - 1e-9).logit(), (-10.0, 10.0)
    for _ in range(50):
        middle = (low + high) / 2
        too_much = float((odds + middle).sigmoid().mean()) > float(flipped.double().mean())
        low, high = (low, middle) if too_much else (middle, high)
    return round(middle, 2)


def logistic_regression(
    found: Float[Tensor, "N F"], yes: Float[Tensor, " N"], ridge: float
) -> tuple[Float[Tensor, " F"], Float[Tensor, ""]]:
    """Slopes and intercept, double precision, with a penalty on squared slopes."""
    weight = torch.zeros(found.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(found @ weight + bias, yes)
        value = value + ridge * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    return weight.detach(), bias.detach()
