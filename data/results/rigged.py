"""A body with its skeleton as binary glTF (.glb), which Blender and game engines open as a mesh bound to an armature.

The file holds the unposed body, its joints' rotations in the pose, and the four strongest blend weights of each vertex;
a program that opens it poses the body by linear blend skinning. Khronos Group, "glTF 2.0 Specification", section 3.7.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from roma import rotmat_to_unitquat, rotvec_to_rotmat, rotvec_to_unitquat

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import full_pose, pose_body
from bodyfit.data.files import write_atomically
from bodyfit.data.results.meshes import COORDINATE_FRAMES, CoordinateFrame, MeshError

_STRONGEST = 4  # joints a vertex; what every reader of glTF takes
_FLOAT, _BYTE, _UINT = 5126, 5121, 5125  # component types
_VERTICES, _INDICES = 34962, 34963  # buffer view targets
_POSES = ("global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose", "left_hand_pose", "right_hand_pose")


def save_rigged_glb(
    path: Path | str,
    body: BodyModel,
    parameters: Mapping[str, Float[np.ndarray, "1 n"]],
    *,
    frame: CoordinateFrame = "opengl",
    colour: tuple[int, int, int] = (200, 200, 205),
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
    strongest, shares = _strongest_weights(body.weights)
    file = _GlbFile()
    attributes = {
        "POSITION": file.add(vertices, "VEC3", _FLOAT, target=_VERTICES, bounds=True),
        "NORMAL": file.add(_normals(vertices, body.faces), "VEC3", _FLOAT, target=_VERTICES),
        "JOINTS_0": file.add(strongest, "VEC4", _BYTE, target=_VERTICES),
        "WEIGHTS_0": file.add(shares, "VEC4", _FLOAT, target=_VERTICES),
    }
    inverse_bind = np.tile(np.eye(4), (len(joints), 1, 1))
    inverse_bind[:, 3, :3] = -joints  # glTF stores matrices column by column
    indices = file.add(body.faces.ravel(), "SCALAR", _UINT, target=_INDICES)
    root, mesh = len(joints), len(joints) + 1
    transl = np.asarray(parameters.get("transl", np.zeros((1, 3))))[0]
    content = {
        "asset": {"version": "2.0", "generator": "bodyfit"},
        "scene": 0,
        "scenes": [{"nodes": [root, mesh]}],
        "nodes": [
            *_joint_nodes(body, joints, turns, transl),
            {"name": "bodyfit", "rotation": _quaternion(COORDINATE_FRAMES[frame]), "children": [0]},
            {"name": "body", "mesh": 0, "skin": 0},
        ],
        "skins": [
            {
                "joints": list(range(len(joints))),
                "skeleton": 0,
                "inverseBindMatrices": file.add(inverse_bind.reshape(-1, 16), "MAT4", _FLOAT),
            }
        ],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": _paint(colour)}],
    }
    return write_atomically(path, lambda temporary: temporary.write_bytes(file.packed(content)))


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


def _strongest_weights(
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


class _GlbFile:
    """Collects arrays into the one binary buffer of a .glb."""

    _TYPES = {_FLOAT: np.float32, _BYTE: np.uint8, _UINT: np.uint32}  # noqa: RUF012

    def __init__(self) -> None:
        self._views: list[dict] = []
        self._accessors: list[dict] = []
        self._data = bytearray()

    def add(self, array: np.ndarray, shape: str, component: int, *, target: int | None = None, bounds=False) -> int:
        """Number of the accessor that an array of `shape` ("VEC3", ...) gets."""
        array = np.ascontiguousarray(array, dtype=self._TYPES[component])
        view = {"buffer": 0, "byteOffset": len(self._data), "byteLength": array.nbytes}
        self._views.append(view | ({} if target is None else {"target": target}))
        self._data += array.tobytes() + bytes(-array.nbytes % 4)
        accessor = {"bufferView": len(self._views) - 1, "componentType": component, "count": len(array), "type": shape}
        if bounds:
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def packed(self, content: dict) -> bytes:
        """The whole file: header, JSON chunk, binary chunk."""
        content = content | {
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._data)}],
        }
        text = json.dumps(content, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(self._data))
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(self._data), b"BIN\0")
        return head + chunks + bytes(self._data)
