"""A run with a ledger: what is asked again, by whom, and what a killed process leaves."""

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from flame_rank import FunctionJudge, Problem, Reranker, UserError
from flame_rank.cli import cli
from flame_rank.output import to_lines

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
    command = [sys.executable, "-c", "from flame_rank.cli import main; main()", "rerank", "in.jsonl"]
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
