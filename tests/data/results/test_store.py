"""Both layouts of a run's results are one sequence, with the same numbers."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

import bodyfit
from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.completeness import is_complete
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.store import load_result, load_shard, open_results, save_shard


def result(person: str = "000", runner_up: bool = False) -> FitResult:
    rng = np.random.default_rng(int(person))
    numbers = {"global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3}
    numbers |= {"leye_pose": 3, "reye_pose": 3, "betas": 10, "expression": 10, "transl": 3, "latent": 32}
    if runner_up:
        numbers |= {"runner_up_global_orient": 3, "runner_up_body_pose": 63}
        numbers |= {"runner_up_transl": 3, "runner_up_betas": 10}
    count = len(LANDMARK_NAMES)
    return FitResult(
        **{name: rng.normal(size=size) for name, size in numbers.items()},
        landmarks=np.full((count, 3), np.nan),
        landmarks_px=rng.normal(size=(count, 2)).astype(np.float32),
        keypoints_px=rng.normal(size=(count, 2)),
        keypoint_confidence=rng.random(count),
        focal_px=1000.1,
        focal_source="EXIF",
        center_px=np.array([319.5, 239.5]),
        image_size=(640, 480),
        status="converged",
        body_model="some body",
        body_gender="neutral",
        prior="some prior",
        person_id=person,
        photo=f"/photos/ü {person}.jpg",
        iterations=7,
    )


def assert_equal(a: FitResult, b: FitResult) -> None:
    for one in fields(FitResult):
        np.testing.assert_array_equal(getattr(a, one.name), getattr(b, one.name), err_msg=one.name)
        assert type(getattr(a, one.name)) is type(getattr(b, one.name)), one.name


def test_what_a_shard_holds_is_what_was_put_in(tmp_path):
    people = [result("000"), result("001", runner_up=True), replace(result("002"), status="max_iterations")]
    save_shard(tmp_path / "x.safetensors", people)
    for before, after in zip(people, load_shard(tmp_path / "x.safetensors"), strict=True):
        assert_equal(before, after)
    assert_equal(load_result(f"{tmp_path}/x.safetensors#1"), people[1])


def out_in(tmp_path, layout: str):
    out, people, rows = tmp_path / layout, [result("000"), result("001")], []
    for n, (image, person) in enumerate([("b10", people[0]), ("b9/c", people[1])]):
        file = f"results/{image}/{person.person_id}.npz" if layout == "folders" else f"shards/s.safetensors#{n}"
        rows.append({"image": image, "person": person.person_id, "status": "converged", "result": file})
        if layout == "folders":
            person.save(out / file)
    if layout == "shards":
        save_shard(out / "shards/s.safetensors", people)
    rows.append({"image": "b11", "person": "000", "status": "failed"})
    (out / "summary.json").write_text(json.dumps({"people": rows}))
    return out, people


@pytest.mark.parametrize("layout", ["folders", "shards"])
def test_either_layout_is_one_sequence(tmp_path, layout):
    out, people = out_in(tmp_path, layout)
    results = bodyfit.open_results(out)
    assert len(results) == 2 and results.names == (("b9/c", "001"), ("b10", "000"))  # natural order
    assert_equal(results[0], people[1])
    assert_equal(results[-1], people[0])
    assert [r.person_id for r in results] == ["001", "000"] and len(results[:1]) == 1


def test_results_that_were_copied_alone_are_found_and_temporary_files_are_not(tmp_path):
    result("000").save(tmp_path / "results/a/000.npz")
    (tmp_path / "results/a/.unfinished-x.npz").write_bytes(b"half")
    assert open_results(tmp_path).names == (("a", "000"),)


def test_broken_and_missing_shards_are_said(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ResultError, match="not a readable shard"):
        load_result(tmp_path / "x.safetensors#0")
    with pytest.raises(ResultError, match="no such file"):
        load_result(tmp_path / "y.safetensors#0")
    save_shard(tmp_path / "x.safetensors", [result()])
    with pytest.raises(ResultError, match="none of number 1"):
        load_result(tmp_path / "x.safetensors#1")


@pytest.mark.parametrize("file", ["000.npz", "x.safetensors#0"])
def test_a_file_that_was_cut_off_is_noticed_and_its_error_says_what_mends_it(tmp_path, file):
    path = tmp_path / file.partition("#")[0]
    assert not is_complete(path)
    if "#" in file:
        save_shard(path, [result()])
    else:
        result().save(path)
    assert is_complete(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert not is_complete(path)
    with pytest.raises(ResultError, match="The same `bodyfit fit` command again writes it anew"):
        load_result(tmp_path / file)


def test_rows_that_point_elsewhere_are_refused(tmp_path):
    row = {"image": "a", "person": "000", "result": "../../secret.npz"}
    (tmp_path / "summary.json").write_text(json.dumps({"people": [row]}))
    with pytest.raises(BodyfitError, match="cannot be the name"):
        open_results(tmp_path)


@pytest.mark.parametrize("content", ['{"people": ' + 100_000 * "[", "[]", '{"people": [[1], {"result": 3}]}', "{"])
@pytest.mark.parametrize("name", ["summary.json", "journal.jsonl"])
def test_a_folder_that_somebody_tampered_with_is_one_error(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(BodyfitError, match="no results in it"):
        open_results(tmp_path)
