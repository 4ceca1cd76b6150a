"""Reads several criteria from a TOML file (`--criteria FILE.toml`). The same model judges by each of them separately.

[[criteria]]
name = "correct"                 # the name of its entry in the record
text = "Prefer the response that states no falsehood."
weight = 2.0                     # the factor of its log-odds; 1 if left out

[[criteria]]
name = "short"
text = "Prefer the response that says it in fewer words."
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec

from flame_rank.errors import UserError
from flame_rank.judges.base import Judge
from flame_rank.judges.panel import PanelJudge

Text: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\S")]


class Criterion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One respect in which a response can be better.

    Attributes:
      name: the name of its entry in the record.
      text: the judge's instruction.
      weight: the factor of its log-odds in the sum, positive.
    """

    name: Text
    text: Text
    weight: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 1.0


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    criteria: Annotated[list[Criterion], msgspec.Meta(min_length=2)]


def is_criteria_file(criteria: object) -> bool:
    """Tells whether criteria are the name of a TOML file instead of a text."""
    return isinstance(criteria, str) and criteria.endswith(".toml") and "\n" not in criteria


def read(path: Path) -> list[Criterion]:
    """Reads the criteria of a file.

    Raises:
      UserError: the file cannot be read, or does not have the form above.
    """
    try:
        criteria = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).criteria
    except OSError as error:
        raise UserError(f"--criteria {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UserError(
            f"--criteria {path}: {error}; give two or more [[criteria]], each with name, text and perhaps weight"
        ) from error
    except RecursionError as error:
        raise UserError(f"--criteria {path}: nested too deeply") from error
    names = [criterion.name for criterion in criteria]
    if len({*names}) < len(names):
        raise UserError(f"--criteria {path}: two criteria have the same name; give each its own")
    return criteria


def combine(criteria: Sequence[Criterion], members: Sequence[Judge]) -> PanelJudge:
    """Makes a panel of one judge per criterion."""
    return PanelJudge(
        members, [criterion.weight for criterion in criteria], labels=[criterion.name for criterion in criteria]
    )
