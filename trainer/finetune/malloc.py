"""Lets a process that trains on a CPU keep the memory that it frees.

A step has gigabytes of temporary arrays, which glibc would request from the system and return each time. Every page
would then be new in every step, which costs more than the elementwise work on it.
"""

import ctypes
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

# <malloc.h>: take blocks of any size from the heap, never give back its free end, and have one heap for all threads.
_SETTINGS = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_ARENA_MAX": (-8, 1)}


@cache
def _libc() -> Any:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


@cache
def memory() -> int:
    """Returns the number of bytes that this process may use."""
    limit = Path("/sys/fs/cgroup/memory.max")
    stated = limit.read_text().strip() if limit.exists() else "max"
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return machine if stated == "max" else min(machine, int(stated))


def keep_freed_memory() -> None:
    """Lets the C library keep freed memory; call it before jax starts its threads. It does nothing without glibc."""
    if libc := _libc():
        for parameter, value in _SETTINGS.values():
            libc.mallopt(parameter, value)


def give_back() -> None:
    """Gives free memory back to the system if this process holds more than half of all memory; otherwise, the compiled
    program for each shape would keep a block of its own."""
    if libc := _libc():
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if resident > memory() / 2:
            libc.malloc_trim(0)
