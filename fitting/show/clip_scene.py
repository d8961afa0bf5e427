"""The scene of a clip: everybody at one moment, the floor and who touches it, the cameras with their pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import PosedBody, pose_body
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.track import Track
from bodyfit.fitting.draw.colours import person_colour
from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.photo_scene import shrunk
from bodyfit.fitting.show.results_folder import body_of_track
from bodyfit.fitting.show.scene_parts import (
    PLANE_OPACITY,
    SEE_THROUGH,
    SHOWN_JOINTS,
    Floor,
    draw_ellipsoids,
    draw_feet,
    draw_floor,
    quaternions,
    soles,
)

_PALE = 0.5
_FRUSTUM_M, _LINE_M = 0.3, 0.008
_PICTURE_PX = 640  # a camera's picture in the scene, longer side
_BACKDROP_PX = 1280  # the same while one looks through the camera
_BEHIND = 1.05  # the backdrop's depth, over that of the farthest person
_ARM_M = 1.0  # from a pelvis to the end of a limb


@dataclass(frozen=True)
class Actor:
    """One person of the clip."""

    track: Track
    body: BodyModel
    pelvis: Float[np.ndarray, "T 3"]
    """At every moment, as far as `transl` says; NaN where the fit failed."""
    floor: Floor | None

    @classmethod
    def of(cls, track: Track, clip: ClipFrames) -> Actor:
        """Raises BodyfitError where the track's body model is not at hand."""
        body = body_of_track(track, clip.results.body)
        pelvis = track.transl + body.joint_regressor[0] @ body.v_template
        pelvis[[status == "failed" for status in track.status]] = np.nan
        return cls(track, body, pelvis, Floor.of(track.floor))

    @property
    def number(self) -> int:
        """Determines the colour."""
        return int(self.track.person) if self.track.person.isdecimal() else 0

    def row(self, moment: int) -> int | None:
        """The row of the track at a moment; None where the person is not there."""
        row = moment - int(self.track.moments[0])
        return row if 0 <= row < len(self.track) and self.track.status[row] != "failed" else None

    def posed(self, moment: int) -> PosedBody | None:
        """The body at a moment, in the track's frame."""
        if (row := self.row(moment)) is None:
            return None
        given = {name: torch.as_tensor(v[row : row + 1]).float() for name, v in self.track.parameters().items()}
        return pose_body(self.body, **given)

    def touching(self, moment: int) -> tuple[str, ...] | None:
        """Which feet touch the ground ("left", "right"); None where that is not known."""
        row = self.row(moment)
        if row is None or not len(self.track.touching):
            return None
        return tuple(side for side, on in zip(("left", "right"), self.track.touching[row], strict=True) if on)


class ClipScene:
    """The nodes of a clip in a viser scene: `show` draws a moment, `through` chooses the camera that is looked
    through."""

    def __init__(self, scene, clip: ClipFrames, actors: list[Actor]):
        self._scene, self._clip, self.actors = scene, clip, actors
        self._world = actors[0].track.space == "world"
        self.through: str | None = None
        """The camera whose picture stands behind the people; None: all pictures are in their frustums."""
        self.nodes: dict[str, list] = {}
        self.frusta: dict[str, object] = {}
        self._floors = self._add_floors()
        self.cameras = {camera: found for camera in clip.cameras if (found := self._camera(camera)) is not None}
        self._add_cameras()

    @property
    def has_floor(self) -> bool:
        return bool(self._floors)

    @property
    def has_feet(self) -> bool:
        """Whether it is known of anybody which feet touch."""
        return self.has_floor and any(len(actor.track.touching) for actor in self.actors)

    def show(
        self,
        moment: int,
        people: Collection[str],
        switches: Mapping[str, bool],
        opacity: float,
        *,
        new_pictures: bool = True,
    ) -> None:
        """Draws a moment; `people` are the numbers of those who are shown, `switches` are pictures, uncertainty, floor
        and feet. Without `new_pictures`, those in the frustums stay as they are."""
        opacity = min(opacity, SEE_THROUGH) if switches["uncertainty"] else opacity
        for actor in self.actors:
            posed = actor.posed(moment) if actor.track.person in people else None
            self._draw_body(actor, moment, posed, opacity)
            self._draw_uncertainty(actor, moment, posed if switches["uncertainty"] else None)
            self._draw_feet(actor, moment, posed if switches["feet"] else None)
        for floor in self._floors:
            floor.visible = switches["floor"]
            floor.plane_opacity = PLANE_OPACITY if self.through is None else 0.0  # lines alone hide less of the picture
        for camera, frustum in self.frusta.items():
            frustum.visible = self.through is None  # they would stand in the picture
            shown = switches["pictures"] and frustum.visible
            if new_pictures or not shown:
                frustum.image = self.picture(camera, moment) if shown else None
        self._draw_backdrop(moment if switches["pictures"] else None)

    def pose(self, camera: str) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
        """Where a camera is in the scene: its axes as columns (x right, y down, z forward), and its place."""
        if not self._world:
            return np.eye(3), np.zeros(3)
        result = self.cameras[camera]
        return result.camera_rotation.T, -result.camera_rotation.T @ result.camera_translation

    def places(self) -> Float[np.ndarray, "N 3"]:
        """Where people's pelvises are at all moments."""
        places = np.concatenate([actor.pelvis for actor in self.actors])
        return places[np.isfinite(places).all(axis=1)]

    def picture(self, camera: str, moment: int, largest_px: int = _PICTURE_PX) -> UInt8[np.ndarray, "H W 3"] | None:
        """What a camera saw at a moment; None where it has no frame."""
        frame = self._clip.index.of_camera(camera).get(moment)
        photo = None if frame is None else self._clip.photo(frame)
        return None if photo is None else np.ascontiguousarray(shrunk(photo, largest_px))

    # ---- what is drawn ----------------------------------------------------------------------------------------------

    def _draw_body(self, actor: Actor, moment: int, posed: PosedBody | None, opacity: float) -> None:
        name = f"/people/{actor.track.person}"
        if posed is None or opacity <= 0:
            self._remove(name)
            return
        colour = person_colour(actor.number)
        if actor.track.status[actor.row(moment)] == "interpolated":
            colour = colour + _PALE * (1 - colour)
        mesh = self._scene.add_mesh_simple(  # a node of the same name replaces the one before
            name, posed.vertices[0].numpy(), actor.body.faces, color=tuple(round(255 * float(c)) for c in colour),
            opacity=None if opacity >= 1 else opacity, side="front", cast_shadow=False,
        )  # fmt: skip
        self.nodes[name] = [mesh]

    def _draw_uncertainty(self, actor: Actor, moment: int, posed: PosedBody | None) -> None:
        name, covariances = f"/uncertainty/{actor.track.person}", actor.track.joint_covariance_root_relative
        self._remove(name)
        if posed is not None and len(covariances):
            joints = posed.joints[0, :SHOWN_JOINTS].numpy()
            balls = draw_ellipsoids(self._scene, name, joints, covariances[actor.row(moment), :SHOWN_JOINTS])
            if balls is not None:
                self.nodes[name] = [balls]

    def _draw_feet(self, actor: Actor, moment: int, posed: PosedBody | None) -> None:
        name = f"/feet/{actor.track.person}"
        self._remove(name)
        touching = actor.touching(moment)
        if posed is not None and touching and actor.floor is not None:
            feet = soles(posed.vertices[0].numpy(), actor.body.extra_vertex_ids, touching)
            self.nodes[name] = draw_feet(self._scene, name, actor.floor, feet)

    def _add_floors(self) -> list:
        """One grid for all people who stand on the same floor."""
        shared: dict[bytes, list[Actor]] = {}
        for actor in self.actors:
            if actor.floor is not None:
                shared.setdefault(np.round([*actor.floor.normal, actor.floor.offset], 4).tobytes(), []).append(actor)
        floors = []
        for number, actors in enumerate(shared.values()):
            around = np.concatenate([actor.pelvis for actor in actors])
            around = around[np.isfinite(around).all(axis=1)]
            floors.append(draw_floor(self._scene, f"/floor/{number}", actors[0].floor, around))
        return floors

    def _camera(self, camera: str) -> FitResult | None:
        """A result of the camera, which knows its focal length and, where it is calibrated, where it stands."""
        for frame in self._clip.index.of_camera(camera).values():
            for person in self._clip.people(frame):
                if person.status != "failed" and (result := person.result()) is not None:
                    return result if not self._world or result.camera_rotation.size else None
        return None

    def _add_cameras(self) -> None:
        for camera, result in self.cameras.items():
            turn, place = self.pose(camera)
            width, height = result.image_size
            self.frusta[camera] = self._scene.add_camera_frustum(
                f"/cameras/{camera}", fov=2 * float(np.arctan(height / 2 / result.focal_px)), aspect=width / height,
                scale=_FRUSTUM_M, thickness=_LINE_M, wxyz=quaternions(turn[None])[0], position=place,
            )  # fmt: skip

    def _draw_backdrop(self, moment: int | None) -> None:
        """The picture of the camera that is looked through, behind everybody."""
        camera = self.through
        picture = None if camera is None or moment is None else self.picture(camera, moment, _BACKDROP_PX)
        if picture is None:
            self._remove("/backdrop")
            return
        result, (turn, place) = self.cameras[camera], self.pose(camera)
        depth = float(((self.places() - place) @ turn[:, 2]).max()) + _ARM_M
        far = _BEHIND * max(depth, _ARM_M)
        size, focal = np.array(result.image_size), result.focal_px
        middle = ((size - 1) / 2 - result.center_px) * far / focal
        width, height = (size * far / focal).tolist()
        image = self._scene.add_image(
            "/backdrop", picture, width, height, wxyz=quaternions(turn[None])[0],
            position=place + turn @ [*middle, far], cast_shadow=False, receive_shadow=False,
        )  # fmt: skip
        self.nodes["/backdrop"] = [image]

    def _remove(self, name: str) -> None:
        for node in self.nodes.pop(name, []):
            node.remove()
