"""People of a shot out of each other: how far each gives way, by what is known of sizes, and before several cameras."""

from dataclasses import replace

import pytest
import torch

from bodyfit.fitting.benchmark.sequences import imagined, posed_in_world, seen_around, true_parameters
from bodyfit.fitting.sequence.apart import move_apart
from bodyfit.fitting.sequence.apart_in_depth import size_factors
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.group import keep_apart, solve_group
from bodyfit.fitting.sequence.neighbours import Neighbour
from bodyfit.fitting.solve.ages import AgeConfig
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.known_shape import KnownShape
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions

ADULTS = FitConfig(age=AgeConfig(kind="adult"), uncertainty="off")


@pytest.fixture(scope="module")
def alone():
    return Fitter(config=ADULTS)


def fits_of_two(fitter, cameras, apart=(0.3, 0.0, 0.1), moments=4):
    """Two people in the same motion, who stand in each other; fitted alone."""
    maker, fits = PeopleMaker(fitter.body, SyntheticOptions(cropped=0.0, noise_share=0.0, dropped=0.0)), []
    motion = imagined(fitter.prior, 30, moments, 3)
    for name, part in (("000", -0.5), ("001", 0.5)):
        place = motion.path_m + part * torch.tensor(apart)
        truth = true_parameters(fitter.body, motion.pose, torch.zeros(moments, fitter.body.num_betas), place)
        points, head = posed_in_world(maker.model, truth)
        clip = seen_around(maker, truth, points, head, cameras=cameras, start=0.0, far=4.5, fps=30, seed=1)
        fits.append(solve_group(fitter, clip.sightings, fps=30, config=SequenceConfig(), person=name))
    return fits


def neighbours(fits):
    return [Neighbour(fit.solver, fit.x, int(fit.blank.moments[0]), fit.blank.space == "camera") for fit in fits]


def test_before_several_cameras_people_move_out_of_each_other_as_far_as_keypoints_let_them(alone):
    fits = fits_of_two(alone, cameras=3)
    people = neighbours(fits)
    assert size_factors(people) == [1.0, 1.0], "cameras measured them"
    before = float(people[0].depth_in(people[1]).max())
    apart = neighbours(keep_apart(fits))
    after = float(apart[0].depth_in(apart[1]).max())
    assert before > 0.05 and after < 0.6 * before
    for fit, one in zip(fits, apart, strict=True):
        assert (one.x - fit.x)[:, alone.unknowns.layout["transl"]].norm(dim=1).max() < 0.05
        assert one.solver.given_up(one.x).mean() < one.solver.given_up(fit.x).mean() + 0.1


def test_whose_size_is_known_better_moves_less(alone):
    people = neighbours(fits_of_two(alone, cameras=1))
    equal = size_factors(people)
    assert min(equal) < 0.985 and equal[0] * equal[1] == pytest.approx(1, abs=1e-6), "both give way alike"
    shape = Fitter(config=replace(ADULTS, shape=KnownShape(betas=(0.0,) * 10)), like=alone)
    people[0].solver.fitter = shape
    known = size_factors(people)
    assert known[0] == 1 and abs(known[1] - 1) > 1.5 * abs(equal[1] - 1)


def test_who_cannot_be_lowered_stays_and_the_other_gives_way(alone, monkeypatch, caplog):
    people = neighbours(fits_of_two(alone, cameras=1))

    def impossible(*_):
        raise ValueError("the cost at the start is not a number")

    monkeypatch.setattr(people[0].solver, "again", impossible)
    move_apart(people)
    assert not people[0].moved and torch.equal(people[0].x, people[0].alone) and "not moved out" in caplog.text
    assert people[1].moved and float(people[0].depth_in(people[1]).max()) < 0.02


def test_who_would_lose_keypoints_stays(alone, monkeypatch):
    people = neighbours(fits_of_two(alone, cameras=1))
    for one in people:
        lost = iter([0.0, 0.2] * 4)
        monkeypatch.setattr(one.solver, "given_up", lambda x, lost=lost: torch.full((len(x),), next(lost)))
    move_apart(people)
    assert not any(one.moved for one in people)
