"""Packed files are unpacked by their first bytes; what comes live is ranked as it comes."""

import gzip
import io
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flame_rank import read_problems
from flame_rank.errors import UserError
from flame_rank.io.output import Output
from flame_rank.io.streams import opened

RERANK = [sys.executable, "-c", "from flame_rank.cli.group import main; main()", "rerank", "--judge", "agreement"]
LINES = b"".join(json.dumps({"prompt": f"p {i}", "candidates": ["a", "b" * i]}).encode() + b"\n" for i in range(1, 40))
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "zst of unknown size": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
    "plain": bytes,
}


@pytest.mark.parametrize("form", PACK)
def test_by_its_first_bytes(tmp_path: Path, form: str) -> None:
    (tmp_path / "f").write_bytes(PACK[form](LINES))
    assert [problem.prompt for problem in read_problems(tmp_path / "f")] == [f"p {i}" for i in range(1, 40)]
    half = len(LINES) // 2
    (tmp_path / "f").write_bytes(PACK[form](LINES[:half]) + PACK[form](LINES[half:]))  # as `cat` joins them
    assert len(list(read_problems(tmp_path / "f"))) == 39
    samples = b"".join(b'{"task_id":"t%d","prompt":"p","completion":"%d"}\n' % (i % 3, i) for i in range(9))
    (tmp_path / "f").write_bytes(PACK[form](samples))
    assert [len(problem) for problem in read_problems(tmp_path / "f")] == [3, 3, 3]


@pytest.mark.parametrize("form", ["gz", "xz", "zst", "plain"])
def test_from_a_pipe(form: str) -> None:
    done = subprocess.run([*RERANK, "-"], input=PACK[form](LINES), capture_output=True, check=True)
    assert done.stdout.count(b"\n") == 39


@pytest.mark.parametrize("form", ["gz", "xz", "zst"])
def test_a_damaged_one_is_named(tmp_path: Path, form: str) -> None:
    (tmp_path / "f").write_bytes(PACK[form](LINES)[:-6])
    with pytest.raises(OSError, match="damaged") as caught:
        list(read_problems(tmp_path / "f"))
    assert caught.value.filename == str(tmp_path / "f")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(["gz", "xz", "zst"]), at=st.integers(6, 200), byte=st.integers(0, 255))
def test_any_damage_is_one_of_three_ends(tmp_path: Path, form: str, at: int, byte: int) -> None:
    data = bytearray(PACK[form](LINES))
    data[at % len(data)] = byte
    (tmp_path / "f").write_bytes(data)
    try:
        list(read_problems(tmp_path / "f"))
    except (UserError, OSError) as error:
        assert str(tmp_path / "f") in str(error)


def test_without_what_unpacks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (tmp_path / "f").write_bytes(PACK["zst"](LINES))
    with pytest.raises(UserError, match=r"/f: compressed by zstd; pip install zstandard"):
        list(read_problems(tmp_path / "f"))


def test_a_packed_output(tmp_path: Path) -> None:
    with Output(tmp_path / "x.gz") as out:
        out.write(b"1\n")
        with gzip.open(tmp_path / "x.gz.part") as file:  # as far as it is, a killed run loses nothing
            assert file.read1(10) == b"1\n"
        out.write(b"2\n")
    assert gzip.decompress((tmp_path / "x.gz").read_bytes()) == b"1\n2\n"
    with pytest.raises(UserError, match=r"x\.zst: output can be JSONL, \.gz or \.parquet"):
        Output(tmp_path / "x.zst")


def test_a_ranking_comes_when_its_problem_is_done() -> None:
    """One line in, one ranking out, before the next line is written."""
    running = subprocess.Popen([*RERANK, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert running.stdin is not None and running.stdout is not None
    with running.stdin, running.stdout:
        for line in LINES.splitlines(keepends=True)[:3]:
            running.stdin.write(line)
            running.stdin.flush()
            assert json.loads(running.stdout.readline())["prompt"] == json.loads(line)["prompt"]
        running.stdin.close()
        assert running.wait() == 0


def test_ready_is_never_asked_to_wait() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as pipe:
        pipe.write(b"one\ntwo\nthr")
        before = sys.stdin
        sys.stdin = io.TextIOWrapper(file)
        try:
            with opened("-", "stdin") as stream:
                assert stream.ready is not None and not stream.twice
                assert stream.ready() and next(iter(stream.lines)) == b"one\n"
                assert stream.ready() and next(iter(stream.lines)) == b"two\n"
                assert not stream.ready()
                pipe.write(b"ee\n")
                assert stream.ready() and next(iter(stream.lines)) == b"three\n"
                assert not stream.ready()
                pipe.close()
                assert stream.ready() and list(stream.lines) == []
        finally:
            sys.stdin.detach()
            sys.stdin = before
