"""How many processes solve, where the user leaves that open: one per CPU core, where that pays and there is memory."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from pathlib import Path

from bodyfit.fitting.solve.memory import free_bytes_of_machine

log = logging.getLogger(__name__)

FIRST_BYTES, EACH_BYTES = 600_000_000, 250_000_000
"""Memory of a run with one solving process, and of each further one. Measured with the open body: 570 to 600 MB, and
some 60 more; official bodies, of which each has a part in memory, take more."""
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def solving_processes(inputs: int, batch: int, cores: int, free: int | None) -> int:
    """How many processes solve on a CPU: one per core, since processes are faster than threads of one process, but none
    without a batch of its own, and no more than there is memory for.

    Args:
        inputs: of the run.
        batch: people per batch.
        cores: that this process may use.
        free: bytes of memory; None: unknown.
    """
    count = min(cores, -(-inputs // batch))
    if free is not None:
        count = min(count, 1 + int(max(0, free - FIRST_BYTES) / EACH_BYTES))
    return max(1, count)


def chosen_processes(inputs: int, batch: int, cores: int) -> int:
    """`solving_processes` of this machine; says so where it is not one."""
    free = free_bytes_of_machine()
    count, wanted = solving_processes(inputs, batch, cores, free), solving_processes(inputs, batch, cores, None)
    if count < wanted:
        there = "1 solving process" if count == 1 else f"{count} solving processes"
        log.info("%s: for %d, one per core, there is too little memory (%.1f GB free)", there, wanted, free / 1e9)
    elif count > 1:
        log.info("%d solving processes for %d cores (--workers 1: a single one, in less memory)", count, cores)
    return count


def may_have_gpu(device: str) -> bool:
    """Whether a fit on this device may compute on a GPU, as far as can be told before PyTorch is loaded."""
    if device != "auto":
        return device != "cpu"
    try:
        built_without = "+cpu" in importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        built_without = False
    return not built_without and any(Path(name).exists() for name in _GPU_DEVICES)
