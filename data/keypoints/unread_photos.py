"""Photos of kinds that are not read, such as those of phones and raw ones: what is said of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from bodyfit.data.errors import BodyfitError

log = logging.getLogger(__name__)

_RAW = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2")
UNREAD_PHOTO_SUFFIXES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".eps", *_RAW)
_ADVICE = "Save such photos as JPEG or PNG first: `magick a.heic a.jpg`, or on a Mac `sips -s format jpeg`."


def is_unread_photo(path: Path) -> bool:
    """Whether the suffix is that of a photo, but of a kind that is not read."""
    return path.suffix.lower() in UNREAD_PHOTO_SUFFIXES


def refuse_unread_photo(path: Path) -> None:
    """Raise BodyfitError for a photo of such a kind."""
    if is_unread_photo(path):
        raise BodyfitError(f"{path}: {path.suffix} photos are not read. {_ADVICE}")


def say_unread_photos(files: Iterable[Path]) -> None:
    """Log one line about all photos of such kinds among the files of a folder."""
    unread = [path for path in files if is_unread_photo(path)]
    if unread:
        kinds = ", ".join(sorted({path.suffix.lower() for path in unread}))
        more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        log.warning("%s%s: %s photos are not read, left out. %s", unread[0], more, kinds, _ADVICE)
