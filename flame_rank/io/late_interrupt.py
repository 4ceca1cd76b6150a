"""Delays Ctrl-C to a moment at which nothing is left half done."""

import signal
import threading
from types import FrameType


class LateInterrupt:
    """Delays Ctrl-C until what has begun is complete, such as a line that is written; a second Ctrl-C is not delayed.

    The handler is set once: setting it for each line would take as long as writing the line.

    Attributes:
      busy: whether something has begun and is not complete.
    """

    def __init__(self) -> None:
        self.busy = self._waiting = self._installed = False

    def install(self) -> None:
        """Sets the handler, unless the program has its own or this is not the main thread, which alone may set one."""
        here = threading.current_thread() is threading.main_thread()
        if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._installed = True

    def restore(self) -> None:
        """Restores Python's default handler."""
        if self._installed and signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def begin(self) -> None:
        """Marks the begin of what must become complete."""
        self.busy = True

    def end(self) -> None:
        """Marks that it is complete.

        Raises:
          KeyboardInterrupt: Ctrl-C was pressed in the meantime.
        """
        self.busy = False
        if self._waiting:
            self._waiting = False
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.busy or self._waiting:
            raise KeyboardInterrupt
        self._waiting = True
