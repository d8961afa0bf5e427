"""Cameras that are no ideal pinholes: lens distortion, unequal focal lengths, skew; points and photos freed of them."""

import functools
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int16, UInt8, UInt16

from bodyfit.data.opencv import import_cv2

_MODELS = ("opencv", "fisheye")
_NEWTON_STEPS, _STEP = 30, 1e-6
_COUNTS = {"opencv": (4, 5, 8, 12, 14), "fisheye": (4,)}


@dataclass(frozen=True)
class Lens:
    """A calibrated camera in OpenCV's terms, in pixels; the centre of the top-left pixel is (0, 0).

    The fit knows one focal length and no distortion. Keypoints are moved to where an ideal pinhole camera (`focal_px`,
    `center_px`) would have seen them, and photos are drawn on as that camera would have taken them.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    skew: float = 0.0
    distortion: tuple[float, ...] = ()
    """OpenCV's k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tx ty]]]], or the fisheye model's k1 k2 k3 k4."""
    model: Literal["opencv", "fisheye"] = "opencv"

    @property
    def is_pinhole(self) -> bool:
        """Whether there is nothing to free points from."""
        return self.fx == self.fy and self.skew == 0 and not any(self.distortion)

    @property
    def focal_px(self) -> float:
        """Focal length of the ideal camera."""
        return float(np.sqrt(self.fx * self.fy))

    @property
    def center_px(self) -> tuple[float, float]:
        """Principal point of the ideal camera, that of this one."""
        return self.cx, self.cy

    def scaled(self, scale_x: float, scale_y: float) -> "Lens":
        """The same camera for its picture scaled."""
        return replace(
            self,
            fx=self.fx * scale_x,
            fy=self.fy * scale_y,
            skew=self.skew * scale_x,
            cx=(self.cx + 0.5) * scale_x - 0.5,
            cy=(self.cy + 0.5) * scale_y - 0.5,
        )

    def undistorted(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Where the ideal camera sees what this one sees at `points`; NaN beyond what the distortion can explain."""
        y = (points[:, 1] - self.cy) / self.fy
        seen = np.column_stack([(points[:, 0] - self.cx - self.skew * y) / self.fx, y])
        rays = self._undistorted_rays(seen) if len(seen) else seen
        off = np.linalg.norm(self._distorted_rays(rays) - seen, axis=1) * self.focal_px if len(seen) else np.zeros(0)
        rays[~(off < 0.5)] = np.nan
        return rays * self.focal_px + self.center_px

    def distorted(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Where this camera sees what the ideal one sees at `points`."""
        seen = self._distorted_rays((points - self.center_px) / self.focal_px)
        return np.column_stack(
            [self.fx * seen[:, 0] + self.skew * seen[:, 1] + self.cx, self.fy * seen[:, 1] + self.cy]
        )

    def undistorted_image(self, image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """The photo as the ideal camera would have taken it, in the same size; black where this one saw nothing."""
        height, width = image.shape[:2]
        cv2 = import_cv2()
        maps = (_kept_maps if width * height <= _KEPT_PX else _maps)(self, width, height)
        return cv2.remap(np.ascontiguousarray(image), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)

    def to_array(self) -> Float[np.ndarray, " n"]:
        """All numbers in a row, for a result file; empty for an ideal pinhole."""
        if self.is_pinhole:
            return np.zeros(0)
        numbers = (self.fx, self.fy, self.cx, self.cy, self.skew, _MODELS.index(self.model), *self.distortion)
        return np.array(numbers, dtype=np.float64)

    @classmethod
    def from_array(cls, numbers: Float[np.ndarray, " n"]) -> "Lens | None":
        """What `to_array` wrote; None for an empty array. ValueError for another one."""
        if not len(numbers):
            return None
        values = [float(n) for n in numbers]
        if len(values) < 6 or not np.isfinite(values).all() or values[5] not in (0, 1) or min(values[:2]) <= 0:
            raise ValueError("not the numbers of a lens")
        return cls(
            *values[:5],
            distortion=checked_distortion(values[6:], _MODELS[int(values[5])]),
            model=_MODELS[int(values[5])],
        )

    def _undistorted_rays(self, seen: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Newton's method on the distortion, its Jacobian by differences; what does not converge stays far off."""
        rays = seen.copy()
        if not any(self.distortion):
            return rays
        with np.errstate(all="ignore"):
            for _ in range(_NEWTON_STEPS):
                off = self._distorted_rays(rays) - seen
                if np.abs(off).max() < 1e-12:
                    break
                columns = [
                    (self._distorted_rays(rays + step) - self._distorted_rays(rays - step)) / (2 * _STEP)
                    for step in _STEP * np.eye(2)
                ]
                (a, c), (b, d) = (column.T for column in columns)
                determinant = a * d - b * c
                change = np.column_stack([d * off[:, 0] - b * off[:, 1], a * off[:, 1] - c * off[:, 0]])
                rays -= np.clip(change / determinant[:, None], -0.5, 0.5)
        return rays

    def _distorted_rays(self, rays: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        if not any(self.distortion):
            return rays
        x, y = rays[:, 0], rays[:, 1]
        k = np.zeros(14)
        k[: len(self.distortion)] = self.distortion
        r2 = x * x + y * y
        with np.errstate(over="ignore", invalid="ignore"):
            if self.model == "fisheye":
                r = np.sqrt(r2)
                theta = np.arctan(r)
                bent = theta * (1 + sum(k[i] * theta ** (2 * i + 2) for i in range(4)))
                return rays * np.where(r > 1e-12, bent / np.maximum(r, 1e-12), 1.0)[:, None]
            radial = (1 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))) / (1 + r2 * (k[5] + r2 * (k[6] + r2 * k[7])))
            bent = np.column_stack(
                [
                    x * radial + 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x) + k[8] * r2 + k[9] * r2 * r2,
                    y * radial + k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y + k[10] * r2 + k[11] * r2 * r2,
                ]
            )
            if not k[12:].any():
                return bent
            tilted = np.column_stack([bent, np.ones(len(bent))]) @ _tilt(k[12], k[13]).T
            return tilted[:, :2] / tilted[:, 2:]


def _tilt(x: float, y: float) -> Float[np.ndarray, "3 3"]:
    """The homography of a sensor turned by these angles (rad) about the axes of the image, as OpenCV defines it."""
    about_x = np.array([[1, 0, 0], [0, np.cos(x), np.sin(x)], [0, -np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    turn = about_y @ about_x
    return np.array([[turn[2, 2], 0, -turn[0, 2]], [0, turn[2, 2], -turn[1, 2]], [0, 0, 1]]) @ turn


def checked_distortion(values: "list[float] | np.ndarray", model: str) -> tuple[float, ...]:
    """Coefficients padded with zeros to a number that the model has; empty if all are zero. ValueError if too many."""
    numbers = [float(v) for v in np.ravel(np.asarray(values, dtype=np.float64))]
    if not np.isfinite(numbers).all():
        raise ValueError("distortion coefficients that are not finite")
    while numbers and numbers[-1] == 0:
        numbers.pop()
    if not numbers:
        return ()
    counts = [count for count in _COUNTS[model] if count >= len(numbers)]
    if not counts:
        raise ValueError(f"{len(numbers)} distortion coefficients, at most {_COUNTS[model][-1]} are known")
    return tuple(numbers + [0.0] * (counts[0] - len(numbers)))


_KEPT_PX = 2_500_000


def _maps(lens: Lens, width: int, height: int) -> tuple[Int16[np.ndarray, "H W 2"], UInt16[np.ndarray, "H W"]]:
    """Where a lens sees each pixel of the ideal camera, as OpenCV's `remap` takes it: pixels and 32nds of them."""
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2).astype(np.float64)
    seen = np.nan_to_num(lens.distorted(grid), nan=-2.0).clip(-2.0, max(width, height) + 2.0)
    x, y = seen.T.reshape(2, height, width).astype(np.float32)
    cv2 = import_cv2()
    return cv2.convertMaps(x, y, cv2.CV_16SC2)


_kept_maps = functools.lru_cache(maxsize=16)(_maps)
"""Frames of a clip share their camera's: 12 MB for each of 1920 x 1080 pixels, where making them takes 0.5 s."""
