"""The standard health service, grpc.health.v1: Check, and Watch, which sends each change of a status."""

import threading
from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from estelam.core.errors import Reason, Refusal
from estelam.server.completion_queue import Call

CHECK: Final = b"/grpc.health.v1.Health/Check"
WATCH: Final = b"/grpc.health.v1.Health/Watch"


def _status(code: int, text: str) -> grpc.Status:
    status: grpc.Status = rpc_status.to_status(status_pb2.Status(code=code, message=text))  # type: ignore[no-untyped-call]
    return status


_UNKNOWN_SERVICE: Final = _status(code_pb2.NOT_FOUND, "This server has no such service.")
_SHUTTING_DOWN: Final = _status(code_pb2.UNAVAILABLE, "The server is shutting down.")
_REPLIES: Final[Mapping[int, bytes]] = {
    value: health_pb2.HealthCheckResponse(status=name).SerializeToString()
    for name, value in health_pb2.HealthCheckResponse.ServingStatus.items()
}


class HealthService:
    """The status of each service, and of the whole server under an empty name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: dict[str, int] = {}
        self._watchers: set[_Watcher] = set()
        self._is_final = False

    def set(self, statuses: Mapping[str, int]) -> None:
        """Set the status of each service named, and tell the watchers; without effect once `set_final` was called."""
        with self._lock:
            if not self._is_final:
                self._statuses |= statuses
                for watcher in self._watchers:
                    watcher.update(self._status_of(watcher.name))

    def set_final(self) -> None:
        """Set all to NOT_SERVING for good: the server is about to shut down."""
        self.set(dict.fromkeys(self._statuses, health_pb2.HealthCheckResponse.NOT_SERVING))
        with self._lock:
            self._is_final = True

    def end_watches(self) -> None:
        """End the call of every watcher: an open stream would hold up the shutdown."""
        with self._lock:
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher.call.end(_SHUTTING_DOWN)

    def check(self, call: Call) -> None:
        """Serve Check."""
        if (name := _service_name(call)) is None:
            call.refuse(Refusal(Reason.REQUEST_MALFORMED))
        elif (status := self._statuses.get(name)) is None:
            call.end(_UNKNOWN_SERVICE)
        else:
            call.reply(_REPLIES[status])

    def watch(self, call: Call) -> None:
        """Serve Watch: the present status, and each change until the caller ends the call."""
        if (name := _service_name(call)) is None:
            call.refuse(Refusal(Reason.REQUEST_MALFORMED))
            return
        watcher = _Watcher(call, name)
        with self._lock:
            self._watchers.add(watcher)
            watcher.update(self._status_of(name))
        call.on_end(lambda: self._forget(watcher))

    def _status_of(self, name: str) -> int:
        return self._statuses.get(name, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)

    def _forget(self, watcher: "_Watcher") -> None:
        with self._lock:
            self._watchers.discard(watcher)


class _Watcher:
    """A caller of Watch. While one message is on its way, only the newest status waits for its turn."""

    def __init__(self, call: Call, name: str) -> None:
        self.call = call
        self.name = name
        self._lock = threading.Lock()
        self._last_sent: int | None = None
        self._newest: int | None = None
        self._sending = False

    def update(self, status: int) -> None:
        """Send *status* unless the caller knows it."""
        with self._lock:
            self._newest = status
            self._send()

    def _sent(self) -> None:
        with self._lock:
            self._sending = False
            if not self.call.has_ended:
                self._send()

    def _send(self) -> None:
        if not self._sending and self._newest is not None and self._newest != self._last_sent:
            self._sending, self._last_sent = True, self._newest
            self.call.send(_REPLIES[self._newest], self._sent)


def _service_name(call: Call) -> str | None:
    """Return the name of the service that *call* asks about; None if it can't be read."""
    try:
        return None if call.request is None else health_pb2.HealthCheckRequest.FromString(call.request).service
    except DecodeError:
        return None
