"""Limbs flipped in depth: their geometry, and the modes that fits keep."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import roma
import torch

from bodyfit.data.body.posing import pose_body
from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.landmarks import JOINT_NAMES, LIMB_BONES
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.modes import any_flip, doubt, points_towards
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.store import load_shard, save_shard
from bodyfit.fitting.benchmark.measure import Bench, usable
from bodyfit.fitting.solve.afterwards import _Ranked
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.stages import Alternative
from bodyfit.fitting.start.pose_sources import prior_poses
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.uncertainty import modes
from bodyfit.fitting.uncertainty.flip_coefficients import AMBIGUOUS_FROM
from bodyfit.fitting.uncertainty.flips import BONE_ROWS, LimbFlipper, depth_sines, flipped_bones, flipped_places

NOTHING = {f"further_{name}": [] for name in ("global_orient", "body_pose", "transl", "betas")}
FOREARM = LIMB_BONES.index("left forearm")


@pytest.fixture(scope="module")
def fitter() -> Fitter:
    return Fitter()


@pytest.fixture(scope="module")
def people(fitter):
    poses = prior_poses(fitter.prior, 24, seed=5)
    found = PeopleMaker(fitter.body).make(poses, None, seed=5)
    return found.select(usable(found))


@pytest.fixture(scope="module")
def solved(fitter, people):
    bench = Bench(fitter, people)
    seen = bench.observations(people)
    return seen, bench.model, *fitter.solve_with_uncertainty(seen, bench.model)[:3]


def test_flipped_joints_stay_on_their_rays_and_bones_keep_their_length():
    a, b, c = torch.tensor([[[0.1, 0.2, 3.0]], [[0.3, 0.3, 2.9]], [[0.4, 0.2, 3.1]]], dtype=torch.float64)
    yes = torch.tensor([[True]])
    middle, end = flipped_places(a, b, c, yes, yes)
    for new, old in ((middle, b), (end, c)):
        assert torch.allclose(torch.linalg.cross(new, old), torch.zeros(1, 3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose((middle - a).norm(), (b - a).norm()) and torch.allclose((end - middle).norm(), (c - b).norm())
    assert (middle - a)[0, 2] > 0 > (b - a)[0, 2] and (end - middle)[0, 2] < 0 < (c - b)[0, 2]


def test_a_bone_is_flipped_where_its_mirror_image_is_nearer_to_the_truth():
    rng = torch.Generator().manual_seed(0)
    truth = torch.randn(5, 22, 3, generator=rng) * 0.3 + torch.tensor([0.0, 0.0, 4.0])
    upper, lower = BONE_ROWS[FOREARM]
    bone, ray = truth[:, lower] - truth[:, upper], torch.nn.functional.normalize(truth[:, upper], dim=1)
    fitted = truth.clone()
    fitted[:, lower] -= 2 * (bone * ray).sum(1, keepdim=True) * ray
    found = flipped_bones(fitted, truth)
    steep = depth_sines(truth)[:, FOREARM].abs().asin() > np.radians(15.1)
    gentle = depth_sines(truth)[:, FOREARM].abs().asin() < np.radians(14.9)
    assert steep.any() and (found[steep, FOREARM]).all() and not found[gentle, FOREARM].any()
    assert not found[:, torch.arange(8) != FOREARM].any() and not flipped_bones(truth, truth).any()


@pytest.mark.parametrize("bones", [(True, False), (False, True), (True, True)])
def test_flipped_limbs_have_joint_rotations_that_bring_them_there(fitter, solved, bones):
    """Without the prior's encoder, the rotations put the limb's joints exactly where the flip wants them: those that
    bend, at places that the lower bone reaches."""
    as_it_is = SimpleNamespace(encode=lambda pose: SimpleNamespace(mean=pose))
    flipper = LimbFlipper(fitter.body, fitter.unknowns, as_it_is, dtype=torch.float32, device="cpu")
    x, tried = solved[2].x, 0
    for limb in range(4):
        flips = flipper(x, torch.full((len(x),), limb), torch.tensor(bones).expand(len(x), 2))
        points, _ = flipper._posed(x, roma.rotvec_to_rotmat(flips.latent.view(-1, 21, 3)))
        (first, middle), (_, end) = BONE_ROWS[2 * limb], BONE_ROWS[2 * limb + 1]
        upper, lower = flips.places[:, 0] - points[:, first], flips.places[:, 1] - flips.places[:, 0]
        reached = (lower.norm(dim=1) - (points[:, end] - points[:, middle]).norm(dim=1)).abs() < 1e-4
        bent = torch.cosine_similarity(upper, lower).acos() > 0.3
        away = (points[:, [middle, end]] - flips.places).norm(dim=-1)
        assert away[:, 0].max() < 1e-3 and away[reached & bent].max() < 1e-3, LIMB_BONES[2 * limb]
        tried += int((reached & bent).sum())
    assert tried > len(x)


def test_modes_explain_the_keypoints_with_a_limb_that_points_the_other_way(fitter, solved):
    seen, model, solution, other, found = solved
    kept = np.flatnonzero(found["runner_up_flips"].any(1))
    assert len(kept), "nobody of these people has a flipped mode"
    problem = fitter.problem(seen, model)
    assert torch.allclose(problem.costs(other.x)[kept], other.cost[kept], rtol=1e-3)
    before, after = (depth_sines(fitter.afterwards.flipper.joints(x)) for x in (solution.x, other.x))
    for person in kept:
        bones = torch.as_tensor(found["runner_up_flips"][person])
        assert (before[person, bones] * after[person, bones] < 0).all()
        assert 0 < found["runner_up_weight"][person] < 1


def test_modes_do_not_depend_on_who_else_is_in_the_batch(fitter, people, solved):
    bench = Bench(fitter, people)
    alone = fitter.solve_with_uncertainty(solved[0].select(torch.arange(3)), bench.model)[2]
    np.testing.assert_allclose(alone["flip_probability"], solved[4]["flip_probability"][:3], atol=2e-3)


def test_limbs_that_nobody_sees_are_not_flipped(fitter, people):
    unseen = replace(people, confidence=people.confidence.clone())
    unseen.confidence[:, [JOINT_NAMES.index(f"{side}_wrist") for side in ("left", "right")]] = 0
    bench = Bench(fitter, unseen)
    found = fitter.solve_with_uncertainty(bench.observations(unseen), bench.model)[2]
    arms = [n for n, name in enumerate(LIMB_BONES) if "arm" in name]
    assert not found["runner_up_flips"][:, arms].any()


def test_results_say_that_they_are_ambiguous_and_hold_both_modes(fitter, people, solved, tmp_path):
    """Through `bodyfit.fit`'s own way, and files."""
    doubtful = int(np.nanargmax(np.where(solved[4]["runner_up_flips"].any(1), solved[4]["runner_up_weight"], np.nan)))
    frame = frame_of(people, doubtful)
    [result] = fitter.fit([frame])
    assert result.runner_up_flipped and result.ambiguous == (any_flip(result.flip_probability) >= AMBIGUOUS_FROM)
    best, other = result.modes[:2]
    assert sum(mode.weight for mode in result.modes) == pytest.approx(1)
    assert other.weight == pytest.approx(result.runner_up_weight)
    assert "the camera" in other.words and "the camera instead, weight" in doubt(result)
    # The number that `ambiguous` asks for stands beside the weight of one pose, which may be far lower.
    assert doubt(result).endswith(f"any limb flipped: probability {any_flip(result.flip_probability):.2f}")
    assert np.abs(best.parameters["body_pose"] - other.parameters["body_pose"]).max() > 0.2
    save_shard(tmp_path / "x.safetensors", [result])
    for loaded in (load_shard(tmp_path / "x.safetensors")[0], FitResult.load(result.save(tmp_path / "x.npz"))):
        assert doubt(loaded) == doubt(result) and loaded.modes[1].weight == pytest.approx(other.weight)
        np.testing.assert_allclose(loaded.flip_probability, result.flip_probability)
    assert Fitter(config=FitConfig(uncertainty="off")).fit([frame])[0].flip_probability.size == 0


def test_several_flips_are_several_modes(fitter, people, solved, tmp_path, monkeypatch):
    """The most probable ones, each with a limb of its own, through `bodyfit.fit`'s own way and files."""
    monkeypatch.setattr(modes, "KEPT_FROM", 1e-4)
    results = fitter.fit([frame_of(people, n) for n in range(16)])
    several = [r for r in results if len(r.further_weight)]
    assert len(several) > 1 and max(len(r.further_weight) for r in several) <= modes.MOST - 1
    for result in several:
        kept = result.modes
        weights = [mode.weight for mode in kept]
        assert sum(weights) == pytest.approx(1) and weights[1:] == sorted(weights[1:])[::-1]
        assert len({mode.words for mode in kept}) == len(kept)
        for mode, flipped in zip(kept[2:], result.further_flipped.split("; "), strict=True):
            bone = flipped.split(" and ")[0]
            given = {name: torch.as_tensor(value).float() for name, value in mode.parameters.items()}
            joints = pose_body(fitter.body, **given).joints
            upper, lower = joints[0, BONE_ROWS[LIMB_BONES.index(bone)]]
            assert ((lower - upper) @ upper < 0) != points_towards(result, bone)
    people = [*results, replace(results[0], further_weight=[], further_flipped="", further_cost=[], **NOTHING)]
    for n, before in enumerate(people):
        read = load_shard(save_shard(tmp_path / "x.safetensors", people))[n]
        for after in (read, FitResult.load(before.save(tmp_path / "x.npz"))):
            assert [mode.words for mode in after.modes] == [mode.words for mode in before.modes]
            np.testing.assert_allclose(after.further_body_pose, before.further_body_pose, atol=1e-6)
    with pytest.raises(ResultError, match="different numbers of rows"):
        replace(several[0], further_weight=[0.1] * 3)


def frame_of(people, n: int) -> Frame:
    xy, confidence = people.keypoints_px[n : n + 1].numpy(), people.confidence[n : n + 1].numpy()
    size = tuple(int(side) for side in people.image_size[n])
    return replace(
        Frame.from_keypoints(np.zeros((17, 3)) + 1, "coco17", image_size=size, focal_px=float(people.focal_px[n])),
        center_px=tuple(people.center_px[n].tolist()),
        detections=Detections.from_points(xy, confidence, format="made up", source=Path()),
    )


def test_a_flip_without_a_cost_is_no_mode():
    """A flipped limb can end behind the camera, where there is no runner-up either."""
    other = Alternative(torch.zeros(2, 5), torch.tensor([torch.nan, 3.0]))
    ranked = _Ranked.of_starts(other, torch.tensor([0.0, 0.1]))
    bones = torch.zeros(2, 8, dtype=torch.bool)
    flips = modes.OtherModes(torch.tensor([0, 1]), torch.ones(2, 5), bones, torch.tensor([0.4, 0.3]))
    ranked = ranked.with_flips(flips, torch.tensor([torch.inf, 4.0]))
    assert ranked.weight[0].isnan().all()
    assert torch.equal(ranked.cost[1, :2], torch.tensor([4.0, 3.0]))
