"""Shape numbers from files of other programs and of previous runs."""

import json

import numpy as np
import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.run.known_betas import read_betas


def test_layouts(tmp_path):
    betas = np.arange(5) / 4
    np.savez(tmp_path / "a.npz", betas=betas[None], poses=np.zeros(3))
    np.savez(tmp_path / "b.npz", smplx_shape=betas, body_model="open-male-1")
    np.save(tmp_path / "c.npy", betas)
    (tmp_path / "d.json").write_text(json.dumps({"betas": betas.tolist(), "body_model": "x"}))
    (tmp_path / "e.json").write_text(json.dumps(betas.tolist()))
    found = [read_betas(tmp_path / name) for name in ("a.npz", "b.npz", "c.npy", "d.json", "e.json")]
    assert all(one.betas == tuple(betas) for one in found)
    assert [one.body for one in found] == ["", "open-male-1", "", "x", ""]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", '{"pose": []}', "object with 'betas'"),
        ("a.json", '["x"]', "no numbers"),
        ("a.json", "[[1, 2], [3, 4]]", "of one person"),
        ("a.json", "[1000.0]", "standard deviations"),
        ("a.json", "[NaN]", "a.json"),
        ("a.npy", "nothing", "not a readable .npy"),
        ("a.npz", "nothing", "not a readable .npz"),
        ("a.txt", "1 2 3", "not '.txt'"),
    ],
)
def test_other_content_is_one_clear_error(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(BodyfitError, match=said):
        read_betas(tmp_path / name)


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path / "none.npy", tmp_path / "none.json", tmp_path):
        with pytest.raises(BodyfitError, match=str(path)):
            read_betas(path)
