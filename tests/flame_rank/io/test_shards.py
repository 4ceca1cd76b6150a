"""Shards of an input, and their outputs put together."""

import json
from itertools import chain
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from flame_rank import read_problems
from flame_rank.cli.group import cli
from flame_rank.errors import UserError
from flame_rank.io.lines import BadLine
from flame_rank.io.shards import interleaved


def write(path: Path, count: int) -> Path:
    lines = [json.dumps({"prompt": f"p{k}", "candidates": ["a"]}) for k in range(count)]
    path.write_text("\n".join(lines) + "\n")
    return path


@given(st.integers(1, 30), st.integers(1, 7))
def test_shards_together_are_the_whole(count: int, parts: int) -> None:
    rows = [{"prompt": f"p{k}", "candidates": ["a"]} for k in range(count)]
    shards = [[p.prompt for p in read_problems(rows, shard=(part, parts))] for part in range(1, parts + 1)]
    assert sorted(chain.from_iterable(shards)) == sorted(f"p{k}" for k in range(count))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_bad_line_moves_no_problem_to_another_shard(tmp_path: Path) -> None:
    path = write(tmp_path / "f", 4)
    path.write_text("rubbish\n" + path.read_text())
    bad: list[int] = []

    def note(error: BadLine, line: bytes) -> None:
        bad.append(error.line_number)

    shards = [[p.prompt for p in read_problems(path, shard=(part, 2), on_bad_line=note)] for part in (1, 2)]
    assert (shards, bad) == ([["p0", "p2"], ["p1", "p3"]], [1, 1])


def test_flat_problems_are_whole_in_their_shard() -> None:
    rows = [{"task_id": t, "prompt": t, "completion": str(k)} for k in range(3) for t in "abc"]
    shards = [[(p.name, len(p)) for p in read_problems(rows, shard=(part, 2))] for part in (1, 2)]
    assert shards == [[("a", 3), ("c", 3)], [("b", 3)]]


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_a_part_that_there_is_not_is_refused(shard: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="I/N"):
        read_problems([], shard=shard)


@given(st.integers(0, 12), st.integers(1, 5))
def test_outputs_come_back_in_the_order_of_the_input(count: int, parts: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(part) for part in range(parts)]
        for part, file in enumerate(files):
            file.write_bytes(b"".join(b"%d\n" % k for k in range(part, count, parts)))
        assert list(interleaved([str(file) for file in files])) == [b"%d\n" % k for k in range(count)]


@pytest.mark.parametrize("sizes", [(1, 2), (3, 1), (2, 2, 0), (1, 2, 1), (3, 2, 1)])
def test_an_unfinished_shard_is_named(sizes: tuple[int, ...], tmp_path: Path) -> None:
    files = [write(tmp_path / str(k), size) if size else tmp_path / str(k) for k, size in enumerate(sizes)]
    for file in files:
        file.touch()
    with pytest.raises(UserError, match="check that each file is complete"):
        list(interleaved([str(file) for file in files]))


def test_the_command_merges_packed_files_too(tmp_path: Path) -> None:
    import gzip

    one, two = write(tmp_path / "1", 2), tmp_path / "2.gz"
    two.write_bytes(gzip.compress(b'{"prompt": "x"}\n'))
    run = CliRunner().invoke(cli, ["merge", str(one), str(two), "-o", str(tmp_path / "all")])
    assert run.exit_code == 0, run.output
    assert [json.loads(line)["prompt"] for line in (tmp_path / "all").read_text().splitlines()] == ["p0", "x", "p1"]
    run = CliRunner().invoke(cli, ["merge", str(one), "-o", str(one)])
    assert isinstance(run.exception, UserError) and "same file" in str(run.exception)
    run = CliRunner().invoke(cli, ["merge", str(one), str(one)])  # which would have every line twice
    assert isinstance(run.exception, UserError) and "shard 2 is the same file as shard 1" in str(run.exception)
    assert not run.stdout
