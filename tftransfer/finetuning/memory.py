"""How much memory is free: of the machine, and of the group of processes that a container may be."""

import os
from pathlib import Path

__all__ = ["free_memory"]

_UNKNOWN = 2**33  # bytes that are taken to be free where the system does not say
_GROUP = Path("/sys/fs/cgroup")


def free_memory():
    """Bytes of memory that new data can take without others being pushed out.

    What Linux calls available, or what a container's limit leaves, whichever is less; elsewhere the free
    pages, and where nothing is said 8 GiB.

    Example:

    >>> free_memory() > 0
    True
    """
    return min(_of_machine(), _of_group())


def _of_machine():
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def _of_group():
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return max(int((_GROUP / limit).read_text()) - int((_GROUP / used).read_text()), 0)
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return float("inf")
