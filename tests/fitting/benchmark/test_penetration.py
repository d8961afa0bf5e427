"""Penetration of meshes by winding numbers: at poses whose penetration is known, and the command that measures fits."""

import json

import numpy as np
import pytest
import torch

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.benchmark.collisions import in_short, out_of_themselves, paired
from bodyfit.fitting.benchmark.penetration import Penetration, PenetrationMeter
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.scripts.benchmark_collisions import BenchmarkCollisionsCommand

pytest.importorskip("igl", reason="needs the extra bench")


@pytest.fixture(scope="module")
def meter():
    return PenetrationMeter(load_body_model())


def vertices(body, **joints):
    pose = torch.zeros(1, 21, 3, dtype=torch.float64)
    for name, rotvec in joints.items():
        pose[0, body.joint_names.index(name) - 1] = torch.tensor(rotvec, dtype=torch.float64)
    zeros = torch.zeros(1, 10, dtype=torch.float64)
    return pose_body(body, betas=zeros, global_orient=zeros[:, :3], body_pose=pose.flatten(1)).vertices[0].numpy()


def test_a_body_at_rest_is_not_inside_itself(meter):
    assert meter.measure(vertices(meter.body)).volume_cm3 < 0.5


def test_a_folded_knee_is_a_fold(meter):
    found = meter.measure(vertices(meter.body, left_knee=(1.9, 0, 0)))
    assert found.volume_cm3 < 20
    assert found.folded_share > 0


def test_a_leg_through_the_other_is_found_and_its_depth_is_right(meter):
    """A hand that is moved into the chest is deeper by as much as it is moved."""
    crossed = meter.measure(vertices(meter.body, left_hip=(0, 0, -0.5)))
    assert crossed.volume_cm3 > 500 and crossed.deepest_mm > 30
    arm = [meter.measure(vertices(meter.body, left_shoulder=(0, 0, -angle))).deepest_mm for angle in (0.8, 1.5, 1.6)]
    assert arm[0] < 5 < arm[1] < arm[2]


def test_moving_the_body_changes_nothing(meter):
    posed = vertices(meter.body, left_hip=(0, 0, -0.5))
    turn = np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]])
    here, there = meter.measure(posed), meter.measure(posed @ turn.T + [3.0, -1.0, 5.0])
    assert there.volume_cm3 == pytest.approx(here.volume_cm3, rel=0.05)


def test_two_bodies_take_up_what_their_arms_share(meter):
    """T poses side by side: nothing a body's breadth apart, and more the more their arms overlap."""
    rest = vertices(meter.body)
    span = np.ptp(rest[:, 0])
    aside = [rest + np.array([span * share, 0.01, 0.01]) for share in (1.02, 0.95, 0.8)]
    found = [meter.between(rest, other) for other in aside]
    assert found[0].volume_cm3 == 0 and found[0].deepest_mm == 0
    assert 5 < found[1].volume_cm3 < found[2].volume_cm3 < 3000
    swapped = meter.between(aside[2], rest)
    assert swapped.volume_cm3 == pytest.approx(found[2].volume_cm3, rel=0.01)


def test_poses_move_out_of_themselves_no_further_than_they_must():
    fitter, meter = Fitter(), PenetrationMeter(load_body_model())
    columns = fitter.unknowns.layout["latent"]
    x = torch.zeros(24, fitter.unknowns.layout.size)
    x[:, columns] = fitter.prior.sample(24, torch.Generator().manual_seed(0)).detach()
    moved = out_of_themselves(fitter, x)
    volumes = []
    for some in (x, moved):
        poses = fitter.prior.decode_axis_angle(some[:, columns]).detach().double()
        zeros = torch.zeros(len(poses), 10, dtype=torch.float64)
        bodies = pose_body(fitter.body, betas=zeros, global_orient=zeros[:, :3], body_pose=poses).vertices.numpy()
        volumes.append(np.array([meter.measure(one).volume_cm3 for one in bodies]))
    assert volumes[1].mean() < 0.4 * volumes[0].mean()
    untouched = volumes[0] == 0
    assert (moved - x)[untouched].norm(dim=1).median() < 0.02
    assert (moved - x).norm(dim=1).max() < 3


def test_many_people_in_short():
    found = in_short([Penetration(10.0, 4.0, 0.1, 0.2), Penetration(30.0, 40.0, 0.1, 0.0)])
    assert found["volume_cm3"] == 20 and found["penetrating_share"] == 0.5 and found["folded_skin_share"] == 0.1


def test_changes_of_errors_are_those_of_each_person():
    without, after = np.array([1.0, 2.0, 4.0, 5.0, 8.0]), np.array([1.5, 2.0, 6.0, 5.0, 4.0])
    change = paired("error", without, after)  # +50, 0, +50, 0 and -50 %
    assert change == {"error_change_lower": 0, "error_change_median": 0, "error_change_upper": 50}


def test_the_command_compares_fits_with_and_without(capsys):
    assert BenchmarkCollisionsCommand(people=8, samples=4, json=True, device="cpu").run() == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"people", "samples"}
    assert document["people"]["with"]["volume_cm3"] <= document["people"]["without"]["volume_cm3"]
    assert "pa_mpjpe_mm_change_median" in document["people"]["with"]


def test_the_command_measures_clips_of_two_people(capsys, tmp_path):
    """People who stand in one place, and hardly move: how often fits overlap, and nothing deeper with the option."""
    poses = np.zeros((30, 66))
    poses[:, 3 + 3 * 15 + 2], poses[:, 3 + 3 * 16 + 2] = -1.0, 1.0  # arms hang
    poses[:, 4] = np.linspace(0, 0.5, 30)
    np.savez(tmp_path / "a.npz", poses=poses, trans=np.zeros((30, 3)), mocap_frame_rate=30.0, betas=np.zeros(10))
    given = {"people": 0, "samples": 0, "poses": tmp_path, "json": True, "device": "cpu"}
    assert BenchmarkCollisionsCommand(**given, clips=3, moments=4).run() == 0
    found = json.loads(capsys.readouterr().out)["clips"]
    assert found["with"]["clips"] == 3 and found["with"]["clips_with_overlap"] > 0
    assert found["with"]["deepest_mm"] < found["without"]["deepest_mm"]
    with pytest.raises(BodyfitError, match="--clips need --poses"):
        BenchmarkCollisionsCommand(people=0, samples=0, clips=1).run()
