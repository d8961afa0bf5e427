"""Imports of libraries without what we never use of them: start-up in half the time."""

import functools
import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

_COMPILER = "torch._dynamo"


def import_roma() -> None:
    """Import roma without PyTorch's compiler, which takes longer to load than PyTorch itself.

    roma asks the compiler to leave two of its functions alone. Here that is asked when such a function is called, if
    the compiler has been loaded by then; nothing changes for programs that use it.
    """
    if "roma" in sys.modules or _COMPILER in sys.modules:
        return
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


def _left_alone(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        compiler = sys.modules.get(_COMPILER)
        return (function if compiler is None else compiler.disable(function))(*arguments, **options)

    return call
