"""Runs one untrusted program to its end in a limited process of its own.

The limits keep an honest model's mistakes (endless loops, runaway memory, stray files) from hurting the machine.
They are no defence against a program written to attack it: use a container for that.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Self

# Reads the program from standard input, so that neither its length nor its encoding meets the command line.
# The token tells a program that ran to its end from one that left early with status 0.
_BOOT = """
import os, resource, sys
token, cpu, memory, report = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
program = sys.stdin.buffer.read().decode("utf-8", "surrogatepass")
for limit, value in ((resource.RLIMIT_CPU, cpu), (resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0),
                     (resource.RLIMIT_FSIZE, 16 << 20), (resource.RLIMIT_NOFILE, 64)):
    resource.setrlimit(limit, (value, value))
sys.argv = [""]
del resource, limit, value, cpu, memory
try:
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
except BaseException as error:
    try:
        said = f"{type(error).__name__}: {error}"[:200]
    except BaseException:
        said = type(error).__name__
    os.write(report, said.encode("utf-8", "replace"))
else:
    os.write(report, token.encode())
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended.

    Attributes:
      passed: it ran to its last line without an exception.
      reason: why it did not: the exception, "timed out", or the signal that ended it; "" when it passed.
    """

    passed: bool
    reason: str = ""

    @classmethod
    def of(cls, said: str, token: str, status: int) -> Self:
        if said == token:
            return cls(True)
        if said:
            return cls(False, said)
        if status == -signal.SIGXCPU or status == -signal.SIGKILL:
            return cls(False, "timed out")
        return cls(False, f"ended by signal {-status}" if status < 0 else f"left early with status {status}")


def run(program: str, *, timeout: float = 3.0, memory: int = 2 << 30) -> Outcome:
    """Runs a Python program in a new session, an empty scratch directory and an isolated interpreter.

    Args:
      program: Python source.
      timeout: seconds of processor time; the wall clock ends it at three times as many, so that a busy machine
        does not turn a slow pass into a failure.
      memory: bytes of address space.
    """
    token = secrets.token_hex(16)
    read, write = os.pipe()
    command = [sys.executable, "-I", "-S", "-c", _BOOT, token, str(max(1, round(timeout))), str(memory), str(write)]
    with tempfile.TemporaryDirectory(prefix="flame-rank-") as scratch, os.fdopen(read, "rb") as report:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=scratch,
                env={"HOME": scratch, "PYTHONHASHSEED": "0"},
                pass_fds=[write],
                start_new_session=True,
            )
        finally:
            os.close(write)
        try:
            process.communicate(program.encode("utf-8", "surrogatepass"), timeout=3 * timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # The session outlives its leader where the program started processes of its own.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            status = process.wait()
        # A process that left the session may still hold the pipe open: what is there now is all that counts.
        os.set_blocking(report.fileno(), False)
        said = (report.read() or b"").decode("utf-8", "replace")
    return Outcome.of(said, token, status)


def run_many(programs: Iterable[str], *, workers: int, timeout: float = 3.0) -> Iterator[Outcome]:
    """Runs programs side by side and yields their outcomes in input order; no more than 4 a worker are held."""
    programs = iter(programs)
    with ThreadPoolExecutor(workers) as pool:
        running = deque(pool.submit(run, program, timeout=timeout) for program in islice(programs, 4 * workers))
        while running:
            yield running.popleft().result()
            running.extend(pool.submit(run, program, timeout=timeout) for program in islice(programs, 1))
