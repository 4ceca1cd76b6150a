"""`flame-rank plan` for people and for programs; what the numbers are is in tests/flame_rank/plan."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from places import SUPPORT

COMMAND = [sys.executable, "-c", "from flame_rank.cli.group import main; main()", "plan"]
HOME = {**os.environ, "PYTHONPATH": str(SUPPORT), "TERM": "xterm", "COLUMNS": "80"}


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps({"prompt": "p", "candidates": ["ccc", "a", "bb"]}) + "\n")
    return path


def test_piped_it_is_plain_text(problems: Path) -> None:
    given = [*COMMAND, problems, "--judge", "functions:shorter", "--strategy", "knockout", "--strategy", "round-robin"]
    done = subprocess.run(given, capture_output=True, text=True, env=HOME, check=True)
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["strategy", "comparisons", "seconds"] and "\x1b" not in done.stdout
    assert [row.split("about")[0].split() for row in rows] == [["knockout", "4"], ["round-robin", "6"]]
    assert all(line == line.rstrip() for line in rows) and header.startswith("strategy     comparisons  ")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_on_a_terminal_it_is_a_table(problems: Path) -> None:
    terminal, end = os.openpty()
    given = [*COMMAND, problems, "--judge", "functions:shorter", "--strategy", "knockout"]
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
