"""From a keypoint file of any known program to people whose points have SMPL-X's names."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bodyfit.data.keypoints.formats import find_body_format
from bodyfit.data.keypoints.inputs import FitInput, find_inputs, match_image
from bodyfit.data.keypoints.parsers import read_keypoint_file
from bodyfit.data.keypoints.people import ImagePeople, KeypointError, Person
from bodyfit.data.keypoints.place import Target, in_photo, outside_problem
from bodyfit.data.keypoints.plausibility import exchange_hands, proves_visibility, sides_problem
from bodyfit.data.keypoints.scores import LOW, rescaled
from bodyfit.data.landmarks import BODY, FACE, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND
from bodyfit.data.words import counted

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
    """(width, height) that the pixels are of, where it is known."""
    warnings: tuple[str | None, ...] = ()
    """For each person None, or what looks wrong without being sure; empty: nobody looks wrong."""

    def __len__(self) -> int:
        return len(self.person_ids)

    def __repr__(self) -> str:
        size = "" if self.image_size is None else ", {} x {} px".format(*self.image_size)
        people = counted(len(self), "person", "people")
        unfit = sum(problem is not None for problem in self.problems)
        return f"<Detections of {people} ({unfit} cannot be fitted): {self.format}{size}, {self.source}>"

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
        best = float(confidence.max(initial=0.0))
        problems = tuple(_problem(*person, best, None) for person in zip(xy, confidence, strict=True))
        return cls(xy, confidence, format, ids, problems, source, image_size)


def read_keypoints(
    path: Path | str,
    *,
    format: str | None = None,
    image_size: tuple[int, int] | None = None,
    image: str | None = None,
    keypoints_size: tuple[int, int] | None = None,
    orientation: int = 1,
    min_confidence: float | None = None,
    checks: bool = True,
) -> Detections:
    """Read the people of one image, in pixels of its upright photo.

    Args:
        path: A keypoint file of any format of docs/keypoints.md.
        format: Name of the body format, as `formats.find_body_format` takes it ("coco17", "body25"); None: recognised.
        image_size: (width, height) of the photo in pixels. Shares of the image become pixels of it, and points made for
            a scaled copy are scaled; without it, coordinates stay as the file has them.
        image: Which image of an annotation or result file with many: its file name, path or number.
        keypoints_size: (width, height) of the picture that the keypoints were made on, where the file does not say it.
        orientation: EXIF orientation of the photo, for keypoints made on the photo as it is stored.
        min_confidence: Points with less count as unseen. Below 0.1, the file's best scores count as 1.
        checks: Whether keypoints that cannot be right (outside of the photo, left and right exchanged) are a problem.

    Raises:
        KeypointError: for a file that is no keypoint file or is not of this photo, naming what was found and what was
            expected. A person who cannot be used is no error but has a reason in `problems`.
    """
    path = Path(path)
    table = find_body_format(format) if format is not None else None
    format = table.name if table is not None else format
    found = _choose_image(path, read_keypoint_file(path, format), image)
    try:
        found = in_photo(found, Target(image_size, orientation, keypoints_size), path)
    except KeypointError:
        if checks or found.unit == "shares":
            raise
    return detections_of(found, path, photo_size=image_size, min_confidence=min_confidence, checks=checks)


def detections_of(
    found: ImagePeople,
    source: Path,
    *,
    photo_size: tuple[int, int] | None = None,
    min_confidence: float | None = None,
    checks: bool = True,
) -> Detections:
    """The same people with their points in `LANDMARK_NAMES` order; `source` is for messages, the rest as in
    `read_keypoints`.
    """
    number = len(found.people)
    xy, confidence = np.zeros((number, len(LANDMARK_NAMES), 2)), np.zeros((number, len(LANDMARK_NAMES)))
    for i, person in enumerate(found.people):
        bad = _merge(person, xy[i], confidence[i])
        if bad:
            log.warning("%s: person %03d: %d points with NaN or negative confidence count as unseen", source, i, bad)
    best = float(confidence.max(initial=0.0))
    confidence = rescaled(confidence, min_confidence)
    ids = _person_ids(found.ids, number)
    for i in range(number):
        if exchange_hands(xy[i], confidence[i]):
            log.warning("%s: person %s: each hand hangs on the other arm; exchanged", source, ids[i])
    format_name = _format_name(found.people)
    problems = [_problem(xy[i], confidence[i], best, photo_size if checks else None) for i in range(number)]
    warnings: list[str | None] = [None] * number
    for i in range(number):
        doubted = checks and problems[i] is None and not found.detector.startswith(_OWN_DETECTOR)
        exchanged = sides_problem(xy[i], confidence[i]) if doubted else None
        if exchanged and proves_visibility(format_name, confidence[i]):
            problems[i] = f"{exchanged}. --no-checks fits it all the same"
        elif exchanged:
            warnings[i] = f"{exchanged}, or is the person seen from behind?"
            log.warning("%s: person %s: %s", source, ids[i], warnings[i])
    return Detections(
        xy=np.where(confidence[..., None] > 0, xy, 0.0),
        confidence=confidence,
        format=format_name,
        person_ids=ids,
        problems=tuple(problems),
        source=source,
        image_size=found.size,
        warnings=tuple(warnings),
    )


def _person_ids(tracked: list[int | None], number: int) -> tuple[str, ...]:
    """Tracking numbers where the file has them and they differ; the others get the next free ones, in file order."""
    known = [n for n in tracked if n is not None]
    if not known or len(set(known)) < len(known) or len(tracked) != number:
        return tuple(f"{i:03d}" for i in range(number))
    following = iter(range(max(known) + 1, max(known) + 1 + number))
    return tuple(f"{next(following) if n is None else n:03d}" for n in tracked)


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


def _problem(
    xy: Float[np.ndarray, "144 2"],
    confidence: Float[np.ndarray, " 144"],
    best: float,
    photo_size: tuple[int, int] | None,
) -> str | None:
    count = int((confidence[list(BODY)] > CONFIDENT).sum())
    if count < MIN_BODY_POINTS:
        return _too_few(confidence, count, best)
    return outside_problem(xy[confidence > CONFIDENT], photo_size) if photo_size is not None else None


def _too_few(confidence: Float[np.ndarray, " 144"], count: int, best: float) -> str:
    """Why so few body points are not enough, and what there is instead."""
    reason = (
        f"only {count} confident body keypoints (confidence above {CONFIDENT}), at least {MIN_BODY_POINTS} are needed"
    )
    if 0 < best < LOW:
        return f"{reason}: the best score in the file is {best:.2g}. Say --min-confidence {best / 4:.1g} or so"
    seen = {name: int((confidence[list(part)] > CONFIDENT).sum()) for name, part in _OTHER_PARTS.items()}
    others = [f"{points} points of {name}" for name, points in seen.items() if points]
    return f"{reason}; seen besides: {' and '.join(others)}, which cannot place a body" if others else reason


_OWN_DETECTOR = "movenet"
"""How files name the detector that ships: its left and right are not doubted, as in photos that it looks at itself."""
_OTHER_PARTS = {"the face": FACE, "the left hand": LEFT_HAND, "the right hand": RIGHT_HAND}


def _format_name(people: list[Person]) -> str:
    tables = [table.name for person in people for table, _ in person]
    bodies = [person[0][0].name for person in people if person]
    name = bodies[0] if bodies else "unknown"
    has_hands, has_face = any("hand21" in table for table in tables), any(table.startswith("face") for table in tables)
    whole = name.startswith(("coco_wholebody", "halpe136"))
    return name + ("" if whole else "_hands" * has_hands + "_face" * has_face)
