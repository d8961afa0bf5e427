"""What both viewers of results share besides bodies: the floor, touching feet, how sure joints are, where to look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from bodyfit.fitting.draw.colours import BLUE, GREY, ORANGE, rgb8
from bodyfit.fitting.draw.ellipsoids import ellipsoids

SHOWN_JOINTS = 22  # whose uncertainty is drawn: the body's
SURE_HINT = "Ellipsoids about the joints, relative to the pelvis: blue +- 2 cm, red +- 25 cm and more"
FLOOR_HINT = "The plane that people stand on (--ground), lines half a metre apart"
FEET_HINT = "Spots under the feet that touch the ground: orange left, blue right"
PLANE_OPACITY = 0.5
SEE_THROUGH = 0.6  # opacity of bodies that must not hide what is in them

_GRID_M = 0.5
_BEYOND_M = 1.5  # how far the floor goes on beyond the people
_WIDEST_M = 20.0
_BESIDE_M, _HALF_FOOT_M = 0.03, 0.06  # of a spot: beyond toes and heel, and half its width
_LIFTED_M = 0.008  # spots lie so much above the floor, else both would flicker
_SOLE = ("big_toe", "small_toe", "heel")
_SIDES = {"left": rgb8(ORANGE), "right": rgb8(BLUE)}


@dataclass(frozen=True)
class Floor:
    """A plane that people stand on."""

    normal: Float[np.ndarray, " 3"]
    """Unit vector that points up."""
    offset: float
    """normal . point = offset for points of the plane, metres."""

    @classmethod
    def of(cls, plane: Float[np.ndarray, " n"]) -> Floor | None:
        """Of (4,) normal and offset, as in a FitResult or a Track; None where there is none (0,)."""
        plane = np.asarray(plane, dtype=float)
        length = np.linalg.norm(plane[:3]) if plane.shape == (4,) and np.isfinite(plane).all() else 0.0
        return cls(plane[:3] / length, float(plane[3] / length)) if length > 0.5 else None

    def below(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """The points of the plane below (or above) some points."""
        return points - (points @ self.normal - self.offset)[:, None] * self.normal


def quaternions(turns: Float[np.ndarray, "N 3 3"]) -> Float[np.ndarray, "N 4"]:
    """Rotations as viser takes them: w first."""
    return np.roll(Rotation.from_matrix(turns).as_quat(), 1, axis=-1)  # without torch, which takes seconds to import


def draw_ellipsoids(scene, name: str, joints: Float[np.ndarray, "K 3"], covariances: Float[np.ndarray, "K 3 3"]):
    """One standard deviation of each joint; returns the node, None where nothing is known or all is exact."""
    found = ellipsoids(joints, covariances)
    if not len(found):
        return None
    ball = trimesh.creation.icosphere(subdivisions=2)
    return scene.add_batched_meshes_simple(
        name, ball.vertices.astype(np.float32), ball.faces, quaternions(found.turns), found.centres,
        batched_scales=found.radii, batched_colors=found.colours, lod="off", cast_shadow=False, receive_shadow=False,
    )  # fmt: skip


def draw_floor(scene, name: str, floor: Floor, around: Float[np.ndarray, "N 3"]):
    """A grid in the plane, below all points of `around` and somewhat beyond them; returns the node."""
    turn, on_floor = _axes(floor.normal), floor.below(around)
    flat = on_floor @ turn[:, :2]
    low, high = flat.min(axis=0), flat.max(axis=0)
    middle = (low + high) / 2
    width, height = np.minimum(2 * _GRID_M * np.ceil((high - low + 2 * _BEYOND_M) / (2 * _GRID_M)), _WIDEST_M)
    return scene.add_grid(
        name, float(width), float(height), plane="xy", wxyz=quaternions(turn[None])[0],
        position=turn[:, :2] @ middle + floor.offset * floor.normal, cell_size=_GRID_M, section_size=2 * _GRID_M,
        cell_color=(205, 208, 214), section_color=rgb8(GREY), plane_color=(235, 237, 240), plane_opacity=PLANE_OPACITY,
        shadow_opacity=0.0,
    )  # fmt: skip


def draw_feet(scene, name: str, floor: Floor, feet: Mapping[str, Float[np.ndarray, "N 3"]]) -> list:
    """A spot on the floor under each foot ("left", "right") that touches it, given points of its sole, the heel last;
    the nodes."""
    nodes = []
    for side, sole in feet.items():
        sole = floor.below(sole[np.isfinite(sole).all(axis=1)])
        if not len(sole):
            continue
        along = sole[:-1].mean(axis=0) - sole[-1] if len(sole) > 1 else np.zeros(3)
        middle, half = sole[-1] + along / 2, np.linalg.norm(along) / 2 + _BESIDE_M
        nodes.append(
            scene.add_cylinder(
                f"{name}/{side}",
                1.0,
                1.0,
                _SIDES[side],
                scale=(float(half), _HALF_FOOT_M, 2 * _LIFTED_M),
                wxyz=quaternions(_axes(floor.normal, along)[None])[0],
                position=middle,
                cast_shadow=False,
                receive_shadow=False,
            )
        )
    return nodes


def soles(
    points: Float[np.ndarray, "V 3"], rows: Mapping[str, int], touching: Sequence[str]
) -> dict[str, Float[np.ndarray, "n 3"]]:
    """Toes and heel of the feet that touch ("left", "right"); `rows` says where the points are, by name."""
    found = {side: [rows[name] for part in _SOLE if (name := f"{side}_{part}") in rows] for side in touching}
    return {side: points[mine] for side, mine in found.items()}


def _axes(normal: Float[np.ndarray, " 3"], along: Float[np.ndarray, " 3"] | None = None) -> Float[np.ndarray, "3 3"]:
    """A rotation whose third column is the normal, and whose first is along a direction of the floor; by default, the
    one of the frame's axes that is most along it."""
    if along is None or np.linalg.norm(along) < 1e-6:
        along = np.eye(3)[np.argmin(np.abs(normal))]
    first = along - (along @ normal) * normal
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first), normal], axis=1)


def follow_window(client, aim: Callable[[Any], None], holds: Callable[[], bool]) -> None:
    """Aim the camera of a new browser, and again whenever its window changes shape while something holds."""
    aim(client)
    aspect = client.camera.aspect

    @client.camera.on_update
    def _(camera) -> None:
        nonlocal aspect
        if abs(camera.aspect - aspect) > 1e-3:
            aspect = camera.aspect
            if holds():
                aim(client)
