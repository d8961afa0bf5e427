"""Hands and faces of people whose bodies are known, put into `LANDMARK_NAMES` order."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int

from bodyfit.data.detect.bodies import Bodies
from bodyfit.data.detect.crops import Picture
from bodyfit.data.detect.faces import FaceOptions, read_faces
from bodyfit.data.detect.hands import POINTS, Arms, HandOptions, Hands, find_hands_again, follow_hands, read_hands
from bodyfit.data.detect.network import Network
from bodyfit.data.keypoints.formats import FACE_68, LEFT_HAND_21, MEDIAPIPE_33, MEDIAPIPE_FACE_68, RIGHT_HAND_21
from bodyfit.data.landmarks import LANDMARK_INDEX

SEEN = 0.1
"""A wrist or a nose below this confidence gets no hand and no face."""
HAND_TRUST = 0.9
FACE_TRUST = 0.95
"""Confidence of points of a hand, or face, of which its network is sure."""
HIDDEN_CONTOUR = 0.2
"""Confidence, as a share, of the far side of a face's contour in a head turned by more than `TURNED`."""
TURNED = np.radians(30)

_HANDS = {"left": LEFT_HAND_21, "right": RIGHT_HAND_21}
_CONTOUR_SIDES = {"right": slice(0, 8), "left": slice(9, 17)}
"""Places among the 68 points."""


def add_hands(
    xy: Float[np.ndarray, "N 144 2"],
    confidence: Float[np.ndarray, "N 144"],
    bodies: Bodies,
    picture: Picture,
    network: Network,
    options: HandOptions,
    device: torch.device,
    before: tuple[Float[np.ndarray, "N 144 2"], Float[np.ndarray, "N 144"]] | None = None,
) -> None:
    """Fill in the points of hands whose wrists are seen; all other points stay as they are.

    `before` are the points and confidences of the same people in the picture before: hands that were sure there are
    looked for where the wrist took them, in one look instead of four, others in one or two.
    """
    places = [
        (i, side) for side in _HANDS for i in range(len(xy)) if confidence[i, LANDMARK_INDEX[f"{side}_wrist"]] >= SEEN
    ]
    if not places:
        return
    arms = _arms(xy, bodies, places)
    if before is None:
        hands = read_hands(network, picture, arms, options, device)
    else:
        hands = Hands.nowhere(len(places))
        expected, sure = _carried_on(xy, *before, places, options.follow)
        if len(sure):
            hands.put(sure, follow_hands(network, picture, expected[sure], arms[sure], options, device))
        if len(left := np.flatnonzero(hands.presence == 0)):
            hands.put(left, find_hands_again(network, picture, arms[left], options, device))
    for n, (i, side) in enumerate(places):
        source, target = (ends[1:] for ends in _HANDS[side].known)  # the wrist is the body's
        if hands.presence[n] > 0:
            wrist = confidence[i, LANDMARK_INDEX[f"{side}_wrist"]]
            xy[i, target] = hands.xy[n, source]
            confidence[i, target] = HAND_TRUST * hands.presence[n] * np.exp(-hands.gap[n]) * min(1.0, 2 * wrist)
    _drop_shared_hands(xy, confidence)


def _carried_on(
    xy: Float[np.ndarray, "N 144 2"],
    xy_before: Float[np.ndarray, "N 144 2"],
    confidence_before: Float[np.ndarray, "N 144"],
    places: list[tuple[int, str]],
    sure: float,
) -> tuple[Float[np.ndarray, "M 21 2"], Int[np.ndarray, " K"]]:
    """Hands of the picture before, moved as their wrists moved; and which of them were at least as `sure`."""
    expected, confidence = np.zeros((len(places), POINTS, 2)), np.zeros(len(places))
    for n, (i, side) in enumerate(places):
        source, target = _HANDS[side].known
        wrist = LANDMARK_INDEX[f"{side}_wrist"]
        expected[n, source] = xy_before[i, target] + xy[i, wrist] - xy_before[i, wrist]
        confidence[n] = confidence_before[i, target].min()
    return expected, np.flatnonzero(confidence >= sure)


def _arms(xy: Float[np.ndarray, "N 144 2"], bodies: Bodies, places: list[tuple[int, str]]) -> Arms:
    def point(name: str) -> np.ndarray:
        return np.array([xy[i, LANDMARK_INDEX[f"{side}_{name}"]] for i, side in places])

    def blaze(name: str) -> np.ndarray:
        return np.array([bodies.xy[i, MEDIAPIPE_33.points.index(f"{side}_{name}")] for i, side in places])

    wrist, elbow = point("wrist"), point("elbow")
    shift = wrist - blaze("wrist")
    trunk = np.array(
        [np.linalg.norm(xy[i, LANDMARK_INDEX["neck"]] - xy[i, LANDMARK_INDEX["pelvis"]]) for i, _ in places]
    )
    scale = np.maximum(np.linalg.norm(wrist - elbow, axis=1), 0.5 * trunk)
    return Arms(elbow, wrist, blaze("index1") + shift, blaze("pinky1") + shift, np.maximum(scale, 1.0))


def _drop_shared_hands(xy: Float[np.ndarray, "N 144 2"], confidence: Float[np.ndarray, "N 144"]) -> None:
    """Where both wrists of a person claim one and the same hand, the less sure of them has none."""
    left, right = (table.known[1][1:] for table in _HANDS.values())
    for i in range(len(xy)):
        if not (confidence[i, left].any() and confidence[i, right].any()):
            continue
        extent = max(np.ptp(xy[i, left], axis=0).max(), np.ptp(xy[i, right], axis=0).max())
        if np.median(np.linalg.norm(xy[i, left] - xy[i, right], axis=1)) < 0.25 * extent:
            worse = left if confidence[i, left].mean() < confidence[i, right].mean() else right
            confidence[i, worse], xy[i, worse] = 0.0, 0.0


def add_faces(
    xy: Float[np.ndarray, "N 144 2"],
    confidence: Float[np.ndarray, "N 144"],
    bodies: Bodies,
    picture: Picture,
    network: Network,
    options: FaceOptions,
    device: torch.device,
) -> None:
    """Fill in the points of faces whose noses are seen; all other points stay as they are."""
    seen = np.flatnonzero(confidence[:, LANDMARK_INDEX["nose"]] >= SEEN)
    if not len(seen):
        return
    index = {name: i for i, name in enumerate(MEDIAPIPE_33.points)}
    eyes = xy[seen][:, [LANDMARK_INDEX["left_eye"], LANDMARK_INDEX["right_eye"]]].mean(axis=1)
    body = bodies.xy[seen]
    mouth = body[:, [index["left_mouth_1"], index["right_mouth_1"]]].mean(axis=1)
    mouth += eyes - body[:, [index["left_eye"], index["right_eye"]]].mean(axis=1)
    faces = read_faces(network, picture, eyes, mouth, options, device)
    source, target = FACE_68.known
    for n, i in enumerate(seen):
        if faces.presence[n] > 0:
            points = faces.xyz[n][list(MEDIAPIPE_FACE_68)]
            xy[i, target] = points[source, :2]
            confidence[i, target] = (FACE_TRUST * faces.presence[n] * _contour_seen(points))[source]


def _contour_seen(points: Float[np.ndarray, "68 3"]) -> Float[np.ndarray, " 68"]:
    """1, but less for the far side of the contour in a turned head: the mesh guesses it."""
    seen = np.ones(len(points))
    right, left = points[0], points[16]
    turned = np.arctan2(left[2] - right[2], np.linalg.norm(left[:2] - right[:2]))  # positive: the left side is far
    if abs(turned) > TURNED:
        seen[_CONTOUR_SIDES["left" if turned > 0 else "right"]] = HIDDEN_CONTOUR
    return seen
