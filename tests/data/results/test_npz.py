"""Small .npz files: any reader of the format reads what was put in."""

import io
import zipfile

import numpy as np
import pytest

from bodyfit.data.files import ArrayFile
from bodyfit.data.results.npz import npz_bytes

ARRAYS = {
    "number": np.array(1.5),
    "whole": np.array(-3),
    "true": np.array(True),
    "word": np.array("smörgås"),
    "words": np.array(["a", "longer"]),
    "matrix": np.arange(6.0).reshape(2, 3),
    "turned": np.arange(6.0).reshape(2, 3).T,
    "every_other": np.arange(10, dtype=np.float32)[::2],
    "empty": np.zeros(0),
    "none_by_three": np.zeros((0, 3)),
    "größe": np.array([1.0]),
}


def test_numpy_reads_the_same_arrays():
    found = np.load(io.BytesIO(npz_bytes(ARRAYS)), allow_pickle=False)
    assert found.files == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_checksums_are_right_and_members_are_what_numpy_writes(tmp_path):
    numpys = io.BytesIO()
    np.savez(numpys, **{name: np.asfortranarray(a) if name == "turned" else a for name, a in ARRAYS.items()})
    ours, theirs = zipfile.ZipFile(io.BytesIO(npz_bytes(ARRAYS))), zipfile.ZipFile(numpys)
    assert ours.testzip() is None
    assert ours.namelist() == theirs.namelist()
    same = [name for name in ours.namelist() if name != "turned.npy"]  # NumPy keeps the order of its columns
    assert {name: ours.read(name) for name in same} == {name: theirs.read(name) for name in same}


def test_our_own_careful_reader_reads_it(tmp_path):
    (tmp_path / "x.npz").write_bytes(npz_bytes({"matrix": ARRAYS["matrix"]}))
    with ArrayFile(tmp_path / "x.npz") as file:
        np.testing.assert_array_equal(file.read("matrix"), ARRAYS["matrix"])


def test_python_objects_are_refused():
    with pytest.raises(ValueError, match="objects"):
        npz_bytes({"things": np.array([object()])})
