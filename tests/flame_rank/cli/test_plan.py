"""`flame-rank plan` for people and for programs; what the numbers are is in tests/flame_rank/plan."""

import json
import math
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from places import SUPPORT
from planning import folder

import strategies
from flame_rank import UserError
from flame_rank.cli.plan import plan as command
from flame_rank.plan import plans, runs
from flame_rank.plan.probe import FEW, Probe

COMMAND = [sys.executable, "-c", "from flame_rank.cli.group import main; main()", "plan"]
HOME = {**os.environ, "PYTHONPATH": str(SUPPORT), "TERM": "xterm", "COLUMNS": "80"}


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps({"prompt": "p", "candidates": ["ccc", "a", "bb"]}) + "\n")
    return path


def test_piped_it_is_plain_text(problems: Path) -> None:
    given = [
        *COMMAND,
        str(problems),
        "--judge",
        "functions:shorter",
        "--strategy",
        "knockout",
        "--strategy",
        "round-robin",
    ]
    done = subprocess.run(given, capture_output=True, text=True, env=HOME, check=True)
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["strategy", "comparisons", "seconds"] and "\x1b" not in done.stdout
    assert [row.split("about")[0].split() for row in rows] == [["knockout", "4"], ["round-robin", "6"]]
    assert all(line == line.rstrip() for line in rows) and header.startswith("strategy     comparisons  ")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_on_a_terminal_it_is_a_table(problems: Path) -> None:
    terminal, end = os.openpty()
    given = [*COMMAND, str(problems), "--judge", "functions:shorter", "--strategy", "knockout"]
    with subprocess.Popen(given, stdout=end, stderr=subprocess.PIPE, env=HOME) as running:
        os.close(end)
        shown = b""
        while select.select([terminal], [], [], 60)[0]:
            try:
                chunk = os.read(terminal, 1 << 16)
            except OSError:  # Linux: the other end was closed
                break
            if not chunk:
                break
            shown += chunk
    os.close(terminal)
    assert running.returncode == 0
    assert b"\x1b[1mstrategy" in shown and b"knockout" in shown and b"4" in shown


def run(*arguments: object, given: str | None = None) -> tuple[str, str]:
    result = CliRunner().invoke(command, [*map(str, arguments)], input=given, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout, result.stderr


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


GOOD = {"prompt": "p", "candidates": ["ccc", "a", "bb", "a"]}


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(lines(GOOD, GOOD))
    out, err = run(path, "--judge", "functions:shorter")
    head, *rows = out.splitlines()
    assert head.split() == ["strategy", "comparisons", "seconds"]
    assert [row.split()[0] for row in rows] == list(strategies.NAMES)
    assert next(row.split()[1] for row in rows if row.startswith("round-robin")) == "12"
    assert "2 problems, 8 candidates, 6 without repetitions" in err and "comparisons probed" in err


def test_json_from_standard_input() -> None:
    arguments = ("-", "--judge", "functions:shorter", "--json", "--strategy", "knockout", "--strategy", "round-robin")
    out, _ = run(*arguments, "--order", "fixed", given=lines(GOOD))
    knockout, every = map(json.loads, out.splitlines())
    assert (knockout["strategy"], knockout["least"], knockout["most"], knockout["tokens"]) == ("knockout", 2, 2, None)
    assert every["most"] == 3 and every["judge"] == "functions:shorter" and math.isfinite(every["seconds"])
    assert (every["problems"], every["candidates"], every["distinct"]) == (1, 4, 3)


def test_with_confidence_active_may_stop_early() -> None:
    many = {"prompt": "p", "candidates": [*"abcdefgh"]}
    arguments = ("--judge", "functions:shorter", "--strategy", "active")
    out, _ = run(*arguments, "--confidence", "0.9", given=lines(many))
    assert "at most" in out
    out, _ = run(*arguments, given=lines(many))
    assert "at most" not in out


@pytest.mark.parametrize("reads", [True, False])
def test_the_default_judge_is_pointwise(reads: bool, tiny_judge_dir: Path) -> None:
    out, err = run("--judge", tiny_judge_dir if reads else "agreement", given=lines(GOOD))
    assert out.splitlines()[1].split()[:2] == ["any", "2"] and "n - 1 comparisons" in err


def test_a_local_judge_has_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "probe", lambda *_, **_options: Probe(comparisons=FEW, seconds=0.1, compiling=1.0))
    monkeypatch.setattr(runs, "SAMPLE", 2)
    given = lines(*({**GOOD, "prompt": "p" * k} for k in range(9)))
    out, err = run(
        "--judge",
        folder(tmp_path / "qwen2", "qwen2"),
        "--strategy",
        "round-robin",
        "--strategy",
        "knockout",
        given=given,
    )
    head, every, knockout = out.splitlines()
    assert head.split() == ["strategy", "comparisons", "tokens", "programs", "seconds"]
    assert "at most" not in out and (every.count("about"), knockout.count("about")) == (1, 3)  # seconds; all else too
    assert "estimated from 2 of the problems" in err


def test_one_candidate_each_takes_nothing() -> None:
    single = {"prompt": "p", "candidates": ["a", "a"]}
    out, _ = run("--judge", "functions:shorter", "--json", given=lines(single))
    assert all(json.loads(line)["most"] == 0 == json.loads(line)["seconds"] for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        ((), "", "no problem in it"),
        ((), lines(GOOD) + "{\n", "stdin:2: not JSON"),
        (("--judge", "nowhere"), lines(GOOD), "--judge nowhere"),
        (("--judge", "functions:shorter", "--max-length", "9"), lines(GOOD), "takes no max_length"),
        (("--strategy", "knockout", "--confidence", "0.9"), lines(GOOD), "for the strategy active, not knockout"),
        (
            (),
            lines({"prompt": "p", "candidates": [*map(str, range(10**5))]}),
            "stdin: round-robin may ask 9,999,900,000",
        ),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], given: str, said: str) -> None:
    judge = () if "--judge" in arguments else ("--judge", "functions:shorter")
    with pytest.raises(UserError) as error:
        run(*arguments, *judge, given=given)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_bad_lines_are_left_out_where_asked_to() -> None:
    out, err = run("--judge", "functions:shorter", "--json", "--on-bad-line", "skip", given="{\n" + lines(GOOD))
    assert json.loads(out.splitlines()[0])["problems"] == 1 and "stdin:1" in err


def test_the_command_is_light() -> None:
    code = "import flame_rank.cli.plan, sys; assert not {'numpy', 'jax', 'tqdm'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
