"""A run is resumed with the settings that it was begun with."""

import json
from pathlib import Path

import pytest

from flame_rank.errors import UserError
from flame_rank.io.run_settings import check_settings, differing


def test_a_run_is_resumed_with_its_own_settings_only(tmp_path: Path) -> None:
    path, settings = tmp_path / "recipe.json", {"rate": 0.5, "steps": 3, "seed": 0}
    check_settings(path, settings)
    assert not path.exists()
    path.write_text(json.dumps(settings))
    check_settings(path, settings)
    check_settings(path, settings | {"steps": 4}, may_differ=["steps"])
    with pytest.raises(UserError, match=f"{path}: {tmp_path} was begun with another rate, steps; give another --out"):
        check_settings(path, settings | {"steps": 4, "rate": 0.25})
    path.write_text("[]")
    with pytest.raises(UserError, match=r"recipe.json: .*; delete it, or give another --out"):
        check_settings(path, settings)


def test_a_name_that_one_lacks_differs() -> None:
    assert differing({"a": 1, "b": 2}, {"b": 2, "c": 3}) == ["a", "c"]
