"""21 points of each hand, in squares laid around the knuckles or along the forearm of the arm that it hangs on.

Left and right are the body's: the network is told which wrist it looks at and never asked which hand it sees.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float, Int

from bodyfit.data.detect.crops import Picture, Regions
from bodyfit.data.detect.network import Network

POINTS = 21
WRIST, MIDDLE_KNUCKLE = 0, 9
PALM = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""Points that stay together however the fingers bend; the square of the next look is laid around them."""


@dataclass(frozen=True)
class HandOptions:
    """How hands are looked for and which are kept."""

    min_presence: float = 0.2
    """Squares whose network output says less hold no hand."""
    max_wrist_gap: float = 0.6
    """Largest distance of the hand's wrist from the arm's, relative to the palm's length (or 0.35 forearms)."""
    looks: int = 2
    """How often; each time the square is laid anew around the points found before."""
    min_side: float = 12.0
    """Smaller squares, in pixels, show too little."""
    follow: float = 0.3
    """In a video, hands of at least this confidence are followed, as long as their presence, less where the wrists
    differ, stays as high."""
    hopeless: float = 0.03
    """In a video, squares whose first look says less are not looked at again."""
    batch: int = 32
    """Hands at a time."""


@dataclass(frozen=True, eq=False)
class Arms:
    """Where N hands should be; left ones and right ones alike."""

    elbow: Float[np.ndarray, "N 2"]
    wrist: Float[np.ndarray, "N 2"]
    index: Float[np.ndarray, "N 2"]
    """First knuckle of the index finger, roughly."""
    pinky: Float[np.ndarray, "N 2"]
    scale: Float[np.ndarray, " N"]
    """About how long a forearm of this person is in the picture, pixels."""

    def __getitem__(self, which: Int[np.ndarray, " M"]) -> Arms:
        return Arms(*(getattr(self, field.name)[which] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Hands:
    """Points of N hands."""

    xy: Float[np.ndarray, "N 21 2"]
    """Pixels; wrist, thumb, index, middle, ring, pinky."""
    presence: Float[np.ndarray, " N"]
    """How sure the network is of a hand there, in [0, 1]; 0 for those that disagree with their wrist."""
    gap: Float[np.ndarray, " N"]
    """From the hand's wrist to the arm's, over the length of the palm."""

    @classmethod
    def nowhere(cls, count: int) -> Hands:
        """Hands that nobody has looked for yet."""
        return cls(np.zeros((count, POINTS, 2)), np.zeros(count), np.zeros(count))

    def put(self, which: Int[np.ndarray, " M"], found: Hands) -> None:
        """Take what was found for some of them."""
        for field in fields(self):
            getattr(self, field.name)[which] = getattr(found, field.name)


def read_hands(network: Network, picture: Picture, arms: Arms, options: HandOptions, device: torch.device) -> Hands:
    """The better of two attempts for each arm: a square from the knuckles, and one along the forearm."""
    attempts = [_read(network, picture, lay(arms), arms, options, device) for lay in (knuckle_regions, forearm_regions)]
    quality = np.stack([t.presence * np.exp(-t.gap) for t in attempts])
    best = quality.argmax(axis=0)
    rows = np.arange(len(arms.scale))
    pick = (np.stack([getattr(t, name) for t in attempts])[best, rows] for name in ("xy", "presence", "gap"))
    return Hands(*pick)


def follow_hands(
    network: Network,
    picture: Picture,
    expected: Float[np.ndarray, "N 21 2"],
    arms: Arms,
    options: HandOptions,
    device: torch.device,
) -> Hands:
    """Hands in one look at where their points are expected; presence 0 where the quality is below `follow`."""
    found = _read(network, picture, palm_regions(expected), arms, replace(options, looks=1), device)
    sure = found.presence * np.exp(-found.gap) >= options.follow
    return Hands(found.xy, found.presence * sure, found.gap)


def find_hands_again(
    network: Network, picture: Picture, arms: Arms, options: HandOptions, device: torch.device
) -> Hands:
    """Hands that were not sure a moment ago: along the forearm alone, a second look only where the first gives hope."""
    xy, presence = _look(network, picture, forearm_regions(arms), options, device)
    hands, hope = Hands.nowhere(len(arms.scale)), np.flatnonzero(presence >= options.hopeless)
    if len(hope):
        regions = palm_regions(xy[hope])
        hands.put(hope, _read(network, picture, regions, arms[hope], replace(options, looks=1), device))
    return hands


def knuckle_regions(arms: Arms) -> Regions:
    """Squares around index and little finger, upright when the fingers point up; shares as in MediaPipe Holistic."""
    middle = (2 * arms.index + arms.pinky) / 3
    around = Regions.around(middle, 2 * middle - arms.wrist, 2 * 2.7)
    return Regions(around.center + 0.1 * around.side[:, None] * around.up, around.side, around.up)


def forearm_regions(arms: Arms) -> Regions:
    """Squares beyond the wrist, in the direction of the forearm."""
    forearm = arms.wrist - arms.elbow
    length = np.linalg.norm(forearm, axis=1)
    up = forearm / np.maximum(length, 1e-6)[:, None]
    up[length < 1e-6] = (0.0, -1.0)
    side = np.maximum(length, 0.6 * arms.scale)
    return Regions(arms.wrist + 0.3 * side[:, None] * up, np.maximum(side * 1.2, 1.0), up)


def _read(
    network: Network, picture: Picture, regions: Regions, arms: Arms, options: HandOptions, device: torch.device
) -> Hands:
    for look in range(options.looks):
        xy, presence = _look(network, picture, regions, options, device)
        if look < options.looks - 1:
            regions = palm_regions(xy)
    palm = np.linalg.norm(xy[:, MIDDLE_KNUCKLE] - xy[:, WRIST], axis=1)
    gap = np.linalg.norm(xy[:, WRIST] - arms.wrist, axis=1) / np.maximum(palm, 0.35 * arms.scale)
    kept = (presence >= options.min_presence) & (gap <= options.max_wrist_gap) & (regions.side >= options.min_side)
    return Hands(xy, presence * kept, gap)


def palm_regions(xy: Float[np.ndarray, "N 21 2"]) -> Regions:
    """Squares around hands that were found, fingers up; shares as in MediaPipe Hands."""
    up = xy[:, MIDDLE_KNUCKLE] - xy[:, WRIST]
    up = up / np.maximum(np.linalg.norm(up, axis=1), 1e-6)[:, None]
    right = np.stack([-up[:, 1], up[:, 0]], axis=1)
    frame = np.stack([right, -up], axis=1)
    inside = np.einsum("nki,nji->nkj", xy[:, list(PALM)], frame)
    low, high = inside.min(axis=1), inside.max(axis=1)
    side = np.maximum(2.0 * (high - low).max(axis=1), 1.0)
    center = np.einsum("nj,nji->ni", (low + high) / 2, frame) + 0.1 * side[:, None] * up
    return Regions(center, side, up)


def _look(
    network: Network, picture: Picture, regions: Regions, options: HandOptions, device: torch.device
) -> tuple[Float[np.ndarray, "N 21 2"], Float[np.ndarray, " N"]]:
    share, presence = np.zeros((len(regions), POINTS, 2)), np.zeros(len(regions))
    for i in range(0, len(regions), options.batch):
        out = network(picture.crops(regions[i : i + options.batch], network.input_size).to(device))
        points = out["landmarks"].reshape(-1, POINTS, 3)[..., :2] / network.input_size
        share[i : i + options.batch] = points.double().cpu().numpy()
        presence[i : i + options.batch] = out["presence"].reshape(-1).double().cpu().numpy()
    return regions.to_picture(share), presence
