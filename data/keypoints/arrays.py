"""Keypoints that lie in memory as arrays -> the same detections that a file of them would give."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.detections import Detections, detections_of
from bodyfit.data.keypoints.parsers import ImagePeople, KeypointError, Person


def detections_from_arrays(
    xy_confidence: ArrayLike,
    format: str,
    *,
    left_hand: ArrayLike | None = None,
    right_hand: ArrayLike | None = None,
    face: ArrayLike | None = None,
    image_size: tuple[int, int] | None = None,
    person_ids: Sequence[str | int] | None = None,
    name: str = "keypoints",
) -> Detections:
    """Detections of the people of one image.

    Args:
        xy_confidence: (K, 3) for one person or (P, K, 3) for P: x and y in pixels, confidence in [0, 1]. (K, 2) and
            (P, K, 2): all points are confident. A point with NaN, with confidence 0 or at (0, 0) is unseen; an
            empty list is nobody. Where the third number is COCO's flag (0, 1, 2), 1 (hidden) counts half.
        format: What the K points are: a name that `formats.find_body_format` knows, such as "coco17", "body25",
            "wholebody133".
        left_hand, right_hand: The person's own left and right: 21 points each, as OpenPose has them apart.
        face: 68 or 70 points, likewise.
        image_size: (width, height) of the image in pixels.
        person_ids: A name for each person; default "000", "001", ...
        name: For messages.

    Raises:
        KeypointError: for an unknown format, and for arrays that are not numbers of these shapes.
    """
    table = _table_of(name, format)
    body = _points(name, xy_confidence, (table,), "xy_confidence")
    people: list[Person] = [[(table, points)] for points in body]
    for what, array, tables in (
        ("left_hand", left_hand, (kf.LEFT_HAND_21,)),
        ("right_hand", right_hand, (kf.RIGHT_HAND_21,)),
        ("face", face, (kf.FACE_68, kf.FACE_70)),
    ):
        if array is None:
            continue
        part = _points(name, array, tables, what)
        if len(part) != len(people):
            raise KeypointError(f"{name}: {what} is of {len(part)} people, xy_confidence of {len(people)}.")
        part_table = next(table for table in tables if len(table) == part.shape[1])
        for person, points in zip(people, part, strict=True):
            person.append((part_table, points))
    found = detections_of(ImagePeople(people, image_size), Path(name))
    return found if person_ids is None else replace(found, person_ids=_ids(name, person_ids, len(people)))


def _table_of(name: str, format: str) -> kf.KeypointFormat:
    table = kf.find_body_format(format) if isinstance(format, str) else None
    if table is None:
        known = ", ".join(f"'{known}'" for known in kf.BODY_FORMATS)
        raise KeypointError(f"{name}: unknown keypoint format {format!r}. Known are {known}, or how one of them ends.")
    return table


def _points(
    name: str, array: ArrayLike, tables: tuple[kf.KeypointFormat, ...], what: str
) -> Float[np.ndarray, "P K 3"]:
    """An array as x, y, confidence of P people, (0, 0, 0) where a point is unseen."""
    counts = " or ".join(str(len(table)) for table in tables)
    wanted = f"Expected ({counts}, 3) or (P, {counts}, 3): x, y, confidence in pixels ('{tables[0].name}')"
    points = as_numbers(name, array, what)
    if points.shape == (0,):  # an empty list: the detector found nobody
        points = points.reshape(0, len(tables[0]), 3)
    if points.ndim not in (2, 3) or points.shape[-1] not in (2, 3):
        raise KeypointError(f"{name}: {what} has shape {points.shape}. {wanted}.")
    if points.ndim == 2:
        points = points[None]
    if points.shape[1] not in [len(table) for table in tables]:
        others = [known for known, table in kf.BODY_FORMATS.items() if len(table) == points.shape[1]]
        hint = f" {points.shape[1]} points have {', '.join(others)}." if others and what == "xy_confidence" else ""
        raise KeypointError(f"{name}: {what} has shape {points.shape}. {wanted}.{hint}")
    if points.shape[-1] == 2:
        points = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
    points = np.where(np.isnan(points).any(axis=-1, keepdims=True), 0.0, points)
    _check_pixels(name, points, what)
    if (points[..., 2] == 2).any() and np.isin(points[..., 2], (0, 1, 2)).all():  # COCO's flags
        points = points * (1, 1, 0.5)
    return points


def as_numbers(name: str, array: ArrayLike, what: str) -> Float[np.ndarray, "..."]:
    """An array, nested lists or a tensor as float64. Raises KeypointError that names what is wrong with it."""
    try:
        found = np.asarray(array)
        if found.dtype.kind not in "fiu":
            raise TypeError(f"its dtype is {found.dtype}")
    except (TypeError, ValueError, RuntimeError) as cause:  # RuntimeError: tensors that need a gradient
        raise KeypointError(
            f"{name}: {what} is not an array of numbers ({cause}). "
            "Expected NumPy, nested lists, or a tensor on the CPU without gradient."
        ) from cause
    return found.astype(np.float64)


def _check_pixels(name: str, points: Float[np.ndarray, "P K 3"], what: str) -> None:
    """Shares of the image's size are a common mistake; no body is two pixels tall."""
    seen = points[points[..., 2] > 0][:, :2]
    if len(seen) and (np.abs(seen) <= 2).all() and (seen != np.rint(seen)).any():
        raise KeypointError(
            f"{name}: all coordinates of {what} lie between {seen.min():.2g} and {seen.max():.2g}, which looks like "
            "shares of the image. Expected pixels: share * (width, height) - 0.5."
        )


def _ids(name: str, person_ids: Sequence[str | int], people: int) -> tuple[str, ...]:
    ids = tuple(f"{one:03d}" if isinstance(one, int | np.integer) else str(one) for one in person_ids)
    if len(ids) != people or len(set(ids)) != people:
        raise KeypointError(f"{name}: person_ids are {', '.join(ids) or 'none'}. Expected {people}, all different.")
    return ids
