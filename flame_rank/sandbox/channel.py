"""Sends messages between two processes over file descriptors: a message is JSON, preceded by its length."""

import json
import os
import struct
from typing import Any

LONGEST = 16 << 20  # bytes of one message of an untrusted process


class Closed(BaseException):
    """The other side is gone, or has sent an invalid message. A test cannot mistake this for an error that it
    expects."""


def send(descriptor: int, message: Any) -> None:
    """Writes a whole message.

    Raises:
      OSError: the other side is gone.
    """
    text = json.dumps(message).encode()
    data = memoryview(struct.pack("<I", len(text)) + text)
    while data:
        data = data[os.write(descriptor, data) :]


def receive(descriptor: int, longest: int = LONGEST) -> Any:
    """Waits for a message.

    Raises:
      Closed: the other side is gone, or has sent an invalid or too long message.
    """
    (length,) = struct.unpack("<I", _read(descriptor, 4))
    if length > longest:
        raise Closed(f"a message of {length} bytes, more than {longest}")
    try:
        return json.loads(_read(descriptor, length))
    except (ValueError, RecursionError) as error:
        raise Closed(f"not a message: {type(error).__name__}") from error


def _read(descriptor: int, count: int) -> bytes:
    parts = []
    while count:
        part = os.read(descriptor, min(count, 1 << 16))
        if not part:
            raise Closed("the other side is gone")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
