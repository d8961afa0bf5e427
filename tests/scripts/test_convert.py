"""`bodyfit convert`: rigged bodies."""

import json

import pytest

from bodyfit.data.errors import BodyfitError
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
