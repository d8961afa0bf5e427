"""`bodyfit convert`: rigged bodies."""

import json
import pickle

import numpy as np
import pytest
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.scripts.cli import main
from bodyfit.scripts.convert import ConvertCommand


def test_rigged_bodies_are_glb_with_a_skin(make_result, tmp_path):
    file = make_result().save(tmp_path / "000.npz")
    assert ConvertCommand((file,), tmp_path / "new", to="glb", rigged=True).run() == 0
    data = (tmp_path / "new" / "000.glb").read_bytes()
    content = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert len(content["skins"][0]["joints"]) == 55
    with pytest.raises(BodyfitError, match=r"--rigged writes \.glb files: say --to glb, not --to obj"):
        ConvertCommand((file,), tmp_path / "new", to="obj", rigged=True).run()


def test_a_result_that_cannot_be_read_stops_no_other(make_result, tmp_path):
    """The rest is written, and the exit code says that something is missing."""
    for name in ("a", "b"):
        make_result().save(tmp_path / "out" / "results" / name / "000.npz")
    (tmp_path / "out" / "results" / "a" / "broken.npz").write_bytes(b"PK no more")
    assert ConvertCommand((tmp_path / "out",), tmp_path / "new", "json").run() == 1
    written = {path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*.json")}
    assert written == {"a/000.json", "b/000.json"}
    for file in (tmp_path / "out").rglob("*.npz"):
        file.write_bytes(b"PK no more")
    with pytest.raises(BodyfitError, match="not a readable"):
        ConvertCommand((tmp_path / "out",), tmp_path / "none", "json").run()


def test_a_file_that_is_no_result_is_one_error(tmp_path, caplog, capsys):
    """Said once, as the error that ends the command; of two such files, each once."""
    files = [tmp_path / name for name in ("README.md", "other.md")]
    for named in (files[:1], files):
        caplog.clear()
        for file in named:
            file.write_text("no result")
        with pytest.raises(SystemExit) as exit_:
            main(["convert", *map(str, named), "-o", str(tmp_path / "new"), "--to", "json"])
        said = caplog.text + capsys.readouterr().err
        assert exit_.value.code == 2
        assert [said.count(f"{file}: ") for file in named] == [1] * len(named)


@pytest.mark.parametrize(
    ("to", "written"),
    [
        ("pkl", {"a/000.pkl", "b/000.pkl"}),
        ("smpl", {"a/000.npz", "b/000.npz"}),
        ("amass", {"000.npz"}),
        ("bvh", {"000.bvh"}),
        ("easymocap", {"a.json", "b.json"}),
        ("csv", {"joints.csv", "parameters.csv"}),
    ],
)
def test_layouts_of_other_programs(make_result, tmp_path, to, written):
    for image in ("a", "b"):
        make_result().save(tmp_path / "out" / "results" / image / "000.npz")
    assert ConvertCommand((tmp_path / "out",), tmp_path / "new", to=to).run() == 0
    new = tmp_path / "new"
    assert {file.relative_to(new).as_posix() for file in new.rglob("*") if file.is_file()} == written


def test_options_that_do_not_go_together(make_result, tmp_path):
    file = make_result().save(tmp_path / "000.npz")
    for options, message in (
        ({"to": "obj", "latent": True}, "--latent and --prior are for --to pkl"),
        ({"to": "pkl", "world": True}, "--world is for meshes"),
        ({"to": "obj", "world": True}, "where the camera stood is not known"),
        ({"to": "bvh", "fps": 0.0}, "--fps 0: expected a number above 0"),
    ):
        with pytest.raises(BodyfitError, match=message):
            ConvertCommand((file,), tmp_path / "new", **options).run()


def test_a_latent_is_the_priors_own(make_result, tmp_path):
    file = make_result().save(tmp_path / "000.npz")
    assert ConvertCommand((file,), tmp_path / "new", to="pkl", latent=True).run() == 0
    content = pickle.loads((tmp_path / "new" / "000.pkl").read_bytes())
    expected = load_prior().encode(torch.zeros(1, 63)).mean.detach()
    np.testing.assert_allclose(content["body_pose"], expected, atol=1e-6)
