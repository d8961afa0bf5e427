"""Files are whole or absent, and arrays from outside take no more memory than allowed."""

import errno
import io
import os
import zipfile

import numpy as np
import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import (
    ArrayFile,
    WriteError,
    confined,
    read_json,
    result_name,
    write_atomically,
    write_bytes_atomically,
)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "sub" / "x.txt"
    write_atomically(path, lambda temporary: temporary.write_text("old"))

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["x.txt"]


def test_bytes_are_written_whole_with_folders_on_the_way_and_the_usual_permissions(tmp_path):
    path = tmp_path / "a" / "b" / "x.npz"
    for content in (b"old", b"x" * 3_000_000, b""):
        assert write_bytes_atomically(path, content) == path
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["x.npz"]
    (tmp_path / "y").write_text("")
    assert path.stat().st_mode == (tmp_path / "y").stat().st_mode


def test_bytes_that_cannot_be_written_leave_the_old_file(tmp_path, monkeypatch):
    write_bytes_atomically(tmp_path / "x", b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(WriteError, match=r"No space left.*Free some space"):
        write_bytes_atomically(tmp_path / "x", b"new")
    assert os.listdir(tmp_path) == ["x"] and (tmp_path / "x").read_bytes() == b"old"
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError) as caught:
        write_bytes_atomically(tmp_path / "file" / "x", b"")
    assert caught.value.of_this_name


def test_temporary_name_keeps_the_suffix_and_permissions_are_the_usual(tmp_path):
    seen = []
    write_atomically(tmp_path / "x.png", lambda temporary: seen.append(temporary.suffix))
    (tmp_path / "y.png").write_text("")
    assert seen == [".png"]
    assert (tmp_path / "x.png").stat().st_mode == (tmp_path / "y.png").stat().st_mode


@pytest.mark.parametrize(
    "name", ["../../../X", "/abs/X", "a/../../X", "..\\..\\X", "C:\\photos\\X", "\\\\host\\X", "..", "", "/", "a" * 300]
)
def test_names_of_results_stay_in_their_folder(name, tmp_path):
    made = result_name(name)
    path = confined(tmp_path, made)
    assert path.resolve().is_relative_to(tmp_path) and path != tmp_path and len(path.name) <= 200
    write_atomically(path, lambda temporary: temporary.write_text(""))


@pytest.mark.parametrize("name", ["../X", "/X", "a/../b", "..\\X", "C:\\X", "C:/X", "", "a\0b", "\ud800", "a" * 256])
def test_names_that_leave_the_folder_or_are_none_are_refused(name, tmp_path):
    with pytest.raises(BodyfitError, match="cannot be the name of a file"):
        confined(tmp_path, name)


@pytest.mark.parametrize("name", ["a", "a/b.c", "Zoë/1 (2)", "C/x", "a..b", "x" * 200])
def test_ordinary_names_are_kept(name, tmp_path):
    assert result_name(name) == name and confined(tmp_path, name) == tmp_path / name


def test_names_that_are_cut_stay_apart():
    assert result_name("a" * 300) != result_name("a" * 301) and result_name("../X") == "X"
    assert len(result_name("ab/" * 2000)) <= 200


@pytest.mark.parametrize(("name", "at_fault"), [("x" * 300, True), ("a\0b", True), ("file/x", True)])
def test_an_error_says_whether_the_name_is_at_fault(name, at_fault, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError) as caught:
        write_atomically(tmp_path / name, lambda temporary: temporary.write_text(""))
    assert caught.value.of_this_name == at_fault


def test_a_full_disk_is_no_fault_of_the_name(tmp_path):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WriteError, match="Free some space") as caught:
        write_atomically(tmp_path / "x", full)
    assert not caught.value.of_this_name and os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BodyfitError, match=r"file/x\.txt: cannot be written"):
        write_atomically(tmp_path / "file" / "x.txt", lambda temporary: temporary.write_text(""))


def test_arrays_are_read_key_by_key_and_objects_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.arange(6).reshape(2, 3), word=np.array("text"), bad=np.array({}, dtype=object))
    with ArrayFile(path) as file:
        assert set(file.keys) == {"a", "word", "bad"}
        assert file.shape("a") == (2, 3)
        np.testing.assert_array_equal(file.read("a"), [[0, 1, 2], [3, 4, 5]])
        assert str(file.read("word")) == "text"
        with pytest.raises(BodyfitError, match="'bad' holds Python objects"):
            file.read("bad")
        with pytest.raises(BodyfitError, match=r"has no 'c'. Found: a, bad, word"):
            file.read("c")


def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", header.getvalue())
    with ArrayFile(tmp_path / "x.npz") as arrays, pytest.raises(BodyfitError, match=r"would take 8000.0 GB"):
        arrays.read("a")


def test_broken_and_missing_files(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(1000))
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-100])
    with pytest.raises(BodyfitError, match=r"cut\.npz: not a readable \.npz"):
        ArrayFile(tmp_path / "cut.npz")
    with pytest.raises(BodyfitError, match="no such file"):
        ArrayFile(tmp_path / "nothing.npz")
    damaged = bytearray(whole)
    damaged[200] ^= 255
    (tmp_path / "damaged.npz").write_bytes(damaged)
    with ArrayFile(tmp_path / "damaged.npz") as file, pytest.raises(BodyfitError, match="'a' cannot be read"):
        file.read("a")


def _json(tmp_path, content: bytes | str):
    path = tmp_path / "x.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_is_read_in_every_encoding_of_json(tmp_path, encoding):
    assert read_json(_json(tmp_path, '{"ü": [1, 2.5, "\\u00e9"]}'.encode(encoding))) == {"ü": [1, 2.5, "é"]}


def test_what_is_read_from_json_can_be_computed_with_and_written_again(tmp_path):
    text = r'["\ud800", "\ud83d\ude00", "\\ud800", "a\udfffb", ' + "9" * 400 + ", -" + "9" * 30 + f", {2**62}]"
    half, pair, escaped, inner, huge, large, exact = read_json(_json(tmp_path, text))
    assert (half, pair, escaped, inner) == ("\ufffd", "\U0001f600", "\\ud800", "a\ufffdb")
    assert huge == float("inf") and large == -1e30 and exact == 2**62
    f"{half}{pair}{escaped}{inner}".encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested"),
        ('["' + "]" * 5000 + '", ' + "[" * 500 + "]" * 500 + "]", "nested"),
        ("[1, 2", "no readable JSON"),
        ("", "empty"),
        (b"\xff\xff\xff\xff", "no readable JSON"),
        (b'["\xed\xa0\x80"]', "no readable JSON"),
        ("[" + "1" * 5000 + "e", "no readable JSON"),
        ("[" + "[],[]," * 50_000 + "[]]", "would take"),
    ],
    ids=["lists", "objects", "behind a text", "cut off", "empty", "no text", "surrogate", "digits", "memory"],
)
def test_json_that_cannot_be_read_is_one_clear_error(tmp_path, content, message):
    with pytest.raises(BodyfitError, match=rf"x\.json: .*{message}"):
        read_json(_json(tmp_path, content), most=2_000_000 if message == "would take" else 1_000_000_000)


def test_nesting_within_texts_does_not_count(tmp_path):
    assert read_json(_json(tmp_path, '["' + "[" * 5000 + r"\"[[" + '"]')) == ["[" * 5000 + '"[[']


def test_a_document_per_line(tmp_path):
    assert read_json(_json(tmp_path, '{"a": 1}\n\n[2]\n'), lines=True) == [{"a": 1}, [2]]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_folders_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "x.json")
    for read in (read_json, ArrayFile):
        with pytest.raises(BodyfitError, match="a pipe"):
            read(tmp_path / "x.json")
        with pytest.raises(BodyfitError, match="is a folder"):
            read(tmp_path)
        with pytest.raises(BodyfitError, match="no such file"):
            read(tmp_path / "nothing")
        with pytest.raises(BodyfitError, match="cannot be read"):
            read("a\0b")


def _npz(tmp_path, member: bytes, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", compression) as archive:
        archive.writestr("a.npy", member)
    return ArrayFile(tmp_path / "x.npz")


def _npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + data


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(10_000_000),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "(" * 5000),
        _npy("__import__('os')"),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", bytes(8)),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (40000000,)}", bytes(8)),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}", bytes(8)),
        _npy("{'descr': 5, 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        _npy("{'descr': '|V999999999', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        _npy("{'descr': [], 'fortran_order': False, 'shape': (99999999999,)}"),
        _npy("{'descr': '<U0', 'fortran_order': False, 'shape': (99999999999,)}"),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", bytes(8), b"\x09\x00"),
    ],
)  # fmt: skip
def test_arrays_with_broken_headers_are_one_clear_error(tmp_path, member):
    with _npz(tmp_path, member) as file, pytest.raises(BodyfitError, match=r"x\.npz: 'a'"):
        array = file.read("a")
        raise AssertionError(array.shape)


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_compression_that_numpy_never_uses_is_refused(tmp_path, compression):
    whole = io.BytesIO()
    np.save(whole, np.arange(3))
    with _npz(tmp_path, whole.getvalue(), compression) as file, pytest.raises(BodyfitError, match="compressed"):
        file.read("a")
