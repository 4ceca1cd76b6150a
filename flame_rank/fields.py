"""Describes the fields of a dataclass of options: the help text, the unit and the limits of a value stand beside it.

The options of a command are made from the same fields (flame_rank/cli/fields.py), so that nothing is described twice.
"""

from dataclasses import dataclass, field
from typing import TypeVar

KEY = "described"  # of a field's metadata
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is known of a field beside its name, type and default.

    Attributes:
      help: one sentence for a user, with a full stop.
      automatic: in words, the value that is chosen if the field is None.
      unit: what a value is, in capitals: TOKENS, STEPS, FILE.
      option: the name of the command's option if it is not the field's own, with its dashes.
      least, most: limits of a number, both allowed.
      above, below: limits of a number, both excluded.
    """

    help: str
    automatic: str | None = None
    unit: str | None = None
    option: str | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None


def described(
    default: _Value,
    help: str,
    *,
    automatic: str | None = None,
    unit: str | None = None,
    option: str | None = None,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> _Value:
    """Makes a dataclass field with a default and a description; the arguments are those of `Description`."""
    description = Description(
        help=help,
        automatic=automatic,
        unit=unit,
        option=option,
        least=least,
        most=most,
        above=above,
        below=below,
    )
    made: _Value = field(default=default, metadata={KEY: description})
    return made
