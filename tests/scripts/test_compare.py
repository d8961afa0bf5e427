"""`bodyfit compare`: who belongs together, and how far apart they are."""

import json

import numpy as np
import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.scripts.compare import CompareCommand


@pytest.fixture
def save(make_result):
    def save(folder, name, **changed):
        make_result(**changed).save(folder / "results" / name / "000.npz")

    return save


def compared(capsys, *folders):
    assert CompareCommand(folders, json=True).run() == 0
    return json.loads(capsys.readouterr().out)


def test_turned_and_moved_bodies_are_the_same_and_bent_ones_are_not(save, tmp_path, capsys):
    bent = np.zeros(63)
    bent[3 * 17 + 1] = -1.5  # an elbow
    for camera, orient, pose in (("a", [0, 0, 0], bent), ("b", [3.0, 0.1, 0.2], bent), ("c", [0, 1, 0], 0 * bent)):
        place = {"global_orient": np.array(orient, float), "transl": np.array([0.1, 0, 4.0])}
        save(tmp_path / camera, f"{camera}.0042", body_pose=pose, **place)
    document = compared(capsys, *(tmp_path / camera for camera in "abc"))
    rigid = [pair["people"][0]["rigid"] for pair in document["pairs"]]
    assert rigid[0] < 0.01 and rigid[1] > 5 and rigid[1] == pytest.approx(rigid[2], rel=1e-3)
    assert document["people_compared"] == 3 and document["rigid_mm"] == pytest.approx(np.mean(rigid))


def test_names_go_before_numbers_and_failed_people_do_not_count(save, tmp_path, capsys):
    for run in ("first", "second"):
        save(tmp_path / run, "photo_1")
        save(tmp_path / run, "photo_2", status="failed" if run == "first" else "converged")
    people = compared(capsys, tmp_path / "first", tmp_path / "second")["pairs"][0]["people"]
    assert [person["name"] for person in people] == ["photo_1/000"]


def test_size_counts_unless_removed(save, tmp_path, capsys):
    tall = np.zeros(10)
    tall[0] = 2.0
    save(tmp_path / "a", "x1")
    save(tmp_path / "b", "x1", betas=tall)
    document = compared(capsys, tmp_path / "a", tmp_path / "b")
    assert document["rigid_mm"] > 3 * document["scaled_mm"] > 0


def test_runs_without_common_people_are_refused_by_name(save, tmp_path):
    save(tmp_path / "a", "x1")
    save(tmp_path / "b", "y2")
    with pytest.raises(BodyfitError, match="no fitted person in both"):
        CompareCommand((tmp_path / "a", tmp_path / "b")).run()
    with pytest.raises(BodyfitError, match="at least two"):
        CompareCommand((tmp_path / "a",)).run()
    with pytest.raises(BodyfitError, match="no results in it"):
        CompareCommand((tmp_path / "a", tmp_path)).run()


def test_a_damaged_result_is_left_out_by_name_and_the_others_are_compared(save, tmp_path, capsys, caplog):
    for run in ("a", "b"):
        save(tmp_path / run, "x1")
        save(tmp_path / run, "x2")
    damaged = tmp_path / "b" / "results" / "x2" / "000.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert CompareCommand((tmp_path / "a", tmp_path / "b"), json=True).run() == 1
    document = json.loads(capsys.readouterr().out)
    assert document["people_compared"] == 1 and list(document["unreadable"]) == [str(damaged)]
    assert str(damaged) in caplog.text
