"""The floor of several people: who agrees on it, who does not, and how large they are on it."""

import math
from dataclasses import replace

import pytest
import torch

from bodyfit.fitting.benchmark.sequences import imagined, make_clip
from bodyfit.fitting.energy.floor import FOOT_POINTS, Feet, Floor
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.sequence.common_floor import Resting, on_common_floor
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.contacts import Contacts, GroundConfig, find_contacts
from bodyfit.fitting.sequence.group import fit_group, put_on_ground, solve_group
from bodyfit.fitting.sequence.standing import resized
from bodyfit.fitting.sequence.windows import GroupSolver

CONFIG = GroundConfig()
UP = (0.0, -1.0, 0.0)


@pytest.fixture(scope="module")
def feet(fitter):
    return Feet(fitter.body, LandmarkModel(fitter.body, names=FOOT_POINTS))


def standing(feet, *, across, far, lift=0.0, size=1.0, camera=1.5, rests=True, voter=True, one_camera=True):
    """Somebody who stands about for 20 moments, `camera` m below a level camera; larger ones stand farther away."""
    draw = torch.Generator().manual_seed(round(10 * far))
    place = torch.tensor([across, 0.0, far]) + 0.5 * torch.rand(20, 1, 3, generator=draw)
    points = place + 0.2 * torch.rand(20, 6, 3, generator=draw)
    points[..., 1] = camera - lift - feet.clearance_m
    links = torch.full((19, 6), rests)
    own = Floor(UP, -size * (camera - lift), "resting feet") if rests and voter else None
    contacts = Contacts(feet, links, own, "" if own else "none: nobody stands upright", up=UP if own else None)
    return Resting(contacts, size * points, 0.05 if one_camera else 0.0)


def test_people_of_other_sizes_stand_on_one_floor(feet):
    people = [standing(feet, across=-1, far=4, size=1.05), standing(feet, across=1, far=5, size=0.97)]
    found = on_common_floor(people, CONFIG)
    assert found[0].contacts.floor == found[1].contacts.floor
    floor = found[0].contacts.floor
    assert abs(floor.offset_m + 1.5) < 0.05 and -floor.normal[1] > math.cos(0.04) and "2 people" in floor.source
    assert found[0].size_factor < 0.98 and found[1].size_factor > 1.01
    assert 1.05 * found[0].size_factor == pytest.approx(0.97 * found[1].size_factor, rel=0.02)
    assert all(bool(one.contacts.standing.all()) for one in found)


def test_who_stands_on_something_keeps_a_floor_of_his_own_and_spoils_nothing(feet):
    ground = [standing(feet, across=x, far=4 + x) for x in (-1.0, 0.0)]
    found = on_common_floor([*ground, standing(feet, across=1, far=5, lift=0.5)], CONFIG)
    assert all(abs(one.contacts.floor.offset_m + 1.5) < 0.02 for one in found[:2])
    assert found[2].contacts.floor.offset_m == -1.0 and "above the floor of others" in found[2].contacts.floor.source


def test_feet_that_never_touch_spoil_nothing_and_are_not_pulled_down(feet):
    jumps = standing(feet, across=1, far=5, lift=0.6, rests=False)
    sits = standing(feet, across=2, far=5, voter=False)
    swings = standing(feet, across=3, far=5, lift=0.5, voter=False)
    found = on_common_floor([standing(feet, across=0, far=4), jumps, sits, swings], CONFIG)
    assert len({one.contacts.floor for one in found}) == 1
    assert [one.contacts.held for one in found] == [True, False, True, False]
    assert not found[1].contacts.touching(jumps.points, CONFIG).any()
    assert found[2].contacts.touching(sits.points, CONFIG).all()
    assert not found[3].contacts.touching(swings.points, CONFIG).any()


def test_two_who_disagree_have_a_floor_each(feet):
    found = on_common_floor([standing(feet, across=-1, far=4), standing(feet, across=1, far=4, lift=0.6)], CONFIG)
    assert [round(one.contacts.floor.offset_m, 2) for one in found] == [-1.5, -0.9]
    assert all("alone" in one.contacts.floor.source for one in found)


def test_several_cameras_know_sizes(feet):
    """What one camera takes for another size is another height for several."""
    sizes = {"size": 1.05, "camera": 1.5}
    people = [standing(feet, across=-1, far=4, one_camera=False), standing(feet, across=1, far=5, one_camera=False)]
    assert all(one.size_factor == 1 for one in on_common_floor(people, CONFIG))
    people[1] = standing(feet, across=1, far=5, one_camera=False, **sizes)
    people.append(standing(feet, across=0, far=6, one_camera=False))
    assert "below the floor of others" in on_common_floor(people, CONFIG)[1].contacts.floor.source


def test_a_larger_person_stands_farther_away_in_the_same_picture(fitter):
    x = torch.zeros(2, fitter.unknowns.layout.size)
    x[:, fitter.unknowns.layout["transl"]] = torch.tensor([0.3, 0.2, 4.0])
    model = fitter.everything
    larger = resized(fitter.unknowns, model, x, 1.06)
    found = []
    for some in (x, larger):
        turns = fitter.unknowns.rotations(some, fitter.unknowns.decode(some))
        transl = some[:, fitter.unknowns.layout["transl"]]
        found.append(model(turns, fitter.unknowns.shape(some), transl, derivatives=False).points[0, :22])
    assert float((found[1][:, 2] / found[0][:, 2]).mean()) == pytest.approx(1.06, abs=0.015)
    pixels = [1000 * points[:, :2] / points[:, 2:] for points in found]
    assert float((pixels[1] - pixels[0]).norm(dim=1).max()) < 4


def test_one_moment_with_the_ground_is_a_track(fitter):
    clip = make_clip(fitter.body, imagined(fitter.prior, 30, 1, 3), cameras=1, seed=2, moments=1)
    track = fit_group(fitter, clip.sightings, fps=30, config=SequenceConfig(ground=CONFIG))
    assert track.status == ("fitted",) and track.touching.shape == (1, 2)


def test_who_cannot_be_put_on_the_ground_stays_and_the_others_are_put_there(fitter, monkeypatch, caplog):
    """As where the cost under what holds the feet is not a number."""
    config = SequenceConfig(ground=CONFIG)
    clip = make_clip(fitter.body, imagined(fitter.prior, 30, 6, 3), cameras=1, seed=2, moments=6)
    fits = [solve_group(fitter, clip.sightings, fps=30, config=config, person=name) for name in ("000", "001")]

    def resting(*args, **given):
        found = find_contacts(*args, **given)
        return replace(found, links=torch.ones_like(found.links))

    def again(solver, x, contacts):
        if solver is fits[0].solver:
            raise ValueError("the cost at the start is not a number")
        return x + 1e-3

    monkeypatch.setattr("bodyfit.fitting.sequence.standing.find_contacts", resting)
    monkeypatch.setattr(GroupSolver, "again", again)
    put = put_on_ground(fits, CONFIG)
    assert torch.equal(put[0].x, fits[0].x) and "not put on the ground" in caplog.text
    assert not torch.equal(put[1].x, fits[1].x)
    assert {status for one in put for status in one.track().status} == {"fitted"}
