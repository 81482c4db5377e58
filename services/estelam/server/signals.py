"""Signals to be waited for: none is lost, whenever it arrives, and no number of them ends the process."""

import contextlib
import signal
import socket
from types import FrameType

_BYTES = 4096


class Signals:
    """Signals that this process has received. A process has at most one of these; its main thread creates it.

    A handler runs between two instructions of the main thread. A signal that arrives after the last of them and before
    the system call that waits would be handled only once that wait has ended, which may be never. So the interpreter's
    own handler also writes to a socket, at once.

    The handler is a function written in C. One in Python is interrupted by the next signal before its first
    instruction, so that a flood of signals nests it: 8 deep were seen, and the limit on recursion ends the process.
    """

    def __init__(self, *numbers: int) -> None:
        """Note each of the signals *numbers* that arrives from now on."""
        self.socket, self._writer = socket.socketpair()
        """Readable when a signal may have arrived."""
        self.socket.settimeout(0)
        self._writer.settimeout(0)
        self._received: dict[int, FrameType | None] = {}
        # A full socket loses no signal: the handler still runs, and the socket is readable.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self.add(*numbers)

    def add(self, *numbers: int) -> None:
        """Note these signals too."""
        for number in numbers:
            signal.signal(number, self._received.setdefault)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # one that the program has blocked until now counts

    def close(self) -> None:
        """Close the sockets; the signals have no effect from then on."""
        signal.set_wakeup_fd(-1)
        self.socket.close()
        self._writer.close()

    def take(self) -> frozenset[int]:
        """Return the signals that have arrived since the last time; the socket is unreadable until the next one."""
        with contextlib.suppress(BlockingIOError):
            while self.socket.recv(_BYTES):
                pass
        taken = frozenset(self._received)
        for number in taken:
            del self._received[number]
        return taken
