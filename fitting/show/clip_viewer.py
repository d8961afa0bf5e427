"""A clip in the browser: everybody at one moment, the floor, the cameras with their pictures, a time slider, play.

viser serves the page. Bodies are posed and pictures are read when their moment is shown.
"""

from __future__ import annotations

import threading
import time

import numpy as np
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.data.results.distrust import PARTS, centimetres
from bodyfit.data.results.levelling import world_of
from bodyfit.data.results.track import Track
from bodyfit.fitting.draw.colours import person_hex
from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.clip_scene import Actor, ClipScene
from bodyfit.fitting.show.page_server import Page, add_lights, field_of_view
from bodyfit.fitting.show.pages import fill_page
from bodyfit.fitting.show.scene_parts import FEET_HINT, FLOOR_HINT, SURE_HINT, follow_window

_FREE = "free"
_FOV = np.radians(40.0)
_AROUND_M = 1.2  # from a pelvis to what has to be in the picture
_SLOWEST_S = 0.2  # a moment with all pictures, while it plays
_MOST_SWITCHES = 12  # people with a checkbox each


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
        actors = [Actor.of(track, clip) for track in tracks]
        self._up = np.array(world_of(tracks[0]).up)
        self._first, self._last = clip.index.moments
        self._moment = self._first
        super().__init__(host, port)
        self._server.scene.set_up_direction(tuple(self._up))
        forward = np.array([0.0, 0.0, 1.0]) if abs(self._up[2]) < 0.5 else np.array([0.0, 1.0, 0.0])
        add_lights(self._server, self._up, forward)
        self._scene = ClipScene(self._server.scene, clip, actors)
        for camera, frustum in self._scene.frusta.items():
            frustum.on_click(lambda _, camera=camera: self.look_through(camera))
        self._add_controls()
        self._server.on_client_connect(self._welcome)
        self.show(self._first)
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def moment(self) -> int:
        """The moment that is shown."""
        return self._moment

    def show(self, moment: int, *, new_pictures: bool = True) -> None:
        """Shows a moment: bodies, and the pictures of the cameras unless they are to stay as they are."""
        with self._lock, self._server.atomic():
            self._moment = int(np.clip(moment, self._first, self._last))
            switches = {name: switch.value for name, switch in self._switches.items()}
            people, opacity = self._shown_people(), self._opacity.value
            self._scene.show(self._moment, people, switches, opacity, new_pictures=new_pictures)
            if self._slider.value != self._moment:
                self._slider.value = self._moment
            self._words.content = self._said()

    def look_through(self, camera: str | None) -> None:
        """Puts the eyes of all browsers where a camera is, its picture behind the people; None: back to free views."""
        with self._lock:
            self._scene.through = camera
            if self._through is not None and self._through.value != (camera or _FREE):
                self._through.value = camera or _FREE
            self.show(self._moment)
        for client in self._server.get_clients().values():
            self._aim(client)

    def _said(self) -> str:
        people = [
            {
                "name": actor.track.person,
                "colour": person_hex(actor.number),
                "words": words_at(actor, self._moment, len(self.clip.cameras)),
            }
            for actor in self._scene.actors
        ]
        when = f"{self._moment / self.clip.index.fps:.2f} s, moment {self._moment}"
        return fill_page("clip_people.html", when=when, people=people)

    # ---- controls ---------------------------------------------------------------------------------------------------

    def _add_controls(self) -> None:
        gui = self._server.gui
        with gui.add_folder("Time"):
            most = max(self._last, self._first + 1)
            self._slider = gui.add_slider("moment", self._first, most, 1, self._first)
            self._play = gui.add_checkbox("play", False)
            self._speed = gui.add_slider("speed", 0.1, 2.0, 0.1, 1.0)
            self._words = gui.add_html("")
        with gui.add_folder("Look"):
            cameras = tuple(self._scene.frusta)
            self._through = gui.add_dropdown("through", (_FREE, *cameras)) if cameras else None
            again = gui.add_button("view from the start")
            self._opacity = gui.add_slider("opacity", 0.0, 1.0, 0.05, 1.0)
            known = any(len(actor.track.joint_covariance_root_relative) for actor in self._scene.actors)
            floor, feet = self._scene.has_floor, self._scene.has_feet
            self._switches = {
                "pictures": gui.add_checkbox("pictures of the cameras", True),
                "floor": gui.add_checkbox("floor", floor, disabled=not floor, hint=FLOOR_HINT),
                "feet": gui.add_checkbox("feet that touch", feet, disabled=not feet, hint=FEET_HINT),
                "uncertainty": gui.add_checkbox("how sure", False, disabled=not known, hint=SURE_HINT),
            }
        with gui.add_folder("People"):
            actors = self._scene.actors[:_MOST_SWITCHES]
            self._people = [gui.add_checkbox(f"person {actor.track.person}", True) for actor in actors]
        self._slider.on_update(lambda _: self._slid())
        for switch in (*self._people, *self._switches.values(), self._opacity):
            switch.on_update(lambda _: self.show(self._moment))
        again.on_click(lambda event: self._aim(event.client))
        if self._through is not None:
            self._through.on_update(lambda _: self._chosen())

    def _shown_people(self) -> set[str]:
        """Numbers of those whose checkbox is set, and of those who have none."""
        hidden = {a.track.person for a, box in zip(self._scene.actors, self._people, strict=False) if not box.value}
        return {actor.track.person for actor in self._scene.actors} - hidden

    def _chosen(self) -> None:
        camera = None if self._through.value == _FREE else self._through.value
        if camera != self._scene.through:
            self.look_through(camera)

    def _slid(self) -> None:
        if self._slider.value != self._moment:
            self.show(self._slider.value)

    def _run(self) -> None:
        """Plays in the clip's own time: moments that cannot be shown in time are left out. Where all cameras' pictures
        take too long for that, they stand still until it stops."""
        began, start, fast = None, self._first, True
        while self._open:
            if not self._play.value:
                if began is not None and not fast:
                    self.show(self._moment)
                began, fast = None, True
                time.sleep(0.05)
                continue
            now = time.monotonic()
            if began is None or self._moment >= self._last:
                began, start = now, self._first if self._moment >= self._last else self._moment
                wanted = start
            else:
                wanted = start + int((now - began) * self.clip.index.fps * self._speed.value)
            if wanted > self._moment or began == now:
                self.show(wanted, new_pictures=fast)
                fast = fast and time.monotonic() - now < _SLOWEST_S
            time.sleep(0.005)

    # ---- view direction ---------------------------------------------------------------------------------------------

    def _welcome(self, client) -> None:
        """Sets the camera of a new browser, and again whenever its window changes shape while it looks through one."""
        follow_window(client, self._aim, lambda: self._scene.through is not None)

    def _aim(self, client) -> None:
        """Through a camera, or at everybody: from where the first camera is, a little above and aside."""
        with self._lock:
            through = self._scene.through
            if through is not None:
                result, (turn, place) = self._scene.cameras[through], self._scene.pose(through)
                fov, up = field_of_view(result.image_size, result.focal_px, client.camera.aspect), -turn[:, 1]
                target = place + turn[:, 2] * max(1.0, float((self._middle() - place) @ turn[:, 2]))
            else:
                (target, reach), fov, up = self._room(), _FOV, self._up
                back = self._towards_camera(target)
                away = _unit(back + 0.5 * np.cross(self._up, back) + 0.3 * self._up)
                place = target + reach / np.tan(_FOV / 2) / min(1.0, client.camera.aspect) * away
        with client.atomic():
            client.camera.up_direction = up
            client.camera.position = place
            client.camera.look_at = target
            client.camera.fov = float(fov)

    def _room(self) -> tuple[Float[np.ndarray, " 3"], float]:
        """The middle of where people are over the clip, and how far they are from it."""
        places = self._scene.places()
        middle = (places.min(axis=0) + places.max(axis=0)) / 2
        return middle, float(np.linalg.norm(places - middle, axis=1).max()) + _AROUND_M

    def _middle(self) -> Float[np.ndarray, " 3"]:
        return self._room()[0]

    def _towards_camera(self, middle: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
        """A horizontal direction, from people to the first camera."""
        cameras = tuple(self._scene.frusta)
        away = (self._scene.pose(cameras[0])[1] if cameras else np.zeros(3)) - middle
        away = away - (away @ self._up) * self._up
        return _unit(away) if np.linalg.norm(away) > 1e-6 else np.roll(self._up, 1)


def words_at(actor: Actor, moment: int, cameras: int) -> str:
    """What is to be said about a person at a moment: status, cameras, feet, the least sure joint."""
    row = actor.row(moment)
    if row is None:
        return "not there"
    track, touching = actor.track, actor.touching(moment)
    words = [track.status[row]]
    if cameras > 1:
        words.append(f"{track.views[row]} cameras" if track.views[row] != 1 else "1 camera")
    if touching is not None:
        words.append(f"{' and '.join(touching) or 'no'} {'feet' if len(touching) > 1 else 'foot'} on the ground")
    least = _least_sure(track, row)
    return ", ".join([*words, f"least sure {least}"] if least else words)


def _least_sure(track: Track, row: int) -> str:
    """The named part whose place relative to the pelvis is least sure, with its standard deviation."""
    if not len(track.joint_covariance_root_relative):
        return ""
    covariances = track.joint_covariance_root_relative[row].astype(float)
    largest = {}
    for part, (joint, _) in PARTS.items():
        covariance = covariances[JOINT_NAMES.index(joint)]
        if np.isfinite(covariance).all():
            largest[part] = float(np.linalg.eigvalsh(covariance)[-1])
    if not largest:
        return ""
    part = max(largest, key=lambda name: largest[name])
    return f"{part} +- {centimetres(np.sqrt(max(largest[part], 0.0)))}"


def _unit(vector: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    return vector / np.linalg.norm(vector)
