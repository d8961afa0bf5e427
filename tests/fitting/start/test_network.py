"""The start network: its view of a person is the same wherever that person stands, and its file says what it is."""

import numpy as np
import pytest
import roma
import torch
from safetensors.torch import save_file

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.start.network import (
    INPUT_NAMES,
    StartNetwork,
    StartNetworkConfig,
    StartNetworkError,
    load_start_network,
    normalise,
    ray_rotation,
    save_start_network,
)
from bodyfit.fitting.start.synthetic import make_people

DTYPES = (torch.float32, torch.float64)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return StartNetwork(StartNetworkConfig(width=32, blocks=1, heads=3, body="test")).eval()


def person(dtype=torch.float64, batch=4):
    """Points of a body-sized cloud three metres away, on the optical axis."""
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(batch, len(INPUT_NAMES), 3, generator=generator, dtype=dtype) * 0.4
    points[..., 2] += 3
    return points, torch.rand(batch, len(INPUT_NAMES), generator=generator, dtype=dtype) * 0.9 + 0.1


@pytest.mark.parametrize("dtype", DTYPES)
def test_ray_rotation_is_a_rotation_without_roll_onto_the_ray(dtype):
    direction = torch.tensor([[0.0, 0, 1], [0.5, -0.2, 1], [-1.5, 1.0, 1.0]], dtype=dtype)
    turn = ray_rotation(direction)
    eps = 1e3 * torch.finfo(dtype).eps
    assert torch.allclose(turn @ turn.transpose(1, 2), torch.eye(3, dtype=dtype).expand(3, 3, 3), atol=eps)
    assert torch.allclose(turn[..., 2], torch.nn.functional.normalize(direction, dim=1), atol=eps)
    assert torch.allclose(turn[..., 0, 1], turn[..., 1, 0], atol=eps)  # symmetric block: no turn about the axis


def test_normalised_view_does_not_depend_on_focal_length_image_place_or_where_the_person_stands():
    points, weights = person()
    center = torch.tensor([[320.0, 240.0]], dtype=torch.float64).expand(4, 2)
    focal = torch.full((4,), 700.0, dtype=torch.float64)
    here = normalise(project(points, focal, center), weights, focal, center)
    longer = normalise(project(points, 3 * focal, center - 77), weights, 3 * focal, center - 77)
    assert torch.allclose(here.features, longer.features, atol=1e-9)
    # The same view from the same distance, in another direction: turned about the camera's centre.
    turn = ray_rotation(torch.tensor([[0.4, 0.3, 1.0]], dtype=torch.float64))
    moved = points @ here.camera_from_ray @ turn.transpose(1, 2)
    # `here` is already nearly on the axis; undo its own ray first, so that only `turn` is between the two views.
    there = normalise(project(moved, focal, center), weights, focal, center)
    assert (there.features - here.features).abs().max() < 0.05  # the mean of a perspective view moves a little
    assert torch.allclose(there.camera_from_ray[0, :, 2], turn[0, :, 2], atol=0.02)


def test_unseen_landmarks_are_not_looked_at(network):
    points, weights = person(torch.float32)
    weights[:, :5] = 0
    center, focal = torch.zeros(4, 2), torch.full((4,), 500.0)
    pixels = project(points, focal, center)
    before = network(pixels, weights, focal, center, INPUT_NAMES)
    pixels[:, :5] = 1e6
    after = network(pixels, weights, focal, center, INPUT_NAMES)
    assert torch.equal(before.body_pose, after.body_pose)


def test_landmarks_are_found_by_name_and_strange_ones_passed_over(network):
    points, weights = person(torch.float32)
    center, focal = torch.zeros(4, 2), torch.full((4,), 500.0)
    pixels = project(points, focal, center)
    straight = network(pixels, weights, focal, center, INPUT_NAMES)
    order = list(range(len(INPUT_NAMES)))[::-1]
    names = ("nobody_knows", *(INPUT_NAMES[i] for i in order))
    shuffled = torch.cat([torch.full((4, 1, 2), 9e3), pixels[:, order]], dim=1)
    heavier = torch.cat([torch.ones(4, 1), weights[:, order]], dim=1)
    assert torch.equal(straight.global_orient, network(shuffled, heavier, focal, center, names).global_orient)


def test_missing_names_count_as_unseen(network):
    points, weights = person(torch.float32)
    center, focal = torch.zeros(4, 2), torch.full((4,), 500.0)
    pixels = project(points, focal, center)
    without = network(pixels[:, 7:], weights[:, 7:], focal, center, INPUT_NAMES[7:])
    weights[:, :7] = 0
    assert torch.equal(without.betas, network(pixels, weights, focal, center, INPUT_NAMES).betas)


@pytest.mark.parametrize("dtype", DTYPES)
def test_proposals_are_rotations_in_the_order_of_their_scores(network, dtype):
    points, weights = person(dtype)
    center, focal = torch.zeros(4, 2, dtype=dtype), torch.full((4,), 500.0, dtype=dtype)
    out = network(project(points, focal, center), weights, focal, center, INPUT_NAMES)
    assert out.global_orient.shape == (4, 3, 3, 3) and out.body_pose.shape == (4, 3, 21, 3, 3)
    assert out.body_pose.dtype == out.predicted_pose.dtype == dtype
    assert torch.allclose(torch.linalg.det(out.predicted_pose), torch.ones((), dtype=dtype), atol=1e-5)
    assert torch.allclose(torch.linalg.det(out.body_pose), torch.ones((), dtype=dtype), atol=1e-5)
    assert (out.score.diff(dim=1) <= 0).all()
    assert torch.allclose(out.score.sum(1), torch.ones(4, dtype=dtype), atol=1e-5)


def test_a_person_with_nothing_seen_still_gets_finite_proposals(network):
    names, center, focal = INPUT_NAMES, torch.zeros(1, 2), torch.full((1,), 500.0)
    nothing = torch.zeros(1, len(names))
    out = network(torch.full((1, len(names), 2), torch.nan), nothing, focal, center, names)
    assert torch.isfinite(out.global_orient).all() and torch.isfinite(out.betas).all()


def test_saved_network_comes_back_from_file_and_folder(network, tmp_path):
    path = save_start_network(network, tmp_path / "start.safetensors")
    for place in (path, tmp_path):
        loaded = load_start_network(place)
        assert loaded.config == network.config
        assert torch.allclose(loaded.first.weight, network.first.weight, atol=1e-3)


def test_examples_are_kept_beside_the_weights(network, tmp_path):
    network.examples = torch.rand(2, 7, 63)
    loaded = load_start_network(save_start_network(network, tmp_path / "start.safetensors"))
    torch.testing.assert_close(loaded.examples, network.examples, rtol=1e-3, atol=1e-3)


def test_a_folder_without_one_gives_none(tmp_path):
    assert load_start_network(tmp_path) is None


def test_other_files_are_refused_by_name(tmp_path):
    stranger = tmp_path / "prior.safetensors"
    save_file({"decoder.0.weight": torch.zeros(2, 2)}, stranger)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(np.random.default_rng(0).bytes(100))
    for path in (stranger, broken, tmp_path / "absent.safetensors"):
        with pytest.raises(StartNetworkError, match=path.name):
            load_start_network(path)


def test_the_shipped_network_knows_which_way_people_face_and_where_their_arms_are():
    body, network = load_body_model(), load_start_network()
    arms_down = torch.zeros(64, 21, 3)
    arms_down[:, 15, 2], arms_down[:, 16, 2] = -1.2, 1.2
    people = make_people(body, arms_down.flatten(1), seed=0)
    proposed = network(people.keypoints_px, people.confidence, people.focal_px, people.center_px, LANDMARK_NAMES)
    facing = proposed.global_orient[:, 0, :, 2]
    truth = roma.rotvec_to_rotmat(people.global_orient)[:, :, 2]
    assert ((facing * truth).sum(1) > 0.7).float().mean() > 0.95
    unturned = proposed.body_pose[:, 0, [15, 16], :, 1]  # the upper arms' own y axes lean away from the body
    assert (unturned[:, 0, 0] > 0.5).float().mean() > 0.9 and (unturned[:, 1, 0] < -0.5).float().mean() > 0.9
