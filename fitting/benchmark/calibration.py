"""Whether fits know how sure they are: true joints of synthetic people in the regions that their covariances promise.

The squared Mahalanobis distance of a true joint from the fitted one has, if the covariance is right, a chi-squared
distribution with three degrees of freedom: 68 % of the true joints lie within the region of 68 %. Factors on
covariances and floors bring that about; `bodyfit.fitting.uncertainty.temperature` holds those that ship.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.fitting.benchmark.laboratories import measured_elsewhere, offsets, who_is_elsewhere
from bodyfit.fitting.benchmark.measure import Bench, usable
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.start.pose_sources import mocap_poses, prior_poses
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions, SyntheticPeople
from bodyfit.fitting.uncertainty.temperature import JOINT_PARTS, SCALES, Scale

LEVELS = {0.50: 2.366, 0.68: 3.506, 0.90: 6.251, 0.95: 7.815}
"""Quantiles of the chi-squared distribution with three degrees of freedom."""
FRAMES = {"camera": "joint_covariance", "root_relative": "joint_covariance_root_relative"}
BODY_JOINTS = JOINT_NAMES[:22]
_TINY = 1e-12  # m^2
_MOST_ERRORS = 6000
_FLOORS_M = tuple(round(0.002 * n, 3) for n in range(26))
_FACTORS = (0.2, 20.0)
_WORTH_A_FLOOR = 2e-4  # squared shares: a floor must bring more
_BESIDE = {"face": "head", "hands": "wrists"}


@dataclass(frozen=True)
class Errors:
    """Errors of N fits of joints, and what their covariances promise, by frame (FRAMES)."""

    away: dict[str, Float[np.ndarray, "N 55 3"]]
    """Fitted less true joints, m; NaN where there is none."""
    covariance: dict[str, Float[np.ndarray, "N 55 3 3"]]
    """As results have them; NaN where a person or joint has none."""

    @cached_property
    def distances(self) -> dict[str, Float[np.ndarray, "N 55"]]:
        """Squared Mahalanobis distance of each true joint, by frame; NaN where there is none."""
        found = {frame: squared_distance(self.away[frame], self.covariance[frame]) for frame in FRAMES}
        found["root_relative"][:, 0] = np.nan  # the pelvis relative to itself
        return found

    @classmethod
    def of(cls, apart: Float[np.ndarray, "N 55 3"], covariance: Mapping[str, Float[np.ndarray, "N 55 3 3"]]) -> Errors:
        """From errors in the camera frame, and covariances by their names in a result."""
        away = {"camera": apart, "root_relative": apart - apart[:, :1]}
        return cls(away, {frame: covariance[name] for frame, name in FRAMES.items()})


@dataclass(frozen=True)
class Study:
    """Fits of people with known truth."""

    noise_share: float
    """Keypoint error of these people as a share of their size."""
    people: SyntheticPeople
    joints: Float[np.ndarray, "N 55 3"]
    """Fitted, camera frame, m."""
    errors: Errors
    uncertainty: dict[str, np.ndarray]
    """Covariances and the like by their names in a FitResult."""
    alternatives: Float[np.ndarray, "N M 55 3"]
    """Joints of the alternative modes, the most probable first; NaN where there are fewer."""


def make_people(
    fitter: Fitter,
    poses: Path | None,
    split: str | None,
    count: int,
    seed: int,
    noise_share: float,
    ages: tuple[float, float] | None = None,
    elsewhere: float = 0.0,
) -> SyntheticPeople:
    """People in poses of a mocap folder, or of the prior where it is None; children of these ages, in years, where they
    are given; a share of them `elsewhere`, as another laboratory would have measured them."""
    orient = None
    if poses is None:
        body_pose = prior_poses(fitter.prior, count, seed=seed)
    else:
        body_pose, orient = mocap_poses(poses, count, seed=seed, split=split)
    if elsewhere > 0:
        turned = measured_elsewhere(body_pose.unflatten(1, (-1, 3)), offsets(len(body_pose), seed)).flatten(1)
        body_pose = torch.where(who_is_elsewhere(len(body_pose), elsewhere, seed)[:, None], turned, body_pose)
    maker = PeopleMaker(fitter.body, SyntheticOptions(noise_share=noise_share, ages=ages), device=fitter.device)
    people = maker.make(body_pose, orient, seed=seed)
    return people.select(usable(people))


@torch.no_grad()
def study(fitter: Fitter, people: SyntheticPeople, noise_share: float) -> Study:
    """Fit people, and see how far the truth is in units of the covariances."""
    bench = Bench(fitter, people)
    estimators = [one.afterwards.estimator for one in (fitter, fitter.children) if one is not None]
    try:
        for estimator in estimators:
            estimator.for_studies = True
        solution, other, uncertainty, _ = fitter.solve_with_uncertainty(bench.observations(people), bench.model)
    finally:
        for estimator in estimators:
            estimator.for_studies = False
    joints, more = _joints(fitter, solution.x), torch.as_tensor(uncertainty["further_x"]).to(other.x)
    everything = torch.cat([other.x[:, None], more], 1)
    alternatives = _joints(fitter, everything.flatten(0, 1)).reshape(*everything.shape[:2], *joints.shape[1:])
    alternatives[:, 0][~np.isfinite(other.cost.cpu().numpy())] = np.nan
    alternatives[:, 1:][~np.isfinite(uncertainty["further_weight"])] = np.nan
    apart = joints - people.landmarks[:, : len(JOINT_NAMES)].double().cpu().numpy()
    return Study(noise_share, people, joints, Errors.of(apart, uncertainty), uncertainty, alternatives)


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


def coverage(studies: Sequence[Errors]) -> dict[str, dict[str, dict[float, float]]]:
    """By frame and part: the share of true joints within the region of each level; parts without truth are left out."""
    found: dict[str, dict[str, dict[float, float]]] = {}
    for frame in FRAMES:
        distances = np.concatenate([one.distances[frame] for one in studies])
        known = {part: distances[:, columns] for part, columns in groups_of_joints().items()}
        found[frame] = {part: _shares(some) for part, some in known.items() if np.isfinite(some).any()}
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


def reliability(studies: Sequence[Errors], frame: str, steps: int = 40) -> tuple[list[float], list[float]]:
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


def fitted_scales(studies: Sequence[Errors], seen_as: str) -> dict[str, dict[str, Scale]]:
    """The factor and floor of each part that put 68 % of the true joints into its regions of 68 %, and shares as near
    as can be into those of other levels. The studies count alike, whatever their size. Parts without any truth have the
    scale of the part beside them.

    Args:
        studies: fits under the scales that ship.
        seen_as: which of these, see `temperature.SCALES`.
    """
    found: dict[str, dict[str, Scale]] = {}
    for frame in FRAMES:
        found[frame] = {}
        for part, names in JOINT_PARTS.items():
            columns = [JOINT_NAMES.index(name) for name in names]
            known = [_as_laplace_says(one, frame, columns, SCALES[seen_as][frame][part]) for one in studies]
            if (frame, part) == ("root_relative", "pelvis"):
                found[frame][part] = (1.0, 0.0)
            elif all(len(away) for away, _ in known):
                found[frame][part] = _fitted_scale(known)
            else:
                found[frame][part] = found[frame][_BESIDE[part]]
    return found


def _as_laplace_says(
    one: Errors, frame: str, columns: list[int], scale: Scale
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3"]]:
    """Squared errors of some joints along the axes of their covariances, and variances along these without factor and
    floor; of a few thousand of them at most."""
    away, covariance = one.away[frame][:, columns].reshape(-1, 3), one.covariance[frame][:, columns].reshape(-1, 3, 3)
    known = np.flatnonzero(np.isfinite(away).all(axis=1) & np.isfinite(covariance).all(axis=(1, 2)))
    known = known[:: max(1, len(known) // _MOST_ERRORS)]
    variances, axes = np.linalg.eigh((covariance[known].astype(float) - scale[1] ** 2 * np.eye(3)) / scale[0])
    return np.square((axes.swapaxes(1, 2) @ away[known][..., None])[..., 0]), variances.clip(_TINY)


def _fitted_scale(studies: list[tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3"]]]) -> Scale:
    best: tuple[float, Scale] = (np.inf, (1.0, 0.0))
    for floor in _FLOORS_M:
        low, high = _FACTORS
        for _ in range(20):
            factor = (low * high) ** 0.5
            low, high = (factor, high) if _within(studies, (factor, floor))[0.68] < 0.68 else (low, factor)
        shares = _within(studies, (factor, floor))
        missed = sum((share - level) ** 2 for level, share in shares.items())
        if missed < best[0] - _WORTH_A_FLOOR:
            best = missed, (round(factor, 3), floor)
    return best[1]


def _within(studies: list[tuple[np.ndarray, np.ndarray]], scale: Scale) -> dict[float, float]:
    """Shares of truths within the regions of all levels, the mean over studies."""
    distances = [(squares / (scale[0] * variances + scale[1] ** 2)).sum(axis=1) for squares, variances in studies]
    return {level: float(np.mean([(d <= bound).mean() for d in distances])) for level, bound in LEVELS.items()}


def fitted_overall(studies: Sequence[Errors], seen_as: str) -> float:
    """The factor on covariances as Laplace gives them, for the body's joints in both frames together. Arguments as of
    `fitted_scales`."""
    asked = []
    for one in studies:
        pooled = []
        for frame in FRAMES:
            for part, names in JOINT_PARTS.items():
                columns = [JOINT_NAMES.index(name) for name in names if name in BODY_JOINTS]
                if columns and (frame, part) != ("root_relative", "pelvis"):
                    squares, variances = _as_laplace_says(one, frame, columns, SCALES[seen_as][frame][part])
                    pooled.append((squares / variances).sum(axis=1))
        asked.append(np.quantile(np.concatenate(pooled), 0.68) / LEVELS[0.68])
    return round(float(np.exp(np.mean(np.log(asked)))), 3)
