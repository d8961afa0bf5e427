"""Which photo goes with which keypoints: one file, a folder of pairs, or images/ + keypoints/ as SMPLify-X has them."""

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import PHOTO_SUFFIXES, result_name
from bodyfit.data.keypoints.parsers import KeypointError, read_keypoint_file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitInput:
    """One image to fit. Photo or keypoints may be missing: without keypoints there is nothing to fit, and that is said;
    without a photo the fit works, and there is nothing to draw on.
    """

    photo: Path | None
    keypoints: Path | None
    name: str
    """Where results go: the path below the input folder, without suffix. Names that stand in a keypoint file are made
    relative paths by `files.result_name`."""
    image: str | None = None
    """Which image of `keypoints`, where that file holds many: `read_keypoints(keypoints, image=image)`."""


def find_inputs(path: Path | str, *, exclude: Iterable[Path] = ()) -> list[FitInput]:
    """Pair photos with keypoints, in natural order of names (2 before 10).

    Args:
        path: A photo; a keypoint file; or a folder, with `images/` and `keypoints/` in it or with pairs side by side,
            at any depth. X.jpg goes with X_keypoints.json, X.json, X.jpg.json, X.predictions.json and
            X.jpg.predictions.json; an annotation file goes with every photo that it names.
        exclude: Folders not to look into, such as the one that results are written to.

    Raises:
        BodyfitError: if there is no such file or folder, or nothing to fit in it.
    """
    path = Path(path)
    if path.is_file():
        found = [_beside_photo(path)] if is_photo(path) else _beside_keypoints(path)
    elif path.is_dir():
        found = _in_folder(path, [folder.resolve() for folder in exclude])
    else:
        raise BodyfitError(f"{path}: no such file or folder. Expected a photo, a keypoint JSON or a folder of both.")
    if not found:
        raise BodyfitError(f"{path}: no photos ({', '.join(PHOTO_SUFFIXES)}) and no keypoint files (.json) in it.")
    found = [replace(item, name=result_name(item.name)) for item in found]
    return _distinct_names(sorted(found, key=lambda item: natural_key(item.name)))


def is_photo(path: Path) -> bool:
    """Whether the suffix is that of an image."""
    return path.suffix.lower() in PHOTO_SUFFIXES


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sorting key that compares numbers in names as numbers."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]


def keypoint_base(path: Path) -> str:
    """The photo's name without suffix that a keypoint file's name speaks of."""
    base = path.name.removesuffix(path.suffix)
    for ending in (".predictions", ".openpifpaf", "_keypoints", *PHOTO_SUFFIXES):
        base = base.removesuffix(ending)
    return base


def match_image(image: str, names: Iterable[str]) -> str | None:
    """The one of `names` that means the same image as `image`; None if none does.

    Tried in turn: the same words, the same file name, the same name without suffix, the same number at the end of the
    name (COCO's image_id 785 is 000000000785.jpg).
    """
    return ImageIndex(names).find(image)


class ImageIndex:
    """Finds image names (paths, file names, numbers) by other names of the same images."""

    def __init__(self, names: Iterable[str]):
        self._by_word: list[dict[str, str]] = [{} for _ in range(4)]
        for name in names:
            for table, word in zip(self._by_word, self._words(name), strict=True):
                if word:
                    table.setdefault(word, name)

    def find(self, image: str) -> str | None:
        """The name that means `image`, by the closest way of saying so."""
        for table, word in zip(self._by_word, self._words(image), strict=True):
            if word in table:
                return table[word]
        return None

    @staticmethod
    def _words(name: str) -> tuple[str, str, str, str]:
        path = Path(name)
        stem = path.stem if is_photo(path) else path.name
        number = re.search(r"\d+$", stem)
        return name, path.name, stem, str(int(number[0])) if number else ""


def _beside_photo(photo: Path) -> FitInput:
    folders = [photo.parent]
    if photo.parent.name == "images":
        folders.append(photo.parent.parent / "keypoints")
    for folder in folders:
        for name in (
            f"{photo.stem}_keypoints.json",
            f"{photo.name}.predictions.json",
            f"{photo.stem}.predictions.json",
            f"{photo.name}.json",
            f"{photo.stem}.json",
        ):
            if os.path.isfile(folder / name):  # False also where the name is too long for the file system
                file = folder / name
                return FitInput(photo, file, photo.stem, image=_image_if_many(file, photo.name))
    return FitInput(photo, None, photo.stem)


def _beside_keypoints(keypoints: Path) -> list[FitInput]:
    folders = [keypoints.parent]
    if keypoints.parent.name == "keypoints":
        folders.append(keypoints.parent.parent / "images")
    photos = {photo: photo.name for folder in folders if folder.is_dir() for photo in _files(folder, deep=False)}
    photos = {photo: name for photo, name in photos.items() if is_photo(photo)}
    base = keypoint_base(keypoints)
    for photo in photos:
        if photo.stem == base:
            return [FitInput(photo, keypoints, base, image=_image_if_many(keypoints, photo.name))]
    return _named_images(keypoints, photos) or [FitInput(None, keypoints, base)]


def _in_folder(folder: Path, exclude: list[Path]) -> list[FitInput]:
    images, keypoints = folder / "images", folder / "keypoints"
    if images.is_dir() and keypoints.is_dir():
        photos = {p: p.relative_to(images).as_posix() for p in _files(images, exclude) if is_photo(p)}
        jsons = {p: p.relative_to(keypoints) for p in _files(keypoints, exclude) if p.suffix.lower() == ".json"}
    else:
        photos, jsons = {}, {}
        for file in _files(folder, exclude):
            if is_photo(file):
                photos[file] = file.relative_to(folder).as_posix()
            elif file.suffix.lower() == ".json":
                jsons[file] = file.relative_to(folder)
    by_base = {(relative.parent / keypoint_base(file)).as_posix(): file for file, relative in jsons.items()}
    found = []
    for photo, relative in photos.items():
        base = relative.removesuffix(photo.suffix)
        if base in by_base:
            found.append(FitInput(photo, by_base[base], base, image=_image_if_many(by_base[base], relative)))
    paired = {item.keypoints for item in found}
    for base, file in by_base.items():
        if file not in paired:
            found += _named_images(file, photos) or [FitInput(None, file, base)]
    with_keypoints = {item.photo for item in found}
    alone = [FitInput(p, None, r.removesuffix(p.suffix)) for p, r in photos.items() if p not in with_keypoints]
    return found + alone


def _named_images(keypoints: Path, photos: dict[Path, str]) -> list[FitInput]:
    """An entry for every image that a keypoint file names; nothing if it names none, or cannot be read (yet).

    A broken file is not reported here but by the one who reads it, as the failure of its own entry.
    """
    try:
        images = [name for name in _read_if_naming_images(keypoints) if name]
    except KeypointError:
        return []
    photo_of = {relative: photo for photo, relative in photos.items()}
    index = ImageIndex(photo_of)
    found = []
    for image in images:
        relative = index.find(image)
        name = image if relative is None else relative
        base = name.removesuffix(Path(name).suffix) if is_photo(Path(name)) else name
        found.append(FitInput(photo_of.get(relative), keypoints, base, image=image))
    return found


def _read_if_naming_images(keypoints: Path) -> Iterable[str]:
    """Names of the images in an annotation or result file; files that start as OpenPose's do need no parsing."""
    with keypoints.open("rb") as stream:
        start = stream.read(2000)
    if b'"people"' in start and b'"annotations"' not in start:
        return ()
    return read_keypoint_file(keypoints)


def _image_if_many(keypoints: Path, image: str) -> str | None:
    """What to ask `keypoints` for, if it holds more than the one image it is paired with by name."""
    try:
        images = list(_read_if_naming_images(keypoints))
    except KeypointError:
        return None
    return match_image(image, images) or image if len(images) > 1 else None


def _files(folder: Path, exclude: Iterable[Path] = (), deep: bool = True) -> Iterator[Path]:
    """Files in a folder, without hidden ones (._X.jpg is not a photo); each folder once, whatever links lead to it."""
    seen, waiting = {folder.resolve(), *exclude}, [folder]
    while waiting:
        here, below = waiting.pop(), []
        for entry in sorted(_entries(here), key=lambda p: natural_key(p.name)):
            if entry.name.startswith("."):
                continue
            if entry.is_file():
                yield entry
            elif deep and entry.is_dir() and (resolved := entry.resolve()) not in seen:
                seen.add(resolved)
                below.append(entry)
        waiting += below[::-1]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:  # not ours to read, or too deep for the file system
        log.warning("%s: cannot be listed (%s), left out", folder, error.strerror)
        return []


def _distinct_names(inputs: list[FitInput]) -> list[FitInput]:
    """No two entries may write the same results: names that occur twice get the photo's suffix (a.jpg and a.png), and
    where that does not part them (two annotation files for one photo), the name of the keypoint file, then a hash.
    """

    def with_suffix(item: FitInput) -> str:
        return item.name + item.photo.suffix if item.photo else item.name

    def with_keypoint_file(item: FitInput) -> str:
        return f"{item.name}_{item.keypoints.stem}" if item.keypoints else item.name

    def with_image(item: FitInput) -> str:  # "../a.jpg" and "a.jpg" of one file
        return f"{item.name}_{hashlib.sha256(repr((item.image, item.photo)).encode()).hexdigest()[:12]}"

    for rename in (with_suffix, with_keypoint_file, with_image):
        count = Counter(item.name for item in inputs)
        if len(count) == len(inputs):
            break
        renamed = [replace(item, name=result_name(rename(item))) if count[item.name] > 1 else item for item in inputs]
        if rename is with_suffix and len({item.name for item in renamed}) < len(inputs):
            continue
        inputs = renamed
    return inputs
