"""BVH motion files: the tree of joints with rest offsets and, for every frame, the global orientation of each joint.

The format is Biovision's: a HIERARCHY of ROOT, JOINT and End Site blocks with OFFSET and CHANNELS, then MOTION with a
row of numbers a frame. Rotations are Euler angles in degrees, applied in the order the channels are listed.
"""

import itertools
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import read_bytes

_MAX_JOINTS = 1000
_MAX_DEPTH = 100
_MAX_BYTES = 128 * 1024**2
_MAX_ROTATIONS = 6_000_000
"""Frames times joints: half an hour of 30 joints at 100 frames a second, 430 MB."""
_LARGEST = 1e6
"""Of offsets and channels, in the file's unit or degrees."""
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
    text = read_bytes(path, BvhError, most=_MAX_BYTES).decode(errors="replace")
    head, separator, motion = text.partition("MOTION")
    if not separator or not head.lstrip("\ufeff \t\r\n").startswith("HIERARCHY"):
        raise BvhError(f"{path}: expected a HIERARCHY and a MOTION part, found neither or one")
    joints = _read_hierarchy(path, head.split()[1:])
    values, frame_rate = _read_motion(path, motion, joints)
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
                joint, count = joints[open_joints[-1]], int(next(stream))
                if not 0 <= count <= 6 or joint.channels:
                    raise BvhError(f"{path}: joint {joint.name:.40} has {count} channels, expected 0 to 6, once")
                joint.channels = tuple(itertools.islice(stream, count))
            else:
                raise BvhError(f"{path}: unknown word {word[:40]!r} in the HIERARCHY")
            if len(open_joints) > _MAX_DEPTH:
                raise BvhError(f"{path}: more than {_MAX_DEPTH} joints in a chain")
            if len(joints) > _MAX_JOINTS:
                raise BvhError(f"{path}: more than {_MAX_JOINTS} joints")
    except BvhError:
        raise
    except (ValueError, IndexError, StopIteration):
        raise BvhError(f"{path}: the HIERARCHY is damaged near joint {len(joints)}") from None
    if not joints or open_joints:
        raise BvhError(f"{path}: the HIERARCHY ends before its braces are closed")
    for joint in joints:
        if unknown := set(joint.channels) - set(_ROTATION_CHANNELS) - set(_POSITION_CHANNELS):
            raise BvhError(f"{path}: joint {joint.name:.40} has unknown channels {', '.join(sorted(unknown)):.80}")
        if len(set(joint.channels)) < len(joint.channels):
            raise BvhError(f"{path}: joint {joint.name:.40} has a channel twice: {' '.join(joint.channels)}")
        if not all(abs(number) < _LARGEST for number in joint.offset):
            raise BvhError(f"{path}: joint {joint.name:.40} has an offset of {joint.offset}, expected lengths")
    return joints


def _read_motion(path: Path, text: str, joints: list[_Joint]) -> tuple[Float[np.ndarray, "T C"], float]:
    width = sum(len(joint.channels) for joint in joints)
    lines = text.strip().replace("\r", "\n").replace("\n\n", "\n").split("\n", 2)
    try:
        frames = int(lines[0].split(":")[1])
        seconds = float(lines[1].split(":")[1])
        if not 0 < frames * len(joints) <= _MAX_ROTATIONS:
            raise BvhError(
                f"{path}: {frames} frames of {len(joints)} joints announced. Expected at most {_MAX_ROTATIONS} "
                "rotations; cut a longer recording into pieces"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # numpy's for words between the numbers
            values = np.fromstring(lines[2], dtype=np.float64, sep=" ")
    except BvhError:
        raise
    except (IndexError, ValueError, OverflowError, DeprecationWarning):
        raise BvhError(f"{path}: expected 'Frames: N', 'Frame Time: s' and rows of numbers after MOTION") from None
    if not 1e-4 < seconds < 10 or not (np.abs(values) < _LARGEST).all():
        raise BvhError(f"{path}: a frame time of {seconds} s or numbers beyond {_LARGEST:.0e}")
    if len(values) != frames * width or not width:
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
