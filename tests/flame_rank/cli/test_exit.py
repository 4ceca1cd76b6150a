"""Exit statuses, and interruptions that leave whole lines."""

import io
import json
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from commands import COMMAND, GOOD, HOME, Done, Run, started, write

from flame_rank.cli.exit import run
from flame_rank.cli.tables import print_table


def test_a_closed_standard_output(tmp_path: Path) -> None:
    line = f'exec "$0" -c "$1" rerank {write(tmp_path / "f", GOOD)} --judge functions:shorter >&-'
    done = subprocess.run(["sh", "-c", line, sys.executable, COMMAND[2]], env=HOME, capture_output=True, timeout=60)
    Done(done.returncode, b"", done.stderr.decode()).mistake("stdout")


def test_a_table_on_a_full_disk(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flame_rank", "plan", str(write(tmp_path / "f", GOOD)), "--judge", "agreement"]
    with Path("/dev/full").open("w") as full:
        kept = HOME | {"PYTHONUNBUFFERED": ""}  # so that nothing is written before the end
        done = subprocess.run(command, env=kept, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 2 and b"standard output: No space left" in done.stderr


def test_letters_that_a_terminal_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.group(invoke_without_command=True)
    def command() -> None:
        print_table(["name"], [["é"]], texts=1)

    shown = io.BytesIO()
    stream = io.TextIOWrapper(shown, "ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as ended:
        run(command, "name", [])
    assert ended.value.code == 0 and shown.getvalue().splitlines() == [b"name", rb"\xe9"]


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    process = started(write(tmp_path / "f", *[GOOD | {"long": "x" * 10_000}] * 300))
    assert process.stdout is not None
    first = process.stdout.readline()
    process.stdout.close()
    assert json.loads(first)["best"] == 1
    _, err = process.communicate(timeout=60)
    assert process.returncode == 141 and err == b""


# Ctrl-C.


def test_ctrl_c_leaves_whole_lines(tmp_path: Path) -> None:
    # Rankings are written every 20 ms, after about 20 problems: the first ones come out before "slow".
    lines = [{"prompt": str(k), "candidates": ["a", "bb"]} for k in range(200)]
    lines[150]["prompt"] = "slow"
    process = started(write(tmp_path / "f", *lines), "-o", tmp_path / "out")
    part, deadline = tmp_path / "out.part", time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().split() == ["Interrupted"]
    written = part.read_bytes()
    assert written.endswith(b"\n") and not (tmp_path / "out").exists()
    prompts = [json.loads(line)["prompt"] for line in written.splitlines()]
    assert prompts == [line["prompt"] for line in lines[: len(prompts)]] and 64 <= len(prompts) <= 150


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_ctrl_c_in_the_middle_of_a_line(tmp_path: Path, unbuffered: str) -> None:
    # Longer than a pipe holds: the command is interrupted while it waits for the reader to take the rest.
    line = GOOD | {"long": "x" * 3_000_000}
    process = started(write(tmp_path / "f", line, line), env=HOME | {"PYTHONUNBUFFERED": unbuffered})
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 60)[0]
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in err
    [record] = [json.loads(text) for text in out.splitlines()]
    assert out.endswith(b"\n") and record["best"] == 1


def test_ctrl_c_in_the_judge(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", *[GOOD | {"prompt": "interrupt" if k == 70 else "p"} for k in range(80)])
    done = rerank(file, "--judge", "functions:interrupts")
    assert done.status == 130 and done.out.endswith(b"\n") and 0 < len(done.records) <= 70


@pytest.mark.parametrize(("error", "status"), [(EOFError("cut"), 2), (KeyboardInterrupt(), 130)])
def test_the_end_of_a_file_is_no_interruption(
    error: BaseException, status: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.group()
    def group() -> None:
        raise error

    group.command("do")(lambda: None)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # `run` takes it away
    with pytest.raises(SystemExit) as end:
        run(group, "name", ["do"])
    assert end.value.code == status and ("ends too early (cut)" in capfd.readouterr().err) == (status == 2)
