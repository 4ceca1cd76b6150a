"""Transfers values between the checker and the untrusted process as data: the receiver gets built-in types only,
whatever `__eq__` or `__class__` the sender's objects have.

None, bool, str, list, float and small int are JSON's own; everything else is an object with one tag.
"""

import datetime
import decimal
import fractions
import json
import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

MOST_ITEMS = 100_000  # of an iterator, which may have no end
_EXACT = 1 << 53
# Types that are written as text and read by a constructor.
_WRITTEN: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "decimal": (decimal.Decimal, str, decimal.Decimal),
    "fraction": (fractions.Fraction, str, fractions.Fraction),
    "datetime": (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "time": (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
    "complex": (complex, lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "bytearray": (bytearray, bytearray.hex, bytearray.fromhex),
    "range": (range, lambda value: [hex(n) for n in (value.start, value.stop, value.step)], lambda parts: range(
        *(int(n, 16) for n in parts))),
}  # fmt: skip
# Types that are written as their items.
_ITEMS: dict[str, tuple[Any, Callable[[list[Any]], Any]]] = {
    "tuple": (tuple, tuple),
    "set": (set, lambda items: _gathered(items)),
    "frozenset": (frozenset, lambda items: frozenset(_gathered(items))),
    "deque": (deque, deque),
    "keys": (type({}.keys()), lambda items: _paired([[item, None] for item in items]).keys()),
    "values": (type({}.values()), lambda items: dict(enumerate(items)).values()),
    "iterator": (Iterator, iter),
}


class Opaque:
    """Replaces a value of the other process that cannot be sent as data; it is true or false, and equal to nothing
    else."""

    def __init__(self, kind: str, truth: bool):
        self.kind, self.truth = kind, truth

    def __bool__(self) -> bool:
        return self.truth

    def __repr__(self) -> str:
        return f"<{self.kind}>"


class Codec:
    """Encodes and decodes values, and remembers the encoded functions, which the other side may call."""

    def __init__(self, call: Callable[[int, tuple[Any, ...], dict[str, Any]], Any], namespace: dict[str, Any]):
        """Args:
        call: calls a function of the other side by its number.
        namespace: the globals of the program; an instance of a class in it is encoded as its attributes.
        """
        self.functions: list[Any] = []
        self._call, self._namespace = call, namespace

    def encode(self, value: Any) -> Any:
        """Converts a value to data for JSON."""
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int(value) if -_EXACT < int(value) < _EXACT else {"int": hex(int(value))}
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, list):
            return [self.encode(item) for item in list.__iter__(value)]
        if isinstance(value, dict):
            return {"dict": [[self.encode(key), self.encode(item)] for key, item in dict.items(value)]}
        for tag, (known, _) in _ITEMS.items():
            if isinstance(value, known):
                return {tag: [self.encode(item) for item in islice(value, MOST_ITEMS)]}
        for tag, (known, write, _) in _WRITTEN.items():
            if isinstance(value, known):
                return {tag: write(value)}
        return self._object(value, kind)

    def decode(self, data: Any) -> Any:
        """Converts data from `encode` to a value of built-in types.

        Raises:
          ValueError, TypeError, KeyError: `encode` does not write such data.
        """
        if isinstance(data, list):
            return [self.decode(item) for item in data]
        if not isinstance(data, dict):
            return data
        ((tag, content),) = data.items()
        if tag == "dict":
            return _paired([[self.decode(key), self.decode(item)] for key, item in content])
        if tag == "int":
            return int(content, 16)
        if tag in _ITEMS:
            return _ITEMS[tag][1]([self.decode(item) for item in content])
        if tag in _WRITTEN:
            return _WRITTEN[tag][2](content)
        if tag == "function":
            return self._remote(int(content))
        if tag == "opaque":
            return Opaque(str(content[0]), bool(content[1]))
        if tag != "instance":
            raise ValueError(f"unknown tag {tag!r}")
        cls = self._namespace.get(content[0])
        if type(cls) is not type or cls.__module__ != self._namespace.get("__name__", "builtins"):
            return Opaque(str(content[0]), bool(content[2]))
        made: Any = object.__new__(cls)
        made.__dict__.update(self.decode(content[1]))
        return made

    def _object(self, value: Any, kind: type) -> Any:
        if self._namespace.get(kind.__name__) is kind and hasattr(value, "__dict__"):
            with suppress(RecursionError):  # one that leads back to itself
                return {"instance": [kind.__name__, self.encode(vars(value)), bool(value)]}
        if kind.__module__ == "numpy" and getattr(value, "shape", None) == ():
            return self.encode(value.item())
        if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.MethodType | type):
            self.functions.append(value)
            return {"function": len(self.functions) - 1}
        return {"opaque": [kind.__name__, bool(value)]}

    def _remote(self, number: int) -> Callable[..., Any]:
        def remote(*arguments: Any, **named: Any) -> Any:
            return self._call(number, arguments, named)

        return remote


def canonical(data: Any) -> str:
    """Writes data as a text that is the same for equal data, in whatever order a set or dict is."""
    return json.dumps(_sorted(data), sort_keys=True)


def _sorted(data: Any) -> Any:
    if isinstance(data, list):
        return [_sorted(item) for item in data]
    if not isinstance(data, dict):
        return data
    ((tag, content),) = data.items()
    content = _sorted(content)
    return {tag: sorted(content, key=json.dumps) if tag in ("set", "frozenset", "dict", "keys") else content}


def _gathered(items: list[Any]) -> set[Any]:
    """Makes a set item by item: items with equal hashes take long, and a timer can only interrupt between two steps."""
    gathered = set()
    for item in items:
        gathered.add(item)
    return gathered


def _paired(items: list[list[Any]]) -> dict[Any, Any]:
    paired = {}
    for key, item in items:
        paired[key] = item
    return paired
