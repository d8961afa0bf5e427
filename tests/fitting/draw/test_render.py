"""Pictures of meshes: where the pinhole puts them, who stands in front, and that both backends draw the same."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import trimesh

from bodyfit.fitting.draw import gl_renderer, layers, render
from bodyfit.fitting.draw.colours import person_colour
from bodyfit.fitting.draw.rasteriser import Camera
from bodyfit.fitting.draw.render import draw_meshes, render_mesh_sheet, render_overlay, render_view

CAMERA = Camera(focal_px=400.0, center_px=(159.5, 119.5), image_size=(240, 320))
WHITE = np.full((240, 320, 3), 255, dtype=np.uint8)

BACKENDS = [
    "software",
    pytest.param(
        "egl", marks=pytest.mark.skipif(gl_renderer.gl_renderer() is None, reason="no EGL context can be made here")
    ),
]
needs_egl = BACKENDS[1].marks[0]


def sphere(centre, radius=0.3, detail=4):
    mesh = trimesh.creation.icosphere(detail, radius)
    return np.asarray(mesh.vertices) + centre, np.asarray(mesh.faces)


def rectangle(left, top, right, bottom, z):
    """A flat rectangle whose edges fall on the given pixel coordinates of CAMERA."""
    u, v = np.array([left, right, right, left]), np.array([top, top, bottom, bottom])
    x = (u - CAMERA.center_px[0]) * z / CAMERA.focal_px
    y = (v - CAMERA.center_px[1]) * z / CAMERA.focal_px
    return np.stack([x, y, np.full(4, z)], axis=1), np.array([[0, 1, 2], [0, 2, 3]])


def mask(meshes, backend, camera=CAMERA):
    return draw_meshes(meshes, camera, backend=backend).rgba[..., 3] > 127


def mean_colour(picture, row, column):
    return picture[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3).mean(axis=0) / 255


@pytest.mark.parametrize("backend", BACKENDS)
def test_rectangle_covers_the_pixels_whose_centres_it_contains(backend):
    # Edges half a pixel before the first and behind the last pixel: with any other convention for pixel centres
    # the rectangle would be off by one half and some of its edge pixels half covered.
    layer = draw_meshes([rectangle(99.5, 49.5, 139.5, 89.5, z=2.0)], CAMERA, backend=backend)
    expected = np.zeros((240, 320), dtype=bool)
    expected[50:90, 100:140] = True
    np.testing.assert_array_equal(layer.rgba[..., 3] == 255, expected)
    np.testing.assert_array_equal(layer.rgba[..., 3] == 0, ~expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_depth_of_a_plane_is_its_distance(backend):
    layer = draw_meshes([rectangle(100, 50, 140, 90, z=2.0)], CAMERA, backend=backend)
    np.testing.assert_allclose(layer.depth[60:80, 110:130], 2.0, rtol=1e-4)
    assert layer.depth[0, 0] == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("centre", [(0.0, 0.0, 2.0), (0.5, -0.2, 3.0), (-0.4, 0.3, 2.5)])
def test_sphere_projects_where_the_pinhole_formula_says(backend, centre):
    radius = 0.3
    drawn = mask([sphere(centre, radius, detail=5)], backend)
    # A ray with unit direction d misses the sphere by |centre - (centre.d) d|.
    v, u = np.mgrid[0:240, 0:320]
    rays = np.stack([(u - 159.5) / 400, (v - 119.5) / 400, np.ones_like(u, dtype=float)], axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    along = rays @ np.array(centre)
    miss = np.sqrt(np.dot(centre, centre) - along**2)
    metres_a_pixel = np.linalg.norm(centre) / 400
    assert drawn[miss < radius - metres_a_pixel].all()
    assert not drawn[miss > radius + metres_a_pixel].any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nearer_person_hides_the_farther_one(backend, order):
    people = [sphere((0.0, 0.0, 2.0)), sphere((0.1, 0.0, 4.0), radius=0.6)]
    colours = [np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])]
    picture = render_overlay(
        WHITE,
        [people[i] for i in order],
        colours=[colours[i] for i in order],
        focal_px=400.0,
        center_px=CAMERA.center_px,
        alpha=1.0,
        backend=backend,
    )
    red, _, blue = mean_colour(picture, 120, 160)
    assert red > 2 * blue


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_person_is_seen_by_a_camera_of_its_own(backend):
    person = rectangle(99.5, 49.5, 139.5, 89.5, z=2.0)
    picture = render_overlay(
        WHITE,
        [person, person],
        focal_px=[400.0, 800.0],
        center_px=[(159.5, 119.5), (219.5, 239.5)],
        colours=[np.zeros(3)] * 2,
        alpha=1.0,
        backend=backend,
    )
    second = picture.min(axis=2)[100:180, 100:180] < 200  # twice as large, its top-left corner at 99.5, 99.5
    assert second.all()
    assert (picture[182:, 182:] == 255).all()
    assert (picture[50:90, 100:140].min(axis=2) < 200).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_person_partly_behind_the_camera_is_cut_not_mirrored(backend):
    # A floor one metre below the camera, from 3 m behind it to 8 m in front: it can only be seen below the horizon.
    corners = np.array([[-50.0, 1.0, -3.0], [50.0, 1.0, -3.0], [50.0, 1.0, 8.0], [-50.0, 1.0, 8.0]])
    drawn = mask([(corners, np.array([[0, 1, 2], [0, 2, 3]]))], backend)
    horizon = 119.5 + 400 / 8
    assert drawn[int(horizon) + 2 :].all()
    assert not drawn[: int(horizon)].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_lies_behind_the_camera_or_outside_leaves_the_photo_alone(backend):
    meshes = [sphere((0.0, 0.0, -2.0)), sphere((50.0, 0.0, 2.0))]
    for mesh in meshes:
        np.testing.assert_array_equal(render_overlay(WHITE, [mesh], focal_px=400.0, backend=backend), WHITE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_mesh_with_nan_is_left_out_and_the_other_one_drawn(backend, caplog):
    broken = sphere((0.0, 0.0, 2.0))
    broken[0][3] = np.nan
    drawn = mask([broken, sphere((0.5, 0.0, 2.0))], backend)
    np.testing.assert_array_equal(drawn, mask([sphere((0.5, 0.0, 2.0))], backend))
    assert "NaN" in caplog.text


def test_photo_without_people_comes_back_as_it_was():
    np.testing.assert_array_equal(render_overlay(WHITE, [], focal_px=400.0), WHITE)


def test_alpha_blends_body_and_photo():
    body = [rectangle(100, 50, 140, 90, z=2.0)]
    solid, half = (
        render_overlay(WHITE, body, focal_px=400.0, alpha=alpha, backend="software").astype(float)
        for alpha in (1.0, 0.5)
    )
    np.testing.assert_allclose(half[60:80, 110:130], (solid[60:80, 110:130] + 255) / 2, atol=1)


def test_light_falls_from_above_on_the_persons_own_colour():
    layer = draw_meshes([sphere((0.0, 0.0, 2.0), 0.5)], CAMERA, colours=[person_colour(1)], backend="software")
    upper, lower = layer.rgba[60, 160, :3].astype(int), layer.rgba[185, 160, :3].astype(int)
    assert upper.sum() > lower.sum() > 60
    assert upper[0] > upper[1] > upper[2]  # orange stays orange


@pytest.mark.parametrize("scene", ["sphere", "two people", "near plane"])
def test_backends_draw_the_same_picture(scene):
    if gl_renderer.gl_renderer() is None:
        pytest.skip("no EGL context can be made here")
    meshes = {
        "sphere": [sphere((0.1, 0.0, 2.0))],
        "two people": [sphere((0.0, 0.0, 2.0)), sphere((0.3, 0.1, 2.3))],
        "near plane": [sphere((0.1, 0.0, 0.2))],
    }[scene]
    egl, software = (draw_meshes(meshes, CAMERA, backend=backend) for backend in ("egl", "software"))
    a, b = egl.rgba[..., 3] > 127, software.rgba[..., 3] > 127
    assert (a & b).sum() / (a | b).sum() > 0.98
    both = (egl.rgba[..., 3] == 255) & (software.rgba[..., 3] == 255)
    difference = np.abs(egl.rgba[both].astype(int) - software.rgba[both]).max(axis=1)
    assert np.mean(difference <= 3) > 0.99


@needs_egl
def test_any_thread_may_draw():
    here = mask([sphere((0.0, 0.0, 2.0))], "egl")
    with ThreadPoolExecutor(3) as pool:
        there = list(pool.map(lambda _: mask([sphere((0.0, 0.0, 2.0))], "egl"), range(6)))
    assert all((one == here).all() for one in there)


def test_software_takes_over_and_says_so_where_there_is_no_egl(monkeypatch, caplog):
    def broken(self):
        raise OSError("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(gl_renderer.GlRenderer, "__init__", broken)
    gl_renderer.gl_renderer.cache_clear()
    try:
        for _ in range(2):
            picture = render_overlay(WHITE, [sphere((0.0, 0.0, 2.0))], focal_px=400.0)
        assert render.backend_name() == "software"
        with pytest.raises(RuntimeError, match="no EGL context"):
            draw_meshes([sphere((0.0, 0.0, 2.0))], CAMERA, backend="egl")
    finally:
        gl_renderer.gl_renderer.cache_clear()
    assert (picture != WHITE).any()
    assert caplog.text.count("libEGL.so.1") == 1  # found once, said once


def test_software_draws_the_picture_on_which_opengl_fails(monkeypatch, caplog):
    class Failing:
        device = "broken"

        def render(self, *_):
            raise MemoryError("out of GPU memory")

    monkeypatch.setattr(layers, "gl_renderer", Failing)
    assert mask([sphere((0.0, 0.0, 2.0))], "auto").any()
    assert "out of GPU memory" in caplog.text


def test_a_trimesh_is_drawn_as_its_vertices_and_faces():
    ball = sphere((0, 0, 2.0))
    both = ball, trimesh.Trimesh(*ball, process=False)
    drawn = [render_overlay(WHITE, [mesh], focal_px=400.0, backend="software") for mesh in both]
    np.testing.assert_array_equal(*drawn)


def test_wrong_arguments_say_what_they_got():
    with pytest.raises(ValueError, match=r"uint8, got \(240, 320, 3\) float64"):
        render_overlay(WHITE / 255, [], focal_px=400.0)
    with pytest.raises(ValueError, match="list with a mesh for each person, got Trimesh"):
        render_overlay(WHITE, trimesh.Trimesh(*sphere((0, 0, 2.0))), focal_px=400.0)
    with pytest.raises(ValueError, match=r"trimesh.Trimesh, got ndarray"):
        render_overlay(WHITE, [np.zeros((5, 3))], focal_px=400.0)
    with pytest.raises(ValueError, match="'opengl'"):
        render_overlay(WHITE, [sphere((0, 0, 2.0))], focal_px=400.0, backend="opengl")
    with pytest.raises(ValueError, match="'below'"):
        render_view(sphere((0, 0, 0.0)), view="below")


def test_sheet_has_a_body_in_each_cell_and_background_elsewhere():
    mesh = sphere((5.0, 1.0, -3.0))
    sheet = render_mesh_sheet([mesh] * 5, columns=3, cell_px=64, shadow=False, backend="software")
    assert sheet.shape == (128, 192, 3)
    drawn = (sheet < 250).any(axis=2).reshape(2, 64, 3, 64).any(axis=(1, 3))
    np.testing.assert_array_equal(drawn, [[True, True, True], [True, True, False]])


def test_sheet_keeps_sizes_comparable():
    sheet = render_mesh_sheet(
        [sphere((0, 0, 0.0), 0.4), sphere((0, 0, 0.0), 0.2)], columns=2, cell_px=100, shadow=False, backend="software"
    )
    large, small = (sheet.reshape(100, 2, 100, 3) < 250).any(axis=3).sum(axis=(0, 2))
    assert large / small == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(("view", "side"), [("front", 1), ("back", -1), ("side", 0), ("top", 1)])
def test_views_look_from_where_they_say(view, side):
    """A thin arm on the body's left (+x) reaches to the viewer's right in front, to the left from behind."""
    body, arm = sphere((0, 0, 0.0), 0.3), sphere((0.6, 0, 0.0), 0.1)
    both = (np.concatenate([body[0], arm[0]]), np.concatenate([body[1], arm[1] + len(body[0])]))
    picture = render_view(both, view=view, size_px=(100, 100), shadow=False, backend="software")
    ink = (picture < 250).any(axis=2).sum(axis=0)
    columns = np.flatnonzero(ink)
    centre_of_ink = (ink * np.arange(100)).sum() / ink.sum()
    body_lies = np.sign(round(centre_of_ink - (columns[0] + columns[-1]) / 2))
    assert body_lies == -side


def test_views_do_not_cut_the_body_off():
    for view in render.VIEWPOINTS:
        box = trimesh.creation.box((0.6, 1.8, 0.4))
        picture = render_view((box.vertices, box.faces), view=view, size_px=(120, 90), shadow=False)
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (border == 255).all()
        assert (picture < 250).any()
