"""People of one photo who share a floor and a space, through the fitter and through the command."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bodyfit
from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.keypoints.openpose_json import write_openpose
from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.data.results.store import open_results
from bodyfit.fitting.benchmark.groups import GroupMaker, GroupPhoto, floor_errors
from bodyfit.fitting.energy.floor import FOOT_POINTS, GroundChoice
from bodyfit.fitting.energy.shared_space import Obstacles
from bodyfit.fitting.solve.ages import AgeConfig
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.photo_floor import photo_floor
from bodyfit.fitting.uncertainty import modes
from bodyfit.scripts.cli import main

ADULTS = FitConfig(age=AgeConfig(kind="adult"), uncertainty="off")


@pytest.fixture(scope="module")
def alone():
    return Fitter(config=ADULTS)


@pytest.fixture(scope="module")
def standing_poses(tmp_path_factory):
    """Motion of somebody upright who moves arms and legs a little, with y up: what photos are made of."""
    folder, draw = tmp_path_factory.mktemp("motion"), np.random.default_rng(0)
    poses = np.zeros((40, 66))
    poses[:, 3:] = 0.1 * draw.standard_normal((40, 63))
    poses[:, 3 + 3 * 15 + 2], poses[:, 3 + 3 * 16 + 2] = -1.0, 1.0  # arms hang
    np.savez(folder / "a.npz", poses=poses, trans=np.zeros((40, 3)), mocap_frame_rate=30.0, betas=np.zeros(10))
    return folder


@pytest.fixture(scope="module")
def maker(alone, standing_poses):
    return GroupMaker(alone, standing_poses, None, 3)


def upright(feet_up=(0.0, 0.0, 0.0), sizes=(1.0, 1.0, 1.0)):
    """Feet, pelvis and neck of three people 1.5 m below a level camera, at 3, 4 and 5 m; larger ones farther away."""
    people = []
    for place, lift, size in zip(((-1.0, 3.0), (0.0, 4.0), (1.2, 5.0)), feet_up, sizes, strict=True):
        foot = np.array([[0.1 * side, 1.5 - lift, along] for side in (-1, 1) for along in (-0.1, -0.05, 0.15)])
        points = np.concatenate([foot, [[0, 0.6 - lift, 0], [0, 0.1 - lift, 0]]])
        people.append(size * (points + np.array([place[0], 0, place[1]])))
    points = torch.as_tensor(np.stack(people)).float()
    return points[:, :6], points[:, 6], points[:, 7], torch.zeros(6), torch.ones(3, 6, dtype=torch.bool)


def test_the_floor_of_people_who_stand():
    found = photo_floor(*upright(sizes=(1.03, 0.98, 1.0)), None)
    assert math.degrees(math.acos(-found.floor.normal[1])) < 1.5
    assert abs(found.floor.offset_m + 1.5) < 0.05 and found.touches.all()


def test_somebody_who_jumps_stands_on_no_floor():
    found = photo_floor(*upright(feet_up=(0.0, 0.5, 0.0)), None)
    assert found.elsewhere.tolist() == [False, True, False]
    assert found.touches.any(1).tolist() == [True, False, True] and abs(found.floor.offset_m + 1.5) < 0.05


def test_a_lifted_foot_does_not_touch():
    feet, *others = upright()
    feet[0, :3, 1] -= 0.2
    assert photo_floor(feet, *others, None).touches[0].tolist() == [False] * 3 + [True] * 3


def test_no_floor_is_made_out_of_nothing():
    feet, pelvis, neck, clearance, seen = upright()
    one = photo_floor(feet[:1], pelvis[:1], neck[:1], clearance, seen[:1], None)
    assert one.floor is None and "one person" in one.reason and not one.touches.any()
    given = photo_floor(feet[:1], pelvis[:1], neck[:1], clearance, seen[:1], (0.0, -1.0, 0.0))
    assert given.floor.normal[1] < -0.999 and given.touches.all()
    neck = pelvis + torch.tensor([0.5, 0.0, 0.0])  # they lie
    lying = photo_floor(feet, pelvis, neck, clearance, seen, (0.0, -1.0, 0.0))
    assert lying.floor is None and "nobody stands" in lying.reason
    stairs = photo_floor(*upright(feet_up=(0.0, 0.6, 1.2)), (0.0, -1.0, 0.0))
    assert stairs.floor is None and "no common plane" in stairs.reason


def test_feet_that_nobody_saw_stand_on_nothing():
    *given, seen = upright()
    seen[0], seen[1, :3] = False, False
    found = photo_floor(*given, seen, None)
    assert found.touches.tolist() == [[False] * 6, [False] * 3 + [True] * 3, [True] * 6]
    assert photo_floor(*given, seen & False, (0.0, -1.0, 0.0)).floor is None


def test_feet_of_a_group_are_brought_to_one_floor(alone, maker):
    """Distances between people are better, results name floor and feet, and other photos make no difference."""
    photos = maker.on_floor(4, 3, jumping=0.0)
    standing = Fitter(config=replace(ADULTS, ground=GroundChoice(on=True)))
    before, after = (fitter.fit([photo.frame for photo in photos]) for fitter in (alone, standing))
    errors = [floor_errors(photos, results) for results in (before, after)]
    assert errors[1]["floor_found_share"] > 0.7 and errors[1]["normal_error_degrees"] < 6
    assert errors[1]["relative_depth_error_percent"] < 0.9 * errors[0]["relative_depth_error_percent"]
    assert not any(result.touching or result.floor_source for result in before)
    assert sum("foot" in result.touching for result in after) > 8
    sure = replace(ADULTS, uncertainty="joints")
    of_one = bodyfit.fit([photos[2].frame], config=sure, ground=True)
    for result, other in zip(of_one, after[6:9], strict=True):
        np.testing.assert_allclose(result.transl, other.transl, atol=5e-3)
        assert result.touching == other.touching
        assert len(result.sample(2)["body_pose"]) == 2  # who was put on the floor still knows the prior


def test_a_plane_that_nobody_touches_is_no_floor():
    """One sample person stands on a roof, the other walks on the lawn below: a plane fits two pairs of feet always."""
    folder = Path(bodyfit.__file__).parents[1] / "data/assets/samples"
    frame = bodyfit.Frame.from_files(folder / "images/two_people.jpg", folder / "keypoints/two_people_keypoints.json")
    alone, grounded = (bodyfit.fit([frame], config=ADULTS, ground=ground) for ground in (False, True))
    for before, after in zip(alone, grounded, strict=True):
        assert (after.touching, len(after.floor)) == ("", 0) and after.floor_source.startswith("none: the keypoints")
        np.testing.assert_array_equal(after.transl, before.transl)


def test_who_is_no_person_has_no_say_in_the_floor_and_takes_up_no_space(alone, maker):
    """Two "people" beside three real ones: the same keypoints higher up, 40 % of them thrown about."""
    (photo,) = maker.on_floor(1, 3, jumping=0.0)
    real, draw = photo.frame.detections, np.random.default_rng(0)
    xy, confidence = real.xy[:2].copy(), real.confidence[:2]
    for points, seen in zip(xy, confidence > 0, strict=True):
        size = np.ptp(points[seen], axis=0).max()
        points[:, 1] -= 0.2 * size
        points[draw.random(len(points)) < 0.4] += 0.4 * size
    both = Detections.from_points(
        np.concatenate([real.xy, xy]),
        np.concatenate([real.confidence, confidence]),
        format="synthetic",
        source=Path("synthetic"),
    )
    frame = replace(photo.frame, detections=both)
    fitter = Fitter(config=replace(ADULTS, ground=GroundChoice(on=True), people_apart=True), like=alone)
    without, found = fitter.fit([photo.frame]), fitter.fit([frame])
    assert [result.status for result in found[3:]] == ["implausible"] * 2
    assert any(result.floor.size for result in without)
    for before, after in zip(without, found, strict=False):
        assert after.status == "converged" and after.floor_source == before.floor_source
        np.testing.assert_allclose(after.floor, before.floor, atol=1e-3)
        np.testing.assert_allclose(after.transl, before.transl, atol=5e-3)
    for result in found[3:]:
        assert not result.floor.size and not result.touching


def test_alternative_modes_stand_where_people_were_put(maker, monkeypatch):
    """Flipped limbs are looked for once more on the floor: the rest of the body is where it is now."""
    monkeypatch.setattr(modes, "KEPT_FROM", 0.0)  # somebody's flip is kept, however improbable
    frames = [photo.frame for photo in maker.on_floor(3, 3, jumping=0.0)]
    config = replace(ADULTS, uncertainty="joints")
    before, after = (bodyfit.fit(frames, config=config, ground=ground, device="cpu") for ground in (False, True))
    moved = [n for n in range(len(after)) if np.abs(after[n].transl - before[n].transl).max() > 1e-3]
    flipped = [n for n in moved if after[n].runner_up_flipped]
    assert len(flipped) >= 2
    for n in flipped:
        np.testing.assert_allclose(after[n].runner_up_transl, after[n].transl, atol=1e-6)
        assert after[n].runner_up_cost > 0
        assert np.abs(after[n].runner_up_body_pose - after[n].body_pose).max() > 0.1


def test_children_and_adults_stand_on_one_floor_and_beside_each_other(alone, standing_poses):
    """A child takes part in the floor as an adult does, and is moved out of others as a child."""
    fitter = Fitter(config=replace(ADULTS, age=AgeConfig(), ground=GroundChoice(on=True), people_apart=True))
    photos = GroupMaker(fitter.children, standing_poses, None, 5, children=0.5).on_floor(3, 3, jumping=0.0)
    before = Fitter(config=replace(ADULTS, age=AgeConfig()), like=fitter).fit([photo.frame for photo in photos])
    after = fitter.fit([photo.frame for photo in photos])
    young = [n for n, result in enumerate(after) if result.kid_axis]
    assert young and [n for n, result in enumerate(before) if result.kid_axis] == young
    placed = [n for n in young if after[n].floor.size]
    assert placed and any("foot" in after[n].touching for n in placed)
    assert any(np.abs(after[n].transl - before[n].transl).max() > 1e-3 for n in placed)
    stand = [n for n in placed if "foot" in after[n].touching]
    feet = [LANDMARK_INDEX[name] for name in FOOT_POINTS]
    floors = [after[n].floor for n in stand]
    away = [
        [np.abs((some[n].landmarks[feet] @ floor[:3] - floor[3]).min()) for n, floor in zip(stand, floors, strict=True)]
        for some in (before, after)
    ]
    assert np.mean(away[1]) < 0.5 * np.mean(away[0])


def test_the_size_of_a_child_says_less_about_the_floor():
    """Feet of a child that seem to be 15 cm too high still stand; those of an adult do not."""
    feet, pelvis, neck, clearance, seen = upright(sizes=(1.0, 1.0, 0.9))
    sizes = torch.tensor([0.02, 0.02, 0.15])
    as_child = photo_floor(feet, pelvis, neck, clearance, seen, (0.0, -1.0, 0.0), sizes)
    as_adult = photo_floor(feet, pelvis, neck, clearance, seen, (0.0, -1.0, 0.0), sizes.clamp(max=0.02))
    assert as_child.touches.any(1).all() and abs(as_child.floor.offset_m + 1.5) < 0.02
    assert as_adult.touches.any(1).tolist() == [True, True, False] and as_adult.elsewhere.tolist() == [
        False,
        False,
        True,
    ]


def test_the_benchmark_of_groups(standing_poses, capsys):
    run("benchmark", "--groups", 2, "--ground", "--poses", standing_poses, "--json")
    floors = json.loads(capsys.readouterr().out)["groups"]
    assert (
        floors["with"]["people"] == 8 and floors["with"]["floor_found_share"] > floors["without"]["floor_found_share"]
    )


def deepest_m(fitter, results):
    """How deep the spheres of the first two results overlap."""
    x = torch.stack([fitter.unknowns_of({n: v[0] for n, v in r.parameters().items()}) for r in results[:2]])
    x[:, fitter.unknowns.layout["latent"]] = torch.as_tensor(np.stack([r.latent for r in results[:2]])).float()
    shape = fitter.unknowns.shape(x)
    turns = fitter.unknowns.rotations(x, fitter.unknowns.decode(x))
    bones = fitter.everything.kinematics(turns, shape, derivatives=False)
    centres = fitter.spheres.centres(bones, shape).transpose(0, 1) + x[:, None, fitter.unknowns.layout["transl"]]
    radii, nobody = fitter.spheres.radii(shape), torch.zeros(1, dtype=torch.long)
    found = Obstacles(centres[1:], radii[1:]).overlaps_of(centres[:1], radii[:1], nobody, 1)
    return float(found.depth[0]) if len(found.depth) else 0.0


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main(list(map(str, arguments)))
    assert end.value.code == 0


def test_people_side_by_side_do_not_pass_through_each_other(alone, maker, tmp_path):
    """Through the command; the photo is the one of some whose fits one by one are deepest in each other."""
    photos: list[GroupPhoto] = maker.side_by_side(6)
    found = alone.fit([photo.frame for photo in photos])
    depths = [deepest_m(alone, found[2 * n : 2 * n + 2]) for n in range(len(photos))]
    n = int(np.argmax(depths))
    worst = photos[n].frame
    detections = replace(worst.detections, image_size=worst.image_size)
    write_openpose(tmp_path / "a_keypoints.json", detections)
    wanted = [
        tmp_path / "a_keypoints.json",
        "--focal",
        worst.focal_px,
        "--no-meshes",
        "--no-overlays",
        "--age",
        "adult",
    ]
    run("fit", *wanted, "-o", tmp_path / "people", "--collisions", "people", "--ground")
    run("fit", *wanted, "-o", tmp_path / "again", "--config", tmp_path / "people" / "config.json")
    results = {name: list(open_results(tmp_path / name)) for name in ("people", "again")}
    assert depths[n] > 0.02 and deepest_m(alone, results["people"]) < 0.4 * depths[n]
    for one, other in zip(results["people"], results["again"], strict=True):
        np.testing.assert_array_equal(one.transl, other.transl)
        assert one.floor_source and one.floor_source == other.floor_source
    for one, other in zip(found[2 * n : 2 * n + 2], results["people"], strict=True):
        assert other.error_share < one.error_share + 0.004
    assert json.loads((tmp_path / "people" / "config.json").read_text())["fit"]["people_apart"]
