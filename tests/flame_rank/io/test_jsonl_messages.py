"""Files whose prompts and candidates are chat messages."""

import json
from pathlib import Path
from typing import Any

import pytest

from flame_rank.io.jsonl import read_problems
from flame_rank.io.lines import BadLine
from flame_rank.io.output import to_lines
from flame_rank.ranking.reranker import Reranker
from flame_rank.records import Problem

ASKED = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]
WRITTEN = "[system]\nBe short.\n\n[user]\nHi"
ANSWER = {"role": "assistant", "content": "Hello"}


def read(tmp_path: Path, *lines: dict[str, Any]) -> list[Problem]:
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return list(read_problems(tmp_path / "f.jsonl"))


@pytest.mark.parametrize("key", ["prompt", "messages", "conversations"])
def test_a_prompt_of_messages(tmp_path: Path, key: str) -> None:
    asked = ASKED
    if key == "conversations":
        asked = [{"from": "system", "value": "Be short."}, {"from": "human", "value": "Hi"}]
    line: dict[str, Any] = {key: asked, "candidates": ["a", [ANSWER], ANSWER, {"text": "b", "n": 1}]}
    [problem] = read(tmp_path, line)
    assert problem.prompt == WRITTEN and problem.texts == ("a", "Hello", "Hello", "b")
    ranking = Reranker(lambda prompt, pairs: [0.0] * len(pairs)).rank(problem)
    written = json.loads(to_lines(ranking, top=4))
    assert written[key] == asked and written["candidates"] == line["candidates"]
    assert sorted(map(str, written["top"])) == sorted(map(str, line["candidates"]))


def test_a_row_of_a_table_has_null_for_what_it_lacks(tmp_path: Path) -> None:
    answers = {"candidates": ["a", "b"]}
    problems = read(
        tmp_path,
        {"prompt": None, "messages": ASKED, **answers},
        {"prompt": "Hi", "messages": None, **answers},
        {"messages": None, "conversations": [{"from": "human", "value": "Hi"}], **answers},
    )
    assert [problem.prompt for problem in problems] == [WRITTEN, "Hi", "Hi"]
    with pytest.raises(BadLine, match='"prompt" is null, not a string'):
        read(tmp_path, {"prompt": None, "messages": None, **answers})


def test_samples_of_messages(tmp_path: Path) -> None:
    lines = [{"task_id": k // 2, "messages": ASKED, "completion": [ANSWER] if k % 2 else "a"} for k in range(4)]
    problems = read(tmp_path, *lines)
    assert [problem.prompt for problem in problems] == [WRITTEN, WRITTEN]
    assert problems[0].texts == ("a", "Hello")


def test_tool_calls_are_judged(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    [problem] = read(tmp_path, {"prompt": "Oslo?", "candidates": [[answer], "rain"]})
    assert problem.texts[0] == '[assistant]\n\n\n[call id="c" name="weather"]\n{"city": "Oslo"}'


@pytest.mark.parametrize("key", ["messages", "conversations"])
@pytest.mark.parametrize(("value", "kind"), [("Hi", "a string"), ({"role": "user"}, "an object"), (None, "null")])
def test_a_text_is_no_list_of_messages(tmp_path: Path, key: str, value: Any, kind: str) -> None:
    with pytest.raises(
        BadLine, match=f'"{key}" is {kind}; it must be a list of chat messages; put a text into "prompt"'
    ):
        read(tmp_path, {key: value, "candidates": ["a", "b"]})


def test_images_are_refused(tmp_path: Path) -> None:
    picture = [{"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {}}]}]
    with pytest.raises(BadLine, match=r'f\.jsonl:1: "messages": message 0 has an image in it; only text is judged'):
        read(tmp_path, {"messages": picture, "candidates": ["a"]})
    with pytest.raises(BadLine, match=r"f\.jsonl:1: candidate 0: message 0 has an image in it"):
        read(tmp_path, {"prompt": "p", "candidates": [picture]})
