"""Settings as JSON: what a run wrote is what comes back, and mistakes are named."""

import json
from dataclasses import asdict, replace

import pytest

from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.run.config_files import read_config
from bodyfit.fitting.run.folder_run import write_json
from bodyfit.fitting.solve.fitter import FitConfig


def test_what_was_written_comes_back(tmp_path):
    config = FitConfig(energy=replace(EnergyConfig(), bending_sigma=float("inf"), face=0.25), refine_focal=True)
    write_json(tmp_path / "config.json", {"fit": asdict(config)})
    assert read_config(tmp_path / "config.json") == config


def test_what_is_left_out_is_default(tmp_path):
    (tmp_path / "config.json").write_text('{"energy": {"hands": 2}}')
    assert read_config(tmp_path / "config.json") == FitConfig(energy=EnergyConfig(hands=2.0))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"energy": {"hnads": 2}}, "hnads"),
        ({"energy": {"hands": "much"}}, "hands"),
        ({"solver": {"max_iterations": 2.5}}, "max_iterations"),
        ({"stages": 3}, "stages"),
        ([1, 2], "list"),
    ],
)
def test_mistakes_are_named(tmp_path, document, expected):
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=expected):
        read_config(tmp_path / "config.json")
