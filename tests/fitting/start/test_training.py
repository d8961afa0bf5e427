"""Training the start network: the batches are true, the loss is zero at the truth, and seeds decide everything."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.start.network import INPUT_NAMES, StartNetworkConfig
from bodyfit.fitting.start.training import (
    StartTrainingConfig,
    hypothesis_errors,
    initial_network,
    predicted_pose_error,
    train_start,
)
from bodyfit.fitting.start.training_data import (
    LEAST_SEEN,
    TrainingBatch,
    TrainingBatches,
    hide_parts,
    points_body,
)
from bodyfit.prior.model.rotations import matrices_from_axis_angle

SMALL = StartNetworkConfig(width=64, blocks=1, heads=2)


@pytest.fixture(scope="module")
def body(standin_smplx_path):
    return load_body_model(standin_smplx_path)


@pytest.fixture(scope="module")
def poses():
    generator = torch.Generator().manual_seed(3)
    return 0.2 * torch.randn(40, 63, generator=generator), 0.3 * torch.randn(40, 3, generator=generator)


@pytest.fixture(scope="module")
def batches(body, poses):
    return TrainingBatches(body, *poses, batch=40)


def test_the_points_move_as_the_whole_body_does(body):
    """Joints, knuckles and skin points, in shape and pose; fingers, jaw and eyes at rest, correctives left out."""
    bare = replace(body, posedirs=np.zeros_like(body.posedirs))
    names = tuple(name for name in INPUT_NAMES if "mouth" not in name)  # one vertex instead of three
    whole = LandmarkModel(bare, names=names, dtype=torch.float64)
    small = LandmarkModel(points_body(body), names=names, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    turns = matrices_from_axis_angle(0.4 * torch.randn(3, 66, generator=generator, dtype=torch.float64))
    betas = torch.randn(3, 10, generator=generator, dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    expected = whole(
        torch.cat([turns, eye.expand(3, 33, 3, 3)], 1), torch.cat([betas, betas * 0], 1), betas.new_zeros(3, 3)
    ).points
    got = small(torch.cat([turns, eye.expand(3, 2, 3, 3)], 1), betas, betas.new_zeros(3, 3)).points
    assert torch.allclose(got, expected, atol=1e-10)


def test_the_truth_has_no_error(batches):
    minibatch = batches(0)
    errors = hypothesis_errors(minibatch, minibatch.rotations[:, None], minibatch.betas[:, None], batches)
    assert errors.joints_m.max() < 1e-5
    assert errors.loss.max() < 1e-2


def test_the_expected_pose_is_judged_in_the_true_orientation_and_shape(batches):
    minibatch = batches(0)
    loss, joints = predicted_pose_error(minibatch, minibatch.rotations[:, 1:], batches)
    assert joints.max() < 1e-5 and loss.max() < 1e-3
    bent = minibatch.rotations[:, 1:].clone()
    bent[:, 0] = bent[:, 0] @ torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # a leg swung to the other side
    loss, joints = predicted_pose_error(minibatch, bent, batches)
    assert joints.min() > 0.05 and loss.min() > 0.5


def test_turning_the_truth_costs(batches):
    minibatch = batches(0)
    turned = minibatch.rotations.clone()
    turned[:, 0] = turned[:, 0] @ torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    errors = hypothesis_errors(minibatch, turned[:, None], minibatch.betas[:, None], batches)
    assert torch.allclose(errors.root_rad, torch.full_like(errors.root_rad, torch.pi), atol=1e-3)
    assert errors.loss.min() > 1


def test_the_number_of_a_lesson_decides_what_is_in_it(batches):
    assert torch.equal(batches(4).features, batches(4).features)
    assert not torch.equal(batches(4).features, batches(5).features)


def test_hidden_parts_leave_enough_and_hide_something():
    generator = torch.Generator().manual_seed(0)
    pixels = 100 * torch.rand(500, len(INPUT_NAMES), 2, generator=generator)
    left = hide_parts(pixels, torch.ones(500, len(INPUT_NAMES)), generator)
    seen = (left > 0).sum(1)
    assert seen.min() >= LEAST_SEEN
    assert seen.float().mean() < 0.9 * len(INPUT_NAMES)


def test_a_share_of_people_ends_at_the_line_of_the_hips():
    generator = torch.Generator().manual_seed(0)
    pixels = 100 * torch.rand(400, len(INPUT_NAMES), 2, generator=generator)
    all_seen = torch.ones(400, len(INPUT_NAMES))
    hips = [INPUT_NAMES.index(f"{side}_hip") for side in ("left", "right")]
    line = pixels[:, hips, 1].mean(1, keepdim=True)
    below = pixels[..., 1] > line

    def share_cut(at_hips, seen=all_seen):
        left = hide_parts(pixels, seen, torch.Generator().manual_seed(1), at_hips=at_hips)
        return ((left > 0) & below).any(1).logical_not().float().mean()

    assert share_cut(1.0) > 0.5 > 0.1 > share_cut(0.0)
    without = all_seen.clone()
    without[:, hips[0]] = 0
    assert share_cut(1.0, without) < 0.1


def test_people_can_be_spared_one_by_one():
    generator = torch.Generator().manual_seed(0)
    pixels = 100 * torch.rand(400, len(INPUT_NAMES), 2, generator=generator)
    whole = torch.tensor([1.0, 0.0]).repeat(200)
    left = hide_parts(pixels, torch.ones(400, len(INPUT_NAMES)), generator, whole=whole)
    complete = (left > 0).all(1)
    assert complete[::2].all() and complete[1::2].float().mean() < 0.9


def test_people_in_the_last_poses_are_seen_whole_as_often_as_asked(body, poses):
    many = {"batch": 400, "synthetic": 20}
    all_whole, none_whole = (TrainingBatches(body, *poses, **many, synthetic_whole=share)(0) for share in (1.0, 0.0))
    seen = [(batch.weights > 0).sum(1) for batch in (all_whole, none_whole)]
    assert 0.3 < (seen[0] > seen[1]).float().mean() < 0.7  # those in synthetic poses, half of all, hidden parts apart
    assert (seen[0] >= seen[1]).all()


def test_heads_begin_at_the_mean_pose_facing_different_ways(poses):
    network = initial_network(StartNetworkConfig(width=64, blocks=1, heads=4), poses[0], seed=0)
    read = network.predict(torch.zeros(1, network.first.in_features))
    forward = read.rotations[0, :, 0, :, 2]  # where the chest points, in the camera's frame
    assert (forward @ forward.T - torch.eye(4)).min() < -0.9  # two of them back to back


def test_training_lowers_the_loss_on_people_it_has_not_seen(body, poses):
    config = StartTrainingConfig(steps=80, batch=24, learning_rate=3e-3)
    before, after = initial_network(SMALL, poses[0], seed=0), train_start(body, *poses, config, SMALL)
    lesson_source = TrainingBatches(body, *poses, batch=64, seed=9)
    minibatch = lesson_source(0)
    nearest, expected = [], []
    for network in (before, after):
        read = network.predict(minibatch.features)
        nearest.append(hypothesis_errors(minibatch, read.rotations, read.betas, lesson_source).loss.amin(1).mean())
        expected.append(predicted_pose_error(minibatch, read.predicted_pose, lesson_source)[0].mean())
    assert nearest[1] < 0.9 * nearest[0]
    assert expected[1] < 0.95 * expected[0]
    assert after.config.body == body.name


def test_training_goes_on_from_weights_and_leaves_those_alone(body, poses):
    old = initial_network(SMALL, poses[0], seed=5)
    before = old.first.weight.clone()
    config = StartTrainingConfig(steps=2, batch=8, learning_rate=1e-6, average=0.0, examples=0)
    new = train_start(body, *poses, config, weights=old)
    assert torch.equal(old.first.weight, before)
    assert 0 < (new.first.weight - before).abs().max() < 1e-4


def test_a_share_of_the_old_weights_can_be_kept(body, poses):
    config = StartTrainingConfig(steps=3, batch=16, examples=5)
    old = initial_network(SMALL, poses[0], seed=0)
    new, mixed, same = (
        train_start(body, *poses, replace(config, keep=share), weights=old) for share in (0.0, 0.5, 1.0)
    )
    for a, b, c, d in zip(*(network.parameters() for network in (old, new, mixed, same)), strict=True):
        assert torch.allclose(c, (a + b) / 2, atol=1e-6) and torch.equal(a, d)
    assert not torch.equal(new.examples[1], mixed.examples[1])  # the examples are its own
    with pytest.raises(BodyfitError, match="continues from a network"):
        train_start(body, *poses, replace(config, keep=0.5), SMALL)


def test_the_same_seed_gives_the_same_weights(body, poses):
    config = StartTrainingConfig(steps=4, batch=8)
    first, again = (train_start(body, *poses, config, SMALL) for _ in range(2))
    other = train_start(body, *poses, replace(config, seed=1), SMALL)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.first.weight, other.first.weight)


def test_examples_are_poses_it_was_given_and_how_it_reads_them(body, poses):
    true, read = train_start(body, *poses, StartTrainingConfig(steps=2, batch=8, examples=21), SMALL).examples
    assert len(true) == len(read) == 21
    assert torch.cdist(true, poses[0]).amin(1).max() < 0.01
    assert (true - read).abs().mean() > 0.05  # after two steps it reads them badly


def test_several_batches_made_in_one_go_are_different_people_of_both_kinds_of_cameras(body, poses):
    source = TrainingBatches(body, *poses, batch=40, at_once=3)
    first, second = source(0), source(1)
    assert first.features.shape == second.features.shape == source(5).features.shape
    assert len(first.features) == 40 and not torch.equal(first.features, second.features)
    assert torch.equal(source(0).features, first.features)  # after another one was made


def on_meta(value):
    if isinstance(value, torch.Tensor):
        return value.to("meta")
    if isinstance(value, dict):
        return {key: on_meta(item) for key, item in value.items()}
    return type(value)(map(on_meta, value)) if type(value) in (list, tuple) else value


def test_training_needs_no_cpu_tensors_on_another_device(body, poses):
    """On the meta device, which knows shapes only, a tensor left on the CPU raises an error."""
    batches = TrainingBatches(body, *poses, batch=20)
    minibatch = batches(0)
    network = initial_network(SMALL, poses[0], seed=0).to("meta")
    there = TrainingBatch(**{name: getattr(minibatch, name).to("meta") for name in minibatch.__dataclass_fields__})
    vars(batches.model).update({name: on_meta(value) for name, value in vars(batches.model).items()})
    batches.inputs = batches.inputs.to("meta")
    read = network.predict(there.features)
    assert hypothesis_errors(there, read.rotations, read.betas, batches).loss.shape == (20, 2)
    assert predicted_pose_error(there, read.predicted_pose, batches)[0].shape == (20,)
