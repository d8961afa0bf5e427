"""Animated bodies: whoever plays the file by glTF's rules gets the body model's mesh at every moment."""

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

from bodyfit.data.body.posing import pose_body
from bodyfit.data.results import animated
from bodyfit.data.results.animated import save_animated_glb
from bodyfit.data.results.meshes import MeshError
from bodyfit.data.results.worlds import World


def posed(body, track, row, up):
    given = {name: torch.as_tensor(value[row : row + 1]) for name, value in track.parameters().items()}
    return pose_body(body, **given).vertices[0].numpy() @ World.along(up).y_up[0].T


@pytest.mark.parametrize("space, up", [("camera", "-y"), ("world", "z")])
def test_every_key_is_the_body_to_a_millimetre(make_track, open_body, tmp_path, space, up, readers):
    """Expressions, pose correctives and joints beyond the fourth of a vertex are in it, too."""
    track = make_track(40, space=space)
    player = readers.Player(save_animated_glb(tmp_path / "x.glb", open_body, track, up=up))
    np.testing.assert_allclose(player.times, track.moments / track.fps, rtol=1e-6)
    for row in (0, 7, 23, 39):
        off = np.linalg.norm(player.vertices(player.times[row]) - posed(open_body, track, row, up), axis=1)
        assert off.max() < 1e-3


def test_keys_of_a_long_motion_are_the_body_too(make_track, open_body, tmp_path, readers, monkeypatch):
    """Shapes are made from the moments that are most unlike each other; the others take their weights from a few
    vertices."""
    monkeypatch.setattr(animated, "_SAMPLE", 40)
    track = make_track(56)
    player = readers.Player(save_animated_glb(tmp_path / "x.glb", open_body, track))
    for row in range(0, 56, 3):
        off = np.linalg.norm(player.vertices(player.times[row]) - posed(open_body, track, row, "-y"), axis=1)
        assert off.max() < 1e-3


def test_motion_between_keys_takes_the_short_way(make_track, open_body, tmp_path, readers):
    """A body that turns about itself: half way between two keys it has turned half of the way."""
    angles = np.linspace(0, 4 * np.pi, 13)
    turning = Rotation.from_rotvec(np.array([0, 1, 0]) * angles[:, None]).as_rotvec()
    still = {name: np.zeros((13, width)) for name, width in (("body_pose", 63), ("transl", 3), ("expression", 10))}
    track = make_track(13, global_orient=turning, space="world", **still)
    player = readers.Player(save_animated_glb(tmp_path / "x.glb", open_body, track, up="y"))
    for row in (2, 5, 8, 11):
        first, last = (player.vertices(t) for t in player.times[row : row + 2])
        between = player.vertices(player.times[row : row + 2].mean())
        assert np.linalg.norm(between - (first + last) / 2, axis=1).max() < 0.15  # the long way: 1 m


def test_weights_of_shapes_stay_where_blender_does_not_cut_them_off(make_track, open_body, tmp_path, readers):
    """Blender 4.2 takes a shape key's range from the first key, at least 0 to 1, and cuts off what lies beyond."""
    player = readers.Player(save_animated_glb(tmp_path / "x.glb", open_body, make_track(40)))
    [weights] = [c for c in player.animation["channels"] if c["target"]["path"] == "weights"]
    values = player.array(player.animation["samplers"][weights["sampler"]]["output"])
    assert len(np.unique(values.round(3))) > 100  # they do change
    assert values.min() >= 0
    assert values.max() <= 1
    for default in player.content["meshes"][0]["weights"]:
        assert 0 <= default <= 1


def test_failed_moments_have_no_key(make_track, open_body, tmp_path, readers):
    track = make_track(6, status=("failed", *("fitted",) * 5))
    player = readers.Player(save_animated_glb(tmp_path / "x.glb", open_body, track))
    np.testing.assert_allclose(player.times, track.moments[1:] / track.fps, rtol=1e-6)


def test_one_moment_is_a_file_too(make_track, open_body, tmp_path, readers):
    track = make_track(1, status=("fitted",))
    player = readers.Player(save_animated_glb(tmp_path / "x.glb", open_body, track))
    off = player.vertices(player.times[0]) - posed(open_body, track, 0, "-y")
    assert np.linalg.norm(off, axis=1).max() < 1e-3


def test_other_programs_read_the_mesh(make_track, open_body, tmp_path):
    loaded = trimesh.load_mesh(save_animated_glb(tmp_path / "x.glb", open_body, make_track(3)), process=False)
    assert (len(loaded.vertices), len(loaded.faces)) == (open_body.num_vertices, len(open_body.faces))


def test_what_cannot_be_animated_is_refused(make_track, open_body, tmp_path):
    with pytest.raises(MeshError, match=r"an animated body is a \.glb, not '\.fbx'"):
        save_animated_glb(tmp_path / "x.fbx", open_body, make_track(2))
    with pytest.raises(MeshError, match="person 000 has no fitted moment"):
        save_animated_glb(tmp_path / "x.glb", open_body, make_track(2, status=("failed", "failed")))
    with pytest.raises(MeshError, match="fitted with the body 'other'"):
        save_animated_glb(tmp_path / "x.glb", open_body, make_track(2, body_model="other"))
