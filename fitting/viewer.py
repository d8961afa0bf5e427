"""The results of a run in the browser: the photo with its people in three dimensions, one photo after another.

viser serves the page and carries what changes; nothing of a folder is read before it is shown, so a folder of 10 000
people opens as fast as one of ten. The world is the camera's own frame (OpenCV), the photo hung up behind its people.
"""

import logging
import threading
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import LANDMARK_NAMES, SKELETON
from bodyfit.data.result import FitResult
from bodyfit.fitting.colours import PANEL, VERMILION, person_hex, rgb8, side_hex, status_hex
from bodyfit.fitting.gallery import ORDERS, Gallery, GalleryPerson
from bodyfit.fitting.layers import Mesh
from bodyfit.fitting.page_server import add_lights, start_server, stop_server
from bodyfit.fitting.portraits import photo_of
from bodyfit.fitting.render import as_seen_by

logger = logging.getLogger(__name__)

_LARGEST_PHOTO = 1600  # pixels along the longer side; more only slows the browser down
_VIEWS = ("camera", "three-quarter", "side", "top")
_ALL = "all"
_MATT = {"side": "double", "cast_shadow": False}
_OTHER_READING = "The body of the next best start that led elsewhere, where the run kept one: pale, over the best one"


@dataclass
class _Shown:
    """One person of the photo on show."""

    person: GalleryPerson
    mesh: Mesh | None
    result: FitResult | None

    def seen_by(self, other: "_Shown") -> Mesh | None:
        """The mesh where the camera of `other` sees it at the place that its own camera does."""
        if self.mesh is None or self.result is None or other.result is None:
            return self.mesh
        cameras = [(result.focal_px, result.center_px) for result in (self.result, other.result)]
        return as_seen_by(self.mesh[0], *cameras), self.mesh[1]


class ResultsViewer:
    """A page over a results folder. `url` says where; `close` ends it."""

    def __init__(self, gallery: Gallery, *, host: str = "127.0.0.1", port: int = 8080):
        self.gallery = gallery
        self._people = gallery.people
        self._index = 0
        self._shown: list[_Shown] = []
        self._nodes: dict[str, list] = {}
        self._photos = gallery.by_photo()
        self._lock = threading.RLock()  # the browser's events come on threads of their own
        self._server = start_server(host, port)
        self._server.scene.set_up_direction("-y")
        add_lights(self._server, np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
        self._add_controls()
        self._server.on_client_connect(self._welcome)
        self.show(0)

    @property
    def url(self) -> str:
        return f"http://{self._server.get_host()}:{self._server.get_port()}"

    def wait(self) -> None:
        """Serves until it is interrupted."""
        self._server.sleep_forever()

    def close(self) -> None:
        stop_server(self._server)

    def show(self, index: int) -> None:
        """Shows the `index`-th of the people that the filter lets through."""
        with self._lock, self._server.atomic():
            self._clear()
            if not self._people:
                self._count.value = "nobody"
                self._figures.content = "<p>Nobody is like that.</p>"
                return
            self._index = index % len(self._people)
            person = self._people[self._index]
            self._count.value = f"{self._index + 1} of {len(self._people)}"
            self._shown = [self._load(other) for other in self._photos[person.image]]
            self._draw()
            self._figures.content = self._figures_of(person)
        for client in self._server.get_clients().values():
            self._aim(client)

    # ---- controls ---------------------------------------------------------------------------------------------------

    def _add_controls(self) -> None:
        gui = self._server.gui
        with gui.add_folder("Person"):
            self._count = gui.add_text("shown", "", disabled=True)
            previous, following = gui.add_button("Previous"), gui.add_button("Next")
            self._figures = gui.add_html("")
        with gui.add_folder("Look"):
            views = gui.add_button_group("from", _VIEWS)
            self._opacity = gui.add_slider("opacity", 0.0, 1.0, 0.05, 0.85)
            self._switches = {
                "others": gui.add_checkbox("everybody in the photo", True),
                "runner_up": gui.add_checkbox("other reading", False, hint=_OTHER_READING),
                "photo": gui.add_checkbox("photo", True),
                "keypoints": gui.add_checkbox("keypoints detected, and residuals", False),
                "fitted": gui.add_checkbox("keypoints of the fitted body", False),
                "skeleton": gui.add_checkbox("skeleton", False),
            }
        with gui.add_folder("Choose"):
            self._status = gui.add_dropdown("status", (_ALL, *self.gallery.statuses()))
            self._order = gui.add_dropdown("order", ORDERS, initial_value="photo")
            self._least = gui.add_number("error at least, %", 0.0, min=0.0, step=0.5)
            self._words = gui.add_text("photo or reason", "")
        self._view = _VIEWS[0]
        previous.on_click(lambda _: self.show(self._index - 1))
        following.on_click(lambda _: self.show(self._index + 1))
        views.on_click(lambda event: self._look_from(event.target.value))
        self._opacity.on_update(lambda _: self._redraw())
        for switch in self._switches.values():
            switch.on_update(lambda _: self._redraw())
        for control in (self._status, self._order, self._least, self._words):
            control.on_update(lambda _: self._filter())

    def _filter(self) -> None:
        words, least = self._words.value.lower(), self._least.value / 100
        with self._lock:
            self._people = tuple(
                person
                for person in self.gallery.sorted(self._order.value)
                if self._status.value in (_ALL, person.status)
                and (least == 0 or person.error_share is None or person.error_share >= least)
                and words in f"{person.name} {person.reason}".lower()
            )
            self.show(0)

    def _look_from(self, view: str) -> None:
        self._view = view
        self._redraw()
        for client in self._server.get_clients().values():
            self._aim(client)

    def _figures_of(self, person: GalleryPerson) -> str:
        shown = next(s for s in self._shown if s.person is person)
        rows = person.figures(shown.result) | self._words_on_cameras(shown)
        cells = "".join(f"<tr><td>{escape(a)}</td><td><b>{escape(b)}</b></td></tr>" for a, b in rows.items())
        dot = f"<span style='color:{status_hex(person.status)}'>●</span>"
        status = f"<p>{dot} <b>{escape(person.status.replace('_', ' '))}</b></p>"
        return (
            f"<div style='padding:0 1em;font-size:0.85em;overflow-wrap:anywhere'>{status}<table>{cells}</table></div>"
        )

    def _words_on_cameras(self, selected: _Shown) -> dict[str, str]:
        """Says so where others of the photo are drawn through a camera that is not their own."""
        results = [shown.result for shown in self._shown if shown.result is not None]
        if selected.result is None or len(results) < 2:
            return {}
        focals = [result.focal_px for result in results]
        if max(focals) / min(focals) < 1.001:
            return {}
        others = f"have cameras of {min(focals):.0f} to {max(focals):.0f} px; shown as this person's camera sees them"
        return {"others": others}

    # ---- the scene --------------------------------------------------------------------------------------------------

    def _load(self, person: GalleryPerson) -> _Shown:
        try:
            mesh = person.mesh()
        except BodyfitError as error:
            logger.warning("viewer: %s", error)
            mesh = None
        if mesh is not None and not np.isfinite(mesh[0]).all():
            mesh = None
        return _Shown(person, mesh, person.result())

    def _clear(self) -> None:
        for nodes in self._nodes.values():
            for node in nodes:
                node.remove()
        self._nodes, self._shown = {}, []

    def _draw(self) -> None:
        """Adds everything of the photo; `_redraw` then says what of it is seen."""
        scene, selected = self._server.scene, self._selected()
        for shown in self._shown:
            if shown.mesh is None:
                continue
            name = f"/people/{shown.person.number}"
            colour = rgb8(person_hex(shown.person.number))
            body = scene.add_mesh_simple(name, *shown.seen_by(selected), color=colour, **_MATT)
            self._nodes.setdefault("bodies", []).append(body)
        other = None if selected.result is None else selected.person.runner_up_mesh(selected.result)
        if other is not None and np.isfinite(other[0]).all():
            ghost = scene.add_mesh_simple("/other_reading", *other, color=rgb8(PANEL), opacity=0.75, **_MATT)
            self._nodes["runner_up"] = [ghost]
        self._switches["runner_up"].disabled = "runner_up" not in self._nodes
        if any_result := selected.result or next((s.result for s in self._shown if s.result), None):
            self._draw_photo(selected.person, any_result)
        if selected.result is not None:
            self._draw_points(selected.result)
        self._redraw()

    def _selected(self) -> _Shown:
        person = self._people[self._index]
        return next(shown for shown in self._shown if shown.person is person)

    def _depths(self) -> tuple[float, float]:
        """How near and how far the bodies reach, in metres in front of the camera."""
        depth = [shown.mesh[0][:, 2] for shown in self._shown if shown.mesh is not None]  # the same in every camera
        if not depth:
            return 2.0, 4.0
        low, high = min(d.min() for d in depth), max(d.max() for d in depth)
        return max(low, 0.1), max(high, 0.2)

    def _draw_photo(self, person: GalleryPerson, result: FitResult) -> None:
        photo = shrunk(photo_of(person, result))
        (width, height), focal = result.image_size, result.focal_px
        far = 1.06 * self._depths()[1]
        middle = (np.array([width - 1, height - 1]) / 2 - result.center_px) * far / focal
        metres = np.array([width, height]) * far / focal
        self._nodes["photo"] = [
            self._server.scene.add_image(
                "/photo", photo, *metres, position=(*middle, far), cast_shadow=False, receive_shadow=False
            )
        ]
        self._nodes["camera"] = [
            self._server.scene.add_camera_frustum(
                "/camera", fov=2 * np.arctan(height / 2 / focal), aspect=width / height, scale=0.15, thickness=0.004
            )
        ]

    def _draw_points(self, result: FitResult) -> None:
        """Keypoints on a pane of glass before the bodies, so that the camera sees them where the photo has them."""
        scene = self._server.scene
        near = 0.97 * self._depths()[0]
        seen = (result.keypoint_confidence > 0) & np.isfinite(result.landmarks_px).all(axis=1)

        def on_glass(points_px: np.ndarray) -> np.ndarray:
            rays = (points_px - result.center_px) / result.focal_px
            return near * np.concatenate([rays, np.ones((len(rays), 1))], axis=1)

        detected, fitted = on_glass(result.keypoints_px), on_glass(result.landmarks_px)
        sides = np.array([rgb8(side_hex(name)) for name in LANDMARK_NAMES])
        size = 0.002 * near * max(result.image_size) / result.focal_px
        dots = {"point_shape": "circle", "point_shading": "flat", "precision": "float32"}
        self._nodes["keypoints"] = [
            scene.add_point_cloud("/keypoints/detected", detected[seen], sides[seen], point_size=2 * size, **dots),
            scene.add_line_segments(
                "/keypoints/residuals",
                np.stack([detected[seen], fitted[seen]], axis=1),
                rgb8(VERMILION),
                thickness=0.7 * size,
            ),
        ]
        self._nodes["fitted"] = [
            scene.add_point_cloud("/keypoints/fitted", fitted[seen], (20, 20, 20), point_size=size, **dots)
        ]
        bones = result.landmarks[np.array(SKELETON)]
        whole = np.isfinite(bones).all(axis=(1, 2))
        # A bone takes its side from the end that has one.
        ends = np.array([b if LANDMARK_NAMES[b].startswith(("left_", "right_")) else a for a, b in SKELETON])
        colours = np.repeat(sides[ends[whole], None], 2, axis=1)
        self._nodes["skeleton"] = [scene.add_line_segments("/skeleton", bones[whole], colours, thickness=0.012)]

    def _redraw(self) -> None:
        with self._lock:
            if not self._shown:
                return
            switches = {name: switch.value for name, switch in self._switches.items()}
            selected = f"/people/{self._selected().person.number}"
            opacity = min(self._opacity.value, 0.45) if switches["skeleton"] else self._opacity.value
            for body in self._nodes.get("bodies", []):
                body.visible = opacity > 0 and (switches["others"] or body.name == selected)
                body.opacity = None if opacity >= 1 else opacity
            for name in ("photo", "keypoints", "fitted", "skeleton", "runner_up"):
                for node in self._nodes.get(name, []):
                    node.visible = switches[name]
            for node in self._nodes.get("camera", []):
                node.visible = self._view != "camera"  # its edges would frame the photo

    # ---- the eye ----------------------------------------------------------------------------------------------------

    def _welcome(self, client) -> None:
        """Aims a new browser's eye, and again whenever its window changes shape."""
        self._aim(client)
        aspect = client.camera.aspect

        @client.camera.on_update
        def _(camera) -> None:
            nonlocal aspect
            if abs(camera.aspect - aspect) > 1e-3:
                aspect = camera.aspect
                if self._view == "camera":
                    self._aim(client)

    def _aim(self, client) -> None:
        """Puts a browser's eye where the chosen view is from."""
        with self._lock:
            if not self._shown:
                return
            selected = self._selected()
            if selected.mesh is not None:
                middle = (selected.mesh[0].min(axis=0) + selected.mesh[0].max(axis=0)) / 2
            else:
                middle = np.array([0.0, 0.0, np.mean(self._depths())])
            view, result = self._view, selected.result
        fov, position, target, up = np.radians(35.0), None, middle, np.array([0.0, -1.0, 0.0])
        if view == "camera" and result is not None:
            fov = field_of_view(result.image_size, result.focal_px, client.camera.aspect)
            position, target = np.zeros(3), np.array([0.0, 0.0, middle[2]])
        else:
            yaw, elevation = {"side": (90.0, 0.0), "top": (0.0, 89.0)}.get(view, (35.0, 15.0))
            position = middle + 3.6 * _direction(np.radians(yaw), np.radians(elevation))
        with client.atomic():
            client.camera.up_direction = up
            client.camera.position = position
            client.camera.look_at = target
            client.camera.fov = float(fov)


def field_of_view(image_size: tuple[int, int], focal_px: float, aspect: float) -> float:
    """Vertical field of view, radians, at which a window (width / height = `aspect`) holds all of a photo."""
    width, height = image_size
    return 2 * np.arctan(max(height, width / max(aspect, 1e-3)) / 2 / focal_px)


def shrunk(photo: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """A photo no larger than a browser needs."""
    scale = _LARGEST_PHOTO / max(photo.shape[:2])
    return photo if scale >= 1 else cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _direction(yaw: float, elevation: float) -> Float[np.ndarray, "3"]:
    """Unit vector from a body to an eye, in the camera's frame: yaw 0 is where the camera is, 90 degrees its right."""
    return np.array([np.sin(yaw) * np.cos(elevation), -np.sin(elevation), -np.cos(yaw) * np.cos(elevation)])
