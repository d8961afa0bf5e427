"""Tracks on disk: they come back exactly, stand upright in AMASS's world, and are read by what reads AMASS."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from bodyfit.data.body.posing import pose_body
from bodyfit.data.motion.mocap import NoMotionError, find_motions, read_motion
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.levelling import shared_world, world_of
from bodyfit.data.results.track import Track
from bodyfit.data.results.track_files import find_tracks, read_track, write_track
from bodyfit.data.results.worlds import World, nearest_axis
from bodyfit.prior.training.prepare import PrepareConfig, prepare_motion

COLUMNS = {
    **{"global_orient": (0, 3), "body_pose": (3, 66), "jaw_pose": (66, 69), "leye_pose": (69, 72)},
    **{"reye_pose": (72, 75), "left_hand_pose": (75, 120), "right_hand_pose": (120, 165)},
}


def same(one: Track, other: Track) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(Track)]
    numbers = [np.asarray(a).dtype.kind == "f" for a, _ in pairs]
    alike = [np.array_equal(a, b, equal_nan=nan) for (a, b), nan in zip(pairs, numbers, strict=True)]
    return all(alike) and all(np.asarray(a).dtype == np.asarray(b).dtype for a, b in pairs)


def vertices(body, parameters):
    return pose_body(body, **{name: torch.as_tensor(value) for name, value in parameters.items()}).vertices.numpy()


def test_a_track_comes_back_exactly(make_track, open_body, tmp_path):
    floor = World.on_floor(np.array([0.1, -0.2, -0.97, -1.3]), "the floor (test)")
    for world in (floor, World.along("y", "test"), None):
        track = make_track(space="world", reason="seen by four cameras", world=world)
        npz, glb = write_track(tmp_path, track, open_body)
        assert (npz.name, glb.name) == ("000.npz", "000.glb")
        assert same(read_track(npz), replace(track, world=world or world_of(track)))


def test_failed_moments_at_the_ends_are_kept_as_such_and_are_no_motion(make_track, open_body, tmp_path):
    status = ("failed", "failed", *("fitted",) * 9, "failed")
    track = make_track(status=status)
    for name in COLUMNS:
        getattr(track, name)[[0, 1, 11]] = 0
    npz, _ = write_track(tmp_path, track, open_body)
    assert same(read_track(npz), replace(track, world=world_of(track)))
    with np.load(npz) as file:
        assert file["poses"].shape == (9, 165) and file["first_row"] == 2
    np.testing.assert_array_equal(read_motion(npz).body_pose, track.body_pose[2:11])


def test_failed_moments_between_others_are_no_motion_either(make_track, open_body, tmp_path):
    track = make_track(status=("fitted",) * 5 + ("failed",) * 2 + ("fitted",) * 5)
    npz, _ = write_track(tmp_path, track, open_body)
    np.testing.assert_array_equal(read_motion(npz).body_pose, np.delete(track.body_pose, (5, 6), axis=0))


def test_a_person_who_was_never_fitted_has_a_file_that_says_why(make_track, open_body, tmp_path):
    [npz] = write_track(tmp_path, make_track(status=("failed",) * 12, reason="too few points"), open_body)
    assert read_track(npz).reason == "too few points"
    with pytest.raises(NoMotionError):
        read_motion(npz)


@pytest.mark.parametrize("space, up", [("camera", None), ("world", "y"), ("world", "-x"), ("world", "z")])
def test_amass_readers_get_the_body_upright_with_z_up(make_track, open_body, tmp_path, space, up):
    """Posing the file's poses, trans and betas gives the track's body, turned so that its up is z."""
    track = make_track(3, space=space)
    npz, _ = write_track(tmp_path, track, open_body, up=up)
    with np.load(npz) as file:
        given = {name: file["poses"][:, low:high] for name, (low, high) in COLUMNS.items()}
        given |= {"betas": np.repeat(file["betas"][None], 3, axis=0), "transl": file["trans"]}
        given |= {"expression": file["expression"]}
        assert (file["mocap_frame_rate"], str(file["gender"]), str(file["surface_model_type"])) == (
            *(29.97, "neutral", "smplx"),
        )
        assert file["poses"].shape == (3, 165)
    turn, _ = World.along(up or "-y").z_up
    np.testing.assert_allclose(vertices(open_body, given), vertices(open_body, track.parameters()) @ turn.T, atol=1e-9)


def test_up_is_found_from_who_stands(make_track, open_body, tmp_path):
    """A person upright along -x of a calibration's world stands along z in the file."""
    turned = np.tile([0.0, 0.0, np.pi / 2], (12, 1))  # takes y to -x
    npz, _ = write_track(tmp_path, make_track(space="world", global_orient=turned), open_body)
    with np.load(npz) as file:
        assert str(file["up"]) == "-x"
        turns = torch.from_numpy(file["poses"][:, :3])
    standing = pose_body(
        open_body, betas=torch.zeros(12, 10).double(), global_orient=turns, body_pose=torch.zeros(12, 63).double()
    )
    assert (standing.joints[:, 15, 2] > standing.joints[:, 0, 2] + 0.4).all()  # head above pelvis


def test_all_people_of_a_world_have_the_same_up_whether_they_stand_or_lie(make_track):
    """Level cameras say it for somebody who lies along x; people who stand do under cameras that are all turned."""
    lying = make_track(space="world", global_orient=np.tile([0.0, 0.0, -np.pi / 2], (12, 1)))
    standing = make_track(space="world", global_orient=np.tile([0.0, 0.3, 0.0], (12, 1)))
    turns = np.array([[[np.cos(a), 0, np.sin(a)], [0, -1, 0], [np.sin(a), 0, -np.cos(a)]] for a in (0, 2, 4)])
    level = np.eye(3)[None] @ turns
    on_its_side = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) @ turns

    def up(people, cameras):
        return shared_world(people, cameras=cameras).axis

    assert up([lying], level) == "y"
    assert up([lying], np.zeros((0, 3, 3))) == "x"
    assert up([standing, lying], level) == up([standing], on_its_side) == "y"
    assert up([make_track()], level) == "-y"


@pytest.mark.parametrize("up", ["x", "-x", "y", "-y", "z", "-z"])
def test_turns_to_other_worlds_are_rotations_that_take_up_to_up(up):
    axis = np.zeros(3)
    axis["xyz".index(up[-1])] = -1 if up.startswith("-") else 1
    world = World.along(up)
    for (turn, shift), wanted in ((world.z_up, [0, 0, 1]), (world.y_up, [0, 1, 0])):
        np.testing.assert_array_equal(turn @ axis, wanted)
        np.testing.assert_array_equal(shift, 0)
        np.testing.assert_array_equal(turn @ turn.T, np.eye(3))
        assert np.linalg.det(turn) == pytest.approx(1)
    assert nearest_axis(axis + 0.3 * np.array([[1, 0, 0], [0, 1, 1]])) == up


def test_prior_prepare_reads_tracks_of_several_runs(make_track, open_body, tmp_path):
    """Every pose of both runs is used; results of single frames beside them are not taken for motion."""
    for seed, name in enumerate(("run1", "run2")):
        (tmp_path / name / "results" / "clip").mkdir(parents=True)
        np.savez(tmp_path / name / "results" / "clip" / "000.npz", poses=np.zeros((4, 66)))
        write_track(tmp_path / name / "tracks", make_track(20, seed), open_body)
        assert find_motions(tmp_path / name) == find_tracks(tmp_path / name)
    config = PrepareConfig(frame_rate=30.0, duplicate_degrees=0.0, split="clip")
    prepare_motion([tmp_path / "run1", tmp_path / "run2"], tmp_path / "poses", config)
    manifest = json.loads((tmp_path / "poses" / "manifest.json").read_text())
    assert sum(split["poses"] for split in manifest["splits"].values()) == 40 and manifest["left_out"] == []
    poses = np.concatenate([np.fromfile(file, "<f4") for file in sorted((tmp_path / "poses").glob("*.f32"))])
    wanted = {make_track(20, seed).body_pose.astype("<f4").tobytes() for seed in (0, 1)}
    assert {poses[: 20 * 63].tobytes(), poses[20 * 63 :].tobytes()} == wanted


def test_what_is_no_track_is_one_clear_error(make_track, open_body, tmp_path):
    npz, _ = write_track(tmp_path, make_track(2), open_body)
    with np.load(npz) as file:
        whole = dict(file)
    np.savez(tmp_path / "amass.npz", poses=np.zeros((5, 165)), trans=np.zeros((5, 3)), betas=np.zeros(16))
    with pytest.raises(ResultError, match=r"amass\.npz: motion in AMASS's layout, but no track of bodyfit: .*moments"):
        read_track(tmp_path / "amass.npz")
    with pytest.raises(ResultError, match="no such file"):
        read_track(tmp_path / "none.npz")
    broken = {
        "not finite": {"transl": np.full((2, 3), np.nan)},
        "poses of shape": {"poses": np.zeros((2, 66))},
        "2 poses from row 7": {"first_row": np.array(7)},
        "expected camera or world": {"space": np.array("moon")},
        "newer bodyfit": {"bodyfit_track": np.array(9)},
        "status and views": {"status": np.array(["fitted"])},
    }
    for words, changes in broken.items():
        np.savez(tmp_path / "broken.npz", **{**whole, **changes})
        with pytest.raises(ResultError, match=rf"broken\.npz: .*{words}"):
            read_track(tmp_path / "broken.npz")
    with pytest.raises(ResultError, match="fitted with the body 'other', but the one given is"):
        write_track(tmp_path, make_track(2, body_model="other"), open_body)
