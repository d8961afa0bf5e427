"""Calibrated rigs: the cameras of a calibration file or folder by name, each with lens, place and image size."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from bodyfit.data.files import read_bytes
from bodyfit.data.photo.camera_files import SUFFIXES, CameraError
from bodyfit.data.photo.intrinsics import Extrinsics, Intrinsics, camera_from_fields, read_cameras

log = logging.getLogger(__name__)

_MOST_BYTES = 256 * 1024**2
_CROP_PX = 16  # video codecs pad and crop sides to multiples of 8 or 16
_EXPECTED = (
    "Expected Pose2Sim's or anipose's .toml, EasyMocap's intri.yml and extri.yml, COLMAP's cameras.txt and images.txt, "
    "OpenCV YAML, or JSON with K, dist, R and t for each camera"
)


@dataclass(frozen=True)
class Rig:
    """Cameras whose places in one world frame are known."""

    cameras: Mapping[str, Intrinsics]
    """By name; `extrinsics` of each is known."""
    source: str
    """The file or folder that they come from."""
    units: str = "file"
    """What one unit of the translations is: "file" where that is for the file to know (metres, millimetres, ...),
    "arbitrary" for reconstructions without a scale."""

    def __repr__(self) -> str:
        return f"<Rig of {len(self.cameras)} cameras: {', '.join(self.cameras)}; {self.source}>"

    @classmethod
    def from_arrays(
        cls,
        K: ArrayLike,
        R: ArrayLike,
        t: ArrayLike,
        *,
        dist: ArrayLike | None = None,
        image_size: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        fisheye: bool = False,
    ) -> Rig:
        """A rig from numbers in memory.

        Args:
            K: (V, 3, 3) camera matrices, px.
            R: (V, 3, 3) rotations from the world to the camera, or (V, 3) rotation vectors, rad.
            t: (V, 3) translations: `R @ world + t` is in the camera.
            dist: (V, n) OpenCV's distortion coefficients, n of 4 to 14; with `fisheye` its fisheye model's four.
            image_size: (width, height) of all cameras, or (V, 2).
            names: default: "0", "1", ...

        Raises:
            CameraError: for numbers that are no cameras.
        """
        matrices = np.asarray(K, dtype=float)
        count = len(matrices) if matrices.ndim == 3 else 0
        fields: dict[str, list] = {"K": list(matrices), "R": _rows(R, count, "R"), "t": _rows(t, count, "t")}
        if dist is not None:
            fields["dist"] = _rows(dist, count, "dist")
        if image_size is not None:
            sizes = np.asarray(image_size)
            fields["image_size"] = list(np.broadcast_to(sizes, (count, 2))) if sizes.ndim else []
        names = [str(n) for n in range(count)] if names is None else list(names)
        if not count or any(len(column) != count for column in (*fields.values(), names)) or len(set(names)) < count:
            raise CameraError(
                f"K has shape {matrices.shape}. Expected (V, 3, 3), and R, t, dist and names for V cameras."
            )
        rows = ({key: column[n] for key, column in fields.items()} | {"fisheye": fisheye} for n in range(count))
        cameras = {name: camera_from_fields(row, f"camera {name}") for name, row in zip(names, rows, strict=True)}
        return _checked(cls(cameras, "the rig"))

    def scaled(self, factor: float) -> Rig:
        """The same rig with all translations times `factor`."""

        def moved(camera: Intrinsics) -> Intrinsics:
            shift = tuple(factor * value for value in camera.extrinsics.translation)
            return replace(camera, extrinsics=replace(camera.extrinsics, translation=shift))

        return replace(self, cameras={name: moved(camera) for name, camera in self.cameras.items()})

    def camera_named(self, text: str, *, by_number: bool = True) -> str | None:
        """The camera that a folder or file name means; None where none, or several, could be meant.

        Upper case, separators, zeros in front of numbers and words like "json" or "img" do not matter: `cam1_json`
        is `cam_01`. Where words differ, the only camera of the same number is meant, if `by_number`.
        """
        return find_name(text, self.cameras, by_number=by_number)

    def for_size(self, name: str, size: tuple[int, int]) -> Intrinsics:
        """A camera for photos of `size`: as it is, or scaled where it was calibrated at another resolution.

        Raises:
            CameraError: where the calibration cannot belong to such photos.
        """
        camera = self.cameras[name]
        try:
            return _for_size(camera, size)
        except CameraError as error:
            raise CameraError(
                f"{self.source}, camera {name}: {error} Were the photos cropped, turned or taken with another camera? "
                "Give the calibration that belongs to them."
            ) from error


def _rows(values: ArrayLike, count: int, what: str) -> list[np.ndarray]:
    array = np.asarray(values, dtype=float)
    if array.ndim < 2 or len(array) != count:
        raise CameraError(f"{what} has shape {array.shape}. Expected a row for each of {count} cameras.")
    return list(array)


def _for_size(camera: Intrinsics, size: tuple[int, int]) -> Intrinsics:
    said, center = camera.image_size, camera.center_px
    if said is not None and said != size:
        off = np.abs(np.subtract(said, size))
        if off.max() <= _CROP_PX and np.abs(off / size).max() < 0.03:
            return replace(camera, image_size=size)  # padded or cropped by a codec, not scaled
        return camera.for_size(size)
    if center is None or np.abs(np.array(center) / size - 0.5).max() < 0.25:
        return replace(camera, image_size=size)
    meant = 2 * np.array(center) + 1
    if abs(meant[0] / meant[1] / (size[0] / size[1]) - 1) > 0.1:
        raise CameraError(
            f"the principal point {center[0]:.0f}, {center[1]:.0f} is far from the middle of {size[0]} x {size[1]} px."
        )
    if said is not None:
        return camera  # it says that this is so, whatever it looks like
    guess = (round(size[0] * meant.mean() / np.mean(size)), round(size[1] * meant.mean() / np.mean(size)))
    log.warning(
        "camera with principal point %.0f, %.0f: calibrated at about %d x %d px by that; scaled to %d x %d",
        *(*center, *guess, *size),
    )
    return replace(camera, image_size=guess).for_size(size)


# --- names -----------------------------------------------------------------------------------------------------------

_FILLER = {"json", "img", "image", "images", "keypoints", "openpose", "video", "int", "ext", "intrinsics", "pose"}


def find_name(text: str, names: Mapping[str, object] | list[str], *, by_number: bool = True) -> str | None:
    """The one of `names` that `text` means, by `Rig.camera_named`'s rules."""
    names = list(names)
    if text in names:
        return text
    for key in (_words, _without_filler, _number)[: 2 + by_number]:
        wanted = key(text)
        found = [name for name in names if wanted and key(name) == wanted]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _words(text: str) -> tuple[str, ...]:
    return tuple(str(int(w)) if w.isdigit() else w for w in re.findall(r"[0-9]+|[^\W\d_]+", Path(text).name.lower()))


def _without_filler(text: str) -> tuple[str, ...]:
    return tuple(word for word in _words(text) if word not in _FILLER)


def _number(text: str) -> tuple[str, ...]:
    """The only number in a name that has one."""
    numbers = [word for word in _without_filler(text) if word.isdigit()]
    return tuple(numbers) if len(numbers) == 1 else ()


# --- reading ---------------------------------------------------------------------------------------------------------


def read_rig(path: Path | str) -> Rig:
    """The cameras of a calibration.

    Args:
        path: Pose2Sim's, anipose's or freemocap's .toml; EasyMocap's intri.yml or extri.yml, or the folder of both;
            COLMAP's cameras.txt or images.txt, or their folder; OpenCV YAML or XML, JSON or .npz with one camera or
            several; a folder with a file for each camera.

    Raises:
        CameraError: naming the file, what was found and what was expected; also where a camera has no place (R and t).
    """
    path = Path(path)
    if path.is_dir():
        rig = _folder(path)
    elif path.is_file():
        rig = _file(path)
    else:
        raise CameraError(f"{path}: no such file or folder. {_EXPECTED}.")
    return _checked(rig)


def _file(path: Path) -> Rig:
    partner = _partner(path)
    if path.name.lower() in ("images.txt", "cameras.txt"):
        return _colmap(path.parent)
    if partner is not None:
        path = min(path, partner, key=lambda p: not p.name.lower().startswith("intri"))
    cameras = read_cameras(path)
    named = {name or path.stem: camera for name, camera in cameras.items()}
    return Rig(named, str(path))


def _folder(folder: Path) -> Rig:
    files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    lower = {f.name.lower(): f for f in files}
    for here in (folder, folder / "sparse" / "0", folder / "sparse"):
        if (here / "cameras.txt").is_file() and (here / "images.txt").is_file():
            return _colmap(here)
    pair = [f for f in files if f.name.lower().startswith("intri") and _partner(f)]
    if pair:
        return _file(pair[0])
    if "cameras.bin" in lower and "cameras.txt" not in lower:
        raise CameraError(
            f"{folder}: COLMAP's binary model. Expected text: colmap model_converter --output_type TXT writes it."
        )
    whole = [f for f in files if f.suffix.lower() == ".toml"]
    if len(whole) == 1:
        return _file(whole[0])
    cameras: dict[str, Intrinsics] = {}
    for file in files:
        if file.suffix.lower() not in SUFFIXES or file.suffix.lower() == ".txt":
            continue
        found = read_cameras(file)
        cameras |= {name if len(found) > 1 else file.stem: camera for name, camera in found.items()}
    if not cameras:
        raise CameraError(f"{folder}: no camera files in it. {_EXPECTED}.")
    return Rig(cameras, str(folder))


def _partner(path: Path) -> Path | None:
    """extri.yml of intri.yml and the other way round, whatever the rest of the name is."""
    name = path.name
    other = {"intri": "extri", "extri": "intri", "Intri": "Extri", "Extri": "Intri"}.get(name[:5])
    if other is None or path.suffix.lower() not in (".yml", ".yaml"):
        return None
    candidate = path.with_name(other + name[5:])
    if not candidate.is_file():
        raise CameraError(f"{path}: {candidate.name} is not beside it. Expected intrinsics and extrinsics in pairs.")
    return candidate


def _checked(rig: Rig) -> Rig:
    if not rig.cameras:
        raise CameraError(f"{rig.source}: found no camera. {_EXPECTED}.")
    nowhere = [name for name, camera in rig.cameras.items() if camera.extrinsics is None]
    if nowhere:
        raise CameraError(
            f"{rig.source}: camera {nowhere[0]} has no rotation and translation"
            f"{f', nor have {len(nowhere) - 1} more' if len(nowhere) > 1 else ''}. {_EXPECTED}."
        )
    centers = np.array([center_of(camera.extrinsics) for camera in rig.cameras.values()])
    if len(centers) > 1 and np.ptp(centers, axis=0).max() == 0:
        raise CameraError(
            f"{rig.source}: all {len(centers)} cameras stand at the same place, so their views cannot be combined. Are "
            "these intrinsics alone? Expected R and t of each camera."
        )
    return rig


def center_of(extrinsics: Extrinsics) -> np.ndarray:
    """Where a camera stands in the world, (3,)."""
    return -np.array(extrinsics.rotation).T @ np.array(extrinsics.translation)


# --- COLMAP ----------------------------------------------------------------------------------------------------------


def _colmap(folder: Path) -> Rig:
    """cameras.txt and images.txt: a camera for each image, or for each folder of images that share a place."""
    for name in ("cameras.txt", "images.txt"):
        if not (folder / name).is_file():
            raise CameraError(f"{folder}: has no {name}. Expected COLMAP's cameras.txt and images.txt side by side.")
    inner = read_cameras(folder / "cameras.txt")
    places = _colmap_images(folder / "images.txt")
    folders = {Path(image).parent.as_posix() for image in places}
    cameras: dict[str, Intrinsics] = {}
    for image, (number, extrinsics) in sorted(places.items()):
        if number not in inner:
            raise CameraError(f"{folder / 'images.txt'}: {image} is of camera {number}, which cameras.txt has not.")
        path = Path(image)
        name = path.parent.name if len(folders) > 1 else path.stem
        camera = replace(inner[number], extrinsics=extrinsics)
        if name in cameras and not _same_place(cameras[name].extrinsics, extrinsics):
            raise CameraError(
                f"{folder / 'images.txt'}: the images in {path.parent} were taken from several places. Expected "
                "cameras that stand still, one for each folder."
            )
        cameras.setdefault(name, camera)
    return Rig(cameras, str(folder), "arbitrary")


def _colmap_images(path: Path) -> dict[str, tuple[str, Extrinsics]]:
    """IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, and a line of points after each, which may be empty."""
    from scipy.spatial.transform import Rotation  # takes half a second to import

    text = read_bytes(path, CameraError, most=_MOST_BYTES).decode("utf-8", "replace")
    places: dict[str, tuple[str, Extrinsics]] = {}
    expected = "Expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, and a line of points after each"
    for line in text.splitlines():
        words = line.split(maxsplit=9)
        if not words or line.startswith("#") or not re.search(r"[^\W\d_eE]", line):
            continue  # points are numbers alone
        try:
            w, x, y, z, *shift = (float(word) for word in words[1:8])
            turn, (number, name) = Rotation.from_quat([x, y, z, w]).as_matrix(), words[8:10]
        except ValueError as cause:
            raise CameraError(f"{path}: '{line[:60]}' is no image of COLMAP. {expected}.") from cause
        places[name.strip()] = (number, Extrinsics(tuple(map(tuple, turn.tolist())), tuple(shift)))
    if not places:
        raise CameraError(f"{path}: holds no image. {expected}.")
    return places


def _same_place(first: Extrinsics, second: Extrinsics) -> bool:
    """Whether two poses are one, but for what a reconstruction of a still camera varies by."""
    turn = np.array(first.rotation) @ np.array(second.rotation).T
    angle = np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))
    apart = np.linalg.norm(center_of(first) - center_of(second))
    return bool(angle < 0.02 and apart < 0.02 * max(np.linalg.norm(first.translation), 1e-9))
