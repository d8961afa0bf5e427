"""Where in the photo a file's coordinates are: shares, other sizes and EXIF's rotation made pixels."""

import logging
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from bodyfit.data.keypoints.people import ImagePeople, KeypointError, Person

log = logging.getLogger(__name__)

Size = tuple[int, int]

OUTSIDE_MARGIN = 0.05
"""Share of the photo's size that points may lie outside of it: detectors place hidden limbs beyond the edge."""


@dataclass(frozen=True)
class Target:
    """The photo that coordinates are wanted for."""

    size: Size | None
    """(width, height) of the upright photo; None where there is no photo and nobody said."""
    orientation: int = 1
    """EXIF's number of how the photo had to be turned to stand upright."""
    stated: Size | None = None
    """(width, height) of the picture that the keypoints were made on, where the user says it."""


def in_photo(found: ImagePeople, target: Target, source: object) -> ImagePeople:
    """The people with coordinates in pixels of the upright photo; `size` is the photo's then, where it is known.

    Raises KeypointError where the file was made for a picture of another shape, or its coordinates cannot be pixels of
    this photo.
    """
    made_for = target.stated or found.size
    points = _seen_points(found)
    shares = found.unit == "shares" or (found.unit is None and _look_like_shares(points))
    if shares:
        size = made_for or target.size
        if size is None:
            raise KeypointError(
                f"{source}: the coordinates are shares of the image, and its size is not known. "
                'Add "image_size": [width, height] to the file, put the photo beside it, or say --image-size.'
            )
        found = _shares_to_pixels(found, points, size, source)
        points = _seen_points(found)
        made_for = size
    if target.size is None:
        return replace(found, size=made_for or found.extent)
    if made_for is not None and made_for != target.size:
        found = _from_size(found, points, made_for, target, source)
        points = _seen_points(found)
        target = replace(target, orientation=1)  # what was to be turned is turned
    if not shares:
        found = _checked(found, points, target, source)
    return replace(found, size=target.size)


# --- shares ----------------------------------------------------------------------------------------------------------


def _look_like_shares(points: Float[np.ndarray, "n 2"]) -> bool:
    """Nobody is three pixels tall: coordinates that stay below two and are no whole numbers are shares."""
    if len(points) < 4 or np.abs(points).max() > 2 or np.ptp(points, axis=0).max() == 0:
        return False
    return bool((points % 1 != 0).mean() > 0.5)


def _shares_to_pixels(found: ImagePeople, points: Float[np.ndarray, "n 2"], size: Size, source: object) -> ImagePeople:
    """0..1 from edge to edge, or OpenPose's -1..1."""
    signed = (
        found.unit is None and points.min() < -0.02
    )  # no program that writes shares this way sees anything outside of the image
    if found.unit is None:
        log.info(
            "%s: coordinates from %s to 1 are read as shares of %d x %d px", source, "-1" if signed else "0", *size
        )

    def change(xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        if signed:
            return (xy + 1) / 2 * (np.array(size) - 1)
        return xy * size - 0.5  # share 0 is the left edge of the pixel whose centre is at 0

    return _changed(found, change)


# --- files that say their size ---------------------------------------------------------------------------------------


def _from_size(
    found: ImagePeople, points: Float[np.ndarray, "n 2"], made_for: Size, target: Target, source: object
) -> ImagePeople:
    width, height = target.size
    turned = made_for[::-1]
    if not same_shape(made_for, target.size) and same_shape(turned, target.size):
        if _share_outside(points, made_for) > 0.02 and _share_outside(points, turned) == 0:
            made_for = turned  # the file names the size before EXIF's rotation, its points are from after it
        elif target.orientation >= 5:
            log.warning("%s: made on the photo as it is stored; turned upright as its EXIF says", source)
            found = _changed(found, lambda xy: _turned(xy, made_for, target.orientation))
            made_for = turned
        else:
            raise KeypointError(
                f"{source}: made for a picture of {made_for[0]} x {made_for[1]} px, the photo is {width} x {height}: "
                "one of them lies on its side, and the photo's EXIF does not say how. Turn the photo, or the keypoints."
            )
    if not same_shape(made_for, target.size):
        raise KeypointError(
            f"{source}: made for a picture of {made_for[0]} x {made_for[1]} px, but the photo is {width} x {height}, "
            "which is another shape. Was it cropped afterwards, or is it another photo? Give the photo that the "
            "keypoints were made on."
        )
    if made_for == target.size:
        return found
    scale = np.array(target.size) / made_for
    log.info("%s: made for %d x %d px, scaled to the photo's %d x %d", source, *made_for, width, height)
    return _changed(found, lambda xy: (xy + 0.5) * scale - 0.5)


def same_shape(first: Size, second: Size) -> bool:
    """Whether two sizes are of one picture, scaled: but for rounding to whole pixels, or to the multiples of 8 to 64
    that networks want.
    """
    (w, h), (w2, h2) = first, second
    multiple = max(m for m in (1, 8, 16, 32, 64) if w % m == 0 and h % m == 0)
    slack = max(0.5 * multiple, 1.0) + 0.005 * max(w, h)
    return abs(h - w * h2 / w2) <= slack and abs(w - h * w2 / h2) <= slack


def _turned(xy: Float[np.ndarray, "n 2"], size: Size, orientation: int) -> Float[np.ndarray, "n 2"]:
    """Points of the stored picture of `size` in the upright one, for EXIF orientation 2 to 8."""
    x, y = xy[:, 0], xy[:, 1]
    right, bottom = size[0] - 1 - x, size[1] - 1 - y
    columns = {
        **{2: (right, y), 3: (right, bottom), 4: (x, bottom)},
        **{5: (y, x), 6: (bottom, x), 7: (bottom, right), 8: (y, right)},
    }
    return np.column_stack(columns[orientation]) if orientation in columns else xy


# --- files that do not ----------------------------------------------------------------------------------------------


def _checked(found: ImagePeople, points: Float[np.ndarray, "n 2"], target: Target, source: object) -> ImagePeople:
    """The same people, if their points can be pixels of the photo; else turned, where EXIF explains it, or refused."""
    size = target.size
    outside = _share_outside(points, size)
    if outside <= 0.02:
        return found
    stored = size[::-1] if target.orientation >= 5 else size
    if target.orientation >= 5 and _share_outside(points, stored) == 0:
        log.warning("%s: made on the photo as it is stored; turned upright as its EXIF says", source)
        return _changed(found, lambda xy: _turned(xy, stored, target.orientation))
    if outside <= 1 / 3 and not _somebody_wholly_outside(found, size):
        return found
    reach = points.max(axis=0)
    if _share_outside(points[:, ::-1], size) == 0:
        raise KeypointError(
            f"{source}: {outside:.0%} of the points lie outside of the photo ({size[0]} x {size[1]} px), and none with "
            "x and y exchanged. Expected x before y."
        )
    raise KeypointError(
        f"{source}: {outside:.0%} of the points lie outside of the photo ({size[0]} x {size[1]} px; they reach "
        f"{reach[0]:.6g}, {reach[1]:.6g}). Was the photo scaled or cropped after the keypoints were made, or is it "
        "another one? Say --keypoints-size WIDTH HEIGHT of the picture that they were made on."
    )


def _share_outside(points: Float[np.ndarray, "n 2"], size: Size) -> float:
    return float(_outside(points, size).mean()) if len(points) else 0.0


def _outside(points: Float[np.ndarray, "n 2"], size: Size) -> np.ndarray:
    margin = OUTSIDE_MARGIN * np.array(size)
    return ((points < -margin) | (points > size + margin)).any(axis=1)


def outside_problem(points: Float[np.ndarray, "n 2"], size: Size) -> str | None:
    """Why a person with these seen points cannot be in a photo of `size`: more than half of them lie outside of it."""
    count = int(_outside(points, size).sum())
    if count * 2 <= len(points):
        return None
    return f"{count} of {len(points)} keypoints lie outside of the photo ({size[0]} x {size[1]} px)"


def _somebody_wholly_outside(found: ImagePeople, size: Size) -> bool:
    """Whether somebody with a body's worth of points has none in the photo, nor far away as only noise can be."""
    bodies = [_seen_points(ImagePeople([person])) for person in found.people]
    return any(len(b) >= 6 and _outside(b, size).all() and np.abs(b).max() < 10 * max(size) for b in bodies)


# --- shared ---------------------------------------------------------------------------------------------------------


def _seen_points(found: ImagePeople) -> Float[np.ndarray, "n 2"]:
    """Coordinates of all points that somebody's detector saw."""
    blocks = [points for person in found.people for _, points in person]
    points = np.concatenate(blocks) if blocks else np.zeros((0, 3))
    seen = np.isfinite(points).all(axis=1) & (points[:, 2] > 0) & points[:, :2].any(axis=1)
    return points[seen, :2]


def _changed(found: ImagePeople, change) -> ImagePeople:
    """The same people with other coordinates; (0, 0), which says "nowhere", stays."""

    def person_changed(person: Person) -> Person:
        blocks = []
        for table, points in person:
            there = np.isfinite(points).all(axis=1) & points[:, :2].any(axis=1)
            moved = points.copy()
            moved[there, :2] = change(points[there, :2])
            blocks.append((table, moved))
        return blocks

    return replace(found, people=[person_changed(person) for person in found.people], unit="px")
