"""`bodyfit fit` with a known height, known shape numbers, a gender, and photos of one person."""

import json
from pathlib import Path

import numpy as np
import pytest

from bodyfit.data.results.result import FitResult
from bodyfit.data.results.store import open_results
from bodyfit.scripts.cli import main

SAMPLES = str(Path(__file__).parents[2] / "data" / "assets" / "samples")


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(list(words))
    return done.value.code


QUICK = ["--no-meshes", "--no-overlays", "--device", "cpu"]


def run(out: Path, *options: str) -> dict:
    assert command("fit", SAMPLES, "-o", str(out), *QUICK, *options) == 0
    return json.loads((out / "summary.json").read_text())


def test_height(tmp_path):
    summary = run(tmp_path / "out", "--height", "1.80")
    results = list(open_results(tmp_path / "out"))
    assert [r.measure().stature for r in results] == pytest.approx([1.8] * len(results), abs=0.005)
    assert summary["known_shape"] == "height given as 1.8 m"
    assert [row["stature_m"] for row in summary["people"]] == pytest.approx([1.8] * len(results), abs=0.005)
    again = tmp_path / "again"  # from the settings of the run
    assert command("fit", SAMPLES, "-o", str(again), "--config", str(tmp_path / "out" / "config.json")) == 0
    assert [r.stature_m for r in open_results(again)] == pytest.approx([1.8] * len(results), abs=0.005)


def test_betas_of_a_previous_result_and_a_gender(tmp_path):
    run(tmp_path / "first", "--gender", "male")
    given = tmp_path / "first" / "results" / "portrait" / "000.npz"
    betas = FitResult.load(given).betas
    run(tmp_path / "out", "--gender", "male", "--betas", str(given))
    for result in open_results(tmp_path / "out"):
        np.testing.assert_allclose(result.betas, betas, atol=1e-6)
        assert (result.body_model, result.size_source) == ("open-male-1", "betas given (000.npz)")
    assert command("fit", SAMPLES, "-o", str(tmp_path / "other"), "--betas", str(given), *QUICK) == 2  # of another body


def test_one_shape_for_a_folder(tmp_path):
    out = tmp_path / "out"
    summary = run(out, "--same-person")
    results = list(open_results(out))
    assert len(results) == 4  # photos, of which two show two people
    for result in results:
        np.testing.assert_array_equal(result.betas, results[0].betas)
    assert summary["known_shape"] == "one shape for 4 photos"
    before = (out / "shape.json").read_bytes()
    assert run(out, "--same-person")["fitted_now"] == 0  # nothing is missing
    assert (out / "shape.json").read_bytes() == before
    again = tmp_path / "again"
    assert command("fit", SAMPLES, "-o", str(again), *QUICK, "--config", str(out / "config.json")) == 0
    np.testing.assert_allclose(next(iter(open_results(again))).betas, results[0].betas, atol=1e-6)


def test_heights_in_centimetres_are_asked_about(tmp_path, capsys):
    assert command("fit", SAMPLES, "-o", str(tmp_path / "out"), "--height", "180") == 2
    assert "Did you mean 1.80?" in capsys.readouterr().err
