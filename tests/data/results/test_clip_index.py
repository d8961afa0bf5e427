"""The index of a clip: what is written is read back, and what is damaged is said."""

import json
from pathlib import Path

import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.clip_index import ClipIndex, ClipIndexError

VIEWS = ClipIndex(
    fps=50.0,
    moments=(10, 11),
    cameras={"left": Path("/videos/left.mp4"), "right": None},
    frames={"left/000010": 10, "left/000011": 11, "right/000110": 10},
)


def test_what_is_written_is_read_back(tmp_path):
    assert not ClipIndex.exists(tmp_path)
    VIEWS.write(tmp_path)
    assert ClipIndex.exists(tmp_path) and ClipIndex.read(tmp_path) == VIEWS


def test_frames_are_found_by_camera_and_by_moment():
    assert VIEWS.of_camera("left") == {10: "left/000010", 11: "left/000011"}
    assert VIEWS.at(10) == {"left": "left/000010", "right": "right/000110"}
    assert VIEWS.at(11) == {"left": "left/000011"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fps", 0, "fps"),
        ("fps", "fast", "not the index"),
        ("moments", [11, 10], "after the last"),
        ("moments", [1], "not the index"),
        ("cameras", {"left": {}}, "not the index"),
        ("frames", {"../a/000001": 10}, "cannot be the name"),
        ("frames", {"left/000010": 1.5}, "not the index"),
    ],
)
def test_a_damaged_index_is_one_clear_error(tmp_path, key, value, message):
    path = VIEWS.write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(BodyfitError, match=message):
        ClipIndex.read(tmp_path)


def test_a_folder_without_an_index_is_said(tmp_path):
    with pytest.raises(ClipIndexError, match=r"clip\.json: no such file"):
        ClipIndex.read(tmp_path)
