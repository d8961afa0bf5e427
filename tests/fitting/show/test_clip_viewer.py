"""The viewer of clips, by its own means and in a real browser."""

import time

import numpy as np
import pytest

from bodyfit.data.results.track_files import read_track
from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.results_folder import open_results_folder
from bodyfit.scripts.view import ViewCommand

pytest.importorskip("viser", reason="the viewer is an extra: pip install 'bodyfit[view]'")

from bodyfit.fitting.show.clip_viewer import ClipViewer


@pytest.fixture
def viewer(clip_folder):
    viewer = ClipViewer(ClipFrames.of(open_results_folder(clip_folder)), port=18_090)
    yield viewer
    viewer.close()


def waited_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_the_command_opens_it_for_clips_alone(clip_folder, results_folder):
    viewer = ViewCommand(clip_folder, port=18_091)._results_viewer()
    try:
        assert isinstance(viewer, ClipViewer) and viewer.url.startswith("http://127.0.0.1:")
    finally:
        viewer.close()


def test_people_are_there_at_their_moments(viewer):
    shown = []
    for moment in range(8):
        viewer.show(moment)
        shown.append(sorted(viewer._nodes))
    one, two = "/people/000", "/people/001"
    assert shown == [[one]] * 3 + [[one, two]] * 4 + [[two]]
    assert "0.70 s, moment 7" in viewer._words.content and "001: fitted" in viewer._words.content


def test_bodies_are_where_the_track_has_them(viewer, clip_folder):
    track = read_track(clip_folder / "tracks" / "000.npz")
    for moment in (0, 6):
        viewer.show(moment)
        vertices = viewer._nodes["/people/000"].vertices
        middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        np.testing.assert_allclose(middle[0], track.transl[moment, 0], atol=0.03)


def test_ellipsoids_say_how_sure_the_joints_are(viewer, monkeypatch):
    """About the joints of those who are there, as large as their standard deviations."""
    drawn, scene = {}, viewer._server.scene
    add = scene.add_mesh_trimesh
    monkeypatch.setattr(scene, "add_mesh_trimesh", lambda name, mesh: drawn.update({name: mesh}) or add(name, mesh))
    viewer._sure.value = True
    viewer.show(4)
    assert {"/uncertainty/000", "/uncertainty/001"} <= set(viewer._nodes)
    viewer._people[1].value = False
    viewer.show(4)
    assert "/uncertainty/001" not in viewer._nodes
    body, (low, high) = viewer._nodes["/people/000"].vertices, drawn["/uncertainty/000"].bounds
    assert (low < body.max(axis=0)).all() and (high > body.min(axis=0)).all()
    balls = drawn["/uncertainty/000"].vertices.reshape(22, -1, 3)  # of 5 cm: 10 cm across
    np.testing.assert_allclose(np.ptp(balls, axis=1)[:, 2], 0.1, atol=2e-3)
    viewer._sure.value = False
    viewer.show(4)
    assert "/uncertainty/000" not in viewer._nodes


def test_the_slider_moves_time_and_people_can_be_hidden(viewer):
    viewer._slider.value = 5
    assert waited_for(lambda: viewer.moment == 5)
    viewer._people[0].value = False
    assert waited_for(lambda: sorted(viewer._nodes) == ["/people/001"])


def test_play_runs_at_the_clips_rate_and_starts_over(viewer):
    """8 moments at 10 per second take 0.8 s; a slow machine leaves moments out instead of falling behind."""
    viewer._play.value = True
    assert waited_for(lambda: viewer.moment >= 6)
    assert waited_for(lambda: viewer.moment <= 2)
    viewer._play.value = False


def test_all_cameras_have_their_pictures(views_folder):
    viewer = ClipViewer(ClipFrames.of(open_results_folder(views_folder)), port=18_092)
    try:
        assert list(viewer._frusta) == ["cam1", "cam2", "cam3"]
        viewer.show(5)
        assert viewer._picture("cam1") is not None and viewer._picture("cam2") is None
    finally:
        viewer.close()


def test_a_browser_shows_the_clip(viewer, browser):
    browser.open(viewer.url)
    browser.wait("return document.querySelector('canvas') !== null && document.body.innerText.includes('moment')")
    assert waited_for(lambda: (browser.screenshot("canvas").std(axis=(0, 1)) > 5).any(), 40)
    assert not [one for one in browser.requests() if not one.startswith(("http://127", "ws://127", "data:", "blob:"))]
