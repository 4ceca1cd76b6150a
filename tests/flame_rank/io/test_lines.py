"""Lines and objects of any JSONL file, and lines that no memory holds."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from flame_rank.io.lines import BadLine, read_objects

GOOD = b'{"task_id": "HumanEval/0", "prompt": "p", "candidates": ["a", "b"]}\n'


def test_numbers_and_objects(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": [2]}')
    assert [(number, dict(fields)) for number, fields in read_objects(tmp_path / "f", "")] == [
        (1, {"a": 1}),
        (3, {"a": [2]}),
    ]


@pytest.mark.parametrize("line", [b"3", b"a,b"])
def test_what_a_line_is_like(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "f").write_bytes(line)
    with pytest.raises(BadLine, match=r'f:1: not .*\{"x": 1\}'):
        list(read_objects(tmp_path / "f", '{"x": 1}'))


def test_damage_is_placed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(gzip.compress(b"{}\n" * 9_999)[:-10])
    seen: list[int] = []
    with pytest.raises(OSError, match="damaged: it cannot be decompressed to its end") as caught:
        seen.extend(number for number, _ in read_objects(tmp_path / "f", ""))
    assert caught.value.filename == str(tmp_path / "f") and seen[-1] > 1
    assert str(caught.value.strerror).endswith(f", after line {seen[-1]}")


LITTLE = """
import resource, sys
from flame_rank.cli.group import main
import flame_rank.judges, flame_rank.ranking.reranker, flame_rank.humaneval.table
have = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (have + (200 << 20),) * 2)
main(sys.argv[1:])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
@pytest.mark.parametrize("command", ["rerank", "humaneval"])
def test_a_line_larger_than_the_memory(tmp_path: Path, command: str) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.write(GOOD)
        file.truncate(1 << 30)  # zeros that take no place on the disk
    line = [sys.executable, "-c", LITTLE, command, str(tmp_path / "f"), "--judge", "agreement"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "Interrupted" not in done.stderr
    said = f"Error: {tmp_path / 'f'}:2: too large for the memory; remove the line, or split it"
    assert done.stderr.splitlines()[-1] == said
