"""The body that a detector says, from what two networks say: MoveNet's 17 points and BlazePose's 33.

Both were measured against OpenPose on the same photos (docs/detector.md): MoveNet's points are the closer ones, and they
mean what COCO's and OpenPose's mean. BlazePose adds the feet, and steadies the points that both see at one place.
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
    xy[:, _TO_LANDMARKS] = people.xy * (1 - share) + bodies.xy[:, _FROM_BLAZEPOSE] * share
    confidence[:, _TO_LANDMARKS] = confidence_of(people.confidence, gap)
    _add_feet(xy, confidence, bodies, size)
    for name, sides in (("neck", ("left_shoulder", "right_shoulder")), ("pelvis", ("left_hip", "right_hip"))):
        pair = [LANDMARK_INDEX[side] for side in sides]
        xy[:, LANDMARK_INDEX[name]] = xy[:, pair].mean(axis=1)
        confidence[:, LANDMARK_INDEX[name]] = confidence[:, pair].min(axis=1)
    return xy, confidence


def confidence_of(heat: Float[np.ndarray, "N K"], gap: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "N K"]:
    return heat


def _add_feet(xy, confidence, bodies: Bodies, size: Float[np.ndarray, " N"]) -> None:
    """BlazePose's heels and toes, moved with the ankle that they hang on; not where the two ankles disagree."""
    for side in ("left", "right"):
        ankle = LANDMARK_INDEX[f"{side}_ankle"]
        theirs = MEDIAPIPE_33.points.index(f"{side}_ankle")
        shift = xy[:, ankle] - bodies.xy[:, theirs]
        gap = np.linalg.norm(shift, axis=1) / size
        for part in ("heel", "big_toe"):
            source, target = MEDIAPIPE_33.points.index(f"{side}_{part}"), LANDMARK_INDEX[f"{side}_{part}"]
            xy[:, target] = bodies.xy[:, source] + shift
            confidence[:, target] = np.minimum(bodies.visibility[:, source], confidence[:, ankle]) * (gap < 0.15)
