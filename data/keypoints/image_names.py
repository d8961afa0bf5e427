"""Which image a name means: paths, file names and numbers that keypoint files give to photos."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from bodyfit.data.files import PHOTO_SUFFIXES
from bodyfit.data.keypoints.people import KeypointError

_COCO_DIGITS = 12
"""Digits of the number in COCO's names, COCO_val2014_000000000785: the image's own number, not a counter."""


def is_photo_name(name: str) -> bool:
    """Whether a file's suffix is that of an image."""
    return name.lower().endswith(PHOTO_SUFFIXES)


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sorting key that compares numbers in names as numbers."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]


def match_image(image: str, names: Iterable[str]) -> str | None:
    """The one of `names` that means the same image as `image`; None if none does, or several could.

    Tried in turn: the same words, the same file name, the same name without suffix, and COCO's numbers (image_id 785 is
    000000000785.jpg). Two names that only end in the same number are not the same image: camA_0001 is not camB_0001.
    """
    return ImageIndex(names).find(image)


class ImageIndex:
    """Finds image names (paths, file names, numbers) by other names of the same images."""

    def __init__(self, names: Iterable[str]):
        self._names = list(names)
        self._by_word: list[dict[str, list[str]]] = [{} for _ in range(4)]
        for name in self._names:
            for table, word in zip(self._by_word, _words(name), strict=True):
                if word:
                    table.setdefault(word, []).append(name)

    def find(self, image: str) -> str | None:
        """The name that means `image`, by the closest way of saying so; of several, the one with most folders alike."""
        for table, word in zip(self._by_word, _words(image), strict=True):
            found = table.get(word, ()) if word else ()
            if len(found) > 1:
                alike = sorted(((_folders_alike(image, name), name) for name in found), reverse=True)
                found = [alike[0][1]] if alike[0][0] > alike[1][0] else []
                if not found:
                    return None
            if found:
                return found[0]
        return None

    def find_all(self, images: Iterable[str], source: object) -> dict[str, str | None]:
        """The name that each of a file's images means, None where none does.

        Small numbers (image_id 1, frame 1) can be the number in a name or count the photos from 0 or from 1.

        Raises:
            KeypointError: where these would not all mean the same photos.
        """
        images = list(images)
        found = {image: self.find(image) for image in images}
        counters = [image for image in images if found[image] is None and image.isdigit()]
        if not counters or len(counters) < len(images):
            return found
        by_number: dict[int, list[str]] = {}
        for name in self._names:
            if number := re.search(r"\d+$", _stem(name)):
                by_number.setdefault(int(number[0]), []).append(name)
        if not all(len(by_number.get(int(image), ())) == 1 for image in counters):
            return found
        meant = {image: by_number[int(image)][0] for image in counters}
        ordered = sorted(self._names, key=natural_key)
        for first in (0, 1):
            places = [int(image) - first for image in counters]
            if min(places) < 0 or max(places) >= len(ordered):
                continue
            counted = {image: ordered[place] for image, place in zip(counters, places, strict=True)}
            if counted != meant:
                image = next(image for image in counters if counted[image] != meant[image])
                raise KeypointError(
                    f"{source}: image {image} can mean {meant[image]} by its number, or {counted[image]} counting from "
                    f"{first}. Name the photos by file name in it (image_id: '{meant[image]}')."
                )
        return meant


def _stem(name: str) -> str:
    last = PurePosixPath(name.replace("\\", "/")).name
    return last[: last.rindex(".")] if is_photo_name(last) else last


def _words(name: str) -> tuple[str, str, str, str]:
    """The whole name, the file's name, its stem, and COCO's number of the image."""
    stem = _stem(name)
    digits = re.search(r"\d+$", stem)
    number = digits[0] if digits else ""
    of_coco = len(number) == _COCO_DIGITS and (stem == number or stem.startswith("COCO_"))
    is_number = stem == number and name == stem
    return name, PurePosixPath(name.replace("\\", "/")).name, stem, str(int(number)) if of_coco or is_number else ""


def _folders_alike(first: str, second: str) -> int:
    """How many parts of two paths are the same, from the end."""
    pairs = zip(reversed(first.replace("\\", "/").split("/")), reversed(second.split("/")), strict=False)
    count = 0
    for a, b in pairs:
        if a != b:
            break
        count += 1
    return count
