"""A clip's people from the side, by a camera that goes along with them: depth, lean and flicker that overlays hide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from roma import rotvec_to_rotmat
from scipy.ndimage import gaussian_filter1d

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import pose_body
from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.levelling import world_of
from bodyfit.data.results.track import Track
from bodyfit.data.results.track_points import point_names, track_points
from bodyfit.data.results.worlds import Place
from bodyfit.fitting.draw.colours import person_colour
from bodyfit.fitting.draw.eye import Eye, eye_camera
from bodyfit.fitting.draw.layers import blend, draw_meshes
from bodyfit.fitting.draw.rasteriser import Camera

_SMOOTH_S = 0.5  # how slowly the camera follows
_AROUND_M = 1.1  # from a pelvis to what has to be in the picture
_GRID_M = 0.5
_PALE = 0.5


@dataclass(frozen=True)
class Mover:
    """One person of a side view."""

    track: Track
    body: BodyModel
    number: int
    """Determines the colour."""

    def vertices(self, row: int) -> Float[np.ndarray, "V 3"]:
        """The body at one of the track's moments, in the track's frame."""
        given = {n: torch.as_tensor(v[row : row + 1]).float() for n, v in self.track.parameters().items()}
        return pose_body(self.body, **given).vertices[0].double().numpy()


def side_view_frames(
    movers: Sequence[Mover],
    moments: Sequence[int],
    fps: float,
    *,
    size_px: tuple[int, int] = (540, 720),
    elevation_deg: float = 6.0,
    backend: str = "auto",
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Pictures of (height, width) of everybody at each moment, all at one scale and from one direction.

    The floor is a grid of half a metre that stands still: the one that a fit with the ground found, else at the height
    of the feet, level as the files of the tracks are. People of whom nothing was seen are pale.

    Raises:
        BodyfitError: where there is nobody.
    """
    if not movers:
        raise BodyfitError("a side view needs tracks of people who were fitted, and there are none.")
    stage = _Stage(movers, moments, fps, size_px, elevation_deg)
    for n, moment in enumerate(moments):
        yield stage.picture(n, moment, fps, backend)


class _Stage:
    """Where the camera is at each moment; the floor is at height 0."""

    def __init__(self, movers: Sequence[Mover], moments: Sequence[int], fps, size_px, elevation_deg: float):
        self.movers, self.size_px = movers, size_px
        self.camera: Camera = eye_camera(size_px)
        self.places, points = _standing(movers)
        pelvis = np.full((len(movers), len(moments), 3), np.nan)
        place = {moment: n for n, moment in enumerate(moments)}
        for row, (mover, mine) in enumerate(zip(movers, points, strict=True)):
            for n, moment in enumerate(mover.track.moments.tolist()):
                if moment in place:
                    pelvis[row, place[moment]] = mine[n, 0]
        target = _filled(_mean(pelvis))
        self.target = gaussian_filter1d(target, _SMOOTH_S * fps, axis=0, mode="nearest")
        box = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
        eye = Eye.at(box, (_side(movers, self.places), elevation_deg))
        reach = np.abs((pelvis - self.target) @ eye.rotation[:2].T) / [size_px[1] / min(size_px), 1.0]
        self.reach = float(np.nanmax(reach, initial=0.0)) + _AROUND_M
        distance = self.reach / np.tan(np.arctan(0.5 * min(size_px) / self.camera.focal_px))
        self.eye = replace(eye, distance=distance)

    def picture(self, n: int, moment: int, fps: float, backend: str) -> UInt8[np.ndarray, "H W 3"]:
        eye = replace(self.eye, target=self.target[n])
        picture = self._floor(eye)
        meshes, colours = [], []
        for mover, (turn, shift) in zip(self.movers, self.places, strict=True):
            row = moment - int(mover.track.moments[0])
            if 0 <= row < len(mover.track) and mover.track.status[row] != "failed":
                meshes.append((eye.see(mover.vertices(row) @ turn.T + shift), mover.body.faces))
                colour = person_colour(mover.number)
                pale = mover.track.status[row] == "interpolated"
                colours.append(colour + _PALE * (1 - colour) if pale else colour)
        if meshes:
            picture = blend(picture, draw_meshes(meshes, self.camera, colours=colours, backend=backend), 1.0)
        return _with_time(picture, moment / fps)

    def _floor(self, eye: Eye) -> UInt8[np.ndarray, "H W 3"]:
        """White, with the lines of the floor that are near."""
        image = Image.new("RGB", self.size_px[::-1], (255, 255, 255))
        draw = ImageDraw.Draw(image)
        reach = _GRID_M * np.ceil(2 * self.reach / _GRID_M)
        middle = _GRID_M * np.round(eye.target[[0, 2]] / _GRID_M)
        steps = np.arange(-reach, reach + 0.01, _GRID_M)
        for step in steps:
            for along in (0, 1):
                ends = np.zeros((2, 3))
                ends[:, 2 * along] = middle[along] + step
                ends[:, 2 * (1 - along)] = middle[1 - along] + np.array([-reach, reach])
                seen = eye.see(ends)
                if (seen[:, 2] > 0.1).all():
                    draw.line([tuple(point) for point in self.camera.project(seen)], fill=(222, 225, 230), width=1)
        return np.array(image)


def _mean(places: Float[np.ndarray, "P T 3"]) -> Float[np.ndarray, "T 3"]:
    """Over people, NaN where nobody is."""
    there = np.isfinite(places)
    return np.where(there, places, 0).sum(axis=0) / np.where(there.any(axis=0), there.sum(axis=0), np.nan)


def _filled(places: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "T 3"]:
    """Without gaps: straight on between the places that are known."""
    known = np.flatnonzero(np.isfinite(places).all(axis=1))
    if not len(known):
        return np.zeros_like(places)
    return np.stack([np.interp(np.arange(len(places)), known, column[known]) for column in places.T], axis=1)


def _lowest(mover: Mover, points: Float[np.ndarray, "T P 3"]) -> float:
    """The height of the floor under one person: of the lower foot, most of the time."""
    names = point_names(mover.body)
    feet = [n for n, name in enumerate(names) if name.endswith(("_heel", "_toe"))] or list(range(points.shape[1]))
    low = points[:, feet, 1].min(axis=1)
    return float(np.nanquantile(low, 0.1))


def _standing(movers: Sequence[Mover]) -> tuple[list[Place], list[Float[np.ndarray, "T P 3"]]]:
    """From the frame of each track to a world with y up and the floor at height 0, and the points of the track there.
    It is the world of the track's files; where that has no floor, the lowest of those who have none stands on it."""
    worlds = [world_of(mover.track) for mover in movers]
    places = [world.y_up for world in worlds]
    points = [track_points(m.body, m.track) @ turn.T + shift for m, (turn, shift) in zip(movers, places, strict=True)]
    without = [n for n, world in enumerate(worlds) if world.floor_m is None]
    low = np.array([0.0, min((_lowest(movers[n], points[n]) for n in without), default=0.0), 0.0])
    for n in without:
        places[n], points[n] = (places[n][0], places[n][1] - low), points[n] - low
    return places, points


def _side(movers: Sequence[Mover], places: Sequence[Place]) -> float:
    """The direction to look from, as a yaw in degrees: in a camera's frame, from the camera's right; in a world, from
    the side of where people face most of the time."""
    if movers[0].track.space == "camera":
        return 90.0
    facing = np.zeros(3)
    for mover, (turn, _) in zip(movers, places, strict=True):
        turns = rotvec_to_rotmat(torch.from_numpy(np.asarray(mover.track.global_orient, dtype=float))).numpy()
        facing += (turns[:, :, 2] @ turn.T).sum(axis=0)
    return float(np.degrees(np.arctan2(facing[0], facing[2]))) + 90.0


def _with_time(picture: UInt8[np.ndarray, "H W 3"], seconds: float) -> UInt8[np.ndarray, "H W 3"]:
    image, size = Image.fromarray(picture), max(11, picture.shape[0] // 30)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(image).text((size, picture.shape[0] - size), f"{seconds:.2f} s", (90, 95, 105), font, anchor="ls")
    return np.asarray(image)
