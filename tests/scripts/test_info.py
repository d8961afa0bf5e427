"""`bodyfit info`: what it says of this installation is so."""

import importlib.metadata
import importlib.util
import json
import tomllib
from pathlib import Path

import pytest
import torch

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.keypoints.formats import BODY_FORMATS
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.scripts.cli import main
from bodyfit.scripts.info import EXTRAS


def info(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["info", *arguments])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_json_is_what_is_installed(capsys):
    found, body = json.loads(info(capsys, "--json")), load_body_model()
    assert found["bodyfit"] == importlib.metadata.version("bodyfit") and found["torch"] == torch.__version__
    assert found["devices"][0] == "cpu" and len(found["devices"]) == 1 + torch.cuda.device_count()
    assert (
        found["body"] == f"{body.name}: {body.num_vertices} vertices, {body.num_joints} joints, {body.num_betas} betas"
    )
    assert found["prior"] == f"{load_prior().name}: latent of 32"
    assert found["start network"] == "installed"
    assert found["pictures"].startswith(("egl", "software"))
    assert set(found["keypoints"]) == set(BODY_FORMATS)


def test_text_has_a_line_for_each_part(capsys):
    found, lines = json.loads(info(capsys, "--json")), info(capsys).splitlines()
    assert [line[:16].strip() for line in lines] == list(found)
    assert f"torch            {torch.__version__}" in lines


def test_extras_are_those_that_can_be_imported(capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "viser" else find(name))
    extras = json.loads(info(capsys, "--json"))["extras"]
    assert "view (not installed)" in extras and "test (installed)" in extras


def test_every_extra_is_named():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS) == set(project["optional-dependencies"])
