"""Adults and children: who is which, what results say of it, and bodies that know no children."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bodyfit
from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import LANDMARK_INDEX, LANDMARK_NAMES, LEFT_HAND, RIGHT_HAND
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.store import load_result, save_shard
from bodyfit.fitting.solve.ages import AgeConfig, find_children, screen, years_of
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.start.pose_sources import prior_poses
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions
from bodyfit.prior.model.checkpoint import load_prior

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"
PEOPLE = 24


@pytest.fixture(scope="module")
def fitter():
    return Fitter()


def people_of(ages, count=PEOPLE, seed=3):
    """Synthetic people, as frames."""
    body = load_body_model(kid=ages is not None)
    made = PeopleMaker(body, SyntheticOptions(ages=ages, cropped=0.0)).make(
        prior_poses(load_prior(), count, seed=seed), seed=seed
    )
    frames = []
    blank = Frame.from_keypoints(np.ones((17, 3)), "coco17", image_size=(100, 100))
    for n in range(count):
        seen = {"xy": made.keypoints_px[n : n + 1].double().numpy()}
        seen["confidence"] = made.confidence[n : n + 1].double().numpy()
        frames.append(
            replace(
                blank,
                name=str(n),
                detections=replace(blank.detections, problems=(None,), warnings=(), **seen),
                image_size=tuple(int(v) for v in made.image_size[n]),
                focal_px=float(made.focal_px[n]),
                center_px=tuple(made.center_px[n].tolist()),
            )
        )
    assert made.keypoints_px.shape[1] == len(LANDMARK_NAMES)
    return frames, made


@pytest.fixture(scope="module")
def small(fitter):
    frames, made = people_of((0.5, 4.0))
    return fitter.fit(frames), made, frames


def test_small_children_are_found_by_their_proportions(small):
    results, made, _ = small
    children = [r for r in results if r.kid_axis]
    assert len(children) >= 0.8 * PEOPLE
    for result in children:
        assert len(result.betas) == 11 and result.age == "child, by proportions"
        assert result.age_margin > 0 and 0 <= result.age_years < 14
        assert result.stature_m == pytest.approx(result.measure().stature, abs=1e-3)
    away = [abs(r.betas[10] - float(made.betas[n, 10])) for n, r in enumerate(results) if r.kid_axis]
    assert np.median(away) < 0.15


def test_children_say_how_sure_they_are(small, fitter, tmp_path):
    """As those of whom it is said that they are children, in memory and in shards beside adults."""
    results, _, frames = small
    children = [n for n, r in enumerate(results) if r.kid_axis]
    for n in children:
        result = results[n]
        assert "betas:11" in result.posterior_blocks and len(result.flip_probability) == 8
        assert np.isfinite(result.joint_covariance[:22]).all() and result.block_covariance("betas").shape == (11, 11)
    few = children[:3]
    given = bodyfit.fit([frames[n] for n in few], age="child", device="cpu")
    for one, same in zip((results[n] for n in few), given, strict=True):
        a, b = (np.sqrt(np.einsum("jkk->jk", r.joint_covariance_root_relative[1:22])) for r in (one, same))
        assert np.median(np.abs(np.log(a / b))) < 0.2
        drawn = one.sample(50)
        assert drawn["betas"].shape == (50, 11) and drawn["betas"][:, 10].std() > 0
    read = [load_result(f"{save_shard(tmp_path / 'x.safetensors', results)}#{n}") for n in few]
    assert read[0].posterior_blocks == results[few[0]].posterior_blocks
    np.testing.assert_array_equal(read[0].posterior_factor, results[few[0]].posterior_factor)


def test_adults_stay_adults_and_exactly_as_before(fitter):
    frames, _ = people_of(None, count=2 * PEOPLE, seed=5)
    results, before = fitter.fit(frames), bodyfit.fit(frames, age="adult", device="cpu")
    adults = [n for n, r in enumerate(results) if not r.kid_axis]
    assert len(adults) >= 2 * PEOPLE - 2
    for n in adults:
        np.testing.assert_allclose(results[n].betas, before[n].betas, atol=1e-5)
        assert results[n].age == "adult, by proportions" and before[n].age == "adult, given"


def test_people_in_the_sample_photos_are_adults():
    names = ("two_people", "balance_front", "balance_back", "portrait")
    frames = [
        Frame.from_files(SAMPLES / "images" / f"{n}.jpg", SAMPLES / "keypoints" / f"{n}_keypoints.json") for n in names
    ]
    assert {r.age for r in bodyfit.fit(frames)} == {"adult, by proportions"}


def test_a_given_age_is_kept_to(small):
    """Statures are those of growth charts at this age, of photos that show such children."""
    _, _, frames = small
    for years, stature in ((1, 0.749), ("6", 1.155)):
        same_age, _ = people_of((float(years), float(years)), count=4)
        for result in bodyfit.fit(same_age, age=years):
            assert result.age == "child, given" and result.stature_m == pytest.approx(stature, rel=0.12)
            assert result.age_years == pytest.approx(float(years), abs=1)
    assert {len(r.betas) for r in bodyfit.fit(frames[:2], age=40)} == {10}
    assert {r.age for r in bodyfit.fit(frames[:2], age="child")} == {"child, given"}


def test_the_age_of_the_old_is_where_their_shape_is_looked_for(fitter):
    """The prior is about the average of that age, shorter by what is published. At other ages nothing changes."""
    frames, _ = people_of(None, count=8, seed=7)
    adults, old = (bodyfit.fit(frames, age=age) for age in ("adult", 75))
    shorter = np.mean([a.stature_m - o.stature_m for a, o in zip(adults, old, strict=True)])
    assert 0.03 < shorter < 0.08
    assert {(r.age, len(r.betas)) for r in old} == {("adult, given", 10)}
    body, config = fitter.body, FitConfig().energy
    assert [AgeConfig(kind=kind).energy(config, body) == config for kind in ("adult", "18", "44", "60")] == [1, 1, 1, 0]


def test_children_reach_a_given_height_and_share_a_shape(small):
    _, _, frames = small
    some = frames[:3]
    assert [r.stature_m for r in bodyfit.fit(some, age="child", height=1.1)] == pytest.approx([1.1] * 3, abs=0.005)
    same = bodyfit.fit(some, age="child", same_person=True)
    assert {tuple(r.betas) for r in same} == {tuple(same[0].betas)} and len(same[0].betas) == 11
    held = bodyfit.fit(some, betas=same[0].betas)
    np.testing.assert_allclose(held[0].betas, same[0].betas, atol=1e-6)


def test_results_of_both_kinds_are_kept_by_both_layouts(small, tmp_path):
    results, _, frames = small
    both = [next(r for r in results if r.kid_axis), *bodyfit.fit(frames[:1], age="adult")]
    save_shard(tmp_path / "a.safetensors", both)
    for n, result in enumerate(both):
        result.save(tmp_path / f"{n}.npz")
        for read in (FitResult.load(tmp_path / f"{n}.npz"), load_result(f"{tmp_path / 'a.safetensors'}#{n}")):
            np.testing.assert_allclose(read.betas, result.betas)
            assert (read.age, read.kid_axis) == (result.age, result.kid_axis)
            np.testing.assert_allclose(read.mesh().vertices, result.mesh().vertices)


def test_the_gain_of_the_kid_axis_is_what_a_fit_gains(fitter, small):
    """The local model at the adult solution tells people for whom the child fit is worth its time."""
    _, _, frames = small
    seen, model = fitter.observations([(frame, 0) for frame in frames])
    with torch.no_grad():
        solution, _ = fitter.solve(seen, model)
        all_tried = Fitter(config=FitConfig(age=AgeConfig(screen=-1.0, adult_advantage=-1e6)))
        found = find_children(all_tried, all_tried.children, seen, model, solution)
        gain, place, _ = screen(fitter, fitter.children, seen, model, solution)
    gained = solution.cost[found.rows] - found.solution.cost
    assert float(torch.corrcoef(torch.stack([gain[found.rows], gained]))[0, 1]) > 0.7
    assert (place[gain > 5] > 0.1).all()


def test_bodies_without_children_know_adults_alone(tmp_path, small):
    _, _, frames = small
    body = load_body_model()
    with np.load(body.path) as file:
        arrays = {name: file[name] for name in file.files if not name.startswith("kid_")}
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **arrays)
    alone = load_body_model(tmp_path / "SMPLX_NEUTRAL.npz")
    (result,) = bodyfit.fit(frames[:1], body=alone)
    assert result.age == "adult: the body knows no children"
    with pytest.raises(BodyfitError, match="knows no children"):
        bodyfit.fit(frames[:1], body=alone, age="child")
    with np.load(body.path) as file:
        np.save(tmp_path / "smplx_kid_template.npy", file["kid_template"])
    (result,) = bodyfit.fit(frames[:1], body=alone, age="child")
    assert result.kid_axis and result.body_model == alone.name


@pytest.mark.parametrize("age", ["old", "-3", "500", "nan", ""])
def test_other_ages_are_one_clear_error(age):
    with pytest.raises(BodyfitError, match="adult, child, auto or years"):
        bodyfit.fit([], age=age)


def test_years_are_read_off_the_axis():
    body = load_body_model(kid=True)
    for age, place in body.kid_ages.T:
        assert years_of(body, place) == pytest.approx(age, abs=1e-6)
    assert years_of(body, 2.0) == 0 and years_of(body, -1.0) == 18


def test_large_hands_and_shoes_do_not_make_a_child(fitter):
    """Twice as large as they should be, as detectors may see them: five of these adults were children before head,
    trunk and limbs had to say so, too."""
    frames, _ = people_of(None, seed=5)
    large = []
    for frame in frames:
        xy = frame.detections.xy.copy()
        for side, hand in (("left", LEFT_HAND), ("right", RIGHT_HAND)):
            foot = [LANDMARK_INDEX[f"{side}_{part}"] for part in ("big_toe", "small_toe", "heel")]
            for joint, part in (("wrist", list(hand)), ("ankle", foot)):
                at = xy[:, [LANDMARK_INDEX[f"{side}_{joint}"]]]
                xy[:, part] = at + 2 * (xy[:, part] - at)
        large.append(replace(frame, detections=replace(frame.detections, xy=xy)))
    assert sum(result.kid_axis for result in fitter.fit(large)) <= 1
