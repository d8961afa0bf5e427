"""Imports of libraries without what we never use of them: start-up in half the time."""

import functools
import importlib
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_COMPILER = "torch._dynamo"


def import_roma() -> None:
    """Import roma without PyTorch's compiler, which takes longer to load than PyTorch itself.

    roma asks the compiler to leave two of its functions alone. Here that is asked when such a function is called, if
    the compiler has been loaded by then; nothing changes for programs that use it.
    """
    if "roma" in sys.modules or _COMPILER in sys.modules:
        return
    with ctrl_c_afterwards():  # in the C++ part of PyTorch's import it would abort the process
        torch = importlib.import_module("torch")
    stand_in = types.ModuleType(_COMPILER)
    stand_in.disable = _left_alone  # type: ignore[attr-defined]
    stand_in.is_compiling = torch.compiler.is_compiling  # type: ignore[attr-defined]
    sys.modules[_COMPILER] = stand_in
    torch.__dict__["_dynamo"] = stand_in
    try:
        importlib.import_module("roma")
    finally:
        del sys.modules[_COMPILER]
        torch.__dict__.pop("_dynamo", None)  # the next use of torch._dynamo imports the real one


@contextmanager
def ctrl_c_afterwards() -> Iterator[None]:
    """Within, Ctrl-C is noted, and raises KeyboardInterrupt at the end. Where somebody else handles or ignores it, and
    outside of the main thread, nothing changes."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    noted: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: noted.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if noted:
        raise KeyboardInterrupt


def _left_alone(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        compiler = sys.modules.get(_COMPILER)
        return (function if compiler is None else compiler.disable(function))(*arguments, **options)

    return call
