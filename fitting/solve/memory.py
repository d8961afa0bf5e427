"""How many people are solved at a time: no more than there is memory for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bodyfit.data.lazy import LazyModule

if TYPE_CHECKING:
    import torch
else:  # who only asks how much there is need not wait for it
    torch = LazyModule("torch")

BYTES_A_PERSON = 3_000_000  # measured: 0.7 MB on the open body, 2.3 with correctives of all joints on all landmarks
SHARE = 0.5  # of the free memory that a fit may take


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a device in bytes; None: unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_bytes_of_machine()


def free_bytes_of_machine() -> int | None:
    """Free memory in bytes: what the machine has and what the container allows; None: unknown."""
    known = [b for b in (_machine_bytes(), _container_bytes()) if b is not None]
    return min(known, default=None)


def people_at_once(free: int | None, workers: int, most: int) -> int:
    """People that each worker may solve at a time.

    Args:
        free: bytes of free memory; None: unknown.
        workers: groups of people that are solved side by side.
        most: more would gain nothing.
    """
    if free is None:
        return most
    return max(1, min(most, int(SHARE * free / (workers * BYTES_A_PERSON))))


def _machine_bytes() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _container_bytes(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Free memory under a container's limit (control groups, version 2 or 1); what files take in the cache can be
    freed, and does not count."""
    for folder, most, used, cache in (
        (root, "memory.max", "memory.current", "inactive_file"),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit, taken = ((folder / name).read_text().strip() for name in (most, used))
            if limit == "max":
                return None
            return max(0, int(limit) - int(taken) + _counted(folder / "memory.stat", cache))
        except (OSError, ValueError):
            continue
    return None


def _counted(file: Path, name: str) -> int:
    """A number of a control group's statistics; 0 where it is not there."""
    try:
        return int(dict(line.split() for line in file.read_text().splitlines()).get(name, 0))
    except (OSError, ValueError):
        return 0
