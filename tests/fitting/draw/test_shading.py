"""Normals that lighting is computed from."""

import numpy as np
import trimesh

from bodyfit.fitting.draw.shading import vertex_normals


def test_normals_of_a_sphere_point_outwards():
    sphere = trimesh.creation.icosphere(4)
    normals = vertex_normals(np.asarray(sphere.vertices), np.asarray(sphere.faces))
    np.testing.assert_allclose((normals * sphere.vertices).sum(axis=1), 1, atol=1e-3)


def test_larger_faces_weigh_more_and_unused_vertices_have_none():
    """A face of area 3 in the xy plane and one of area 1 in the xz plane meet at an edge."""
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 6, 0], [0, 0, 2], [9, 9, 9]])
    normals = vertex_normals(vertices, np.array([[0, 1, 2], [0, 1, 3]]))
    np.testing.assert_allclose(normals[0], np.array([0, -1, 3]) / np.sqrt(10), atol=1e-12)
    np.testing.assert_allclose(normals[3], [0, -1, 0], atol=1e-12)
    np.testing.assert_array_equal(normals[4], 0)
