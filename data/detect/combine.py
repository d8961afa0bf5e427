"""The body that a detector says, from what two networks say: MoveNet's 17 points and BlazePose's 33.

Both were measured against OpenPose on the same photos (docs/detector.md): MoveNet's points are the closer ones, and
they mean what COCO's and OpenPose's mean. BlazePose adds the feet, and steadies the points that both see at one place.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bodyfit.data.detect.bodies import Bodies
from bodyfit.data.detect.people import People, size_of
from bodyfit.data.keypoints.formats import COCO_17, MEDIAPIPE_33
from bodyfit.data.landmarks import LANDMARK_INDEX, LANDMARK_NAMES

AGREE = 0.05
"""Points of both networks closer than this, as a share of the person's size, are averaged."""
BLAZEPOSE_WEIGHT = 0.36
"""Of BlazePose's point in that average, beside 1 for MoveNet's."""

LOST, PLAIN, LOST_TRUST = 0.2, 0.9, 0.7
"""Where MoveNet's confidence is below the first and BlazePose's visibility above the second, BlazePose's point counts,
at its visibility times the third: hands above the head, mostly."""
SAME_FOOT = 0.15
"""Feet whose ankles differ by more, as a share of the person's size, are left out."""
TOE_BACK = 0.13
"""BlazePose's toe lies beyond OpenPose's big toe by this share of the foot's length."""
FOOT_TRUST = 0.9
"""Confidence of heel and toe, as a share of the ankle's."""
OFFSET, PER_LOG_HEAT, PER_GAP = 3.19, 1.87, 10.2
"""Of `calibrated`: measured on the body points of 22 people (docs/detector.md)."""

_FROM_BLAZEPOSE = [MEDIAPIPE_33.points.index(name) for name in COCO_17.points]
_TO_LANDMARKS = [LANDMARK_INDEX[name] for name in COCO_17.points]


def combined_body(people: People, bodies: Bodies) -> tuple[Float[np.ndarray, "N 144 2"], Float[np.ndarray, "N 144"]]:
    """Points and confidences in `LANDMARK_NAMES` order: the 17 of COCO, neck and pelvis, heels and big toes."""
    xy = np.zeros((len(people), len(LANDMARK_NAMES), 2))
    confidence = np.zeros((len(people), len(LANDMARK_NAMES)))
    size = size_of(people.xy, people.confidence)
    gap = np.linalg.norm(bodies.xy[:, _FROM_BLAZEPOSE] - people.xy, axis=-1) / size[:, None]
    share = np.where(gap < AGREE, BLAZEPOSE_WEIGHT * bodies.visibility[:, _FROM_BLAZEPOSE], 0.0)
    share = (share / (1 + share))[..., None]
    visible = bodies.visibility[:, _FROM_BLAZEPOSE]
    lost = (people.confidence < LOST) & (visible >= PLAIN) & (gap >= AGREE)
    share = np.where(lost[..., None], 1.0, share)
    xy[:, _TO_LANDMARKS] = people.xy * (1 - share) + bodies.xy[:, _FROM_BLAZEPOSE] * share
    confidence[:, _TO_LANDMARKS] = np.where(lost, LOST_TRUST * visible, calibrated(people.confidence, gap))
    _add_feet(xy, confidence, bodies, size)
    for name, sides in (("neck", ("left_shoulder", "right_shoulder")), ("pelvis", ("left_hip", "right_hip"))):
        pair = [LANDMARK_INDEX[side] for side in sides]
        xy[:, LANDMARK_INDEX[name]] = xy[:, pair].mean(axis=1)
        confidence[:, LANDMARK_INDEX[name]] = confidence[:, pair].min(axis=1)
    return xy, confidence


def calibrated(heat: Float[np.ndarray, "N K"], gap: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "N K"]:
    """How likely a point is within 5 % of the person's size of OpenPose's.

    From MoveNet's heat and the distance to BlazePose's point, as a share of the person's size: a logistic regression on
    the same photos.
    """
    odds = OFFSET + PER_LOG_HEAT * np.log(heat + 0.02) - PER_GAP * np.minimum(gap, 0.3)
    return np.where(heat > 0, 1 / (1 + np.exp(-odds)), 0.0)


def _add_feet(
    xy: Float[np.ndarray, "N 144 2"],
    confidence: Float[np.ndarray, "N 144"],
    bodies: Bodies,
    size: Float[np.ndarray, " N"],
) -> None:
    """BlazePose's heels and toes; not where its ankle is another one than MoveNet's."""
    for side in ("left", "right"):
        ankle = LANDMARK_INDEX[f"{side}_ankle"]
        theirs, heel, toe = (
            bodies.xy[:, MEDIAPIPE_33.points.index(f"{side}_{p}")] for p in ("ankle", "heel", "big_toe")
        )
        same_foot = np.linalg.norm(xy[:, ankle] - theirs, axis=1) < SAME_FOOT * size
        for part, point in (("heel", heel), ("big_toe", toe + TOE_BACK * (heel - toe))):
            target = LANDMARK_INDEX[f"{side}_{part}"]
            visible = bodies.visibility[:, MEDIAPIPE_33.points.index(f"{side}_{part}")]
            xy[:, target] = point
            confidence[:, target] = np.minimum(visible, FOOT_TRUST * confidence[:, ankle]) * same_foot
