"""Bounds the connections of the gRPC server, which its callers share.

gRPC's own bound refuses each new connection when there are enough, no matter which caller holds them, and its API for
Python shows calls but no connections. So the process's sockets are looked through after each arrival. Channelz tells
the certificate of each connection, also of one that never makes a call. One that is not there has not finished its
handshake; its owner is its address. To gRPC a socket that is shut down is a connection that its peer has ended.
"""

import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

import structlog

from estelam.core.fair_share import displaced
from estelam.server.channelz import Peer, ServerConnections

log = structlog.get_logger()

SOCKETS: Final = "/proc/self/fd"
PAUSE_SECONDS: Final = 0.02
"""The least time between two looks; under a flood of connections a look takes a fifth of the time."""
BUSY_RATIO: Final = 4.0


def headroom(most: int) -> int:
    """Return how many connections gRPC accepts beyond *most*, for those that arrive between two looks."""
    return max(64, most // 4)


@dataclass(slots=True)
class _Connection:
    descriptor: int
    peer: Peer
    owner: Hashable


class ConnectionLimit:
    """Ends the connections beyond *most*: each time the oldest of the owner who has most.

    The server is the one that was created last in this process; *owner* returns the owner of a certificate (PEM).
    """

    def __init__(self, most: int, owner: Callable[[bytes], Hashable]) -> None:
        self._server = ServerConnections()
        self._most = most
        self._owner = owner
        self._port = 0
        self._connections: dict[int, _Connection | None] = {}
        """By the socket's inode, which no other open socket has; None for other sockets of the process."""
        self._early: dict[Peer, bytes] = {}
        """The certificates that the last look at the sockets came too early for."""
        self._ending: set[str] = set()
        self._arrived = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="connections", daemon=True)

    def start(self, port: int) -> None:
        """Watch the connections that *port* accepts."""
        self._port = port
        self._thread.start()

    def note_arrival(self) -> None:
        """Look at the connections soon: another one has been accepted."""
        self._arrived.set()

    def end(self, peer: str) -> None:
        """End the connection of *peer*, as gRPC writes it, soon."""
        self._ending.add(peer)
        self._arrived.set()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping = True
        self._arrived.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._arrived.wait()
            self._arrived.clear()
            if self._stopping:
                return
            began = time.monotonic()
            try:
                self.enforce()
            except Exception as error:  # noqa: BLE001 - the next arrival is looked at again
                log.error("connections.failed", error=type(error).__name__)
            time.sleep(max(PAUSE_SECONDS, BUSY_RATIO * (time.monotonic() - began)))

    def enforce(self) -> None:
        """Look at all connections, and end those that are too many."""
        self._look()
        connections = [each for each in self._connections.values() if each]
        # Last, so that what has no certificate had not finished its handshake when it was found to be too many.
        new = self._server.take_new()
        certificates = self._early | new
        for each in connections:
            if certificate := certificates.get(each.peer):
                each.owner = self._owner(certificate)
        self._early = {peer: new[peer] for peer in new.keys() - {each.peer for each in connections}}
        named, self._ending = self._ending, set()
        ending = {Peer.parse(each) for each in named}
        for each in connections:
            if each.peer in ending:
                self._end(each)
        for each in displaced(connections, lambda connection: connection.owner, self._most):
            self._end(each)

    def _look(self) -> None:
        """Forget the sockets that have been closed, and add the new ones in the order of their numbers."""
        present: dict[int, int] = {}
        for name in os.listdir(SOCKETS):  # noqa: PTH208 - the names are numbers
            with contextlib.suppress(OSError):
                status = os.fstat(int(name))
                if stat.S_ISSOCK(status.st_mode):
                    present[status.st_ino] = int(name)
        self._connections = {inode: each for inode, each in self._connections.items() if inode in present}
        for inode in sorted(present.keys() - self._connections.keys()):
            self._connections[inode] = self._accepted(present[inode])

    def _accepted(self, descriptor: int) -> _Connection | None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as other:
            if other.family in {socket.AF_INET, socket.AF_INET6} and other.getsockname()[1] == self._port:
                host, port, *_ = other.getpeername()
                peer = Peer.of(host, port)
                return _Connection(descriptor, peer, peer.host)
        return None

    def _end(self, connection: _Connection) -> None:
        # gRPC may have closed the socket meanwhile, and the descriptor be another's.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.descriptor)) as other:
            host, port, *_ = other.getpeername()
            if other.getsockname()[1] == self._port and Peer.of(host, port) == connection.peer:
                other.shutdown(socket.SHUT_RDWR)
