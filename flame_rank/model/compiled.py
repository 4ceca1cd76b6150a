"""Keeps the number of compiled programs within what a process can hold.

Linux allows a process a number of memory maps (vm.max_map_count, 65,530 by default), and a program that XLA compiles
for a CPU takes about twenty: some three thousand programs, and the next one fails as if memory were exhausted.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax

_USED, _ALLOWED = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")


class Compiled:
    """The compiled programs of some jitted functions."""

    def __init__(self, *functions: Callable[..., Any]):
        self._functions = functions
        self._seen = 0

    @property
    def count(self) -> int:
        """The number of programs compiled so far, without those that were dropped."""
        return sum(cast(Any, f)._cache_size() for f in self._functions)

    def make_room(self) -> None:
        """Drops all programs of the process if half of the memory maps that it may have are in use. Those that are
        called again are compiled again."""
        # The maps are counted only where programs were added, because reading thousands of them takes milliseconds.
        if self.count != self._seen and maps_are_scarce():
            jax.clear_caches()
        self._seen = self.count


def maps_are_scarce() -> bool:
    """Returns whether this process has half of the memory maps that it may have; False where it is not known."""
    try:
        with _USED.open("rb") as maps:
            return 2 * sum(1 for _ in maps) > int(_ALLOWED.read_text())
    except OSError:
        return False
