"""The open body's hands: a relaxed mean pose and components of how fingers move together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bodyfit.data.landmarks import JOINT_NAMES

HAND_JOINTS = tuple(name.removeprefix("left_") for name in JOINT_NAMES[25:40])
FINGERS = ("index", "middle", "ring", "pinky")

# Degrees. MCP flexion of a relaxed hand grows from index to pinky; the outer joints follow.
RELAXED_FLEXION = {"index": (12, 16, 9), "middle": (16, 20, 11), "ring": (18, 22, 12), "pinky": (20, 22, 12)}
RELAXED_THUMB = (6, 8, 8)


@dataclass(frozen=True)
class Hand:
    """Poses of one hand as 15 axis-angle vectors; `components` rows are orthonormal, as in MANO."""

    mean: Float[np.ndarray, " 45"]
    components: Float[np.ndarray, "45 45"]
    deviations: Float[np.ndarray, " 45"]  # standard deviation of each component's coefficient, radians
    explained: Float[np.ndarray, " 45"]  # cumulative share of variance


def fit_left_hand(joints: Float[np.ndarray, "55 3"], count: int = 6000, seed: int = 0) -> Hand:
    """Principal components of sampled grips, spreads and thumb movements around a relaxed hand.

    Args:
        joints: the T-pose's joints; they give the thumb's axes. Fingers bend about -z and spread about y there.
    """
    rng = np.random.default_rng(seed)
    thumb_flex, thumb_spread = _thumb_axes(joints)
    mean = _pose(
        {f: RELAXED_FLEXION[f] for f in FINGERS},
        dict.fromkeys(FINGERS, 0.0),
        RELAXED_THUMB,
        (0.0, 0.0),
        thumb_flex,
        thumb_spread,
    )
    poses = np.stack([_sample_pose(rng, thumb_flex, thumb_spread) for _ in range(count)])
    centred = poses - mean
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    deviations = singular / np.sqrt(count - 1)
    rows = (
        rows * np.where(rows[:, HAND_JOINTS.index("middle1") * 3 + 2] > 0, -1, 1)[:, None]
    )  # positive closes the hand
    return Hand(mean, rows, deviations, np.cumsum(deviations**2) / (deviations**2).sum())


def mirror_hand(hand: Hand) -> Hand:
    """The other hand: equal coefficients give mirrored poses."""
    signs = np.tile([1.0, -1.0, -1.0], len(HAND_JOINTS))
    return Hand(hand.mean * signs, hand.components * signs, hand.deviations, hand.explained)


def _thumb_axes(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes about which the left thumb bends (towards the palm) and sweeps away from the index."""
    base = joints[JOINT_NAMES.index("left_thumb1")]
    along = joints[JOINT_NAMES.index("left_thumb3")] - base
    along /= np.linalg.norm(along)
    palm = joints[JOINT_NAMES.index("left_pinky1")] - base
    flex = np.cross(along, palm)
    flex /= np.linalg.norm(flex)
    return flex, np.cross(flex, along)


def _sample_pose(
    rng: np.random.Generator, thumb_flex: np.ndarray, thumb_spread: np.ndarray
) -> Float[np.ndarray, " 45"]:
    """A common grip with variation per finger; outer joints follow the middle ones; no spread in a fist."""
    grip = rng.normal(0.0, 0.55)
    flexion, spread = {}, {}
    fan = rng.normal(0, 7)
    for rank, finger in enumerate(FINGERS):
        own = np.clip(grip + rng.normal(0, 0.35), -1.0, 1.6)
        relaxed = RELAXED_FLEXION[finger]
        knuckle = relaxed[0] + 42 * np.clip(own + rng.normal(0, 0.3), -0.75, 1.6)
        middle = max(relaxed[1] + 52 * own + rng.normal(0, 8), -4)
        flexion[finger] = (knuckle, middle, max(0.62 * middle + rng.normal(0, 5), -6))
        spread[finger] = (fan * (1 - 0.67 * rank) + rng.normal(0, 2.5)) * np.clip(1 - 0.6 * max(own, 0), 0.2, 1)
    thumb = np.clip(grip * 0.5 + rng.normal(0, 0.45), -1.2, 1.5)
    bends = (
        RELAXED_THUMB[0] + 14 * thumb + rng.normal(0, 5),
        RELAXED_THUMB[1] + 22 * thumb + rng.normal(0, 8),
        RELAXED_THUMB[2] + 28 * thumb + rng.normal(0, 10),
    )
    return _pose(flexion, spread, bends, (rng.normal(0, 14), rng.normal(0, 10)), thumb_flex, thumb_spread)


def _pose(
    flexion: dict[str, tuple[float, ...]],
    spread: dict[str, float],
    thumb: tuple[float, ...],
    opposition: tuple[float, float],
    thumb_flex: np.ndarray,
    thumb_spread: np.ndarray,
) -> Float[np.ndarray, " 45"]:
    """Axis-angle pose of the left hand from angles in degrees; spread and opposition act at the finger's root."""
    pose = np.zeros((len(HAND_JOINTS), 3))
    for finger in FINGERS:
        for phalanx, degrees in enumerate(flexion[finger], start=1):
            pose[HAND_JOINTS.index(f"{finger}{phalanx}")] = [0, -spread[finger] if phalanx == 1 else 0, -degrees]
    for phalanx, degrees in enumerate(thumb, start=1):
        pose[HAND_JOINTS.index(f"thumb{phalanx}")] = degrees * thumb_flex
    pose[HAND_JOINTS.index("thumb1")] += opposition[0] * thumb_spread + opposition[1] * np.cross(
        thumb_spread, thumb_flex
    )
    return np.radians(pose).ravel()
