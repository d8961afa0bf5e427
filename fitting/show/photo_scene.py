"""The scene of one photo in the results viewer: its people in front of the photo, and their keypoints.

The world frame is the camera frame (OpenCV) of the selected person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float, UInt8
from PIL import Image

from bodyfit.data.landmarks import LANDMARK_NAMES, SKELETON
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.draw.colours import PANEL, VERMILION, person_hex, rgb8, side_hex
from bodyfit.fitting.draw.ellipsoids import ellipsoids
from bodyfit.fitting.draw.layers import Mesh
from bodyfit.fitting.draw.render import as_seen_by
from bodyfit.fitting.show.portraits import photo_of
from bodyfit.fitting.show.results_folder import PersonEntry

_LARGEST_PHOTO = 1600  # pixels along the longer side, to keep the browser fast
# Back faces of a closed body are never visible, and would double the work of a browser without a GPU.
_BODY = {"side": "front", "cast_shadow": False}
_DOTS = {"point_shape": "circle", "point_shading": "flat", "precision": "float32"}
_POINTS = ("keypoints", "fitted", "skeleton", "uncertainty")
SHOWN_JOINTS = 22  # whose uncertainty is drawn: the body's


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

    def __init__(self, scene):
        self._scene = scene
        self.nodes: dict[str, list] = {}
        self.people: Sequence[ShownPerson] = ()
        self.selected: ShownPerson | None = None

    def clear(self) -> None:
        self._remove(*self.nodes)
        self.people, self.selected = (), None

    def show(self, people: Sequence[ShownPerson], selected: ShownPerson, *, at_camera: bool = True) -> None:
        """Draws a photo and its people as the camera of the selected person sees them; reuses existing nodes."""
        same_photo = people is self.people
        if same_photo and len(set(map(_camera_of, people))) == 1:
            self._remove(*_POINTS, "runner_up")
            self.selected = selected
        else:
            self.clear()
            self.people, self.selected = people, selected
            self._draw_bodies()
            with_result = [selected, *people]
            if shown := next((one for one in with_result if one.result is not None), None):
                self._draw_photo(shown.person, shown.result)
        self.draw_points(at_camera=at_camera)

    def show_alternatives(self, meshes: Sequence[Mesh]) -> None:
        """Adds the selected person's alternative hypotheses, pale, all at once."""
        self._remove("runner_up")
        ghosts = [
            self._scene.add_mesh_simple(f"/alternative/{n}", *mesh, color=rgb8(PANEL), opacity=0.75, **_BODY)
            for n, mesh in enumerate(meshes)
            if np.isfinite(mesh[0]).all()
        ]
        if ghosts:
            self.nodes["runner_up"] = ghosts

    def restyle(self, switches: Mapping[str, bool], opacity: float, view: str) -> None:
        """Sets visibility: `switches` by the names of the nodes, and `others` for everybody but the selected person."""
        if self.selected is None:
            return
        mine = _name(self.selected)
        if switches["skeleton"] or switches["uncertainty"]:
            opacity = min(opacity, 0.6)
        for body in self.nodes.get("bodies", []):
            body.visible = opacity > 0 and (switches["others"] or body.name == mine)
            body.opacity = None if opacity >= 1 else opacity
        for name in ("photo", "runner_up", *_POINTS):
            for node in self.nodes.get(name, []):
                node.visible = switches[name]
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

    def _draw_uncertainty(self, result: FitResult) -> None:
        """Ellipsoids of one standard deviation about the body's joints, relative to the pelvis, coloured by size."""
        if not result.joint_covariance_root_relative.size:
            return
        covariances = result.joint_covariance_root_relative[:SHOWN_JOINTS]
        vertices, faces, colours = ellipsoids(result.landmarks[:SHOWN_JOINTS], covariances)
        if len(vertices):
            mesh = trimesh.Trimesh(vertices, faces, vertex_colors=colours.astype(np.uint8), process=False)
            self.nodes["uncertainty"] = [self._scene.add_mesh_trimesh("/uncertainty", mesh)]

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
        self.nodes["bodies"] = [
            self._scene.add_mesh_simple(
                _name(shown), *shown.seen_by(self.selected), color=rgb8(person_hex(shown.person.number)), **_BODY
            )
            for shown in self.people
            if shown.mesh is not None
        ]

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


def shrunk(photo: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """A photo no larger than a browser needs."""
    scale = _LARGEST_PHOTO / max(photo.shape[:2])
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
