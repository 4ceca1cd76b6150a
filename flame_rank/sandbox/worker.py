"""A process that is started once, imports everything that it needs, and waits for the next program.

    command -> launcher -> worker -> checker -> program

The launcher ends all other processes when the command ends for any reason. The worker is the first process of its
namespace: when it dies, the kernel kills all others there. For each order it forks a checker, which forks the untrusted
process *before* it reads the order, so that no test is ever in that process's memory.
"""

import gc
import importlib
import json
import os
import select
import signal
import sys
import tempfile
from contextlib import suppress
from typing import Any, NoReturn, cast

from flame_rank.sandbox import channel, isolation, program, scratch, seccomp, system
from flame_rank.sandbox.checker import Checker
from flame_rank.sandbox.isolation import DISK, SCRATCH, Level

COMMAND = 0  # the descriptor of the command that started this
# What programs import most; loaded once.
_LOADED = (
    "bisect", "cmath", "collections.abc", "copy", "datetime", "decimal", "fractions", "functools", "hashlib", "heapq",
    "inspect", "itertools", "math", "operator", "random", "re", "statistics", "string", "textwrap", "typing",
)  # fmt: skip
_DONE, _LEFT = 0, 3  # how a checker ends: with a result sent, because the command is gone


def main(settings: str) -> None:
    """Launches a worker and waits until it or the command ends.

    Args:
      settings: JSON: command (its pid), level, readable (folders that programs may read), root (that this package was
        imported from).
    """
    given: dict[str, Any] = json.loads(settings)
    command = os.pidfd_open(given["command"])
    if os.getppid() != given["command"]:
        return
    sys.path.remove(given["root"])  # what programs import is none of ours
    for name in _LOADED:
        importlib.import_module(name)
    level, launcher = cast(Level, given["level"]), os.getpid()
    base = tempfile.mkdtemp(prefix="flame-rank-") if level == "plain" else None
    try:
        isolation.separate(level)
        worker = os.fork()
    except OSError as error:
        _say_failed(error)
        return
    if worker == 0:
        _work(level, launcher, given["readable"], base)
    os.close(COMMAND)
    ended = os.pidfd_open(worker)
    poll = select.poll()
    for descriptor in (command, ended):
        poll.register(descriptor, select.POLLIN)
    with suppress(_Terminated):
        signal.signal(signal.SIGTERM, _terminate)
        poll.poll()
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    if base is not None:
        scratch.remove(base)


class _Terminated(Exception):
    """The command ends this worker."""


def _terminate(number: int, frame: object) -> NoReturn:
    raise _Terminated


def _work(level: Level, launcher: int, readable: list[str], base: str | None) -> NoReturn:
    """Carries out orders until the command is gone."""
    try:
        system.die_with_parent(launcher)
        if level != "plain":
            libraries = f"{sys.base_prefix}/lib"
            proc = isolation.build_root(level, launcher, [libraries, *readable])
        else:
            proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        user = isolation.spare_user(launcher) if base is not None else None
        if base is not None and user is not None:
            os.chmod(base, 0o711)  # noqa: PTH101
        system.set_dumpable(False)
        system.bound_privileges()
        seccomp.prepare()
    except (OSError, StopIteration) as error:
        _say_failed(error)
        os._exit(1)
    gc.collect()
    gc.freeze()
    number = 0
    while True:
        number += 1
        folder = SCRATCH if base is None else f"{base}/{number}"
        if base is not None:
            os.mkdir(folder, 0o700)  # noqa: PTH102
            os.chown(folder, -1 if user is None else user, -1)
        checker = os.fork()
        if checker == 0:
            _check(level, readable, folder, user, proc, first=number == 1)
        code = os.waitstatus_to_exitcode(os.waitpid(checker, 0)[1])
        _kill_rest(level)
        if base is None:
            isolation.renew_scratch()
        else:
            scratch.remove(folder)
        if code == _LEFT:
            os._exit(0)
        if code != _DONE:
            with suppress(OSError):
                channel.send(COMMAND, {"kind": "killed", "reason": f"ended its checker ({code})", "values": []})


def _check(level: Level, readable: list[str], folder: str, user: int | None, proc: int, *, first: bool) -> NoReturn:
    """Carries out one order."""
    try:
        worker = os.getppid()
        system.die_with_parent(worker)
        order_end, write = os.pipe()
        read, back = os.pipe()
        if level != "plain":
            system.unshare(system.NEW_PID)
        checker = os.getpid()
        child = os.fork()
        if child == 0:
            _become_program(level, folder, user, checker, order_end, back)
        os.close(order_end)
        os.close(back)
        ready = channel.receive(read)
        if first:
            channel.send(COMMAND, ready)
        if "failed" in ready:
            os._exit(_LEFT)
        order = channel.receive(COMMAND, 1 << 30)
        order |= {"paths": readable, "disk": DISK}
        own = {1, os.getpid()} if level != "plain" else {worker, os.getpid()}

        def usage() -> tuple[int, int]:
            if level == "plain":
                return _memory([child], proc), scratch.size(folder, DISK)
            there = [int(name) for name in os.listdir(proc) if name.isdecimal()]
            return _memory([pid for pid in there if pid not in own], proc), 0

        channel.send(COMMAND, Checker(child, read, write, COMMAND, usage).carry_out(order))
    except (channel.Closed, OSError):
        os._exit(_LEFT)
    except BaseException:
        os._exit(1)
    os._exit(_DONE)


def _become_program(level: Level, folder: str, user: int | None, checker: int, read: int, write: int) -> NoReturn:
    """Turns this process into the untrusted one, and runs it."""
    try:
        system.die_with_parent(checker)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        keep = sorted((read, write))
        for start, end in zip((3, keep[0] + 1, keep[1] + 1), (*keep, 1 << 16), strict=True):
            os.closerange(start, end)
        try:
            ready: dict[str, Any] = {"missing": isolation.confine(level, folder, user)}
        except OSError as error:
            ready = {"failed": str(error)}
        channel.send(write, ready)
        if "failed" not in ready:
            program.serve(read, write)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _memory(pids: list[int], proc: int) -> int:
    """Counts the bytes of memory of all processes in the proc file system of a descriptor."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            opened = os.open(f"{pid}/statm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
            total += int(os.read(opened, 200).split()[1])
            os.close(opened)
    return total * os.sysconf("SC_PAGE_SIZE")


def _kill_rest(level: Level) -> None:
    """Kills the processes that an order left behind, in any session, and waits for their end."""
    if level != "plain":
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # all of the namespace but this process, its first one
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _say_failed(error: BaseException) -> None:
    with suppress(OSError):
        channel.send(COMMAND, {"failed": str(error)})
