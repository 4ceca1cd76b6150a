"""What is refused: each line names what was found and what would be accepted."""

from pathlib import Path
from typing import Any

import pytest

import flame_rank
from flame_rank import UserError


@pytest.mark.parametrize(
    ("spec", "options", "found", "accepted"),
    [
        ("nonsense", {}, "--judge nonsense: ", "nor MODULE:FUNCTION or FILE.py:FUNCTION"),
        ("json:nothing", {}, "module 'json' has no attribute 'nothing'", "of a function f(prompt, pairs) -> log-odds"),
        ("no_module:f", {}, "No module named 'no_module'", "it is MODULE:FUNCTION or FILE.py:FUNCTION"),
        ("json:__name__", {}, "it is a str, not a function", "it is MODULE:FUNCTION or FILE.py:FUNCTION"),
        ("json:loads", {}, "loads is not a judge: called as f(prompt, pairs)", "it takes a text and a list of pairs"),
        ("json:loads", {"dtype": "float32"}, "json:loads takes no dtype", "leave it out"),
        (
            "default",
            {"ask": "verdict", "criteria": "x"},
            "default takes no ask, criteria",
            "it takes max_length, dtype",
        ),
        ("agreement", {"max_length": 3}, "agreement takes no max_length: it has no model", "leave it out"),
        ("votes:", {}, "--judge votes:: ", "name the judge that weights the votes (votes:JUDGE), or take votes"),
        ("none.toml", {}, "none.toml: No such file or directory", "FILE.toml names several judges"),
        ("none.toml", {"dtype": "float32"}, "takes no dtype", "write the options of each judge into the file"),
        ("hf:name", {}, "--judge hf:name", "write hf:ORG/NAME"),
        ("openai:m@ftp://x", {}, "openai:", "a URL begins with http:// or https://"),
        ("openai:m@http://h#sample=3", {}, "#sample", "no such option; this judge takes concurrency, deadline"),
        ("openai:m@http://h", {"dtype": "float32"}, "takes no dtype", "it takes ask, criteria, max_length, on_long"),
        ("openai:m@http://h", {"ask": "likelihood"}, "takes no --ask likelihood", "take --ask verdict or choice"),
        ("reward:m@http://h", {"criteria": "x"}, "takes no criteria", "leave it out"),
        ("default", {"criteria": "none.toml"}, "--criteria none.toml: No such file", "No such file"),
        (
            "FOLDER",
            {},
            "neither config.json (Hugging Face) nor judge.json is there, but a.txt",
            "name a folder that has",
        ),
        ("MODEL", {"reward_temperature": 2.0}, "takes no reward_temperature: it is not a reward model", "it takes ask"),
        ("MODEL", {"ask": "likelihood", "on_long": "cut"}, "takes no on_long", "it takes max_length"),
        ("MODEL", {"max_length": 9}, "max_length 9 leaves no room beside the instructions", "raise it to "),
        ("MODEL", {"max_length": 5000}, "max_length 5000 is more than the 4096 positions", "4096"),
        ("MODEL#think=no", {}, "#think=no", "it must be a whole number, 1 or more"),
    ],
)
def test_a_refusal_says_what_is_accepted(
    spec: str, options: dict[str, Any], found: str, accepted: str, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UserError) as caught:
        flame_rank.load_judge(spec.replace("FOLDER", str(tmp_path)).replace("MODEL", str(tiny_model)), **options)
    assert found in str(caught.value) and accepted in str(caught.value) and "\n" not in str(caught.value)


def test_the_length_that_is_named_is_enough(tiny_model: Path) -> None:
    with pytest.raises(UserError) as caught:
        flame_rank.load_judge(tiny_model, max_length=9)
    needed = int(str(caught.value).partition("raise it to ")[2].split()[0])
    flame_rank.load_judge(tiny_model, max_length=needed)
    with pytest.raises(UserError, match="leaves no room"):
        flame_rank.load_judge(tiny_model, max_length=needed - 1)
