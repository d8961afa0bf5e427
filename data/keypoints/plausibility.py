"""Keypoints that cannot be right, by what they show of a person: left and right exchanged, hands on the wrong arms.

Each check looks at one person's confident points alone, and stays silent where they do not prove anything.
"""

import numpy as np
from jaxtyping import Float

from bodyfit.data.landmarks import LANDMARK_INDEX, LEFT_HAND, MIRRORED, RIGHT_HAND

_SURE = 0.5
_HANDS = (np.array(LEFT_HAND), np.array(RIGHT_HAND))

EXCHANGED = (
    "left and right look exchanged: the nose and eyes say that the person is seen from the front, and the left side is "
    "where the right one should be. Was the photo mirrored after the keypoints were made, or are x and y exchanged"
)


def sides_problem(xy: Float[np.ndarray, "144 2"], confidence: Float[np.ndarray, " 144"]) -> str | None:
    """Why a person's left and right cannot be right; None where nothing proves that they are wrong.

    A face is seen from the front: going from the right eye to the left one, the eyes' midpoint to the nose lies
    clockwise, whichever way the head is turned in the picture. Shoulders and hips of the same person have to
    agree with their face before anything is said, and there has to be enough of a front view.

    Proven is something only where confidences say what is seen. Where a face that nobody can see is given all the same
    (MediaPipe, projected motion capture), a back view looks like this, too: `proves_visibility` says which.
    """
    face = _face_turn(xy, confidence)
    if face is None or face > -_FRONTAL:
        return None
    sides = [_side_turn(xy, confidence, name) for name in ("shoulder", "hip")]
    known = [side for side in sides if side is not None]
    return EXCHANGED if known and all(side < -_FRONTAL for side in known) else None


_FRONTAL = 0.25
"""How far from a profile view a pair has to be, as width over height."""


def _at(xy: np.ndarray, confidence: np.ndarray, *names: str) -> list[np.ndarray] | None:
    places = [LANDMARK_INDEX[name] for name in names]
    return list(xy[places]) if (confidence[places] > _SURE).all() else None


def _face_turn(xy: Float[np.ndarray, "144 2"], confidence: Float[np.ndarray, " 144"]) -> float | None:
    """Positive for a face seen from the front with its left eye on the left of the head; None if too little is seen."""
    found = _at(xy, confidence, "left_eye", "right_eye", "nose")
    trunk = _at(xy, confidence, "left_shoulder", "right_shoulder")
    if found is None or trunk is None:
        return None
    left, right, nose = found
    up = (left + right) / 2 - nose
    trunk_up = nose - (trunk[0] + trunk[1]) / 2
    if up @ trunk_up <= 0.3 * np.linalg.norm(up) * np.linalg.norm(trunk_up):
        return None  # a head bent far down or back: the nose proves nothing
    return _turn(left - right, up)


def _side_turn(xy: Float[np.ndarray, "144 2"], confidence: Float[np.ndarray, " 144"], point: str) -> float | None:
    """Positive where the person's left is where it belongs in a front view, by their own up direction."""
    pair = _at(xy, confidence, f"left_{point}", f"right_{point}")
    trunk = _at(xy, confidence, "left_shoulder", "right_shoulder", "nose")
    if pair is None or trunk is None:
        return None
    up = trunk[2] - (trunk[0] + trunk[1]) / 2
    return _turn(pair[0] - pair[1], up)


def _turn(across: np.ndarray, up: np.ndarray) -> float:
    """Sine-like: `across` times the direction that lies right of `up` in a picture (y down), over the length of up."""
    right_of_up = np.array([-up[1], up[0]])
    return float(across @ right_of_up / max(up @ up, 1e-9))


def proves_visibility(format: str, confidence: Float[np.ndarray, " 144"]) -> bool:
    """Whether a detector's high confidence in nose and eyes means that they are seen."""
    seen = confidence[confidence > 0]
    return not format.startswith("mediapipe") and len(seen) > 0 and bool(np.ptp(seen) > 0)


def exchange_hands(xy: Float[np.ndarray, "144 2"], confidence: Float[np.ndarray, " 144"]) -> bool:
    """Put the hands' points back, in place, where each hand hangs on the other arm's wrist; whether that was so.

    Both hands have to be seen and each clearly nearer to the other wrist; one hand alone may reach over.
    """
    wrists = [LANDMARK_INDEX[f"{side}_wrist"] for side in ("left", "right")]
    seen = [hand[confidence[hand] > 0.1] for hand in _HANDS]
    if min(map(len, seen)) < 5 or not (confidence[wrists] > 0.1).all():
        return False
    centres = [xy[hand].mean(axis=0) for hand in seen]
    own = [np.linalg.norm(centres[i] - xy[wrists[i]]) for i in (0, 1)]
    other = [np.linalg.norm(centres[i] - xy[wrists[1 - i]]) for i in (0, 1)]
    if not all(o * 2 < mine for mine, o in zip(own, other, strict=True)):
        return False
    both = np.concatenate(_HANDS)
    xy[both], confidence[both] = xy[np.array(MIRRORED)[both]], confidence[np.array(MIRRORED)[both]]
    return True
