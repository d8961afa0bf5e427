"""Which way is up for the tracks of a shot, and on what floor: decided from what is known, the same for everybody."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from roma import rotvec_to_rotmat

from bodyfit.data.results.track import Track
from bodyfit.data.results.worlds import UpAxis, World, nearest_axis

_LEVEL_WITHIN_DEG = 10.0
"""Of one person for 2 s, floors by four cameras were off by 2 degrees in the median, 15 at most."""
_CAMERAS_SAY = 1.25  # weight of the cameras' mean upper edge beside the mean trunk: who lies all the time is outvoted


def world_of(track: Track, up: UpAxis | None = None) -> World:
    """The world of a track's files: the one with `up`, where that is given, else the track's own, else what the track
    alone says. Raises ResultError for an axis that is none."""
    if up is not None:
        return World.along(up, "as given")
    return track.world or shared_world([track])


def shared_world(
    tracks: Sequence[Track],
    *,
    cameras: Float[np.ndarray, "V 3 3"] | None = None,
    up: tuple[float, float, float] | None = None,
) -> World:
    """The world of all people of a shot, or of a recording by several cameras.

    Up is the normal of the floor where one was found; of several floors, that on which feet touch at most moments. An
    axis of a calibration's world within 10 degrees of it is up itself, with the height of the floor where people stand:
    most calibrations are level, and closer to it than the floor of a short recording. Else up is what is given, and
    else an axis: -y in the frame of a camera, which is then taken to be level. In the world of a calibration, which may
    put up where it likes, people and cameras say it together, so that it holds where people lie, too: the mean
    direction of all trunks, and that of the upper edges of all cameras' pictures. These cancel out where cameras look
    from above or are turned.

    Args:
        tracks: of one frame.
        cameras: rotations from the world to each camera, whose y points down.
        up: a unit vector, such as that against a given gravity.
    """
    if (on := _floor(tracks)) is not None:
        several = len({track.floor.tobytes() for track in tracks if track.floor.size})
        return _on_floor(on, tracks, f"the floor ({on.floor_source})" + (f", one of {several}" if several > 1 else ""))
    if up is not None:
        return World(up, source="the given gravity")
    if not tracks or tracks[0].space == "camera":
        return World.along("-y", "the camera, taken to be level")
    trunks = np.concatenate([_trunks(track) for track in tracks])
    edges = np.zeros((0, 3)) if cameras is None else -np.asarray(cameras, dtype=float).reshape(-1, 3, 3)[:, 1]
    means = [directions.mean(axis=0) for directions in (trunks, edges) if len(directions)]
    axis = nearest_axis(np.array(means) * np.array([1.0, _CAMERAS_SAY])[: len(means), None])
    return World.along(axis, "trunks" + (" and upper edges of the pictures" if len(edges) else ""))


def _floor(tracks: Sequence[Track]) -> Track | None:
    """A track that stands on the floor on which feet touch at most moments; None where no floor is known."""
    touched: dict[bytes, int] = {}
    first: dict[bytes, Track] = {}
    for track in tracks:
        if track.floor.size:
            key = track.floor.tobytes()
            touched[key] = touched.get(key, 0) + int(track.touching.any(axis=1).sum())
            first.setdefault(key, track)
    return first[max(touched, key=lambda key: touched[key])] if touched else None


def _on_floor(on: Track, tracks: Sequence[Track], source: str) -> World:
    """The world in which a track's floor is height 0; an axis of a calibration that is nearly its normal is up."""
    world = World.on_floor(on.floor, source)
    axis = np.array(World.along(world.axis).up)
    slope = float(axis @ world.up)
    if on.space == "camera" or slope < np.cos(np.radians(_LEVEL_WITHIN_DEG)):
        return world
    places = [track.transl[touches] for track in tracks if (touches := track.touching.any(axis=1)).any()]
    middle = np.concatenate(places or [on.transl]).mean(axis=0)
    below = middle + (world.floor_m - middle @ world.up) / slope * axis
    return World(tuple(axis.tolist()), float(below @ axis), f"{world.axis} of the calibration, and {world.source}")


def _trunks(track: Track) -> Float[np.ndarray, "N 3"]:
    """Where the trunk points at the moments that were fitted."""
    seen = np.array([status != "failed" for status in track.status])
    turns = rotvec_to_rotmat(torch.from_numpy(np.asarray(track.global_orient, dtype=float)[seen])).numpy()
    return turns[:, :, 1]  # of the unposed body, y is up
