"""Old pickles with sparse and chumpy arrays are read as numbers; crafted ones do no harm."""

import contextlib
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
from scipy import sparse

from bodyfit.data.body.restricted_pickle import PickledArrays
from bodyfit.data.errors import BodyfitError


def read_pickled_arrays(path):
    """Whatever of a pickle can be read as numbers or text."""
    file, found = PickledArrays(path), {}
    for key in file.keys:
        with contextlib.suppress(BodyfitError):
            found[key] = file.read(key)
    return found


def _write(tmp_path, content, protocol=2):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("form", [sparse.csc_matrix, sparse.csr_matrix, sparse.csc_array])
def test_sparse_matrices_become_dense(tmp_path, form, protocol):
    dense = np.array([[0, 1.5, 0], [2.5, 0, -1]])
    path = _write(tmp_path, {"J_regressor": form(dense), "order": np.asfortranarray(dense), "n": np.int64(3)}, protocol)
    content = read_pickled_arrays(path)
    np.testing.assert_array_equal(content["J_regressor"], dense)
    np.testing.assert_array_equal(content["order"], dense)
    assert content["n"] == 3


@pytest.fixture
def chumpy(monkeypatch):
    """Modules of chumpy's names, with classes of its layout, so that pickles like its own can be written."""
    modules = {name: ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    ch = type("Ch", (), {"__module__": "chumpy.ch"})
    select = type("Select", (), {"__module__": "chumpy.reordering"})
    modules["chumpy.ch"].Ch, modules["chumpy.reordering"].Select = ch, select
    return ch, select


@pytest.mark.parametrize("protocol", [0, 2])
def test_chumpy_arrays_become_numpy(tmp_path, chumpy, protocol):
    ch, select = chumpy
    numbers, chosen = ch(), select()
    numbers.__dict__ |= {"x": np.arange(6.0).reshape(2, 3), "_dirty_vars": {}, "_itr": None}
    chosen.__dict__ |= {"a": numbers, "idxs": np.array([5, 0]), "preferred_shape": (1, 2)}
    content = read_pickled_arrays(_write(tmp_path, {"shapedirs": numbers, "part": chosen}, protocol))
    np.testing.assert_array_equal(content["shapedirs"], np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(content["part"], [[5.0, 0.0]])


def test_a_chumpy_expression_that_is_no_number_is_left_out(tmp_path, chumpy):
    expression = chumpy[0]()
    expression.__dict__["depends_on"] = "something else"
    assert set(read_pickled_arrays(_write(tmp_path, {"weights_prior": expression, "f": np.zeros(3)}))) == {"f"}


def test_sparse_indices_outside_the_matrix_are_not_followed(tmp_path):
    matrix = sparse.csc_matrix(np.eye(3))
    matrix.indices[1] = 1_000_000
    assert "J_regressor" not in read_pickled_arrays(_write(tmp_path, {"J_regressor": matrix}))


class _Asks:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


RECONSTRUCT = np.zeros(0).__reduce__()[0]


def test_no_memory_is_taken_on_the_files_word(tmp_path):
    huge = _Asks(RECONSTRUCT, np.ndarray, (10**12,), b"d")
    called = _Asks(np.ndarray, (10**12,), "f8")
    assert read_pickled_arrays(_write(tmp_path, {"huge": huge, "called": called, "f": 1})) == {"f": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02}q\x00r\xff\xff\xff\x7f.",  # LONG_BINPUT 2**31 - 1: a table of 16 GB
        b"\x80\x02}p2000000000\n.",  # PUT
        b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x40}.",  # FRAME of 4 exabytes
        b"\x80\x05\x96\x00\x00\x00\x00\x00\x00\x00\x40}.",  # BYTEARRAY8 of as many
    ],
)
def test_pickles_that_blow_up_the_unpickler_are_refused(tmp_path, content):
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(BodyfitError, match=r"model\.pkl: (refused|not a readable)"):
        read_pickled_arrays(path)


def test_arrays_of_objects_are_left_out_and_big_endian_and_text_are_kept(tmp_path):
    arrays = {"o": np.array([{}], dtype=object), "big": np.arange(3, dtype=">f4"), "text": np.array(["a", "bc"])}
    content = read_pickled_arrays(_write(tmp_path, arrays))
    assert set(content) == {"big", "text"}
    assert content["big"].tolist() == [0, 1, 2] and content["text"].tolist() == ["a", "bc"]


def test_arrays_with_too_few_bytes_are_left_out(tmp_path):
    whole = pickle.dumps({"v": np.arange(4, dtype=np.int16), "f": 1}, protocol=2)
    shape = b"K\x01K\x04\x85"  # version 1, shape (4,)
    assert whole.count(shape) == 1
    path = tmp_path / "model.pkl"
    path.write_bytes(whole.replace(shape, b"K\x01K\x05\x85"))
    assert read_pickled_arrays(path) == {"f": 1}


@pytest.mark.parametrize("attack", [eval, exec, np.load, pickle.loads, getattr, sparse.csc_matrix.dot])
def test_other_names_are_refused_by_name(tmp_path, attack):
    with pytest.raises(BodyfitError, match="refused, it asks for"):
        read_pickled_arrays(_write(tmp_path, {"v": attack}, protocol=4))


def test_not_a_dictionary(tmp_path):
    with pytest.raises(BodyfitError, match="holds a list"):
        read_pickled_arrays(_write(tmp_path, [1, 2]))
