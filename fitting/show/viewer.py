"""The results of a run in the browser: one photo at a time with its people in 3D.

viser serves the page. Files are read when they are shown, so a folder of 10 000 people opens as fast as one of ten.
"""

import logging
import threading

import numpy as np
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.modes import BEST, mode_labels
from bodyfit.fitting.draw.colours import person_hex, status_hex
from bodyfit.fitting.draw.layers import Mesh
from bodyfit.fitting.show.page_server import Page, add_lights, field_of_view
from bodyfit.fitting.show.pages import fill_page
from bodyfit.fitting.show.photo_scene import PhotoScene, ShownPerson
from bodyfit.fitting.show.results_folder import ORDERS, PersonEntry, ResultsFolder
from bodyfit.fitting.show.scene_parts import FEET_HINT, FLOOR_HINT, SURE_HINT, follow_window

logger = logging.getLogger(__name__)

_VIEWS = ("camera", "three-quarter", "side", "top")
_STEPS = {"Previous": -1, "Next": 1}
_ALL = "all"
_MODE_HINT = (
    "Poses that explain the keypoints about as well, with their weights; skeleton and fitted points are the best's"
)
_OTHERS_HINT = "All other modes at once, pale, over the one that is shown"


class ResultsViewer(Page):
    """A page over a results folder."""

    def __init__(self, results: ResultsFolder, *, host: str = "127.0.0.1", port: int = 8080):
        self.results = results
        self._people = results.people
        self._index = self._wanted = 0
        self._photos = results.by_photo()
        self._bodies_at_hand = threading.Event()
        super().__init__(host, port)
        self._server.scene.set_up_direction("-y")
        add_lights(self._server, np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
        self._modes: list[Mesh] = []
        self._scene = PhotoScene(self._server.scene, self._pick)
        self._add_controls()
        self._server.on_client_connect(self._welcome)
        self.show(0)
        # Body models need torch, which takes seconds to import: it is imported while the first page is shown.
        self._fetching = threading.Thread(target=self._fetch_bodies, daemon=True)
        self._fetching.start()

    def show(self, index: int) -> None:
        """Shows the `index`-th of the filtered people."""
        with self._lock, self._server.atomic():
            if not self._people:
                self._scene.clear()
                self._count.value = "nobody"
                self._figures.content = "<p>Nobody matches.</p>"
                return
            self._index = self._wanted = index % len(self._people)
            person = self._people[self._index]
            self._count.value = f"{self._index + 1} of {len(self._people)}"
            people, before = self._scene.people, self._scene.selected
            if before is None or before.person.image != person.image:
                people = [self._load(other) for other in self._photos[person.image]]
            selected = next(shown for shown in people if shown.person is person)
            self._scene.show(people, selected, at_camera=self._view == "camera")
            self._show_figures()
            self._look_from(self._view)

    def step(self, by: int) -> None:
        """Moves by so many people. Of clicks that are faster than people can be shown, only the last counts."""
        self._wanted += by
        with self._lock:
            if self._wanted != self._index:
                self.show(self._wanted)

    def _pick(self, person: PersonEntry) -> None:
        """Selects a person whose body was clicked; nobody where the filter leaves the person out."""
        with self._lock:
            index = next((n for n, other in enumerate(self._people) if other is person), None)
            if index is not None and index != self._index:
                self.show(index)

    def _fetch_bodies(self) -> None:
        try:
            import bodyfit.data.body.body_model  # noqa: F401
        finally:
            with self._lock:
                self._bodies_at_hand.set()
                if self._open:
                    self._show_figures()
                    self._restyle()

    def _show_figures(self) -> None:
        """Shows the figures and the modes of the selected person, once the body model is loaded."""
        selected = self._scene.selected
        if selected is None:
            return
        person, result = selected.person, selected.result
        at_hand = result is not None and self._bodies_at_hand.is_set()
        rows = person.figures(result, person.body_of(result) if at_hand else None) | self._words_on_cameras()
        self._figures.content = _table(person, rows)
        others = person.other_meshes(result) if at_hand and selected.mesh is not None else []
        self._modes = [selected.seen_by(selected), *others] if others else []
        self._mode.options = mode_labels(result)[: len(self._modes)] if others else (BEST,)
        self._mode.value = self._mode.options[0]
        self._mode.disabled = self._switches["runner_up"].disabled = not others
        self._show_mode()

    def _show_mode(self) -> None:
        """Draws the mode that is chosen."""
        with self._lock, self._server.atomic():
            if self._modes:
                self._scene.show_modes(self._modes, self._mode.options.index(self._mode.value))
            self._restyle()

    # ---- controls ---------------------------------------------------------------------------------------------------

    def _add_controls(self) -> None:
        gui = self._server.gui
        with gui.add_folder("Person"):
            self._count = gui.add_text("shown", "", disabled=True)
            steps = gui.add_button_group("go to", tuple(_STEPS))
            self._mode = gui.add_dropdown("mode", (BEST,), hint=_MODE_HINT, disabled=True)
            self._figures = gui.add_html("")
        with gui.add_folder("Look"):
            views = gui.add_button_group("from", _VIEWS)
            self._opacity = gui.add_slider("opacity", 0.0, 1.0, 0.05, 1.0)
            self._switches = {
                "others": gui.add_checkbox("everybody in the photo", True),
                "runner_up": gui.add_checkbox("other modes", False, hint=_OTHERS_HINT),
                "photo": gui.add_checkbox("photo", True),
                "keypoints": gui.add_checkbox("keypoints detected, and residuals", False),
                "fitted": gui.add_checkbox("keypoints of the fitted body", False),
                "skeleton": gui.add_checkbox("skeleton", False),
                "uncertainty": gui.add_checkbox("how sure", False, hint=SURE_HINT),
                "floor": gui.add_checkbox("floor", True, hint=FLOOR_HINT),
                "feet": gui.add_checkbox("feet that touch", True, hint=FEET_HINT),
            }
        with gui.add_folder("Choose"):
            self._status = gui.add_dropdown("status", (_ALL, *self.results.statuses()))
            self._order = gui.add_dropdown("order", ORDERS, initial_value="photo")
            self._least = gui.add_number("error at least, %", 0.0, min=0.0, step=0.5)
            self._words = gui.add_text("photo or reason", "")
        self._view = _VIEWS[0]
        steps.on_click(lambda event: self.step(_STEPS[event.target.value]))
        views.on_click(lambda event: self._look_from(event.target.value))
        self._mode.on_update(lambda _: self._show_mode())
        self._opacity.on_update(lambda _: self._restyle())
        for switch in self._switches.values():
            switch.on_update(lambda _: self._restyle())
        for control in (self._status, self._order, self._least, self._words):
            control.on_update(lambda _: self._filter())

    def _filter(self) -> None:
        words, least = self._words.value.lower(), self._least.value / 100
        with self._lock:
            self._people = tuple(
                person
                for person in self.results.sorted(self._order.value)
                if self._status.value in (_ALL, person.status)
                and (least == 0 or person.error_share is None or person.error_share >= least)
                and words in f"{person.name} {person.reason}".lower()
            )
            self.show(0)

    def _look_from(self, view: str) -> None:
        with self._lock, self._server.atomic():
            if (view == "camera") != (self._view == "camera"):
                self._scene.draw_points(at_camera=view == "camera")
            self._view = view
            self._restyle()
        for client in self._server.get_clients().values():
            self._aim(client)

    def _restyle(self) -> None:
        with self._lock:
            switches = {name: switch.value for name, switch in self._switches.items()}
            self._scene.restyle(switches, self._opacity.value, self._view)

    def _words_on_cameras(self) -> dict[str, str]:
        """A note where other people of the photo are drawn with a camera that is not their own."""
        focals = [shown.result.focal_px for shown in self._scene.people if shown.result is not None]
        if not focals or max(focals) / min(focals) < 1.001:
            return {}
        others = f"have cameras of {min(focals):.0f} to {max(focals):.0f} px; drawn as this person's camera sees them"
        return {"others": others}

    def _load(self, person: PersonEntry) -> ShownPerson:
        try:
            mesh = person.mesh()
        except BodyfitError as error:
            logger.warning("viewer: %s", error)
            mesh = None
        if mesh is not None and not np.isfinite(mesh[0]).all():
            mesh = None
        return ShownPerson(person, mesh, person.result())

    # ---- view direction ---------------------------------------------------------------------------------------------

    def _welcome(self, client) -> None:
        """Sets the camera of a new browser, and again whenever its window changes shape."""
        follow_window(client, self._aim, lambda: self._view == "camera")

    def _aim(self, client) -> None:
        """Sets the camera of a browser to the chosen view."""
        with self._lock:
            if self._scene.selected is None:
                return
            middle, view, result = self._scene.middle(), self._view, self._scene.selected.result
        fov, position, target, up = np.radians(35.0), None, middle, np.array([0.0, -1.0, 0.0])
        if view == "camera" and result is not None:
            fov = field_of_view(result.image_size, result.focal_px, client.camera.aspect)
            position, target = np.zeros(3), np.array([0.0, 0.0, middle[2]])
        else:
            yaw, elevation = {"side": (90.0, 0.0), "top": (0.0, 89.0)}.get(view, (35.0, 15.0))
            position = middle + self._scene.reach() * _direction(np.radians(yaw), np.radians(elevation))
        with client.atomic():
            client.camera.up_direction = up
            client.camera.position = position
            client.camera.look_at = target
            client.camera.fov = float(fov)


def _table(person: PersonEntry, rows: dict[str, str]) -> str:
    status = person.status.replace("_", " ")
    mine = person_hex(person.number)
    return fill_page("figures.html", status=status, colour=status_hex(person.status), person_colour=mine, rows=rows)


def _direction(yaw: float, elevation: float) -> Float[np.ndarray, "3"]:
    """Unit vector from the body to the viewer, in the camera frame: yaw 0 is towards the camera, 90 degrees to its
    right."""
    return np.array([np.sin(yaw) * np.cos(elevation), -np.sin(elevation), -np.cos(yaw) * np.cos(elevation)])
