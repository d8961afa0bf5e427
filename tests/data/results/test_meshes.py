"""Mesh files keep every vertex in its place, whatever the format and frame."""

import numpy as np
import pytest

from bodyfit.data.results.meshes import COORDINATE_FRAMES, MeshError, load_mesh, save_mesh, to_frame

RNG = np.random.default_rng(0)
VERTICES = RNG.normal((0, 0, 4), 1, size=(60, 3))
VERTICES[7] = VERTICES[3]  # a double that a tidy reader would merge
FACES = RNG.permutation(60).reshape(20, 3)
FACES[0] = (5, 5, 6)  # a triangle that a tidy reader would drop


@pytest.mark.parametrize("frame", COORDINATE_FRAMES)
@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_vertices_and_faces_keep_order(tmp_path, suffix, frame):
    path = save_mesh(tmp_path / f"x{suffix}", VERTICES, FACES, frame=frame, colour=(10, 20, 30))
    vertices, faces = load_mesh(path)
    np.testing.assert_allclose(vertices, to_frame(VERTICES, frame), atol=1e-6)
    np.testing.assert_array_equal(faces, FACES)


def test_frames_turn_the_body_but_never_mirror_it():
    ahead_and_up = np.array([0.0, -1.0, 5.0])  # in the camera frame y points down
    np.testing.assert_array_equal(to_frame(ahead_and_up, "opencv"), [0, -1, 5])
    np.testing.assert_array_equal(to_frame(ahead_and_up, "opengl"), [0, 1, -5])
    np.testing.assert_array_equal(to_frame(ahead_and_up, "blender"), [0, 5, 1])
    for rotation in COORDINATE_FRAMES.values():
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3))
        assert np.linalg.det(rotation) == pytest.approx(1)


def test_wrong_names_are_refused(tmp_path):
    with pytest.raises(MeshError, match=r"ends in \.obj, \.ply, \.glb, not '\.fbx'"):
        save_mesh(tmp_path / "x.fbx", VERTICES, FACES)
    with pytest.raises(MeshError, match="frame must be one of opencv, opengl, blender, got 'maya'"):
        save_mesh(tmp_path / "x.obj", VERTICES, FACES, frame="maya")
    (tmp_path / "x.ply").write_text("nothing")
    with pytest.raises(MeshError, match=r"x\.ply: not a mesh"):
        load_mesh(tmp_path / "x.ply")
