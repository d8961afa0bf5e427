"""Files of calibrated views: which camera took each of them, and at which moment."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.image_names import natural_key
from bodyfit.data.keypoints.inputs import FitInput, find_inputs
from bodyfit.data.photo.rig import Rig

log = logging.getLogger(__name__)

Views = Mapping[str, Mapping[int, FitInput]]
"""The input of each camera at each moment."""

_ENDINGS = ("_keypoints", "_pose", "_json")


@dataclass(frozen=True)
class _Seen:
    """An input, and what its path says."""

    item: FitInput
    camera: str
    frame: str
    """What is left of the file's name without the camera's."""


def find_views(paths: Sequence[Path], rig: Rig, *, exclude: Iterable[Path] = (), of_videos: bool = False) -> Views:
    """Photos and keypoint files of all cameras, by moment.

    Folders say the camera (views/cam1/0001.jpg, pose/cam01_json/cam01.0001.json), or file names do (cam1.jpg,
    cam1_0001.json). Frames of one number belong to one moment; where there are no numbers, those of one name; a single
    picture of each camera is one moment, whatever it is called.

    Args:
        paths: folders or files.
        rig: its cameras.
        exclude: files and folders not to look at, such as the calibration and the output.
        of_videos: the numbers are those of videos' frames, and stay as they are.

    Raises:
        BodyfitError: where nothing is found.
    """
    skipped = {Path(path).resolve() for path in (*exclude, rig.source)}
    found = [item for path in paths for item in find_inputs(path, exclude=list(skipped))]
    found = [item for item in found if not any(f and f.resolve() in skipped for f in (item.photo, item.keypoints))]
    seen = _with_cameras(found, rig)
    if not seen:
        raise BodyfitError(
            f"{paths[0]}: no folder and no file is named like a camera of {rig.source} ({_some(rig.cameras)}). Found "
            f"{_some(item.name for item in found)}. Expected views/{next(iter(rig.cameras))}/0001.json and the like."
        )
    return _by_moment(seen, of_videos)


def _with_cameras(found: list[FitInput], rig: Rig) -> list[_Seen]:
    """The inputs whose paths name cameras, at the level of folders where most cameras are named."""
    depths = {1} | {0} | {len(_parts(item)) - 1 for item in found}
    levels = [[_at_level(item, rig, level) for item in found] for level in sorted(depths, key=lambda d: (d == 0, d))]
    best = max(levels, key=lambda level: len({seen.camera for seen in level if seen}), default=[])
    nobody = [item.name for item, seen in zip(found, best, strict=True) if seen is None]
    if nobody and len(nobody) < len(found):
        log.warning("no camera of %s goes by these names, left out: %s", rig.source, _some(nobody))
    return [seen for seen in best if seen]


def _parts(item: FitInput) -> tuple[str, ...]:
    return Path(item.name).parts


def _at_level(item: FitInput, rig: Rig, level: int) -> _Seen | None:
    """What a path says with the camera in its file name (level 0), in the folder of it (1), the one above that (2)."""
    *folders, stem = _parts(item)
    for ending in _ENDINGS:
        stem = stem.removesuffix(ending)
    if level > len(folders):
        return None
    if level:
        name = rig.camera_named(folders[-level])
        return name and _Seen(item, name, _without_camera(stem, rig, name))
    return _from_stem(item, stem, rig)


def _from_stem(item: FitInput, stem: str, rig: Rig) -> _Seen | None:
    if name := rig.camera_named(stem):
        return _Seen(item, name, "")
    patterns = ((r"(.+?)[^0-9A-Za-z]*(\d+)", 1, 2), (r"(\d+)[^0-9A-Za-z]+(.+)", 2, 1))
    for by_number in (False, True):
        for pattern, camera, frame in patterns:
            parts = re.fullmatch(pattern, stem)
            if parts and (name := rig.camera_named(parts[camera], by_number=by_number)):
                return _Seen(item, name, parts[frame])
    return None


def _without_camera(stem: str, rig: Rig, camera: str) -> str:
    """The frame in the name of a file that may repeat its camera's: cam01.0007 is 0007."""
    for parts in (re.fullmatch(r"(.+?)[^0-9A-Za-z]+(\d+)", stem), re.fullmatch(r"(\d+)[^0-9A-Za-z]+(.+)", stem)):
        for camera_part, frame in ((1, 2), (2, 1)):
            if parts and rig.camera_named(parts[camera_part]) == camera and parts[frame].isdigit():
                return parts[frame]
    return "" if rig.camera_named(stem) == camera and not stem.isdigit() else stem


# --- moments ---------------------------------------------------------------------------------------------------------


def _by_moment(seen: list[_Seen], of_videos: bool) -> dict[str, dict[int, FitInput]]:
    cameras: dict[str, dict[str, FitInput]] = {}
    numbered = all(_number(one.frame) is not None for one in seen)
    for one in seen:
        key = str(_number(one.frame)) if numbered else one.frame
        mine = cameras.setdefault(one.camera, {})
        mine[key] = _joined(mine[key], one.item) if key in mine else one.item
    if all(len(mine) == 1 for mine in cameras.values()) and not (of_videos and numbered):
        return {camera: {0: next(iter(mine.values()))} for camera, mine in sorted(cameras.items(), key=_naturally)}
    keys = sorted({key for mine in cameras.values() for key in mine}, key=natural_key)
    moments = {key: n for n, key in enumerate(keys)}
    if numbered:
        numbers = [int(key) for key in keys]
        stride = 1 if of_videos else math.gcd(*(number - numbers[0] for number in numbers)) or 1
        if stride > 1:
            log.info("frames are %d apart: taken for consecutive moments", stride)
        moments = {key: int(key) // stride for key in keys}
    return {
        camera: dict(sorted((moments[key], item) for key, item in mine.items()))
        for camera, mine in sorted(cameras.items(), key=_naturally)
    }


def _naturally(entry: tuple[str, object]) -> list:
    return natural_key(entry[0])


def _number(frame: str) -> int | None:
    """The last number in a frame's name."""
    numbers = re.findall(r"\d+", frame)
    return int(numbers[-1]) if numbers else None


def _joined(first: FitInput, second: FitInput) -> FitInput:
    """A photo and a keypoint file that were found apart; of two of a kind, the first."""
    if (first.photo and second.photo) or (first.keypoints and second.keypoints):
        log.warning("%s and %s are the same frame of the same camera; the second is left out", first.name, second.name)
        return first
    photo, keypoints = (first, second) if first.photo else (second, first)
    return replace(photo, keypoints=keypoints.keypoints, image=keypoints.image, problem=keypoints.problem)


def check_views(views: Views, rig: Rig) -> None:
    """Say what is missing. Raises BodyfitError where no moment is seen by two cameras."""
    missing = [name for name in rig.cameras if name not in views]
    if missing:
        log.warning("nothing was found of %d cameras of %s: %s", len(missing), rig.source, _some(missing))
    counts: dict[int, int] = {}
    for mine in views.values():
        for moment in mine:
            counts[moment] = counts.get(moment, 0) + 1
    if max(counts.values()) < 2 and len(rig.cameras) > 1:
        ranges = ", ".join(f"{name} {min(mine)} to {max(mine)}" for name, mine in list(views.items())[:6])
        raise BodyfitError(
            f"no moment is seen by two cameras. Frames are matched by their number: {ranges}. Expected frames that "
            "were taken together to have the same number in all folders."
        )
    lengths = {name: len(mine) for name, mine in views.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in lengths.items())
        log.warning("cameras have different numbers of frames (%s); each moment uses those that it has", told)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "nothing"
