"""Memory that stays with the process.

A step's temporary arrays are hundreds of megabytes, which glibc takes from the system and gives back each time: every
page is then touched for the first time in every step, and that costs a CPU more than the elementwise work on it.
"""

import ctypes
import platform

# <malloc.h>: blocks of any size come from the heap, whose free end is never given back; one heap for all threads.
_SETTINGS = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_ARENA_MAX": (-8, 1)}


def keep_freed_memory() -> None:
    """Lets the C library keep what is freed; to be called before jax starts its threads. Does nothing without glibc."""
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in _SETTINGS.values():
        mallopt(parameter, value)
