"""Modules that take seconds to import, imported when something of theirs is first used."""

import importlib
from typing import Any


class LazyModule:
    """Stands for a module under its name. Type checkers are shown the real one:

    if TYPE_CHECKING:
        import torch
    else:
        torch = LazyModule("torch")
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)
