"""The prior viewer: sliders move the body, files are projected, nothing foreign is executed."""

import io
import pickle
import time

import numpy as np
import pytest
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.show.prior_viewer import PriorViewer, read_body_poses
from bodyfit.prior.model.checkpoint import load_prior

viser = pytest.importorskip("viser", reason="the viewer is an extra: pip install 'bodyfit[view]'")


@pytest.fixture(scope="module")
def prior():
    return load_prior()


@pytest.fixture
def viewer(prior, open_body):
    viewer = PriorViewer(prior, open_body, port=18_090)
    yield viewer
    viewer.close()


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def settle(viewer, condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"nothing after {seconds} s"
        time.sleep(0.05)


def test_slider_moves_the_body(viewer):
    before = viewer._mesh.vertices.copy()
    viewer._sliders[0].value = 2.0
    viewer._changed.set()
    settle(viewer, lambda: np.abs(viewer._mesh.vertices - before).max() > 0.01)


def test_way_from_a_to_b_begins_and_ends_there(viewer, prior):
    start, end = prior.sample(2, torch.Generator().manual_seed(1)).clamp(-3, 3)
    viewer._set_latent(start)
    viewer._keep("A")
    viewer._set_latent(end)
    viewer._keep("B")
    for share, expected in ((0.0, start), (1.0, end), (0.5, (start + end) / 2)):
        viewer._share.value = share
        viewer._interpolate()
        torch.testing.assert_close(viewer.latent, expected, atol=0.016, rtol=0)


def test_pose_of_a_file_is_projected(viewer, prior):
    pose = prior.decode_axis_angle(prior.sample(1, torch.Generator().manual_seed(2)))
    viewer._open_file("pose.npz", npz(body_pose=pose.numpy()[0]))
    expected = prior.encode(pose).mean[0].clamp(-4, 4)
    torch.testing.assert_close(viewer.latent, expected, atol=0.006, rtol=0)


def test_file_without_a_pose_says_what_it_holds(viewer):
    viewer._open_file("strange.npz", npz(trans=np.zeros((4, 3))))
    assert "it holds trans" in viewer._note.content


@pytest.mark.parametrize(
    ("arrays", "count"),
    [
        ({"body_pose": np.ones(63)}, 1),
        ({"pose_body": np.ones((5, 63))}, 5),
        ({"poses": np.concatenate([np.zeros((7, 3)), np.ones((7, 63)), np.zeros((7, 90))], axis=1)}, 7),
        ({"body_pose": np.ones((2, 69))}, 2),
    ],
)
def test_poses_are_found_under_the_names_of_the_field(arrays, count):
    poses = read_body_poses("x.npz", npz(**arrays))
    np.testing.assert_array_equal(poses, np.ones((count, 63)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 cut off",
        npz(body_pose=np.ones((3, 10))),
        npz(body_pose=np.full(63, np.nan)),
        npz(body_pose=np.array(["text"])),
    ],
)
def test_unusable_files_are_refused_by_name(content):
    with pytest.raises(BodyfitError, match=r"x\.npz"):
        read_body_poses("x.npz", content)


def test_pickles_are_not_opened(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    for content in (pickle.dumps(Evil()), npz(body_pose=np.array([Evil()], dtype=object))):
        with pytest.raises(BodyfitError):
            read_body_poses("x.npz", content)
    assert not (tmp_path / "executed").exists()


def test_sliders_move_the_body_in_a_browser(viewer, browser):
    browser.open(viewer.url)
    thumbs = "document.querySelectorAll('[role=slider][aria-valuemin=\"-4\"]')"
    browser.wait(f"return {thumbs}.length === 32")
    time.sleep(1)
    before, latent = browser.screenshot("canvas"), viewer.latent
    assert float((np.ptp(before.astype(int), axis=2) > 60).mean()) > 0.01  # the body is there
    browser.run(f"{thumbs}[1].id = 'second'")
    browser.press("#second", *["ArrowRight"] * 30)
    settle(viewer, lambda: float(viewer.latent[1]) > float(latent[1]) + 1.0)
    settle(viewer, lambda: np.abs(browser.screenshot("canvas").astype(int) - before).mean() > 0.3)
    assert browser.errors() == []
    assert [u for u in browser.requests() if "127.0.0.1" not in u and u.startswith(("http", "ws"))] == []
