"""Fits with the term that keeps bodies out of themselves: what it reaches, and what it may not cost."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.keypoints.openpose_json import write_openpose
from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.data.results.store import open_results
from bodyfit.fitting.benchmark.calibration import make_people
from bodyfit.fitting.benchmark.collisions import with_and_without
from bodyfit.fitting.benchmark.measure import Bench
from bodyfit.fitting.energy.collisions import SelfCollision
from bodyfit.fitting.energy.problem import Problem
from bodyfit.fitting.solve import stages
from bodyfit.scripts.cli import main


@pytest.fixture(scope="module")
def fitters():
    return with_and_without()


@pytest.fixture(scope="module")
def people(fitters):
    """In poses of the prior; fits of some pass through themselves."""
    return make_people(fitters["with"], None, None, 48, 3, 0.004)


def overlap(fitters, x):
    """Squared depth to which spheres of each body overlap, in units of (1.5 cm)^2."""
    fitter = fitters["with"]
    term = SelfCollision(fitter.unknowns, fitter.spheres, sigma_m=0.015)
    return Problem(fitter.unknowns, fitter.everything, [term]).costs(x)


@pytest.fixture(scope="module")
def solved(fitters, people):
    return {name: Bench(fitter, people).solve(people).x for name, fitter in fitters.items()}


def test_bodies_are_kept_out_of_themselves(fitters, solved):
    without, within = (overlap(fitters, solved[name]) for name in ("without", "with"))
    assert without.max() > 50
    assert within.sum() < 0.1 * without.sum()


def test_keypoints_are_explained_as_well(fitters, people, solved):
    errors = {n: Bench(f, people).errors(people, solved[n])["image_error_percent"] for n, f in fitters.items()}
    assert errors["with"].mean() < 1.02 * errors["without"].mean()


def hardly_seen(fitters):
    """Eight keypoints a person, of little confidence: what a robust loss gives up most easily."""
    people = make_people(fitters["with"], None, None, 200, 5, 0.01)
    names = [f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "hip")]
    names += [f"left_{part}" for part in ("elbow", "wrist", "knee", "ankle")]
    confidence = torch.zeros_like(people.confidence)
    confidence[:, [LANDMARK_INDEX[name] for name in names]] = 0.3
    return replace(people, confidence=confidence).select(torch.tensor([35, 99, 192]))


def errors_of(fitters, people):
    benches = {name: Bench(fitter, people) for name, fitter in fitters.items()}
    return {n: b.errors(people, b.solve(people).x)["image_error_percent"] for n, b in benches.items()}


def test_keypoints_are_not_given_up_for_it(fitters, monkeypatch):
    people = hardly_seen(fitters)
    found = errors_of(fitters, people)
    assert (found["with"] - found["without"]).max() < 2
    monkeypatch.setattr(stages, "GIVEN_UP", float("inf"))
    found = errors_of(fitters, people)
    assert (found["with"] - found["without"]).max() > 2  # else these people show nothing


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 0


def test_the_option_reaches_the_solver_and_the_files(fitters, people, solved, tmp_path):
    """`--collisions none` on somebody who passes through himself, and again from the configuration that it wrote."""
    n = int(overlap(fitters, solved["without"]).argmax())
    xy, confidence = (np.asarray(a[n : n + 1], float) for a in (people.keypoints_px, people.confidence))
    size = tuple(round(float(v)) for v in people.image_size[n])
    found = Detections.from_points(xy, confidence, format="synthetic", source=tmp_path)
    write_openpose(tmp_path / "a_keypoints.json", replace(found, image_size=size))
    wanted = [str(tmp_path / "a_keypoints.json"), "--focal", str(float(people.focal_px[n])), "--no-meshes"]
    wanted += ["--no-overlays", "--device", "cpu"]
    run("fit", *wanted, "-o", str(tmp_path / "none"), "--collisions", "none")
    run("fit", *wanted, "-o", str(tmp_path / "self"))
    config = str(tmp_path / "none" / "config.json")
    run("fit", *wanted, "-o", str(tmp_path / "again"), "--config", config)
    depths = {}
    for name in ("none", "self", "again"):
        (result,) = open_results(tmp_path / name)
        x = fitters["with"].unknowns_of({name: value[0] for name, value in result.parameters().items()})
        x[fitters["with"].unknowns.layout["latent"]] = torch.as_tensor(result.latent)
        depths[name] = float(overlap(fitters, x[None]))
    assert depths["self"] < 0.1 * depths["none"] == pytest.approx(0.1 * depths["again"])
    assert json.loads((tmp_path / "none" / "config.json").read_text())["fit"]["energy"]["collision_sigma_m"] is None
