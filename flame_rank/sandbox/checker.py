"""The trusted parent of one untrusted process: it runs the tests, and the functions under test are called in the
untrusted process.

A test sees a function that looks like the program's own; its results are transferred as data (values.py).
"""

import builtins
import json
import os
import resource
import select
import signal
from collections.abc import Callable
from typing import Any

from flame_rank.sandbox import channel
from flame_rank.sandbox.program import limit
from flame_rank.sandbox.values import Codec

WALL = 3  # times the processor time: a busy machine does not turn a slow pass into a failure
_LONGEST_VALUE = 1 << 16  # characters of the result of a call that is kept
_LOOK = 0.05  # seconds between two looks at what the program takes


class Stopped(BaseException):
    """The program exceeds a limit."""

    def __init__(self, kind: str, reason: str):
        super().__init__(reason)
        self.kind, self.reason = kind, reason


class Checker:
    """Carries out one order for the process `child`."""

    def __init__(self, child: int, read: int, write: int, main: int, usage: Callable[[], tuple[int, int]]):
        """Args:
        child: its pid.
        read, write: the file descriptors from and to it.
        main: the descriptor of the process that gave the order; if that process ends, so does the work.
        usage: returns the bytes of memory and of files that the untrusted processes use now.
        """
        self._child, self._read, self._write, self._main, self._usage = child, read, write, main, usage
        self._namespace: dict[str, Any] = {"__name__": "tests"}
        self._codec = Codec(self._call, self._namespace)
        self._memory = self._disk = 0
        self._alarms = 0
        self._over: BaseException | None = None  # what ended the program, which a test may have caught

    def carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carries out an order; returns its kind ("passed" or why not), the reason, and the values of its calls."""
        self._memory, self._disk = order["memory"], order["disk"]
        seconds = WALL * order["timeout"]
        limit(resource.RLIMIT_CPU, int(seconds) + 2)
        limit(resource.RLIMIT_AS, 2 * self._memory)
        signal.signal(signal.SIGALRM, self._alarm)
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)
        values: list[Any] = []
        kind, reason = "passed", ""
        try:
            cpu = max(1, round(order["timeout"]))
            own = {"program": order["program"], "cpu": cpu, "memory": self._memory, "paths": order["paths"]}
            names = self._ask(own)
            self._test(order, [str(name) for name in names] if isinstance(names, list) else [], values)
            if self._over is not None:
                raise self._over
        except Stopped as stop:
            kind, reason = stop.kind, stop.reason
        except channel.Closed as error:
            kind, reason = self._end(order["timeout"], str(error))
        except BaseException as error:
            kind, reason = self._describe(error)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return {"kind": kind, "reason": reason[:200], "values": values}

    def _test(self, order: dict[str, Any], names: list[str], values: list[Any]) -> None:
        entry = order["entry_point"]
        if order["test"] is None and order["calls"] is None:
            return
        exec(order["given"], self._namespace)
        if entry not in names:
            raise NameError(f"name '{entry}' is not defined")
        for name in {entry, *names}:
            if name == entry or not (name in self._namespace or hasattr(builtins, name)):
                self._namespace[name] = self._function(name)
        for arguments in order["calls"] or []:
            heard = self._exchange({"call": entry, "arguments": arguments, "named": {"dict": []}})
            if "error" in heard:
                values.append({"error": heard["error"][2]})
                continue
            self._decoded(heard["value"])
            if len(json.dumps(heard["value"])) > _LONGEST_VALUE:
                values.append({"error": "MemoryError"})
            else:
                values.append({"value": heard["value"]})
        if order["test"] is not None:
            exec(order["test"], self._namespace)

    def _function(self, name: str) -> Callable[..., Any]:
        def function(*arguments: Any, **named: Any) -> Any:
            return self._call(name, arguments, named)

        function.__name__ = name
        return function

    def _call(self, called: str | int, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        encode = self._codec.encode
        return self._ask({"call": called, "arguments": encode(list(arguments)), "named": encode(named)})

    def _ask(self, message: dict[str, Any]) -> Any:
        """Sends a message and returns the value of the answer, or raises the error of the answer."""
        heard = self._exchange(message)
        if "error" in heard:
            raise _exception(heard["error"])
        return self._decoded(heard["value"])

    def _decoded(self, data: Any) -> Any:
        try:
            return self._codec.decode(data)
        except (ArithmeticError, LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
            self._over = channel.Closed(f"no message: {type(error).__name__}")
            raise self._over from error

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        """Sends a message, answers the calls of this side's functions, and returns the answer."""
        if self._over is not None:
            raise self._over
        try:
            return self._talk(message)
        except (channel.Closed, Stopped) as end:
            self._over = end
            raise

    def _talk(self, message: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                channel.send(self._write, message)
            except OSError as error:
                raise channel.Closed("the other side is gone") from error
            self._wait()
            heard = channel.receive(self._read)
            if not isinstance(heard, dict):
                raise channel.Closed("not a message: not an object")
            if "call" not in heard:
                if "value" not in heard and not _is_error(heard.get("error")):
                    raise channel.Closed("not a message: neither a value nor an error")
                return heard
            function, decode = self._codec.functions[int(heard["call"])], self._codec.decode
            try:
                value = function(*decode(heard["arguments"]), **decode(heard["named"]))
                message = {"value": self._codec.encode(value)}
            except Exception as error:
                message = {"error": [[], f"{type(error).__name__}: {error}", ""]}

    def _wait(self) -> None:
        """Waits until the program answers, and checks its use of resources meanwhile."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        poll.register(self._main, 0)
        while not (events := dict(poll.poll(1000 * _LOOK))):
            memory, disk = self._usage()
            if memory > self._memory:
                raise Stopped("memory", f"took {memory >> 20} MiB of memory")
            if disk > self._disk:
                raise Stopped("killed", f"wrote {disk >> 20} MiB")
        if self._main in events:
            os._exit(1)

    def _alarm(self, number: int, frame: object) -> None:
        self._alarms += 1
        if self._alarms > 2:  # a test that swallows everything
            os._exit(1)
        self._over = Stopped("timeout", "timed out")
        raise self._over

    def _end(self, timeout: float, message: str) -> tuple[str, str]:
        """Explains how a process that does not answer has ended."""
        if not message.startswith("the other side"):
            return "killed", message
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.kill(self._child, signal.SIGKILL)  # no more than a zombie, if it has ended by itself
        _, status, used = os.wait4(self._child, 0)
        code = os.waitstatus_to_exitcode(status)
        # The kernel counts by its ticks what a limit is compared with, so that it may kill somewhat early.
        if code == -signal.SIGKILL and used.ru_utime + used.ru_stime >= max(1, round(timeout)) / 2:
            return "timeout", "timed out"
        return "killed", f"ended by signal {-code}" if code < 0 else f"left early with status {code}"

    def _describe(self, error: BaseException) -> tuple[str, str]:
        kinds: dict[str, type[BaseException] | tuple[type[BaseException], ...]] = {
            "syntax": SyntaxError, "name": NameError, "import": ImportError, "assertion": AssertionError,
            "memory": MemoryError,
        }  # fmt: skip
        kind = next((kind for kind, types in kinds.items() if isinstance(error, types)), "error")
        name = getattr(error, "sandbox_name", type(error).__name__)
        try:
            return kind, f"{name}: {error}"
        except Exception:
            return kind, name


def _is_error(error: object) -> bool:
    return (
        isinstance(error, list)
        and [type(part) for part in error] == [list, str, str]
        and all(isinstance(name, str) for name in error[0])
    )


def _exception(error: list[Any]) -> BaseException:
    """Returns the built-in exception that is nearest to the described one."""
    for name in error[0]:
        cls = getattr(builtins, name, None)
        if isinstance(cls, type) and issubclass(cls, StopIteration | StopAsyncIteration | GeneratorExit):
            continue  # it would end a loop of the tests
        if isinstance(cls, type) and issubclass(cls, BaseException):
            try:
                made = cls(error[1])
            except TypeError:  # one that takes more than a message
                continue
            vars(made)["sandbox_name"] = error[2]
            return made
    return RuntimeError(error[1])
