"""`bodyfit detect`: photos and videos in, keypoint files out."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from tqdm import tqdm

from bodyfit.data.detect.choose import load_detector
from bodyfit.data.detect.detector import Detector
from bodyfit.data.detect.photos import detect_photos
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import PHOTO_SUFFIXES, VIDEO_SUFFIXES, result_name
from bodyfit.data.keypoints.inputs import FitInput, find_inputs
from bodyfit.data.keypoints.openpose_json import write_openpose
from bodyfit.data.photo.video import is_video
from bodyfit.data.words import counted
from bodyfit.fitting.clips.detecting import FrameFiles, detect_clip
from bodyfit.fitting.clips.sources import video_frames
from bodyfit.fitting.run.options import ClipOptions

log = logging.getLogger(__name__)

_OF_VIDEOS = ("fps", "video_fps", "start", "end")


@dataclass(frozen=True)
class DetectCommand:
    """Find the keypoints of everybody in photos or videos, and write them as OpenPose does: a JSON file per picture.

    BODY_25, both hands and the face. `bodyfit fit` needs no such files, it finds keypoints itself: write them to look
    at them, to correct them, to use them elsewhere, or to fit many times.
    """

    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Photos, videos, or folders of them."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the keypoint files: X_keypoints.json for X.jpg, and clip/clip_000000000012_keypoints.json for frame 12
    of clip.mp4. `bodyfit fit` finds those beside the photos, and in keypoints/ beside images/ or beside a video; those
    of a video that lie elsewhere, name by its `--keypoints`."""
    fps: float | None = None
    """Frames per second of a video that are looked at. Default: all. Say the same to `bodyfit fit`."""
    video_fps: float | None = None
    """Frames per second with which a video was taken, where its file says another rate (slow motion)."""
    start: float | None = None
    """Seconds from the beginning of a video at which to start."""
    end: float | None = None
    """Seconds from the beginning of a video at which to end."""
    detector: str = "auto"
    """auto or builtin: the included detector; rtmlib; or the path of a whole-body ONNX file."""
    device: str = "auto"
    """cpu, cuda, cuda:1, or auto: CUDA where there is one."""
    workers: int | None = None
    """Pictures, or of videos groups of up to eight frames, at a time. Default: as many as cores, at most 8."""
    overwrite: bool = False
    """Also pictures whose keypoint file is there already."""
    json: bool = False
    """Print what was done as one JSON document on stdout, and nothing else."""

    def run(self) -> int:
        """Detect; 0 when everything could be looked at, 1 when some could not."""
        if not self.photos:
            raise BodyfitError("name at least one photo, video or folder: bodyfit detect PHOTOS -o KEYPOINTS")
        if self.workers is not None and self.workers < 1:
            raise BodyfitError(f"--workers {self.workers}: expected at least 1.")
        photos, videos = self._targets()
        given = [f"--{name.replace('_', '-')}" for name in _OF_VIDEOS if getattr(self, name) is not None]
        if given and not videos:
            raise BodyfitError(f"{', '.join(given)}: of videos, and there is none among what was named.")
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        detector = load_detector(self.detector, device)
        if detector is None:
            raise BodyfitError("--detector none: there is nothing to do without a detector.")
        began = time.perf_counter()
        rows = list(self._of_photos(detector, photos))
        clips = [self._of_video(detector, video, folder) for video, folder in videos.items()]
        failed = [row for row in (*rows, *clips) if row["reason"]]
        seconds = time.perf_counter() - began
        people, good = sum(row["people"] for row in rows), sum(not row["reason"] for row in rows)
        found = f"{counted(people, 'person', 'people')} in {counted(good, 'photo', 'photos')} found"
        found = found if photos else f"{counted(len(clips), 'video', 'videos')} looked at"
        said = f"{found} by {detector.name}, {len(failed)} failed, in {seconds:.1f} s; see {self.out}"
        log.info("%s", said)
        if self.json:
            print(json.dumps({"detector": detector.name, "seconds": seconds, "photos": rows, "videos": clips}))
        return 1 if failed else 0

    def _targets(self) -> tuple[dict[Path, Path], dict[Path, Path]]:
        """Photos with the keypoint files to write for them, and videos with folders; no two write one file."""
        items: list[FitInput] = []
        videos = list(dict.fromkeys(video for path in self.photos for video in _videos(path, self.out)))
        for path in self.photos:
            if is_video(path) and not path.is_dir():
                continue
            if not path.exists():
                raise BodyfitError(f"{path}: no such file or folder. Expected a photo, a video or a folder of them.")
            try:
                items += [item for item in find_inputs(path, exclude=[self.out]) if item.photo is not None]
            except BodyfitError as error:
                if not path.is_dir():
                    raise
                if not videos:
                    raise _nothing_in(path) from error
        if not items and not videos:
            raise _nothing_in(self.photos[0])
        photos = {item.photo: item.name for item in items if item.photo is not None}
        count = Counter(photos.values())
        files = {
            photo: self.out / f"{name if count[name] == 1 else photo.name}_keypoints.json"
            for photo, name in photos.items()
        }
        return files, {video: self.out / name for video, name in _names(videos).items()}

    def _of_photos(self, detector: Detector, targets: dict[Path, Path]) -> Iterator[dict[str, Any]]:
        new = {photo: target for photo, target in targets.items() if self.overwrite or not target.exists()}
        if len(targets) > len(new):
            photos = counted(len(targets), "photo", "photos")
            log.info("with a keypoint file already (--overwrite): %d of %s", len(targets) - len(new), photos)
        found = detect_photos(detector, new, self.workers)
        disable = True if not new else None
        for photo, people in tqdm(found, total=len(new), unit="photo", desc="detecting", disable=disable):
            yield self._row(photo, new[photo], people)

    def _of_video(self, detector: Detector, video: Path, folder: Path) -> dict[str, Any]:
        """Look at a video's frames; what is wrong with one of several is said, and the rest goes on."""
        row = {"video": str(video), "frames": 0, "frames_with_people": 0, "most_people": 0, "kept": 0}
        row |= {"keypoints": str(folder), "reason": ""}
        try:
            options = ClipOptions(fps=self.fps, video_fps=self.video_fps, start=self.start, end=self.end)
            source = video_frames(video, options)
            files = FrameFiles(folder, source.name)
            found = detect_clip(detector, source, files, workers=self.workers, overwrite=self.overwrite)
        except BodyfitError as error:
            if len(self.photos) == 1 and not self.photos[0].is_dir():
                raise
            log.warning("%s", error)
            return row | {"keypoints": None, "reason": str(error)}
        people, kept = found.people.values(), found.kept
        row |= {"frames": len(people), "frames_with_people": sum(n > 0 for n in people), "kept": kept}
        row |= {"most_people": max(people, default=0), "reason": next(iter(found.problems.values()), "")}
        log.info(
            "%s: people in %d of %s, at most %d at once%s; see %s",
            *(video, row["frames_with_people"], counted(len(people), "frame", "frames"), row["most_people"]),
            f"; {counted(kept, 'frame', 'frames')} had a keypoint file already (--overwrite)" if kept else "",
            folder,
        )
        return row

    def _row(self, photo: Path, target: Path, people: Any) -> dict[str, Any]:
        if isinstance(people, BodyfitError):
            log.warning("%s", people)
            return {"photo": str(photo), "people": 0, "keypoints": None, "reason": str(people)}
        if not len(people):
            log.warning("%s: no people found", photo)
        write_openpose(target, people)
        return {"photo": str(photo), "people": len(people), "keypoints": str(target), "reason": ""}


def _nothing_in(path: Path) -> BodyfitError:
    expected = ", ".join((*PHOTO_SUFFIXES, *VIDEO_SUFFIXES))
    return BodyfitError(f"{path}: no photo and no video in it. Expected files ending in {expected}.")


def _videos(path: Path, out: Path) -> list[Path]:
    """A video, or those of a folder, at any depth, without what lies in the output folder."""
    if not path.is_dir():
        return [path] if is_video(path) else []
    found = (file for file in path.rglob("*") if is_video(file) and file.is_file() and not file.name.startswith("."))
    return sorted(file for file in found if out.resolve() not in file.resolve().parents)


def _names(videos: list[Path]) -> dict[Path, str]:
    """The folder of each video's keypoints: its name without suffix, or, where two share that, with its folder's."""
    names = {video: result_name(video.stem) for video in videos}
    count = Counter(names.values())
    names = {v: n if count[n] == 1 else result_name(f"{v.resolve().parent.name}/{v.stem}") for v, n in names.items()}
    count = Counter(names.values())
    if twice := [video for video, name in names.items() if count[name] > 1]:
        raise BodyfitError(
            f"{twice[0]} and {twice[1]}: both would write keypoints to {names[twice[0]]}/. Look at them one by one."
        )
    return names
