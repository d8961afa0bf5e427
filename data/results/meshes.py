"""Mesh files with the vertices in their own order, and the frames that programs expect them in."""

from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import check_file, write_atomically

CoordinateFrame = Literal["opencv", "opengl", "blender"]

COORDINATE_FRAMES: dict[CoordinateFrame, np.ndarray] = {
    "opencv": np.diag([1.0, 1.0, 1.0]),  # x right, y down, z away from the camera
    "opengl": np.diag([1.0, -1.0, -1.0]),  # x right, y up, z towards the camera; glTF and most game engines
    "blender": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),  # x right, y away, z up
}
"""`points @ COORDINATE_FRAMES[frame].T` takes points from the camera frame (OpenCV) to another; all are rotations."""

MESH_SUFFIXES = (".obj", ".ply", ".glb")


_MOST_BYTES = 64 * 1024**2
"""A body takes 1 to 2 MB."""
_LARGEST_M = 1e9


class MeshError(BodyfitError):
    """A mesh file that cannot be written or read."""


def to_frame(points: Float[np.ndarray, "*n 3"], frame: CoordinateFrame) -> Float[np.ndarray, "*n 3"]:
    """Points of the camera frame (OpenCV) in another frame; MeshError for an unknown one."""
    if frame not in COORDINATE_FRAMES:
        raise MeshError(f"frame must be one of {', '.join(get_args(CoordinateFrame))}, got '{frame}'.")
    return points @ COORDINATE_FRAMES[frame].T


def save_mesh(
    path: Path | str,
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    *,
    frame: CoordinateFrame = "opencv",
    colour: tuple[int, int, int] | None = None,
) -> Path:
    """Write .obj, .ply (binary) or .glb by the suffix; vertex i of the file is vertex i of `vertices`.

    Args:
        vertices: Metres, in the camera frame (OpenCV).
        frame: What to write them in. Programs that read .glb take y for up: "opengl" stands upright there.
        colour: RGB of the whole body, 0 to 255; .ply and .glb keep it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise MeshError(f"{path}: a mesh file ends in {', '.join(MESH_SUFFIXES)}, not '{path.suffix}'.")
    placed = to_frame(np.asarray(vertices, dtype=float), frame)
    content = _obj(placed, np.asarray(faces)) if suffix == ".obj" else _by_trimesh(placed, faces, suffix, colour)
    return write_atomically(path, lambda temporary: temporary.write_bytes(content))


def _by_trimesh(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], suffix: str, colour: tuple[int, int, int] | None
) -> bytes:
    import trimesh  # and scipy with it, half a second

    # process=False: trimesh would merge and reorder vertices, and vertex numbers would no longer be the body model's.
    mesh = trimesh.Trimesh(vertices, np.asarray(faces), process=False)
    if colour is not None:
        mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=np.tile([*colour, 255], (len(vertices), 1)))
    if suffix == ".ply":
        return trimesh.exchange.ply.export_ply(mesh, vertex_normal=True)
    return trimesh.exchange.gltf.export_glb(trimesh.Scene(mesh), include_normals=True)


def _obj(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> bytes:
    """As trimesh writes it with seven digits, seven times as fast."""
    points = ("v %.7f %.7f %.7f\n" * len(vertices)) % tuple(vertices.ravel().tolist())
    return f"# bodyfit\n{points}{_obj_faces(faces.shape, faces.tobytes(), faces.dtype.str)}".encode()


@lru_cache(maxsize=4)
def _obj_faces(shape: tuple[int, ...], content: bytes, kind: str) -> str:
    """The lines of the triangles, which are the same for every person."""
    faces = np.frombuffer(content, dtype=kind).reshape(shape)
    return ("f %d %d %d\n" * len(faces)) % tuple((faces + 1).ravel().tolist())


def load_mesh(path: Path | str) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]:
    """Vertices (in the frame of the file) and faces of an .obj, .ply or .glb, in the file's order.

    Nothing but the file itself is read: materials, textures and buffers that it names in other files are left out.
    """
    import trimesh

    path = Path(path)
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise MeshError(f"{path}: a mesh file ends in {', '.join(MESH_SUFFIXES)}, not '{path.suffix}'.")
    check_file(path, MeshError, most=_MOST_BYTES)
    try:
        with path.open("rb") as stream:  # a stream has no folder in which other files could be found
            mesh = trimesh.load_mesh(
                stream, file_type=path.suffix[1:].lower(), process=False, maintain_order=True, skip_materials=True
            )
    except Exception as cause:  # trimesh passes on whatever its parsers raise
        raise MeshError(f"{path}: not a mesh that can be read ({cause}).") from cause
    vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)
    if not len(vertices) or not len(faces) or not (np.abs(vertices) < _LARGEST_M).all():  # NaN is not
        raise MeshError(f"{path}: a mesh without vertices or faces, or with vertices that are no places in metres.")
    return vertices, faces
