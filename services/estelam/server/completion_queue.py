"""A gRPC server that is polled by one thread: calls arrive and replies leave as events of one completion queue.

grpcio's own synchronous server stands on the same classes (`grpc/_server.py`). They are private. No other module uses
them, and the tests of this module run against each minor version of grpcio that `pyproject.toml` allows. Measured:

- Calls that have not been asked for wait inside gRPC, in order of arrival. So `CALLS_AHEAD` requests for calls are
  always outstanding, and a call reaches our own queues, which are fair, as soon as its event is polled.
- A method's name arrives as bytes, and need not be UTF-8.
- A call that is half-closed without a whole message receives None, with success. So does one that is cancelled; the
  event of its end follows. A message that gRPC refuses (too large, badly compressed) arrives without success, and gRPC
  has ended the call with a status of its own. So it has for metadata beyond its limit.
- Trailing metadata with an illegal key or value ends the call with INTERNAL.
- Any thread may start operations. A batch without operations completes at once.
- Operations on a queue that has been shut down abort the process. So the queue is never shut down by hand: every call
  keeps it alive, and it is freed with the last of them.
- An event refers to its call, and must be dropped before the next poll.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it has no types

from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import to_grpc
from estelam.telemetry.call_counts import ANSWERED, reason_without_reply

Metadata = tuple[tuple[str, str | bytes], ...]
Notify = Callable[[], None]

CALLS_AHEAD: Final = 64
"""So many calls may arrive between two polls before any waits inside gRPC."""

MAX_OPEN_CALLS: Final = 1536
"""So many calls may be open, of 23 kB each; one more is refused, or displaces the newest of the owner with most."""

_FAILED: Final = to_grpc(Refusal(Reason.SERVICE_FAILED))
_OVERLOADED: Final = to_grpc(Refusal(Reason.OVERLOADED))
_OK: Final = cygrpc.StatusCode.ok


class Call:
    """A call whose message has arrived. Its first end, in any thread, is sent; later ones are ignored."""

    __slots__ = (
        "_answered",
        "_certificates",
        "_core",
        "_deadline",
        "_on_end",
        "_server",
        "_started",
        "arrived_at",
        "has_ended",
        "metadata",
        "method",
        "owner",
        "request",
    )

    def __init__(self, server: "PolledServer", event: Any) -> None:
        self._server = server
        self._core = event.call
        """gRPC's call, of 20 kB; None once it has ended, since a timer or a queue may hold this object for a while."""
        self._answered = threading.Lock()
        self._certificates: tuple[bytes, ...] | None = None
        self._on_end: Notify | None = None
        self._started = False
        self.method: bytes = event.call_details.method
        """/package.Service/Method, or whatever else the caller sent."""
        self.metadata: Metadata = event.invocation_metadata
        self.arrived_at = time.monotonic()
        """When the call arrived or, once it has, its message: monotonic time in seconds."""
        self._deadline: float = event.call_details.deadline - time.time() + self.arrived_at
        self.request: bytes | None = None
        """The caller's message; None if the caller ended the call without a whole one."""
        self.has_ended = False
        """Whether the reply has left, or the caller has given up."""
        self.owner: Hashable = None
        """Whose share of the open calls it takes."""

    @property
    def seconds_left(self) -> float:
        """Seconds to the caller's deadline; without one, more than 10^18."""
        return self._deadline - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the call has its reply, or the caller has given up."""
        return self.has_ended or self._answered.locked()

    def certificates(self) -> tuple[bytes, ...]:
        """Return the certificate (PEM) of the caller's connection; nothing if it has none."""
        if self._certificates is None and (core := self._core) is not None:
            self._certificates = tuple(cygrpc.auth_context(core).get(b"x509_pem_cert", ()))
        return self._certificates or ()

    def peer(self) -> str:
        """Return the other end's address, as gRPC writes it; nothing once the connection has ended."""
        core = self._core
        return "" if core is None else bytes(core.peer()).decode("ascii", "replace")

    def on_end(self, notify: Notify) -> None:
        """Call *notify* in the polling thread when the call has ended, perhaps before any reply."""
        self._on_end = notify
        if self.has_ended:
            notify()

    def reply(self, message: bytes, metadata: Iterable[tuple[str, str]] = ()) -> None:
        """End the call with *message* and trailing *metadata*."""
        status = cygrpc.SendStatusFromServerOperation(tuple(metadata), _OK, b"", 0)
        if self._end(cygrpc.SendMessageOperation(message, 0), status):
            self._server.on_result(self, ANSWERED)

    def refuse(self, refusal: Refusal, metadata: Iterable[tuple[str, str]] = ()) -> None:
        """End the call with the status and the details of *refusal*, and with trailing *metadata*."""
        if self.end(to_grpc(refusal), metadata):
            self._server.on_result(self, refusal.reason)

    def fail(self) -> None:
        """End the call with SERVICE_FAILED, whose status was built at the start: nothing is left to go wrong."""
        if self.end(_FAILED):
            self._server.on_result(self, Reason.SERVICE_FAILED)

    def displace(self) -> None:
        """End the call with OVERLOADED, because its owner has most calls open of too many."""
        if self.end(_OVERLOADED):
            self._server.on_result(self, Reason.OVERLOADED)

    def end(self, status: grpc.Status, metadata: Iterable[tuple[str, str]] = ()) -> bool:
        """End the call with *status* and trailing *metadata*; return whether nothing else has ended it before."""
        trailing = (*(status.trailing_metadata or ()), *metadata)
        code, details = status.code.value[0], (status.details or "").encode()
        return self._end(cygrpc.SendStatusFromServerOperation(trailing, code, details, 0))

    def send(self, message: bytes, sent: Notify) -> None:
        """Send one *message* of a stream, which `end` ends. Until the polling thread calls *sent*, send no other."""
        self._start((cygrpc.SendMessageOperation(message, 0),), lambda _event: sent())

    def open(self) -> None:
        """Ask gRPC for notice of the call's end; else the call would be cancelled once its status has been sent."""
        self._core.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(0),), self._ended)

    def receive(self) -> None:
        """Ask gRPC for the caller's message."""
        self._core.start_server_batch((cygrpc.ReceiveMessageOperation(0),), self._received)

    def _end(self, *operations: Any) -> bool:
        if not self._answered.acquire(blocking=False):
            return False
        try:
            self._start(operations, _ignore)
        except BaseException:
            self._answered.release()  # nothing has been sent, so `fail` still can be
            raise
        return True

    def _start(self, operations: Sequence[Any], tag: Callable[[Any], None]) -> None:
        if (core := self._core) is None:  # nobody waits for it
            return
        if not self._started:
            operations = (cygrpc.SendInitialMetadataOperation(None, 0), *operations)
        core.start_server_batch(operations, tag)
        self._started = True

    def _received(self, event: Any) -> None:
        self.request = event.batch_operations[0].message()
        self.arrived_at = time.monotonic()
        if self._answered.locked():
            return  # displaced by other calls
        if self.request is not None:
            self._server.queue(self)
        elif event.success and not self.has_ended:
            # A caller who has cancelled the call sends no message either. The event of that end follows.
            self._core.start_server_batch((), self._received_nothing)

    def _received_nothing(self, _event: Any) -> None:
        if not self.has_ended:
            self._server.queue(self)

    def _ended(self, _event: Any) -> None:
        self.has_ended = True
        self._server.remove(self)
        if self._answered.acquire(blocking=False):  # no reply can follow
            self._server.on_unanswered(self)
        self._core = None
        notify, self._on_end = self._on_end, None
        if notify is not None:
            notify()


def _ignore(_event: Any) -> None:
    """Handle the event of something sent that nobody waits for."""


class PolledServer:
    """A server whose calls are passed to *serve*, in the thread that calls `poll` and `serve_waiting`.

    Calls that have arrived wait for `serve_waiting`, which serves one of each owner in turn. Any thread may stop the
    server.

    Open calls belong to the owner that *owner* returns. When there are too many, one of the owner who has most is
    refused, and passed to *on_excess* instead.

    Each call is passed to *on_result* once, with the reason of its end: `ANSWERED`, that of the refusal which was sent,
    or what became of a call that ended without a reply (`call_counts`). It must not raise an exception.
    """

    def __init__(
        self,
        options: Iterable[tuple[str, int]],
        serve: Callable[[Call], None],
        owner: Callable[[Call], Hashable] = Call.certificates,
        on_excess: Callable[[Call], None] = lambda _call: None,
        on_result: Callable[[Call, str], None] = lambda _call, _reason: None,
    ) -> None:
        self.serve = serve
        self.on_result = on_result
        self._owner = owner
        self._on_excess = on_excess
        self._core = cygrpc.Server(tuple(options), False)  # noqa: FBT003 - its signature: whether xDS configures it
        self._queue = cygrpc.CompletionQueue()
        self._core.register_completion_queue(self._queue)
        self._changing = threading.Lock()
        self._open: dict[Hashable, dict[Call, None]] = {}
        """The open calls of each owner, from the oldest to the newest."""
        self._open_calls = 0
        self._waiting: dict[Hashable, deque[Call]] = {}
        """The calls of each owner that are not served yet; the owner whose turn is next comes first."""
        self._requested = 0
        self._stopping = self._is_cancelling = self.has_ended = False

    def listen(self, address: str, credentials: grpc.ServerCredentials) -> int:
        """Bind *address* (host:port) and return the port; 0 if it can't be bound."""
        core: Any = credentials
        port: int = self._core.add_http2_port(address.encode(), core._credentials)  # noqa: SLF001
        return port

    def start(self) -> None:
        """Accept connections."""
        self._core.start(backup_queue=False)

    def poll(self, *, wait: bool) -> bool:
        """Handle the next event, for which to *wait* unless there is one already; return whether there was one.

        Raises:
            Exception: whatever a notification raised. The next poll goes on with the next event.
        """
        if self._requested < CALLS_AHEAD:
            self._request_calls()
        event = self._queue.poll(None if wait else 0.0)
        if event.tag is None:
            return False
        event.tag(event)
        return True

    @property
    def is_waiting(self) -> bool:
        """Whether there are calls to serve."""
        return bool(self._waiting)

    def queue(self, call: Call) -> None:
        """Let *call*, whose message has arrived, wait for its owner's turn."""
        self._waiting.setdefault(call.owner, deque()).append(call)

    def serve_waiting(self, most: int) -> None:
        """Serve calls that wait, one of each owner in turn, at *most* so many.

        Raises:
            Exception: whatever *serve* raised. The next time goes on with the next call.
        """
        for _ in range(most):
            if not self._waiting:
                return
            owner = next(iter(self._waiting))
            calls = self._waiting.pop(owner)
            call = calls.popleft()
            if calls:
                self._waiting[owner] = calls  # behind the others
            if not call.is_over:
                self.serve(call)

    def remove(self, call: Call) -> None:
        """Forget *call*, which has ended or is being refused."""
        owned = self._open.get(call.owner, {})
        if call in owned:
            del owned[call]
            self._open_calls -= 1
            if not owned:
                del self._open[call.owner]

    def on_unanswered(self, call: Call) -> None:
        """Report *call*, which has ended without a reply."""
        waited = time.monotonic() - call.arrived_at
        self.on_result(call, Reason.SERVICE_FAILED if self._is_cancelling else reason_without_reply(waited))

    def stop(self) -> None:
        """Accept no more connections and calls, and tell callers so (GOAWAY). Polling ends with the last open call."""
        with self._changing:
            self._stopping = True
            self._core.shutdown(self._queue, self._ended)

    def cancel_calls(self) -> None:
        """Cancel all open calls, after `stop`."""
        with self._changing:
            if not self.has_ended:
                self._is_cancelling = True
                self._core.cancel_all_calls()

    def _request_calls(self) -> None:
        with self._changing:
            while not self._stopping and self._requested < CALLS_AHEAD:
                self._core.request_call(self._queue, self._queue, self._arrived)
                self._requested += 1

    def _arrived(self, event: Any) -> None:
        self._requested -= 1
        if event.success:
            call = Call(self, event)
            call.open()
            try:
                call.owner = self._owner(call)
            except BaseException:
                call.fail()
                raise
            self._open.setdefault(call.owner, {})[call] = None
            self._open_calls += 1
            excess = self._excess(call)
            if excess is not call:
                call.receive()
            if excess is not None:
                self.remove(excess)
                excess.displace()
                self._on_excess(excess)

    def _excess(self, arrived: Call) -> Call | None:
        """Return the newest call of the owner with most open, if all are too many; of several, that of *arrived*."""
        if self._open_calls <= MAX_OPEN_CALLS:
            return None
        greediest = max(self._open.values(), key=lambda owned: (len(owned), arrived in owned))
        return next(reversed(greediest))

    def _ended(self, _event: Any) -> None:
        with self._changing:
            self.has_ended = True
            self._core.destroy()
