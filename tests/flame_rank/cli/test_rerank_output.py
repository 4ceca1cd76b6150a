"""Where the rankings of `flame-rank rerank` go: a file, standard output, a terminal."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from commands import GOOD, Done, Run, started, write

# Where it goes.


def test_output_to_a_file(rerank: Run, tmp_path: Path) -> None:
    file, out = write(tmp_path / "f", GOOD), tmp_path / "out"
    done = rerank(file, "-o", out)
    assert done.status == 0 and done.out == b"" and json.loads(out.read_bytes())["best"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "out"]


def test_a_bad_line_leaves_the_part_and_the_old_file(rerank: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    done = rerank(write(tmp_path / "f", GOOD, GOOD, b"{"), "-o", out)
    done.mistake("f:3: not JSON", f"the 2 before it are in {out}.part")
    assert out.read_text() == "old" and len((tmp_path / "out.part").read_bytes().splitlines()) == 2


def test_a_folder_that_does_not_exist(rerank: Run, tmp_path: Path) -> None:
    rerank(write(tmp_path / "f", GOOD), "-o", tmp_path / "no" / "out").mistake("its folder does not exist")
    rerank(write(tmp_path / "f", GOOD), "-o", tmp_path).mistake(str(tmp_path), "directory")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk(tmp_path: Path) -> None:
    file = write(tmp_path / "f", *[GOOD] * 300)
    with Path("/dev/full").open("wb") as full:
        process = started(file, stdout=full)
        _, err = process.communicate(timeout=60)
    Done(process.returncode, b"", err.decode()).mistake("stdout: No space left on device")
    assert err.count(b"\n") == 1


def test_a_table_for_people(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD | {"task_id": "t"})
    done = rerank(file, "--format", "table")
    head, row = done.out.decode().splitlines()
    assert head.split()[0] == "problem" and row.split()[0] == "t" and "P(best)" in head
    assert rerank(file).records[0]["best"] is not None  # no terminal
    rerank(file, "--format", "table", "-o", "out").mistake("-o FILE keeps JSONL")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_a_terminal_gets_the_table(tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD)
    ours, theirs = os.openpty()
    with started(file, stdout=theirs, stderr=subprocess.PIPE, cwd=tmp_path) as running:
        said = running.stderr.read() if running.stderr else b""
        assert running.wait() == 0 and b"-o FILE keeps the rankings" in said
    os.close(theirs)
    assert b"best candidate" in os.read(ours, 10_000)
    os.close(ours)


# Size.


def test_a_thousand_problems_stream_in_constant_memory(rerank: Run, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        file = write(tmp_path / "f", *[GOOD | {"id": k, "long": "x" * 20_000} for k in range(count)])
        tracemalloc.start()
        try:
            assert rerank(file, "-o", tmp_path / "out").status == 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)  # what is imported and cached at the first run is no part of it
    assert peak(1000) < 10_000_000  # 20 MB of input; at most 1024 comparisons are open at a time
    with (tmp_path / "out").open("rb") as out:
        assert sum(1 for _ in out) == 1000


def test_one_thing_goes_to_standard_output(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD)
    for options in (["--report", "-"], ["--json-summary", "-"], ["-o", "x", "--report", "-", "--json-summary", "-"]):
        rerank(file, *options).mistake("only one may write to standard output")
    assert not (tmp_path / "x").exists()


def test_a_shard_from_standard_input_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"a": 1}\n')
    with (tmp_path / "x").open("rb") as lines:
        command = [
            sys.executable,
            "-c",
            "from flame_rank.cli.group import main; main()",
            "merge",
            "-",
            str(tmp_path / "x"),
        ]
        done = subprocess.run(command, stdin=lines, capture_output=True, text=True)
    assert done.returncode == 2 and "is the same file as" in done.stderr


def test_bad_lines_of_what_has_no_folder_go_here(tmp_path: Path) -> None:
    code = "from flame_rank.cli.group import main; main()"
    command = f'{sys.executable} -c "{code}" rerank --judge agreement --on-bad-line quarantine <(cat c)'
    (tmp_path / "c").write_bytes(json.dumps(GOOD).encode() + b"\nnope\n")
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    [bad] = tmp_path.glob("*.bad")
    assert bad.read_bytes() == b"nope\n"
