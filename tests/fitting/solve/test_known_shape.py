"""Known heights and shapes: fits reach them, and one person in several photos has one shape."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bodyfit
from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.measures import measure_body
from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.energy.stature import Stature
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.known_shape import KnownShape
from bodyfit.fitting.solve.same_person import main_people, minimise_with_shared_shape

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    names = ("balance_front", "balance_back", "portrait")
    return [
        Frame.from_files(SAMPLES / "images" / f"{n}.jpg", SAMPLES / "keypoints" / f"{n}_keypoints.json") for n in names
    ]


@pytest.fixture(scope="module")
def body():
    return load_body_model()


def test_stature_is_that_of_the_measures(body):
    betas = 1.5 * torch.randn(20, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, slope = Stature(body, torch.float64, torch.device("cpu"))(betas)
    expected = [measure_body(body, row.numpy()).stature for row in betas[:5]]
    np.testing.assert_allclose(found[:5], expected, atol=1e-9)
    step = 1e-5
    for k in range(10):
        moved = betas.clone()
        moved[:, k] += step
        there = Stature(body, torch.float64, torch.device("cpu"))(moved)[0]
        torch.testing.assert_close((there - found) / step, slope[:, k], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("height", [1.45, 1.8, 2.05])
def test_a_height_is_reached_and_the_distance_follows(frames, height):
    free, known = bodyfit.fit(frames), bodyfit.fit(frames, height=height)
    for one, other in zip(free, known, strict=True):
        assert other.measure().stature == pytest.approx(height, abs=0.005)
        assert other.stature_m == pytest.approx(other.measure().stature, abs=1e-4)
        assert other.error_share_body < one.error_share_body + 0.004
        grown, farther = other.stature_m / one.stature_m, other.transl[2] / one.transl[2]
        assert farther == pytest.approx(grown, rel=0.12)
        assert f"{height:g} m" in other.size_source
        assert "does not show absolute size" in one.size_source


def test_shape_numbers_are_held(frames):
    betas = [1.0, -0.5, 0.25]
    for result in bodyfit.fit(frames, betas=betas):
        np.testing.assert_allclose(result.betas, [*betas, *[0.0] * 7], atol=1e-6)
        assert result.error_share_body < 0.025


def test_a_height_is_reached_from_given_starts_too(frames):
    free = bodyfit.fit(frames[:1])
    fitter = Fitter(config=FitConfig(shape=KnownShape(height_m=1.6)))
    again = fitter.fit(frames[:1], init=[{"global_orient": r.global_orient, "body_pose": r.body_pose,
                                          "betas": r.betas, "transl": r.transl} for r in free])  # fmt: skip
    assert [r.stature_m for r in again] == pytest.approx([1.6] * len(again), abs=0.005)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"height": 180}, "Did you mean 1.80"),
        ({"height": -1}, "Expected 0.35"),
        ({"height": 1.8, "betas": [0.0]}, "Give one of them"),
        ({"betas": [0.0] * 30}, "30 shape numbers"),
        ({"betas": [0.0, float("nan")]}, "betas are 0, nan. Expected finite numbers"),
    ],
)
def test_what_nobody_can_have_is_one_clear_error(known, said):
    with pytest.raises(BodyfitError, match=said):
        bodyfit.fit([], **known)


def test_numbers_of_another_body_are_refused(body):
    with pytest.raises(BodyfitError, match="another body"):
        KnownShape(betas=(1.0,), body="open-female-1").check(body)


def test_the_gender_chooses_the_open_body(frames):
    (result,) = bodyfit.fit(frames[1:2], gender="female")
    assert (result.body_model, result.body_gender) == ("open-female-1", "female")


def test_one_person_has_one_shape_and_every_photo_its_pose(frames):
    results = bodyfit.fit(frames, same_person=True)
    assert len(results) == len(frames)  # of two people in a photo, one
    for result in results:
        np.testing.assert_array_equal(result.betas, results[0].betas)
        assert result.size_source == "one shape for 3 photos"
        assert result.error_share_body < 0.025
    assert np.ptp([r.transl[2] for r in results]) > 0.5
    high = bodyfit.fit(frames, same_person=True, height=1.9)
    assert [r.stature_m for r in high] == pytest.approx([1.9] * 3, abs=0.005)


def test_the_shared_shape_is_a_minimum_of_all_photos_together(frames):
    """No other shape, however the poses adapt to it, costs less: the prior on the shape is counted once."""
    fitter = Fitter(dtype=torch.float64)
    with torch.no_grad():
        people = [(frame, 0) for frame in main_people(frames)]
        seen, model = fitter.observations(people)
        problem, columns = fitter.problem(seen, model), fitter.unknowns.layout["betas"]
        options = replace(fitter.config.solver, tolerance=1e-9, max_iterations=100)
        x = minimise_with_shared_shape(problem, fitter.solve(seen, model)[0].x, options)

        def cost(betas: torch.Tensor) -> float:
            held = Fitter(config=FitConfig(solver=options, shape=KnownShape(betas=tuple(betas.tolist()))),
                          dtype=torch.float64)  # fmt: skip
            start = x.clone()
            start[:, columns] = betas
            total = held.solve(seen, model, init=start)[0].cost.sum()
            return float(total - (len(people) - 1) * betas.square().sum())

        best = x[0, columns]
        assert torch.equal(x[:, columns], best.expand(len(x), -1))
        least = cost(best)
        for k, by in ((0, 0.3), (0, -0.3), (1, 0.3), (2, -0.3)):
            moved = best.clone()
            moved[k] += by
            assert cost(moved) > least - 1e-3
