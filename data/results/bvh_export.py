"""Results as BVH motion: the body's skeleton at its shape, and a frame for each result of a person."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import full_pose, pose_body
from bodyfit.data.results.exports import mean_betas, moved
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.worlds import Place

_CM = 100.0
_ROTATIONS = "Zrotation Xrotation Yrotation"
_POSES = ("jaw_pose", "leye_pose", "reye_pose", "left_hand_pose", "right_hand_pose")


def bvh(body: BodyModel, results: Sequence[FitResult], places: Sequence[Place], frame_rate: float) -> str:
    """The motion of one person as the text of a .bvh: centimetres, degrees, joints under SMPL-X's names.

    Args:
        body: The body that all results belong to; the skeleton has the mean of their shapes.
        results: One for each frame.
        places: For each result what takes the camera frame to the file's; most programs want y up
            (`COORDINATE_FRAMES["opengl"]`).
        frame_rate: Frames per second.
    """
    poses, places_of_root = [], []
    for result, place in zip(results, places, strict=True):
        turned, transl = moved(body, result, *place)
        given = {name: torch.from_numpy(value) for name, value in result.parameters().items()}
        turned = torch.from_numpy(turned)[None]
        poses.append(full_pose(body, given["betas"], turned, given["body_pose"], *(given[n] for n in _POSES))[0])
        places_of_root.append(transl)
    betas = mean_betas(results)
    return "".join(bvh_lines(body, betas, torch.stack(poses).numpy(), np.stack(places_of_root), frame_rate))


def bvh_lines(
    body: BodyModel,
    betas: Float[np.ndarray, " Nb"],
    pose: Float[np.ndarray, "T J 3"],
    transl: Float[np.ndarray, "T 3"],
    frame_rate: float,
) -> Iterator[str]:
    """Lines of a .bvh; `pose` is `full_pose`, axis-angle, and `transl` metres, both in the frame of the file."""
    given = torch.from_numpy(np.asarray(betas, dtype=float))[None]
    zero = {"global_orient": torch.zeros(1, 3).double(), "body_pose": torch.zeros(1, 63).double()}
    rest = pose_body(body, betas=given, **zero).joints[0].numpy() * _CM
    for line in ("HIERARCHY", *_joint_lines(body, rest, 0, 0), "MOTION", f"Frames: {len(pose)}"):
        yield f"{line}\n"
    yield f"Frame Time: {1 / frame_rate:.10f}\n"
    order = _depth_first(body, 0)
    for turns, moved_by in zip(pose, transl, strict=True):
        angles = Rotation.from_rotvec(turns[order]).as_euler("ZXY", degrees=True)
        yield " ".join(f"{value:.5f}" for value in (*(rest[0] + moved_by * _CM), *angles.ravel())) + "\n"


def _joint_lines(body: BodyModel, rest: Float[np.ndarray, "J 3"], joint: int, depth: int) -> list[str]:
    indent = "  " * depth
    parent = body.parents[joint]
    offset = rest[joint] - rest[parent] if parent >= 0 else np.zeros(3)
    channels = f"3 {_ROTATIONS}" if parent >= 0 else f"6 Xposition Yposition Zposition {_ROTATIONS}"
    children = np.flatnonzero(body.parents == joint)
    lines = [
        f"{indent}{'JOINT' if parent >= 0 else 'ROOT'} {body.joint_names[joint]}",
        f"{indent}{{",
        f"{indent}  OFFSET {_numbers(offset)}",
        f"{indent}  CHANNELS {channels}",
    ]
    for child in children:
        lines += _joint_lines(body, rest, int(child), depth + 1)
    if not len(children):  # a bone needs an end: as long again as to its parent, at most 8 cm
        end = offset * min(1.0, 8.0 / max(float(np.linalg.norm(offset)), 1e-6))
        lines += [f"{indent}  End Site", f"{indent}  {{", f"{indent}    OFFSET {_numbers(end)}", f"{indent}  }}"]
    return [*lines, f"{indent}}}"]


def _depth_first(body: BodyModel, joint: int) -> list[int]:
    """Joints in the order in which the hierarchy names them, which is that of the numbers."""
    order = [joint]
    for child in np.flatnonzero(body.parents == joint):
        order += _depth_first(body, int(child))
    return order


def _numbers(values: Float[np.ndarray, " 3"]) -> str:
    return " ".join(f"{value:.6f}" for value in values)
