"""`bodyfit detect`: photos in, keypoint files out."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from tqdm import tqdm

from bodyfit.data.detect.choose import load_detector
from bodyfit.data.detect.photos import detect_photos
from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.inputs import FitInput, find_inputs
from bodyfit.data.keypoints.openpose_json import write_openpose

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DetectCommand:
    """Find the keypoints of everybody in photos, and write them as OpenPose does: one JSON file for each photo.

    BODY_25, both hands and the face. `bodyfit fit` needs no such files, it finds keypoints itself: write them to look
    at them, to correct them, to use them elsewhere, or to fit many times.
    """

    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Photos, or folders of them."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the keypoint files, X_keypoints.json for X.jpg; fit finds those in keypoints/ beside images/."""
    detector: str = "auto"
    """auto or builtin: the included detector; rtmlib; or the path of a whole-body ONNX file."""
    device: str = "auto"
    """cpu, cuda, cuda:1, or auto: CUDA where there is one."""
    workers: int | None = None
    """Photos at a time. Default: as many as cores, at most 8."""
    overwrite: bool = False
    """Also photos whose keypoint file is there already."""
    json: bool = False
    """Print what was done as one JSON document on stdout, and nothing else."""

    def run(self) -> int:
        """Detect; 0 when every photo could be looked at, 1 when some could not."""
        if not self.photos:
            raise BodyfitError("name at least one photo or folder: bodyfit detect PHOTOS -o KEYPOINTS")
        if self.workers is not None and self.workers < 1:
            raise BodyfitError(f"--workers {self.workers}: expected at least 1.")
        targets = self._targets()
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        detector = load_detector(self.detector, device)
        if detector is None:
            raise BodyfitError("--detector none: there is nothing to do without a detector.")
        began, rows = time.perf_counter(), []
        new = {photo: target for photo, target in targets.items() if self.overwrite or not target.exists()}
        found = detect_photos(detector, new, self.workers)
        for photo, people in tqdm(found, total=len(new), unit="photo", desc="detecting", disable=None):
            rows.append(self._row(photo, new[photo], people))
        failed = [row for row in rows if row["reason"]]
        people_count, seconds = sum(row["people"] for row in rows), time.perf_counter() - began
        if len(targets) > len(new):
            log.info("%d of %d photos had a keypoint file already (--overwrite)", len(targets) - len(new), len(targets))
        log.info(
            "%d people in %d photos found by %s, %d photos failed, in %.1f s; see %s",
            *(people_count, len(rows) - len(failed), detector.name, len(failed), seconds, self.out),
        )
        if self.json:
            print(json.dumps({"detector": detector.name, "seconds": seconds, "photos": rows}))
        return 1 if failed else 0

    def _targets(self) -> dict[Path, Path]:
        """Photos and the keypoint files to write for them; no two write one file."""
        items: list[FitInput] = []
        for path in self.photos:
            items += [item for item in find_inputs(path, exclude=[self.out]) if item.photo is not None]
        if not items:
            raise BodyfitError(f"{self.photos[0]}: no photo in it. Expected .jpg, .png, .webp, .bmp or .tif files.")
        photos = {item.photo: item.name for item in items}
        count = Counter(photos.values())
        return {
            photo: self.out / f"{name if count[name] == 1 else photo.name}_keypoints.json"
            for photo, name in photos.items()
        }

    def _row(self, photo: Path, target: Path, people: Any) -> dict[str, Any]:
        if isinstance(people, BodyfitError):
            log.warning("%s", people)
            return {"photo": str(photo), "people": 0, "keypoints": None, "reason": str(people)}
        if not len(people):
            log.warning("%s: no people found", photo)
        write_openpose(target, people)
        return {"photo": str(photo), "people": len(people), "keypoints": str(target), "reason": ""}
