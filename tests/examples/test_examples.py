"""The scripts and the notebook under examples/ run as they stand, and leave what they say they leave."""

import csv
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

import bodyfit

EXAMPLES = Path(__file__).parents[2] / "examples"
TESTED = {"arrays", "folder", "own_smplx", "markers", "sample_poses"}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a script in an empty folder, as from the command line; gives what it printed."""
    monkeypatch.chdir(tmp_path)

    def run_script(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run_script


def test_every_example_is_run_here():
    assert {file.stem for file in EXAMPLES.glob("*.py")} == TESTED


def test_arrays(run, tmp_path):
    assert run("arrays").count("px off, left wrist at") == 2
    out = tmp_path / "out" / "examples" / "arrays"
    assert len(trimesh.load_mesh(out / "001.ply", process=False).vertices) == bodyfit.load_body_model().num_vertices
    with Image.open(out / "overlay.png") as overlay:
        assert overlay.size == (1280, 720)


def test_folder(run, tmp_path):
    assert "6 people in 4 photos" in run("folder", "--out", tmp_path)
    with (tmp_path / "joints.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 55
    saved = bodyfit.FitResult.load(tmp_path / "two_people" / "001.npz")
    names, xyz, _ = saved.joints()
    row = next(r for r in rows if (r["photo"], r["person"], r["joint"]) == ("two_people", "001", "left_knee"))
    assert float(row["z_m"]) == pytest.approx(xyz[names.index("left_knee"), 2], abs=1e-4)


def test_folder_with_a_broken_photo(run, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"no photo")
    printed = run("folder", "--folder", tmp_path, "--out", tmp_path / "out")
    assert "left out: " in printed and "a.jpg" in printed and "0 people in 0 photos" in printed


def test_own_smplx(run):
    """On the open body, which is an SMPL-X file like any other."""
    printed = run("own_smplx", bodyfit.load_body_model().path)
    assert "converged, fitted with open-neutral-" in printed
    assert float(printed.split("at most ")[1].split()[0]) < 0.02  # mm; float32 against float64


def test_markers(run, tmp_path):
    made_up = run("markers")
    assert "20 bodies" in made_up and float(made_up.split("met to ")[1].split()[0]) < 8  # mm, of noise of 5 per axis
    with np.load(tmp_path / "out" / "examples" / "markers.npz") as file:
        assert file["body_pose"].shape == (20, 63)


def test_markers_of_a_file(run, tmp_path):
    """One marker is not known in one of two bodies."""
    one = np.array([[0, 1.4, 0], [0.1, 0.9, 0], [-0.1, 0.9, 0], [0, 1.6, 0.1]])
    points = np.stack([one, one + 0.3])
    points[1, 0] = np.nan
    np.savez(tmp_path / "m.npz", points=points, names=["neck", "left_hip", "right_hip", "nose"])
    assert "2 bodies" in run("markers", tmp_path / "m.npz", "--out", tmp_path / "solved.npz")
    with np.load(tmp_path / "solved.npz") as file:
        assert all(np.isfinite(file[name]).all() for name in file.files)


def test_sample_poses(run, tmp_path):
    assert run("sample_poses", "--count", 3, "--out", tmp_path / "poses.png").count("higher is more human") == 3
    with Image.open(tmp_path / "poses.png") as picture:
        columns = (np.asarray(picture) < 200).any(axis=(0, 2)).reshape(3, -1)
    assert columns.any(axis=1).all()  # a body in each third


def notebooks():
    return sorted(EXAMPLES.glob("*.ipynb"))


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    """Its code cells in order, as one program; they hold no magics."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "notebook"}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{path.name}, {cell['id']}", "exec"), names)
    assert [person.status for person in names["results"]] == ["converged"] * len(names["people"])
    assert names["overlay"].shape == names["photo"].shape
    assert names["prior"].score(names["pose"]) > names["prior"].score(names["broken"])
    assert isinstance(names["poses"], torch.Tensor) and len(names["poses"]) == 5


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_notebook_is_kept_without_outputs(path):
    notebook = json.loads(path.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
