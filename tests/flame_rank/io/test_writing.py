"""No file is taken for two things, written by two processes, or gone while it is replaced."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flame_rank.errors import UserError
from flame_rank.io.output import Output
from flame_rank.io.writing import bring_back, claimed, part_of, put, write_whole

LINE = b'{"prompt":"p","candidates":["a","bb"]}\n'
RERANK = [sys.executable, "-c", "from flame_rank.cli.group import main; main()", "rerank", "--judge", "agreement"]


def rerank(*arguments: str | Path, **how: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*RERANK, *map(str, arguments)], text=True, capture_output=True, check=False, **how)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    ("file", "options", "said"),
    [
        ("r.jsonl", ["-o", "r.jsonl"], "the output is the same file as the input"),
        ("r.jsonl.part", ["-o", "r.jsonl"], "what the output is written to first is the same file as the input"),
        (
            "q.jsonl.bad",
            ["-o", "q.jsonl", "--on-bad-line", "quarantine"],
            "the file of bad lines is the same file as the input",
        ),
        ("f", ["-o", "x", "--ledger", "x"], "the ledger is the same file as the output"),
        ("f", ["-o", "x", "--ledger", "x.part"], "the ledger is the same file as what the output is written to first"),
        ("f", ["-o", "x-wal", "--ledger", "x"], "the ledger's log is the same file as the output"),
        (
            "f",
            ["--report", "x.html", "--json-summary", "x.html.part"],
            "what the report is written to first is the same file as the summary",
        ),
        ("f", ["-o", "link"], "the output is the same file as the input"),
        ("f", ["-o", "soft"], "the output is the same file as the input"),
        ("f", ["-o", "folder/../f"], "the output is the same file as the input"),
        ("f", ["--ledger", "link"], "the ledger is the same file as the input"),
        ("f-shm", ["--ledger", "f"], "the ledger's index is the same file as the input"),
    ],
)
def test_one_file_for_two_things(tmp_path: Path, file: str, options: list[str], said: str) -> None:
    (tmp_path / "folder").mkdir()
    for name in {"f", file}:
        (tmp_path / name).write_bytes(LINE)
    os.link(tmp_path / "f", tmp_path / "link")
    (tmp_path / "soft").symlink_to("f")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    done = rerank(file, *options, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_standard_stream_is_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(LINE)
    with file.open("rb") as given:
        done = rerank("-", "-o", file, stdin=given)
    assert done.returncode == 2 and "the output is the same file as the input" in done.stderr
    with file.open("ab") as taken:  # which would go on for ever
        done = subprocess.run([*RERANK, str(file)], stdout=taken, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2 and "the standard output is the same file as the input" in done.stderr
    assert file.read_bytes() == LINE


def test_two_runs_with_one_output(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(LINE)
    first = subprocess.Popen([*RERANK, "-", "-o", tmp_path / "out"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert first.stdin is not None
    while not (tmp_path / "out.part").exists():
        time.sleep(0.05)
        assert first.poll() is None
    time.sleep(0.2)
    first.stdin.write(LINE)
    second = rerank(tmp_path / "f", "-o", tmp_path / "out")
    assert second.returncode == 2 and f"process {first.pid} is writing it" in second.stderr
    first.send_signal(signal.SIGKILL)
    first.wait()
    with contextlib.suppress(BrokenPipeError):
        first.stdin.close()
    assert rerank(tmp_path / "f", "-o", tmp_path / "out").returncode == 0  # the lock died with its process
    assert (tmp_path / "out").read_bytes().count(b"\n") == 1 and not (tmp_path / "out.part").exists()


def test_an_output_has_one_writer_in_a_process(tmp_path: Path) -> None:
    with Output(tmp_path / "x") as first:
        first.write(b"1\n")
        with pytest.raises(UserError, match=rf"x\.part: process {os.getpid()} is writing it"), Output(tmp_path / "x"):
            pass
        first.write(b"2\n")
    assert (tmp_path / "x").read_bytes() == b"1\n2\n"
    with Output(tmp_path / "x") as again:
        again.write(b"3\n")
    assert (tmp_path / "x").read_bytes() == b"3\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    with claimed(tmp_path / "a" / "out"):
        with (
            pytest.raises(UserError, match=rf"a/out: process {os.getpid()} is writing it"),
            claimed(tmp_path / "a" / "out"),
        ):
            pass
        with claimed(tmp_path / "a" / "other"):
            pass
    with claimed(tmp_path / "a" / "out"):
        pass
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize("exchanged", [True, False])
def test_a_folder_is_put_where_another_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanged: bool) -> None:
    if not exchanged:
        monkeypatch.setattr("flame_rank.io.writing._exchanged", lambda one, other: False)
    for text in ("one", "two", "three"):
        (tmp_path / "best.part").mkdir()
        (tmp_path / "best.part" / "f").write_text(text)
        put(tmp_path / "best.part", tmp_path / "best")
        assert (tmp_path / "best" / "f").read_text() == text
        assert [path.name for path in tmp_path.iterdir()] == ["best"]


@pytest.mark.parametrize("exchanged", [True, False])
def test_killed_at_any_moment_one_of_two_folders_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanged: bool
) -> None:
    """Stands in for a kill by an exception out of each change to the names, one after the other."""

    class Killed(BaseException):
        pass

    if not exchanged:
        monkeypatch.setattr("flame_rank.io.writing._exchanged", lambda one, other: False)
    for moment in range(6):
        folder = tmp_path / str(moment)
        for name in ("best", "best.part"):
            (folder / name).mkdir(parents=True)
            (folder / name / "f").write_text(name)
        left = moment

        def counted(do: Callable[..., object]) -> Callable[..., object]:
            def instead(*arguments: object, **options: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return do(*arguments, **options)

            return instead

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", counted(Path.rename))
            patch.setattr("shutil.rmtree", counted(shutil.rmtree))
            with contextlib.suppress(Killed):
                put(folder / "best.part", folder / "best")
        if exchanged:
            assert (folder / "best" / "f").exists()
        bring_back(folder / "best")
        assert (folder / "best" / "f").read_text() in ("best", "best.part")


def test_a_file_is_written_whole_and_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_whole(path, "naïve\n")
    assert path.read_bytes() == "naïve\n".encode()
    write_whole(path, b"\xff")
    assert path.read_bytes() == b"\xff" and [other.name for other in path.parent.iterdir()] == ["a.txt"]
    assert part_of(path).name == "a.txt.part"


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/full")
    with pytest.raises(UserError, match="link: No space left on device"):
        write_whole(link, "x")
    assert link.is_symlink() and [path.name for path in tmp_path.iterdir()] == ["link"]


def test_links_are_written_through_and_the_systems_stay(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "soft").symlink_to("real")
    with (tmp_path / "stdout").open("wb") as file:
        (tmp_path / "dev").symlink_to(f"/proc/self/fd/{file.fileno()}")  # as /dev/stdout leads there
        for name in ("soft", "dev"):
            with Output(tmp_path / name) as out:
                out.write(b"1\n")
            assert (tmp_path / name).is_symlink()
        write_whole(tmp_path / "dev", "2\n")
    assert (tmp_path / "dev").is_symlink() and (tmp_path / "stdout").read_text() == "2\n"
    assert (tmp_path / "real").read_text() == "1\n"
    write_whole(tmp_path / "soft", "3\n")
    assert (tmp_path / "real").read_text() == "3\n" and (tmp_path / "soft").is_symlink()


def test_a_refused_second_writer_does_not_end_the_lock(tmp_path: Path) -> None:
    asks = "import sys; from flame_rank.io.writing import lock; from pathlib import Path; lock(Path(sys.argv[1]))"
    with Output(tmp_path / "x") as out:
        with pytest.raises(UserError, match="is writing it"), Output(tmp_path / "x"):
            pass
        other = subprocess.run([sys.executable, "-c", asks, str(tmp_path / "x.part")], capture_output=True, text=True)
        assert "is writing it" in other.stderr
        out.write(b"1\n")
    assert (tmp_path / "x").read_text() == "1\n"
