"""Wireframes lie where the mesh is seen and show its near side alone."""

import numpy as np

from bodyfit.fitting.draw.wireframe import draw_wireframe

WHITE = np.full((100, 200, 3), 255, dtype=np.uint8)
CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (4, 6)], dtype=float)
NEAR = np.array([[0, 4, 6], [0, 6, 2]])  # z = 4, seen from the camera at the origin


def painted(faces, vertices=CUBE):
    drawn = draw_wireframe(WHITE, (vertices, faces), focal_px=100.0, center_px=(99.5, 49.5), colour=(0, 0, 255))
    return np.argwhere((drawn != 255).any(axis=-1))


def test_edges_lie_where_the_points_project():
    facing = painted(NEAR)
    if not len(facing):
        facing = painted(NEAR[:, ::-1])
    low, high = facing.min(axis=0), facing.max(axis=0)
    np.testing.assert_allclose(low, (24, 74), atol=1.5)  # 100 / 4 pixels from the centre
    np.testing.assert_allclose(high, (75, 125), atol=1.5)


def test_one_side_of_a_triangle_shows():
    assert (len(painted(NEAR)) > 0) != (len(painted(NEAR[:, ::-1])) > 0)


def test_what_is_behind_the_camera_is_left_out():
    assert not len(painted(np.concatenate([NEAR, NEAR[:, ::-1]]), CUBE - (0, 0, 6)))
