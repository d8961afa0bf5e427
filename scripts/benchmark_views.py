"""`bodyfit benchmark-views`: how well bodies explain calibrated views, also those left out, beside triangulation."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.data.photo.rig import read_rig
from bodyfit.fitting.clips.run_views import read_views
from bodyfit.fitting.clips.view_errors import ViewErrors, camera_of, errors_of_views
from bodyfit.fitting.clips.view_fit import match_views
from bodyfit.fitting.clips.view_sources import open_views
from bodyfit.fitting.run.options import ClipOptions
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import CameraOptions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkViewsCommand:
    """Fit people in calibrated views, and each camera left out in turn; print median reprojection errors.

    Beside the body stand points triangulated from the same views: robustly, and by the plain weighted linear transform.
    All are compared at the same confident body keypoints.
    """

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Views, as for `bodyfit fit --cameras`."""
    cameras: Path
    """Their calibration."""
    fps: float | None = None
    """Pictures per second, where there are no videos."""
    end: float | None = None
    """Seconds from the beginning at which to end."""
    format: str | None = None
    """Keypoint format, where it should not be recognised."""
    leave_out: bool = True
    """Also fit without each camera, and measure in it."""
    json: bool = False
    """Print one JSON document on stdout, and nothing else."""

    def run(self) -> int:
        """Measure everybody whom two cameras or more saw."""
        rig, fitter = read_rig(self.cameras), Fitter()
        source = open_views(self.inputs, rig, ClipOptions(fps=self.fps, end=self.end))
        with tempfile.TemporaryDirectory() as folder:  # for keypoints that the detector finds
            views = read_views(source, CameraOptions(format=self.format), Path(folder))
        found, document = match_views(fitter, views.moments, source.fps, rig), {}
        for person in found.people:
            names = sorted({camera_of(s) for s in person.sightings})
            if len(names) < 2:
                log.info("person %s: seen by one camera alone, not measured", person.name)
                continue
            of_all = errors_of_views(fitter, person.sightings, source.fps)
            of_one = []
            for name in names if self.leave_out and len(names) > 2 else ():
                of_one += errors_of_views(fitter, person.sightings, source.fps, left_out=name)
            document[person.name] = {"all": list(map(asdict, of_all)), "left_out": list(map(asdict, of_one))}
            if not self.json:
                print(_as_text(person.name, of_all, of_one), flush=True)
        if not document:
            raise BodyfitError(f"{self.inputs[0]}: nobody was seen by two cameras.")
        if self.json:
            print(json.dumps(document))
        return 0


def _as_text(name: str, of_all: list[ViewErrors], of_one: list[ViewErrors]) -> str:
    lines = [
        f"person {name}: median reprojection error, px",
        f"{'':24}{'body':>8}{'robust':>8}{'plain':>8}{'points':>8}",
    ]
    for title, errors in (("fitted to all", of_all), ("left out", of_one)):
        lines += [
            f"{title + ', ' + e.camera:24}{e.body:8.1f}{e.triangulated:8.1f}{e.plain:8.1f}{e.points:8d}" for e in errors
        ]
    return "\n".join(lines)
