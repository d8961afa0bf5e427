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
        shown.append(sorted(name for name in viewer._scene.nodes if name.startswith("/people/")))
    one, two = "/people/000", "/people/001"
    assert shown == [[one]] * 3 + [[one, two]] * 4 + [[two]]
    assert "0.70 s, moment 7" in viewer._words.content and "least sure" in viewer._words.content


def test_bodies_are_where_the_track_has_them(viewer, clip_folder):
    track = read_track(clip_folder / "tracks" / "000.npz")
    for moment in (0, 6):
        viewer.show(moment)
        vertices = viewer._scene.nodes["/people/000"][0].vertices
        middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        np.testing.assert_allclose(middle[0], track.transl[moment, 0], atol=0.03)


def test_ellipsoids_say_how_sure_the_joints_are(viewer):
    """About the joints of those who are there, as large as their standard deviations; bodies are seen through."""
    viewer._switches["uncertainty"].value = True
    viewer.show(4)
    assert {"/uncertainty/000", "/uncertainty/001"} <= set(viewer._scene.nodes)
    body, [balls] = viewer._scene.nodes["/people/000"][0], viewer._scene.nodes["/uncertainty/000"]
    low, high = body.vertices.min(axis=0), body.vertices.max(axis=0)
    assert balls.batched_positions.shape == (22, 3) and body.opacity < 1
    assert (balls.batched_positions > low).all() and (balls.batched_positions < high).all()
    np.testing.assert_allclose(balls.batched_scales, 0.05, atol=1e-4)
    viewer._people[1].value = False
    viewer.show(4)
    assert "/uncertainty/001" not in viewer._scene.nodes
    viewer._switches["uncertainty"].value = False
    viewer.show(4)
    assert "/uncertainty/000" not in viewer._scene.nodes and viewer._scene.nodes["/people/000"][0].opacity is None


def test_the_floor_is_drawn_with_the_feet_that_touch_it(viewer):
    """Person 001 stands on a floor 1.2 m below the camera, on the left foot at moment 3, on none at 4."""
    [grid] = viewer._scene._floors
    np.testing.assert_allclose(grid.position[1], 1.2, atol=1e-6)
    viewer.show(3)
    [spot] = viewer._scene.nodes["/feet/001"]
    np.testing.assert_allclose(spot.position[1], 1.2, atol=1e-6)
    assert spot.name.endswith("left") and "left foot on the ground" in viewer._words.content
    sole = viewer._scene.nodes["/people/001"][0].vertices
    np.testing.assert_allclose(
        spot.position[[0, 2]], sole[sole[:, 1] > sole[:, 1].max() - 0.05].mean(axis=0)[[0, 2]], atol=0.2
    )
    viewer.show(4)
    assert "/feet/001" not in viewer._scene.nodes and "no foot on the ground" in viewer._words.content
    viewer._switches["floor"].value = viewer._switches["feet"].value = False
    viewer.show(3)
    assert not grid.visible and "/feet/001" not in viewer._scene.nodes


def test_through_a_camera_its_picture_stands_behind_everybody(viewer):
    """Before it was in front of them: nobody was to be seen."""
    [frustum] = viewer._scene.frusta.values()
    assert frustum.visible and frustum.image is not None
    viewer.look_through("walk")
    viewer.show(5)
    [picture] = viewer._scene.nodes["/backdrop"]
    bodies = [viewer._scene.nodes[f"/people/{person}"][0].vertices for person in ("000", "001")]
    assert not frustum.visible and picture.position[2] > max(body[:, 2].max() for body in bodies)
    height_px = 150.0 * picture._impl.props.render_height / picture.position[2]
    assert round(height_px) == 120 and viewer._through.value == "walk"
    viewer._through.value = "free"
    assert waited_for(lambda: "/backdrop" not in viewer._scene.nodes and frustum.visible)


def test_everybody_is_in_the_first_view(viewer):
    middle, reach = viewer._room()
    for moment in range(8):
        viewer.show(moment)
        bodies = [node.vertices for name, [node] in viewer._scene.nodes.items() if name.startswith("/people/")]
        assert np.linalg.norm(np.concatenate(bodies) - middle, axis=1).max() < reach


def test_the_slider_moves_time_and_people_can_be_hidden(viewer):
    viewer._slider.value = 5
    assert waited_for(lambda: viewer.moment == 5)
    viewer._people[0].value = False
    assert waited_for(lambda: sorted(viewer._scene.nodes) == ["/people/001"])


def test_play_runs_at_the_clips_rate_and_starts_over(viewer):
    """8 moments at 10 per second take 0.8 s; a slow machine leaves moments out instead of falling behind."""
    viewer._play.value = True
    assert waited_for(lambda: viewer.moment >= 6)
    assert waited_for(lambda: viewer.moment <= 2)
    viewer._play.value = False


def test_pictures_that_take_too_long_stand_still_while_it_plays(viewer, monkeypatch):
    """Bodies go on; when it stops, the pictures are those of the moment."""
    asked = []

    def slow(camera, moment, *_):
        asked.append(moment)
        time.sleep(0.3)

    monkeypatch.setattr(viewer._scene, "picture", slow)
    viewer._speed.value = 0.5
    viewer._play.value = True
    assert waited_for(lambda: asked)
    seen = set()
    assert waited_for(lambda: seen.add(viewer.moment) or len(seen) >= 4, 5)
    assert len(asked) == 1
    viewer._play.value = False
    assert waited_for(lambda: len(asked) == 2 and asked[-1] == viewer.moment)


def test_all_cameras_have_their_pictures(views_folder):
    viewer = ClipViewer(ClipFrames.of(open_results_folder(views_folder)), port=18_092)
    try:
        assert list(viewer._scene.frusta) == ["cam1", "cam2", "cam3"]
        viewer.show(5)
        assert viewer._scene.picture("cam1", 5) is not None and viewer._scene.picture("cam2", 5) is None
    finally:
        viewer.close()


def test_a_browser_shows_the_clip(viewer, browser):
    browser.open(viewer.url)
    browser.wait("return document.querySelector('canvas') !== null && document.body.innerText.includes('moment')")
    assert waited_for(lambda: (browser.screenshot("canvas").std(axis=(0, 1)) > 5).any(), 40)
    assert not [one for one in browser.requests() if not one.startswith(("http://127", "ws://127", "data:", "blob:"))]
