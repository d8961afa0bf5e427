"""Settings as JSON: what a run wrote is what comes back, and mistakes are named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.run.config_files import OutputOptions, RunConfig, as_document, read_config
from bodyfit.fitting.run.ranges import _RANGES, _numbers, check_ranges
from bodyfit.fitting.run.writing import write_json
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.frames import CameraOptions


def test_what_was_written_comes_back(tmp_path):
    config = RunConfig(
        fit=FitConfig(energy=replace(EnergyConfig(), bending_sigma=float("inf"), face=0.25), refine_focal=True),
        camera=CameraOptions(focal="35mm", image_size=(640, 480)),
        output=OutputOptions(meshes=False, people="main"),
        body=Path("models/smplx"),
        gender="female",
        device="cpu",
    ).with_absolute_paths()
    write_json(tmp_path / "config.json", {"bodyfit": "0.1.0", **as_document(config)})
    assert read_config(tmp_path / "config.json") == config and config.body.is_absolute()


def test_settings_of_the_fit_alone_do_and_what_is_left_out_is_default(tmp_path):
    (tmp_path / "config.json").write_text('{"energy": {"hands": 2, "robust_sigmas": null}}')
    energy = EnergyConfig(hands=2.0, robust_sigmas=float("inf"))
    assert read_config(tmp_path / "config.json") == RunConfig(fit=FitConfig(energy=energy))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"energy": {"hnads": 2}}, "hnads"),
        ({"energy": {"hands": "much"}}, "hands"),
        ({"solver": {"max_iterations": 2.5}}, "max_iterations"),
        ({"stages": 3}, "stages"),
        ({"fit": {"energy": {"hands": "much"}}}, "fit.energy.hands"),
        ({"gender": "other"}, "gender"),
        ({"camera": {"image_size": [640]}}, "image_size"),
        ({"nonsense": 1}, "nonsense"),
        ([1, 2], "list"),
    ],
)
def test_mistakes_are_named(tmp_path, document, expected):
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(BodyfitError, match=f"config.json.*{expected}"):
        read_config(tmp_path / "config.json")


def test_defaults_and_switched_off_terms_are_within_their_ranges():
    check_ranges(as_document(RunConfig()), "here")
    check_ranges(as_document(RunConfig(fit=FitConfig(energy=EnergyConfig(robust_sigmas=float("inf"))))), "here")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"start": {"yaws": 1_000_000}}, "fit.start.yaws is 1000000"),
        ({"start": {"yaws": -1}}, "fit.start.yaws"),
        ({"start": {"finished": 10**9}}, "fit.start.finished"),
        ({"solver": {"max_iterations": 10**18}}, "fit.solver.max_iterations"),
        ({"energy": {"sigma_share": 0.0}}, "fit.energy.sigma_share is 0"),
        ({"energy": {"hands": -1.0}}, "fit.energy.hands"),
        ({"energy": {"hand_components": 0}}, "fit.energy.hand_components"),
        ({"energy": {"latent_sigma": 0.0}}, "fit.energy.latent_sigma"),
        ({"stages": {"wide_softness": 1e308}}, "fit.stages.wide_softness"),
        ({"fit": {}, "camera": {"image_size": [0, 5]}}, "camera.image_size is 0"),
        ({"fit": {}, "camera": {"image_size": [10**6, 10**6]}}, "camera.image_size"),
        ({"fit": {}, "batch": 0}, "batch is 0"),
        ({"fit": {}, "body": 5}, "body"),
    ],
)
def test_settings_beyond_what_a_fit_can_do_are_refused(tmp_path, document, expected):
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(BodyfitError, match=f"config.json.*{expected}"):
        read_config(tmp_path / "config.json")


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "9" * 400])
def test_numbers_that_are_none_are_refused(tmp_path, value):
    (tmp_path / "config.json").write_text('{"solver": {"tolerance": ' + value + "}}")
    with pytest.raises(BodyfitError, match=r"config\.json.*tolerance"):
        read_config(tmp_path / "config.json")


def test_every_number_has_a_range_of_its_own():
    """A new setting that is a number is bounded, too."""
    assert {place for place, _ in _numbers(as_document(RunConfig()))} - set(_RANGES) == set()
