"""The worlds of files: which way is up in the frame of a track, where its floor is, and rotations to z up and y up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float

from bodyfit.data.results.checks import ResultError

UpAxis = Literal["x", "-x", "y", "-y", "z", "-z"]
Place: TypeAlias = tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]
"""Rotation and shift that take points of the frame of a fit to that of a file."""

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


@dataclass(frozen=True)
class World:
    """The world that the files of a track are in: which direction of the track's frame is up, and what height 0 is."""

    up: tuple[float, float, float]
    """Unit vector in the track's frame."""
    floor_m: float | None = None
    """Height of the floor along `up`, which is height 0 of the files; None: the origin of the track's frame is."""
    source: str = ""
    """Where up comes from, in words."""

    def __post_init__(self) -> None:
        numbers = [*self.up, 0.0 if self.floor_m is None else self.floor_m]
        if len(self.up) != 3 or not np.isfinite(numbers).all() or abs(float(np.linalg.norm(self.up)) - 1) > 1e-6:
            raise ResultError(f"up is {self.up}, the floor at {self.floor_m}: expected a unit vector, and a height.")

    @classmethod
    def along(cls, axis: UpAxis, source: str = "") -> World:
        """The world in which an axis of the frame is up. Raises ResultError for what is none of UpAxis."""
        if axis not in _TO_Z_UP:
            raise ResultError(f"up must be one of {', '.join(get_args(UpAxis))}, got '{axis}'.")
        x, y, z = _TO_Z_UP[axis][2]
        return cls((float(x), float(y), float(z)), source=source)

    @classmethod
    def on_floor(cls, plane: Float[np.ndarray, " 4"], source: str = "") -> World:
        """The world of a floor, given by its normal (up) and offset, as in a Track: the floor is height 0."""
        plane = np.asarray(plane, dtype=float) / np.linalg.norm(plane[:3])
        x, y, z, offset = plane.tolist()
        return cls((x, y, z), offset, source)

    @property
    def axis(self) -> UpAxis:
        """The axis of the track's frame that is nearest to up."""
        return nearest_axis(np.array([self.up]))

    @property
    def z_up(self) -> Place:
        """To AMASS's and Blender's world. Where an axis is up, axes stay axes; else the rotation from the nearest axis
        is the smallest one.

        The frame of a level camera comes out as Blender has it: x right, y away from the camera, z up.
        """
        near = to_z_up(self.axis)
        x, y, z = near @ self.up
        lean = np.array([[x * x, x * y], [x * y, y * y]]) / (1 + z)
        smallest = np.block([[np.eye(2) - lean, -np.array([[x], [y]])], [np.array([[x, y, z]])]])
        return smallest @ near, np.array([0.0, 0.0, -(self.floor_m or 0.0)])

    @property
    def y_up(self) -> Place:
        """To glTF's and OpenSim's world. The frame of a level camera comes out as OpenGL's."""
        rotation, shift = self.z_up
        return Z_UP_TO_Y_UP @ rotation, Z_UP_TO_Y_UP @ shift


def to_z_up(axis: UpAxis) -> Float[np.ndarray, "3 3"]:
    """The rotation from a frame in which an axis is up to one with z up; axes stay axes."""
    return np.array(_TO_Z_UP[axis], dtype=float)


def nearest_axis(directions: Float[np.ndarray, "N 3"]) -> UpAxis:
    """The axis that is nearest to the mean of some directions; z where there are none."""
    mean = np.asarray(directions, dtype=float).reshape(-1, 3).sum(axis=0)
    if not np.abs(mean).max() > 0:
        return "z"
    axis = int(np.abs(mean).argmax())
    return get_args(UpAxis)[2 * axis + int(mean[axis] < 0)]
