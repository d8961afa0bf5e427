"""A clip in the browser: everybody at one moment, the cameras with their pictures, a time slider, play and pause.

viser serves the page. Bodies are posed and pictures are read when their moment is shown.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from roma import rotmat_to_unitquat

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import PosedBody, pose_body
from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.track import Track
from bodyfit.data.results.worlds import UpAxis
from bodyfit.fitting.draw.colours import person_colour
from bodyfit.fitting.draw.ellipsoids import ellipsoids
from bodyfit.fitting.draw.layers import Mesh
from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.page_server import Page, add_lights
from bodyfit.fitting.show.photo_scene import SHOWN_JOINTS, shrunk
from bodyfit.fitting.show.results_folder import body_of_track

_AXES = {"x": 0, "y": 1, "z": 2}
_PALE = 0.5
_FRUSTUM_M = 0.5
_SURE_HINT = "Ellipsoids about the joints, relative to the pelvis: blue +- 2 cm, red +- 25 cm and more"
_PICTURE_PX = 640  # a camera's picture in the scene, longer side


class ClipViewer(Page):
    """A page over a clip's output folder.

    Raises:
        BodyfitError: where the folder has no track of anybody who was fitted.
    """

    def __init__(self, clip: ClipFrames, *, host: str = "127.0.0.1", port: int = 8080):
        self.clip = clip
        tracks = clip.tracks()
        if not tracks:
            raise BodyfitError(f"{clip.results.folder}: nobody was fitted over time, so there is nothing to play.")
        self._tracks = [(track, body_of_track(track, clip.results.body)) for track, _ in tracks]
        self._space, self._up = tracks[0][0].space, _direction(tracks[0][1])
        self._first, self._last = clip.index.moments
        self._moment = self._first
        self._cameras = {camera: found for camera in clip.cameras if (found := self._camera(camera)) is not None}
        super().__init__(host, port)
        self._server.scene.set_up_direction(tuple(self._up))
        forward = np.array([0.0, 0.0, 1.0]) if abs(self._up[2]) < 0.5 else np.array([0.0, 1.0, 0.0])
        add_lights(self._server, self._up, forward)
        self._nodes: dict[str, object] = {}
        self._frusta: dict[str, object] = {}
        self._add_cameras()
        self._add_controls()
        self._server.on_client_connect(self._welcome)
        self.show(self._first)
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def moment(self) -> int:
        """The moment that is shown."""
        return self._moment

    def show(self, moment: int) -> None:
        """Shows a moment: bodies, and the pictures of the cameras."""
        with self._lock, self._server.atomic():
            self._moment = int(np.clip(moment, self._first, self._last))
            for (track, body), switch in zip(self._tracks, self._people, strict=True):
                posed = self._posed_at(track, body) if switch.value else None
                self._draw(track, None if posed is None else (posed.vertices[0].numpy(), body.faces))
                self._draw_uncertainty(track, posed if self._sure.value else None)
            for camera, frustum in self._frusta.items():
                frustum.image = self._picture(camera) if self._pictures.value else None
            if self._slider.value != self._moment:
                self._slider.value = self._moment
            self._words.content = self._said()

    # ---- what is drawn ----------------------------------------------------------------------------------------------

    def _posed_at(self, track: Track, body: BodyModel) -> PosedBody | None:
        row = self._moment - int(track.moments[0])
        if not 0 <= row < len(track) or track.status[row] == "failed":
            return None
        given = {name: torch.as_tensor(value[row : row + 1]).float() for name, value in track.parameters().items()}
        return pose_body(body, **given)

    def _draw_uncertainty(self, track: Track, posed: PosedBody | None) -> None:
        """Ellipsoids of one standard deviation about the body's joints, relative to the pelvis."""
        name, row = f"/uncertainty/{track.person}", self._moment - int(track.moments[0])
        if (old := self._nodes.pop(name, None)) is not None:
            old.remove()
        if posed is None or not len(track.joint_covariance_root_relative):
            return
        covariances = track.joint_covariance_root_relative[row, :SHOWN_JOINTS]
        vertices, faces, colours = ellipsoids(posed.joints[0, :SHOWN_JOINTS].numpy(), covariances)
        if len(vertices):
            mesh = trimesh.Trimesh(vertices, faces, vertex_colors=colours.astype(np.uint8), process=False)
            self._nodes[name] = self._server.scene.add_mesh_trimesh(name, mesh)

    def _draw(self, track: Track, mesh: Mesh | None) -> None:
        name = f"/people/{track.person}"
        if (old := self._nodes.pop(name, None)) is not None and mesh is None:
            old.remove()
        if mesh is not None:  # a node of the same name replaces the one before
            number = int(track.person) if track.person.isdecimal() else 0
            colour = person_colour(number)
            if track.status[self._moment - int(track.moments[0])] == "interpolated":
                colour = colour + _PALE * (1 - colour)
            self._nodes[name] = self._server.scene.add_mesh_simple(
                name, *mesh, color=tuple(round(255 * float(c)) for c in colour), side="front", cast_shadow=False
            )

    def _camera(self, camera: str) -> FitResult | None:
        """A result of the camera, which knows its focal length and, where it is calibrated, where it stands."""
        for frame in self.clip.index.of_camera(camera).values():
            for person in self.clip.people(frame):
                if person.status != "failed" and (result := person.result()) is not None:
                    return result
        return None

    def _add_cameras(self) -> None:
        for camera, result in self._cameras.items():
            turn, place = np.eye(3), np.zeros(3)
            if self._space == "world":
                if not result.camera_rotation.size:
                    continue
                turn = result.camera_rotation.T
                place = -turn @ result.camera_translation
            width, height = result.image_size
            quaternion = np.roll(rotmat_to_unitquat(torch.from_numpy(np.ascontiguousarray(turn))).numpy(), 1)
            self._frusta[camera] = self._server.scene.add_camera_frustum(
                f"/cameras/{camera}",
                fov=2 * float(np.arctan(height / 2 / result.focal_px)),
                aspect=width / height,
                scale=_FRUSTUM_M,
                wxyz=quaternion,
                position=place,
            )
            self._frusta[camera].on_click(lambda event, camera=camera: self._look_through(event.client, camera))

    def _picture(self, camera: str):
        frame = self.clip.index.of_camera(camera).get(self._moment)
        photo = None if frame is None else self.clip.photo(frame)
        if photo is None:
            return None
        step = max(1, round(max(photo.shape[:2]) / _PICTURE_PX))
        return np.ascontiguousarray(shrunk(photo)[::step, ::step])

    def _said(self) -> str:
        states = {
            track.person: track.status[row] if 0 <= (row := self._moment - int(track.moments[0])) < len(track) else "-"
            for track, _ in self._tracks
        }
        people = ", ".join(f"{person}: {state}" for person, state in states.items())
        return f"{self._moment / self.clip.index.fps:.2f} s, moment {self._moment} · {people}"

    # ---- controls ---------------------------------------------------------------------------------------------------

    def _add_controls(self) -> None:
        gui = self._server.gui
        with gui.add_folder("Time"):
            most = max(self._last, self._first + 1)
            self._slider = gui.add_slider("moment", self._first, most, 1, self._first)
            self._play = gui.add_checkbox("play", False)
            self._speed = gui.add_slider("speed", 0.1, 2.0, 0.1, 1.0)
            self._words = gui.add_markdown("")
        with gui.add_folder("Look"):
            self._people = [gui.add_checkbox(f"person {track.person}", True) for track, _ in self._tracks]
            self._pictures = gui.add_checkbox("pictures of the cameras", True)
            known = any(len(track.joint_covariance_root_relative) for track, _ in self._tracks)
            self._sure = gui.add_checkbox(
                "how sure: one standard deviation", False, disabled=not known, hint=_SURE_HINT
            )
            through = gui.add_button_group("through", tuple(self._frusta)) if self._frusta else None
        self._slider.on_update(lambda _: self._slid())
        for switch in (*self._people, self._pictures, self._sure):
            switch.on_update(lambda _: self.show(self._moment))
        if through is not None:
            through.on_click(lambda event: self._look_through(event.client, event.target.value))

    def _slid(self) -> None:
        if self._slider.value != self._moment:
            self.show(self._slider.value)

    def _run(self) -> None:
        """Plays in the clip's own time: moments that cannot be shown in time are left out."""
        began, start = None, self._first
        while self._open:
            if not self._play.value:
                began = None
                time.sleep(0.05)
                continue
            now = time.monotonic()
            if began is None or self._moment >= self._last:
                began, start = now, self._first if self._moment >= self._last else self._moment
                self.show(start)
            wanted = start + int((now - began) * self.clip.index.fps * self._speed.value)
            if wanted > self._moment:
                self.show(wanted)
            time.sleep(0.005)

    # ---- view direction ---------------------------------------------------------------------------------------------

    def _welcome(self, client) -> None:
        """A new browser looks at everybody, from where the first camera is, a little above and aside."""
        middle = self._middle()
        back = self._towards_camera(middle)
        side = np.cross(self._up, back)
        position = middle + 4.0 * _unit(back + 0.5 * side + 0.3 * self._up)
        with client.atomic():
            client.camera.up_direction = self._up
            client.camera.position = position
            client.camera.look_at = middle

    def _middle(self) -> Float[np.ndarray, " 3"]:
        return np.concatenate([track.transl[[s != "failed" for s in track.status]] for track, _ in self._tracks]).mean(
            0
        )

    def _towards_camera(self, middle: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
        place = np.zeros(3) if not self._frusta else np.asarray(next(iter(self._frusta.values())).position)
        away = place - middle
        away = away - (away @ self._up) * self._up
        return _unit(away) if np.linalg.norm(away) > 1e-6 else np.roll(self._up, 1)

    def _look_through(self, client, camera: str) -> None:
        """Puts the eye of one browser where a camera is."""
        if client is None or camera not in self._frusta:
            return
        result, frustum = self._cameras[camera], self._frusta[camera]
        turn = result.camera_rotation.T if self._space == "world" else np.eye(3)
        place = np.asarray(frustum.position)
        with client.atomic():
            client.camera.up_direction = -turn[:, 1]
            client.camera.position = place
            client.camera.look_at = place + turn[:, 2] * max(1.0, float((self._middle() - place) @ turn[:, 2]))
            client.camera.fov = 2 * float(np.arctan(result.image_size[1] / 2 / result.focal_px))


def _direction(up: UpAxis) -> Float[np.ndarray, " 3"]:
    direction = np.zeros(3)
    direction[_AXES[up[-1]]] = -1.0 if up.startswith("-") else 1.0
    return direction


def _unit(vector: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    return vector / np.linalg.norm(vector)
