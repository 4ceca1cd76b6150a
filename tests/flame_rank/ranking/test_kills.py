"""Killed at any moment (SIGKILL), a run loses at most the call in flight, and what it wrote is whole."""

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

PAIRS = 6  # round-robin of three candidates in both orders
JUDGE = """
import os, time

def slow(prompt, pairs):
    time.sleep(0.03)
    with open("calls", "a") as file:
        file.write(prompt + "\\n")
        file.flush()
        os.fsync(file.fileno())
    return [len(a) - len(b) for a, b in pairs]
"""
RERANK = [
    *(sys.executable, "-c", "from flame_rank.cli.group import main; main()", "rerank", "f", "-o", "out"),
    *("--ledger", "ledger", "--judge", "slow:slow", "--strategy", "round-robin"),
]


def told(folder: Path) -> list[str]:
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def kept(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "ledger")) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM judgement").fetchone()[0])
        except sqlite3.OperationalError:  # killed before the tables were made
            return 0


MANY = """
import os, time
import numpy as np
from flame_rank import Problem, Reranker
from flame_rank.ranking import pace

class Slow:
    \"\"\"Takes many problems a call, and is slow for each comparison.\"\"\"
    name, pool_aware, pointwise = "slow", False, False

    def judge(self, asked):
        return [np.array([self.one(problem, i, j) for i, j in pairs]) for problem, pairs in asked]

    def one(self, problem, i, j):
        time.sleep(0.04)
        with open("calls", "a") as file:
            file.write(problem.prompt + "\\n")
        return float(len(problem.texts[i]) - len(problem.texts[j]))

pace.QUICK = 0.1
given = [Problem(prompt=f"p {i}", candidates=["a", "bb", "ccc"]) for i in range(20)]
for ranking in Reranker(Slow(), "round-robin", ledger="ledger").rank_many(given):
    print(ranking.order, flush=True)
"""


def test_a_slow_judge_of_many_problems_loses_a_call(tmp_path: Path) -> None:
    running = subprocess.Popen([sys.executable, "-c", MANY], cwd=tmp_path, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(told(tmp_path)) < 30 and time.monotonic() < until:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = len(told(tmp_path))
    assert 30 <= before < 60 and kept(tmp_path) >= before - 8  # of the 120 that wait, once all in one call
    out = subprocess.run([sys.executable, "-c", MANY], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert out.splitlines() == ["[2, 1, 0]"] * 20
    assert len(told(tmp_path)) <= 20 * PAIRS + 8


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.full)])
def test_killed_at_random_moments(tmp_path: Path, kills: int) -> None:
    rng, problems = random.Random(kills), 5 * kills
    (tmp_path / "slow.py").write_text(JUDGE)
    given = [{"prompt": f"p {i}", "candidates": ["a", "bb", "c" * (i + 3)]} for i in range(problems)]
    (tmp_path / "f").write_text("".join(json.dumps(line) + "\n" for line in given))
    done = 0
    for _ in range(kills):
        before = len(told(tmp_path))
        running = subprocess.Popen(RERANK, cwd=tmp_path, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        if rng.random() < 0.8:  # after some calls; else somewhere in the start
            while len(told(tmp_path)) <= before and running.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
        time.sleep(rng.random() * 0.15)
        running.send_signal(signal.SIGKILL)
        running.wait()
        calls = len(told(tmp_path))
        assert kept(tmp_path) >= PAIRS * (len(set(told(tmp_path))) - 1)
        written = tmp_path / ("out" if (tmp_path / "out").exists() else "out.part")
        whole = written.read_bytes().splitlines(keepends=True) if written.exists() else []
        for line in whole[:-1]:
            assert "ranking" in json.loads(line)
        if calls > before:  # every problem that this run has finished, but the one that it was writing
            assert len(whole) >= calls - before - 1
        done += 1
        if (tmp_path / "out").exists():
            break
    subprocess.run(RERANK, cwd=tmp_path, stderr=subprocess.DEVNULL, check=True)
    lines = (tmp_path / "out").read_text().splitlines()
    assert [json.loads(line)["ranking"] for line in lines] == [[2, 1, 0]] * problems
    assert kept(tmp_path) == PAIRS * problems
    assert len(told(tmp_path)) <= problems + done  # a call that was in flight is asked again
    assert not (tmp_path / "out.part").exists()


FETCH = "import sys; from pathlib import Path; from trainer.collection.fetch import Download, fetch; " + (
    "fetch(Download(address=sys.argv[1], to=Path(sys.argv[2])))"
)


class Slow(BaseHTTPRequestHandler):
    """Sends CONTENT, or the rest of it, some kilobytes every few milliseconds; keeps where each reply began."""

    begun: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        assert start == 0 or self.headers["If-Range"] == '"one"'
        self.begun.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.send_header("ETag", '"one"')
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            for at in range(start, len(CONTENT), 1 << 12):
                self.wfile.write(CONTENT[at : at + (1 << 12)])
                time.sleep(0.004)

    def log_message(self, *_: object) -> None: ...


CONTENT = random.Random(0).randbytes(1 << 22)


@pytest.mark.parametrize("kills", [2, pytest.param(40, marks=pytest.mark.full)])
def test_a_killed_fetch_goes_on_where_it_was(tmp_path: Path, kills: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Slow.begun.clear()
    to, part = tmp_path / "file", tmp_path / "file.part"
    command = [sys.executable, "-c", FETCH, f"http://127.0.0.1:{server.server_address[1]}/file", str(to)]
    rng, have = random.Random(kills), 0
    for _ in range(kills):
        before = len(Slow.begun)
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        if rng.random() < 0.8:  # after some bytes; else somewhere in the start
            while len(Slow.begun) == before and running.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
        time.sleep(rng.random() * 0.1)
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert not to.exists()
        got = part.read_bytes() if part.exists() else b""
        assert len(got) >= have and CONTENT.startswith(got)  # what was there is there
        have = len(got)
    subprocess.run(command, check=True)
    assert to.read_bytes() == CONTENT and sorted(tmp_path.iterdir()) == [to]
    assert Slow.begun[-1] == have  # nothing is asked for twice
    server.shutdown()
    server.server_close()
