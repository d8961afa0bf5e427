"""Motion files in the SMPL family's convention: AMASS (SMPL-H, SMPL-X), the older SMPL layout, and bodyfit's own.

All are .npz with axis-angle rotations a frame. They differ in how wide `poses` is, in whether it is one array or named
blocks, and in the spelling of the frame rate. BVH files are read by `bodyfit.data.bvh`.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError

# Width of `poses` -> what has it. In all of them numbers 0..2 turn the root and 3..65 the 21 body joints.
POSES_WIDTHS = {66: "root and body", 72: "SMPL", 156: "SMPL-H", 165: "SMPL-X"}
_FRAME_RATE_KEYS = ("mocap_frame_rate", "mocap_framerate", "fps")
_MAX_FRAMES = 2_000_000


class MocapError(BodyfitError):
    """A motion file that cannot be used."""


class NoMotionError(MocapError):
    """A sound file without motion in it, such as AMASS's shape files."""


@dataclass(frozen=True)
class MotionClip:
    """One recorded sequence of one person."""

    path: Path
    body_pose: Float[np.ndarray, "T 63"]
    """Axis-angle of the 21 body joints, radians."""
    root_orient: Float[np.ndarray, "T 3"]
    """Axis-angle of the root, radians, in the file's own world frame (AMASS: z up; bodyfit's layout: y up)."""
    frame_rate: float
    """Frames per second."""
    flavour: str
    """Where the layout comes from, one of POSES_WIDTHS' words or "pose_body"."""
    subject: str
    """Who moved, unique within its collection; the folder's name where the file does not say."""
    licence: str
    """The licence the file states, or "" """


def read_motion(path: str | Path) -> MotionClip:
    """Read one .npz. Nothing in it is executed; float64.

    Raises NoMotionError for files without poses, MocapError for damaged ones, naming file, found and expected.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return _clip_from(path, archive)
    except (OSError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise MocapError(f"{path}: not a readable .npz ({error}). Copy or download it again") from None


def _clip_from(path: Path, archive: np.lib.npyio.NpzFile) -> MotionClip:
    keys = set(archive.files)
    if "poses" in keys:
        poses = _numbers(path, archive, "poses")
        if poses.ndim != 2 or poses.shape[1] not in POSES_WIDTHS:
            widths = ", ".join(f"{width} ({name})" for width, name in POSES_WIDTHS.items())
            raise MocapError(f"{path}: poses has shape {poses.shape}, expected (frames, one of {widths})")
        root_orient, body_pose, flavour = poses[:, :3], poses[:, 3:66], POSES_WIDTHS[poses.shape[1]]
    elif {"root_orient", "pose_body"} <= keys:
        root_orient, body_pose = _numbers(path, archive, "root_orient"), _numbers(path, archive, "pose_body")
        flavour = "pose_body"
        if body_pose.shape != (len(body_pose), 63) or root_orient.shape != (len(body_pose), 3):
            raise MocapError(
                f"{path}: pose_body {body_pose.shape} and root_orient {root_orient.shape}, expected (T, 63) and (T, 3)"
            )
    else:
        found = ", ".join(sorted(keys)[:8]) or "nothing"
        raise NoMotionError(f"{path}: no motion. Found {found}; expected poses, or root_orient and pose_body")
    if not len(body_pose):
        raise NoMotionError(f"{path}: no motion, 0 frames")
    if not (np.isfinite(body_pose).all() and np.isfinite(root_orient).all()):
        raise MocapError(f"{path}: poses with NaN or infinite numbers")
    return MotionClip(
        path,
        body_pose,
        root_orient,
        _frame_rate(path, archive, keys),
        flavour,
        _text(archive, keys, "subject") or path.parent.name,
        _text(archive, keys, "licence"),
    )


def _numbers(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    try:
        array = archive[key]
    except ValueError as error:  # an object array, which would have to be unpickled, or a damaged header
        raise MocapError(f"{path}: {key} is not an array of numbers ({error})") from None
    if not np.issubdtype(array.dtype, np.floating) or array.ndim != 2 or len(array) > _MAX_FRAMES:
        raise MocapError(f"{path}: {key} is {array.dtype} {array.shape}, expected floats (frames, width)")
    return array.astype(np.float64)


def _frame_rate(path: Path, archive: np.lib.npyio.NpzFile, keys: set[str]) -> float:
    for key in _FRAME_RATE_KEYS:
        if key in keys:
            rate = float(archive[key])
            if not 0 < rate < 10_000:
                raise MocapError(f"{path}: {key} is {rate}, expected frames per second")
            return rate
    raise MocapError(f"{path}: no frame rate. Expected one of {', '.join(_FRAME_RATE_KEYS)}")


def _text(archive: np.lib.npyio.NpzFile, keys: set[str], key: str) -> str:
    if key not in keys:
        return ""
    try:
        return str(archive[key].item())
    except ValueError:  # an object or an array: not worth failing for
        return ""
