"""A track in the files of other programs: .bvh, .trc, .csv, AMASS's .npz, the animated .glb."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import full_pose
from bodyfit.data.files import write_atomically
from bodyfit.data.results.animated import save_animated_glb
from bodyfit.data.results.bvh_export import bvh_lines
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.exports import moved_poses, rest_pelvis
from bodyfit.data.results.levelling import world_of
from bodyfit.data.results.meshes import CoordinateFrame
from bodyfit.data.results.track import Track
from bodyfit.data.results.track_files import amass_motion
from bodyfit.data.results.track_points import point_names, point_table, track_points, trc
from bodyfit.data.results.worlds import Place, UpAxis, World

_POSES = ("jaw_pose", "leye_pose", "reye_pose", "left_hand_pose", "right_hand_pose")
_USUAL: dict[str, CoordinateFrame] = {
    **{".npz": "blender", ".bvh": "opengl", ".trc": "opengl", ".glb": "opengl", ".csv": "opencv"}
}


def export_track(
    path: Path | str,
    track: Track,
    body: BodyModel,
    *,
    frame: CoordinateFrame | None = None,
    up: UpAxis | None = None,
) -> Path:
    """Write the motion of one person in the format of the suffix.

    .bvh: skeleton and motion, centimetres, degrees; from the first fitted moment to the last. .trc: joints and skin
    points for OpenSim, metres. .csv: the same as a table, a row per moment and point. .npz: AMASS's SMPL-X layout.
    .glb: the animated body.

    Args:
        path: What to write.
        track: One person.
        body: The body model that the track was fitted with.
        frame: Axes: opengl has y up, blender z up, opencv is the frame of the fit. None: what readers of the format
            expect: y up for .bvh, .trc and .glb, z up for .npz, the frame of the fit for .csv. .glb is always y up.
        up: The axis of the track's frame that is up, and no floor; None: the track's world, or what it alone says.

    Raises:
        ResultError: for another suffix or body, or a track that was fitted at no moment.
        WriteError: where the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _USUAL:
        raise ResultError(f"{path}: a track is exported as {', '.join(_USUAL)}, not '{path.suffix}'.")
    if body.name != track.body_model:
        raise ResultError(
            f"person {track.person}: fitted with the body '{track.body_model}', but the body given is '{body.name}'. "
            "Shape numbers are specific to a body: give the right one."
        )
    if all(status == "failed" for status in track.status):
        raise ResultError(
            f"{path}: person {track.person} was fitted at no moment: {track.reason or 'no reason given'}."
        )
    if suffix == ".glb":
        return save_animated_glb(path, body, track, up=up)
    place = place_of(frame or _USUAL[suffix], world_of(track, up))
    if suffix == ".npz":
        return _save_amass(path, track, body, place)
    if suffix == ".bvh":
        return save_lines(path, _bvh(body, track, place))
    names, points = point_names(body), track_points(body, track) @ place[0].T + place[1]
    return save_lines(
        path, trc(path.name, names, points, track) if suffix == ".trc" else point_table([(track, names, points)])
    )


def place_of(frame: CoordinateFrame, world: World) -> Place:
    """Rotation and shift from a track's frame to that of a file; opencv leaves points where they are."""
    return {"opencv": (np.eye(3), np.zeros(3)), "opengl": world.y_up, "blender": world.z_up}[frame]


def _save_amass(path: Path, track: Track, body: BodyModel, place: Place) -> Path:
    arrays, kept = amass_motion(track, body, place)
    arrays |= {"moments": track.moments[kept], "status": np.array(track.status[kept])}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)

    return write_atomically(path, write)


def _bvh(body: BodyModel, track: Track, place: Place) -> Iterable[str]:
    """Lines of a .bvh from the first fitted moment to the last; moments that failed between stay as the one before."""
    fitted = np.flatnonzero([status != "failed" for status in track.status])
    rows = fitted[np.searchsorted(fitted, np.arange(fitted[0], fitted[-1] + 1), side="right") - 1]
    values = {name: value[rows] for name, value in track.parameters().items()}
    pelvis = rest_pelvis(body, track.betas, values["expression"])
    placed = moved_poses(pelvis, values["global_orient"], values["transl"], *place)
    values["global_orient"], values["transl"] = placed
    given = {name: torch.from_numpy(value) for name, value in values.items()}
    pose = full_pose(body, given["betas"], given["global_orient"], given["body_pose"], *(given[n] for n in _POSES))
    return bvh_lines(body, track.betas, pose.numpy(), values["transl"], track.fps)


def save_lines(path: Path, lines: Iterable[str]) -> Path:
    """Write lines to a file, whole or not at all."""

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(lines)

    return write_atomically(path, write)
