"""`bodyfit summary`: what came of a run, in words, as JSON and as a table; a folder of somebody else is one error."""

import csv
import json

import pytest

from bodyfit.scripts.cli import main
from bodyfit.scripts.summary import summarise


def said(capsys, *words) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["summary", *map(str, words)])
    out, err = capsys.readouterr()
    return exit_.value.code, out, err


@pytest.fixture
def out(tmp_path):
    row = {"image": "a", "person": "000", "status": "converged", "reason": "", "error_share": 0.01, "error_px": 2.0}
    failed = {"image": "b", "person": None, "status": "failed", "reason": "b.json: no such keypoint file."}
    document = {"people": [row, row | {"person": "001", "error_share": 0.03}, failed]}
    (tmp_path / "summary.json").write_text(json.dumps(document))
    return tmp_path


def test_counts_reasons_and_worst_cases(out, capsys):
    code, text, _ = said(capsys, out)
    assert code == 0 and "3 people in 2 photos" in text and "no such keypoint file" in text
    document = json.loads(said(capsys, out, "--json")[1])
    assert document["statuses"] == {"converged": 2, "failed": 1}


def test_a_table_has_a_row_per_person(out, capsys):
    assert said(capsys, out, "--to", "csv")[0] == 0
    rows = list(csv.DictReader((out / "summary.csv").open()))
    assert [row["image"] for row in rows] == ["a", "a", "b"] and rows[1]["error_share"] == "0.03"


@pytest.mark.parametrize(
    "content",
    ['{"people": ' + 100_000 * "[", "[]", "{", '{"people": [[1]]}', '  {"image": 3}\n', '{"people": [{"image": "a"}]}'],
    ids=["deep", "list", "cut", "no objects", "a line", "no status"],
)
def test_a_summary_of_somebody_else_is_one_error(tmp_path, capsys, content):
    (tmp_path / "summary.json").write_text(content)
    code, _, error = said(capsys, tmp_path)
    assert code == 2 and "summary.json" in error


def test_the_most_ambiguous_come_first_whether_their_other_pose_was_kept_or_not():
    row = {"image": "a", "status": "converged", "error_share": 0.01, "error_px": 1.0, "ambiguous": True}
    doubts = {"000": 0.1, "001": 0.4, "002": 0.2}
    rows = [row | {"person": name, "doubt": "left forearm", "doubt_probability": p} for name, p in doubts.items()]
    assert [one["person"] for one in summarise(rows, 2)["most_ambiguous"]] == ["001", "002"]
