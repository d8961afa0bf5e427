"""Meshes packed for a page: decoded here as viewer.js does, in Python."""

import base64
import zlib

import numpy as np
import pytest
import trimesh

from bodyfit.fitting.show.mesh_code import Topology, encode_vertices


def unpack(text, size):
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(size, -1).T
    zigzag = np.ascontiguousarray(planes).view(f"<u{size}").ravel().astype(np.int64)
    return (zigzag >> 1) ^ -(zigzag & 1)


def decode(mesh, topology):
    parents = np.arange(topology["vertices"]) - unpack(topology["parents"], 4)
    steps = unpack(mesh["data"], 2).reshape(3, -1).T.copy()
    for i in range(1, len(steps)):
        steps[i] += steps[parents[i]]
    faces = np.cumsum(unpack(topology["faces"], 4)).reshape(-1, 3)
    return np.array(mesh["origin"]) + mesh["step"] * steps, faces


@pytest.fixture(params=["one piece", "body", "giant"])
def mesh(request, open_body):
    if request.param == "body":
        return open_body.v_template + np.array(
            [0.3, 0.2, 4.0]
        ), open_body.faces  # eyes and teeth are pieces of their own
    sphere = trimesh.creation.icosphere(3, 0.5 if request.param == "one piece" else 40.0)
    return np.asarray(sphere.vertices), np.asarray(sphere.faces)


def test_decoded_mesh_is_the_same_to_half_a_step(mesh):
    vertices, faces = mesh
    topology = Topology.of(faces, len(vertices))
    code = encode_vertices(vertices, topology)
    decoded, decoded_faces = decode(code, topology.encoded())
    np.testing.assert_allclose(decoded, vertices[topology.order], atol=0.51 * code["step"] + 1e-5)
    np.testing.assert_array_equal(topology.order[decoded_faces], faces)


def test_every_vertex_follows_the_one_it_is_told_from(mesh):
    vertices, faces = mesh
    topology = Topology.of(faces, len(vertices))
    assert sorted(topology.order) == list(range(len(vertices)))
    assert (topology.parents < np.arange(len(vertices))).all()


def test_a_body_takes_at_most_sixty_kilobytes(open_body):
    topology = Topology.of(open_body.faces, len(open_body.v_template))
    assert len(encode_vertices(open_body.v_template, topology)["data"]) < 60_000
