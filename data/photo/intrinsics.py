"""Intrinsics of a camera from its calibration file: what the fields of `camera_files` mean."""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bodyfit.data.photo.camera_files import CameraError, Fields, camera_fields
from bodyfit.data.photo.lens import Lens, checked_distortion

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extrinsics:
    """Where a camera stands: `rotation @ world + translation` is a point in the camera's frame."""

    rotation: tuple[tuple[float, float, float], ...]
    translation: tuple[float, float, float]


NOWHERE_ELSE = Extrinsics(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (0.0, 0.0, 0.0))
"""A camera at the origin, looking along z: its frame is the world's."""


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole intrinsics in pixels; the centre of the top-left pixel is (0, 0)."""

    focal_px: float
    center_px: tuple[float, float] | None = None
    """None: the middle of the image."""
    image_size: tuple[int, int] | None = None
    """(width, height) that the numbers are for, where the file says so."""
    lens: Lens | None = None
    """The camera itself where it is no ideal pinhole; focal length and centre are then those of the ideal one."""
    extrinsics: Extrinsics | None = None
    """Where the camera stands, where the file says so and it is not the origin."""

    def for_size(self, image_size: tuple[int, int]) -> "Intrinsics":
        """The same camera for an image scaled to `image_size`; itself if the file did not say what it was made for."""
        if self.image_size in (None, image_size):
            return self
        scale = np.array(image_size) / self.image_size
        if abs(scale[0] / scale[1] - 1) > 0.01:
            raise CameraError(
                f"the camera is for images of {self.image_size}, which differ in shape from {image_size}."
            )
        if self._is_for(image_size):
            log.warning(
                "the camera file says %d x %d px, but its principal point is the middle of %d x %d: used for that",
                *(*self.image_size, *image_size),
            )
            return replace(self, image_size=image_size)
        center = self.center_px and tuple(float(c) for c in (np.array(self.center_px) + 0.5) * scale - 0.5)
        lens = self.lens and self.lens.scaled(float(scale[0]), float(scale[1]))
        focal = lens.focal_px if lens else self.focal_px * float(scale[0])
        return replace(self, focal_px=focal, center_px=center, image_size=image_size, lens=lens)

    def _is_for(self, image_size: tuple[int, int]) -> bool:
        """Whether the principal point contradicts the size that the file says, and fits `image_size`."""
        if self.center_px is None:
            return False
        of_said, of_photo = (
            np.abs(np.array(self.center_px) / size - 0.5).max() for size in (self.image_size, image_size)
        )
        return bool(of_said > 0.3 and of_photo < 0.1)


_MATRIX_KEYS = ("K", "camera_matrix", "cameraMatrix", "Camera_Matrix", "cameramatrix", "mtx", "matrix")
_MATRIX_KEYS += ("intrinsic_matrix", "intrinsic", "intrinsics")
_DISTORTION_KEYS = ("dist", "distortion", "dist_coeffs", "distCoeffs", "distCoef", "distortion_coefficients")
_DISTORTION_KEYS += ("Distortion_Coefficients", "distortions", "distortion_coeffs", "distCoefs", "D")
_ROTATION_KEYS = ("Rot", "R", "rotation", "rvec", "rotation_matrix", "rotation_vector")
_TRANSLATION_KEYS = ("T", "t", "translation", "tvec", "translation_vector")
_POSE_KEYS = ("extrinsics", "extrinsic", "Extrinsics", "extrinsic_matrix", "w2c", "world_to_camera", "RT")
_FISHEYE = ("fisheye", "equidistant", "kannala_brandt", "opencv_fisheye")
_UNKNOWN_MODELS = ("omni", "ds", "eucm", "fov", "thin_prism_fisheye", "radial_fisheye", "simple_radial_fisheye", "mei")
_EXPECTED = "Expected a 3 x 3 camera matrix 'K' with last row 0 0 1, or 'focal' and 'center'"


def read_cameras(path: Path | str) -> dict[str, Intrinsics]:
    """All cameras of a file of any kind of docs/cameras.md, by name ('' where it has none).

    Their `extrinsics` are None only where the file has none. Raises CameraError, naming what was found and expected.
    """
    path = Path(path)
    return {name: _read(fields, path, name) for name, fields in _fields(path).items()}


def read_camera(path: Path | str, name: str | None = None, photo: Path | None = None) -> Intrinsics:
    """Intrinsics from a camera file of any kind of docs/cameras.md.

    Args:
        path: .json, .yml, .xml, .toml, .txt (COLMAP), .npz or .npy.
        name: Which camera of a file with several; None: the only one, or the one that `photo`'s path names.
        photo: The photo that the camera took.

    Raises:
        CameraError: naming what was found and expected.
    """
    path = Path(path)
    camera = _read(_chosen(path, _fields(path), name, photo), path)
    return replace(camera, extrinsics=None) if camera.extrinsics == NOWHERE_ELSE else camera


def _fields(path: Path) -> dict[str, Fields]:
    try:
        return camera_fields(path)
    except CameraError as error:
        message = str(error)
        message = message if message.startswith(str(path)) else f"{path}: {message}"
        raise CameraError(message if "Expected" in message else f"{message} {_EXPECTED}.") from error


def _read(fields: Fields, path: Path, name: str = "") -> Intrinsics:
    return camera_from_fields(fields, f"{path}, camera {name}" if name else str(path))


def camera_from_fields(fields: Fields, where: str) -> Intrinsics:
    """The camera that fields of any kind of docs/cameras.md mean. Raises CameraError, with where they stand."""
    try:
        return _intrinsics(fields, where)
    except (TypeError, ValueError, OverflowError, AttributeError) as cause:
        raise CameraError(f"{where}: found {cause!s:.200}. {_EXPECTED}.") from cause


def _chosen(path: Path, cameras: dict[str, Fields], name: str | None, photo: Path | None) -> Fields:
    if name is not None:
        if name not in cameras:
            raise CameraError(f"{path}: has no camera '{name}'. Found: {', '.join(cameras) or 'none'}.")
        return cameras[name]
    if not cameras:
        raise CameraError(f"{path}: found no camera. {_EXPECTED}.")
    if len(cameras) == 1:
        return next(iter(cameras.values()))
    parts = [] if photo is None else [part.lower() for part in (*photo.parts[-3:-1], photo.stem)]
    words = {word for part in parts for word in (part, *re.split(r"[_.\s-]+", part))}
    meant = [camera for camera in cameras if camera.lower() in words or Path(camera).stem.lower() in words]
    if len(meant) == 1:
        return cameras[meant[0]]
    names = ", ".join(list(cameras)[:8])
    where = f", and {photo} names none of them alone" if photo else ""
    raise CameraError(f"{path}: has {len(cameras)} cameras ({names}){where}. Say which with --camera-name.")


def _intrinsics(raw: Fields, path: str) -> Intrinsics:
    fields = {str(key).removesuffix("_px"): value for key, value in raw.items() if value is not None}
    model = _model(fields)
    matrix = next((fields[key] for key in _MATRIX_KEYS if key in fields), None)
    size = _size(fields)
    skew, center = 0.0, None
    if matrix is not None and _is_row_of_four(matrix):  # Kalibr: fx fy cx cy
        focal, center = np.array(matrix[:2], dtype=float), np.array(matrix[2:], dtype=float)
    elif matrix is not None:
        matrix = _matrix(matrix)
        if (
            matrix.shape not in ((3, 3), (3, 4))
            or not np.allclose(matrix[2, :3], (0, 0, 1))
            or not np.isfinite(matrix).all()
        ):
            raise ValueError(f"a camera matrix of shape {matrix.shape}")
        focal, center, skew = np.diag(matrix[:, :3])[:2], matrix[:2, 2], float(matrix[0, 1])
    else:
        focal, center = _focal_and_center(fields, size)
    if not ((focal > 0) & np.isfinite(focal)).all():
        raise ValueError(f"focal length {focal.tolist()}")
    if center is not None and not np.isfinite(center).all():
        raise ValueError(f"principal point {center.tolist()}")
    if (focal < 10).all():
        raise ValueError(f"focal length {focal[0]:g} px: a camera matrix in other units than pixels")
    distortion = checked_distortion(_distortion(fields, model), model)
    extrinsics = _extrinsics(fields, path)
    center = None if center is None else (float(center[0]), float(center[1]))
    lens = None
    if center is None and (distortion or focal[0] != focal[1]):
        if size is None:
            raise ValueError("two focal lengths or a distortion, but no principal point")
        center = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    if center is not None:
        lens = Lens(float(focal[0]), float(focal[1]), *center, skew, distortion, model)
    if lens is None or lens.is_pinhole:
        return Intrinsics(float(focal[0]), center, size, None, extrinsics)
    return Intrinsics(lens.focal_px, center, size, lens, extrinsics)


def _focal_and_center(fields: Fields, size: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray | None]:
    names = next((n for n in (("fx", "fy"), ("fl_x", "fl_y"), ("f", "f")) if n[0] in fields), None)
    if names:
        focal = np.array([float(fields[names[0]]), float(fields.get(names[1], fields[names[0]]))])
    elif "focal" in fields:
        focal = np.broadcast_to(np.asarray(fields["focal"], dtype=float).ravel(), 2)
    elif "camera_angle_x" in fields and size is not None:
        focal = np.full(2, size[0] / 2 / math.tan(float(fields["camera_angle_x"]) / 2))
    else:
        raise ValueError(f"{', '.join(fields) or 'nothing'}")
    if "cx" in fields and "cy" in fields:
        return focal, np.array([float(fields["cx"]), float(fields["cy"])])
    center = next((fields[key] for key in ("center", "principal_point") if key in fields), None)
    return focal, None if center is None else np.asarray(center, dtype=float).reshape(2)


def _is_row_of_four(value: object) -> bool:
    return isinstance(value, list | tuple | np.ndarray) and np.shape(value) == (4,)


def _matrix(value: object) -> np.ndarray:
    """Rows; OpenCV's and ROS's {rows, cols, data}, OpenCV's {sizes, data}; nine numbers in a row."""
    if isinstance(value, Mapping) and "sizes" in value:
        return np.asarray(value.get("data"), dtype=float).reshape(np.asarray(value["sizes"], dtype=int))
    if isinstance(value, Mapping):
        rows, columns = (int(value.get(k, 3)) for k in ("rows", "cols"))
        return np.asarray(value.get("data"), dtype=float).reshape(rows, columns)
    matrix = np.asarray(value, dtype=float)
    return matrix.reshape(3, 3) if matrix.shape in ((9,), (1, 9), (1, 3, 3)) else matrix


def _model(fields: Fields) -> str:
    said = [str(fields[k]).lower() for k in ("distortion_model", "camera_model", "model") if k in fields]
    unknown = [
        word for word in said if word in _UNKNOWN_MODELS or any(word.startswith(f"{u}-") for u in _UNKNOWN_MODELS)
    ]
    if unknown:
        raise ValueError(f"the camera model '{unknown[0]}', which is not known")
    fisheye = fields.get("fisheye") is True or bool(fields.get("is_fisheye"))
    return "fisheye" if fisheye or any(word in _FISHEYE for word in said) else "opencv"


def _distortion(fields: Fields, model: str) -> np.ndarray:
    found = next((fields[key] for key in _DISTORTION_KEYS if key in fields), None)
    if found is not None:
        found = found.get("data") if isinstance(found, Mapping) else found
        return np.asarray(found if found is not None else [], dtype=float).ravel()
    names = ("k1", "k2", "k3", "k4") if model == "fisheye" else ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
    return np.array([float(fields.get(name, 0)) for name in names])


def _size(fields: Fields) -> tuple[int, int] | None:
    for width, height in (("width", "height"), ("image_width", "image_height"), ("w", "h"), ("W", "H")):
        if width in fields and height in fields:
            value = (fields[width], fields[height])
            break
    else:
        value = next((fields[k] for k in ("image_size", "size", "resolution", "img_size") if k in fields), None)
    if value is None:
        return None
    size = tuple(int(float(n)) for n in np.asarray(value, dtype=float).reshape(2))
    if min(size) <= 0:
        raise ValueError(f"an image size of {size}")
    return size


def _extrinsics(fields: Fields, path: str) -> Extrinsics | None:
    """World to camera, from R (3 x 3 or a rotation vector) and t; None where there is none."""
    turn = next((fields[k] for k in _ROTATION_KEYS if k in fields), None)
    shift = next((fields[k] for k in _TRANSLATION_KEYS if k in fields), None)
    whole = next((fields[k] for k in _POSE_KEYS if k in fields), None)
    if whole is not None:
        whole = _matrix(whole)
        if whole.shape not in ((3, 4), (4, 4)):
            raise ValueError(f"extrinsics of shape {whole.shape}")
        turn, shift = whole[:3, :3], whole[:3, 3]
    elsewhere = [k for k in ("transform_matrix", "c2w", "T_cn_cnm1", "T_cam_imu", "H") if k in fields]
    if isinstance(fields.get("frames"), list) and fields["frames"]:
        elsewhere = ["frames"]
    if elsewhere and not isinstance(fields[elsewhere[0]], float | int):
        log.warning("%s: '%s' is not used; results stand in the camera's own frame", path, elsewhere[0])
    if turn is None and shift is None:
        return None
    turn = np.eye(3) if turn is None else _matrix(turn)
    if turn.size == 3:
        from scipy.spatial.transform import Rotation  # takes half a second to import

        turn = Rotation.from_rotvec(turn.ravel().astype(float)).as_matrix()
    shift = np.zeros(3) if shift is None else np.asarray(_matrix(shift), dtype=float).ravel()
    if turn.shape != (3, 3) or shift.shape != (3,) or not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3):
        raise ValueError("R and t that are no rotation and translation")
    if np.allclose(turn, np.eye(3)) and not shift.any():
        return NOWHERE_ELSE
    return Extrinsics(tuple(tuple(float(v) for v in row) for row in turn), tuple(float(v) for v in shift))
