"""Motion files in the SMPL family's convention: AMASS (SMPL-H, SMPL-X), the older SMPL layout, and bodyfit's own.

All are .npz with axis-angle rotations a frame. They differ in how wide `poses` is, in whether it is one array or named
blocks, and in the spelling of the frame rate. BVH files of other skeletons become the same by retargeting.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import ArrayFile
from bodyfit.data.motion.bvh import read_bvh
from bodyfit.data.motion.retarget import retarget

# Width of `poses` -> what has it. In all of them numbers 0..2 turn the root and 3..65 the 21 body joints.
POSES_WIDTHS = {66: "root and body", 72: "SMPL", 156: "SMPL-H", 165: "SMPL-X"}
_TRACK, _TRACK_FLAVOUR = "bodyfit_track", "bodyfit track"
"""The key by which a track of `bodyfit fit` on a video is known, and how it is named. It starts and ends anywhere."""
_FRAME_RATE_KEYS = ("mocap_frame_rate", "mocap_framerate", "fps")
_MAX_FRAMES = 500_000
_MAX_BYTES = 256 * 1024**2
_MAX_WORD_BYTES = 4096


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
    """Axis-angle of the root, radians, in the file's own world frame (AMASS, tracks: z up; bodyfit's layout: y up)."""
    frame_rate: float
    """Frames per second."""
    flavour: str
    """Where the layout comes from, one of POSES_WIDTHS' words, "pose_body" or "bodyfit track"."""
    subject: str
    """Who moved, unique within its collection; the folder's name where the file does not say."""
    licence: str
    """The licence the file states, or an empty text."""
    direction_error_degrees: dict[str, float] = field(default_factory=dict)
    """For retargeted motion, the largest angle between source and result, a limb."""


def read_motion(path: str | Path) -> MotionClip:
    """Read one .npz or .bvh, float64. Nothing in it is executed.

    Raises NoMotionError for sound files without poses, MocapError or BvhError for damaged ones, naming the file, what
    was found and what was expected.
    """
    path = Path(path)
    if path.suffix.lower() == ".bvh":
        return _clip_from_bvh(path)
    with ArrayFile(path, MocapError) as archive:
        root_orient, body_pose, flavour = _pose_arrays(path, archive)
        if not len(body_pose):
            raise NoMotionError(f"{path}: no motion, 0 frames")
        if not (np.isfinite(body_pose).all() and np.isfinite(root_orient).all()):
            raise MocapError(f"{path}: poses hold NaN or infinite numbers. Copy or download it again")
        if _TRACK in archive:
            root_orient, body_pose = _without_failed(path, archive, root_orient, body_pose)
            flavour = _TRACK_FLAVOUR
        subject, licence = _text(archive, "subject") or path.parent.name, _text(archive, "licence")
        return MotionClip(path, body_pose, root_orient, _frame_rate(path, archive), flavour, subject, licence)


def find_motions(folder: str | Path) -> list[Path]:
    """All .npz and .bvh files under a folder (or the one file given), in a stable order; of an output folder of
    `bodyfit fit`, the tracks alone."""
    folder = Path(folder)
    if (folder / "results").is_dir() and (folder / "tracks").is_dir():
        folder = folder / "tracks"
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise MocapError(f"{folder}: no such file or folder. Give AMASS's unpacked folders, .npz or .bvh files")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".npz", ".bvh") and path.is_file())
    if not found:
        raise MocapError(f"{folder}: no .npz or .bvh file in it. AMASS's .tar.bz2 archives must be unpacked first")
    return found


def _clip_from_bvh(path: Path) -> MotionClip:
    motion = read_bvh(path)
    result = retarget(motion, str(path))
    return MotionClip(
        path,
        result.body_pose,
        result.root_orient,
        motion.frame_rate,
        "BVH",
        path.parent.name,
        "",
        result.direction_error_degrees,
    )


def _pose_arrays(path: Path, archive: ArrayFile) -> tuple[np.ndarray, np.ndarray, str]:
    if "poses" in archive:
        poses = _numbers(path, archive, "poses")
        if poses.shape[1] not in POSES_WIDTHS:
            widths = ", ".join(f"{width} ({name})" for width, name in POSES_WIDTHS.items())
            raise MocapError(f"{path}: poses has shape {poses.shape}, expected (frames, one of {widths})")
        return poses[:, :3], poses[:, 3:66], POSES_WIDTHS[poses.shape[1]]
    if "root_orient" in archive and "pose_body" in archive:
        root, body = _numbers(path, archive, "root_orient"), _numbers(path, archive, "pose_body")
        if body.shape != (len(body), 63) or root.shape != (len(body), 3):
            raise MocapError(f"{path}: pose_body {body.shape}, root_orient {root.shape}; expected (T, 63), (T, 3)")
        return root, body, "pose_body"
    found = ", ".join(sorted(archive.keys)[:8]) or "nothing"
    raise NoMotionError(f"{path}: no motion. Found {found}; expected poses, or root_orient and pose_body")


def _without_failed(path: Path, archive: ArrayFile, *arrays: np.ndarray) -> list[np.ndarray]:
    """Rows of moments that were fitted or interpolated; those that failed have numbers that mean nothing."""
    status = archive.read("status", most=_MAX_BYTES)
    first = int(archive.read("first_row", most=_MAX_WORD_BYTES))
    fitted = status[first : first + len(arrays[0])] != "failed"
    if fitted.shape != (len(arrays[0]),):
        raise MocapError(f"{path}: {len(arrays[0])} poses from row {first}, but {len(status)} moments with a status")
    return [array[fitted] for array in arrays]


def _numbers(path: Path, archive: ArrayFile, key: str) -> np.ndarray:
    shape = archive.shape(key)
    if len(shape) != 2 or shape[0] > _MAX_FRAMES:
        raise MocapError(f"{path}: {key} has shape {shape}, expected (frames, width), at most {_MAX_FRAMES} frames")
    array = archive.read(key, most=_MAX_BYTES)
    if array.dtype.kind != "f":
        raise MocapError(f"{path}: {key} holds {array.dtype}, expected floating-point numbers")
    return np.asarray(array, dtype=np.float64)


def _frame_rate(path: Path, archive: ArrayFile) -> float:
    for key in _FRAME_RATE_KEYS:
        if key in archive:
            value = archive.read(key, most=_MAX_WORD_BYTES)
            if value.size != 1 or value.dtype.kind not in "fiu" or not 0 < float(value.item()) < 10_000:
                raise MocapError(f"{path}: {key} is {value!r:.80}, expected frames per second")
            return float(value.item())
    raise MocapError(f"{path}: no frame rate. Expected one of {', '.join(_FRAME_RATE_KEYS)}")


def _text(archive: ArrayFile, key: str) -> str:
    """A text of the file, or an empty one: not worth failing for."""
    try:
        word = str(archive.read(key, most=_MAX_WORD_BYTES).item()) if key in archive else ""
    except (MocapError, ValueError):
        return ""
    return word if word.isprintable() else ""
