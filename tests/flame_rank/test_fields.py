"""Options as dataclasses: the types and limits of their values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from flame_rank.errors import UserError
from flame_rank.fields import check_values, described


@dataclass(frozen=True, kw_only=True)
class Some:
    count: int | None = described(None, "A number.")
    rate: float = described(0.5, "A rate.")
    way: Literal["a", "b"] = described("a", "A way.")
    flag: bool = described(False, "A flag.")
    names: tuple[str, ...] = described((), "Names.")
    file: Path | None = described(None, "A file.")
    share: float = described(0.5, "A share.", above=0, most=1)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"count": 3, "rate": 1, "way": "b", "flag": True, "names": ("x",), "file": Path("f")},
        {"count": np.int64(3), "rate": np.float32(0.5), "names": ["x", "y"], "file": "f"},
    ],
)
def test_right_types_pass(values: dict[str, Any]) -> None:
    check_values(Some(**values))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": "3"}, "count is '3'; it must be a whole number or None"),
        ({"count": 2.0}, "count is 2.0; it must be a whole number or None"),
        ({"count": True}, "count is True; it must be a whole number or None"),
        ({"rate": None}, "rate is None; it must be a number"),
        ({"way": "c"}, "way is 'c'; it must be 'a' or 'b'"),
        ({"flag": 1}, "flag is 1; it must be True or False"),
        ({"names": "xy"}, "names is 'xy'; it must be a list of values, each a string"),
        ({"names": [1]}, r"names is \[1\]; it must be a list of values, each a string"),
        ({"file": 3}, "file is 3; it must be a path or None"),
        ({"share": 0}, "share is 0; it must be more than 0 and at most 1"),
        ({"share": 1.5}, "share is 1.5; it must be more than 0 and at most 1"),
        ({"share": float("nan")}, "share is nan; it must be more than 0 and at most 1"),
    ],
)
def test_another_type_or_number_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_values(Some(**values))
