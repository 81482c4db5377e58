"""Signals that end a wait, whenever they arrive."""

import contextlib
import signal
import socket
from collections.abc import Callable

_BYTES = 4096


class SignalWakeup:
    """Signals of this process, as something to wait for. A process has at most one of these.

    A handler in Python runs between two instructions of the main thread. A signal that arrives after the last of them
    and before the system call that waits would be handled only once that wait has ended, which may be never. So the
    interpreter's own handler also writes to a socket, at once.
    """

    def __init__(self, handler: Callable[[int], object], *numbers: int) -> None:
        """Call *handler* in the main thread with each of the signals *numbers* that arrives."""
        self.socket, self._writer = socket.socketpair()
        self.socket.settimeout(0)
        self._writer.settimeout(0)
        # A full socket loses no signal: the handler still runs, and the socket is readable.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda received, _frame: handler(received))

    def clear(self) -> None:
        """Make the socket unreadable until the next signal."""
        with contextlib.suppress(BlockingIOError):
            while self.socket.recv(_BYTES):
                pass
