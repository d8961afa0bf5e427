"""The scene of one photo in the results viewer: its people in front of the photo, and their keypoints.

The world frame is the camera frame (OpenCV) of the selected person.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from bodyfit.data.landmarks import LANDMARK_INDEX, LANDMARK_NAMES, SKELETON
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.draw.colours import PANEL, VERMILION, person_hex, rgb8, side_hex
from bodyfit.fitting.draw.layers import Mesh
from bodyfit.fitting.draw.render import as_seen_by
from bodyfit.fitting.show.portraits import photo_of
from bodyfit.fitting.show.results_folder import PersonEntry
from bodyfit.fitting.show.scene_parts import (
    PLANE_OPACITY,
    SEE_THROUGH,
    SHOWN_JOINTS,
    Floor,
    draw_ellipsoids,
    draw_feet,
    draw_floor,
    soles,
)

LARGEST_PHOTO_PX = 1600  # pixels along the longer side, to keep the browser fast
# Back faces of a closed body are never visible, and would double the work of a browser without a GPU.
_BODY = {"side": "front", "cast_shadow": False}
_DOTS = {"point_shape": "circle", "point_shading": "flat", "precision": "float32"}
_FAR_M, _TIMES_ITS_SIZE = 3.6, 2.2  # from where a person is looked at: at most, and in diagonals of the body
_POINTS = ("keypoints", "fitted", "skeleton", "uncertainty")
_OF_SELECTED = (*_POINTS, "runner_up", "floor", "feet")  # what is drawn anew for each selected person


@dataclass(frozen=True)
class ShownPerson:
    """One person of the photo that is shown."""

    person: PersonEntry
    mesh: Mesh | None
    result: FitResult | None

    def seen_by(self, other: "ShownPerson") -> Mesh | None:
        """The mesh, moved so that the camera of `other` sees it where its own camera does."""
        if self.mesh is None or self.result is None or other.result is None:
            return self.mesh
        cameras = [(result.focal_px, result.center_px) for result in (self.result, other.result)]
        return as_seen_by(self.mesh[0], *cameras), self.mesh[1]


class PhotoScene:
    """The nodes of one photo in a viser scene. `show` creates them, `restyle` sets their visibility."""

    def __init__(self, scene, on_pick: Callable[[PersonEntry], None] = lambda person: None):
        """`on_pick` is told of people whose bodies are clicked."""
        self._scene, self._on_pick = scene, on_pick
        self.nodes: dict[str, list] = {}
        self.people: Sequence[ShownPerson] = ()
        self.selected: ShownPerson | None = None
        self._chosen = 0  # the mode of the selected person that is drawn as the body

    def clear(self) -> None:
        self._remove(*self.nodes)
        self.people, self.selected = (), None

    def show(self, people: Sequence[ShownPerson], selected: ShownPerson, *, at_camera: bool = True) -> None:
        """Draws a photo and its people as the camera of the selected person sees them; reuses existing nodes."""
        same_photo = people is self.people
        if same_photo and len(set(map(_camera_of, people))) == 1:
            self._remove(*_OF_SELECTED)
            if self._chosen:
                self._draw_body(self.selected)  # in the best mode again
            self.selected = selected
        else:
            self.clear()
            self.people, self.selected = people, selected
            self._draw_bodies()
            with_result = [selected, *people]
            if shown := next((one for one in with_result if one.result is not None), None):
                self._draw_photo(shown.person, shown.result)
        self._chosen = 0
        self.draw_points(at_camera=at_camera)
        self._draw_ground()

    def show_modes(self, meshes: Sequence[Mesh], chosen: int) -> None:
        """Draws the chosen one of the selected person's modes as the body, and the others pale, all at once."""
        self._remove("runner_up")
        if self.selected is None or not meshes:
            return
        if chosen != self._chosen:
            self._draw_body(self.selected, meshes[chosen])
            self._chosen = chosen
        ghosts = [
            self._scene.add_mesh_simple(f"/alternative/{n}", *mesh, color=rgb8(PANEL), opacity=0.75, **_BODY)
            for n, mesh in enumerate(meshes)
            if n != chosen and np.isfinite(mesh[0]).all()
        ]
        if ghosts:
            self.nodes["runner_up"] = ghosts

    def restyle(self, switches: Mapping[str, bool], opacity: float, view: str) -> None:
        """Sets visibility: `switches` by the names of the nodes, and `others` for everybody but the selected person."""
        if self.selected is None:
            return
        mine = _name(self.selected)
        if switches["skeleton"] or switches["uncertainty"]:
            opacity = min(opacity, SEE_THROUGH)
        for body in self.nodes.get("bodies", []):
            body.visible = opacity > 0 and (switches["others"] or body.name == mine)
            body.opacity = None if opacity >= 1 else opacity
        for name in ("photo", *_OF_SELECTED):
            for node in self.nodes.get(name, []):
                node.visible = switches[name]
        for node in self.nodes.get("floor", []):  # at the camera, lines alone hide less of the photo
            node.plane_opacity = 0.0 if view == "camera" else PLANE_OPACITY
        for node in self.nodes.get("camera", []):
            node.visible = view != "camera"  # its edges would frame the photo

    def depths(self) -> tuple[float, float]:
        """The smallest and largest depth of the bodies, metres."""
        return _depths(self.people) or (2.0, 4.0)

    def middle(self) -> Float[np.ndarray, "3"]:
        """The centre of the selected person."""
        if self.selected is None or self.selected.mesh is None:
            return np.array([0.0, 0.0, np.mean(self.depths())])
        vertices = self.selected.mesh[0]
        return (vertices.min(axis=0) + vertices.max(axis=0)) / 2

    def reach(self) -> float:
        """How far away one sees the whole of the selected person, metres: nearer for a small child."""
        if self.selected is None or self.selected.mesh is None:
            return _FAR_M
        return float(np.clip(_TIMES_ITS_SIZE * np.linalg.norm(np.ptp(self.selected.mesh[0], axis=0)), 1.0, _FAR_M))

    def _draw_uncertainty(self, result: FitResult) -> None:
        """Ellipsoids of one standard deviation about the body's joints, relative to the pelvis, coloured by size."""
        if not result.joint_covariance_root_relative.size:
            return
        joints, covariances = result.landmarks, result.joint_covariance_root_relative
        balls = draw_ellipsoids(self._scene, "/uncertainty", joints[:SHOWN_JOINTS], covariances[:SHOWN_JOINTS])
        self.nodes["uncertainty"] = [] if balls is None else [balls]

    def _draw_ground(self) -> None:
        """The floor of the selected person below all who share it, with the feet that touch it."""
        selected = self.selected
        floor = None if selected is None or selected.result is None else Floor.of(selected.result.floor)
        if floor is None:
            return
        results = [shown.result for shown in self.people if shown.result is not None]
        mine = [one for one in results if np.array_equal(one.floor, selected.result.floor)]
        self.nodes["floor"] = [draw_floor(self._scene, "/floor", floor, np.stack([one.landmarks[0] for one in mine]))]
        self.nodes["feet"] = []
        for one in mine:
            touching = [side for side in ("left", "right") if f"{side} foot" in one.touching]
            feet = soles(one.landmarks, LANDMARK_INDEX, touching)
            self.nodes["feet"] += draw_feet(self._scene, f"/feet/{one.person_id}", floor, feet)

    def draw_points(self, *, at_camera: bool) -> None:
        """The keypoints of the selected person on a plane in front of the bodies, and the skeleton.

        The camera sees the points of the plane where the photo has them. Seen from the camera, the plane is in front of
        everybody; from other directions, in front of the selected person only.
        """
        self._remove(*_POINTS)
        selected = self.selected
        if selected is None or selected.result is None:
            return
        near, _ = (None if at_camera else _depths([selected])) or self.depths()
        result, near = selected.result, 0.97 * near
        seen = (result.keypoint_confidence > 0) & np.isfinite(result.landmarks_px).all(axis=1)

        def on_glass(points_px: np.ndarray) -> np.ndarray:
            rays = (points_px - result.center_px) / result.focal_px
            return near * np.concatenate([rays, np.ones((len(rays), 1))], axis=1)

        detected, fitted = on_glass(result.keypoints_px), on_glass(result.landmarks_px)
        person_px = np.ptp(result.keypoints_px[seen], axis=0).max() if seen.any() else 0.0
        size = min(0.002 * max(result.image_size), 0.006 * person_px) * near / result.focal_px
        self._draw_uncertainty(result)
        clouds, lines = self._scene.add_point_cloud, self._scene.add_line_segments
        self.nodes["keypoints"] = [
            clouds("/keypoints/detected", detected[seen], _SIDES[seen], point_size=2 * size, **_DOTS),
            lines(
                "/keypoints/residuals",
                np.stack([detected[seen], fitted[seen]], axis=1),
                rgb8(VERMILION),
                thickness=0.7 * size,
            ),
        ]
        self.nodes["fitted"] = [clouds("/keypoints/fitted", fitted[seen], (20, 20, 20), point_size=size, **_DOTS)]
        self._draw_skeleton(result)

    def _draw_skeleton(self, result: FitResult) -> None:
        bones = result.landmarks[np.array(SKELETON)]
        whole = np.isfinite(bones).all(axis=(1, 2))
        # The side of a bone is that of the end that has one.
        ends = np.array([b if LANDMARK_NAMES[b].startswith(("left_", "right_")) else a for a, b in SKELETON])
        colours = np.repeat(_SIDES[ends[whole], None], 2, axis=1)
        self.nodes["skeleton"] = [
            self._scene.add_line_segments("/skeleton", bones[whole], colours, thickness=0.012),
        ]

    def _draw_bodies(self) -> None:
        for shown in self.people:
            self._draw_body(shown)

    def _draw_body(self, shown: ShownPerson | None, mesh: Mesh | None = None) -> None:
        """The body of a person, in place of the one before; `mesh`: in another mode."""
        if shown is None or shown.mesh is None:
            return
        if mesh is None or not np.isfinite(mesh[0]).all():
            mesh = shown.seen_by(self.selected)
        name = _name(shown)
        node = self._scene.add_mesh_simple(name, *mesh, color=rgb8(person_hex(shown.person.number)), **_BODY)
        node.on_click(lambda _: self._on_pick(shown.person))
        bodies = self.nodes.setdefault("bodies", [])
        bodies[:] = [*(body for body in bodies if body.name != name), node]

    def _draw_photo(self, person: PersonEntry, result: FitResult) -> None:
        photo = shrunk(photo_of(person, result))
        (width, height), focal = result.image_size, result.focal_px
        far = 1.06 * self.depths()[1]
        middle = (np.array([width - 1, height - 1]) / 2 - result.center_px) * far / focal
        metres = np.array([width, height]) * far / focal
        self.nodes["photo"] = [
            self._scene.add_image(
                "/photo", photo, *metres, position=(*middle, far), cast_shadow=False, receive_shadow=False
            )
        ]
        self.nodes["camera"] = [
            self._scene.add_camera_frustum(
                "/camera", fov=2 * np.arctan(height / 2 / focal), aspect=width / height, scale=0.15, thickness=0.004
            )
        ]

    def _remove(self, *names: str) -> None:
        for name in names:
            for node in self.nodes.pop(name, []):
                node.remove()


_SIDES = np.array([rgb8(side_hex(name)) for name in LANDMARK_NAMES])


def shrunk(photo: UInt8[np.ndarray, "H W 3"], largest_px: int = LARGEST_PHOTO_PX) -> UInt8[np.ndarray, "H2 W2 3"]:
    """A photo no larger than a browser needs."""
    scale = largest_px / max(photo.shape[:2])
    if scale >= 1:
        return photo
    height, width = (max(1, round(scale * side)) for side in photo.shape[:2])
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BOX))


def _name(shown: ShownPerson) -> str:
    return f"/people/{shown.person.number}"


def _camera_of(shown: ShownPerson) -> tuple | None:
    return None if shown.result is None else (shown.result.focal_px, *shown.result.center_px)


def _depths(people: Sequence[ShownPerson]) -> tuple[float, float] | None:
    depth = [shown.mesh[0][:, 2] for shown in people if shown.mesh is not None]  # the same in every camera
    if not depth:
        return None
    low, high = min(d.min() for d in depth), max(d.max() for d in depth)
    return max(low, 0.1), max(high, 0.2)
