"""`bodyfit convert`: results of a run in the formats of other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bodyfit.data.errors import BodyfitError


@dataclass(frozen=True)
class ConvertCommand:
    """Write results in another format, beside each other in a new folder.

    A file for each result: pkl (SMPLify-X's keys, body_pose as 63 axis-angle numbers or, with --latent, as VPoser's),
    json (all that .npz holds), smpl (SMPL's pose parameters as .npz), obj, ply, glb (meshes; with --rigged, glb has the
    skeleton, for Blender and game engines). A file for each image: easymocap (.json). A file for each person's
    number, with the images in order as frames: amass (.npz), bvh. Two tables of all: csv (joints.csv, parameters.csv).

    Of a clip, amass, bvh, csv, trc (OpenSim's marker file) and glb with --rigged (the animated body) are made of its
    tracks, OUT/tracks: a file for each person, at the clip's frame rate, or two tables of all.
    """

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Output folders of `bodyfit fit`, or single .npz or .json results."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the converted files, in the same subfolders."""
    to: Literal["pkl", "json", "npz", "smpl", "amass", "easymocap", "bvh", "csv", "trc", "obj", "ply", "glb"]
    """Format to write."""
    frame: Literal["opencv", "opengl", "blender"] | None = None
    """Axes: opencv (y down, z forward), opengl (y up, z back), blender (z up). Default: opencv, the camera's own; bvh:
    opengl. json, npz, pkl and csv are always in the camera frame that they describe. Of tracks: opencv is the frame of
    the fit, opengl has y up, blender z up, both from the floor where one is known; by default amass is z up, bvh and
    trc are y up, csv is as fitted."""
    world: bool = False
    """Stand meshes, smpl, amass, easymocap and bvh in the world that the --camera file's R and T measure from.
    Of tracks of calibrated cameras: its axes turned by right angles alone, and its origin, whatever floor was found."""
    each_frame: bool = False
    """Of a clip: convert the results of its single frames, as those of photos, instead of its tracks."""
    rigged: bool = False
    """With --to glb: keep the skeleton. The file has the unposed body, its 55 joints in the pose, and four blend
    weights per vertex; of a track, also the motion."""
    latent: bool = False
    """With --to pkl: body_pose as the 32 numbers of VPoser's latent space, as SMPLify-X writes it; --prior: whose."""
    prior: Path | None = None
    """VPoser v1 or v2 (folder or checkpoint) of --latent. Default: the prior that comes along, bodyfit's own."""
    fps: float | None = None
    """Frames per second of amass and bvh from photos, 30 by default. Tracks have their own."""
    body: Path | None = None
    """Body model that the results were fitted with. Default: the open body."""

    def run(self) -> int:
        """Convert everything; 1 where some results could not be, and they are named; BodyfitError where none could."""
        self._check()
        tracks = self._tracks()
        if tracks is None and self.world and (self.to in ("pkl", "json", "npz", "csv") or self.rigged):
            raise BodyfitError(
                "--world is for meshes, smpl, amass, easymocap and bvh; the others are in the camera frame."
            )
        if tracks is not None:
            from bodyfit.scripts.track_conversion import TrackConversion

            options = {"frame": self.frame, "body": self.body, "world": self.world}
            return TrackConversion(self.to, self.out, **options).run(tracks)
        from bodyfit.scripts.conversion import Conversion  # imports torch: `--help` need not wait for it

        return Conversion(self).run()

    def _tracks(self) -> list[Path] | None:
        """The track files to convert; None where results of single images are to be."""
        if self.each_frame or not (self.to in ("amass", "bvh", "csv", "trc") or self.rigged):
            return None
        from bodyfit.scripts.track_conversion import tracks_in

        found = [tracks_in(path) for path in self.inputs]
        if not any(found):
            if self.to == "trc":
                raise BodyfitError(
                    f"{self.inputs[0]}: no tracks in it. --to trc is for motion: fit a video, or views of it."
                )
            return None
        if not all(found):
            path = self.inputs[found.index([])]
            raise BodyfitError(f"{path}: has no tracks, while others have. Convert them apart, or add --each-frame.")
        return [file for files in found for file in files]

    def _check(self) -> None:
        if not self.inputs:
            raise BodyfitError("name at least one output folder or result: bodyfit convert OUT -o NEW --to pkl")
        if self.rigged and self.to != "glb":
            raise BodyfitError(f"--rigged writes .glb files: say --to glb, not --to {self.to}.")
        if (self.latent or self.prior is not None) and self.to != "pkl":
            raise BodyfitError(f"--latent and --prior are for --to pkl, not --to {self.to}.")
        if self.prior is not None and not self.latent:
            raise BodyfitError("--prior says whose latent numbers to write: add --latent.")
        if self.each_frame and self.to == "trc":
            raise BodyfitError("--to trc is made of tracks: leave --each-frame out.")
        if self.fps is not None and not self.fps > 0:
            raise BodyfitError(f"--fps {self.fps:g}: expected a number above 0.")
