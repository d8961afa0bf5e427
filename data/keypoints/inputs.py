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
from bodyfit.data.keypoints.image_names import ImageIndex, is_photo_name, match_image, natural_key
from bodyfit.data.keypoints.parsers import KEYPOINT_SUFFIXES, VIDEO_SUFFIXES, KeypointError, read_keypoint_file
from bodyfit.data.keypoints.unread_photos import refuse_unread_photo, say_unread_photos
from bodyfit.data.words import counted

_KEYPOINT_FOLDERS = ("keypoints", "labels")
PARTS_OF_A_FOLDER = ("images", *_KEYPOINT_FOLDERS)
"""Folders that are looked into where they are in a folder of inputs."""

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
    problem: str | None = None
    """Why the two do not belong together, for whoever reads them to raise."""


def find_inputs(path: Path | str, *, exclude: Iterable[Path] = ()) -> list[FitInput]:
    """Pair photos with keypoints, in natural order of names (2 before 10).

    Args:
        path: A photo; a keypoint file; or a folder, with `images/` and `keypoints/` (or YOLO's `labels/`) in it or with
            pairs side by side, at any depth. X.jpg goes with X_keypoints.json, X.json, X.jpg.json, X.predictions.json,
            X.jpg.predictions.json, or X.txt, X.csv, X.npy, X.npz; an annotation file goes with all photos it names.
        exclude: Folders not to look into, such as the one that results are written to.

    Raises:
        BodyfitError: if there is no such file or folder, or nothing to fit in it.
    """
    path = Path(path)
    if path.is_file():
        if path.suffix.lower() in VIDEO_SUFFIXES:
            raise BodyfitError(f"{path}: a video. Expected photos, such as its frames, and keypoint files.")
        refuse_unread_photo(path)
        found = [_beside_photo(path)] if is_photo(path) else _beside_keypoints(path)
    elif path.is_dir():
        found = _in_folder(path, [folder.resolve() for folder in exclude])
    else:
        raise BodyfitError(f"{path}: no such file or folder. Expected a photo, a keypoint JSON or a folder of both.")
    if not found:
        raise BodyfitError(f"{path}: no photos ({', '.join(PHOTO_SUFFIXES)}) and no keypoint files (.json) in it.")
    found = [replace(item, name=result_name(item.name)) for item in found]
    return _distinct_names(sorted(found, key=lambda item: natural_key(item.name)))


def find_inputs_with(paths: Iterable[Path], keypoints: Path, *, exclude: Iterable[Path] = ()) -> list[FitInput]:
    """Pair photos with keypoints that lie elsewhere, by the names that `images/` and `keypoints/` are paired by.

    Args:
        paths: Photos, and folders of them (their `images/`, where they have it).
        keypoints: A folder of keypoint files, or one file.
        exclude: Folders not to look into, such as the one that results are written to.

    Returns:
        All photos, those without keypoints too, and what stands in `keypoints` without a photo.

    Raises:
        BodyfitError: if there is no such file or folder, there are no photos, two have one name, or none has keypoints.
    """
    excluded, photos, named = [folder.resolve() for folder in exclude], {}, set()
    for path in paths:
        for photo, relative in _photos_of(path, excluded).items():
            if relative in named and photo not in photos:
                raise BodyfitError(
                    f"{photo}: another photo is named {relative}, too. Fit the two in runs of their own."
                )
            photos[photo] = relative
            named.add(relative)
    if keypoints.is_dir():
        below = {file: file.relative_to(keypoints) for file in _files(keypoints, excluded)}
        files = {file: relative for file, relative in below.items() if _may_hold_keypoints(file)}
    elif keypoints.is_file():
        files = {keypoints: Path(keypoints.name)}
    else:
        raise BodyfitError(f"{keypoints}: no such file or folder. Expected the keypoints of the photos.")
    found = _matched(photos, files, suffixes=KEYPOINT_SUFFIXES)
    if not any(item.photo and item.keypoints for item in found):
        problem = next((item.problem for item in found if item.problem), None)
        raise BodyfitError(
            problem
            or f"{keypoints}: {counted(len(files), 'keypoint file', 'keypoint files')}, none for any "
            f"of {counted(len(photos), 'photo', 'photos')}, such as {next(iter(photos))}. Expected "
            "X_keypoints.json for X.jpg, or a file that names the photos."
        )
    found = [replace(item, name=result_name(item.name)) for item in found]
    return _distinct_names(sorted(found, key=lambda item: natural_key(item.name)))


def _photos_of(path: Path, exclude: list[Path]) -> dict[Path, str]:
    """The photos of a path, with their names below it."""
    if path.is_file() and is_photo(path):
        return {path: path.name}
    refuse_unread_photo(path)
    if not path.is_dir():
        what = "no photo" if path.is_file() else "no such file or folder"
        raise BodyfitError(f"{path}: {what}. Expected photos or folders of them, since keypoints are named apart.")
    root = path / "images" if (path / "images").is_dir() else path
    files = list(_files(root, exclude))
    say_unread_photos(files)
    photos = {p: p.relative_to(root).as_posix() for p in files if is_photo(p)}
    if not photos:
        raise BodyfitError(f"{path}: no photos ({', '.join(PHOTO_SUFFIXES)}) in it.")
    return photos


def is_photo(path: Path) -> bool:
    """Whether the suffix is that of an image."""
    return is_photo_name(path.name)


def keypoint_base(path: Path) -> str:
    """The photo's name without suffix that a keypoint file's name speaks of."""
    base = path.name.removesuffix(path.suffix)
    for ending in (".predictions", ".openpifpaf", "_keypoints", *PHOTO_SUFFIXES, *VIDEO_SUFFIXES):
        base = base.removesuffix(ending)
    return base


def _beside_photo(photo: Path) -> FitInput:
    folders = [photo.parent]
    if photo.parent.name == "images":
        folders += [photo.parent.parent / name for name in _KEYPOINT_FOLDERS]
    for folder in folders:
        for name in (
            f"{photo.stem}_keypoints.json",
            f"{photo.name}.predictions.json",
            f"{photo.stem}.predictions.json",
            f"{photo.name}.json",
            *(photo.stem + suffix for suffix in KEYPOINT_SUFFIXES),
        ):
            if os.path.isfile(folder / name):  # False also where the name is too long for the file system
                return _pair(photo, folder / name, photo.stem, photo.name)
    return FitInput(photo, None, photo.stem)


def _beside_keypoints(keypoints: Path) -> list[FitInput]:
    folders = [keypoints.parent]
    if keypoints.parent.name in _KEYPOINT_FOLDERS:
        folders.append(keypoints.parent.parent / "images")
    photos = {photo: photo.name for folder in folders if folder.is_dir() for photo in _files(folder, deep=False)}
    photos = {photo: name for photo, name in photos.items() if is_photo(photo)}
    base = keypoint_base(keypoints)
    for photo in photos:
        if photo.stem == base:
            return [_pair(photo, keypoints, base, photo.name)]
    return _named_images(keypoints, photos) or [FitInput(None, keypoints, base)]


def _in_folder(folder: Path, exclude: list[Path]) -> list[FitInput]:
    images = folder / "images"
    keypoints = next((folder / name for name in _KEYPOINT_FOLDERS if (folder / name).is_dir()), folder)
    if images.is_dir() and keypoints != folder:
        pictures = list(_files(images, exclude))
        photos = {p: p.relative_to(images).as_posix() for p in pictures if is_photo(p)}
        files = {p: p.relative_to(keypoints) for p in _files(keypoints, exclude) if _may_hold_keypoints(p)}
    else:
        below = {p: p.relative_to(folder) for p in _files(folder, exclude)}
        pictures = list(below)
        photos = {file: relative.as_posix() for file, relative in below.items() if is_photo(file)}
        files = {file: relative for file, relative in below.items() if _may_hold_keypoints(file)}
    say_unread_photos(pictures)
    # Tables and arrays can hold anything; alone in a folder of photos, only JSON is taken for keypoints.
    return _matched(photos, files, suffixes=(".json",) if photos else KEYPOINT_SUFFIXES)


def _matched(photos: dict[Path, str], files: dict[Path, Path], *, suffixes: Iterable[str]) -> list[FitInput]:
    """Photos with the files of their names, else with those of `suffixes` that name them; then what is left alone."""
    by_base = {(relative.parent / keypoint_base(file)).as_posix(): file for file, relative in _json_last(files)}
    found = []
    for photo, relative in photos.items():
        base = relative.removesuffix(photo.suffix)
        if base in by_base:
            found.append(_pair(photo, by_base[base], base, relative))
    paired = {item.keypoints for item in found}
    for base, file in by_base.items():
        if file not in paired and file.suffix.lower() in suffixes:
            found += _named_images(file, photos) or [FitInput(None, file, base)]
    with_keypoints = {item.photo for item in found}
    alone = [FitInput(p, None, r.removesuffix(p.suffix)) for p, r in photos.items() if p not in with_keypoints]
    return found + alone


def _may_hold_keypoints(file: Path) -> bool:
    return file.suffix.lower() in KEYPOINT_SUFFIXES


def _json_last(files: dict[Path, Path]) -> list[tuple[Path, Path]]:
    """JSON after the other kinds: of two files of one name it counts."""
    return sorted(files.items(), key=lambda item: item[0].suffix.lower() == ".json")


def _pair(photo: Path, keypoints: Path, name: str, relative: str) -> FitInput:
    """A photo and the keypoint file that goes by its name; if that names another photo, this is said."""
    try:
        images = list(_read_if_naming_images(keypoints))
    except KeypointError:
        return FitInput(photo, keypoints, name)  # reported by whoever reads it
    if len(images) > 1:
        return FitInput(photo, keypoints, name, image=match_image(relative, images) or relative)
    other = images[0] if images and is_photo_name(images[0]) else None
    problem = None
    if other and match_image(relative, [other]) is None:
        problem = f"{keypoints}: holds keypoints of {other}, which is another image than {photo.name} beside it."
    return FitInput(photo, keypoints, name, problem=problem)


def _named_images(keypoints: Path, photos: dict[Path, str]) -> list[FitInput]:
    """An entry for every image that a keypoint file names; nothing if it names none, or cannot be read (yet).

    A broken file is not reported here but by the one who reads it, as the failure of its own entry.
    """
    base = keypoint_base(keypoints)
    try:
        images = [name for name in _read_if_naming_images(keypoints) if name]
    except KeypointError:
        return []
    photo_of = {relative: photo for photo, relative in photos.items()}
    try:
        names = ImageIndex(photo_of).find_all(images, keypoints)
    except KeypointError as ambiguous:
        return [FitInput(None, keypoints, base, problem=str(ambiguous))]
    if images and photos and not any(names.values()):
        shown = ", ".join(images[:3]) + (", ..." if len(images) > 3 else "")
        there = ", ".join(list(photo_of)[:3]) + (", ..." if len(photos) > 3 else "")
        problem = f"{keypoints}: holds keypoints of {shown}; none of the photos here ({there}) is such an image."
        return [FitInput(None, keypoints, base, problem=problem)]
    found = []
    for image in images:
        relative = names[image]
        name = relative or (f"{base}_{image}" if image.isdigit() else image)
        name = name.removesuffix(Path(name).suffix) if is_photo_name(name) else name
        found.append(FitInput(photo_of.get(relative), keypoints, name, image=image))
    return found


_OPENPOSE_START = re.compile(rb'\s*\{\s*(?:"version"\s*:\s*[\d."]+\s*,\s*)?"people"')


def _read_if_naming_images(keypoints: Path) -> Iterable[str]:
    """Names of the images in an annotation or result file; files that start as OpenPose's do need no parsing."""
    with keypoints.open("rb") as stream:
        if _OPENPOSE_START.match(stream.read(200)):
            return ()
    return read_keypoint_file(keypoints)


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
