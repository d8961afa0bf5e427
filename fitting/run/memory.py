"""What glibc keeps of freed memory, without which a run takes some 120 MB more, and what Python looks through for
garbage. No PyTorch here."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator

_ARENA_MAX = -8


def share_memory_among_threads() -> None:
    """Let all threads allocate from one heap. By default glibc gives each thread a heap of its own, and each keeps what
    a batch has freed. Call it before threads start; other C libraries are left as they are."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library, or none by that name
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def give_back_freed_memory() -> None:
    """Return freed pages to the system: small blocks between them otherwise make the heap grow from batch to batch."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def no_garbage_among_what_stays() -> Iterator[None]:
    """Libraries and models that are loaded within stay until the process ends: Python does not look for garbage while
    they are loaded, and not among them afterwards."""
    looked_for = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looked_for:
            gc.enable()
