"""Writes the tracks of `bodyfit convert`: motion of one person each, and tables of all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bodyfit.data.body.body_model import BodyModel, load_body_model
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import confined
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.levelling import world_of
from bodyfit.data.results.meshes import CoordinateFrame
from bodyfit.data.results.track import Track
from bodyfit.data.results.track_exports import export_track, place_of, save_lines
from bodyfit.data.results.track_files import find_tracks, is_track, read_track
from bodyfit.data.results.track_points import parameter_rows, point_names, point_table, track_points
from bodyfit.data.results.worlds import World

log = logging.getLogger(__name__)


def tracks_in(path: Path) -> list[Path]:
    """Track files of an output folder, or the file itself where it is one."""
    return [path] if is_track(path) else find_tracks(path) if path.is_dir() else []


class TrackConversion:
    """One run of the command over tracks.

    Args:
        to: amass, bvh, trc, csv, or glb for the animated body.
        out: Folder for the files.
        frame: Axes; None for those that readers of the format expect.
        body: Body model file of the tracks; None: the open one.
        world: Whether files are to be in the world of the calibration, turned by right angles alone, whatever floor
            was found.
    """

    def __init__(self, to: str, out: Path, *, frame: CoordinateFrame | None, body: Path | None, world: bool):
        self.to, self.out, self.frame, self.body_path, self.world = to, out, frame, body, world

    def run(self, files: Sequence[Path]) -> int:
        """Convert all; 1 where some could not be, BodyfitError where none could."""
        tables: list[tuple[Track, tuple[str, ...], np.ndarray]] = []
        failed: list[str] = []
        for file in tqdm(files, unit="track", disable=None):
            try:
                track = read_track(file)
                if self.world and track.space == "camera":
                    raise ResultError(f"{file}: where the camera stood is not known, so there is no --world for it.")
                world, body = world_of(track), self._body(track)
                if self.world:
                    world = World.along(world.axis, "the calibration")
                if self.to == "csv":
                    rotation, shift = place_of(self.frame or "opencv", world)
                    tables.append((track, point_names(body), track_points(body, track) @ rotation.T + shift))
                else:
                    placed = replace(track, world=world)
                    export_track(self._target(files, file, track), placed, body, frame=self.frame)
            except ResultError as error:
                failed.append(str(error))
                log.warning("%s", error)
        if len(failed) == len(files):
            raise BodyfitError(failed[0])
        if tables:
            save_lines(self.out / "joints.csv", point_table(tables))
            save_lines(self.out / "parameters.csv", parameter_rows(track for track, _, _ in tables))
        missing = f", {len(failed)} could not be" if failed else ""
        log.info("%d tracks written to %s%s", len(files) - len(failed), self.out, missing)
        return 1 if failed else 0

    def _target(self, files: Sequence[Path], file: Path, track: Track) -> Path:
        """By person; where there are several output folders, in a folder of that one's name."""
        several = len({one.parent for one in files}) > 1
        below = f"{file.parent.parent.name or file.parent.name}/" if several else ""
        return confined(self.out, f"{below}{track.person}.{'npz' if self.to == 'amass' else self.to}")

    def _body(self, track: Track) -> BodyModel:
        count, kid = max(10, len(track.betas) - track.kid_axis), track.kid_axis
        return load_body_model(self.body_path, gender=track.body_gender, num_betas=count, kid=kid)
