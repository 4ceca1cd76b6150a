"""Decides which pairs of candidates a judge is asked about, and what the answers mean; works with numbers only.

Importing this package does not import numpy: a name loads its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from strategies.active import Active as Active
    from strategies.base import Counted as Counted
    from strategies.base import Order as Order
    from strategies.base import Schedule as Schedule
    from strategies.base import Standing as Standing
    from strategies.base import Strategy as Strategy
    from strategies.double_elimination import DoubleElimination as DoubleElimination
    from strategies.heap import Heap as Heap
    from strategies.knockout import Knockout as Knockout
    from strategies.merge import Merge as Merge
    from strategies.pivot import Pivot as Pivot
    from strategies.pointwise import Pointwise as Pointwise
    from strategies.posterior import standing as standing
    from strategies.round_robin import RoundRobin as RoundRobin
    from strategies.swiss import Swiss as Swiss
    from strategies.window import Window as Window

OWNER: Final = "flame_rank"  # `strategies` is a common name: flame_rank checks that the package it got is this one

_CLASSES = {  # name of a strategy -> its class
    "round-robin": "RoundRobin",
    "knockout": "Knockout",
    "double-elimination": "DoubleElimination",
    "swiss": "Swiss",
    "merge": "Merge",
    "heap": "Heap",
    "window": "Window",
    "pivot": "Pivot",
    "active": "Active",
    "pointwise": "Pointwise",
}
NAMES: Final = tuple(_CLASSES)

_MODULES = {  # name handed on -> where it lives
    **{_CLASSES[name]: f"strategies.{name.replace('-', '_')}" for name in _CLASSES},
    **dict.fromkeys(("Counted", "Order", "Schedule", "Standing", "Strategy"), "strategies.base"),
    "standing": "strategies.posterior",
}


def by_name(name: str, **options: Any) -> "Counted":
    """Makes the strategy with this name.

    Args:
      name: one of NAMES.
      options: the fields of the strategy's class, such as order="both".

    Raises:
      ValueError: no strategy has this name, or an option has an invalid value.
      TypeError: the strategy does not have one of these options.
    """
    if name not in _CLASSES:
        from difflib import get_close_matches

        nearest = get_close_matches(name, NAMES, n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"no strategy has the name {name!r}; the names are {', '.join(NAMES)}{hint}")
    strategy: Counted = __getattr__(_CLASSES[name])(**options)
    return strategy


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'strategies' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({"NAMES", "by_name", *_MODULES})
