"""From the files of a clip to frames with people: a pass over the pictures for cuts and missing keypoints first."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from bodyfit.data.detect.detector import Detector
from bodyfit.data.detect.photos import shared_detector
from bodyfit.data.errors import BodyfitError
from bodyfit.data.photo.errors import PhotoError
from bodyfit.data.photo.video import VideoReader
from bodyfit.fitting.clips.cuts import CutFinder
from bodyfit.fitting.clips.detecting import Detecting, FrameFiles, clip_pictures
from bodyfit.fitting.clips.sources import ClipFrame, ClipSource
from bodyfit.fitting.run.error_log import ErrorLog
from bodyfit.fitting.solve.frames import CameraOptions, Frame, read_frame

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadClip:
    """A clip with its people."""

    source: ClipSource
    """With the frames that there really are, and their keypoint files."""
    frames: dict[int, Frame]
    """By moment."""
    failures: dict[int, str] = field(default_factory=dict)
    """Moments whose frames could not be read, with the reason."""
    cuts: tuple[int, ...] = ()
    """Moments that begin a new shot."""


def read_clip(source: ClipSource, camera: CameraOptions, out: Path) -> ReadClip:
    """Look at a clip's pictures, find keypoints where there are none, and read all frames.

    Args:
        source: the clip.
        camera: what the user says about camera and detector.
        out: the output folder; keypoints that are found here go to OUT/keypoints/<clip>/, and are taken from there by
            the next run on the same video.

    Raises:
        BodyfitError: where nothing can be fitted at all.
    """
    detector = _detector(source, camera)
    stored = None if detector is None else _stored(out, source, camera.detector)
    source, cuts, problems = _look_through(source, detector, stored, camera.checks)
    frames, failures, blank = dict[int, Frame](), dict(problems), list[ClipFrame]()
    for one in tqdm(source.frames, unit="frame", desc="reading", disable=None, leave=False):
        if one.moment in problems:
            continue
        try:
            frames[one.moment] = _read(one, camera, detector if one.item.keypoints is None else None, stored, source)
        except _NoFile:
            blank.append(one)
        except BodyfitError as error:
            failures[one.moment] = str(error)
            blank.append(one)
        except Exception as error:
            failures[one.moment] = ErrorLog(out).reason(one.item.name, error)
    if not frames:
        first = next(iter(failures.values()), "it has no frame")
        raise BodyfitError(f"{source.video or source.name}: no frame can be fitted; the first: {first}")
    frames |= {one.moment: _blank(frames, one) for one in blank}
    return ReadClip(source, frames, failures, cuts)


def _read(
    one: ClipFrame, camera: CameraOptions, detector: Detector | None, stored: FrameFiles | None, source: ClipSource
) -> Frame:
    if detector is not None and stored is not None:
        # Our own detector's people are not doubted, as in photos.
        unchecked = replace(camera, checks=False, format=None, keypoints_size=None, min_confidence=None)
        frame = read_frame(replace(one.item, keypoints=stored.file(one), image=None), unchecked, decode=False)
        return replace(frame, keypoint_source=f"detected by {detector.name}")
    if one.item.keypoints is not None:
        return read_frame(one.item, camera, decode=False)
    raise _NoFile


class _NoFile(BodyfitError):
    """A frame that the keypoint files leave out: nobody is seen in it, which is no failure."""


def _blank(frames: dict[int, Frame], one: ClipFrame) -> Frame:
    """A frame that nothing is known of, with the camera of the others."""
    other = next(iter(frames.values()))
    d = other.detections
    nobody = replace(d, xy=d.xy[:0], confidence=d.confidence[:0], person_ids=(), problems=(), warnings=())
    return replace(other, name=one.item.name, photo=one.item.photo, detections=nobody)


def _detector(source: ClipSource, camera: CameraOptions) -> Detector | None:
    """What finds keypoints, where files give none. Raises BodyfitError where nothing does."""
    if source.keypoints is not None or all(frame.item.keypoints is not None for frame in source.frames):
        return None
    if source.video is None and any(frame.item.keypoints is not None for frame in source.frames):
        return None  # pictures without a file, among others with one: nobody is seen in them
    detector = shared_detector(camera.detector)
    if detector is None:
        raise BodyfitError(
            f"{source.video or source.name}: no keypoint files beside it, and no detector is to be used. Expected "
            f"{source.name}_000000000000_keypoints.json, ... in keypoints/ or in --keypoints."
        )
    log.info(
        "%s: no keypoint files; keypoints of %d frames: found by %s", source.name, len(source.frames), detector.name
    )
    return detector


def _stored(out: Path, source: ClipSource, detector: str) -> FrameFiles:
    """Files for what the detector finds, in the output folder, kept for the next run on the same video."""
    folder = out / "keypoints" / source.name
    stamp = [detector]
    if source.video is not None:
        found = os.stat(source.video)
        stamp += [str(found.st_size), str(found.st_mtime_ns)]
    mark, text = folder / "of.txt", " ".join(stamp)
    if folder.is_dir() and (not mark.is_file() or mark.read_text() != text):
        for old in folder.glob("*_keypoints.json"):
            old.unlink()  # of another video, or of another detector
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(text)
    return FrameFiles(folder, source.name)


# ---- the pass over the pictures -------------------------------------------------------------------------------------


def _look_through(
    source: ClipSource, detector: Detector | None, stored: FrameFiles | None, checks: bool
) -> tuple[ClipSource, tuple[int, ...], dict[int, str]]:
    """Decode all pictures once, in order: which there are, where the film was cut, and who is in them."""
    with_pictures = [frame for frame in source.frames if frame.item.photo is not None]
    if not with_pictures:
        return source, (), {}
    finder, moments, problems = CutFinder(), [], {}
    work = Detecting(detector, stored, source.fps)
    bar = tqdm(total=len(with_pictures), unit="frame", desc="detecting" if detector else "looking", disable=None)
    with bar, work:
        for frame, image in clip_pictures(source, with_pictures):
            bar.update()
            if isinstance(image, PhotoError):
                problems[frame.moment] = str(image)
                continue
            finder.add(image)
            moments.append(frame.moment)
            problems |= work.give(frame, image)
        problems |= work.rest()
    whole = source if source.video is None else _as_decoded(source, moments, problems, checks)
    cuts = tuple(moments[n] for n in finder.cuts())
    if cuts:
        log.info("%s: cut at %s s; people are followed between cuts", source.name, _seconds(cuts, source.fps))
    return whole, cuts, problems


def _seconds(moments: tuple[int, ...], fps: float) -> str:
    return ", ".join(f"{moment / fps:.2f}" for moment in moments[:8]) + (", ..." if len(moments) > 8 else "")


def _as_decoded(source: ClipSource, moments: list[int], problems: dict[int, str], checks: bool) -> ClipSource:
    """A video's frames as far as they can be decoded, with their keypoint files."""
    if not moments:
        raise PhotoError(f"{source.video}: none of its frames can be decoded. Is the file complete?")
    there = tuple(frame for frame in source.frames if frame.moment <= moments[-1])
    reader = VideoReader(source.video)  # type: ignore[arg-type]
    count = reader.frames_said
    reader.close()
    if len(there) < len(source.frames):
        last = int(there[-1].item.name.rpartition("/")[2])
        log.warning(
            "%s: says that it has %s frames, but after frame %d nothing can be decoded. Is the file complete? It is "
            "fitted up to there",
            *(source.video, count, last),
        )
        count = last + 1
    return replace(source, frames=there).with_keypoints(count, checks=checks)
