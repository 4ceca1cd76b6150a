"""Reads the options after the `#` in `--judge NAME#OPTIONS`: NAME=VALUE, separated by commas."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar, cast

from flame_rank.errors import UserError

T = TypeVar("T")


class Kind(NamedTuple):
    """The kind of an option's value.

    Attributes:
      takes: tells whether a text is such a value.
      read: converts the text to the value.
      what: its description in messages.
    """

    takes: Callable[[str], bool]
    read: Callable[[str], Any]
    what: str


def whole(least: int) -> Kind:
    """Returns the kind of whole numbers from `least` up."""
    return Kind(
        lambda text: text.isascii() and text.isdigit() and int(text) >= least, int, f"a whole number, {least} or more"
    )


def number(takes: Callable[[float], bool], what: str) -> Kind:
    """Returns the kind of finite numbers that `takes` accepts."""

    def taken(text: str) -> bool:
        try:
            return math.isfinite(float(text)) and takes(float(text))
        except ValueError:
            return False

    return Kind(taken, float, what)


_POSITIVE = number(lambda value: value > 0, "a positive number")
DRAWN = {
    "think": whole(1),
    "samples": whole(1),
    "temperature": number(lambda value: value >= 0, "a number, 0 or more"),
    "top_p": number(lambda value: 0 < value <= 1, "a number above 0, and 1 at most"),
}


def read(options: Callable[..., T], spec: str, stated: str, kinds: Mapping[str, Kind]) -> T:
    """Reads options.

    Args:
      options: a dataclass of the options.
      spec: the value of `--judge`, for messages.
      stated: the text after the `#`.
      kinds: the kinds of the values by name; the default is a positive number.

    Raises:
      UserError: an option does not exist, or does not take its value.
    """
    names = {option.name for option in fields(cast(Any, options))}
    given = {}
    for part in filter(None, stated.split(",")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        name = name.replace("-", "_")
        if not equals:
            raise UserError(f"--judge {spec}: {part!r} after the # is not NAME=VALUE")
        if name not in names:
            raise UserError(f"--judge ...#{name}: no such option; this judge takes {', '.join(sorted(names))}")
        kind = kinds.get(name, _POSITIVE)
        if not kind.takes(value):
            raise UserError(f"--judge ...#{name}={value}: it must be {kind.what}")
        given[name] = kind.read(value)
    return options(**given)
