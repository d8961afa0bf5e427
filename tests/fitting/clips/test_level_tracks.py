"""A camera that looks down: with the ground, files of tracks are level on the floor; without, as they were."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import bodyfit
from bodyfit.data.body.posing import pose_body
from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.landmarks import BODY, LANDMARK_INDEX, LANDMARK_NAMES
from bodyfit.data.results.levelling import world_of
from bodyfit.fitting.energy.floor import FOOT_POINTS

SIZE, FOCAL, COUNT = (1280, 960), 1000.0, 24
DOWN = Rotation.from_euler("x", 20, degrees=True)  # turns what a level camera sees into what one that looks down does
UP = DOWN.apply([0.0, -1.0, 0.0])
HEIGHT_M, APART_M = 2.6, 1.2
ROWS = slice(0, COUNT, 4)
"""Moments that are looked at."""


def landmarks(body, x, late):
    """Somebody who lifts one foot after the other, 4.5 m before a level camera above the floor: (T, 144, 3)."""
    phase = 2 * math.pi * np.arange(COUNT) / COUNT + late
    pose = np.zeros((COUNT, 63))
    for hip, lift in ((0, np.sin(phase)), (1, -np.sin(phase))):
        bend = 0.8 * lift.clip(min=0)
        pose[:, 3 * hip], pose[:, 3 * (hip + 3)] = -bend, 2 * bend
    pose[:, [47, 50]] = -1.0, 1.0  # arms down
    given = {"betas": np.zeros((COUNT, 10)), "global_orient": np.tile([np.pi, 0.0, 0.0], (COUNT, 1)), "body_pose": pose}
    posed = pose_body(body, **{name: torch.as_tensor(value) for name, value in given.items()})
    points = np.zeros((COUNT, len(LANDMARK_NAMES), 3))
    points[:, :55] = posed.joints.numpy()
    for name, vertex in body.extra_vertex_ids.items():
        points[:, LANDMARK_INDEX[name]] = posed.vertices[:, vertex].numpy()
    sole = posed.vertices[..., 1].numpy().max(axis=1)
    return points + np.stack([np.full(COUNT, x), HEIGHT_M - sole, np.full(COUNT, 4.5)], axis=1)[:, None]


@pytest.fixture(scope="module")
def truth(open_body):
    """Two people in the frame of a level camera."""
    return np.stack([landmarks(open_body, x, late) for x, late in ((-APART_M / 2, 0.0), (APART_M / 2, 2.0))], axis=1)


@pytest.fixture(scope="module")
def frames(truth):
    seen = [n for n in BODY if np.abs(truth[0, 0, n]).max() > 0]
    frames = []
    for t, people in enumerate(DOWN.apply(truth.reshape(-1, 3)).reshape(truth.shape)):
        pixels, confidence = np.zeros((2, len(LANDMARK_NAMES), 2)), np.zeros((2, len(LANDMARK_NAMES)))
        center = np.array([(SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2])
        pixels[:, seen] = people[:, seen, :2] / people[:, seen, 2:] * FOCAL + center
        confidence[:, seen] = 0.9
        found = Detections.from_points(pixels, confidence, format="made up", source=Path("clip"))
        frames.append(bodyfit.Frame(f"{t:06d}", found, SIZE, FOCAL, "given", tuple(center)))
    return frames


@pytest.fixture(scope="module")
def standing(frames):
    """Fitted with the ground."""
    return bodyfit.fit_video(frames, fps=24, ground=True).tracks


def test_up_is_the_floors_normal_for_everybody(standing):
    first, second = (track.world for track in standing)
    assert first == second and "of 2 people" in first.source
    assert math.degrees(math.acos(np.dot(first.up, UP))) < 5  # of 20 without
    assert first.floor_m is not None


@pytest.mark.parametrize("suffix", [".trc", ".bvh", ".npz", ".glb"])
def test_feet_that_touch_are_at_height_0_and_people_stay_apart(standing, open_body, tmp_path, readers, suffix):
    """Through every format: its reader finds soles on the floor, heads above it, and both at their distance."""
    pelvises = []
    for track in standing:
        path = bodyfit.export_track(tmp_path / f"x{suffix}", track, open_body)
        feet, neck, pelvis = READ[suffix](path, track, readers)
        soles = feet[track.touching[ROWS]][:, 1]
        assert len(soles) >= len(feet) / 2 and np.abs(soles).max() < 0.05 and abs(np.median(soles)) < 0.02
        lean = np.degrees(np.arccos((neck - pelvis)[:, 1] / np.linalg.norm(neck - pelvis, axis=1)))
        assert lean.max() < 8 and (neck[:, 1] > 1.2).all()  # y is up, and they stand
        pelvises.append(pelvis)
    apart = np.linalg.norm((pelvises[1] - pelvises[0]).mean(axis=0))
    assert apart == pytest.approx(APART_M, rel=0.1)


def skin_of(body, track, **changes):
    given = {name: torch.as_tensor(value) for name, value in {**track.parameters(), **changes}.items()}
    return pose_body(body, **given)


def ends(points, names):
    """The lower of the points of both soles (T, 2, 3), the neck and the pelvis."""
    feet = np.stack([points[:, [names.index(n) for n in FOOT_POINTS if n.startswith(s)]] for s in ("left", "right")], 1)
    lowest = np.take_along_axis(feet, feet[..., 1].argmin(axis=2)[..., None, None], axis=2)[:, :, 0]
    return lowest, points[:, names.index("neck")], points[:, names.index("pelvis")]


def from_trc(path, track, readers):
    _, names, _, _, points = readers.read_trc(path)
    return ends(points[ROWS], names)


def from_bvh(path, track, readers):
    """It has joints alone: those of the ball of the foot are as high above the sole as at rest."""
    body, (names, places) = bodyfit.load_body_model(), readers.bvh_joints(path)
    balls, places = [names.index(f"{side}_foot") for side in ("left", "right")], places[ROWS] / 100
    rest = (body.joint_regressor @ body.v_template)[body.joint_names.index("left_foot"), 1]
    soles = places[:, balls] - [0, rest - body.v_template[:, 1].min(), 0]
    return soles, places[:, names.index("neck")], places[:, names.index("pelvis")]


def of_skin(body, vertices, joints):
    names = [*body.joint_names, *body.extra_vertex_ids]
    return ends(np.concatenate([joints, vertices[:, list(body.extra_vertex_ids.values())]], axis=1), names)


def from_amass(path, track, readers):
    body = bodyfit.load_body_model()
    with np.load(path) as file:
        posed = skin_of(body, track, global_orient=file["poses"][:, :3], transl=file["trans"])
    vertices, joints = (p.numpy()[ROWS][..., [0, 2, 1]] * [1, 1, -1] for p in (posed.vertices, posed.joints))  # y up
    return of_skin(body, vertices, joints)


def from_glb(path, track, readers):
    body, player = bodyfit.load_body_model(), readers.Player(path)
    vertices = np.stack([player.vertices(time) for time in player.times[ROWS]])
    joints = np.einsum("jv,tvx->tjx", body.joint_regressor, vertices)  # near enough: the body stands
    return of_skin(body, vertices, joints)


READ = {".trc": from_trc, ".bvh": from_bvh, ".npz": from_amass, ".glb": from_glb}


def test_without_the_ground_a_camera_is_level_as_before(frames, open_body, tmp_path):
    [track, *_] = bodyfit.fit_video([frame for frame in frames[:4]], fps=24).tracks
    assert (track.world.up, track.world.floor_m, world_of(track).source) == (
        *((0.0, -1.0, 0.0), None, "the camera, taken to be level"),
    )
    with np.load(bodyfit.export_track(tmp_path / "x.npz", track, open_body)) as file:
        posed = skin_of(open_body, track, global_orient=file["poses"][:, :3], transl=file["trans"]).joints.numpy()
    np.testing.assert_allclose(posed, skin_of(open_body, track).joints.numpy()[..., [0, 2, 1]] * [1, 1, -1], atol=1e-6)


def test_a_gravity_alone_levels_and_leaves_the_origin(frames):
    """Nobody's feet are seen, so that there is no floor."""
    feet = [n for n, name in enumerate(LANDMARK_NAMES) if name.endswith(("_ankle", "_toe", "_heel"))]
    hidden = []
    for frame in frames[:4]:
        confidence = frame.detections.confidence.copy()
        confidence[:, feet] = 0
        found = Detections.from_points(frame.detections.xy, confidence, format="made up", source=Path("clip"))
        hidden.append(bodyfit.Frame(frame.name, found, SIZE, FOCAL, "given", frame.center_px))
    tracks = bodyfit.fit_video(hidden, fps=24, ground=True, gravity=tuple(-UP)).tracks
    assert len(tracks) == 2 and not tracks[0].floor.size
    assert {track.world.source for track in tracks} == {"the given gravity"}
    np.testing.assert_allclose(tracks[0].world.up, UP, atol=1e-9)
    assert tracks[0].world.floor_m is None
