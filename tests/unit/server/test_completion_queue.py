"""The polled server: every call gets one end, whatever its caller or its handler does."""

import base64
import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from hpack import Encoder

from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import from_grpc, to_grpc
from estelam.server.completion_queue import CALLS_AHEAD, Call, PolledServer
from tools.bench.processes import resident_mib
from tools.chaos.raw_http2 import DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, RawConnection, Reply, frame

OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 1000),
    ("grpc.max_metadata_size", 8192),
    ("grpc.absolute_max_metadata_size", 8192),
]
WAIT_SECONDS = 20.0
CANCEL = (8).to_bytes(4)

Serve = Callable[[Call], None]


class Polled:
    """A polled server in a thread, and a channel to it. Its faults are collected."""

    def __init__(self, serve: Serve) -> None:
        self.faults: list[BaseException] = []
        self.server = PolledServer(OPTIONS, serve)
        self.port = self.server.listen("127.0.0.1:0", grpc.insecure_server_credentials())
        self.server.start()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.server.has_ended:
            try:
                self.server.poll(wait=True)
                self.server.serve_waiting(1)
            except Exception as fault:  # noqa: BLE001 - as the real loop goes on
                self.faults.append(fault)

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options) as opened:
            yield opened

    def ask(self, message: bytes = b"question", **options: Any) -> bytes:
        with self.channel() as channel:
            reply: bytes = method(channel)(message, **{"timeout": WAIT_SECONDS, **options})
            return reply

    def close(self) -> bool:
        """Shut down; return whether polling has ended."""
        self.server.stop()
        self.thread.join(0.2)
        if self.thread.is_alive():
            self.server.cancel_calls()
        self.thread.join(WAIT_SECONDS)
        return not self.thread.is_alive()


Start = Callable[[Serve], Polled]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers; all must end, and have no fault that their test did not expect."""
    servers: list[Polled] = []

    def begin(serve: Serve) -> Polled:
        servers.append(Polled(serve))
        return servers[-1]

    yield begin
    for server in servers:
        assert server.thread.is_alive() is False or server.close()


def method(channel: grpc.Channel, name: str = "/package.Service/Method") -> Any:
    return channel.unary_unary(name)


def echo(call: Call) -> None:
    call.reply(call.request or b"nothing")


def until(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def open_calls() -> int:
    """The number of Call objects that anything still refers to."""
    gc.collect()
    return sum(isinstance(found, Call) for found in gc.get_objects())


def used_mib() -> float:
    """The memory of this process without what the allocator keeps for later, which depends on the tests before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident_mib(os.getpid())


def headers(path: bytes = b"/package.Service/Method", *more: tuple[bytes, bytes]) -> bytes:
    fixed = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost")]
    named = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    encoded: bytes = Encoder().encode([*fixed, *named, *more], huffman=False)
    return encoded


def send_raw(port: int, *frames: bytes) -> Reply:
    """Send frames of stream 1 on a connection of their own, and return the reply."""
    connection = RawConnection(port, None)
    try:
        connection.drain(0.05)  # gRPC's limits hold once its settings have been acknowledged
        connection.write(b"".join(frames))
        connection.read([1])
    finally:
        connection.close()
    return connection.replies[1]


MESSAGE = b"\0\0\0\0\x05hello"
BEGIN = frame(HEADERS, END_HEADERS, 1, headers())


def test_call_and_reply(start: Start) -> None:
    """A handler sees the method, metadata, deadline and message; the caller sees message and trailing metadata."""
    seen: list[tuple[Any, ...]] = []

    def serve(call: Call) -> None:
        # gRPC rounds a timeout of more than 10 s up to tenths of a second
        has_deadline = 0 < call.seconds_left <= WAIT_SECONDS + 0.1
        seen.append((call.method, dict(call.metadata)["x-key"], has_deadline, call.request))
        call.reply(b"answer", (("x-trailer", "value"),))

    with start(serve).channel() as channel:
        reply, ended = method(channel).with_call(b"question", timeout=WAIT_SECONDS, metadata=(("x-key", "1"),))

    assert seen == [(b"/package.Service/Method", "1", True, b"question")]
    assert (reply, dict(ended.trailing_metadata())["x-trailer"]) == (b"answer", "value")


def test_call_without_deadline(start: Start) -> None:
    """A call without a deadline has more seconds left than any limit."""
    seconds: list[float] = []

    def serve(call: Call) -> None:
        seconds.append(call.seconds_left)
        call.reply(b"")

    start(serve).ask(timeout=None)

    assert seconds[0] > 10**9


def test_refusal_has_details(start: Start) -> None:
    """A refusal arrives with its status, details and trailing metadata."""
    server = start(lambda call: call.refuse(Refusal(Reason.FIELD_INVALID), (("x-trailer", "value"),)))

    with pytest.raises(grpc.RpcError) as caught:
        server.ask()
    error: Any = caught.value
    refusal = from_grpc(error)
    assert refusal is not None
    assert (refusal.reason, error.code()) == (Reason.FIELD_INVALID, grpc.StatusCode.INVALID_ARGUMENT)
    assert dict(error.trailing_metadata())["x-trailer"] == "value"


def test_first_end_counts(start: Start) -> None:
    """The first end of a call is sent; later ones, in any thread, are ignored."""

    def serve(call: Call) -> None:
        call.reply(b"first")
        call.reply(b"second")
        call.fail()
        threading.Thread(target=call.refuse, args=(Refusal(Reason.SERVICE_FAILED),)).start()

    server = start(serve)

    assert [server.ask() for _ in range(3)] == [b"first"] * 3
    assert server.faults == []


@pytest.mark.parametrize("reply", [(7,), (b"answer", (("x-key", 7),))], ids=["message", "metadata"])
def test_end_that_cannot_be_sent_can_be_replaced(start: Start, reply: Any) -> None:
    """A reply that can't be sent raises an error, after which the call can still fail."""
    faults: list[str] = []

    def serve(call: Call) -> None:
        try:
            call.reply(*reply)
        except Exception as fault:  # noqa: BLE001 - gRPC raises errors of several kinds
            faults.append(type(fault).__name__)
            call.fail()

    with pytest.raises(grpc.RpcError) as caught:
        start(serve).ask()
    refusal = from_grpc(caught.value)
    assert refusal is not None
    assert refusal.reason is Reason.SERVICE_FAILED
    assert len(faults) == 1


def test_illegal_metadata_ends_the_call(start: Start) -> None:
    """Trailing metadata that can't be sent ends the call with an error, not with an answer, and no other call."""
    server = start(lambda call: call.reply(b"answer", (("NOT A KEY", "value"),) if call.request else ()))

    with pytest.raises(grpc.RpcError):
        server.ask(timeout=1)
    assert server.ask(b"") == b"answer"


def test_fault_of_one_call_ends_no_other(start: Start) -> None:
    """An error of a handler is raised by the poll; calls go on to arrive, more of them than are asked for ahead."""

    def serve(call: Call) -> None:
        call.reply(b"answer")
        if call.request == b"bad":
            raise ValueError

    server = start(serve)
    with server.channel() as channel:
        for _ in range(CALLS_AHEAD + 1):
            method(channel)(b"bad", timeout=WAIT_SECONDS)

        assert method(channel)(b"good", timeout=WAIT_SECONDS) == b"answer"
    assert until(lambda: len(server.faults) == CALLS_AHEAD + 1)


def test_poll_without_waiting() -> None:
    """A poll that does not wait returns at once, and tells that there was no event."""
    server = PolledServer(OPTIONS, echo)
    server.listen("127.0.0.1:0", grpc.insecure_server_credentials())
    server.start()
    found = server.poll(wait=False)
    server.stop()
    while not server.has_ended:
        server.poll(wait=True)

    assert found is False


def test_ended_call_keeps_nothing_of_grpc(start: Start) -> None:
    """A call that has ended, which a timer may hold for seconds, frees gRPC's call; a late reply is ignored."""
    waiting: list[Call] = []
    server = start(waiting.append)
    with server.channel() as channel:
        cancelled = method(channel).future(b"", timeout=WAIT_SECONDS)
        arrived = until(lambda: len(waiting) == 1)
        (call,) = waiting
        peer = call.peer()
        cancelled.cancel()
        ended = until(lambda: call.has_ended and call._core is None)
        call.reply(b"late")

    assert arrived
    assert ended
    assert ("", b"127.0.0.1" in peer.encode()) == (call.peer(), True)
    assert server.faults == []


def test_owners_take_turns() -> None:
    """Of calls that wait, one of each owner is served in turn, also where one had more and came first."""
    served: list[str] = []

    def serve(call: Call) -> None:
        served.append(owner(call))
        call.reply(b"")

    def owner(call: Call) -> str:
        return str(dict(call.metadata)["caller"])

    server = PolledServer(OPTIONS, serve, owner)
    port = server.listen("127.0.0.1:0", grpc.insecure_server_credentials())
    server.start()
    arrived: list[Call] = []
    queue = server.queue
    server.queue = lambda call: (arrived.append(call), queue(call))  # type: ignore[method-assign, func-returns-value, assignment]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        calls = []
        for name in ["greedy"] * 20 + ["honest"] * 2:
            calls.append(method(channel).future(b"", timeout=WAIT_SECONDS, metadata=[("caller", name)]))
            while len(arrived) < len(calls):
                server.poll(wait=True)
        server.serve_waiting(4)
        first = list(served)
        server.serve_waiting(len(calls))
        server.stop()
        while not server.has_ended:
            server.poll(wait=True)

    assert ["greedy", "honest"] * 2 == first
    assert ["greedy"] * 18 == served[4:]


def test_calls_arrive_together(start: Start) -> None:
    """Calls arrive without waiting for replies to others, also more of them than are asked for ahead."""
    waiting: list[Call] = []
    server = start(waiting.append)
    with server.channel() as channel:
        calls = [method(channel).future(b"", timeout=WAIT_SECONDS) for _ in range(4 * CALLS_AHEAD)]
        arrived = until(lambda: len(waiting) == len(calls))
        for call in waiting:
            call.reply(b"answer")

        assert [call.result() for call in calls] == [b"answer"] * len(calls)
    assert arrived


@pytest.mark.parametrize("path", [b"/\xff\xfe", "/استعلام/چک".encode(), b"", b"/" + b"x" * 5000])
def test_any_method_name_arrives(start: Start, path: bytes) -> None:
    """A method's name of any bytes reaches the handler, and its call is answered."""
    seen: list[bytes] = []

    def serve(call: Call) -> None:
        seen.append(call.method)
        call.end(to_grpc(Refusal(Reason.METHOD_UNKNOWN)))

    reply = send_raw(start(serve).port, frame(HEADERS, END_HEADERS, 1, headers(path)), frame(DATA, 1, 1, MESSAGE))

    assert (seen, reply.status) == ([path], grpc.StatusCode.UNIMPLEMENTED.value[0])


@pytest.mark.parametrize(
    "frames",
    {
        "no message": (frame(HEADERS, END_HEADERS | END_STREAM, 1, headers()),),
        "an empty end": (BEGIN, frame(DATA, END_STREAM, 1)),
        "half a prefix": (BEGIN, frame(DATA, END_STREAM, 1, MESSAGE[:3])),
        "half a message": (BEGIN, frame(DATA, END_STREAM, 1, MESSAGE[:7])),
    }.items(),
    ids=lambda case: case[0],
)
def test_call_without_whole_message(start: Start, frames: tuple[str, Sequence[bytes]]) -> None:
    """A call that ends without a whole message reaches the handler, without a message."""
    seen: list[bytes | None] = []

    def serve(call: Call) -> None:
        seen.append(call.request)
        call.refuse(Refusal(Reason.REQUEST_MALFORMED))

    reply = send_raw(start(serve).port, *frames[1])

    assert seen == [None]
    assert (reply.status, reply.headers["grpc-message"]) == (3, Refusal(Reason.REQUEST_MALFORMED).spec.en.encode())
    assert b"REQUEST_MALFORMED" in base64.b64decode(reply.headers["grpc-status-details-bin"] + b"==")


@pytest.mark.parametrize(
    "frames",
    {
        "a message too large": (BEGIN, frame(DATA, END_STREAM, 1, b"\0\0\0\x07\xd0" + bytes(2000))),
        "metadata too large": (
            frame(HEADERS, END_HEADERS, 1, headers(b"/", (b"x-a", b"y" * 9000))),
            frame(DATA, END_STREAM, 1, MESSAGE),
        ),
    }.items(),
    ids=lambda case: case[0],
)
def test_what_grpc_refuses_reaches_no_handler(start: Start, frames: tuple[str, Sequence[bytes]]) -> None:
    """What exceeds gRPC's own limits is RESOURCE_EXHAUSTED and reaches no handler; the next call is served."""
    seen: list[bytes | None] = []

    def serve(call: Call) -> None:
        seen.append(call.request)
        call.reply(b"answer")

    server = start(serve)
    reply = send_raw(server.port, *frames[1])

    assert reply.status == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert server.ask() == b"answer"
    assert seen == [b"question"]


def test_caller_who_gives_up_is_noticed(start: Start) -> None:
    """A handler learns that its caller has cancelled the call; a late reply is ignored."""
    waiting: list[Call] = []
    ended: list[bool] = []

    def serve(call: Call) -> None:
        call.on_end(lambda: ended.append(call.has_ended))
        waiting.append(call)

    server = start(serve)
    with server.channel() as channel:
        calls = [method(channel).future(b"", timeout=WAIT_SECONDS) for _ in range(3)]
        assert until(lambda: len(waiting) == 3)
        for call in calls:
            call.cancel()

        assert until(lambda: ended == [True] * 3)
    for late in waiting:
        late.reply(b"late")
    assert server.faults == []


def test_notice_of_an_end_that_has_been(start: Start) -> None:
    """Who asks for notice only after the call has ended gets it at once."""
    calls: list[Call] = []
    server = start(calls.append)
    with server.channel() as channel:
        future = method(channel).future(b"question", timeout=WAIT_SECONDS)
        assert until(lambda: bool(calls))
        future.cancel()
        assert until(lambda: calls[0].has_ended)
    notices: list[str] = []
    calls[0].on_end(lambda: notices.append("ended"))

    assert ["ended"] == notices


def test_displaced_call_reaches_no_handler(start: Start) -> None:
    """A call that is refused before its message arrives is not served when it does; and is forgotten when it ends."""
    served: list[Call] = []
    server = start(served.append)
    connection = RawConnection(server.port, None)
    try:
        connection.drain(0.05)
        connection.write(BEGIN)
        assert until(lambda: bool(server.server._open))
        [call] = next(iter(server.server._open.values()))
        call.refuse(Refusal(Reason.OVERLOADED))
        connection.write(frame(DATA, END_STREAM, 1, MESSAGE))
        assert until(lambda: call.has_ended)
    finally:
        connection.close()

    assert until(lambda: not server.server._open)
    assert [] == served


def test_call_cancelled_before_its_message(start: Start) -> None:
    """A call that is reset before its message reaches no handler."""
    seen: list[Call] = []
    server = start(seen.append)
    connection = RawConnection(server.port, None)
    for stream in range(1, 200, 2):
        connection.write(frame(HEADERS, END_HEADERS, stream, headers()) + frame(RST_STREAM, 0, stream, CANCEL))
    connection.drain(0.2)
    connection.close()

    assert seen == []
    assert until(lambda: open_calls() == 0)


def test_cancellations_race_with_replies(start: Start) -> None:
    """Calls that are cancelled while another thread replies to them do no harm."""
    with ThreadPoolExecutor(2) as pool:

        def serve(call: Call) -> None:
            pool.submit(call.reply, b"answer")

        server = start(serve)
        with server.channel() as channel:
            for _ in range(20):
                calls = [method(channel).future(b"", timeout=WAIT_SECONDS) for _ in range(50)]
                for call in calls[::2]:
                    call.cancel()

                assert [call.result() for call in calls[1::2]] == [b"answer"] * 25
        assert until(lambda: open_calls() == 0)
    assert server.faults == []


def test_stream(start: Start) -> None:
    """Messages of a stream arrive in order, each sent once the one before has left; then its end."""

    def serve(call: Call) -> None:
        rest = [b"one", b"two", b"three"]

        def next_message() -> None:
            if rest:
                call.send(rest.pop(0), next_message)
            else:
                call.end(to_grpc(Refusal(Reason.SERVICE_FAILED)))

        next_message()

    with start(serve).channel() as channel:
        watch: Any = channel.unary_stream("/p.S/Watch")
        stream = watch(b"", timeout=WAIT_SECONDS)
        received = [next(stream) for _ in range(3)]
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)

    assert received == [b"one", b"two", b"three"]
    assert from_grpc(caught.value) is not None


def ask_until_refused(server: Polled, over: threading.Event) -> list[Any]:
    """Ask until the server is gone; return the statuses of the calls that failed."""
    failed: list[Any] = []
    with server.channel() as channel:
        while not over.is_set():
            try:
                method(channel)(b"", timeout=WAIT_SECONDS)
            except grpc.RpcError as error:
                found: Any = error
                failed.append(found.code())
    return failed


def test_shutdown_under_load(start: Start) -> None:
    """A shutdown under load ends in time; every call is answered, or gets a status on which clients try again."""
    over = threading.Event()
    server = start(echo)
    with ThreadPoolExecutor(4) as callers:
        asking = [callers.submit(ask_until_refused, server, over) for _ in range(4)]
        time.sleep(0.2)
        ended = server.close()
        time.sleep(0.1)
        over.set()
        failed = {status for asked in asking for status in asked.result()}

    assert ended
    assert failed <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_calls_in_progress_finish_at_shutdown(start: Start) -> None:
    """A call that has arrived is answered after the shutdown began, and the polling ends with it."""
    waiting: list[Call] = []
    server = start(waiting.append)
    with server.channel() as channel:
        call = method(channel).future(b"", timeout=WAIT_SECONDS)
        assert until(lambda: bool(waiting))
        server.server.stop()
        time.sleep(0.05)
        still_polling = server.thread.is_alive()
        waiting.pop().reply(b"answer")

        assert call.result() == b"answer"
    server.thread.join(WAIT_SECONDS)
    assert (still_polling, server.thread.is_alive()) == (True, False)


def test_replies_after_the_end_of_the_server(start: Start) -> None:
    """A call that was cancelled by the shutdown can be answered later, without effect."""
    waiting: list[Call] = []
    server = start(waiting.append)
    with server.channel() as channel:
        call = method(channel).future(b"", timeout=WAIT_SECONDS)
        assert until(lambda: bool(waiting))
        server.close()
        waiting[0].reply(b"late")

        assert call.exception().code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


def connect_and_reset(port: int, times: int) -> None:
    """Open connections, and close each with calls in every state; read nothing."""
    for place in range(times):
        connection = RawConnection(port, None)
        begun = BEGIN + frame(HEADERS, END_HEADERS, 3, headers()) + frame(DATA, END_STREAM, 3, MESSAGE)
        connection.write(begun + frame(RST_STREAM, 0, 3, CANCEL) if place % 2 else begun[: 20 + place % len(begun)])
        connection.close()


@pytest.mark.parametrize("times", [1500, pytest.param(20_000, marks=pytest.mark.slow)])
def test_connections_and_resets_leave_nothing(start: Start, times: int) -> None:
    """Connections that are cut with calls in every state leave no call behind, and the server goes on."""
    server = start(echo)
    connect_and_reset(server.port, times)

    assert until(lambda: open_calls() == 0)
    assert server.ask() == b"question"
    assert server.faults == []


@pytest.mark.slow
def test_calls_leave_no_memory(start: Start) -> None:
    """Memory does not grow with the number of calls, answered or refused."""

    def serve(call: Call) -> None:
        call.on_end(lambda: None)
        if call.request == b"refuse":
            call.refuse(Refusal(Reason.FIELD_INVALID))
        else:
            call.reply(b"answer")

    server = start(serve)
    with server.channel() as channel:
        ask = method(channel)

        def run(count: int) -> None:
            for _ in range(count // 100):
                calls = [ask.future(b"refuse" if place % 4 == 0 else b"", timeout=60) for place in range(100)]
                for call in calls:
                    call.exception()

        run(2_000)
        before = used_mib()
        run(50_000)

        assert used_mib() - before < 5
    assert until(lambda: open_calls() == 0)
