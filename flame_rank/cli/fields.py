"""Makes a command's options from the described fields of a dataclass, and the dataclass from what a user gave."""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import click

from flame_rank.fields import KEY, Description

_Command = TypeVar("_Command", bound=Callable[..., Any])


def options(
    kind: type[Any], argument: str, *, without: tuple[str, ...] = (), **defaults: Any
) -> Callable[[_Command], _Command]:
    """Gives a command an option for each described field of a dataclass, and passes it the dataclass.

    Args:
      kind: a dataclass whose fields have defaults; a field without a description gets no option.
      argument: the name of the command's parameter that receives the dataclass.
      without: the names of fields for which this command has no option.
      defaults: this command's defaults, if they differ from those of the dataclass.
    """
    types = get_type_hints(kind)
    described = [f for f in dataclasses.fields(kind) if KEY in f.metadata and f.name not in without]
    parameters = {f.name: option_name(f)[2:].replace("-", "_") for f in described}

    def decorate(command: Any) -> Any:
        @functools.wraps(command)
        def with_dataclass(*arguments: Any, **values: Any) -> Any:
            own = defaults | {name: values.pop(parameter) for name, parameter in parameters.items()}
            try:
                values[argument] = kind(**own)
            except ValueError as error:
                raise click.UsageError(str(error)) from error
            return command(*arguments, **values)

        decorated: Any = with_dataclass
        for f in reversed(described):
            default = defaults.get(f.name, f.default)
            decorated = _click_option(f, parameters[f.name], types[f.name], default)(decorated)
        return decorated

    return decorate


def option_name(f: "dataclasses.Field[Any]") -> str:
    description: Description = f.metadata[KEY]
    return description.option or "--" + f.name.replace("_", "-")


def _click_option(f: "dataclasses.Field[Any]", parameter: str, hint: Any, default: Any) -> Callable[[Any], Any]:
    description: Description = f.metadata[KEY]
    hint = next(part for part in _parts(hint) if part is not type(None))  # the others are for Python alone
    settings: dict[str, Any] = {"help": description.help, "metavar": description.unit, "default": default}
    names = (*([description.short] if description.short else []), option_name(f), parameter)
    if hint is bool:
        return click.option(*names, is_flag=True, default=default, help=description.help)
    # click shows a text in parentheses: "[default: (as many as fit in memory)]".
    settings["show_default"] = description.automatic or False if default is None else True
    if get_origin(hint) is tuple:
        settings |= {"multiple": True, "show_default": False}
        hint = get_args(hint)[0]
    return click.option(*names, type=_click_type(hint, description), **settings)


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _click_type(hint: Any, description: Description) -> Any:
    if description.choices is not None:
        return click.Choice(description.choices)
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint))
    if hint is Path:
        return click.Path(exists=description.exists, dir_okay=False, path_type=Path)
    limits: dict[str, Any] = {
        "min": description.least if description.above is None else description.above,
        "max": description.most if description.below is None else description.below,
        "min_open": description.above is not None,
        "max_open": description.below is not None,
    }
    if hint is float:
        return _Finite(**limits)
    if limits["min"] is None and limits["max"] is None:
        return hint
    return click.IntRange(**limits)


class _Finite(click.FloatRange):
    """A number in a range, other than NaN, which click's own range type would accept."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
