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
