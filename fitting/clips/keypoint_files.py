"""Keypoint files of a video's frames: where they lie, and which file is of which frame."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from bodyfit.data.keypoints.image_names import natural_key
from bodyfit.data.keypoints.inputs import keypoint_base
from bodyfit.data.keypoints.parsers import KEYPOINT_SUFFIXES, KeypointError, read_keypoint_file

log = logging.getLogger(__name__)

_NUMBER = re.compile(r"(\d+)$")
_TOLERATED = 3
"""Frames by which programs disagree about the end of a video."""


@dataclass(frozen=True)
class FrameKeypoints:
    """The keypoints of one frame."""

    file: Path
    image: str | None = None
    """Which image of the file, where it holds all of them."""


@dataclass(frozen=True)
class ClipKeypoints:
    """Keypoint files of a clip, by the number of the frame."""

    place: Path
    """The folder or file."""
    by_number: dict[int, FrameKeypoints]

    def of_frames(
        self, count: int | None, *, fitted: Collection[int] | None = None, checks: bool = True
    ) -> dict[int, FrameKeypoints]:
        """The files of frames 0 to count - 1; whether they can be those of a video with so many is said.

        Args:
            count: frames of the video; None where that is not known.
            fitted: numbers of the frames that are fitted, where these are not all.
            checks: whether files that reach far beyond the video's end are an error, or only said.

        Raises:
            KeypointError: for these.
        """
        numbers, first = self.by_number, 0
        if count is not None and min(numbers) > 0 and max(numbers) == count:
            first = 1
            log.info("%s: numbered from 1; number 1 is taken for the first frame", self.place)
        found = {number - first: file for number, file in numbers.items()}
        if count is None or (len(found) == count and max(found) < count):
            return found
        beyond = sum(number >= count for number in found)
        said = f"{self.place}: keypoints of {len(found)} frames (numbers {min(numbers)} to {max(numbers)}), but the "
        said += f"video has {count} frames"
        if beyond > max(_TOLERATED, count // 50) and checks:
            raise KeypointError(f"{said}. Are they of this video? --no-checks leaves out the {beyond} beyond its end.")
        if beyond or fitted is None or not found.keys() >= set(fitted):
            rest = f"; {beyond} beyond its end are left out" if beyond else "; nobody is seen in the others"
            log.warning("%s%s", said, rest)
        return {number: file for number, file in found.items() if number < count}


def find_keypoints(video: Path, given: Path | None) -> ClipKeypoints | None:
    """The keypoints of a video's frames, in the place given or in the usual ones beside the video.

    Files are named as OpenPose names them (clip_000000000012_keypoints.json), or end in the frame's number in any other
    way (cam01.0012.json, 000012.json); or one file holds all frames.

    Returns:
        None where none was given, and there are none beside the video.

    Raises:
        KeypointError: for a place that was given and holds none.
    """
    if given is not None:
        found = _in_place(given, video.stem, own=True)
        if found is None:
            raise KeypointError(_what_is_wrong(given, video))
        return found
    for place, own in _usual_places(video):
        found = _in_place(place, video.stem, own=own) if place.exists() else None
        if found is not None:
            return found
        if own and place.is_dir():
            log.warning("%s: no keypoint files of %s in it", place, video.name)
    return None


def _usual_places(video: Path) -> Iterator[tuple[Path, bool]]:
    """Folders and files that may hold a video's keypoints, and whether their name says that they are of this one."""
    stem, here, above = video.stem, video.parent, video.parent.parent
    for name in (f"{stem}_json", f"{stem}_keypoints", f"keypoints/{stem}", f"pose/{stem}_json", f"openpose/{stem}"):
        yield here / name, True
        if here.name in ("videos", "video"):
            yield above / name, True
    for file in (f"{stem}.json", f"{stem}_keypoints.json", f"keypoints/{stem}.json"):
        yield here / file, True
    yield here / "keypoints", False
    if here.name in ("videos", "video"):
        yield above / "keypoints", False
    yield here, False


def _in_place(place: Path, stem: str, *, own: bool) -> ClipKeypoints | None:
    """The keypoints of a clip in a folder (if it is not the clip's own, only files that bear its name) or a file."""
    if place.is_file():
        return _in_file(place)
    if not place.is_dir():
        return None
    for name in (stem, f"{stem}_json", f"{stem}_keypoints"):
        if own and (place / name).is_dir() and (found := _in_place(place / name, stem, own=True)):
            return found
    files = [f for f in sorted(place.iterdir(), key=lambda f: natural_key(f.name)) if _may_be_keypoints(f)]
    named = [f for f in files if re.fullmatch(rf"{re.escape(stem)}[._-]?\d+", keypoint_base(f))]
    numbered = named or ([f for f in files if _NUMBER.search(keypoint_base(f))] if own else [])
    if not numbered:
        return _in_file(files[0]) if own and len(files) == 1 else None
    by_number: dict[int, FrameKeypoints] = {}
    for file in numbered:
        number = int(_NUMBER.search(keypoint_base(file))[1])  # type: ignore[index]
        if number in by_number:
            raise KeypointError(f"{place}: {by_number[number].file.name} and {file.name} both end in {number}.")
        by_number[number] = FrameKeypoints(file)
    return ClipKeypoints(place, by_number)


def _may_be_keypoints(file: Path) -> bool:
    return file.suffix.lower() in KEYPOINT_SUFFIXES and not file.name.startswith(".") and file.is_file()


def _in_file(file: Path) -> ClipKeypoints | None:
    """The frames of one file with many, by the numbers that their names end in."""
    images = list(read_keypoint_file(file))
    numbers = [_NUMBER.search(image.rpartition(".")[0] if "." in image else image) for image in images]
    if not all(numbers) or len({int(n[1]) for n in numbers if n}) < len(images):
        return None
    return ClipKeypoints(
        file, {int(n[1]): FrameKeypoints(file, image) for n, image in zip(numbers, images, strict=True) if n}
    )


def _what_is_wrong(given: Path, video: Path) -> str:
    expected = (
        f"Expected a folder of {video.stem}_000000000000_keypoints.json, ..., a file for each frame, ending in its "
        "number; or one file with all frames. Without --keypoints, they are found in the frames by the detector."
    )
    if not given.exists():
        return f"{given}: no such file or folder. {expected}"
    if given.is_file():
        return f"{given}: does not hold the keypoints of numbered frames. {expected}"
    names = [entry.name for entry in sorted(given.iterdir())]
    holds = f"holds {len(names)} entries ({', '.join(names[:3])}, ...)" if names else "is empty"
    return f"{given}: {holds}, no keypoint files of {video.name} among them. {expected}"
