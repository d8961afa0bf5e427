"""Tensors out of a PyTorch checkpoint without running anything it asks for.

`torch.load(weights_only=True)` does this for plain checkpoints. Old Lightning ones also pickle callbacks, loggers and
configuration objects, which it refuses. For those a second unpickler builds tensors as usual, and in the place of every
other object an inert `Ignored`: a class of ours that takes any arguments, does nothing and is thrown away.
"""

import collections
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from bodyfit.data.errors import BodyfitError

_MAX_BYTES = 1 << 30
_REBUILD = {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"}


class Ignored:
    """Stands where the checkpoint wanted something that is not a tensor."""

    def __new__(cls, *args: object, **kwargs: object) -> "Ignored":
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None:
        """What the pickle machine calls for lists."""

    def extend(self, items: object) -> None:
        """What the pickle machine calls for lists."""

    def __hash__(self) -> int:
        return id(self)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in _REBUILD:
            return getattr(torch._utils, name)
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return getattr(torch, name, None) or getattr(torch.storage, name, Ignored)
        if (module, name) == ("torch", "Size"):
            return torch.Size
        # A class of its own each time, so that callbacks used as dictionary keys stay different keys.
        return type("Ignored", (Ignored,), {})


def _load(file: Any, **kwargs: Any) -> Any:
    return _Unpickler(file, **kwargs).load()


# What torch.load wants of a pickle module.
_PICKLE_MODULE = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="bodyfit_restricted_pickle")


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint: its `state_dict` entry (Lightning), or the whole. Raises BodyfitError."""
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise BodyfitError(f"{path}: {size / 1e9:.1f} GB is no VPoser checkpoint (the released ones are a few MB)")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        content = _load_ignoring(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise BodyfitError(f"{path}: expected a dictionary of tensors, found {type(content).__name__}")
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _load_ignoring(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_PICKLE_MODULE)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BodyfitError(f"{path}: not a PyTorch checkpoint, or a damaged one ({reason}). Get it again") from None
