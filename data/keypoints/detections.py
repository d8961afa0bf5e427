"""From a keypoint file of any known program to people whose points have SMPL-X's names."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bodyfit.data.keypoints.formats import find_body_format
from bodyfit.data.keypoints.inputs import FitInput, find_inputs, match_image
from bodyfit.data.keypoints.parsers import ImagePeople, KeypointError, Person, read_keypoint_file
from bodyfit.data.landmarks import BODY, LANDMARK_NAMES

__all__ = ["Detections", "FitInput", "KeypointError", "find_inputs", "read_keypoints"]

log = logging.getLogger(__name__)

MIN_BODY_POINTS = 6
"""A person with fewer confident body points is listed with a problem: nothing sure can be said of the body."""
CONFIDENT = 0.1


@dataclass(frozen=True, eq=False)
class Detections:
    """The P people that a detector found in one image, in the order of the file."""

    xy: Float[np.ndarray, "P 144 2"]
    """Pixels, in `LANDMARK_NAMES` order; 0 where unseen, never NaN."""
    confidence: Float[np.ndarray, "P 144"]
    """In [0, 1]; 0 is unseen."""
    format: str
    """What was read, such as "openpose_body25_hands_face"."""
    person_ids: tuple[str, ...]
    """Numbers in file order: "000", "001", ..."""
    problems: tuple[str | None, ...]
    """For each person None, or why they cannot be fitted."""
    source: Path
    image_size: tuple[int, int] | None = None
    """(width, height) where the file itself says so."""

    def __len__(self) -> int:
        return len(self.person_ids)

    @classmethod
    def from_points(
        cls,
        xy: Float[np.ndarray, "P 144 2"],
        confidence: Float[np.ndarray, "P 144"],
        *,
        format: str,
        source: Path,
        image_size: tuple[int, int] | None = None,
    ) -> "Detections":
        """People whose points a program has at hand; numbers them and says who cannot be fitted."""
        ids = tuple(f"{i:03d}" for i in range(len(xy)))
        return cls(xy, confidence, format, ids, tuple(_problem(row) for row in confidence), source, image_size)


def read_keypoints(
    path: Path | str,
    *,
    format: str | None = None,
    image_size: tuple[int, int] | None = None,
    image: str | None = None,
) -> Detections:
    """Read the people of one image.

    Args:
        path: A JSON file of OpenPose, COCO, COCO-WholeBody, Halpe, AlphaPose, OpenPifPaf, MMPose or MediaPipe.
        format: Name of the body format, as `formats.find_body_format` takes it ("coco17", "body25"); None: recognised.
        image_size: (width, height) of the photo in pixels; only for coordinates that are shares of it.
        image: Which image of an annotation or result file with many: its file name, path or number.

    Raises:
        KeypointError: for a file that is no keypoint file, naming what was found and what was expected. A person who
            cannot be used is no error but has a reason in `problems`.
    """
    path = Path(path)
    table = find_body_format(format) if format is not None else None
    format = table.name if table is not None else format
    found = _choose_image(path, read_keypoint_file(path, format, image_size), image)
    return detections_of(found, path)


def detections_of(found: ImagePeople, source: Path) -> Detections:
    """The same people with their points in `LANDMARK_NAMES` order; `source` is for messages."""
    number = len(found.people)
    xy, confidence = np.zeros((number, len(LANDMARK_NAMES), 2)), np.zeros((number, len(LANDMARK_NAMES)))
    for i, person in enumerate(found.people):
        bad = _merge(person, xy[i], confidence[i])
        if bad:
            log.warning("%s: person %03d: %d points with NaN or negative confidence count as unseen", source, i, bad)
    return Detections.from_points(
        xy, confidence, format=_format_name(found.people), source=source, image_size=found.size
    )


def _choose_image(path: Path, images: dict[str, ImagePeople], image: str | None) -> ImagePeople:
    if len(images) == 1 and (image is None or "" in images):
        return next(iter(images.values()))
    if image is None:
        raise KeypointError(f"{path}: holds {len(images)} images. Say which: {_some(images)}.")
    key = image if image in images else match_image(image, images)
    if key is None:
        raise KeypointError(f"{path}: holds no image '{image}'. Found: {_some(images)}.")
    return images[key]


def _some(images: dict[str, ImagePeople]) -> str:
    names = list(images)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "no image at all"


def _merge(person: Person, xy: Float[np.ndarray, "144 2"], confidence: Float[np.ndarray, " 144"]) -> int:
    """Put a person's blocks into landmark order; give how many points were dropped as broken.

    Where two blocks see the same point (a wrist is in body and hand), the more confident one counts, of equals the
    later: hands and faces come from models of their own.
    """
    dropped = 0
    for table, points in person:
        usable = np.isfinite(points).all(axis=1) & (points[:, 2] >= 0)
        dropped += int((~usable).sum())
        seen = usable & (points[:, 2] > 0) & points[:, :2].any(axis=1)  # (0, 0) is how many say "nowhere"
        source, target = table.known
        order = np.argsort(np.where(seen, points[:, 2], 0)[source], kind="stable")  # what is assigned last stays
        source, target = source[order], target[order]
        keep = seen[source] & (np.where(seen, points[:, 2], 0)[source].clip(max=1) >= confidence[target])
        xy[target[keep]] = points[source[keep], :2]
        confidence[target[keep]] = points[source[keep], 2].clip(max=1)
    return dropped


def _problem(confidence: Float[np.ndarray, " 144"]) -> str | None:
    count = int((confidence[list(BODY)] > CONFIDENT).sum())
    if count >= MIN_BODY_POINTS:
        return None
    return (
        f"only {count} confident body keypoints (confidence above {CONFIDENT}), at least {MIN_BODY_POINTS} are needed"
    )


def _format_name(people: list[Person]) -> str:
    tables = [table.name for person in people for table, _ in person]
    bodies = [person[0][0].name for person in people if person]
    name = bodies[0] if bodies else "unknown"
    has_hands, has_face = any("hand21" in table for table in tables), any(table.startswith("face") for table in tables)
    whole = name.startswith(("coco_wholebody", "halpe136"))
    return name + ("" if whole else "_hands" * has_hands + "_face" * has_face)
