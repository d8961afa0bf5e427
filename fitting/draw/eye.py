"""Virtual cameras ("eyes") that look at a body in a world frame with y up."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from bodyfit.fitting.draw.rasteriser import Camera

VIEWPOINTS = {
    "front": (0.0, 0.0),
    "three_quarter": (30.0, 12.0),
    "side": (90.0, 0.0),
    "back": (180.0, 0.0),
    "top": (0.0, 90.0),
}
"""Named views as (yaw, elevation) of the eye in degrees, about a body that faces +z with y up."""

Viewpoint = str | tuple[float, float]

_FIELD_OF_VIEW = np.radians(20.0)  # a long lens, so that near parts do not look enlarged
_MARGIN = 0.92  # share of the picture that the body fills


@dataclass(frozen=True)
class Eye:
    """A virtual camera that looks at `target` from `distance` metres; maps world points to its own OpenCV frame."""

    rotation: Float[np.ndarray, "3 3"]
    """Rotation from the world frame to the frame of the eye."""
    target: Float[np.ndarray, "3"]
    foot: Float[np.ndarray, "3"]
    """The point on the floor below the target."""
    distance: float = 0.0

    @classmethod
    def at(cls, vertices: Float[np.ndarray, "V 3"], view: Viewpoint) -> "Eye":
        """An eye that looks at the centre of a body from the view direction, at distance 0."""
        if isinstance(view, str) and view not in VIEWPOINTS:
            raise ValueError(
                f"view must be one of {', '.join(VIEWPOINTS)} or (yaw, elevation) in degrees, got {view!r}"
            )
        yaw, elevation = np.radians(VIEWPOINTS[view] if isinstance(view, str) else view)
        turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
        cosine, sine = np.cos(elevation), np.sin(elevation)
        tilt = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
        low, high = np.min(vertices, axis=0), np.max(vertices, axis=0)
        target = (low + high) / 2
        foot = np.array([target[0], low[1], target[2]])
        return cls(np.diag([1.0, -1.0, -1.0]) @ tilt @ turn, target, foot)

    def backed_up(self, vertices: Float[np.ndarray, "V 3"], size_px: tuple[int, int]) -> "Eye":
        """At the smallest distance from which the whole body fits into a picture of (height, width)."""
        seen = self.see(vertices) - [0.0, 0.0, self.distance]
        half = _MARGIN * np.array([size_px[1], size_px[0]]) / 2
        reach = np.abs(seen[:, :2]) * _focal(size_px) / half
        return self.at_distance(float((reach.max(axis=1) - seen[:, 2]).max()))

    def at_distance(self, distance: float) -> "Eye":
        return replace(self, distance=distance)

    def see(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        return (np.asarray(points, dtype=float) - self.target) @ self.rotation.T + [0.0, 0.0, self.distance]

    def floor(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """The floor in the frame of the eye: a point and the upward normal."""
        return self.see(self.foot[None])[0], self.rotation[:, 1]


def farthest(eyes: Iterable[Eye]) -> float:
    """The largest distance: from it all of them see their whole body, at the same scale."""
    return max((eye.distance for eye in eyes), default=1.0)


def eye_camera(size_px: tuple[int, int]) -> Camera:
    """The intrinsics of an eye for a picture of (height, width)."""
    height, width = size_px
    return Camera(_focal(size_px), ((width - 1) / 2, (height - 1) / 2), (height, width))


def _focal(size_px: tuple[int, int]) -> float:
    return min(size_px) / (2 * np.tan(_FIELD_OF_VIEW / 2))
