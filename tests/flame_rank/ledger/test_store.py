"""The ledger: what was recorded is found again, and only that, whatever becomes of the process that recorded it."""

import hashlib
import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.cli.exit import run
from flame_rank.cli.ledger import drop, ledger, size
from flame_rank.errors import UserError
from flame_rank.judges.function import FunctionJudge
from flame_rank.ledger import file as ledger_file
from flame_rank.ledger.store import Known, Ledger
from flame_rank.records import Candidate, Problem


def judge(name: str = "j", pool_aware: bool = False) -> FunctionJudge:
    """A judge to be named; nobody asks it."""
    judge = FunctionJudge(lambda prompt, pairs: [0.0] * len(pairs), name=name)
    judge.pool_aware = pool_aware
    return judge


def problem(*texts: str, prompt: str = "p") -> Problem:
    return Problem(prompt=prompt, candidates=texts)


def pairs(*indices: tuple[int, int]) -> np.ndarray:
    return np.array(indices, np.int64).reshape(-1, 2)


def one(path: Path, texts: Sequence[str], by: FunctionJudge | None = None, prompt: str = "p") -> float | None:
    """What a ledger knows of the first text against the second; None where it knows nothing."""
    with Ledger(path, by or judge()) as ledger:
        [known] = ledger.look_up([(problem(*texts, prompt=prompt), pairs((0, 1)))])
    return float(known.log_odds[0]) if known.known[0] else None


def put(path: Path, log_odds: float, texts: Sequence[str] = ("a", "b"), by: FunctionJudge | None = None) -> None:
    with Ledger(path, by or judge()) as ledger:
        ledger.record([(problem(*texts), pairs((0, 1)))], [np.array([log_odds])], ["why"])


def bits(values: Sequence[float]) -> bytes:
    """Log-odds to the last bit, with one NaN for all."""
    return np.array([math.nan if math.isnan(value) else value for value in values], np.float64).tobytes()


# What was recorded is found again, and nothing else.

# Texts that would collide where they are put together without their lengths, or cut at a NUL.
TRICKY = st.sampled_from(["", "a", "ab", "abc", "b", "bc", "c", "\0", "a\0", "a\0b", "é", "e\u0301", "\U0001f600", "p"])
TEXTS = TRICKY | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
JUDGES = {"j": False, "jk": False, "k": True, "": True}  # name: does it look at the pool?
LOG_ODDS = st.floats() | st.sampled_from([0.0, -0.0, 1.0, math.inf, -math.inf, math.nan])


@st.composite
def questions(draw: st.DrawFn) -> tuple[Problem, list[tuple[int, int]]]:
    texts = draw(st.lists(TEXTS, min_size=1, max_size=4))
    indices = st.integers(0, len(texts) - 1)
    asked = draw(st.lists(st.tuples(indices, indices), max_size=6))
    return Problem(prompt=draw(TEXTS), candidates=texts), asked


@st.composite
def batches(draw: st.DrawFn) -> tuple[str, list[tuple[Problem, list[tuple[int, int]]]], list[Any], list[str | None]]:
    asked = draw(st.lists(questions(), max_size=3))
    answers = [draw(st.lists(LOG_ODDS, min_size=len(p), max_size=len(p))) for _, p in asked]
    return draw(st.sampled_from([*JUDGES])), asked, answers, [draw(st.none() | TEXTS) for _ in asked]


@settings(deadline=None, max_examples=60)
@given(written=st.lists(batches(), max_size=4), also=st.lists(questions(), max_size=2), coin=st.randoms())
def test_finds_what_was_recorded(
    tmp_path_factory: pytest.TempPathFactory, written: list[Any], also: list[Any], coin: random.Random
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "l"
    truth: dict[Any, tuple[float, str | None]] = {}

    def content(name: str, problem: Problem, i: int, j: int) -> Any:
        pool = tuple(sorted(problem.texts)) if JUDGES[name] else None
        return name, problem.prompt, problem.texts[i], problem.texts[j], pool

    for name, asked, answers, reasons in written:
        with Ledger(path, judge(name, JUDGES[name])) as ledger:
            ledger.record([(p, pairs(*q)) for p, q in asked], [np.array(a, np.float64) for a in answers], reasons)
        for (p, q), values, reason in zip(asked, answers, reasons, strict=True):
            for (i, j), value in zip(q, values, strict=True):
                truth.setdefault(content(name, p, i, j), (value, reason if math.isnan(value) else None))
    for name in JUDGES:
        asked = [question for _, asked, _, _ in written for question in asked] + also
        coin.shuffle(asked)
        asked = [(p, coin.sample([*q, *q], 2 * len(q))) for p, q in asked]
        with Ledger(path, judge(name, JUDGES[name])) as ledger:
            found = ledger.look_up([(p, pairs(*q)) for p, q in asked])
        for (p, q), known in zip(asked, found, strict=True):
            wanted = [truth.get(content(name, p, i, j)) for i, j in q]
            assert known.known.tolist() == [w is not None for w in wanted]
            assert bits(known.log_odds.tolist()) == bits([math.nan if w is None else w[0] for w in wanted])
            assert known.reasons == tuple(dict.fromkeys(w[1] for w in wanted if w and w[1] is not None))


def test_what_is_in_the_key(tmp_path: Path) -> None:
    path = tmp_path / "l"
    put(path, 1.5, ["ab", "c"])
    assert one(path, ["ab", "c"]) == one(path, ["ab", "c", "d"]) == 1.5
    assert one(path, ["a", "bc"]) is one(path, ["c", "ab"]) is None
    assert one(path, ["ab", "c"], prompt="p2") is one(path, ["ab", "c"], judge("k")) is None
    with Ledger(path, judge()) as ledger:  # elsewhere in the file, under another name, as another kind of candidate
        other = Problem(prompt="p", candidates=["x", "c", Candidate(text="ab", fields={"id": 1})], name="T/1")
        assert ledger.look_up([(other, pairs((2, 1)))])[0].log_odds.tolist() == [1.5]


def test_a_judge_that_looks_at_the_pool_is_asked_about_each_pool(tmp_path: Path) -> None:
    path, by = tmp_path / "l", judge("k", pool_aware=True)
    put(path, 1.5, ["a", "b", "c", "c"], by)
    assert one(path, ["a", "b", "c", "c"], by) == 1.5
    with Ledger(path, by) as ledger:  # the order of the candidates is nothing
        [known] = ledger.look_up([(problem("c", "b", "c", "a"), pairs((3, 1), (1, 3)))])
    assert known.log_odds[0] == 1.5 and known.known.tolist() == [True, False]
    assert one(path, ["a", "b", "c"], by) is one(path, ["a", "b", "b", "c"], by) is one(path, ["a", "b"], by) is None


def test_the_key_is_the_one_that_is_documented(tmp_path: Path) -> None:
    def sha(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(parts)).digest()

    put(tmp_path / "l", 1.0, ["é", "b"], judge("j"))
    put(tmp_path / "l", 1.0, ["é", "b"], judge("k", pool_aware=True))
    p, a, b = sha(b"p"), sha("é".encode()), sha(b"b")
    with closing(sqlite3.connect(tmp_path / "l")) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM judgement ORDER BY pool")]
        assert [key[0] for key in connection.execute("SELECT pool FROM judgement ORDER BY pool")] == [
            None,
            sha(*sorted([a, b]))[:16],
        ]
    assert keys == [sha(sha(b"j"), p, a, b), sha(sha(b"k"), p, a, b, sha(*sorted([a, b])))]


def test_the_first_answer_stays(tmp_path: Path) -> None:
    path = tmp_path / "l"
    put(path, math.nan)
    put(path, 2.0)
    put(path, -math.inf, ["c", "d"])
    put(path, 1.0, ["c", "d"])
    assert math.isnan(one(path, ["a", "b"]) or 0.0) and one(path, ["c", "d"]) == -math.inf


def test_many_comparisons_at_once(tmp_path: Path) -> None:
    n = 80
    asked = [(problem(*map(str, range(n))), pairs(*((i, j) for i in range(n) for j in range(n) if i != j)))]
    values = np.random.default_rng(0).normal(size=n * (n - 1))
    with Ledger(tmp_path / "l", judge()) as ledger:
        assert not ledger.look_up(asked)[0].known.any() and ledger.look_up([]) == []
        ledger.record(asked, [values], [None])
        [known] = ledger.look_up(asked)
    assert known.known.all() and known.log_odds.tobytes() == values.tobytes()
    assert size(tmp_path / "l") / len(values) < 140


def test_answers_of_another_length_are_refused_whole(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l", judge()) as ledger:
        asked = [(problem("a", "b"), pairs((0, 1), (1, 0)))]
        with pytest.raises(ValueError, match="shorter"):
            ledger.record(asked, [np.zeros(1)], [None])
        assert not ledger.look_up(asked)[0].known.any()


def test_digests_live_as_long_as_their_problem(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l", judge()) as ledger:
        for k in range(100):
            ledger.look_up([(problem("a", str(k)), pairs((0, 1)))])
        assert len(ledger._digests) <= 1


def test_a_name_and_a_reason_that_are_no_text(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l", judge("dir\udcff:f")) as ledger:
        asked = [(problem("a", "b"), pairs((0, 1)))]
        ledger.record(asked, [np.array([np.nan])], ["no file 'x\udcff'\0"])
        assert ledger.look_up(asked)[0].reasons == ("no file 'x\\udcff'\0",)


# Processes.

WRITER = """
import sys
import numpy as np
from flame_rank.judges.function import FunctionJudge
from flame_rank.ledger.store import Ledger
from flame_rank.records import Problem

path, value, count = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
order = range(count) if value > 0 else reversed(range(count))
pairs = np.argwhere(~np.eye(20, dtype=bool))
print("ready", flush=True)
sys.stdin.readline()
with Ledger(path, FunctionJudge(lambda prompt, pairs: [], name="j")) as ledger:
    for k in order:
        problem = Problem(prompt=str(k), candidates=[f"{k}/{i}" for i in range(20)])
        ledger.record([(problem, pairs)], [np.full(len(pairs), value)], [None])
        print(k, flush=True)
"""


def writer(path: Path, value: float, count: int) -> subprocess.Popen[str]:
    """A process that records problems 0, 1, ... (of a negative value, from the last one) and says each one's number."""
    line = [sys.executable, "-c", WRITER, str(path), str(value), str(count)]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def written(path: Path, count: int) -> list[Known]:
    """What a ledger knows of the writer's problems."""
    asked = np.argwhere(~np.eye(20, dtype=bool))
    with Ledger(path, judge()) as ledger:
        numbers = range(count)
        return ledger.look_up([(problem(*(f"{k}/{i}" for i in range(20)), prompt=str(k)), asked) for k in numbers])


def test_a_killed_process_loses_nothing_it_has_recorded(tmp_path: Path) -> None:
    path, moments, most = tmp_path / "l", random.Random(0), 0
    for wait in (0.0, 0.004, *(moments.uniform(0, 0.4) for _ in range(4))):  # the first ones while it is being made
        process = writer(path, 1.0, 100_000)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        go(process)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
        said = [int(line) for line in out.splitlines()]
        assert said == list(range(len(said)))
        most = max(most, len(said))
        known = written(path, most + 2)
        assert all(one.known.all() for one in known[:most])
        assert all(one.known.all() or not one.known.any() for one in known)  # a batch is whole or not there
        assert not known[-1].known.any()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert most > 5
    assert [file.name for file in tmp_path.iterdir()] == ["l"]


def test_two_processes_write_one_ledger(tmp_path: Path) -> None:
    path, count = tmp_path / "l", 40
    processes = [writer(path, 1.0, count), writer(path, -1.0, count)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        go(process)
    outs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [sorted(map(int, out.split())) for out in outs] == [list(range(count))] * 2
    known = written(path, count)
    assert all(one.known.all() for one in known)
    values = [set(one.log_odds.tolist()) for one in known]  # of each batch, those of the process that came first
    assert all(value in ({1.0}, {-1.0}) for value in values)


# What a user can do wrong.


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")


def newer(path: Path) -> None:
    put(path, 1.0)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9")


def damaged(path: Path) -> None:
    with Ledger(path, judge()) as ledger:
        texts = [str(i) for i in range(20)]
        ledger.record([(problem(*texts), np.argwhere(~np.eye(20, dtype=bool)))], [np.zeros(380)], [None])
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text('{"prompt": "p"}\n' * 100), "not an SQLite file"),
    "another database": (foreign, "a database, but not a ledger"),
    "a newer ledger": (newer, "newer version"),
    "a damaged file": (damaged, "damaged"),
    "a folder": (lambda path: path.mkdir(), ""),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_file_that_is_no_ledger(tmp_path: Path, command: Any, case: str) -> None:
    path = tmp_path / "l"
    make, message = MISTAKES[case]
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UserError) as caught:
        put(path, 1.0, ["0", "1"])
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert message in str(caught.value)
    for line in (["info", path], ["export", path], ["vacuum", path]):
        command(*line).mistake(str(path), message)
    assert before is None or path.read_bytes() == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"l: its folder does not exist; create {tmp_path / 'no'}"):
        put(tmp_path / "no" / "l", 1.0)
    with pytest.raises(UserError, match="/dev/null: not a regular file"):
        put(Path("/dev/null"), 1.0)


def test_an_empty_file_becomes_a_ledger(tmp_path: Path, command: Any) -> None:
    path = tmp_path / "a #?%20 name"  # and a name that is odd in a URI
    path.touch()
    command("info", path).mistake(str(path), "not a ledger")
    put(path, 1.0)
    assert one(path, ["a", "b"]) == 1.0 and [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_may_only_be_read(tmp_path: Path, command: Any) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    path = folder / "l"
    put(path, 1.0)
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(UserError, match="l: read-only"):
        put(path, 2.0)
    folder.chmod(0o555)
    try:
        with pytest.raises(UserError, match=r"l: (read-only|cannot be opened)"):
            put(path, 2.0)
        with pytest.raises(UserError, match="new: cannot be opened"):
            put(folder / "new", 2.0)
        assert command("info", path).status == command("export", path).status == 0
        command("vacuum", path).mistake(str(path), "read-only")
    finally:
        folder.chmod(0o755)


def test_a_file_that_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "l"
    put(path, 1.0)
    monkeypatch.setattr(ledger_file, "PATIENCE", 0.1)
    monkeypatch.setattr(ledger_file, "_TRY", 0.01)
    with Ledger(path, judge()) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        asked = [(problem("c", "d"), pairs((0, 1)))]
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="l: locked by another process"):
            put(path, 2.0)
        with pytest.raises(UserError, match="l: locked by another process"):
            ledger.record(asked, [np.ones(1)], [None])
        assert one_of(ledger, "a", "b") == 1.0  # reading goes on
        other.execute("COMMIT")
        ledger.record(asked, [np.ones(1)], [None])
        assert one_of(ledger, "c", "d") == 1.0


def one_of(ledger: Ledger, first: str, second: str) -> float:
    [known] = ledger.look_up([(problem(first, second), pairs((0, 1)))])
    return float(known.log_odds[0])


def test_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "l"
    put(path, 1.0)
    with Ledger(path, judge()) as ledger:
        [pages] = ledger._connection.execute("PRAGMA page_count").fetchone()
        ledger._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        asked = [(problem(*map(str, range(20))), np.argwhere(~np.eye(20, dtype=bool)))]
        with pytest.raises(UserError, match="l: the disk is full"):
            ledger.record(asked, [np.zeros(380)], [None])
        assert one_of(ledger, "a", "b") == 1.0 and not ledger.look_up(asked)[0].known.any()
        ledger.record([(problem("c", "d"), pairs((0, 1)))], [np.ones(1)], [None])  # for which there is room
    assert one(path, ["c", "d"]) == 1.0


# The commands.


class Done:
    """What a command came to."""

    def __init__(self, status: object, out: bytes, err: bytes):
        self.status, self.out, self.err = status, out.decode(), err.decode()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def mistake(self, *words: str) -> None:
        """Checks that it was a mistake of the user's, told in one line."""
        last = self.err.splitlines()[-1]
        assert self.status == 2 and "Traceback" not in self.err and not self.out
        assert last.startswith("Error: ") and all(word in last for word in words), last


@pytest.fixture
def command(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Done]:
    """Runs `flame-rank ledger` in this process."""

    def call(*arguments: object) -> Done:
        stdout = sys.stdout
        try:
            run(ledger, "flame-rank ledger", list(map(str, arguments)))
        except SystemExit as end:
            status = end.code
        finally:
            sys.stdout = stdout  # run takes it away, so that nothing is written to it at exit
        return Done(status, *capfdbinary.readouterr())

    return call


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A ledger of two judges: five valid judgements, two of them infinite, and three invalid ones."""
    path = tmp_path / "l"
    with Ledger(path, judge("j")) as ledger:
        asked = [(problem("a", "b", "c"), pairs((0, 1), (1, 0), (0, 2), (2, 0)))]
        ledger.record(asked, [np.array([0.25, math.inf, -math.inf, math.nan])], ["it is ill,\nsaid Ω"])
        ledger.record([(problem("a", "d"), pairs((0, 1)))], [np.array([math.nan])], [None])
    with Ledger(path, judge("k", pool_aware=True)) as ledger:
        ledger.record([(problem("a", "b", "c"), pairs((0, 1), (1, 0), (1, 2)))], [np.array([1, 2, math.nan])], ["no"])
    return path


def test_info(command: Any, full: Path) -> None:
    done = command("info", full)
    assert done.status == 0 and not done.err
    assert done.out.splitlines() == [
        f"{full}: 8 judgements, 3 of them invalid, 0.02 MB",
        "j: 5 judgements, 2 of them invalid",
        "  1 no reason given",
        "  1 it is ill, said Ω",
        "k: 3 judgements, 1 of them invalid",
        "  1 no",
    ]
    told = json.loads(command("info", "--json", full).out)
    assert told == {
        "file": str(full), "bytes": full.stat().st_size, "judgements": 8, "invalid": 3,
        "judges": [
            {"name": "j", "judgements": 5, "invalid": 2,
             "reasons": [{"reason": None, "count": 1}, {"reason": "it is ill,\nsaid Ω", "count": 1}]},
            {"name": "k", "judgements": 3, "invalid": 1, "reasons": [{"reason": "no", "count": 1}]},
        ],
    }  # fmt: skip


def test_info_of_many_reasons(command: Any, tmp_path: Path) -> None:
    with Ledger(tmp_path / "l", judge()) as ledger:
        asked = [(problem("a", str(k)), pairs((0, 1))) for k in range(13)]
        ledger.record(asked, [np.array([math.nan])] * 13, [f"reason {min(k, 11)}" for k in range(13)])
    lines = command("info", tmp_path / "l").out.splitlines()
    assert len(lines) == 13 and lines[2] == "  2 reason 11" and lines[-1].startswith("  and 2 reasons more")
    assert len(json.loads(command("info", "--json", tmp_path / "l").out)["judges"][0]["reasons"]) == 12


def test_export(command: Any, full: Path, tmp_path: Path) -> None:
    done = command("export", full)
    records = done.records
    assert done.status == 0 and not done.err and len(records) == 8
    keys = [record["key"] for record in records]
    assert keys == sorted(keys) and all(len(key) == 64 for key in keys)
    a, b = (hashlib.sha256(text.encode()).hexdigest()[:32] for text in "ab")
    [ab] = [r for r in records if (r["judge"], r["first"], r["second"]) == ("j", a, b)]
    prompt = hashlib.sha256(b"p").hexdigest()[:32]
    assert ab == {
        "key": ab["key"], "judge": "j", "prompt": prompt, "first": a, "second": b, "pool": None, "log_odds": 0.25,
        "reason": None, "verdict_mass": None,
    }  # fmt: skip
    assert {r["log_odds"] for r in records if r["judge"] == "j"} == {0.25, "Infinity", "-Infinity", None}
    assert {r["reason"] for r in records} == {None, "it is ill,\nsaid Ω", "no"}
    assert len({r["pool"] for r in records if r["judge"] == "k"} - {None}) == 1
    out = tmp_path / "out"
    assert command("export", full, "-o", out).out == "" and out.read_text() == done.out
    assert command("export", full, "-o", "-").out == done.out


def test_an_export_is_no_ledger(command: Any, full: Path, tmp_path: Path) -> None:
    before = full.read_bytes()
    command("export", full, "-o", full).mistake(f"{full}: the output is the same file as the ledger")
    command("export", full, "-o", tmp_path / "no" / "out").mistake("its folder does not exist")
    assert full.read_bytes() == before and not Path(f"{full}.part").exists()


def test_vacuum(command: Any, full: Path) -> None:
    done = command("vacuum", full)
    assert done.status == 0 and not done.out and f"{full}: 0 judgements dropped, 8 kept; 0.02 MB before" in done.err
    assert "1 judgements dropped, 7 kept" in command("vacuum", full, "--invalid", "--judge", "k").err
    assert "2 judgements dropped, 5 kept" in command("vacuum", full, "--invalid").err
    assert one(full, ["a", "d"]) is None and one(full, ["a", "b"]) == 0.25
    assert "3 judgements dropped, 2 kept" in command("vacuum", full, "--judge", "j").err
    assert [one["name"] for one in json.loads(command("info", full, "--json").out)["judges"]] == ["k"]
    command("vacuum", full, "--judge", "j").mistake(str(full), "no judgement by 'j'; its judges are k")
    put(full, 3.0)
    assert one(full, ["a", "b"]) == 3.0


def test_vacuum_makes_a_ledger_smaller_that_others_have_open(tmp_path: Path) -> None:
    path = tmp_path / "l"
    asked = [(problem(*map(str, range(40))), np.argwhere(~np.eye(40, dtype=bool)))]
    with Ledger(path, judge()) as ledger:
        ledger.record(asked, [np.zeros(1560)], [None])
        before = size(path)
        assert drop(path, invalid=False, judge="j") == (1560, 0, True)
        assert size(path) < before / 5
        ledger.record(asked, [np.ones(1560)], [None])  # its judge is gone from the file, and comes back
        assert (ledger.look_up(asked)[0].log_odds == 1).all()
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM judge").fetchone()
            assert drop(path, invalid=True, judge=None) == (0, 1560, False)


@pytest.mark.parametrize("name", ["info", "export", "vacuum"])
def test_a_file_that_is_not_there_is_not_made(command: Any, tmp_path: Path, name: str) -> None:
    command(name, tmp_path / "l").mistake(str(tmp_path / "l"), "does not exist")
    assert not list(tmp_path.iterdir())


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from flame_rank.cli.ledger import ledger\n"
        "ledger.main(['export', '--help'], standalone_mode=False)\n"
        "print('heavy:', {'numpy', 'sqlite3', 'msgspec'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: set()\n") and not done.stderr
