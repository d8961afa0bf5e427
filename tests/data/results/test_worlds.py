"""Worlds of files: level with the floor at height 0 where one is known, the same for everybody who shares a shot."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from bodyfit.data.body.posing import pose_body
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.levelling import shared_world, world_of
from bodyfit.data.results.track_exports import export_track
from bodyfit.data.results.track_files import read_track, write_track
from bodyfit.data.results.worlds import World

DOWN = Rotation.from_euler("x", 20, degrees=True)
FLOOR = np.array([*DOWN.apply([0.0, -1.0, 0.0]), -1.4])
"""Of a camera that looks down by 20 degrees, 1.4 m above it."""


@pytest.fixture
def people(make_track):
    """Two, in front of that camera: the floor is known of both."""
    touching = np.ones((3, 2), dtype=bool)
    both = [make_track(3, n, person=f"{n:03d}", touching=touching, floor=FLOOR, floor_source="two") for n in (0, 1)]
    return [replace(track, world=shared_world(both)) for track in both]


def skin(body, track):
    given = {name: torch.as_tensor(value) for name, value in track.parameters().items()}
    return pose_body(body, **given)


@pytest.mark.parametrize("normal", [*np.eye(3), *-np.eye(3), (0.2, -0.9, 0.3), (-0.5, 0.5, 0.7), (0.6, 0.6, -0.6)])
def test_the_floor_of_a_world_is_height_0_and_its_normal_is_up(normal):
    normal = np.array(normal) / np.linalg.norm(normal)
    world, along = World.on_floor(np.append(normal, 0.7)), np.linalg.svd(normal[None])[2][1:]
    on_floor = 0.7 * normal + np.array([[0.0, 0.0], [3.0, -2.0]]) @ along
    for (turn, shift), height in ((world.z_up, 2), (world.y_up, 1)):
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        np.testing.assert_allclose((on_floor @ turn.T + shift)[:, height], 0, atol=1e-12)
        np.testing.assert_allclose((turn @ normal)[height], 1, atol=1e-12)
        assert not np.delete(shift, height).any()  # the origin stays above or below where it was


def test_a_camera_that_looks_down_leaves_right_where_it_is():
    """Only its pitch is undone: x stays, and away from the camera stays away."""
    turn, _ = World.on_floor(FLOOR).z_up
    np.testing.assert_allclose(turn @ [1, 0, 0], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(turn @ DOWN.apply([0, 0, 1]), [0, 1, 0], atol=1e-12)


def test_what_decides_is_floor_then_gravity_then_the_frame(make_track, people):
    slope = (0.0, -0.8, -0.6)
    assert shared_world(people, up=slope) == World.on_floor(FLOOR, "the floor (two)")
    assert shared_world([make_track()], up=slope) == World(slope, None, "the given gravity")
    assert shared_world([make_track()]) == World.along("-y", "the camera, taken to be level")
    calibrated = [replace(track, space="world", world=None) for track in people]
    assert shared_world(calibrated, cameras=np.eye(3)[None]).up == pytest.approx(tuple(FLOOR[:3]))


def test_an_axis_of_a_calibration_near_the_floors_normal_is_up_with_the_floors_height_where_people_are(make_track):
    """A floor that is off by 5 degrees does not tilt a level world; heights are right where feet touch."""
    normal = Rotation.from_euler("x", 5, degrees=True).apply([0.0, 0.0, 1.0])
    place = np.array([2.0, 3.0, 1.0])
    height = 0.9  # of the pelvis above the floor there
    offset = (place - [0, 0, height]) @ normal
    touching = np.ones((4, 2), dtype=bool)
    given = {"floor": np.append(normal, offset), "touching": touching, "floor_source": "feet", "space": "world"}
    world = shared_world([make_track(4, transl=np.tile(place, (4, 1)), **given)])
    assert world.up == (0.0, 0.0, 1.0) and world.floor_m == pytest.approx(1.0 - height)
    assert world.source == "z of the calibration, and the floor (feet)"


def test_of_several_floors_the_one_that_feet_touch_most_is_everybodys(make_track):
    """Who stands on a chair, 0.5 m up, keeps it below the feet: the file's floor is that of the others."""
    ours, chair = FLOOR, FLOOR + np.array([0, 0, 0, 0.5])
    often, seldom = np.ones((12, 2), dtype=bool), np.arange(12)[:, None] % [3, 3] == 0
    given = [(chair, seldom), (ours, often), (chair, seldom)]
    tracks = [make_track(floor=floor, touching=touching, floor_source="x") for floor, touching in given]
    assert shared_world(tracks).floor_m == pytest.approx(-1.4)
    assert shared_world([make_track(), *tracks[::2]]).floor_m == pytest.approx(-0.9)


@pytest.mark.parametrize("suffix", [".npz", ".trc", ".bvh", ".glb"])
def test_every_format_has_people_level_on_the_floor_and_in_their_places(people, open_body, tmp_path, readers, suffix):
    """Read back by readers of the formats: points are where the floor's own axes have them, for both people."""
    lift = DOWN.inv().as_matrix()
    for track in people:
        path, posed = export_track(tmp_path / f"{track.person}{suffix}", track, open_body), skin(open_body, track)
        level = posed.joints.numpy() @ lift.T + [0, -1.4, 0]  # y down, from the floor
        wanted = level * [1, -1, -1]  # y up
        if suffix == ".trc":
            np.testing.assert_allclose(readers.read_trc(path)[-1][:, :55], wanted, atol=1e-5)
        elif suffix == ".bvh":
            names, places = readers.bvh_joints(path)
            at = [names.index(name) for name in open_body.joint_names]
            np.testing.assert_allclose(places[:, at] / 100, wanted, atol=1e-3)
        elif suffix == ".glb":
            player, whole = readers.Player(path), posed.vertices.numpy() @ lift.T + [0, -1.4, 0]
            off = player.vertices(player.times[1]) - whole[1] * [1, -1, -1]
            assert np.linalg.norm(off, axis=1).max() < 1e-3
        else:
            with np.load(path) as file:
                posed_again = skin(open_body, replace(track, global_orient=file["poses"][:, :3], transl=file["trans"]))
            np.testing.assert_allclose(posed_again.joints.numpy(), level[..., [0, 2, 1]] * [1, 1, -1], atol=1e-6)


def test_files_of_tracks_say_where_up_comes_from_and_keep_it(people, open_body, tmp_path):
    npz, _ = write_track(tmp_path, people[0], open_body)
    with np.load(npz) as file:
        assert (str(file["up"]), str(file["up_source"]), bool(file["floor_at_zero"])) == ("-y", "the floor (two)", True)
        np.testing.assert_allclose(file["to_z_up"] @ FLOOR[:3], [0, 0, 1], atol=1e-12)
        np.testing.assert_allclose(file["z_up_shift"], [0, 0, 1.4], atol=1e-12)
    again = read_track(npz)
    assert again.world == people[0].world
    alone = export_track(tmp_path / "again.npz", again, open_body)
    with np.load(alone) as file, np.load(npz) as first:
        np.testing.assert_array_equal(file["trans"], first["trans"])


def test_an_axis_that_is_given_wins_over_the_floor(people, open_body, tmp_path):
    level = [replace(people[0], world=None, floor=np.zeros(0)), people[0]]
    files = [export_track(tmp_path / f"{n}.npz", track, open_body, up="-y") for n, track in enumerate(level)]
    with np.load(files[0]) as first, np.load(files[1]) as second:
        np.testing.assert_array_equal(first["trans"], second["trans"])
        np.testing.assert_array_equal(first["poses"], second["poses"])
    assert world_of(people[0], "x") == World.along("x", "as given")
    with pytest.raises(ResultError, match=r"up must be one of x, -x, .*, got 'up'"):
        export_track(tmp_path / "x.npz", people[0], open_body, up="up")


def test_tracks_of_earlier_versions_are_in_the_world_that_they_were(people, open_body, tmp_path):
    """They say an axis alone, also where a floor was found; one with an axis that is none is an error."""
    npz, _ = write_track(tmp_path, people[0], open_body, up="-y")
    new = ("z_up_shift", "floor_at_zero", "up_source")
    with np.load(npz) as file:
        arrays = {name: file[name] for name in file.files if name not in new}
    np.savez(npz, **arrays)
    track = read_track(npz)
    assert track.world == World.along("-y") and track.floor.size
    np.savez(npz, **arrays | {"up": np.array("north")})
    with pytest.raises(ResultError, match=r"000\.npz: up must be one of .*, got 'north'"):
        read_track(npz)


def test_what_is_no_world_is_one_clear_error(people, open_body, tmp_path):
    npz, _ = write_track(tmp_path, people[0], open_body)
    with np.load(npz) as file:
        arrays = dict(file)
    for changes in ({"to_z_up": np.zeros((3, 3))}, {"z_up_shift": np.full(3, np.nan)}, {"to_z_up": np.zeros(2)}):
        np.savez(npz, **arrays | changes)
        with pytest.raises(ResultError, match=r"000\.npz: "):
            read_track(npz)
