"""Whether fits know how sure they are: true joints of synthetic people in the regions that their covariances promise.

The squared Mahalanobis distance of a true joint from the fitted one has, if the covariance is right, a chi-squared
distribution with three degrees of freedom: 68 % of the true joints lie within the region of 68 %. Temperatures are
factors on covariances that bring the 68 % about; `bodyfit.fitting.uncertainty.temperature` holds those that ship.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.fitting.benchmark.measure import Bench, usable
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.start.synthetic import PeopleMaker, SyntheticOptions, SyntheticPeople, mocap_poses, prior_poses
from bodyfit.fitting.uncertainty.temperature import JOINT_PARTS, OVERALL, TEMPERATURES

LEVELS = {0.50: 2.366, 0.68: 3.506, 0.90: 6.251, 0.95: 7.815}
"""Quantiles of the chi-squared distribution with three degrees of freedom."""
FRAMES = {"camera": "joint_covariance", "root_relative": "joint_covariance_root_relative"}
BODY_JOINTS = JOINT_NAMES[:22]
_TINY = 1e-12  # m^2


@dataclass(frozen=True)
class Study:
    """Fits of people with known truth."""

    noise_share: float
    """Keypoint error of these people as a share of their size."""
    people: SyntheticPeople
    joints: Float[np.ndarray, "N 55 3"]
    """Fitted, camera frame, m."""
    distances: dict[str, Float[np.ndarray, "N 55"]]
    """Squared Mahalanobis distance of each true joint, by frame; NaN where a person or joint has no covariance."""
    uncertainty: dict[str, np.ndarray]
    """Covariances and the like by their names in a FitResult."""
    alternative: Float[np.ndarray, "N 55 3"] = field(default_factory=lambda: np.zeros((0, 55, 3)))
    """Joints of the alternative modes; NaN where there is none."""


def make_people(
    fitter: Fitter,
    poses: Path | None,
    split: str | None,
    count: int,
    seed: int,
    noise_share: float,
    ages: tuple[float, float] | None = None,
) -> SyntheticPeople:
    """People in poses of a mocap folder, or of the prior where it is None; children of these ages, in years, where they
    are given."""
    orient = None
    if poses is None:
        body_pose = prior_poses(fitter.prior, count, seed=seed)
    else:
        body_pose, orient = mocap_poses(poses, count, seed=seed, split=split)
    maker = PeopleMaker(fitter.body, SyntheticOptions(noise_share=noise_share, ages=ages), device=fitter.device)
    people = maker.make(body_pose, orient, seed=seed)
    return people.select(usable(people))


@torch.no_grad()
def study(fitter: Fitter, people: SyntheticPeople, noise_share: float) -> Study:
    """Fit people, and see how far the truth is in units of the covariances."""
    bench = Bench(fitter, people)
    estimator = fitter.afterwards.estimator
    estimator.for_studies = True
    try:
        solution, other, uncertainty, _ = fitter.solve_with_uncertainty(bench.observations(people), bench.model)
    finally:
        estimator.for_studies = False
    joints, alternative = _joints(fitter, solution.x), _joints(fitter, other.x)
    alternative[~np.isfinite(other.cost.cpu().numpy())] = np.nan
    apart = joints - people.landmarks[:, : len(JOINT_NAMES)].double().cpu().numpy()
    away = {"camera": apart, "root_relative": apart - apart[:, :1]}
    distances = {frame: squared_distance(away[frame], uncertainty[name]) for frame, name in FRAMES.items()}
    distances["root_relative"][:, 0] = np.nan  # the pelvis relative to itself
    return Study(noise_share, people, joints, distances, uncertainty, alternative)


def _joints(fitter: Fitter, x: torch.Tensor) -> Float[np.ndarray, "N 55 3"]:
    """Joints of people at x; NaN for those that the body lacks."""
    unknowns, transl = fitter.unknowns, x[:, fitter.unknowns.layout["transl"]]
    rotations = unknowns.rotations(x, unknowns.decode(x))
    points = fitter.everything(rotations, unknowns.shape(x), transl, derivatives=False).points
    joints = points.new_full((len(x), len(JOINT_NAMES), 3), torch.nan)
    here = [n for n, name in enumerate(JOINT_NAMES) if name in fitter.everything.names]
    joints[:, here] = points[:, [fitter.everything.names.index(JOINT_NAMES[n]) for n in here]]
    return joints.double().cpu().numpy()


def squared_distance(
    away: Float[np.ndarray, "N J 3"], covariance: Float[np.ndarray, "N J 3 3"]
) -> Float[np.ndarray, "N J"]:
    """Squared Mahalanobis distance; NaN where there is no covariance."""
    known = np.isfinite(covariance).all(axis=(2, 3)) & np.isfinite(away).all(axis=2)
    found = np.full(known.shape, np.nan)
    matrices = covariance[known].astype(float) + _TINY * np.eye(3)
    found[known] = np.einsum("ni,ni->n", away[known], np.linalg.solve(matrices, away[known][..., None])[..., 0])
    return found


def groups_of_joints() -> dict[str, list[int]]:
    """Columns of the parts, of the body and of all joints."""
    found = {part: [JOINT_NAMES.index(name) for name in names] for part, names in JOINT_PARTS.items()}
    return found | {"body": list(range(len(BODY_JOINTS))), "all": list(range(len(JOINT_NAMES)))}


def coverage(studies: Sequence[Study]) -> dict[str, dict[str, dict[float, float]]]:
    """By frame and part: the share of true joints within the region of each level."""
    found: dict[str, dict[str, dict[float, float]]] = {}
    for frame in FRAMES:
        distances = np.concatenate([one.distances[frame] for one in studies])
        found[frame] = {part: _shares(distances[:, columns]) for part, columns in groups_of_joints().items()}
    return found


def _shares(distances: Float[np.ndarray, "N J"]) -> dict[float, float]:
    known = distances[np.isfinite(distances)]
    return {level: float((known <= bound).mean()) for level, bound in LEVELS.items()}


def worst_gap(found: dict[str, dict[str, dict[float, float]]], level: float | None = None) -> float:
    """Largest difference between a level and the share of truths within its region, over frames, parts and levels."""
    return max(
        abs(share - promised)
        for parts in found.values()
        for shares in parts.values()
        for promised, share in shares.items()
        if level in (None, promised)
    )


def reliability(studies: Sequence[Study], frame: str, steps: int = 40) -> tuple[list[float], list[float]]:
    """Promised and found shares of the body's joints, for a curve."""
    distances = np.concatenate([one.distances[frame][:, : len(BODY_JOINTS)] for one in studies])
    known = np.sort(distances[np.isfinite(distances)])
    bounds = np.linspace(0, 16, 4000)
    promised = _chi_squared_3(bounds)
    levels = np.linspace(0, 0.99, steps)
    return levels.tolist(), (np.searchsorted(known, np.interp(levels, promised, bounds)) / len(known)).tolist()


def _chi_squared_3(bound: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Cumulative distribution of the chi-squared distribution with three degrees of freedom."""
    root = torch.as_tensor(np.sqrt(bound))
    density = torch.sqrt(torch.tensor(2 / torch.pi)) * root * torch.exp(-root.square() / 2)
    return (torch.erf(root / 2**0.5) - density).numpy()


def fitted_temperatures(studies: Sequence[Study]) -> tuple[dict[str, dict[str, float]], float]:
    """Temperatures that put 68 % of the true joints of each part into its regions, and one for everything.

    The studies count alike, whatever their size: a temperature is the geometric mean of what each of them asks for.
    """
    found: dict[str, dict[str, float]] = {}
    for frame in FRAMES:
        found[frame] = {}
        for part, columns in groups_of_joints().items():
            asked = [_asked(one.distances[frame][:, columns]) for one in studies]
            found[frame][part] = float(np.exp(np.mean(np.log(asked))))
            if part in TEMPERATURES[frame]:
                found[frame][part] *= TEMPERATURES[frame][part]
    overall = OVERALL * float(np.exp(np.mean([np.log(_overall(one)) for one in studies])))
    parts = {frame: {part: round(found[frame][part], 3) for part in JOINT_PARTS} for frame in FRAMES}
    return parts, round(overall, 3)


def _asked(distances: Float[np.ndarray, "N J"]) -> float:
    """Factor on the covariances with which 68 % of the truths are within the region of 68 %."""
    return float(np.nanquantile(distances, 0.68) / LEVELS[0.68])


def _overall(one: Study) -> float:
    """The factor on covariances as Laplace gives them, for the body's joints in both frames together."""
    pooled = []
    for frame in FRAMES:
        factors = np.array([TEMPERATURES[frame][part_of_joint] for part_of_joint in _parts_of_joints()])
        pooled.append((one.distances[frame] * factors)[:, : len(BODY_JOINTS)])
    return _asked(np.concatenate(pooled)) / OVERALL


def _parts_of_joints() -> list[str]:
    by_name = {name: part for part, names in JOINT_PARTS.items() for name in names}
    return [by_name[name] for name in JOINT_NAMES]
