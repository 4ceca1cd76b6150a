"""Parquet in and out, and files at an address."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flame_rank import Reranker, read_problems
from flame_rank.errors import UserError
from flame_rank.io import parquet as pack
from flame_rank.io.output import Output, to_lines

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS: list[dict[str, Any]] = [
    {"prompt": "2 + 2?", "samples": ["It is 4.", "It is 5."], "n": 2**60 + 1, "deep": {"a": [1, 2]}},
    {"prompt": "3 + 3?", "samples": ["It is 6.", "It is 7.", "It is 8."], "n": None, "deep": {"a": []}},
]


def first(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    return [float(len(b) - len(a)) + (a < b) - (a > b) for a, b in pairs]


def write(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    return path


def test_rows_are_problems(tmp_path: Path) -> None:
    problems = list(read_problems(write(tmp_path / "in.parquet")))
    assert [problem.texts for problem in problems] == [tuple(row["samples"]) for row in ROWS]
    assert problems[0].name.endswith("in.parquet:1")
    written = json.loads(to_lines(Reranker(first).rank(problems[0])))
    assert {key: written[key] for key in ROWS[0]} == ROWS[0]


def test_flat_rows_are_gathered(tmp_path: Path) -> None:
    rows = [{"task_id": t, "prompt": t, "completion": c} for t, c in (("a", "1"), ("b", "2"), ("a", "3"))]
    problems = read_problems(write(tmp_path / "in.parquet", rows))
    assert [(problem.name, problem.texts) for problem in problems] == [("a", ("1", "3")), ("b", ("2",))]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(OSError, match="damaged"):
        list(read_problems(path))


def test_rankings_go_to_parquet_and_come_back(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    rankings = list(Reranker(first).rank_many(read_problems(write(tmp_path / "in.parquet"))))
    with Output(out) as output:
        for ranking in rankings:
            output.write(to_lines(ranking))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out.parquet"]
    rows = parquet.read_table(out).to_pylist()
    assert [row["ranking"] for row in rows] == [ranking.order for ranking in rankings]
    assert [row["n"] for row in rows] == [row["n"] for row in ROWS]
    again = list(Reranker(first).rank_many(read_problems(out)))
    assert [ranking.order for ranking in again] == [ranking.order for ranking in rankings]


def test_a_column_of_two_kinds_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"out.parquet.*two types.*out.parquet.part"),
        Output(tmp_path / "out.parquet") as o,
    ):
        o.write(b'{"a": 1}\n{"a": "x"}\n')
    assert (tmp_path / "out.parquet.part").read_bytes() == b'{"a": 1}\n{"a": "x"}\n'
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_an_address_is_read_and_written(name: str, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/in.parquet", write(tmp_path / "in.parquet").read_bytes())
    problems = list(read_problems("memory://bucket/in.parquet"))
    assert problems[1].name == "memory://bucket/in.parquet:2"
    with Output(f"memory://bucket/{name}") as output:
        assert not memory.exists(f"/bucket/{name}")  # there at once, or not at all
        for ranking in Reranker(first).rank_many(problems):
            output.write(to_lines(ranking))
    assert [p.texts for p in read_problems(f"memory://bucket/{name}")] == [p.texts for p in problems]


def test_flat_lines_at_an_address_are_read_once(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    lines = [{"task_id": t, "prompt": t, "completion": c} for t, c in (("a", "1"), ("b", "2"), ("a", "3"))]
    fsspec.filesystem("memory").pipe("/bucket/flat.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    assert [p.texts for p in read_problems("memory://bucket/flat.jsonl")] == [("1", "3"), ("2",)]


def test_an_address_that_leads_nowhere_is_one_line() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(read_problems("memory://bucket/nowhere.jsonl"))
    with pytest.raises(UserError, match="gopher"):
        list(read_problems("gopher://bucket/in.jsonl"))


def test_the_lock_holds_while_the_file_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = "import sys; from flame_rank.io.writing import lock; from pathlib import Path; lock(Path(sys.argv[1]))"
    said, tables = [], pack._tables

    def between(*given: Any) -> Any:
        yield from tables(*given)
        part = str(tmp_path / "o.parquet.part")
        said.append(subprocess.run([sys.executable, "-c", asks, part], capture_output=True, text=True).stderr)

    monkeypatch.setattr(pack, "_tables", between)
    with Output(tmp_path / "o.parquet") as out:
        out.write(b'{"a": 1}\n')
    assert len(said) == 2 and all("is writing it" in line for line in said)
    assert parquet.read_table(tmp_path / "o.parquet").to_pylist() == [{"a": 1}]


def test_times_of_pandas_and_rows_that_are_no_text(tmp_path: Path) -> None:
    time = arrow.array([1_700_000_000_123_456_789], arrow.timestamp("ns"))
    rows = arrow.table({"prompt": ["p"], "candidates": [["a", "b"]], "t": time})
    parquet.write_table(rows, tmp_path / "t.parquet")
    [problem] = read_problems(tmp_path / "t.parquet")
    assert json.loads(to_lines(Reranker(first).rank(problem)))["t"].startswith("2023-11-14T22:13:20.123456")
    bad = arrow.Array.from_buffers(arrow.string(), 1, arrow.array([b"\xff"]).buffers())
    parquet.write_table(arrow.table({"prompt": bad, "candidates": [["a"]]}), tmp_path / "u.parquet")
    with pytest.raises(OSError, match="damaged"):
        list(read_problems(tmp_path / "u.parquet"))


def test_a_number_that_parquet_cannot_hold(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"o.parquet: .*o.parquet.part is the output as JSONL"),
        Output(tmp_path / "o.parquet") as out,
    ):
        out.write(b'{"n": 123456789012345678901234567890}\n')
    assert (tmp_path / "o.parquet.part").exists()


def test_an_address_is_checked_before_the_run() -> None:
    pytest.importorskip("fsspec")
    for address, said in (("gopher://x/y.jsonl", "gopher"), ("memory://bucket/", "must end in a file's name")):
        with pytest.raises(UserError, match=said):
            Output(address)
