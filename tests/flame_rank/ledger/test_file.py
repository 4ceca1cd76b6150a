"""The file of a ledger: damage is told by every command alike, and what may only be read is read."""

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

from flame_rank import FunctionJudge, Problem, Reranker, UserError
from flame_rank.cli.group import main
from flame_rank.io.output import to_lines
from flame_rank.ledger.file import opened
from flame_rank.ledger.store import Ledger

PAGE = 4096
GIVEN = [Problem(prompt=f"p{k}", candidates=[f"{k}{'x' * i}" for i in range(6)]) for k in range(8)]


def longer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    return [float(len(a) - len(b)) for a, b in pairs]


def rank(path: Path) -> bytes:
    """Ranks with a ledger; what it writes."""
    reranker = Reranker(FunctionJudge(longer, name="longer"), "round-robin", ledger=path)
    out = b"".join(to_lines(ranking) for ranking in reranker.rank_many(GIVEN))
    del reranker
    gc.collect()  # which closes the ledger, and folds its log in
    return out


def run(capfdbinary: pytest.CaptureFixture[bytes], *arguments: object) -> tuple[object, bytes, str]:
    """Runs `flame-rank` in this process: its status, and what it wrote."""
    stdout = sys.stdout
    try:
        main([*map(str, arguments)])
    except SystemExit as end:
        status = end.code
    finally:
        sys.stdout = stdout  # main takes it away, so that nothing is written to it at exit
    out, err = capfdbinary.readouterr()
    return status, out, err.decode()


# Damage.


def fill(path: Path, page: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(content)


def change(statement: str) -> Callable[[Path], None]:
    def to(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)

    return to


def swap(path: Path) -> None:
    content = path.read_bytes()
    last = len(content) // PAGE - 1  # two pages of judgements
    fill(path, last, content[(last - 1) * PAGE : last * PAGE])
    fill(path, last - 1, content[last * PAGE :])


def last(path: Path) -> int:
    return path.stat().st_size // PAGE - 1


SOME = "WHERE key = (SELECT max(key) FROM judgement)"
DAMAGES: dict[str, Callable[[Path], None]] = {
    "zeros": lambda path: fill(path, last(path), bytes(PAGE)),
    "ones": lambda path: fill(path, last(path), b"\xff" * PAGE),
    "noise": lambda path: fill(path, last(path), np.random.default_rng(0).bytes(PAGE)),
    "swapped pages": swap,
    "cut": lambda path: os.truncate(path, path.stat().st_size - PAGE),
    "text in a number": change(f"UPDATE judgement SET log_odds = '1.5' {SOME}"),
    "blob in a number": change(f"UPDATE judgement SET log_odds = x'00' {SOME}"),
    "blob in a reason": change(f"UPDATE judgement SET reason = x'00' {SOME}"),
    "text for a probability": change("INSERT INTO verdict_mass VALUES (x'00', 'much')"),
    "a judge that is not there": change(f"UPDATE judgement SET judge = 99 {SOME}"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_damage_for_every_command(
    damage: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, given = tmp_path / "l", tmp_path / "in.jsonl"
    given.write_bytes(rank(path))
    DAMAGES[damage](path)
    before = path.read_bytes()
    (tmp_path / "mine.py").write_text("def longer(prompt, pairs): return [0.0] * len(pairs)\n")
    commands = [
        ("ledger", "info", path),
        ("ledger", "export", path),
        ("ledger", "vacuum", path),
        ("replay", given, "--ledger", path),
        ("rerank", given, "--judge", f"{tmp_path / 'mine.py'}:longer", "--ledger", path),
    ]
    for command in commands:
        status, out, err = run(capfdbinary, *command)
        assert (status, out) == (2, b""), command
        assert err.splitlines()[-1].startswith(f"Error: {path}: the file is damaged"), command
        assert path.read_bytes() == before
    with pytest.raises(UserError, match="the file is damaged"):
        rank(path)


def test_any_damaged_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "l"
    rank(path)
    whole = path.read_bytes()
    for page in range(1, len(whole) // PAGE):
        path.write_bytes(whole)
        fill(path, page, b"\xff" * PAGE)
        with pytest.raises(UserError, match="damaged"), opened(path):
            pass


def test_words_that_are_no_utf8_do_no_harm(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    rank(tmp_path / "l")
    change(f"UPDATE judgement SET log_odds = NULL, reason = CAST(x'61ff' AS TEXT) {SOME}")(tmp_path / "l")
    for command in ("info", "export"):
        status, out, _ = run(capfdbinary, "ledger", command, tmp_path / "l")
        assert status == 0 and b"a\\" in out and b"xff" in out


# Ledgers of before.


def test_a_ledger_without_verdict_masses(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path, given = tmp_path / "l", tmp_path / "in.jsonl"
    given.write_bytes(out := rank(path))
    change("DROP TABLE verdict_mass")(path)
    before = path.read_bytes()
    for command in (("ledger", "info", path), ("ledger", "export", path)):
        assert run(capfdbinary, *command)[0] == 0
    assert run(capfdbinary, "replay", given, "--ledger", path, "--strategy", "round-robin")[:2] == (0, out)
    assert path.read_bytes() == before and rank(path) == out


def test_programs_of_before_write_rows_of_eight(tmp_path: Path) -> None:
    rank(tmp_path / "l")
    change("INSERT INTO judgement VALUES (x'00', 1, 0.5, NULL, x'00', x'00', x'00', NULL)")(tmp_path / "l")
    with opened(tmp_path / "l") as connection:
        assert connection.execute("SELECT count(*) FROM judgement").fetchone() == (8 * 30 + 1,)


# What may only be read.


@contextmanager
def nobody() -> Iterator[None]:
    """In the block this process has no more rights than anybody."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that anybody may look into."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    for file in path.iterdir():
        file.chmod(0o755)
    shutil.rmtree(path)


KILLED = """
import os, sys
sys.path[:0] = [sys.argv[2], f"{sys.argv[2]}/tests/support"]
import tests.flame_rank.ledger.test_file as here
reranker = here.Reranker(here.FunctionJudge(here.longer, name="longer"), "round-robin", ledger=sys.argv[1])
list(reranker.rank_many(here.GIVEN))
os._exit(0)
"""


@pytest.mark.parametrize("beside", ["nothing", "log and index", "log"])
def test_what_may_only_be_read(beside: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    made = folder / "made"
    made.mkdir()
    if beside == "nothing":
        rank(made / "l")
    else:  # a process that is killed leaves judgements in the log alone
        subprocess.run([sys.executable, "-c", KILLED, str(made / "l"), str(ROOT)], check=True)
        assert (made / "l-wal").stat().st_size > PAGE
    if beside == "log":
        (made / "l-shm").unlink()
    out = rank(folder / "other")
    (folder / "in.jsonl").write_bytes(out)
    command = ("replay", folder / "in.jsonl", "--strategy", "round-robin", "--ledger")
    assert run(capfdbinary, *command, folder / "other")[:2] == (0, out)  # and all that it needs is imported
    run(capfdbinary, "ledger", "info", folder / "other")
    run(capfdbinary, "ledger", "export", folder / "other")
    for of_file, of_folder in product((0o644, 0o444), (0o755, 0o555)):
        here = folder / "f"
        shutil.copytree(made, here)
        for file in here.iterdir():
            file.chmod(of_file)
            os.chown(file, *((65534, 65534) if os.geteuid() == 0 else (-1, -1)))
        before = (here / "l").read_bytes()
        here.chmod(of_folder)
        os.chown(here, *((65534, 65534) if os.geteuid() == 0 else (-1, -1)))
        with nobody():
            assert run(capfdbinary, *command, here / "l")[:2] == (0, out)
            assert run(capfdbinary, "ledger", "info", here / "l")[1].splitlines()[1] == b"longer: 240 judgements"
            assert run(capfdbinary, "ledger", "export", here / "l")[1].count(b"\n") == 240
            if of_folder == 0o555 and of_file == 0o444:
                with pytest.raises(UserError, match=r"l: (read-only|cannot be opened)"):
                    rank(here / "l")
                status, _, err = run(capfdbinary, "ledger", "vacuum", here / "l", "--judge", "longer")
                assert status == 2 and ("read-only" in err or "cannot be opened" in err)
                assert (here / "l").read_bytes() == before
        here.chmod(0o755)
        shutil.rmtree(here)


def test_one_that_is_read_only_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="l: no such file"):
        Ledger(tmp_path / "l", FunctionJudge(longer, name="longer"), read_only=True)
    assert not list(tmp_path.iterdir())
