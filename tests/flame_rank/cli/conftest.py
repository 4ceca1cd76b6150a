"""The command in the test's own process."""

import sys
from pathlib import Path

import pytest
from commands import Done, Run

from flame_rank.cli.group import main


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
