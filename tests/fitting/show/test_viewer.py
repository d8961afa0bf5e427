"""The results viewer, by its own means and in a real browser."""

import json
import re
import shutil
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.show.page_server import field_of_view
from bodyfit.fitting.show.photo_scene import shrunk
from bodyfit.fitting.show.results_folder import open_results_folder
from bodyfit.fitting.show.viewer import ResultsViewer
from bodyfit.scripts.view import ViewCommand

pytest.importorskip("viser", reason="the viewer is an extra: pip install 'bodyfit[view]'")


@pytest.fixture
def viewer(results_folder):
    viewer = ResultsViewer(open_results_folder(results_folder), port=18_080)
    viewer._fetching.join()
    yield viewer
    viewer.close()


def shown_people(viewer):
    return [shown.person.name for shown in viewer._scene.people]


def test_viewer_listens_on_this_computer_only(viewer):
    assert viewer.url.startswith("http://127.0.0.1:")


def test_everybody_of_the_photo_is_shown(viewer):
    assert shown_people(viewer) == ["beach · 000", "beach · 001"]
    viewer.show(2)
    assert shown_people(viewer) == ["street · 000"]
    viewer.show(4)
    assert shown_people(viewer) == ["beach · 000", "beach · 001"]  # round and round


def test_photo_that_could_not_be_read_shows_its_reason(viewer):
    viewer.show(3)
    assert "&lt;b&gt;not an image" in viewer._figures.content
    viewer.show(0)
    assert "not an image" not in viewer._figures.content


def test_filter_by_status_error_and_words(viewer):
    viewer._status.value = "max_iterations"
    viewer._filter()
    assert [p.name for p in viewer._people] == ["beach · 001"]
    viewer._status.value, viewer._least.value = "all", 1.5
    viewer._filter()
    assert [p.name for p in viewer._people] == ["beach · 001", "street · 000", "broken · ?"]
    viewer._words.value = "STREET"
    viewer._filter()
    assert [p.name for p in viewer._people] == ["street · 000"]
    viewer._words.value = "nobody has this name"
    viewer._filter()
    assert viewer._count.value == "nobody"


def test_switches_hide_what_they_say(viewer):
    nodes = viewer._scene.nodes
    assert all(node.visible for node in nodes["photo"])
    assert not any(node.visible for name in ("keypoints", "skeleton") for node in nodes[name])
    viewer._switches["photo"].value, viewer._switches["skeleton"].value = False, True
    viewer._switches["others"].value = False
    viewer._restyle()
    assert not any(node.visible for node in nodes["photo"])
    assert all(node.visible for node in nodes["skeleton"])
    assert [body.visible for body in nodes["bodies"]] == [True, False]


def test_photo_hangs_where_the_camera_saw_it(viewer):
    """Corners of the hung-up photo project to the photo's corners."""
    photo = viewer._scene.nodes["photo"][0]
    x, y, z = photo.position
    left, top = x - photo.render_width / 2, y - photo.render_height / 2
    np.testing.assert_allclose(300 * np.array([left, top]) / z + [159.5, 119.5], [-0.5, -0.5], atol=1e-3)
    assert z > max(shown.mesh[0][:, 2].max() for shown in viewer._scene.people)


def test_alternative_is_offered_where_there_is_one(viewer):
    assert not viewer._switches["runner_up"].disabled
    [ghost] = viewer._scene.nodes["runner_up"]
    assert not ghost.visible
    viewer._switches["runner_up"].value = True
    viewer._restyle()
    assert ghost.visible
    best = viewer._scene.selected.mesh[0]
    assert np.linalg.norm(ghost.vertices - best, axis=1).max() > 0.2
    viewer.show(1)
    assert viewer._switches["runner_up"].disabled
    assert "runner_up" not in viewer._scene.nodes


def test_a_mode_can_be_chosen_with_its_weight(results_folder, tmp_path):
    """The body takes the pose of the mode, the best one becomes the pale one; the next person starts at the best."""
    folder = shutil.copytree(results_folder, tmp_path / "out")
    path = folder / "results" / "beach" / "000.npz"
    replace(FitResult.load(path), runner_up_weight=0.2, runner_up_flipped="right forearm").save(path)
    viewer = ResultsViewer(open_results_folder(folder), port=18_080)
    try:
        viewer._fetching.join()
        assert viewer._mode.options[0] == "1: best (0.80)"
        assert viewer._mode.options[1].startswith("2: right forearm ") and viewer._mode.options[1].endswith("(0.20)")

        def body():
            return next(body for body in viewer._scene.nodes["bodies"] if body.name == "/people/0").vertices

        best, [ghost] = body(), viewer._scene.nodes["runner_up"]
        viewer._mode.value = viewer._mode.options[1]
        wait_for(lambda: len(body()) == len(best) and np.abs(body() - best).max() > 0.2)
        np.testing.assert_allclose(body(), ghost.vertices, atol=1e-5)
        np.testing.assert_allclose(viewer._scene.nodes["runner_up"][0].vertices, best, atol=1e-5)
        viewer.show(1)
        np.testing.assert_allclose(body(), best, atol=1e-5)
        assert viewer._mode.disabled and viewer._mode.options == ("best",)
    finally:
        viewer.close()


def test_floor_and_touching_feet_are_drawn(results_folder, tmp_path):
    """A floor 1 m below the camera that both people of the photo share; one of them stands on the right foot."""
    folder = shutil.copytree(results_folder, tmp_path / "out")
    for person, touching in (("000", "right foot"), ("001", "none")):
        path = folder / "results" / "beach" / f"{person}.npz"
        replace(FitResult.load(path), floor=np.array([0.0, -1.0, 0.0, -1.0]), touching=touching).save(path)
    viewer = ResultsViewer(open_results_folder(folder), port=18_080)
    try:
        [grid], [spot] = viewer._scene.nodes["floor"], viewer._scene.nodes["feet"]
        assert grid.position[1] == pytest.approx(1.0) and spot.position[1] == pytest.approx(1.0)
        assert spot.name == "/feet/000/right"
        viewer._switches["floor"].value = False
        viewer._restyle()
        assert not grid.visible and spot.visible
        viewer.show(2)  # another photo, without a floor
        assert "floor" not in viewer._scene.nodes
    finally:
        viewer.close()


def test_a_click_on_a_body_selects_its_person(viewer):
    other = viewer._scene.people[1].person
    viewer._pick(other)
    assert viewer._scene.selected.person is other


def test_next_person_of_the_same_photo_keeps_its_bodies(viewer):
    bodies = viewer._scene.nodes["bodies"]
    viewer.step(1)
    assert viewer._scene.nodes["bodies"] is bodies
    assert viewer._scene.selected.person.name == "beach · 001"
    viewer.step(1)
    assert viewer._scene.nodes["bodies"] is not bodies


def test_clicks_that_come_too_fast_show_only_the_last_person(viewer, monkeypatch):
    shown = []
    show = viewer.show
    monkeypatch.setattr(viewer, "show", lambda index: shown.append(index) or show(index))
    clicks = [threading.Thread(target=viewer.step, args=(1,)) for _ in range(3)]
    with viewer._lock:  # somebody is being shown
        for click in clicks:
            click.start()
        wait_for(lambda: viewer._wanted == 3)
    for click in clicks:
        click.join()
    assert shown == [3]


def test_keypoints_stand_before_the_person_unless_seen_by_the_camera(viewer):
    viewer.show(1)
    at_camera = viewer._scene.nodes["keypoints"][0].points[0, 2]
    viewer._look_from("side")
    from_the_side = viewer._scene.nodes["keypoints"][0].points[0, 2]
    nearest = [shown.mesh[0][:, 2].min() for shown in viewer._scene.people]
    assert at_camera == pytest.approx(0.97 * min(nearest), abs=1e-4)
    assert from_the_side == pytest.approx(0.97 * nearest[1], abs=1e-4)
    viewer.show(0)
    assert viewer._scene.nodes["keypoints"][0].points[0, 2] == pytest.approx(0.97 * nearest[0], abs=1e-4)


def test_figures_say_what_the_alternative_costs(viewer):
    assert "cost 10.5 (+5 %): ambiguous" in viewer._figures.content
    viewer.show(1)
    assert "alternative hypothesis" not in viewer._figures.content


def test_people_of_other_cameras_are_shown_where_their_own_saw_them(results_folder, tmp_path):
    folder = shutil.copytree(results_folder, tmp_path / "out")
    path = folder / "results" / "beach" / "001.npz"
    moved = replace(FitResult.load(path), focal_px=450.0, center_px=np.array([150.0, 110.0]))
    moved.save(path)
    viewer = ResultsViewer(open_results_folder(folder), port=18_080)
    viewer._fetching.join()
    viewer.close()
    own = viewer._scene.people[1].mesh[0]
    shown = viewer._scene.nodes["bodies"][1].vertices.astype(float)
    own_px = 450.0 * own[:, :2] / own[:, 2:] + [150.0, 110.0]
    shown_px = 300.0 * shown[:, :2] / shown[:, 2:] + [159.5, 119.5]
    np.testing.assert_allclose(shown_px, own_px, atol=0.01)
    assert "cameras of 300 to 450 px" in viewer._figures.content


@pytest.mark.parametrize("aspect", [0.5, 4 / 3, 3.0])
def test_window_of_any_shape_holds_the_whole_photo(aspect):
    fov = field_of_view((320, 240), 300.0, aspect)
    half_height = 300.0 * np.tan(fov / 2)
    assert half_height >= 120 - 1e-6
    assert half_height * aspect >= 160 - 1e-6


def test_large_photos_are_made_smaller_small_ones_left():
    assert shrunk(np.zeros((3200, 1600, 3), np.uint8)).shape == (1600, 800, 3)
    assert shrunk(np.zeros((32, 16, 3), np.uint8)).shape == (32, 16, 3)


def test_folder_of_ten_thousand_opens_by_loading_one_photo(results_folder, tmp_path, monkeypatch):
    rows = json.loads((results_folder / "summary.json").read_text())["people"][:3]
    absolute = [
        {**row, **{key: str(results_folder / row[key]) for key in ("mesh", "result", "overlay")}} for row in rows
    ]
    many = absolute + [{**absolute[2], "image": f"copy{i}"} for i in range(10_000)]
    (tmp_path / "summary.json").write_text(json.dumps({"people": many}))
    loaded = []
    results = open_results_folder(tmp_path)
    original = type(results.people[0]).mesh
    monkeypatch.setattr(type(results.people[0]), "mesh", lambda person: loaded.append(person) or original(person))
    viewer = ResultsViewer(results, port=18_080)
    viewer.close()
    assert [person.name for person in loaded] == ["beach · 000", "beach · 001"]


def test_missing_viser_is_named_with_what_to_install(results_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(BodyfitError, match=r"bodyfit\[view\]"):
        ResultsViewer(open_results_folder(results_folder))


@pytest.mark.parametrize("command", [ViewCommand(), ViewCommand(out="out", prior=True)])
def test_command_wants_one_thing_to_look_at(command):
    with pytest.raises(BodyfitError, match="a results folder or --prior"):
        command.run()


def test_standard_output_is_the_address_and_nothing_else(results_folder, monkeypatch, capfd):
    monkeypatch.setattr(ResultsViewer, "wait", lambda viewer: None)
    assert ViewCommand(results_folder, port=18_080).run() == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:180\d\d\n", capfd.readouterr().out)


def coloured(picture):
    """Share of pixels with a body's colour in the picture without its panel."""
    return float((np.ptp(picture[:, : picture.shape[1] * 2 // 3].astype(int), axis=2) > 60).mean())


def test_viewer_in_a_browser_shows_bodies_and_the_next_person(viewer, browser):
    browser.open(viewer.url)
    browser.wait(
        "return document.body.innerText.includes('1 of 4') || !!document.querySelector('input[value=\"1 of 4\"]')"
    )
    seen = wait_for(lambda: shot if coloured(shot := browser.screenshot("canvas")) > 0.02 else None)
    press_button(browser, "other modes")
    wait_for(lambda: viewer._switches["runner_up"].value)
    press_button(browser, "side")
    from_the_side = wait_for(lambda: shot if differs(shot := browser.screenshot("canvas"), seen) else None)
    press_button(browser, "other modes")
    wait_for(lambda: differs(browser.screenshot("canvas"), from_the_side, 1))
    press_button(browser, "Next")
    press_button(browser, "Next")
    wait_for(lambda: viewer._index == 2)
    following = wait_for(lambda: shot if differs(shot := browser.screenshot("canvas"), seen) else None)
    press_button(browser, "top")
    wait_for(lambda: differs(browser.screenshot("canvas"), following))
    assert browser.errors() == []
    outside = [u for u in browser.requests() if "127.0.0.1" not in u and u.startswith(("http", "ws"))]
    assert outside == []


def differs(a, b, least=2):
    return np.abs(a.astype(int) - b).mean() > least


def press_button(browser, text):
    browser.wait(
        "const b = [...document.querySelectorAll('button, label')].find(e => e.textContent.trim() === arguments[0]);"
        "if (b) b.click(); return !!b",
        text,
    )


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (value := condition()) is not None and value is not False:
            return value
        time.sleep(0.2)
    raise AssertionError(f"nothing after {seconds} s")
