"""Readers of releases: what is right is read, and what is not is told with its place."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank.errors import UserError
from trainer.collection.release_files import BadRecord, Folder, map_records

LINES = b'{"a": 1}\n\n{"a": [2, null]}\n'


def write(folder: Path, name: str, content: bytes) -> Folder:
    (folder / name).write_bytes(content)
    return Folder(folder)


def bad(rows: Any) -> list[tuple[str, str]]:
    """Where the bad records stand, relative to the folder, and why they are bad."""
    return [(where.rsplit("/", 1)[-1], str(record)) for where, record in rows if isinstance(record, BadRecord)]


@pytest.mark.parametrize(
    ("end", "pack"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_jsonl_in_any_packing(end: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    folder = write(tmp_path, f"f.jsonl{end}", pack(LINES))
    assert list(folder.jsonl("f.jsonl")) == [
        (f"{tmp_path}/f.jsonl{end}:1", {"a": 1}),
        (f"{tmp_path}/f.jsonl{end}:3", {"a": [2, None]}),
    ]
    assert folder.has("*.jsonl") and not folder.has("g.jsonl")


@pytest.mark.parametrize(("end", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_a_packed_file_that_is_cut_or_damaged_is_named(
    end: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    whole = pack(LINES * 100)
    for content in (whole[: len(whole) // 2], whole[:20] + b"\0\0\0\0" + whole[24:], b"not packed"):
        folder = write(tmp_path, f"f.jsonl{end}", content)
        with pytest.raises(UserError, match=f"f.jsonl{end}: "):
            list(folder.jsonl("f.jsonl"))


def test_bad_lines_of_jsonl(tmp_path: Path) -> None:
    deep = b"[" * 100_000
    folder = write(
        tmp_path, "f", b'{"a": 1}\n{"a": 1\n{"a": "\xff"}\n' + deep + b"\n" + b'{"b": "' + b"x" * 10**7 + b'"}\n'
    )
    rows = list(folder.jsonl("f"))
    assert [where.rsplit(":", 1)[1] for where, _ in rows] == ["1", "2", "3", "4", "5"]
    assert [place for place, _ in bad(rows)] == ["f:2", "f:3", "f:4"] and len(rows[4][1]["b"]) == 10**7


def test_json_files(tmp_path: Path) -> None:
    folder = write(tmp_path, "a.json", b'{"k": [{"x": 1}, {"x": 2}], "o": {"p": {"x": 3}}, "n": 4}')
    assert [record for _, record in folder.records("a.json", "k")] == [{"x": 1}, {"x": 2}]
    assert [(where.rsplit("/", 1)[1], r) for where, r in folder.records("a.json", "o")] == [("a.json: 'p'", {"x": 3})]
    for key in ("n", "missing"):
        with pytest.raises(UserError, match=rf"a.json: holds no records under '{key}'"):
            list(folder.records("a.json", key))
    for content in (b'[{"x": 1}, {"x"', b'["\xff"]', b" "):
        with pytest.raises(UserError, match=r"b\.json: not whole JSON"):
            list(write(tmp_path, "b.json", content).records("b.json"))
    with pytest.raises(UserError, match=r"c\.json: no such file"):
        list(folder.json("c.json"))


def test_csv_with_its_quirks(tmp_path: Path) -> None:
    content = '\ufeffa,b\r\n"x, ""y""","two\nlines"\r\n\r\n1,\xe9\r\n'.encode()
    rows = list(write(tmp_path, "f.csv", content).csv("f.csv"))
    assert [record for _, record in rows] == [{"a": 'x, "y"', "b": "two\nlines"}, {"a": "1", "b": "\xe9"}]
    assert rows[1][0] == f"{tmp_path}/f.csv:5"
    plain = write(tmp_path, "f.tsv", b'say "hi\tx\tmore\nno\ty\n')
    read = plain.csv("f.tsv", delimiter="\t", quoted=False, columns=("p", "q"), more=True)
    assert [record for _, record in read] == [{"p": 'say "hi', "q": "x"}, {"p": "no", "q": "y"}]


def test_bad_rows_of_csv(tmp_path: Path) -> None:
    folder = write(tmp_path, "f", b"a,b\n1\n1,2,3\n1,\xff\n\0,2\n" + b"x" * 10**6 + b",2\n")
    rows = list(folder.csv("f"))
    assert bad(rows)[:3] == [
        ("f:2", "1 columns instead of 2"),
        ("f:3", "3 columns instead of 2"),
        ("f:4", "not UTF-8"),
    ]
    assert len(rows[-1][1]["a"]) == 10**6


def test_a_table_that_ends_within_a_row_was_cut(tmp_path: Path) -> None:
    folder = write(tmp_path, "f", b"a,b\n1,2\n3,four")
    assert [record for _, record in folder.csv("f", unended=True)] == [{"a": "1", "b": "2"}, {"a": "3", "b": "four"}]
    assert bad(folder.csv("f")) == [("f:3", "the file ends within this line; fetch it again")]
    (quoted,) = bad(write(tmp_path, "f", b'a,b\n1,2\n3,"fo\n').csv("f"))
    assert quoted == ("f:3", "not CSV (unexpected end of data)")
    (lone,) = bad(write(tmp_path, "f", b'a,b\n1",2\n"3 ""x""",4\n').csv("f"))
    assert lone == ("f:2", "a quotation mark without its partner")
    assert list(write(tmp_path, "f", b"a,b\n").csv("f")) == []
    with pytest.raises(UserError, match="the file is empty; fetch it again"):
        list(write(tmp_path, "f", b"").csv("f"))


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([{"a": "x", "b": [1]}, {"a": None, "b": []}]), tmp_path / "f.parquet")
    assert list(Folder(tmp_path).parquet("*.parquet")) == [
        (f"{tmp_path}/f.parquet: row 1", {"a": "x", "b": [1]}),
        (f"{tmp_path}/f.parquet: row 2", {"a": None, "b": []}),
    ]
    whole = (tmp_path / "f.parquet").read_bytes()
    for content in (whole[:-9], whole[5:], b"x"):
        with pytest.raises(UserError, match=r"f\.parquet: not whole parquet after row 0"):
            list(write(tmp_path, "f.parquet", content).parquet("f.parquet"))


def test_aligned_lines(tmp_path: Path) -> None:
    folder = write(tmp_path, "a", b"1\n2\n\xff\n4")
    write(tmp_path, "b", b"x\r\ny\r\nz\r\nw\r\n")
    rows = list(folder.lines("a", "b", unended=True))
    assert [record for _, record in rows[:2]] == [("1", "x"), ("2", "y")] and rows[3][1] == ("4", "w")
    assert bad(rows) == [("a:3", "a: not UTF-8 at byte 0")]
    cut = ("a:4", "a: the file ends within this line; fetch it again")
    assert bad(folder.lines("a", "b")) == [("a:3", "a: not UTF-8 at byte 0"), cut]
    write(tmp_path, "b", b"x\n")
    with pytest.raises(UserError, match="b: ends before line 2"):
        list(folder.lines("a", "b"))


def test_changed_rows() -> None:
    rows = [("f:1", {"a": "1"}), ("f:2", BadRecord("cut")), ("f:3", {"b": "1"}), ("f:4", {"a": "x"})]
    results = list(map_records(iter(rows), lambda record: int(record["a"])))
    assert results[0] == ("f:1", 1)
    assert bad(results) == [
        ("f:2", "cut"),
        ("f:3", "no field 'a'"),
        ("f:4", "ValueError: invalid literal for int() with base 10: 'x'"),
    ]


@given(st.lists(st.dictionaries(st.text(min_size=1), st.text() | st.integers(-(2**53), 2**53) | st.none())))
def test_what_json_writes_is_read(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]) -> None:
    lines = ["", *(json.dumps(record) for record in records), ""]
    folder = write(tmp_path_factory.mktemp("f"), "f", "\n".join(lines).encode())
    surrogates = any("\\ud" in json.dumps(record) for record in records)
    assert surrogates or [record for _, record in folder.jsonl("f")] == records
