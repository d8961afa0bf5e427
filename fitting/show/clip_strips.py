"""A strip of small pictures for each person of a clip: the body over the frame, at moments spread over time."""

from __future__ import annotations

import base64
import io
import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from bodyfit.data.errors import BodyfitError
from bodyfit.data.photo.photo import read_photo
from bodyfit.fitting.draw.colours import person_hex
from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.portraits import OverlayStyle, drawn_people
from bodyfit.fitting.show.results_folder import PersonEntry

logger = logging.getLogger(__name__)

MOST_STRIPS = 40
"""People with a strip; those with most moments, that is the lowest numbers, first."""
PICTURES = 8
"""Of a strip."""
_HEIGHT, _WIDEST = 160, 240
"""Px of a picture."""
_MARGIN = 0.12
"""Around the body, as a share of its longer side."""


@dataclass(frozen=True)
class Thumbnail:
    """One picture of a strip."""

    src: str
    """A data URL."""
    caption: str
    """The time, and whether the body is interpolated."""


@dataclass(frozen=True)
class Strip:
    """One person over time."""

    person: str
    words: str
    """When the person is there, and how much of that was seen."""
    colour: str
    pictures: tuple[Thumbnail, ...]


def strips(clip: ClipFrames) -> list[Strip]:
    """Of each person, as the camera that has most of them sees them. Overlays of the run are cut; without them, or
    where not every frame has one, bodies are drawn anew. Who was fitted nowhere has no strip."""
    of_person: dict[str, list[PersonEntry]] = {}
    for entry in clip.results.people:
        if entry.status != "failed" and entry.image in clip.index.frames:
            of_person.setdefault(entry.person, []).append(entry)
    return [_strip(clip, person, entries) for person, entries in sorted(of_person.items())[:MOST_STRIPS]]


def _strip(clip: ClipFrames, person: str, entries: list[PersonEntry]) -> Strip:
    moment = clip.index.frames
    entries.sort(key=lambda entry: moment[entry.image])
    cameras = Counter(clip.index.camera_of(entry.image) for entry in entries)
    [(camera, _)] = cameras.most_common(1)
    mine = [entry for entry in entries if clip.index.camera_of(entry.image) == camera]
    rows = np.unique(np.linspace(0, len(mine) - 1, PICTURES).round().astype(int))
    made = (_thumbnail(clip, mine[row], moment[mine[row].image] / clip.index.fps) for row in rows)
    moments = {moment[entry.image] for entry in entries}
    seen = {moment[entry.image] for entry in entries if entry.status != "interpolated"}
    words = f"{min(moments) / clip.index.fps:.2f} to {max(moments) / clip.index.fps:.2f} s"
    words += f" · {len(seen)} moments seen"
    words += f", {len(moments - seen)} interpolated" if moments - seen else ""
    words += f" · {len(cameras)} cameras, here {camera}" if len(clip.cameras) > 1 else ""
    colour = person_hex(mine[0].number)
    return Strip(person, words, colour, tuple(thumbnail for thumbnail in made if thumbnail is not None))


def _thumbnail(clip: ClipFrames, entry: PersonEntry, time_s: float) -> Thumbnail | None:
    try:
        picture = _cut_out(clip, entry)
    except BodyfitError as error:
        logger.warning("report: %s", error)
        return None
    if picture is None:
        return None
    image = Image.fromarray(picture)
    image.thumbnail((_WIDEST, _HEIGHT), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80, optimize=True)
    words = f"{time_s:.2f} s" + (", interpolated" if entry.status == "interpolated" else "")
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode(), words)


def _cut_out(clip: ClipFrames, entry: PersonEntry) -> UInt8[np.ndarray, "h w 3"] | None:
    """The person over the frame, with some margin; None where the body is outside of the picture, or has no result."""
    result = entry.result()
    if result is None:
        return None
    if entry.overlay_path is not None:
        picture = read_photo(entry.overlay_path).image
    else:
        shown = clip.shown(entry.image, (entry.person,))
        picture = clip.photo(entry.image)
        picture = clip.blank(clip.index.camera_of(entry.image)) if picture is None else picture
        picture = drawn_people(picture, shown, OverlayStyle(), "auto")
    points = result.landmarks_px[np.isfinite(result.landmarks_px).all(axis=1)]
    height, width = picture.shape[:2]
    if not len(points):
        return None
    margin = _MARGIN * np.ptp(points, axis=0).max()
    left, top = np.clip((points.min(axis=0) - margin).astype(int), 0, (width, height))
    right, bottom = np.clip((points.max(axis=0) + margin).astype(int), 0, (width, height))
    return picture[top:bottom, left:right] if right - left > 1 and bottom - top > 1 else None
