"""Which way is up in the frame of a track, and rotations to the worlds of other programs: z up, y up."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from roma import rotvec_to_rotmat

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.track import Track

UpAxis = Literal["x", "-x", "y", "-y", "z", "-z"]

_TO_Z_UP: dict[UpAxis, list[list[float]]] = {
    "z": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "-z": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "y": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "-y": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    "x": [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
    "-x": [[0, 1, 0], [0, 0, -1], [-1, 0, 0]],
}
Z_UP_TO_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""From AMASS's and Blender's world to glTF's and OpenSim's."""
_CAMERAS_SAY = 1.25  # weight of the cameras' mean upper edge beside the mean trunk: who lies all the time is outvoted


def to_z_up(up: UpAxis) -> Float[np.ndarray, "3 3"]:
    """The rotation from a frame in which `up` is up to one with z up; axes stay axes.

    A camera frame ("-y") comes out as Blender has it: x right, y away from the camera, z up.
    """
    if up not in _TO_Z_UP:
        raise BodyfitError(f"up must be one of {', '.join(get_args(UpAxis))}, got '{up}'.")
    return np.array(_TO_Z_UP[up], dtype=float)


def to_y_up(up: UpAxis) -> Float[np.ndarray, "3 3"]:
    """The rotation from a frame in which `up` is up to one with y up. A camera frame ("-y") comes out as OpenGL's."""
    return Z_UP_TO_Y_UP @ to_z_up(up)


def nearest_axis(directions: Float[np.ndarray, "N 3"]) -> UpAxis:
    """The axis that is nearest to the mean of some directions; z where there are none."""
    mean = np.asarray(directions, dtype=float).reshape(-1, 3).sum(axis=0)
    if not np.abs(mean).max() > 0:
        return "z"
    axis = int(np.abs(mean).argmax())
    return get_args(UpAxis)[2 * axis + int(mean[axis] < 0)]


def up_of(track: Track) -> UpAxis:
    """The axis that is up in the frame of a track: -y in the camera's, which is taken to be level.

    Calibrations put up where they like. In their world, up is the axis along which the person's trunk points, over all
    moments: right for who stands, walks or sits most of the time, and to be said by the caller for who does not.
    """
    if track.space == "camera":
        return "-y"
    return nearest_axis(_trunks(track))


def up_of_world(tracks: Sequence[Track], cameras: Float[np.ndarray, "V 3 3"]) -> UpAxis:
    """The axis that is up in the frame that several people share, the same for all of them.

    In the world of a calibration people and cameras say it together, so that it holds where people lie, too: the mean
    direction of all trunks, and that of the upper edges of all cameras' pictures. These cancel out where cameras look
    from above or are turned.

    Args:
        tracks: of one world.
        cameras: rotations from the world to each camera, whose y points down.
    """
    if not tracks or tracks[0].space == "camera":
        return "-y"
    trunks = np.concatenate([_trunks(track) for track in tracks])
    edges = -np.asarray(cameras, dtype=float).reshape(-1, 3, 3)[:, 1]
    means = [directions.mean(axis=0) for directions in (trunks, edges) if len(directions)]
    return nearest_axis(np.array(means) * np.array([1.0, _CAMERAS_SAY])[: len(means), None])


def _trunks(track: Track) -> Float[np.ndarray, "N 3"]:
    """Where the trunk points at the moments that were fitted."""
    seen = np.array([status != "failed" for status in track.status])
    turns = rotvec_to_rotmat(torch.from_numpy(np.asarray(track.global_orient, dtype=float)[seen])).numpy()
    return turns[:, :, 1]  # of the unposed body, y is up
