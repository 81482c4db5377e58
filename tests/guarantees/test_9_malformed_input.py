"""Guarantee 9: for any bytes sent, only statuses of the error catalogue are returned, and the server keeps running."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckResponse
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from development.sandbox import (
    CHECK_BY_NATIONAL_ID,
    CHECK_BY_TRACKING_ID,
    CHECK_NOTE,
    GET_NOTE_PARTIES,
    VERIFY_NOTE,
    Sandbox,
)
from estelam.client.channel import ClientIdentity
from estelam.core import validation
from estelam.core.errors import ERROR_CATALOGUE, Reason, Refusal
from estelam.core.grpc_status import from_grpc
from estelam.core.keys import verifying_keys
from estelam.core.model import Inquiry, LookupResult
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.pipeline.recorder import LookupContext
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import receipt
from estelam.server import health, service
from estelam.server.service import run_recording_service
from judiciary.methods import CHECK_BY_NATIONAL_ID as BY_NATIONAL_ID
from judiciary.methods import LOOKUPS
from judiciary.recall import CaseRecallSource
from tests.conftest import Start, plain_channel
from tests.e2e.test_serving import until
from tests.support.service import RunningService
from tools.chaos.mutations import MESSAGES, Draft

GRPCS_OWN_LIMIT = 65536
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
NOTE = notes.CheckNoteRequest(
    serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=2_500_000_000
)
PARTIES = notes.GetNotePartiesRequest(serial="1404000000000017", executive_agency_id="SETAD-0001")


@dataclass(frozen=True)
class Method:
    """A method, a caller with a grant for it, and a valid request."""

    name: str
    caller: str
    good: Message
    reply: type[Message]

    @property
    def wire(self) -> bytes:
        return self.good.SerializeToString()


METHODS = {
    "CheckNote": Method(CHECK_NOTE, "setad", NOTE, notes.CheckNoteResponse),
    "GetNoteParties": Method(GET_NOTE_PARTIES, "setad", PARTIES, notes.GetNotePartiesResponse),
    "CheckByNationalId": Method(
        CHECK_BY_NATIONAL_ID,
        "cbi",
        cases.CheckByNationalIdRequest(national_id="9990000050"),
        cases.CheckByNationalIdResponse,
    ),
    "CheckByTrackingId": Method(
        CHECK_BY_TRACKING_ID,
        "cbi",
        cases.CheckByTrackingIdRequest(tracking_id="140000000000000001"),
        cases.CheckByTrackingIdResponse,
    ),
}
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
often = settings(
    max_examples=120, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass(frozen=True)
class Wire:
    """Connections to both services, by caller, that send any bytes."""

    channels: dict[str, grpc.Channel]
    keys: dict[str, Any]

    def send(self, caller: str, path: str | bytes, wire: bytes, **options: Any) -> bytes:
        """Return the reply to these bytes, or raise grpc.RpcError."""
        call: Any = self.channels[caller].unary_unary(path)  # type: ignore[arg-type]  # gRPC takes bytes as they are
        reply: bytes = call(wire, **{"timeout": 20, **options})
        return reply

    def answer(self, caller: str, path: str | bytes, wire: bytes, **options: Any) -> bytes | Reason:
        """Return the reply, or the reason of a refusal with the catalogue's status and text."""
        try:
            return self.send(caller, path, wire, **options)
        except grpc.RpcError as error:
            return reason_of(error)

    def reason(self, caller: str, path: str | bytes, wire: bytes, **options: Any) -> Reason | None:
        """Return the reason why these bytes were refused; None if they were check_answer."""
        outcome = self.answer(caller, path, wire, **options)
        return outcome if isinstance(outcome, Reason) else None

    def is_serving(self) -> bool:
        """Whether each method still answers."""
        for method in METHODS.values():
            reply = method.reply.FromString(self.send(method.caller, f"/{method.name}", method.wire))
            receipt.verify(method.name, method.good, reply, self.keys[method.caller])
            if getattr(reply, "answer", ANSWER_YES) != ANSWER_YES:
                return False
        return True


def reason_of(error: grpc.RpcError) -> Reason:
    """Return the reason of *error*; check that status and text are those of the catalogue."""
    refusal = from_grpc(error)
    assert refusal is not None, f"{error.code()}: {error.details()}"
    words = ERROR_CATALOGUE[refusal.reason]
    assert (words.status, words.en) == (error.code().value[0], error.details())
    return refusal.reason


@pytest.fixture(scope="module")
def wire(shared: Sandbox, promissory: RunningService, judiciary: RunningService) -> Iterator[Wire]:
    services = {"setad": promissory, "cbi": judiciary}
    channels = {
        name: plain_channel(service.address, ClientIdentity.named(shared.pki, name))
        for name, service in services.items()
    }
    certificates = {"setad": shared.promissory(), "cbi": shared.judiciary()}
    keys = {name: verifying_keys(found.signing_certificates) for name, found in certificates.items()}
    yield Wire(channels, keys)
    for channel in channels.values():
        channel.close()


def check_outcome(wire: Wire, method: Method, sent: bytes) -> None:
    """Send *sent*; check that it is refused for its violation of the contract, or check_answer with a valid receipt."""
    try:
        request = validation.parse_request(type(method.good), sent)
    except Refusal as refusal:
        expected = refusal.reason
    else:
        check_answer(wire, method, sent, request)
        return
    if len(sent) <= GRPCS_OWN_LIMIT:
        assert wire.reason(method.caller, f"/{method.name}", sent) == expected
        return
    with pytest.raises(grpc.RpcError) as caught:
        wire.send(method.caller, f"/{method.name}", sent)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def check_answer(wire: Wire, method: Method, sent: bytes, request: Message) -> None:
    outcome = wire.answer(method.caller, f"/{method.name}", sent)
    if isinstance(outcome, Reason):
        assert outcome in {Reason.NOTE_NOT_CONFIRMED, Reason.AGENCY_NOT_MEMBER}
        return
    reply = method.reply.FromString(outcome)
    receipt.verify(method.name, request, reply, wire.keys[method.caller])
    assert getattr(reply, "answer", ANSWER_YES) in {ANSWER_YES, ANSWER_NO}


@st.composite
def mutated(draw: DrawFn, method: Method) -> bytes:
    """Draw the valid request with one or a few mutations."""
    mutant = method.wire
    for _ in range(draw(st.integers(1, 3))):
        form = MESSAGES[draw(st.sampled_from(sorted(MESSAGES)))]
        mutant = form(Draft(mutant, draw(st.integers(0, len(mutant))), draw(st.binary(max_size=40))))
    return mutant


@st.composite
def other_digits(draw: DrawFn, method: Method) -> bytes:
    """Draw a request of the right form with some other digits."""
    other = type(method.good)()
    other.CopyFrom(method.good)
    for field, value in method.good.ListFields():
        if isinstance(value, str):
            at = draw(st.integers(0, len(value) - 1))
            setattr(other, field.name, value[:at] + draw(st.sampled_from("0123456789")) + value[at + 1 :])
        elif draw(st.booleans()):
            setattr(other, field.name, draw(st.integers(-(2**63), 2**63 - 1)))
    return other.SerializeToString()


@each_method
def test_random_bytes_are_refused(wire: Wire, method: Method) -> None:
    """Random bytes are refused with a reason of the error catalogue."""

    @often
    @given(st.binary(max_size=300))
    @example(b"")
    @example(b"\x00")
    @example(b"\x0b" * 4096)
    @example(b"\x0a" * 4097)
    @example(bytes(5_000))
    @example(b"\x0a" * GRPCS_OWN_LIMIT)
    @example(b"\x0a" * (GRPCS_OWN_LIMIT + 1))
    @example(b"\x0a" * 70_000)
    def check_bytes(sent: bytes) -> None:
        check_outcome(wire, method, sent)

    check_bytes()

    assert wire.is_serving()


@each_method
@pytest.mark.parametrize("kind", [mutated, other_digits])
def test_mutated_request_is_refused_for_its_fault(
    wire: Wire, method: Method, kind: Callable[[Method], SearchStrategy[bytes]]
) -> None:
    """A valid request that was mutated is refused for its fault."""

    @often
    @given(kind(method))
    def check_mutation(sent: bytes) -> None:
        check_outcome(wire, method, sent)

    check_mutation()

    assert wire.is_serving()


@each_method
def test_each_mutation_occurs(wire: Wire, method: Method) -> None:
    """Each way of mutating a request occurs."""
    for form in MESSAGES.values():
        for at in range(0, len(method.wire) + 1, 7):
            check_outcome(wire, method, form(Draft(method.wire, at, b"12")))
        check_outcome(wire, method, form(Draft(method.wire, 3, b"7" * 5_000)))

    assert wire.is_serving()


@pytest.mark.parametrize("caller", ["setad", "cbi"])
def test_unknown_method_name(wire: Wire, caller: str) -> None:
    """A call of any other method name is refused with METHOD_UNKNOWN."""
    known = [f"/{method.name}" for method in METHODS.values()]
    near = [
        name for path in known for name in (path.lower(), path[1:], f"{path}/", f"{path}s", f"{path}\0", f"/{path}")
    ]
    other = ["", "/", "*", "/استعلام/چک", "/grpc.health.v1.Health/Nothing", f"/{VERIFY_NOTE}", REFLECTION]

    @often
    @given(st.binary(max_size=200))
    @example(b"/\xff")
    @example(known[0].encode() + b"\xff")
    def check_name(name: bytes) -> None:
        assume(name not in {health.CHECK, health.WATCH})
        assert wire.reason(caller, name, b"") == Reason.METHOD_UNKNOWN

    assert {name: wire.reason(caller, name, b"") for name in near + other} == dict.fromkeys(
        near + other, Reason.METHOD_UNKNOWN
    )
    check_name()
    assert wire.is_serving()


def test_method_of_other_service_is_unknown(wire: Wire) -> None:
    """A method of the other service is refused with METHOD_UNKNOWN."""
    assert wire.reason("setad", f"/{CHECK_BY_NATIONAL_ID}", b"") == Reason.METHOD_UNKNOWN
    assert wire.reason("cbi", f"/{CHECK_NOTE}", b"") == Reason.METHOD_UNKNOWN


@each_method
def test_any_metadata_is_ignored_or_refused(wire: Wire, method: Method) -> None:
    """Metadata of any bytes is ignored or refused."""
    key = st.sampled_from(["x-inquiry-id", "x-case-reference", "x-operator", "x-other"])
    plain = st.tuples(key, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
    binary = st.tuples(key.map("{}-bin".format), st.binary(max_size=80))

    @often
    @given(st.lists(plain | binary, max_size=6))
    def check_metadata(metadata: list[tuple[str, str | bytes]]) -> None:
        outcome = wire.reason(method.caller, f"/{method.name}", method.wire, metadata=metadata)

        assert outcome in {None, Reason.METADATA_MALFORMED}

    check_metadata()

    assert wire.is_serving()


@each_method
def test_compression_bomb_is_refused(wire: Wire, method: Method) -> None:
    """A small compressed message that expands to a huge one is refused."""
    packed = {"compression": grpc.Compression.Gzip}

    assert wire.reason(method.caller, f"/{method.name}", bytes(50_000), **packed) == Reason.REQUEST_TOO_LARGE
    assert wire.reason(method.caller, f"/{method.name}", method.wire, **packed) is None
    with pytest.raises(grpc.RpcError) as caught:
        wire.send(method.caller, f"/{method.name}", bytes(3_000_000), **packed)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert wire.is_serving()


@each_method
def test_call_without_message_gets_no_answer(wire: Wire, method: Method) -> None:
    """A call that ends without a message is refused with REQUEST_MALFORMED."""
    call: Any = wire.channels[method.caller].stream_unary(f"/{method.name}")

    with pytest.raises(grpc.RpcError) as caught:
        call(iter(()), timeout=20)
    assert reason_of(caught.value) == Reason.REQUEST_MALFORMED
    assert wire.is_serving()


@pytest.mark.parametrize("path", [health.CHECK, health.WATCH])
def test_malformed_health_check(wire: Wire, path: bytes) -> None:
    """A health check that can't be read is refused with REQUEST_MALFORMED, and Health still answers."""
    call: Any = wire.channels["setad"].unary_stream(path)  # type: ignore[arg-type]  # gRPC takes bytes as they are

    with pytest.raises(grpc.RpcError) as caught:
        list(call(b"\xff", timeout=20))
    assert reason_of(caught.value) == Reason.REQUEST_MALFORMED
    assert wire.is_serving()


@pytest.mark.parametrize("timeout", [None, 3600])
def test_server_timeout_applies(loaded: Sandbox, start: Start, timeout: float | None) -> None:
    """A call without a deadline, or with a long one, is bounded by the server's own timeout."""
    free, held = threading.Event(), threading.Event()

    def slow(reading: LookupContext, inquiries: Sequence[Inquiry]) -> Sequence[LookupResult | Refusal]:
        held.set()
        free.wait(30)
        return LOOKUPS[BY_NATIONAL_ID](reading, inquiries)

    own = loaded.judiciary(listen="127.0.0.1:0", request_timeout_seconds=0.3, shutdown_delay_seconds=0)
    running = start(lambda: run_recording_service(own, {**LOOKUPS, BY_NATIONAL_ID: slow}, CaseRecallSource()))
    method = METHODS["CheckByNationalId"]
    with plain_channel(running.address, ClientIdentity.named(loaded.pki, "cbi")) as channel:
        wire = Wire({"cbi": channel}, {})
        first = wire.reason("cbi", f"/{method.name}", method.wire, timeout=timeout)
        queued = wire.reason("cbi", f"/{CHECK_BY_TRACKING_ID}", METHODS["CheckByTrackingId"].wire, timeout=timeout)
        free.set()
        freed = until_answered(wire, method)

    assert held.is_set()
    assert (first, queued, freed) == (Reason.ANSWER_LATE, Reason.ANSWER_LATE, None)


def test_hung_store(loaded: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store hangs, callers get ANSWER_LATE, others their refusals, and health says NOT_SERVING."""
    monkeypatch.setattr(service, "PING_SECONDS", 0.2)
    free = threading.Event()

    def hanging(reading: LookupContext, inquiries: Sequence[Inquiry]) -> Sequence[LookupResult | Refusal]:
        free.wait(30)
        return LOOKUPS[BY_NATIONAL_ID](reading, inquiries)

    own = loaded.judiciary(listen="127.0.0.1:0", request_timeout_seconds=0.3, shutdown_delay_seconds=0)
    running = start(lambda: run_recording_service(own, {**LOOKUPS, BY_NATIONAL_ID: hanging}, CaseRecallSource()))
    method = METHODS["CheckByNationalId"]
    with plain_channel(running.address, ClientIdentity.named(loaded.pki, "cbi")) as channel:
        wire = Wire({"cbi": channel}, {})
        late = [wire.reason("cbi", f"/{method.name}", method.wire) for _ in range(3)]
        malformed = wire.reason("cbi", "/nothing", b"")
        noticed = until(lambda: status_of(wire) == HealthCheckResponse.NOT_SERVING)
        free.set()
        recovered = until(lambda: status_of(wire) == HealthCheckResponse.SERVING)
        freed = until_answered(wire, method)

    assert late == [Reason.ANSWER_LATE] * 3
    assert (malformed, noticed, recovered, freed) == (Reason.METHOD_UNKNOWN, True, True, None)


def status_of(wire: Wire) -> int:
    """The status of the whole server."""
    return int(HealthCheckResponse.FromString(wire.send("cbi", health.CHECK, b"")).status)


def until_answered(wire: Wire, method: Method) -> Reason | None:
    """Repeat the call while the reason is ANSWER_LATE."""
    for _ in range(100):
        outcome = wire.reason(method.caller, f"/{method.name}", method.wire)
        if outcome != Reason.ANSWER_LATE:
            break
    return outcome
