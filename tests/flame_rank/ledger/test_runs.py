"""A run with a ledger: what is asked again, by whom, and what a killed process leaves."""

import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from flame_rank import FunctionJudge, Problem, Reranker, UserError
from flame_rank.cli.group import cli
from flame_rank.io.output import to_lines
from flame_rank.ledger.store import Ledger
from strategies.base import FloatArray, IntArray

JUDGE = """
import os, time, zlib

log = os.open("asked.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def judge(prompt, pairs):
    os.write(log, "".join(f"{prompt}|{a}|{b}\\n" for a, b in pairs).encode())
    time.sleep(0.01)
    return [(zlib.crc32(f"{prompt}|{a}|{b}".encode()) % 1000 - 500) / 100 for a, b in pairs]
"""


def problems(count: int = 3) -> list[Problem]:
    return [Problem(prompt=f"p{k}", candidates=[f"{k}-{i % 5}" for i in range(7)]) for k in range(count)]


class Counting:
    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        self.asked += len(pairs)
        return [float(len(a + prompt) * 7 % 5 - ord(b[-1]) % 3) if a[-1] != "4" else np.nan for a, b in pairs]


def ranked(judge: Counting, ledger: Path | None, strategy: str = "round-robin", **options: object) -> bytes:
    reranker = Reranker(FunctionJudge(judge, name="counting"), strategy, ledger=ledger, **options)  # type: ignore[arg-type]
    return b"".join(to_lines(ranking) for ranking in reranker.rank_many(problems()))


def test_what_the_ledger_knows_is_not_asked_again(tmp_path: Path) -> None:
    first, again, without = Counting(), Counting(), Counting()
    out = ranked(first, tmp_path / "l")
    assert ranked(again, tmp_path / "l") == out == ranked(without, None)
    assert first.asked == without.asked > 3 * 20  # what fails is asked twice
    assert again.asked == 0


@pytest.mark.parametrize("strategy", ["knockout", "swiss", "active", "merge"])
def test_strategies_share_a_ledger(strategy: str, tmp_path: Path) -> None:
    ranked(Counting(), tmp_path / "l")
    judge = Counting()
    assert ranked(judge, tmp_path / "l", strategy) == ranked(Counting(), None, strategy)
    assert judge.asked == 0


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    class Interrupted(Counting):
        def __call__(self, prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
            if self.asked > 20:
                raise KeyboardInterrupt
            return super().__call__(prompt, pairs)

    stopped, rest = Interrupted(), Counting()
    with pytest.raises(KeyboardInterrupt):
        list(Reranker(FunctionJudge(stopped, name="counting"), batch=1, ledger=tmp_path / "l").rank_many(problems()))
    assert ranked(rest, tmp_path / "l") == ranked(Counting(), None)
    whole = Counting()
    ranked(whole, tmp_path / "other")
    assert 0 < rest.asked < whole.asked


def test_a_function_without_a_name_has_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no identity.*name="):
        Reranker(Counting(), ledger=tmp_path / "l")


def test_replay_says_the_same_and_what_is_missing(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    out = ranked(Counting(), tmp_path / "l", "knockout")
    (tmp_path / "in.jsonl").write_bytes(out)

    def replayed(strategy: str, *more: str) -> tuple[object, bytes, bytes]:
        command = ["replay", str(tmp_path / "in.jsonl"), "--ledger", str(tmp_path / "l"), "--strategy", strategy]
        return cli.main([*command, *more], standalone_mode=False), *capfdbinary.readouterr()

    status, same, said = replayed("knockout")
    assert not status and same == out and b"0 comparisons missing" in said
    status, _, said = replayed("round-robin")
    assert status == 1 and b"36 comparisons missing, of 3 problems" in said
    with pytest.raises(UserError, match="holds no judge 'other': counting"):
        replayed("knockout", "--judge", "other")
    status, second, _ = replayed("knockout", "--shard", "2/3")
    assert not status and second == out.splitlines(keepends=True)[1]
    (tmp_path / "in.jsonl").write_bytes(out + b"{\n")
    status, left, said = replayed("knockout", "--on-bad-line", "quarantine")
    assert status == 1 and left == out and f"1 bad line left out (in {tmp_path / 'in.jsonl.bad'})" in said.decode()
    assert (tmp_path / "in.jsonl.bad").read_bytes() == b"{\n"


class Rated:
    """Rates each candidate by its last letter."""

    name, pool_aware, pointwise, one_by_one = "rated", False, True, False

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        return [np.array([ord(p.texts[i][-1]) - ord(p.texts[j][-1]) for i, j in pairs], float) for p, pairs in asked]


def test_replay_of_a_judge_that_rates_candidates(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    made = list(Reranker(Rated(), ledger=tmp_path / "l").rank_many(problems()))
    (tmp_path / "in.jsonl").write_bytes(b"".join(map(to_lines, made)))
    command = ["replay", str(tmp_path / "in.jsonl"), "--ledger", str(tmp_path / "l")]
    assert not cli.main(command, standalone_mode=False)
    out, err = capfdbinary.readouterr()
    assert out == (tmp_path / "in.jsonl").read_bytes() and b"0 comparisons missing" in err


# Failures of an earlier run.


class Moody(Counting):
    """Fails for texts with a "2" or a "3" as long as it is ill."""

    ill = "23"

    def __call__(self, prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        self.asked += len(pairs)
        return [np.nan if {*(a + b)} & {*self.ill} else float(ord(a[-1]) - ord(b[-1])) for a, b in pairs]


def test_failures_of_an_earlier_run_are_asked_again(tmp_path: Path) -> None:
    class Well(Moody):
        ill = "3"

    def run(judge: Moody, **options: object) -> tuple[bytes, Reranker]:
        named = FunctionJudge(judge, name="counting")
        reranker = Reranker(named, "round-robin", ledger=tmp_path / "l", **options)  # type: ignore[arg-type]
        return b"".join(to_lines(ranking) for ranking in reranker.rank_many([problems()[0]] * 2)), reranker

    ill, again, well, last = Moody(), Moody(), Well(), Well()
    first, reranker = run(ill)
    assert ill.asked == 6 + 2 * 14 and reranker.failed_before == 0  # 20 pairs of five texts; those that fail, twice
    same, reranker = run(again)
    assert (same, again.asked) == (first, 0) and reranker.failed_before == 2 * 14
    out, reranker = run(well, retry_invalid=True)
    assert well.asked == 6 + 2 * 8 and reranker.failed_before == 0  # of the 14, 8 fail again, once for both problems
    assert out == b"".join(to_lines(ranking) for ranking in Reranker(
        FunctionJudge(Well(), name="counting"), "round-robin").rank_many([problems()[0]] * 2))  # fmt: skip
    same, reranker = run(last)
    assert (same, last.asked) == (out, 0) and reranker.failed_before == 2 * 8
    with pytest.raises(UserError, match="name the ledger, too"):
        Reranker(FunctionJudge(Well(), name="counting"), retry_invalid=True)


@pytest.mark.parametrize("before", [np.nan, 2.0])
def test_what_replaces_what(before: float, tmp_path: Path) -> None:
    judge = FunctionJudge(Counting(), name="counting")
    asked = [(problems()[0], np.array([[0, 1]]))]

    def put(value: float, why: str, mass: float, *, retry_invalid: bool) -> tuple[float, float, tuple[str, ...]]:
        with Ledger(tmp_path / "l", judge, retry_invalid=retry_invalid) as ledger:
            ledger.record(asked, [np.array([value])], [why], [np.array([mass])])
        with Ledger(tmp_path / "l", judge) as ledger:
            [known] = ledger.look_up(asked)
        assert known.known.all()
        return float(known.log_odds[0]), float(known.mass[0]), known.reasons

    put(before, "first", 0.25, retry_invalid=False)
    for value, retry_invalid in ((1.0, False), (np.nan, True), (3.0, True), (4.0, True), (np.nan, True)):
        log_odds, mass, reasons = put(value, "later", 0.75, retry_invalid=retry_invalid)
        if before == 2.0:
            assert (log_odds, mass, reasons) == (2.0, 0.25, ())
        elif not retry_invalid:
            assert np.isnan(log_odds) and reasons == ("first",)
        elif np.isnan(value) and np.isnan(log_odds):
            assert reasons == ("later",)
        else:
            assert (log_odds, mass, reasons) == (3.0, 0.75, ())


def test_the_commands_say_how_to_ask_failures_again(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moody.py").write_text(
        "import os\ndef f(prompt, pairs):\n"
        "    return [float('nan') if os.path.exists('ill') and '2' in a + b else len(a) - len(b) for a, b in pairs]\n"
    )
    line = {"prompt": "p", "candidates": ["1", "22", "333"]}
    (tmp_path / "in.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "ill").touch()

    def run(command: str, *more: str) -> tuple[object, str, str]:
        judge = ("--judge", "moody.py:f") if command == "rerank" else ()
        status = cli.main([command, "in.jsonl", "--ledger", "l", *judge, *more], standalone_mode=False)
        out, err = capfdbinary.readouterr()
        return status, out.decode(), err.decode()

    said = "flame-rank: 4 of the judgements that the ledger knows failed in an earlier run"
    assert said not in run("rerank")[2]
    (tmp_path / "ill").unlink()
    status, _, err = run("rerank")
    assert status == 1 and err.count(said) == 1 and "--retry-invalid" in err and "4 judgements invalid" in err
    status, _, err = run("replay")
    assert status == 1 and err.count(said) == 1 and "0 comparisons missing" in err
    status, out, err = run("rerank", "--retry-invalid")
    assert status == 0 and said not in err and json.loads(out)["ranking"] == [2, 1, 0]
    assert run("replay")[:2] == run("rerank")[:2] == (0, out)


# P(A) + P(B) of a language model.


class Verdicts:
    """Answers as a language model, which gives A and B so much of its probability."""

    name, pool_aware, pointwise = "verdicts", False, False

    def __init__(self, mass: float):
        self.mass = mass

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        return [pairs @ np.array([0.1, -0.1]) for _, pairs in asked]

    def verdict_mass(self, problem: Problem, pairs: IntArray) -> FloatArray:
        return self.mass * np.array([0.5 + zlib.crc32(f"{problem.texts[i]} {problem.texts[j]}".encode()) / 2**33
                                     for i, j in pairs])  # fmt: skip


class Silent(Verdicts):
    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        raise AssertionError("it is in the ledger")


LOW = "A and B have"


def test_a_judge_that_gives_no_verdicts_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def warned(judge: Verdicts, **options: object) -> tuple[int, bytes]:
        caplog.clear()
        rankings = list(Reranker(judge, "round-robin", **options).rank_many(problems()))  # type: ignore[arg-type]
        assert all(ranking.verdict_mass is not None and 0 < ranking.verdict_mass < judge.mass for ranking in rankings)
        out = b"".join(map(to_lines, rankings))
        return sum(LOW in record.getMessage() for record in caplog.records), out

    low = Verdicts(0.1)
    count, out = warned(low)
    assert count == 1 and [record.levelname for record in caplog.records] == ["WARNING"]
    assert warned(low) == (0, out)  # of this judge it is known
    assert warned(Verdicts(0.9))[0] == 0
    assert warned(Verdicts(0.1), ledger=tmp_path / "l") == (1, out)
    assert warned(Silent(0.1), ledger=tmp_path / "l") == (1, out)  # from the ledger, to the last bit


def test_a_replay_says_so_too(tmp_path: Path) -> None:
    out = b"".join(map(to_lines, Reranker(Verdicts(0.1), "round-robin", ledger=tmp_path / "l").rank_many(problems())))
    (tmp_path / "in.jsonl").write_bytes(out)
    command = [sys.executable, "-m", "flame_rank", "replay", "in.jsonl", "--ledger", "l", "--strategy", "round-robin"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout) == (0, out) and b'"verdict_mass":' in out
    assert done.stderr.decode().count(LOW) == 1
    with sqlite3.connect(tmp_path / "l") as connection:
        connection.execute("DELETE FROM verdict_mass")
    connection.close()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0 and b'"verdict_mass":' not in done.stdout and LOW not in done.stderr.decode()


def test_ranks_in_an_event_loop() -> None:
    async def both() -> tuple[list[int], list[list[int]]]:
        reranker = Reranker(FunctionJudge(Counting(), name="counting"))
        one = await reranker.arank(problems()[0])
        return one.order, [ranking.order async for ranking in reranker.arank_many(problems())]

    one, many = asyncio.run(both())
    assert len(many) == 3 and many[0] == one


def test_unordered_gives_all() -> None:
    judge = FunctionJudge(Counting(), name="counting")
    judge.one_by_one = False
    reranker = Reranker(judge, "knockout", ordered=False, batch=4)
    given = [Problem(prompt="p", candidates=[str(i) for i in range(n)]) for n in (9, 2, 5, 1)]
    found = list(reranker.rank_many(given))
    assert {id(r.problem) for r in found} == {id(p) for p in given} and found[0].problem is not given[0]


def _kills(tmp_path: Path, kills: int, count: int) -> None:
    """Kills a run of count x 90 comparisons so often, and checks what it says once it is let through."""
    (tmp_path / "killed.py").write_text(JUDGE)
    lines = [json.dumps({"prompt": f"p{k}", "candidates": [f"{k}-{i}" for i in range(10)]}) for k in range(count)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    command = [sys.executable, "-c", "from flame_rank.cli.group import main; main()", "rerank", "in.jsonl"]
    command += ["--judge", "killed:judge", "--strategy", "round-robin"]
    start = time.monotonic()
    subprocess.run([*command, "-o", "whole"], cwd=tmp_path, check=True, capture_output=True)
    took = time.monotonic() - start
    (tmp_path / "asked.log").unlink()
    seed = random.Random(0)
    killed = 0
    while killed < kills:
        run = subprocess.Popen([*command, "--ledger", "ledger", "-o", "out"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(seed.uniform(0.2, took))
        run.send_signal(signal.SIGKILL)
        killed += run.wait() == -signal.SIGKILL
        if run.returncode == 0:  # it was faster this time: begin anew
            for name in ("ledger", "ledger-wal", "ledger-shm", "out"):
                (tmp_path / name).unlink(missing_ok=True)
            (tmp_path / "asked.log").unlink()
    subprocess.run([*command, "--ledger", "ledger", "-o", "out"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
    asked = Counter((tmp_path / "asked.log").read_text().splitlines())
    assert len(asked) == count * 90
    # Only a batch in flight is repeated, and each kill finds one at most.
    assert sum(asked.values()) - len(asked) <= kills * 1024
    before = (tmp_path / "asked.log").stat().st_size
    subprocess.run([*command, "--ledger", "ledger", "-o", "out"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "asked.log").stat().st_size == before


def test_killed_at_any_moment_nothing_is_lost(tmp_path: Path) -> None:
    _kills(tmp_path, 2, 20)


@pytest.mark.full
def test_killed_twenty_times_nothing_is_lost(tmp_path: Path) -> None:
    _kills(tmp_path, 20, 112)
