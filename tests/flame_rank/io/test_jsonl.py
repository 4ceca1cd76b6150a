"""Files of problems: what is read, what is refused with its line, and what memory it takes."""

import gzip
import io
import json
import os
import re
import threading
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from flame_rank.io.jsonl import read_problems
from flame_rank.io.lines import BadLine, EmptyInput
from flame_rank.records import Candidate, Problem

GOOD = b'{"prompt": "p", "candidates": ["a", "b"]}'
SAMPLE = b'{"task_id": "t", "prompt": "p", "completion": "a"}'


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def until_bad(problems: Iterable[Problem]) -> tuple[list[str], str]:
    """Names of the problems before the bad line, and what its error says."""
    names = []
    with pytest.raises(BadLine) as caught:
        for problem in problems:
            names.append(problem.name)
    return names, str(caught.value)


def sample(task: Any, text: str, **more: Any) -> bytes:
    return json.dumps({"task_id": task, "completion": text, "prompt": f"prompt {task}"} | more).encode()


BAD = {
    "broken JSON": (
        b'{"prompt": "p", "candi',
        "not JSON (Input data was truncated); mend or remove the line",
    ),
    "broken JSON inside an unknown field": (b'{"prompt":"p","candidates":["a"],"x":{"y":[1,}}', "not JSON"),
    "two values": (GOOD + GOOD, "not JSON"),
    "NaN": (b'{"prompt": "p", "candidates": ["a"], "score": NaN}', "not JSON"),
    "half a surrogate pair": (b'{"prompt": "p", "candidates": ["\\ud800"]}', "not JSON"),
    "half a surrogate pair, unknown": (b'{"prompt": "p", "candidates": ["a"], "x": "\\ud800."}', "not JSON"),
    "broken UTF-8": (b'{"prompt": "p", "candidates": ["\xff"]}', "not UTF-8 at byte 33; convert"),
    "broken UTF-8, unknown": (b'{"prompt": "p", "candidates": ["a"], "x": [{"y": "\xc3"}]}', "not UTF-8"),
    "broken UTF-8 in a key": (b'{"prompt": "p", "candidates": ["a"], "\xff": 1}', "not UTF-8"),
    "UTF-16": (b"\xff\xfe{\x00", "not UTF-8 at byte 1"),
    "a list": (b'["p", ["a"]]', "not a JSON object"),
    "a number": (b"3", "not a JSON object"),
    "nested": (b'{"x": ' + b"[" * 99999 + b"]" * 99999 + b"}", "nested too deeply"),
    "no candidates": (b'{"prompt": "p"}', 'no candidates; give them as a list in "candidates" (or'),
    "empty candidates": (b'{"prompt": "p", "candidates": []}', "no candidates: a problem has at least one"),
    "candidates as text": (b'{"prompt": "p", "candidates": "a"}', '"candidates" is a string, not a list'),
    "candidate of no text": (
        b'{"prompt": "p", "candidates": ["a", 3]}',
        "candidate 1 is a number; it must be a str",
    ),
    "candidate null": (b'{"prompt": "p", "candidates": [null]}', "candidate 0 is null"),
    "object without text": (
        b'{"prompt": "p", "candidates": [{"id": 1}]}',
        "candidate 0: no text; give it as",
    ),
    "object with no string": (
        b'{"prompt": "p", "candidates": [{"text": 1}]}',
        '0: "text" is a number, not a',
    ),
    "no prompt": (b'{"candidates": ["a"]}', 'no "prompt"; add one'),
    "prompt of an image": (
        b'{"prompt": [{"role": "user", "content": [{"type": "image_url"}]}], "candidates": ["a"]}',
        '"prompt": message 0 has an image in it; only text is judged',
    ),
    "prompt of parts": (b'{"prompt": ["p"], "candidates": ["a"]}', '"prompt" is a list, but not of messages'),
    "prompt null": (b'{"prompt": null, "candidates": ["a"]}', '"prompt" is null, not a string'),
    "another thing": (
        b'{"x": 1}',
        'neither a problem ("prompt" and "candidates") nor a sample ("task_id" and',
    ),
    "no group": (b'{"prompt": "p", "completion": "a"}', 'a sample without "task_id"; name the field'),
}

BAD_SAMPLES = {
    "text of no string": (
        b'{"task_id": "t", "prompt": "p", "completion": null}',
        '"completion" is null, not a',
    ),
    "group of no string": (
        b'{"task_id": 1.5, "prompt": "p", "completion": "a"}',
        '"task_id" is a number; it must be',
    ),
    "group true": (b'{"task_id": true, "prompt": "p", "completion": "a"}', '"task_id" is true'),
    "group null": (b'{"task_id": null, "prompt": "p", "completion": "a"}', '"task_id" is null'),
    "no prompt": (b'{"task_id": "t", "completion": "a"}', 'no "prompt"; add one'),
    "another prompt": (
        b'{"task_id": "t", "prompt": "q", "completion": "a"}',
        "its prompt differs from that of line 1, which has",
    ),
    "a problem": (GOOD, "a whole problem, in a file of samples"),
}


NO_LINES = [case for case, (_, words) in BAD.items() if words.startswith(("not ", "nested", "neither", "a sample"))]


@pytest.mark.parametrize("case", BAD)
def test_bad_line(tmp_path: Path, case: str) -> None:
    line, words = BAD[case]
    file = write(tmp_path / "f.jsonl", GOOD, b"", line, GOOD)
    names, said = until_bad(read_problems(file))
    assert said.startswith(f"{file}:3: ") and words in said and "\n" not in said
    assert names == [f"{file}:1"]
    bad: list[tuple[int, bytes]] = []
    read = list(read_problems(file, on_bad_line=lambda e, raw: bad.append((e.line_number, raw))))
    assert [p.name for p in read] == [f"{file}:1", f"{file}:4"] and bad == [(3, line + b"\n")]
    alone = write(tmp_path / "alone.jsonl", line)
    with pytest.raises(EmptyInput, match=r"alone.jsonl: no problem in it"):
        list(read_problems(alone, on_bad_line=lambda *_: None))


@pytest.mark.parametrize("case", [*BAD_SAMPLES, *NO_LINES])
def test_bad_line_among_samples(tmp_path: Path, case: str) -> None:
    line, words = (BAD | BAD_SAMPLES)[case]
    file = write(tmp_path / "f.jsonl", SAMPLE, line, SAMPLE)
    _, said = until_bad(read_problems(file))
    assert said.startswith(f"{file}:2: ") and words in said and "\n" not in said
    bad: list[bytes] = []
    [problem] = read_problems(file, on_bad_line=lambda _, raw: bad.append(raw))
    assert problem.texts == ("a", "a") and bad == [line + b"\n"]


def test_a_sample_among_problems_is_bad(tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD, SAMPLE)
    assert "a single sample, in a file of whole problems" in until_bad(read_problems(file))[1]


def test_the_first_good_line_decides(tmp_path: Path) -> None:
    file = write(tmp_path / "f", BAD_SAMPLES["no prompt"][0], GOOD)
    assert [p.texts for p in read_problems(file, on_bad_line=lambda *_: None)] == [("a", "b")]


def test_two_good_then_broken(tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD, GOOD, b"{", GOOD)
    names, said = until_bad(read_problems(file))
    assert names == [f"{file}:1", f"{file}:2"] and said.startswith(f"{file}:3: ")


@pytest.mark.parametrize("content", [b"", b"\n\n  \r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "f"
    file.write_bytes(content)
    with pytest.raises(EmptyInput, match=f"{file}: no problem in it"):
        list(read_problems(file))


def test_missing_files_and_folders_are_os_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(read_problems(tmp_path / "nowhere"))
    with pytest.raises(IsADirectoryError):
        list(read_problems(tmp_path))


def test_bom_crlf_and_no_final_newline(tmp_path: Path) -> None:
    for first, last in [(GOOD, GOOD), (SAMPLE, SAMPLE)]:
        file = tmp_path / "f"
        file.write_bytes(b"\xef\xbb\xbf" + first + b"\r\n\r\n" + last)
        texts = [t for p in read_problems(file) for t in p.texts]
        assert texts == (["a", "b"] * 2 if first is GOOD else ["a", "a"])


@pytest.mark.parametrize("key", ["candidates", "samples", "completions", "responses"])
def test_grouped_forms(tmp_path: Path, key: str) -> None:
    objects = [{"text": "x", "id": 1}, "y", {"completion": "z"}, {"response": "x", "text_length": 2}, "y"]
    lines = [{"prompt": "p", key: objects, "task_id": "T/0"}, {"prompt": "q", key: ["only"]}]
    file = write(tmp_path / "f", *(json.dumps(line).encode() for line in lines))
    one, other = read_problems(file)
    assert one.texts == ("x", "y", "z", "x", "y") and other.texts == ("only",)
    assert isinstance(one.candidates[0], Candidate) and one.candidates[1] == "y"
    assert dict(one.candidates[0].fields) == {"id": 1}
    assert (one.name, other.name) == ("T/0", f"{file}:2")


def test_prompts_are_looked_up_by_group(tmp_path: Path) -> None:
    known = {"t": "of t", "7": "of 7"}
    own = b'{"task_id": "o", "prompt": "own", "text": "b"}'
    file = write(tmp_path / "f", b'{"task_id": "t", "text": "a"}', own, b'{"task_id": 7, "response": "c"}')
    read = list(read_problems(file, prompts=known.get))
    assert [(p.name, p.prompt, p.texts) for p in read] == [
        ("t", "of t", ("a",)),
        ("o", "own", ("b",)),
        ("7", "of 7", ("c",)),
    ]
    _, said = until_bad(read_problems(file, prompts={"t": "of t"}.get))
    assert said == f'{file}:3: no "prompt" and none is known for task_id 7; add one, a string'


def interleaved() -> bytes:
    lines = [sample("b", "1"), sample("a", "2"), b"", sample("b", "3"), sample(5, "4"), sample("a", "2")]
    return b"\n".join([*lines, sample("5", "6"), sample("b", "7")])


WHOLE = [("b", ("1", "3", "7")), ("a", ("2", "2")), ("5", ("4",)), ("5", ("6",))]  # 5 and "5" are two groups


def test_flat_groups_may_be_interleaved(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(interleaved())
    read = list(read_problems(tmp_path / "f"))
    assert [(p.name, p.texts) for p in read] == WHOLE
    assert [p.prompt for p in read] == ["prompt b", "prompt a", "prompt 5", "prompt 5"]


def test_gzip(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl.gz"
    file.write_bytes(gzip.compress(interleaved()))
    assert [(p.name, p.texts) for p in read_problems(file)] == WHOLE
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(OSError, match="damaged: it cannot be decompressed to its end"):
        list(read_problems(file))


class Stdin:
    def __init__(self, buffer: BinaryIO):
        self.buffer = buffer


@pytest.mark.parametrize("seekable", [True, False])
def test_stdin(monkeypatch: pytest.MonkeyPatch, seekable: bool) -> None:
    if seekable:
        monkeypatch.setattr("sys.stdin", Stdin(io.BytesIO(interleaved())))
        assert [(p.name, p.texts) for p in read_problems("-")] == WHOLE
        return
    end, start = os.pipe()
    with os.fdopen(end, "rb") as stream, os.fdopen(start, "wb") as feed:
        feed.write(interleaved() + b"\n{")
        feed.close()
        monkeypatch.setattr("sys.stdin", Stdin(stream))
        names, said = until_bad(read_problems("-"))
    assert names == ["b", "a", "5", "5"] and said.startswith("stdin:9: not JSON")


def test_flat_problems_before_a_bad_line_come_first(tmp_path: Path) -> None:
    good = [sample("a", "1"), sample("b", "1"), sample("c", "1"), sample("a", "2"), sample("e", "1")]
    bad_of_c = b'{"task_id": "c", "prompt": "prompt c", "completion": 3}'
    file = write(tmp_path / "f", *good, bad_of_c, sample("d", "1"), sample("b", "2"), b"{")
    names, said = until_bad(read_problems(file))
    assert names == ["a", "e"]  # b goes on after line 6, c's own line is the bad one, d begins after it
    assert said.startswith(f"{file}:6: ")


def test_group_by_any_field(tmp_path: Path) -> None:
    lines = [b'{"prompt": "%s", "text": "%s"}' % (p, t) for p, t in [(b"p", b"1"), (b"q", b"2"), (b"p", b"3")]]
    read = read_problems(write(tmp_path / "f", *lines), group_by="prompt")
    assert [(p.prompt, p.texts) for p in read] == [("p", ("1", "3")), ("q", ("2",))]


def test_a_line_of_ten_megabytes(tmp_path: Path) -> None:
    text = "é\\n" * 3_500_000
    for line in (
        f'{{"prompt": "p", "candidates": ["{text}"]}}',
        f'{{"task_id": 1, "prompt": "p", "text": "{text}"}}',
    ):
        file = write(tmp_path / "f", line.encode())
        assert file.stat().st_size > 10_000_000
        [problem] = read_problems(file)
        assert problem.texts == ("é\n" * 3_500_000,)


def test_a_problem_is_given_before_the_next_line_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    end, start = os.pipe()
    with os.fdopen(end, "rb") as stream, os.fdopen(start, "wb") as feed:
        monkeypatch.setattr("sys.stdin", Stdin(stream))
        feed.write(GOOD + b"\n")
        feed.flush()
        watchdog = threading.Timer(20, feed.close)  # a reader that waits for more would hang here
        watchdog.start()
        problems = read_problems("-")
        assert next(problems).texts == ("a", "b")
        assert not feed.closed
        watchdog.cancel()
        feed.close()
        assert list(problems) == []


@pytest.mark.parametrize("flat", [False, True])
def test_memory_holds_problems_not_the_file(tmp_path: Path, flat: bool) -> None:
    file = tmp_path / "f"
    with file.open("wb") as stream:
        for i in range(200):
            text = str(i % 10) * 100_000
            line = {"task_id": i, "prompt": "p"} | ({"text": text} if flat else {"candidates": [text]})
            stream.write(json.dumps(line).encode() + b"\n")
    tracemalloc.start()
    try:
        count = sum(len(problem) for problem in read_problems(file))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 200 and peak < 2_000_000  # of 20 MB


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            '[{"prompt": "p", "candidates": ["a"]}]',
            "not a JSON object, but an array; write one object a line (jq -c '.[]' FILE)",
        ),
        ('[\n {"prompt": "p"}\n]', "not a JSON object, but an array"),
        ('{\n "prompt": "p"\n}', "not JSON by itself; write an object that takes several lines"),
        ("prompt,candidates\np,a\n", "not JSON, perhaps CSV"),
        ('{"messages": [{"role": "user", "content": "p"}]}', "a conversation, without answers to choose from"),
        ('{"custom_id": "1", "method": "POST", "body": {"messages": []}}', "a request of a batch, without its answers"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "f").write_text(content)
    with pytest.raises(BadLine, match=re.escape(f"f:1: {said}")):
        list(read_problems(tmp_path / "f"))


def test_a_bad_first_line_decides_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(
        '{"prompt": 1, "chosen": "a", "rejected": "b"}\n{"prompt": "p", "candidates": ["a", "b"]}\n'
    )
    left_out: list[int] = []
    [problem] = read_problems(tmp_path / "f", on_bad_line=lambda error, line: left_out.append(error.line_number))
    assert problem.texts == ("a", "b") and left_out == [1]


def test_a_bad_line_of_the_requests_is_not_one_of_the_input(tmp_path: Path) -> None:
    answer = {"choices": [{"message": {"role": "assistant", "content": "x"}}] * 2}
    (tmp_path / "f").write_text(
        "".join(json.dumps({"custom_id": k, "response": {"status_code": 200, "body": answer}}) + "\n" for k in (1, 2))
    )
    asked = [json.dumps({"custom_id": k, "body": {"messages": [{"role": "user", "content": "q"}]}}) for k in (1, 2)]
    (tmp_path / "r").write_text("\n".join([asked[0], "nope", asked[1]]))
    with pytest.raises(BadLine, match=r"r:2: not JSON"):
        list(read_problems(tmp_path / "f", requests=tmp_path / "r", on_bad_line=lambda error, line: None))
    (tmp_path / "r").write_text("\n".join(asked))  # numbers name requests, too
    assert [p.name for p in read_problems(tmp_path / "f", requests=tmp_path / "r")] == ["1", "2"]
    (tmp_path / "f").write_text('{"custom_id": "1", "response": {"status_code": 200, "body": {"output": ["x"]}}}\n')
    [problem] = read_problems(tmp_path / "f", requests=tmp_path / "r")
    assert problem.texts == ("",)


def test_a_request_that_is_a_text_has_no_prompt(tmp_path: Path) -> None:
    line = {"doc_id": 0, "doc": {}, "arguments": ["What is 2 + 2?"], "resps": [["4", "5"]], "filtered_resps": ["4"]}
    (tmp_path / "f").write_text(json.dumps(line) + "\n")
    with pytest.raises(BadLine, match="has no prompt"):
        list(read_problems(tmp_path / "f"))
