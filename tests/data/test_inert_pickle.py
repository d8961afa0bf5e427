"""Pickles are read as inert parts: what they would call is named, nothing is called, and none takes long or much."""

import collections
import fractions
import io
import os
import pickle
import time
import tracemalloc

import pytest

from bodyfit.data.inert_pickle import MAX_OPCODES, Made, Name, PickleError, read_inert


def _read(content: bytes, **options):
    return read_inert(io.BytesIO(content), **options)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, -1, 255, 70_000, 2**40, -(2**70), 1.5, float("inf"), "", "text ü\n", b"", (), [], {}),
        {"a": [1, (2, 3), {"b": None}], "c": (1, 2, 3, 4, 5), 7: "seven"},
    ],
)  # fmt: skip
def test_plain_values_come_back_as_they_were(value, protocol):
    if not (isinstance(value, bytes) and protocol < 3):  # older protocols call a function for bytes
        assert _read(pickle.dumps(value, protocol)) == value


def test_parts_that_are_shared_or_hold_themselves():
    shared = [1]
    loop = [shared, shared]
    loop.append(loop)
    read = _read(pickle.dumps(loop))
    assert read[0] is read[1] and read[2] is read


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_are_told_not_made(protocol):
    read = _read(pickle.dumps({"f": fractions.Fraction(1, 3), "c": collections.OrderedDict(a=1)}, protocol))
    assert isinstance(read["f"], Made) and str(read["f"].function) == "fractions.Fraction"
    assert read["c"].pairs == {"a": 1}


class _Asks:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_is_asked_for_is_not_done(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read = _read(pickle.dumps(_Asks(), protocol))
    assert isinstance(read.function, Name) and read.function.name == "mkdir" and read.arguments == ("pwned",)
    assert os.listdir() == []
    with pytest.raises(PickleError, match=r"asks for '(nt|posix)\.mkdir'"):
        _read(pickle.dumps(_Asks(), protocol), allowed=lambda module, name: False)


def _nested_key(depth: int) -> bytes:
    """{t: 0} with t a tuple of the one before twice: 2 ** depth values to hash in a file of a few bytes."""
    return b"\x80\x02})" + b"2\x86" * depth + b"K\x00s."


def _colliding(count: int) -> bytes:
    """A dictionary whose whole numbers all have the same hash."""
    numbers = [pickle.dumps(k * (2**61 - 1), 2)[2:-1] + b"K\x00" for k in range(1, count)]
    return b"\x80\x02}(" + b"".join(numbers) + b"u."


ATTACKS = {
    "key hashed for ever": _nested_key(100),
    "key too deep to hash": b"\x80\x02})" + b"\x85" * 60_000 + b"K\x00s.",
    "deep lists": b"\x80\x02" + b"]" * 60_000 + b"a" * 59_999 + b".",
    "deep calls": b"\x80\x02cbuiltins\nlist\n" + b")R" * 40_000 + b".",
    "bytes of a number": b"\x80\x02cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.",
    "range as a list": b"\x80\x02cbuiltins\nlist\ncbuiltins\nrange\nJ\xff\xff\xff\x7f\x85R\x85R.",
    "keys that collide": _colliding(30_000),
    "memory of dictionaries": b"\x80\x02" + b"}" * 1_000_000 + b".",
    "memory of a count": b"\x80\x02B\xff\xff\xff\x7f.",
    "memory of a count of 8 bytes": b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "memory of a long number": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "table of numbers": b"\x80\x02}r\xff\xff\xff\x7f.",
    "registered extension": b"\x80\x02\x82\x01.",
    "buffer outside": b"\x80\x05\x97.",
    "empty": b"",
    "nothing on the stack": b"\x80\x02.",
    "no stop": b"\x80\x02}",
    "marks missing": b"\x80\x02u.",
    "append to text": b"\x80\x02U\x01aK\x01a.",
    "set on a number": b"\x80\x02K\x01K\x01K\x01s.",
    "odd pairs": b"\x80\x02}(K\x01u.",
    "unknown opcode": b"\x80\x02\xff.",
    "memo of nothing": b"\x80\x02h\x05.",
    "4000 digits": b"I" + b"9" * 4000 + b"\n.",
    "10 000 digits": b"I" + b"9" * 10_000 + b"\n.",
    "number as a name": b"\x80\x04K\x01K\x02\x93.",
    "build of nothing": b"\x80\x02N}b.",
}


@pytest.mark.parametrize("content", ATTACKS.values(), ids=ATTACKS.keys())
def test_no_pickle_takes_long_or_much(content):
    tracemalloc.start()
    began = time.process_time()
    try:
        _read(content)
    except PickleError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 300 * 2**20 and time.process_time() - began < 30


def test_the_number_of_opcodes_is_bounded():
    with pytest.raises(PickleError, match="opcodes"):
        _read(b"\x80\x02" + b"}" * (MAX_OPCODES + 2) + b".")
