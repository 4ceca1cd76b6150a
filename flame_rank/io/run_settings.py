"""Compares the settings of a run with those that it was begun with, so that it is resumed with the same ones only."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from flame_rank.errors import UserError
from flame_rank.io import json_file


def check_settings(path: Path, settings: Mapping[str, Any], *, may_differ: Collection[str] = ()) -> None:
    """Compares settings with those that an earlier start of the run wrote, if there was one.

    Args:
      path: a JSON file in the folder of the run, which may be missing.
      settings: the settings of this start, with values as JSON reads them back.
      may_differ: the names of settings that may change from start to start.

    Raises:
      UserError: the file is damaged, or another setting differs.
    """
    if not path.exists():
        return
    before = json_file.read(path, dict[str, Any], remedy="delete it, or give another --out")
    if names := [name for name in differing(before, settings) if name not in may_differ]:
        raise UserError(
            f"{path}: {path.parent} was begun with another {', '.join(names)}; give another --out, or the same "
            "arguments as before"
        )


def differing(settings: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """Returns the sorted names whose values differ, or which only one of the two has."""
    return sorted(name for name in settings.keys() | others.keys() if settings.get(name) != others.get(name))
