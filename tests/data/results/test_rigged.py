"""Rigged bodies: whoever skins them by the file's own arrays gets the fitted mesh back."""

import json
import struct

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.results.meshes import COORDINATE_FRAMES, MeshError, to_frame
from bodyfit.data.results.rigged import save_rigged_glb

TYPES = {5126: np.float32, 5121: np.uint8, 5125: np.uint32}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@pytest.fixture(scope="module")
def body():
    return load_body_model()


@pytest.fixture(scope="module")
def parameters(body):
    rng = np.random.default_rng(0)
    return {
        "betas": rng.normal(size=(1, 10)),
        "expression": rng.normal(size=(1, 10)),
        "global_orient": np.array([[2.9, 0.3, -0.2]]),
        "body_pose": rng.normal(0, 0.35, (1, 63)),
        "jaw_pose": np.array([[0.2, 0.0, 0.0]]),
        "leye_pose": np.zeros((1, 3)),
        "reye_pose": np.zeros((1, 3)),
        "left_hand_pose": body.hand_mean_left[None],
        "right_hand_pose": body.hand_mean_right[None],
        "transl": np.array([[0.3, -0.2, 4.0]]),
    }


def read_glb(path):
    """The JSON and a function that gives an accessor's array."""
    data = path.read_bytes()
    magic, version, total, json_length, kind = struct.unpack_from("<4sIII4s", data)
    assert (magic, version, total, kind) == (b"glTF", 2, len(data), b"JSON")
    content = json.loads(data[20 : 20 + json_length])
    binary = data[28 + json_length :]

    def array(number):
        accessor = content["accessors"][number]
        view = content["bufferViews"][accessor["bufferView"]]
        width = WIDTHS[accessor["type"]]
        flat = np.frombuffer(
            binary, TYPES[accessor["componentType"]], accessor["count"] * width, view.get("byteOffset", 0)
        )
        return flat.reshape(accessor["count"], width)

    return content, array


def skinned(path):
    """Vertices by glTF's rule: weighted sums of the joints' world matrices times their inverse bind matrices."""
    content, array = read_glb(path)
    nodes, world = content["nodes"], {}

    def walk(index, parent):
        local = np.eye(4)
        local[:3, :3] = Rotation.from_quat(nodes[index].get("rotation", [0, 0, 0, 1])).as_matrix()
        local[:3, 3] = nodes[index].get("translation", [0, 0, 0])
        world[index] = parent @ local
        for child in nodes[index].get("children", []):
            walk(child, world[index])

    for index in content["scenes"][0]["nodes"]:
        walk(index, np.eye(4))
    [skin], attributes = content["skins"], content["meshes"][0]["primitives"][0]["attributes"]
    inverse_bind = array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    matrices = np.stack([world[joint] for joint in skin["joints"]]) @ inverse_bind
    points = np.concatenate([array(attributes["POSITION"]), np.ones((len(array(attributes["POSITION"])), 1))], axis=1)
    joints, weights = array(attributes["JOINTS_0"]), array(attributes["WEIGHTS_0"])
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    return np.einsum("vk,vkxy,vy->vx", weights, matrices[joints], points)[:, :3]


@pytest.mark.parametrize("frame", COORDINATE_FRAMES)
def test_skinning_the_file_gives_the_fitted_body(body, parameters, tmp_path, frame):
    path = save_rigged_glb(tmp_path / "x.glb", body, parameters, frame=frame)
    tensors = {name: torch.from_numpy(value) for name, value in parameters.items()}
    wanted = to_frame(pose_body(body, **tensors).vertices[0].numpy(), frame)
    distance = np.linalg.norm(skinned(path) - wanted, axis=1)
    assert np.median(distance) < 1e-3
    assert np.quantile(distance, 0.99) < 5e-3  # what the weights beyond the fourth do


def test_bones_are_named_and_hang_together(body, parameters, tmp_path):
    content, _ = read_glb(save_rigged_glb(tmp_path / "x.glb", body, parameters))
    nodes = content["nodes"]
    assert [nodes[joint]["name"] for joint in content["skins"][0]["joints"]] == list(body.joint_names)
    parents = {child: index for index, node in enumerate(nodes) for child in node.get("children", [])}
    assert [parents[joint] for joint in range(1, len(body.parents))] == body.parents[1:].tolist()


def test_other_programs_read_the_mesh(body, parameters, tmp_path):
    loaded = trimesh.load_mesh(save_rigged_glb(tmp_path / "x.glb", body, parameters), process=False)
    assert (len(loaded.vertices), len(loaded.faces)) == (body.num_vertices, len(body.faces))


def test_what_cannot_be_rigged_is_refused(body, parameters, tmp_path):
    with pytest.raises(MeshError, match=r"a rigged body is a \.glb, not '\.obj'"):
        save_rigged_glb(tmp_path / "x.obj", body, parameters)
    with pytest.raises(MeshError, match="frame must be one of opencv, opengl, blender, got 'maya'"):
        save_rigged_glb(tmp_path / "x.glb", body, parameters, frame="maya")
