"""Loads a panel or a cascade from a TOML file (`--judge FILE.toml`).

kind = "cascade"                 # or "panel"
sure = 0.95                      # for a cascade; see judges/panel.py

[[judges]]                       # for a cascade, the cheap judge first
judge = "default"

[[judges]]
judge = "openai:MODEL@URL"       # whatever --judge takes, with its options by their names in Python
max_length = 4096
weight = 2.0                     # for a panel
"""

import tomllib
from contextvars import ContextVar
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from flame_rank.errors import UserError
from flame_rank.judges.base import Judge
from flame_rank.judges.options import JudgeOptions
from flame_rank.judges.panel import CascadeJudge, PanelJudge

_OPTIONS = {option.name for option in fields(JudgeOptions)}


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Literal["panel", "cascade"]
    judges: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=2)]
    sure: float | None = None
    hopeless: float | None = None


def is_judge_file(spec: str | Path) -> bool:
    """Tells whether a judge's name is the name of a TOML file."""
    return str(spec).endswith(".toml")


_loading: ContextVar[tuple[Path, ...]] = ContextVar("_loading", default=())  # the files that name the one under reading


def load(path: Path) -> Judge:
    """Loads the judges of a file and combines them.

    Raises:
      UserError: the file cannot be read, names itself or does not have the form above, or one of its judges cannot be
        loaded.
    """
    outer, own = _loading.get(), path.resolve()
    if own in outer:
        raise UserError(f"{path}: the file names itself as one of its judges; name another judge")
    token = _loading.set((*outer, own))
    try:
        return _load(path)
    finally:
        _loading.reset(token)


def _load(path: Path) -> Judge:
    from flame_rank import judges

    try:
        stated = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except OSError as error:
        raise UserError(f"--judge {path}: {error.strerror or error}; FILE.toml names several judges") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UserError(f'{path}: {error}; a judge file has kind = "panel" or "cascade" and [[judges]]') from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply") from error
    stops = {name: value for name in ("sure", "hopeless") if (value := getattr(stated, name)) is not None}
    if stops and stated.kind == "panel":
        raise UserError(f"{path}: {', '.join(stops)} applies to a cascade only")
    members, weights = [], []
    for number, options in enumerate(stated.judges, 1):
        spec, weight = options.pop("judge", None), options.pop("weight", None)
        if not isinstance(spec, str):
            raise UserError(f'{path}: [[judges]] {number} has no judge = "..."')
        if weight is not None and (stated.kind == "cascade" or type(weight) not in (int, float)):
            raise UserError(f"{path}: [[judges]] {number}: weight must be a number, and is for a panel only")
        if unknown := sorted(set(options) - _OPTIONS):
            known = ", ".join(["weight", *sorted(_OPTIONS)])
            raise UserError(f"{path}: [[judges]] {number} ({spec}) has no option {', '.join(unknown)}; it has {known}")
        try:
            members.append(judges.load(spec, **options))
        except TypeError as error:
            raise UserError(f"{path}: [[judges]] {number} ({spec}): {error}") from error
        except UserError as error:
            raise UserError(f"{path}: [[judges]] {number}: {error}") from error
        weights.append(1.0 if weight is None else weight)
    try:
        if stated.kind == "panel":
            return PanelJudge(members, weights)
        if len(members) != 2:
            raise ValueError(f"a cascade must have two judges, not {len(members)}")
        return CascadeJudge(*members, **stops)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
