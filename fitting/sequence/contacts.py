"""Which points of the feet rest, from how they move over time, and the floor that they rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.fitting.energy.floor import Feet, Floor, fit_plane
from bodyfit.fitting.energy.landmark_model import LandmarkModel


@dataclass(frozen=True)
class GroundConfig:
    """When feet are said to rest, and how firmly they are held where they do."""

    rest_speed: float = 0.15
    """Speed, m/s, below which a point of a foot begins to rest."""
    move_speed: float = 0.3
    """Speed above which a resting point moves again: more than the former, so that noise does not end a contact."""
    least_seconds: float = 0.1
    """Shorter contacts are none."""
    smooth_seconds: float = 0.1
    """Time over which speeds are means."""
    depth_share: float = 0.25
    """How much speed along the line of sight counts where one camera alone saw the person: depth is what one camera
    sees worst."""
    slide_sigma: float = 0.05
    """Standard deviation, m/s, of the speed of a resting point, per axis, at 30 frames per second."""
    slide_robust_sigmas: float = 4.0
    """Geman-McClure scale of these speeds, in those units: a point that moves after all is let go."""
    height_sigma_m: float = 0.02
    """Standard deviation of the height of a resting point above the floor, m."""
    height_robust_sigmas: float = 3.0
    """Geman-McClure scale of these heights, in those units: feet on a stair or a chair are let go."""
    sink_sigma_m: float = 0.02
    """Standard deviation of the depth of any point of a foot below the floor, m."""
    up: tuple[float, float, float] | None = None
    """Where up is in the frame of the fit, unit length, if that is known; None: upright bodies say it."""
    gravity_sigma: float = 0.02
    """How well a given direction is known, rad."""
    upright: float = 0.5
    """Angle between legs and trunk, rad, up to which somebody counts as standing upright."""
    up_sigma: float = 0.07
    """How well the trunks of those who stand say where up is, rad."""
    spread_m: float = 0.02
    """How far resting points are from a floor, m, ..."""
    drift_share: float = 0.02
    """... and, where one camera alone saw them, this share of its height besides: distances drift."""
    independent: float = 60.0
    """As how many independent points the resting points of one person count, at most: errors last."""
    least_share: float = 0.6
    """Share of the resting points that must lie in one plane, else there is no common floor."""
    least_contacts: int = 12
    """Resting points (moments times points) that a floor is found from."""
    far_sigmas: float = 2.0
    """People whose feet are so many standard deviations off the floor of all do not stand on it."""
    size_sigma: float = 0.05
    """How well one camera knows the size of a person beforehand, as a share ..."""
    known_size_sigma: float = 0.01
    """... and where shape or stature is given."""
    touch_m: float = 0.05
    """Height above the floor, m, up to which a resting point touches it."""
    unseen_seconds: float = 0.5
    """Time without a keypoint of a foot from which on nobody knows where it is."""
    rounds: int = 1
    """How often contacts and floor are found anew, and the fit is lowered under them."""

    def spread_about(self, offset_m: float, drift_share: float) -> float:
        """How far resting points are from a floor so far below or above the origin, m."""
        return math.hypot(self.spread_m, drift_share * offset_m)


@dataclass(frozen=True)
class Contacts:
    """Where feet rest in a clip."""

    feet: Feet
    """The points."""
    links: Bool[Tensor, "T-1 F"]
    """Whether each point rests from a moment to the next."""
    floor: Floor | None = None
    """The plane that they rest on; None: none was found."""
    reason: str = ""
    """Why none was found."""
    up: tuple[float, float, float] | None = None
    """Up, as these feet and the body above them, or the given gravity, say it."""
    level: Bool[Tensor, "T F"] | None = None
    """Which resting points stand on the floor; None: all of them, as far as the robust loss keeps them."""
    held: bool = True
    """Whether heights above the floor count: not where it is that of others, on which this person does not stand."""

    @property
    def moments(self) -> Bool[Tensor, "T F"]:
        """Whether each point rests at each moment."""
        nothing = self.links.new_zeros(1, self.links.shape[1])  # of one moment there are no links
        return torch.cat([self.links, nothing]) | torch.cat([nothing, self.links])

    def touching(self, points: Float[Tensor, "T F 3"], config: GroundConfig) -> Bool[Tensor, "T 2"]:
        """Whether the left and the right foot touch the ground: some point of it rests, and is not above the floor."""
        resting = self.moments
        if self.floor is not None:
            resting = resting & ((self.floor.height(points) - self.feet.clearance_m).abs() < config.touch_m)
        return torch.stack([resting[:, self.feet.side == side].any(1) for side in (0, 1)], 1)

    def between(self, first: int, last: int) -> Contacts:
        """Those of moments first to last - 1."""
        level = None if self.level is None else self.level[first:last]
        return replace(self, links=self.links[first : last - 1], level=level)

    @property
    def standing(self) -> Bool[Tensor, "T F"]:
        """Which points stand on the floor."""
        return self.moments if self.level is None else self.level


def resting_links(
    points: Float[Tensor, "T F 3"],
    fps: float,
    config: GroundConfig,
    *,
    depth_share: float = 1.0,
) -> Bool[Tensor, "T-1 F"]:
    """Which points rest between neighbouring moments, with hysteresis.

    Args:
        points: of the feet; for one camera in its frame.
        fps: moments per second.
        config: the speeds.
        depth_share: how much speed along the ray to each point counts.
    """
    if len(points) < 2:
        return torch.zeros(0, points.shape[1], dtype=torch.bool, device=points.device)
    moved = points.diff(dim=0)
    if depth_share != 1.0:
        ray = torch.nn.functional.normalize(points[1:] + points[:-1], dim=-1)
        moved = moved - (1 - depth_share) * (moved * ray).sum(-1, keepdim=True) * ray
    half = max(round(config.smooth_seconds * fps / 2 - 0.5), 0)
    speed = fps * _mean_over(moved, half).norm(dim=-1)
    slow, still = speed < config.rest_speed, speed < config.move_speed
    rest = _runs_with(still, slow)
    return _runs_of_at_least(rest, max(round(config.least_seconds * fps), 1))


def _mean_over(values: Float[Tensor, "T F 3"], half: int) -> Float[Tensor, "T F 3"]:
    """The mean over `half` neighbours on either side, fewer at the ends."""
    total = torch.cat([torch.zeros_like(values[:1]), values.cumsum(0)])
    here = torch.arange(len(values), device=values.device)
    low, high = (here - half).clamp(min=0), (here + half + 1).clamp(max=len(values))
    return (total[high] - total[low]) / (high - low)[:, None, None]


def _run_numbers(values: Bool[Tensor, "T F"]) -> Tensor:
    """A number for each run of equal values of each column."""
    change = torch.ones_like(values)
    change[1:] = values[1:] != values[:-1]
    return change.T.flatten().cumsum(0).view(values.shape[1], -1).T - 1


def _runs_with(wide: Bool[Tensor, "T F"], narrow: Bool[Tensor, "T F"]) -> Bool[Tensor, "T F"]:
    """Runs of `wide` that contain some of `narrow`."""
    run = _run_numbers(wide)
    has = torch.zeros(int(run.max()) + 1, dtype=torch.bool, device=wide.device)
    has[run[narrow]] = True
    return wide & has[run]


def _runs_of_at_least(values: Bool[Tensor, "T F"], length: int) -> Bool[Tensor, "T F"]:
    run = _run_numbers(values)
    lengths = torch.bincount(run.flatten())
    return values & (lengths[run] >= length)


def find_contacts(
    feet: Feet,
    model: LandmarkModel,
    points: Float[Tensor, "T K 3"],
    fps: float,
    config: GroundConfig,
    *,
    one_camera: bool,
    seen: Bool[Tensor, "T 2"] | None = None,
) -> Contacts:
    """Where the feet of a person rest, and the floor that they rest on.

    Args:
        feet: their points.
        model: the landmarks, joints of the trunk among them.
        points: all landmarks at all moments, m; of one camera in its frame.
        fps: moments per second.
        config: the speeds, and what is asked of a floor.
        one_camera: whether depths are seen by perspective alone.
        seen: whether the left and the right foot were seen about each moment; None: they were.
    """
    below = points[:, feet.landmarks]
    links = resting_links(below, fps, config, depth_share=config.depth_share if one_camera else 1.0)
    if seen is not None:
        links = links & (seen[1:] & seen[:-1])[:, feet.side]
    contacts = Contacts(feet, links)
    if not bool(links.any()):
        return replace(contacts, reason="none: no foot that is seen rests")
    resting = contacts.moments
    up, source = config.up, "the given gravity"
    if up is None:
        found = up_of_standing(model, points, below, resting, config)
        if found is None:
            return replace(contacts, reason="none: nobody stands upright on resting feet, and no gravity is given")
        up, up_sigma, source = found, config.up_sigma, "resting feet and upright bodies"
    else:
        up, up_sigma = points.new_tensor(up), config.gravity_sigma
    clearance = feet.clearance_m.expand(len(points), -1)[resting]
    drift = config.drift_share if one_camera else 0.0
    floor = floor_of(below[resting], clearance, up, config, up_sigma=up_sigma, drift_share=drift, source=source)
    reason = "" if floor else "none: resting feet lie in no common plane"
    return replace(contacts, floor=floor, reason=reason, up=tuple(up.tolist()))


def up_of_standing(
    model: LandmarkModel,
    points: Float[Tensor, "T K 3"],
    below: Float[Tensor, "T F 3"],
    resting: Bool[Tensor, "T F"],
    config: GroundConfig,
) -> Float[Tensor, " 3"] | None:
    """Up, as those who stand say it: the mean direction from resting feet to the neck, where legs and trunk go the same
    way. None where nobody stands."""
    pelvis, neck = (points[:, model.names.index(name)] for name in ("pelvis", "neck"))
    weights = resting.to(points)
    place = (weights[..., None] * below).sum(1) / weights.sum(1).clamp_min(1)[:, None]
    legs, trunk = (torch.nn.functional.normalize(v, dim=1) for v in (pelvis - place, neck - pelvis))
    standing = resting.any(1) & ((legs * trunk).sum(1) > math.cos(config.upright))
    if int(standing.sum()) < max(config.least_contacts // len(below[0]), 1):
        return None
    axes = torch.nn.functional.normalize(neck - place, dim=1)[standing]
    return torch.nn.functional.normalize(axes.median(0).values, dim=0)


def floor_of(
    points: Float[Tensor, "N 3"],
    clearance: Float[Tensor, " N"],
    up: Float[Tensor, " 3"],
    config: GroundConfig,
    *,
    up_sigma: float,
    drift_share: float,
    source: str,
) -> Floor | None:
    """The plane that resting points lie in; None where too few do.

    Args:
        points: resting points of all moments, m.
        clearance: height of each above the sole.
        up: what is known of the normal.
        config: what is asked of a floor.
        up_sigma: how well the normal is known beforehand, rad.
        drift_share: as in the configuration; 0 for several cameras.
        source: what `up` was found from.
    """
    if len(points) < config.least_contacts:
        return None
    weights = torch.full_like(clearance, min(1.0, config.independent / len(points)))
    lowered = points - clearance[:, None] * up
    spread = config.spread_about(float((lowered @ up).median()), drift_share)
    normal, offset, kept = fit_plane(lowered, weights, up, up_sigma=up_sigma, spread_m=spread)
    if float((kept > 0.25).double().mean()) < config.least_share:
        return None
    return Floor(tuple(normal.tolist()), float(offset), source)
