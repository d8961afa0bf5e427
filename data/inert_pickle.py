"""Reads pickles as inert parts: a machine that knows the opcodes and calls, imports, hashes and trusts nothing.

A pickle is a little program that names functions and calls them. Python's own unpickler runs it, and even one that is
allowed harmless names alone can be made to hash without end, to overflow the C stack or to fill the memory. This one
has no way to call anything: `name(arguments)` becomes a `Made` that says so, keys of dictionaries are texts and numbers
only, and as many opcodes are read as a body model or checkpoint has. Whoever reads the parts picks the numbers out of
those that they know.
"""

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

MAX_OPCODES = 200_000
"""A checkpoint of 200 tensors has about 10 000, a body model about 500."""

PLAIN = (str, bytes, bytearray, int, float, type(None))
"""What stands for itself."""

_LARGEST_KEY = 2**60
"""Numbers beyond can be chosen so that they all hash alike, and a dictionary of them takes for ever."""


class PickleError(ValueError):
    """A pickle that is damaged, or uses what no file of numbers needs."""


@dataclass(eq=False, slots=True)
class Name:
    """A class or function that the pickle mentions."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Made:
    """What the pickle would have made by calling `function` with `arguments`, and what it did with that."""

    function: Any
    """A `Name`, or another part where the pickle calls what it made."""
    arguments: Any
    state: Any = None
    """What __setstate__ would have been given."""
    items: list = field(default_factory=list)
    """What would have been appended."""
    pairs: dict = field(default_factory=dict)
    """What would have been set by key; keys that are no text or whole number are left out with their values."""


@dataclass(eq=False, slots=True)
class Reference:
    """A persistent id: how PyTorch's checkpoints refer to their storages."""

    id: Any


_MARK = object()


class _Bounded:
    """A file that refuses to be read beyond its end: a read of so many bytes takes their memory before it fails."""

    def __init__(self, stream: BinaryIO):
        self.stream, start = stream, stream.tell()
        self.end = stream.seek(0, 2)
        stream.seek(start)
        self.tell = stream.tell
        self.readline = stream.readline

    def rest(self) -> int:
        """Bytes from here to the end."""
        return self.end - self.stream.tell()

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self.rest():
            raise PickleError(f"{count} bytes are announced, of which there are {self.rest()}")
        return self.stream.read(count)


def read_inert(
    stream: BinaryIO,
    allowed: Callable[[str, str], bool] = lambda module, name: True,
    references: list[Reference] | None = None,
) -> Any:
    """The first pickle of a stream, which then stands behind it.

    Args:
        stream: a file that can be searched, in binary mode.
        allowed: whether the pickle may mention a module's name; by default it may mention any, for none is looked up.
        references: a list to which all references are appended, as they come.

    Returns:
        What the pickle describes, of `PLAIN` values, lists, tuples, dictionaries, `Name`, `Made` and `Reference`.
        Sets become lists. Parts may hold themselves and each other.

    Raises:
        PickleError: for one that is damaged, has more than `MAX_OPCODES`, mentions what is not allowed, or asks for
            registered extensions or for buffers outside the file.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument in _opcodes(stream):
            if opcode == "STOP":
                return stack.pop()
            _step(opcode, argument, stack, memo)
            if references is not None and opcode in ("PERSID", "BINPERSID"):
                references.append(stack[-1])
            if opcode in _NAMING:
                name = stack[-1] if isinstance(stack[-1], Name) else stack[-1].function
                if not allowed(name.module, name.name):
                    raise PickleError(f"it asks for '{name!s:.200}'")
    except PickleError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, UnicodeError) as cause:
        raise PickleError(f"damaged ({type(cause).__name__}: {cause!s:.200})") from cause
    raise PickleError("it ends before its STOP")


def _opcodes(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    file = _Bounded(stream)
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if count > MAX_OPCODES:
            raise PickleError(f"it has more than {MAX_OPCODES} opcodes")
        if opcode.name == "FRAME" and argument > file.rest():
            raise PickleError(f"{argument} bytes are announced, of which there are {file.rest()}")
        yield opcode.name, argument


def _step(opcode: str, argument: Any, stack: list, memo: dict[int, Any]) -> None:
    """Do what one opcode asks."""
    if opcode in _IGNORED:
        return
    if opcode in _VALUES:
        stack.append(argument)
    elif opcode in _CONSTANTS:
        stack.append(_CONSTANTS[opcode]())
    elif opcode == "MARK":
        stack.append(_MARK)
    elif opcode in ("PUT", "BINPUT", "LONG_BINPUT"):
        if argument > MAX_OPCODES:
            raise PickleError(f"it numbers an object {argument}")
        memo[argument] = stack[-1]
    elif opcode == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif opcode in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif opcode in _STACK:
        _STACK[opcode](stack)
    elif opcode == "GLOBAL":
        stack.append(Name(*argument.split(" ", 1)))
    elif opcode == "INST":
        arguments = _since_mark(stack)
        stack.append(Made(Name(*argument.split(" ", 1)), arguments))
    elif opcode == "PERSID":
        stack.append(Reference(argument))
    else:
        raise PickleError(f"it uses {opcode}, which no file of numbers needs")


def _since_mark(stack: list) -> list:
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _append(target: Any, items: list) -> None:
    (target if isinstance(target, list) else target.items).extend(items)


def _set(target: Any, flat: list) -> None:
    pairs = target.pairs if isinstance(target, Made) else target
    if not isinstance(pairs, dict) or len(flat) % 2:
        raise PickleError("it sets keys of what has none")
    pairs.update({key: value for key, value in zip(flat[::2], flat[1::2], strict=True) if _is_key(key)})


def _is_key(key: Any) -> bool:
    return type(key) in (str, bytes) or (type(key) is int and abs(key) < _LARGEST_KEY)


def _build(stack: list) -> None:
    state = stack.pop()
    if isinstance(stack[-1], Made):
        stack[-1].state = state


def _pop_many(stack: list, count: int) -> list:
    if count > len(stack):
        raise PickleError("it takes more than there is")
    items = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return items


def _made(stack: list, count: int = 2) -> None:
    function, arguments = _pop_many(stack, count)[:2]  # keyword arguments are of no interest
    stack.append(Made(function, arguments))


def _object(stack: list) -> None:
    function, *arguments = _since_mark(stack)
    stack.append(Made(function, arguments))


def _dict(stack: list) -> None:
    flat = _since_mark(stack)
    stack.append({})
    _set(stack[-1], flat)


def _append_since_mark(stack: list) -> None:
    items = _since_mark(stack)
    _append(stack[-1], items)


def _set_since_mark(stack: list) -> None:
    flat = _since_mark(stack)
    _set(stack[-1], flat)


def _append_one(stack: list) -> None:
    item = stack.pop()
    _append(stack[-1], [item])


def _set_one(stack: list) -> None:
    flat = _pop_many(stack, 2)
    _set(stack[-1], flat)


def _global_from_stack(stack: list) -> None:
    module, name = _pop_many(stack, 2)
    if not (isinstance(module, str) and isinstance(name, str)):
        raise PickleError("it names something by what is no text")
    stack.append(Name(module, name))


_NAMING = ("GLOBAL", "INST", "STACK_GLOBAL")
_IGNORED = ("PROTO", "FRAME")
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_DICT": dict,
}
_STACK = {
    "POP": list.pop,
    "POP_MARK": _since_mark,
    "DUP": lambda stack: stack.append(stack[-1]),
    "TUPLE": lambda stack: stack.append(tuple(_since_mark(stack))),
    "TUPLE1": lambda stack: stack.append(tuple(_pop_many(stack, 1))),
    "TUPLE2": lambda stack: stack.append(tuple(_pop_many(stack, 2))),
    "TUPLE3": lambda stack: stack.append(tuple(_pop_many(stack, 3))),
    "LIST": lambda stack: stack.append(_since_mark(stack)),
    "FROZENSET": lambda stack: stack.append(_since_mark(stack)),
    "DICT": _dict,
    "APPEND": _append_one,
    "APPENDS": _append_since_mark,
    "ADDITEMS": _append_since_mark,
    "SETITEM": _set_one,
    "SETITEMS": _set_since_mark,
    "BUILD": _build,
    "REDUCE": _made,
    "NEWOBJ": _made,
    "NEWOBJ_EX": lambda stack: _made(stack, 3),
    "OBJ": _object,
    "STACK_GLOBAL": _global_from_stack,
    "BINPERSID": lambda stack: stack.append(Reference(stack.pop())),
}
