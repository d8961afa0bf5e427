"""Points and lines over a photo: keypoints as detected and as fitted, with the skeleton between them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from bodyfit.data.landmarks import FACE, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND, SKELETON
from bodyfit.data.opencv import import_cv2
from bodyfit.fitting.draw.colours import MIDDLE, VERMILION, rgb8, side_hex

_FINE = frozenset(FACE + LEFT_HAND + RIGHT_HAND)  # points that are close together get thinner lines
_SUBPIXEL_BITS = 4


def draw_keypoints(
    image: UInt8[np.ndarray, "H W 3"],
    xy: Float[np.ndarray, "K 2"],
    confidence: Float[np.ndarray, " K"] | None = None,
    *,
    names: Sequence[str] = LANDMARK_NAMES,
    edges: Sequence[tuple[int, int]] = SKELETON,
    min_confidence: float = 0.0,
    thickness: float | None = None,
    hollow: bool = False,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draws one person's points in pixels, joined by `edges` where both ends are seen: left orange, right blue.

    Points with confidence at or below `min_confidence`, and points that are not finite, are left out. `thickness` is
    that of a limb in pixels (by default it follows the picture's size); `hollow` draws rings instead of dots and no
    lines, for a second set of points over a first.
    """
    picture = np.ascontiguousarray(image).copy()
    xy = np.asarray(xy, dtype=float)
    seen = np.isfinite(xy).all(axis=1)
    if confidence is not None:
        seen &= np.asarray(confidence) > min_confidence
    limb = thickness or max(2.0, max(image.shape[:2]) / 250)
    colours = [rgb8(side_hex(name)) for name in names]
    if not hollow:
        for a, b in edges:
            if seen[a] and seen[b]:
                fine = a in _FINE and b in _FINE
                colour = colours[a] if colours[a] != rgb8(MIDDLE) else colours[b]
                _line(picture, xy[a], xy[b], colour, limb * (0.4 if fine else 1.0))
    for index in np.flatnonzero(seen):
        if index in _FINE:
            _speck(picture, xy[index], colours[index], 0.3 * limb)
        else:
            _dot(picture, xy[index], colours[index], 0.9 * limb, hollow)
    return picture


def draw_residuals(
    image: UInt8[np.ndarray, "H W 3"],
    detected_px: Float[np.ndarray, "K 2"],
    fitted_px: Float[np.ndarray, "K 2"],
    confidence: Float[np.ndarray, " K"],
    *,
    min_confidence: float = 0.0,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draws the residuals: a line from each detected keypoint to the fitted one."""
    picture = np.ascontiguousarray(image).copy()
    width = max(1.0, max(image.shape[:2]) / 700)
    for k in np.flatnonzero((np.asarray(confidence) > min_confidence) & np.isfinite(fitted_px).all(axis=1)):
        _line(picture, detected_px[k], fitted_px[k], rgb8(VERMILION), width)
    return picture


def _fixed(point: Float[np.ndarray, "2"]) -> tuple[int, int]:
    """A point in OpenCV's fixed-point pixels, clipped to the range of its integers."""
    return tuple(int(c) for c in np.rint(np.clip(point, -1e5, 1e5) * 2**_SUBPIXEL_BITS))


def _line(picture, start, end, colour, width: float) -> None:
    cv2 = import_cv2()
    cv2.line(picture, _fixed(start), _fixed(end), colour, max(1, round(width)), cv2.LINE_AA, _SUBPIXEL_BITS)


def _dot(picture, centre, colour, radius: float, hollow: bool) -> None:
    cv2 = import_cv2()
    radius = round(max(radius, 1.2) * 2**_SUBPIXEL_BITS)
    if hollow:
        cv2.circle(picture, _fixed(centre), round(1.5 * radius), (255, 255, 255), 2, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.circle(picture, _fixed(centre), round(1.5 * radius), colour, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    else:
        cv2.circle(picture, _fixed(centre), radius, (255, 255, 255), -1, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.circle(picture, _fixed(centre), max(radius * 3 // 4, 8), colour, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _speck(picture, centre, colour, radius: float) -> None:
    """A dot without a rim, for the dense points of faces and hands."""
    cv2 = import_cv2()
    cv2.circle(
        picture, _fixed(centre), round(max(radius, 0.8) * 2**_SUBPIXEL_BITS), colour, -1, cv2.LINE_AA, _SUBPIXEL_BITS
    )
