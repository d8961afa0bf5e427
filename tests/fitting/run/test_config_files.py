"""Settings as JSON: what a run wrote is what comes back, and mistakes are named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.run.config_files import OutputOptions, RunConfig, as_document, read_config
from bodyfit.fitting.run.folder_run import write_json
from bodyfit.fitting.solve.fitter import FitConfig
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
