"""`bodyfit measure`, `FitResult.measure`: a row per person, the pose does not matter, one bad person costs one row."""

import csv
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

import bodyfit
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.scripts.cli import main

TALL = np.eye(10)[0] * 2


def said(capsys, *words) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["measure", *map(str, words)])
    out, err = capsys.readouterr()
    return exit_.value.code, out, err


@pytest.fixture
def out(tmp_path, make_result):
    make_result().save(tmp_path / "results" / "a" / "000.npz")
    make_result(betas=TALL, body_pose=np.full(63, 0.3), transl=np.ones(3)).save(tmp_path / "results" / "b" / "000.npz")
    return tmp_path


def test_the_table_has_centimetres_and_says_what_is_not_known(out, capsys):
    code, text, _ = said(capsys, out)
    row = next(line for line in text.splitlines() if line.startswith("a/000")).split()[1:]
    found = bodyfit.measure_body(bodyfit.load_body_model())
    assert code == 0 and float(row[0]) == round(100 * found.stature, 1) and float(row[-1]) == round(found.mass, 1)
    assert float(row[-2]) == round(1000 * found.volume, 1)
    flat = " ".join(text.split())
    assert "One photo does not show absolute size" in flat and "guessed from the image diagonal: 2 of 2" in flat


def test_json_and_csv_have_the_numbers_of_result_measure(out, capsys):
    code, text, _ = said(capsys, out, "--json")
    document = json.loads(text)
    assert code == 0 and "guess" in document["note"]
    assert said(capsys, out, "--csv", out / "sizes.csv")[0] == 0
    rows = list(csv.DictReader((out / "sizes.csv").open()))
    for person, row, result in zip(document["people"], rows, bodyfit.open_results(out), strict=True):
        measures = result.measure()
        assert measures == bodyfit.measure_body(bodyfit.load_body_model(), result.betas)
        for name in ("stature", "inseam", "arm_span", "chest_circumference", "hip_circumference"):
            assert person[f"{name}_m"] == getattr(measures, name)
            assert float(row[f"{name}_m"]) == pytest.approx(getattr(measures, name), rel=1e-6)
        assert person["mass_kg"] == measures.mass and person["volume_m3"] == measures.volume
        assert person["focal_source"] == row["focal_source"] == "image diagonal"


def test_people_of_a_clip_are_measured_once(tmp_path, make_result, capsys):
    for frame in ("000000", "000001"):
        make_result(person_id="000").save(tmp_path / "results" / "walk" / frame / "000.npz")
        make_result(betas=TALL, person_id="001").save(tmp_path / "results" / "walk" / frame / "001.npz")
    ClipIndex(fps=30.0, moments=(0, 1), cameras={"walk": None}, frames={"walk/000000": 0, "walk/000001": 1}).write(
        tmp_path
    )
    code, text, _ = said(capsys, tmp_path, "--json")
    people = json.loads(text)["people"]
    assert code == 0 and [person["person"] for person in people] == ["000", "001"]
    assert people[0]["stature_m"] < people[1]["stature_m"]


def test_the_pose_and_place_do_not_matter(make_result):
    bent = make_result(betas=TALL, body_pose=np.full(63, 0.3), global_orient=np.ones(3), transl=np.ones(3))
    assert asdict(bent.measure()) == asdict(make_result(betas=TALL).measure())
    assert bent.measure().stature > make_result().measure().stature


def test_a_failed_or_foreign_person_is_one_row(out, make_result, capsys, caplog):
    make_result(status="failed").save(out / "results" / "c" / "000.npz")
    replace(make_result(), body_model="SMPLX_NEUTRAL sha256:0123").save(out / "results" / "d" / "000.npz")
    (out / "results" / "e").mkdir()
    (out / "results" / "e" / "000.npz").write_bytes(b"nothing")
    code, text, _ = said(capsys, out, "--json")
    people = {person["image"]: person for person in json.loads(text)["people"]}
    assert code == 1
    assert [person["status"] for person in people.values()] == ["converged"] * 2 + ["failed"] + ["not measured"] * 2
    assert "SMPLX_NEUTRAL" in people["d"]["reason"] and "--body" in people["d"]["reason"]
    assert people["a"]["stature_m"] > 1 and "stature_m" not in people["c"]
    assert "SMPLX_NEUTRAL" in caplog.text


def test_result_measure_refuses_what_mesh_refuses(make_result):
    with pytest.raises(ResultError, match="was not fitted"):
        make_result(status="failed").measure()
    with pytest.raises(ResultError, match=r"numbers mean nothing to another body.*measure\(\)"):
        make_result().measure(bodyfit.load_body_model(gender="male"))


@pytest.mark.parametrize(
    ("words", "error"),
    [(["nowhere"], "no results in it"), ([".", "--json", "--csv", "x.csv"], "give one of them")],
    ids=["no folder", "both"],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, words, error):
    monkeypatch.chdir(tmp_path)
    code, text, errors = said(capsys, *words)
    assert code == 2 and text == "" and error in errors and len(errors.strip().splitlines()) == 1
