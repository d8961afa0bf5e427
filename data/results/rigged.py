"""A body with its skeleton as binary glTF (.glb), which Blender and game engines open as a mesh bound to an armature.

The file holds the unposed body, its joints' rotations in the pose, and the four strongest blend weights of each vertex;
a program that opens it poses the body by linear blend skinning. Khronos Group, "glTF 2.0 Specification", section 3.7.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from roma import rotmat_to_unitquat, rotvec_to_rotmat, rotvec_to_unitquat

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import full_pose, pose_body
from bodyfit.data.files import write_atomically
from bodyfit.data.results.glb_file import BYTE, FLOAT, INDICES, UINT, VERTICES, GlbFile
from bodyfit.data.results.meshes import COORDINATE_FRAMES, CoordinateFrame, MeshError
from bodyfit.data.results.worlds import Place

_GREY = (200, 200, 205)
_STRONGEST = 4  # joints a vertex; what every reader of glTF takes
_POSES = ("global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose", "left_hand_pose", "right_hand_pose")


def save_rigged_glb(
    path: Path | str,
    body: BodyModel,
    parameters: Mapping[str, Float[np.ndarray, "1 n"]],
    *,
    frame: CoordinateFrame = "opengl",
    colour: tuple[int, int, int] = _GREY,
) -> Path:
    """Write one person as .glb with skeleton and skin, standing in the pose.

    Args:
        body: The body model that the parameters belong to.
        parameters: `FitResult.parameters()`.
        frame: Axes of the file; programs that read .glb take y for up: "opengl" stands upright there.
        colour: sRGB of the body, 0 to 255.

    The pose correctives of this pose are part of the unposed vertices, so the body is right in it (but for the
    weights beyond the four strongest) and close in others. Raises MeshError for another suffix or an unknown frame.
    """
    path = Path(path)
    if path.suffix.lower() != ".glb":
        raise MeshError(f"{path}: a rigged body is a .glb, not '{path.suffix}'.")
    if frame not in COORDINATE_FRAMES:
        raise MeshError(f"frame must be one of {', '.join(COORDINATE_FRAMES)}, got '{frame}'.")
    vertices, joints, turns = _at_rest(body, parameters)
    file = GlbFile()
    transl = np.asarray(parameters.get("transl", np.zeros((1, 3))))[0]
    content = rig(
        file, body, vertices, joints, turns, transl, place=(COORDINATE_FRAMES[frame], np.zeros(3)), colour=colour
    )
    return write_atomically(path, lambda temporary: temporary.write_bytes(file.packed(content)))


def rig(
    file: GlbFile,
    body: BodyModel,
    vertices: Float[np.ndarray, "V 3"],
    joints: Float[np.ndarray, "J 3"],
    turns: Float[np.ndarray, "J 4"],
    transl: Float[np.ndarray, " 3"],
    *,
    place: Place,
    colour: tuple[int, int, int] = _GREY,
) -> dict:
    """The JSON of one skinned body, whose arrays are put into `file`. Node j is joint j; mesh and skin are number 0.

    Args:
        vertices: Unposed.
        joints: Unposed.
        turns: Rotation of each joint about its parent, as quaternions (x, y, z, w).
        transl: What the whole body is moved by.
        place: Rotation and shift to the frame of the file.
        colour: sRGB of the body, 0 to 255.
    """
    strongest, shares = strongest_weights(body.weights)
    attributes = {
        "POSITION": file.add(vertices, "VEC3", FLOAT, target=VERTICES, bounds=True),
        "NORMAL": file.add(_normals(vertices, body.faces), "VEC3", FLOAT, target=VERTICES),
        "JOINTS_0": file.add(strongest, "VEC4", BYTE, target=VERTICES),
        "WEIGHTS_0": file.add(shares, "VEC4", FLOAT, target=VERTICES),
    }
    inverse_bind = np.tile(np.eye(4), (len(joints), 1, 1))
    inverse_bind[:, 3, :3] = -joints  # glTF stores matrices column by column
    indices = file.add(body.faces.ravel(), "SCALAR", UINT, target=INDICES)
    root, mesh = len(joints), len(joints) + 1
    moved = {"translation": place[1].tolist()} if place[1].any() else {}
    return {
        "asset": {"version": "2.0", "generator": "bodyfit"},
        "scene": 0,
        "scenes": [{"nodes": [root, mesh]}],
        "nodes": [
            *_joint_nodes(body, joints, turns, transl),
            {"name": "bodyfit", "rotation": _quaternion(place[0]), **moved, "children": [0]},
            {"name": "body", "mesh": 0, "skin": 0},
        ],
        "skins": [
            {
                "joints": list(range(len(joints))),
                "skeleton": 0,
                "inverseBindMatrices": file.add(inverse_bind.reshape(-1, 16), "MAT4", FLOAT),
            }
        ],
        "meshes": [{"name": "body", "primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "materials": [{"name": "body", "pbrMetallicRoughness": _paint(colour)}],
    }


def _at_rest(
    body: BodyModel, parameters: Mapping[str, np.ndarray]
) -> tuple[Float[np.ndarray, "V 3"], Float[np.ndarray, "J 3"], Float[np.ndarray, "J 4"]]:
    """Unposed vertices (corrected for the pose), unposed joints, and each joint's turn as a quaternion (x, y, z, w)."""
    given = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in parameters.items()}
    pose = full_pose(body, given["betas"], *(given.get(name) for name in _POSES))[0]
    straight = {name: torch.zeros_like(given[name]) for name in ("global_orient", "body_pose")}
    rest = pose_body(body, betas=given["betas"], expression=given.get("expression"), **straight)
    away = (rotvec_to_rotmat(pose[1:]) - torch.eye(3, dtype=pose.dtype)).flatten()
    vertices = rest.vertices[0].numpy() + body.posedirs @ away.numpy()
    return vertices, rest.joints[0].numpy(), rotvec_to_unitquat(pose).numpy()


def _normals(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V 3"]:
    """Unit normals, each the area-weighted mean of its triangles'; up where no triangle says."""
    import trimesh

    normals = np.array(trimesh.Trimesh(vertices, faces, process=False).vertex_normals)
    normals[np.linalg.norm(normals, axis=1) < 0.5] = (0.0, 1.0, 0.0)
    return normals


def strongest_weights(
    weights: Float[np.ndarray, "V J"],
) -> tuple[UInt8[np.ndarray, "V 4"], Float[np.ndarray, "V 4"]]:
    """The joints that move a vertex most, strongest first, and their shares, which sum to one."""
    strongest = np.argsort(-weights, axis=1, kind="stable")[:, :_STRONGEST]
    shares = np.take_along_axis(weights, strongest, axis=1)
    shares = np.maximum(shares, 0) / np.maximum(shares, 0).sum(axis=1, keepdims=True)
    return np.where(shares > 0, strongest, 0).astype(np.uint8), shares


def _joint_nodes(body: BodyModel, joints, turns, transl) -> list[dict]:
    nodes = []
    for index, (name, parent) in enumerate(zip(body.joint_names, body.parents, strict=True)):
        place = joints[index] - joints[parent] if parent >= 0 else joints[index] + transl
        node = {"name": name, "translation": place.tolist(), "rotation": turns[index].tolist()}
        children = np.flatnonzero(body.parents == index).tolist()
        nodes.append(node | ({"children": children} if children else {}))
    return nodes


def _paint(colour: tuple[int, int, int]) -> dict:
    linear = [round((channel / 255) ** 2.2, 4) for channel in colour]  # glTF's factors are linear
    return {"baseColorFactor": [*linear, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}


def _quaternion(rotation: Float[np.ndarray, "3 3"]) -> list[float]:
    return rotmat_to_unitquat(torch.from_numpy(rotation)).tolist()
