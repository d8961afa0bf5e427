"""Tracks on disk: OUT/tracks/<person>.npz, in AMASS's layout and complete, and <person>.glb, the animated body.

AMASS's arrays (`poses`, `trans`, `betas`, `mocap_frame_rate`, ...) hold the moments from the first fitted one to the
last, in a world with z up and metres, as its readers expect. What they have no place for is beside them under names of
our own, so that `read_track` gives the track back in its own frame, number for number.
"""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.files import ArrayFile, confined, write_atomically
from bodyfit.data.results.animated import save_animated_glb
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.exports import amass_layout, moved_poses, rest_pelvis
from bodyfit.data.results.levelling import world_of
from bodyfit.data.results.motion_posterior import KeptPosterior
from bodyfit.data.results.posterior import PosteriorError
from bodyfit.data.results.track import COVARIANCES, Track
from bodyfit.data.results.worlds import Place, UpAxis, World

log = logging.getLogger(__name__)

TRACKS = "tracks"
"""Folder of a run's tracks, beside `results`."""
_VERSION = 1
_CONVENTIONS = (
    "AMASS's SMPL-X layout: poses (global orientation 3, body 63, jaw 3, left eye 3, right eye 3, left hand 45, right "
    "hand 45, means of the hands added), trans, betas, in metres, radians, z up, from the first fitted moment to the "
    "last: rows first_row and following of moments. The vertices are smplx's forward of them with use_pca=False and "
    "flat_hand_mean=True, transl = trans. z = 0 is the floor where floor_at_zero, else the height of the camera (space "
    "camera) or of the calibration's origin (space world); x = y = 0 are there. Of bodyfit, a row per moment: moments, "
    "status, views, latent, expression, and global_orient and transl in the frame of the fit, as the covariances are, "
    "which to_z_up @ x + z_up_shift takes to the file's world; up_source says where up comes from, and up is the axis "
    "of the fit that is nearest. Numbers of failed moments mean nothing."
)
_POSE_COLUMNS = {
    **{"body_pose": slice(3, 66), "jaw_pose": slice(66, 69), "leye_pose": slice(69, 72), "reye_pose": slice(72, 75)},
    **{"left_hand_pose": slice(75, 120), "right_hand_pose": slice(120, 165)},
}
_ROWS = ("global_orient", "transl", "latent", "expression", "moments", "views", "status")
_SURE = (*COVARIANCES, "flip_probability")
_POSTERIOR = tuple(field.name for field in fields(KeptPosterior))
_MOST_MOMENTS = 500_000
MOST_WITH_POSTERIOR = 15_000
"""Moments of a track whose posterior fits into a file: 0.9 GB."""


def write_track(
    folder: Path | str, track: Track, body: BodyModel, *, up: UpAxis | None = None, posterior: bool = False
) -> list[Path]:
    """Write folder/<person>.npz and, where the person was fitted at all, folder/<person>.glb. Returns their paths.

    Args:
        folder: OUT/tracks.
        track: One person.
        body: The body model that the track was fitted with.
        up: The axis of the track's frame that is up, and no floor; None: the track's world, or what it alone says.
        posterior: Whether to keep what `Track.sample` draws from, about 60 kB for each moment, of tracks of up to
            MOST_WITH_POSTERIOR moments.

    Raises:
        ResultError: where the track belongs to another body.
        WriteError: where the folder cannot be written to.
    """
    if body.name != track.body_model:
        raise ResultError(
            f"person {track.person} was fitted with the body '{track.body_model}', but the one given is '{body.name}'."
        )
    world = world_of(track, up)
    target = confined(folder, f"{track.person}.npz")
    arrays = _arrays(track, body, world)
    if posterior and track.posterior is not None and track.posterior.moments > MOST_WITH_POSTERIOR:
        log.warning("track %s: its posterior is not kept: more than %d moments", track.person, MOST_WITH_POSTERIOR)
    elif posterior and track.posterior is not None:
        kept = KeptPosterior.of(track.posterior)
        arrays |= {f"posterior_{name}": np.asarray(getattr(kept, name)) for name in _POSTERIOR}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)

    written = [write_atomically(target, write)]
    if any(status != "failed" for status in track.status):
        written.append(save_animated_glb(confined(folder, f"{track.person}.glb"), body, replace(track, world=world)))
    return written


def read_track(path: Path | str) -> Track:
    """The track that `write_track` wrote, exactly, with the world of the file; failed moments at the ends have zeros
    for poses.

    Raises:
        ResultError: naming the file and what is missing or does not fit.
    """
    path = Path(path)
    with ArrayFile(path, ResultError) as file:
        missing = [name for name in (*_ROWS, "poses", "betas", "person", "space", "first_row") if name not in file]
        if missing:
            what = "motion in AMASS's layout, but no track of bodyfit" if "poses" in file else "no track of bodyfit"
            raise ResultError(f"{path}: {what}: it has no {', '.join(missing)}. Expected OUT/tracks/<person>.npz.")
        read = {name: file.read(name) for name in file.keys if name in _KNOWN}
    try:
        return _track(read)
    except (ResultError, PosteriorError, ValueError, TypeError, KeyError, IndexError) as cause:
        raise ResultError(f"{path}: {cause!s:.300}") from cause


def is_track(path: Path | str) -> bool:
    """Whether a file is one that `write_track` wrote."""
    if Path(path).suffix.lower() != ".npz" or not Path(path).is_file():
        return False
    with ArrayFile(path, ResultError) as file:
        return "bodyfit_track" in file


def find_tracks(out: Path | str) -> list[Path]:
    """The tracks of an output folder, by person; none where it is no clip's. Links that lead out are left out."""
    folder = Path(out) / TRACKS
    inside = Path(out).resolve()
    files = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    return [file for file in files if not file.name.startswith(".") and file.resolve().is_relative_to(inside)]


def amass_motion(track: Track, body: BodyModel, place: Place) -> tuple[dict[str, np.ndarray], slice]:
    """AMASS's arrays of a track, and which of its moments they hold: from the first fitted one to the last.

    Args:
        track: One person.
        body: The body model of the track.
        place: From the track's frame to that of the arrays, where z should be up (`World.z_up`).
    """
    seen = np.flatnonzero([status != "failed" for status in track.status])
    kept = slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 0)
    rows = {name: getattr(track, name)[kept] for name in (*_POSE_COLUMNS, "expression")}
    pelvis = rest_pelvis(body, track.betas, track.expression[kept])
    placed = moved_poses(pelvis, track.global_orient[kept], track.transl[kept], *place)
    rows |= dict(zip(("global_orient", "transl"), placed, strict=True))
    return amass_layout(track.betas, rows, track.fps, track.body_gender, track.body_model), kept


def _arrays(track: Track, body: BodyModel, world: World) -> dict[str, np.ndarray]:
    amass, kept = amass_motion(track, body, world.z_up)
    own = {name: np.asarray(getattr(track, name)) for name in _ROWS}
    words = {name: np.array(getattr(track, name)) for name in ("person", "space", "prior", "reason", "floor_source")}
    own |= {"touching": track.touching, "floor": track.floor}
    own |= {name: value for name in _SURE if len(value := getattr(track, name))}
    about = {
        "subject": track.person,
        "first_row": kept.start,
        "to_z_up": world.z_up[0],
        "z_up_shift": world.z_up[1],
        "floor_at_zero": world.floor_m is not None,
        "up": world.axis,
        "up_source": world.source,
        "kid_axis": track.kid_axis,
        "age": track.age,
        "age_margin": track.age_margin,
    }
    about |= {"bodyfit_track": _VERSION, "conventions": _CONVENTIONS}
    return amass | own | words | {name: np.array(value) for name, value in about.items()}


_KNOWN = (
    *_ROWS,
    *("poses", "betas", "person", "space", "first_row", "mocap_frame_rate", "gender", "body_model", "prior", "reason"),
    "bodyfit_track",
    *("kid_axis", "age", "age_margin"),
    *("touching", "floor", "floor_source"),
    *("up", "to_z_up", "z_up_shift", "floor_at_zero", "up_source"),
    *_SURE,
    *(f"posterior_{name}" for name in _POSTERIOR),
)


def _track(read: dict[str, np.ndarray]) -> Track:
    words: dict[str, Any] = {
        name: str(read[name].item()) for name in ("person", "space", "prior", "reason", "body_model")
    }
    version, count = int(read["bodyfit_track"]), len(read["moments"])
    if version > _VERSION:
        raise ResultError(f"written by a newer bodyfit (tracks {version}, this one knows {_VERSION}). Update bodyfit.")
    if not 0 < count <= _MOST_MOMENTS or read["poses"].ndim != 2 or read["poses"].shape[1] != 165:
        raise ResultError(f"{count} moments with poses of shape {read['poses'].shape}, expected (moments, 165).")
    first = int(read["first_row"])
    if not 0 <= first <= first + len(read["poses"]) <= count:
        raise ResultError(f"{len(read['poses'])} poses from row {first} of {count} moments.")
    poses = np.zeros((count, 165))
    poses[first : first + len(read["poses"])] = read["poses"]
    arrays: dict[str, Any] = {name: poses[:, columns] for name, columns in _POSE_COLUMNS.items()}
    arrays |= {name: read[name] for name in (*_ROWS[:-1], "betas")}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ResultError("its parameters are not finite numbers.")
    fps = float(read["mocap_frame_rate"])
    if words["space"] not in ("camera", "world") or not 0 < fps < 10_000:
        raise ResultError(f"space '{words['space']:.40}', {fps} frames per second; expected camera or world, above 0.")
    status = tuple(str(word) for word in read["status"].tolist())
    if "touching" in read:  # since --ground
        arrays |= {"touching": read["touching"].astype(bool), "floor": read["floor"].astype(float)}
        words["floor_source"] = str(read["floor_source"].item())
    arrays |= {name: read[name].astype(np.float32) for name in _SURE if name in read}
    if "posterior_blocks" in read:  # since --posterior keeps it
        words["posterior"] = _posterior(read)
    words["kid_axis"] = bool(read.get("kid_axis", False))
    if "age" in read:
        words |= {"age": str(read["age"].item()), "age_margin": float(read["age_margin"])}
    words["world"] = _world(read)
    return Track(**words, **arrays, fps=fps, status=status, body_gender=str(read["gender"].item()))


def _posterior(read: dict[str, np.ndarray]) -> KeptPosterior:
    arrays = {name: read[f"posterior_{name}"] for name in _POSTERIOR}
    words: dict[str, Any] = {name: str(arrays.pop(name).item()) for name in ("blocks", "shared_blocks")}
    words["moments"] = int(arrays.pop("moments"))
    return KeptPosterior(**words, **{name: value.astype(np.float32) for name, value in arrays.items()})


def _world(read: dict[str, np.ndarray]) -> World | None:
    """That of the file's AMASS arrays; in the files of earlier versions an axis is up."""
    if "z_up_shift" not in read:
        return World.along(cast(UpAxis, str(read["up"].item()))) if "up" in read else None
    x, y, z = (float(value) for value in read["to_z_up"][2])
    floor = -float(read["z_up_shift"][2]) if bool(read["floor_at_zero"]) else None
    return World((x, y, z), floor, str(read["up_source"].item()))
