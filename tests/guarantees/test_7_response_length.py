"""Guarantee 7: the length of a reply does not depend on its answer, also as counted in TLS records on the wire."""

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hpack.huffman_constants import REQUEST_CODES_LENGTH

from development import sandbox as suite
from development.sandbox import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID, CHECK_NOTE, GRANTS, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.contract import find_method
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from tests.conftest import Start, judiciary_opening, promissory_opening
from tests.support.certificates import key_sha256
from tests.support.service import RunningService
from tools.env.envoy import Envoy

CALLS = 120
WARM_UP = 12

# A TLS 1.3 record adds a tag of 16 bytes and a type of 1 byte to its content; a ping alone in a record is 17 bytes.
RECORD_OVERHEAD = 17
PING = 17


@dataclass(frozen=True)
class Pair:
    """A method, and two requests of equal length: one answered YES, one answered NO."""

    method: str
    caller: str
    yes: Message
    no: Message


NOTE = {"serial": "1404000000000017", "obligor_id": "9990000018", "beneficiary_id": "99000554330"}
PAIRS = [
    Pair(
        CHECK_NOTE,
        "setad",
        notes.CheckNoteRequest(**NOTE, amount_rials=2_500_000_000),
        notes.CheckNoteRequest(**NOTE, amount_rials=2_500_000_001),
    ),
    Pair(
        CHECK_BY_NATIONAL_ID,
        "cbi",
        cases.CheckByNationalIdRequest(national_id="9990000050"),
        cases.CheckByNationalIdRequest(national_id="9990000069"),
    ),
    Pair(
        CHECK_BY_TRACKING_ID,
        "cbi",
        cases.CheckByTrackingIdRequest(tracking_id="140000000000000001"),
        cases.CheckByTrackingIdRequest(tracking_id="999999999999999999"),
    ),
]


class Relay:
    """Forwards one TLS connection and counts the server's bytes, record by record, as an eavesdropper can."""

    def __init__(self, port: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._server = socket.create_connection(("127.0.0.1", port))
        self._client: socket.socket | None = None
        self._rest = b""
        self._sent = 0
        self.address = f"localhost:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def take(self) -> int:
        """Return the bytes of replies that the server has sent since the last call."""
        sent, self._sent = self._sent, 0
        return sent

    def close(self) -> None:
        for each in (self._server, self._client):
            with contextlib.suppress(OSError):
                if each is not None:
                    each.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        for each in (self._server, self._client, self._listening):
            if each is not None:
                each.close()

    def _run(self) -> None:
        self._client, _ = self._listening.accept()
        back = threading.Thread(target=self._pump, args=(self._server, self._client, self._count))
        back.start()
        self._pump(self._client, self._server, lambda _data: None)
        back.join(10)

    def _pump(self, source: socket.socket, target: socket.socket, observe: Callable[[bytes], None]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                observe(data)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def _count(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= 5 and len(self._rest) >= (end := 5 + int.from_bytes(self._rest[3:5])):
            if (carried := end - 5 - RECORD_OVERHEAD) > PING:
                self._sent += carried
            self._rest = self._rest[end:]


Ask = Any


@contextlib.contextmanager
def relayed(port: int, identity: ClientIdentity, method: str) -> Iterator[tuple[Ask, Relay]]:
    """Yield a function that calls *method* on one connection, and the relay in between."""
    relay = Relay(port)
    options = [("grpc.enable_retries", 0), ("grpc.http2.bdp_probe", 0)]
    reply = GetMessageClass(find_method(method).output_type)
    try:
        with grpc.secure_channel(relay.address, identity.credentials(), options=options) as channel:
            yield (
                channel.unary_unary(
                    f"/{method}",
                    request_serializer=lambda message: message.SerializeToString(),
                    response_deserializer=reply.FromString,
                ),
                relay,
            )
    finally:
        relay.close()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    made = suite.create_sandbox(tmp_path_factory.mktemp("lengths"))
    suite.load_samples(made)
    return made


def start_service(sandbox: Sandbox, start: Start, pair: Pair, *, miss_cost: int = 1) -> int:
    """Start the service of *pair*'s method, with just enough quota; return its port.

    What remains of it goes from three digits to two on the way, so that a trailer of changing width would show.
    """
    burst = (CALLS + WARM_UP) // 2 * (1 + miss_cost) + 50
    suite.write_access(sandbox, GRANTS, rate=0.001, burst=burst, miss_cost=miss_cost)
    # The wall clock is fixed, because the length of a Timestamp depends on it; the monotonic clock runs.
    now = time.time_ns() // 1000
    opening = promissory_opening if pair.method == CHECK_NOTE else judiciary_opening
    return start(opening(sandbox, Clock(micros=lambda: now), shutdown_delay_seconds=0)).port


def without_pings(sizes: Counter[int]) -> set[int]:
    """Return the sizes without the few that shared a record with a ping of the server."""
    return {size for size, times in sizes.items() if times * 10 > sizes.total()}


def measure(ask: Ask, relay: Relay, pair: Pair) -> dict[int, Counter[int]]:
    """Send both requests of *pair* in random order, one at a time; return the sizes of the replies by answer."""
    measured: dict[int, Counter[int]] = {ANSWER_YES: Counter(), ANSWER_NO: Counter()}
    order = [pair.yes, pair.no] * (CALLS // 2)
    random.shuffle(order)
    for question in [pair.yes, pair.no] * (WARM_UP // 2):
        ask(question, timeout=10)
    for question in order:
        relay.take()
        reply = ask(question, timeout=10)
        measured[reply.answer][relay.take() - state_bytes(reply)] += 1
    return measured


def state_bytes(reply: Any) -> int:
    """Return the bytes in *reply* that follow from the number of entries in the ledger alone."""
    path = reply.receipt.inclusion_path
    return sum(2 + len(each) for each in path) + len(reply.receipt.checkpoint.encode())


@pytest.mark.parametrize("miss_cost", [1, 20])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.method.rpartition("/")[2])
def test_yes_and_no_have_equal_length(sandbox: Sandbox, start: Start, pair: Pair, miss_cost: int) -> None:
    """A YES and a NO have the same length on the wire, apart from what follows from the size of the ledger."""
    port = start_service(sandbox, start, pair, miss_cost=miss_cost)

    with relayed(port, ClientIdentity.named(sandbox.pki, pair.caller), pair.method) as (ask, relay):
        measured = measure(ask, relay, pair)

    assert {ANSWER_YES: CALLS // 2, ANSWER_NO: CALLS // 2} == {
        answer: seen.total() for answer, seen in measured.items()
    }
    assert without_pings(measured[ANSWER_YES]) == without_pings(measured[ANSWER_NO])
    assert 1 == len(without_pings(measured[ANSWER_YES]))


RARE = 60
"""One NO in so many calls, after which the quota differs from that of the calls before."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pass-through.yaml", "terminating.yaml"])
def test_rare_no_behind_envoy(tmp_path: Path, kind: str) -> None:
    """Behind either Envoy a rare NO, whose cost the trailers show, and the YES after it are as long as any other."""
    box = suite.create_sandbox(tmp_path / "suite")
    suite.load_samples(box)
    DevCertificateAuthority(box.pki).issue("server", [suite.MINISTRY], hosts=["localhost", "127.0.0.1"])
    # What remains goes from 33333332 to 21111111, which is a byte shorter in HPACK's Huffman code.
    suite.write_access(box, GRANTS, rate=1e9, burst=33_333_333, miss_cost=12_222_222)
    now, pair = time.time_ns() // 1000, PAIRS[0]
    trust = {"trusted_proxy_keys": [key_sha256(box.pki / "proxy.crt")], "shutdown_delay_seconds": 0}
    seen: dict[str, Counter[int]] = {"YES": Counter(), "NO": Counter(), "YES after it": Counter()}
    with (
        RunningService(promissory_opening(box, Clock(micros=lambda: now), **trust)) as service,
        Envoy(kind, tmp_path / "envoy", pki=box.pki, workers=[service.port]) as envoy,
        relayed(envoy.port, ClientIdentity.named(box.pki, pair.caller), pair.method) as (ask, relay),
    ):
        for number in range(-WARM_UP, 4 * RARE):
            is_no = number % RARE == RARE // 2
            relay.take()
            reply, call = ask.with_call(pair.no if is_no else pair.yes, timeout=10)
            size = relay.take() - state_bytes(reply) - (noise_bytes(call) if kind == "terminating.yaml" else 0)
            if number >= 0:
                name = "NO" if is_no else "YES after it" if number % RARE == RARE // 2 + 1 else "YES"
                seen[name][size] += 1

    (usual,) = without_pings(seen["YES"])
    assert {usual: 4} == seen["NO"] == seen["YES after it"]


def noise_bytes(call: grpc.Call) -> int:
    """Return the bytes of the metadata that depend on the time or chance alone, as HPACK encodes them."""
    found = dict((*call.initial_metadata(), *call.trailing_metadata()))
    values = [str(found[key]).encode() for key in ("estelam-inquiry-id", "date") if key in found]
    return sum(-(-sum(REQUEST_CODES_LENGTH[byte] for byte in value) // 8) for value in values)


def test_relay_detects_one_byte(sandbox: Sandbox, start: Start) -> None:
    """The measurement would detect a difference of one byte."""
    pair = PAIRS[0]
    port = start_service(sandbox, start, pair)
    measured: dict[str, Counter[int]] = {"a": Counter(), "ab": Counter()}

    with relayed(port, ClientIdentity.named(sandbox.pki, pair.caller), pair.method) as (ask, relay):
        for echoed in ["a", "ab"] * 20:
            relay.take()
            reply = ask(pair.yes, timeout=10, metadata=(("x-inquiry-id", echoed),))
            measured[echoed][relay.take() - state_bytes(reply)] += 1

    assert without_pings(measured["ab"]) == {size + 1 for size in without_pings(measured["a"])}
