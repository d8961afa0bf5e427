"""BVH motion files: the tree of joints with rest offsets and, for every frame, the global orientation of each joint.

The format is Biovision's: a HIERARCHY of ROOT, JOINT and End Site blocks with OFFSET and CHANNELS, then MOTION with a
row of numbers a frame. Rotations are Euler angles in degrees, applied in the order the channels are listed.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from bodyfit.data.errors import BodyfitError

_MAX_JOINTS = 1000
_MAX_BYTES = 1 << 30
_ROTATION_CHANNELS = {"Xrotation": "X", "Yrotation": "Y", "Zrotation": "Z"}
_POSITION_CHANNELS = ("Xposition", "Yposition", "Zposition")


class BvhError(BodyfitError):
    """A BVH file that cannot be read."""


@dataclass(frozen=True)
class BvhMotion:
    """A skeleton with N joints (End Sites among them, named `<parent>_end`) and T frames."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Float[np.ndarray, "N 3"]
    """Rest offset from the parent, in the file's own unit of length."""
    orientations: Float[np.ndarray, "T N 3 3"]
    """Global orientation of each joint's frame; the identity for all is the rest pose."""
    frame_rate: float


@dataclass
class _Joint:
    name: str
    parent: int
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channels: tuple[str, ...] = ()


def read_bvh(path: str | Path) -> BvhMotion:
    """Read a .bvh. Raises BvhError naming the file and what was found."""
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BvhError(f"{path}: larger than 1 GB, which no single recording is")
        text = path.read_text(errors="replace")
    except OSError as error:
        raise BvhError(f"{path}: cannot be read ({error.strerror})") from None
    head, separator, motion = text.partition("MOTION")
    if not separator or not head.lstrip("\ufeff \t\r\n").startswith("HIERARCHY"):
        raise BvhError(f"{path}: expected a HIERARCHY and a MOTION part, found neither or one")
    joints = _read_hierarchy(path, head.split()[1:])
    values, frame_rate = _read_motion(path, motion, sum(len(joint.channels) for joint in joints))
    return BvhMotion(
        tuple(joint.name for joint in joints),
        tuple(joint.parent for joint in joints),
        np.array([joint.offset for joint in joints], dtype=np.float64),
        _global_orientations(joints, values),
        frame_rate,
    )


def _read_hierarchy(path: Path, words: list[str]) -> list[_Joint]:
    joints: list[_Joint] = []
    open_joints: list[int] = []
    stream = iter(words)
    try:
        for word in stream:
            if word in ("ROOT", "JOINT", "End"):
                parent = open_joints[-1] if open_joints else -1
                name = next(stream)
                joints.append(_Joint(f"{joints[parent].name}_end" if word == "End" else name, parent))
            elif word == "{":
                open_joints.append(len(joints) - 1)
            elif word == "}":
                open_joints.pop()
            elif word == "OFFSET":
                joints[open_joints[-1]].offset = (float(next(stream)), float(next(stream)), float(next(stream)))
            elif word == "CHANNELS":
                joints[open_joints[-1]].channels = tuple(next(stream) for _ in range(int(next(stream))))
            else:
                raise BvhError(f"{path}: unknown word {word[:40]!r} in the HIERARCHY")
            if len(joints) > _MAX_JOINTS:
                raise BvhError(f"{path}: more than {_MAX_JOINTS} joints")
    except (ValueError, IndexError, StopIteration) as error:
        if isinstance(error, BvhError):
            raise
        raise BvhError(f"{path}: the HIERARCHY is damaged near joint {len(joints)}") from None
    if not joints or open_joints:
        raise BvhError(f"{path}: the HIERARCHY ends before its braces are closed")
    for joint in joints:
        if unknown := set(joint.channels) - set(_ROTATION_CHANNELS) - set(_POSITION_CHANNELS):
            raise BvhError(f"{path}: joint {joint.name} has unknown channels {sorted(unknown)}")
    return joints


def _read_motion(path: Path, text: str, width: int) -> tuple[Float[np.ndarray, "T C"], float]:
    lines = text.strip().splitlines()
    try:
        frames = int(lines[0].split(":")[1])
        seconds = float(lines[1].split(":")[1])
        values = np.array(" ".join(lines[2:]).split(), dtype=np.float64)
    except (IndexError, ValueError):
        raise BvhError(f"{path}: expected 'Frames: N', 'Frame Time: s' and rows of numbers after MOTION") from None
    if not 0 < seconds < 10 or not np.isfinite(values).all():
        raise BvhError(f"{path}: a frame time of {seconds} s or numbers that are not finite")
    if len(values) != frames * width or frames < 1:
        raise BvhError(f"{path}: {frames} frames of {width} channels announced, {len(values)} numbers found")
    return values.reshape(frames, width), 1 / seconds


def _global_orientations(joints: list[_Joint], values: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "T N 3 3"]:
    orientations = np.empty((len(values), len(joints), 3, 3))
    start = 0
    for index, joint in enumerate(joints):
        columns = values[:, start : start + len(joint.channels)]
        start += len(joint.channels)
        turning = [i for i, channel in enumerate(joint.channels) if channel in _ROTATION_CHANNELS]
        local = np.eye(3)
        if turning:
            # Capital letters: each rotation is about the axes the previous ones left, as the format has it.
            order = "".join(_ROTATION_CHANNELS[joint.channels[i]] for i in turning)
            local = Rotation.from_euler(order, columns[:, turning], degrees=True).as_matrix()
        orientations[:, index] = local if joint.parent < 0 else orientations[:, joint.parent] @ local
    return orientations
