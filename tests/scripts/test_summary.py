"""`bodyfit summary`: what came of a run, in words, as JSON and as a table; a folder of somebody else is one error."""

import csv
import json

import pytest

from bodyfit.data.results.clip_failures import write_clip_failures
from bodyfit.scripts.cli import main
from bodyfit.scripts.summary_figures import summarise


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


@pytest.fixture
def clips(tmp_path):
    """Two clips of two frames; one has a person who failed in a frame, and is at work still."""
    for name, failed in (("walk10", False), ("walk9", True)):
        rows = []
        for frame in ("000000", "000001"):
            row = {"image": f"{name}/{frame}", "person": "000", "error_share": 0.01, "error_px": 1.0}
            lost = {"status": "failed", "reason": "too few points", "error_share": None, "error_px": None}
            rows += [row | {"status": "converged", "reason": ""}, row | {"person": "001", "status": "interpolated"}]
            rows[-1] |= lost if failed else {}
        (tmp_path / name).mkdir()
        if failed:
            lines = [
                json.dumps({"name": row["image"], "rows": rows[2 * n : 2 * n + 2]}) for n, row in enumerate(rows[::2])
            ]
            (tmp_path / name / "journal.jsonl").write_text("\n".join(lines))
        else:
            (tmp_path / name / "summary.json").write_text(json.dumps({"people": rows}))
    (tmp_path / "other").mkdir()
    return tmp_path


def test_several_clips_are_a_line_each_and_one_for_all(clips, capsys):
    code, text, _ = said(capsys, clips)
    table = {line.split()[0]: line.split()[1:] for line in text.splitlines()[2:6]}
    assert code == 0 and list(table) == ["clip", "walk9", "walk10", "all"]  # in natural order
    assert table["walk10"] == ["2", "2", "2", "2", "0", "0", "1.00", "1.00"]
    assert table["walk9"] == ["2", "2", "2", "0", "0", "2", "1.00", "1.00"]
    assert table["all"] == ["4", "4", "4", "2", "0", "2", "1.00", "1.00"]
    assert "2  walk9: too few points" in text and "walk10: walk10/000000, person 000" in text
    document = json.loads(said(capsys, clips, "--json")[1])
    assert document["clips"]["walk9"]["statuses"] == {"converged": 2, "failed": 2} and document["all"]["persons"] == 4


def test_clips_without_results_are_said_until_they_have_some(clips, capsys):
    write_clip_failures(clips, {"broken": "no video", "walk10": "was fitted later"})
    code, text, _ = said(capsys, clips)
    assert code == 0 and text.startswith("3 clips") and "could not be fitted\n  broken: no video\n" in text
    assert json.loads(said(capsys, clips, "--json")[1])["failed"] == {"broken": "no video"}
    write_clip_failures(clips, {"broken": ""})
    assert "could not be fitted" not in said(capsys, clips)[1] and not (clips / "clips.json").exists()


def test_a_folder_in_which_every_clip_failed_has_a_summary(tmp_path, capsys):
    write_clip_failures(tmp_path, {"a": "no video", "b": "no video"})
    code, text, _ = said(capsys, tmp_path)
    assert code == 0 and text.startswith("2 clips") and "  b: no video" in text


def test_the_table_of_several_clips_has_a_column_that_names_them(clips, capsys):
    assert said(capsys, clips, "--to", "csv")[0] == 0
    rows = list(csv.DictReader((clips / "summary.csv").open()))
    assert [row["clip"] for row in rows] == 4 * ["walk9"] + 4 * ["walk10"] and rows[0]["image"] == "walk9/000000"
    assert said(capsys, clips / "walk10", "--to", "csv")[0] == 0
    assert "clip" not in next(csv.reader((clips / "walk10" / "summary.csv").open()))


def test_what_several_clips_do_not_have_is_said(clips, capsys):
    code, _, error = said(capsys, clips, "--measures")
    assert code == 2 and "--measures is of one run. It holds 2 runs: give one of them, such as" in error
    (clips / "walk10" / "summary.json").write_text("[]")
    code, _, error = said(capsys, clips)
    assert code == 2 and "walk10/summary.json" in error
    code, _, error = said(capsys, clips / "other")
    assert code == 2 and "no summary.json in it. Expected the output folder" in error
