"""Describes the fields of a dataclass of options: each has its help text, its unit and the limits of its value.

The options of a command are made from the same fields (flame_rank/cli/fields.py), so that nothing is described twice.
"""

import numbers
import operator
import textwrap
import types
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from flame_rank.errors import UserError

KEY = "described"  # of a field's metadata
_Value = TypeVar("_Value")
_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a field has besides its name, type and default.

    Attributes:
      help: one sentence for a user, with a full stop.
      automatic: a description of the value that is chosen if the field is None.
      unit: what a value is, in capitals: TOKENS, STEPS, FILE.
      option: the name of the command's option if it is not the field's own, with its dashes.
      short: a short name of the option, with its dash.
      choices: the values that the option takes, if the type of the field does not say so.
      exists: whether the option's file must be there.
      least, most: limits of a number, both allowed.
      above, below: limits of a number, both excluded.
    """

    help: str
    automatic: str | None = None
    unit: str | None = None
    option: str | None = None
    short: str | None = None
    choices: tuple[str, ...] | None = None
    exists: bool = False
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None


def described(default: _Value, help: str, **description: Any) -> _Value:
    """Makes a dataclass field with a default, a help text and the other attributes of `Description`."""
    made: _Value = field(default=default, metadata={KEY: Description(help=help, **description)})
    return made


def given(options: Any) -> dict[str, Any]:
    """Returns the fields of a dataclass of options that differ from their defaults, as keyword arguments."""
    values = {f.name: (getattr(options, f.name), f.default) for f in fields(options)}
    return {name: value for name, (value, default) in values.items() if value != default}


def documented(kind: type[Any]) -> Callable[[_Function], _Function]:
    """Writes the help of a dataclass's fields into a function's docstring, in place of the line `{options}`.

    The function's keyword arguments are the fields, so that `help()` says the same as the command's --help.
    """

    def document(function: _Function) -> _Function:
        before, line, after = (function.__doc__ or "").partition(
            "{options}"
        )  # without docstrings (-OO) nothing is done
        if line:
            indent = before[before.rindex("\n") + 1 :]
            function.__doc__ = before + f"\n{indent}".join(map(_argument(indent), described_fields(kind))) + after
        return function

    return document


def self_documented(kind: type[_Value]) -> type[_Value]:
    """Writes the help of a dataclass's fields into its own docstring, in place of the line `{options}`."""
    return documented(kind)(kind)


def described_fields(kind: type[Any]) -> "list[Field[Any]]":
    """Lists the fields of a dataclass that have a description, in their order."""
    return [f for f in fields(kind) if KEY in f.metadata]


class WrongType(UserError, TypeError):
    """The value of an option does not have the option's type."""


class OutOfRange(UserError, ValueError):
    """The value of an option is beyond the option's limits."""


def check_values(options: Any) -> None:
    """Compares the described fields of a dataclass of options with their annotations and limits.

    Raises:
      WrongType: a value has another type.
      OutOfRange: a number is beyond its limits.
    """
    hints = get_type_hints(type(options))
    for f in described_fields(type(options)):
        value = getattr(options, f.name)
        if not _has_type(value, hints[f.name]):
            raise WrongType(f"{f.name} is {value!r}; it must be {_words(hints[f.name])}")
        if value is not None and (wanted := _broken_limits(value, f.metadata[KEY])):
            raise OutOfRange(f"{f.name} is {value!r}; it must be {wanted}")


def _broken_limits(value: Any, description: Description) -> str | None:
    """Returns the limits of a number in words if it is beyond them; NaN is beyond any."""
    limits = {
        "at least": (description.least, operator.ge),
        "more than": (description.above, operator.gt),
        "at most": (description.most, operator.le),
        "less than": (description.below, operator.lt),
    }
    stated = {words: (limit, holds) for words, (limit, holds) in limits.items() if limit is not None}
    if all(holds(value, limit) for limit, holds in stated.values()):
        return None
    return " and ".join(f"{words} {limit}" for words, (limit, _) in stated.items())


_NUMBERS = {int: (numbers.Integral, "a whole number"), float: (numbers.Real, "a number")}
_WORDS = {str: "a string", bool: "True or False", Path: "a path", type(None): "None"}


def _has_type(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return any(_has_type(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        return isinstance(value, tuple | list) and all(_has_type(part, get_args(hint)[0]) for part in value)
    if hint in _NUMBERS:
        return isinstance(value, _NUMBERS[hint][0]) and not isinstance(value, bool)
    return isinstance(value, str | Path if hint is Path else hint)


def _words(hint: Any) -> str:
    """Describes a type for a message."""
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(map(_words, get_args(hint)))
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if hint in _NUMBERS:
        return _NUMBERS[hint][1]
    if get_origin(hint) is tuple:
        return f"a list of values, each {_words(get_args(hint)[0])}"
    return _WORDS[hint]


def _argument(indent: str) -> "Callable[[Field[Any]], str]":
    def argument(f: "Field[Any]") -> str:
        description: Description = f.metadata[KEY]
        default = description.automatic or "none" if f.default is None else f.default
        text = f"{f.name}: {description.help} Default: {default}."
        return textwrap.fill(text, 120 - len(indent), subsequent_indent=f"{indent}  ", break_on_hyphens=False)

    return argument
