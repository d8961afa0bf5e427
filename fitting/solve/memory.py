"""How many people are solved at a time: no more than there is memory for."""

from __future__ import annotations

import os
from pathlib import Path

import torch

BYTES_A_PERSON = 3_000_000  # measured: 0.7 MB on the open body, 2.3 with correctives of all joints on all landmarks
SHARE = 0.5  # of the free memory that a fit may take


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a device in bytes: what the machine has and what the container allows; None: unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
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
    """Free memory under a container's limit (control groups, version 2)."""
    try:
        limit, used = ((root / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return None if limit == "max" else max(0, int(limit) - int(used))
    except (OSError, ValueError):
        return None
