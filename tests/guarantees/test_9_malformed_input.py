"""Promise 9: any bytes. Whatever is sent, only statuses of the error table come back, and the server lives on."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

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
from estelam.server.service import run_recording_service
from judiciary.methods import CHECK_BY_NATIONAL_ID as BY_NATIONAL_ID
from judiciary.methods import LOOKUPS
from tests.conftest import Start, plain_channel
from tests.support.service import RunningService
from tools.chaos.mutations import MESSAGES, Draft
from tools.env.sandbox import (
    CHECK_BY_NATIONAL_ID,
    CHECK_BY_TRACKING_ID,
    CHECK_NOTE,
    GET_NOTE_PARTIES,
    VERIFY_NOTE,
    Sandbox,
)

GRPCS_OWN_LIMIT = 65536
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
NOTE = notes.CheckNoteRequest(
    serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=2_500_000_000
)
PARTIES = notes.GetNotePartiesRequest(serial="1404000000000017", executive_agency_id="SETAD-0001")


@dataclass(frozen=True)
class Method:
    """A method, who may call it, and a request that it answers."""

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
    """Connections to both services, by caller, on which anything may be sent."""

    channels: dict[str, grpc.Channel]
    keys: dict[str, Any]

    def send(self, caller: str, path: str | bytes, wire: bytes, **options: Any) -> bytes:
        """What comes back for these very bytes, or grpc.RpcError."""
        call: Any = self.channels[caller].unary_unary(path)  # type: ignore[arg-type]  # gRPC takes bytes as they are
        reply: bytes = call(wire, **{"timeout": 20, **options})
        return reply

    def answer(self, caller: str, path: str | bytes, wire: bytes, **options: Any) -> bytes | Reason:
        """What comes back, or why these bytes were refused, in the table's own status and words."""
        try:
            return self.send(caller, path, wire, **options)
        except grpc.RpcError as error:
            return told(error)

    def reason(self, caller: str, path: str | bytes, wire: bytes, **options: Any) -> Reason | None:
        """Why these bytes were refused; None where they were answered."""
        said = self.answer(caller, path, wire, **options)
        return said if isinstance(said, Reason) else None

    def lives(self) -> bool:
        """Whether each method still answers as it should."""
        for method in METHODS.values():
            reply = method.reply.FromString(self.send(method.caller, f"/{method.name}", method.wire))
            receipt.verify(method.name, method.good, reply, self.keys[method.caller])
            if getattr(reply, "answer", ANSWER_YES) != ANSWER_YES:
                return False
        return True


def told(error: grpc.RpcError) -> Reason:
    """The reason that *error* gives, which it gives in the words of the table and with its status."""
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


def judged(wire: Wire, method: Method, sent: bytes) -> None:
    """Send *sent*, and see that it is refused for what breaks the contract, or answered with proof."""
    try:
        request = validation.parse_request(type(method.good), sent)
    except Refusal as refusal:
        expected = refusal.reason
    else:
        answered(wire, method, sent, request)
        return
    if len(sent) <= GRPCS_OWN_LIMIT:
        assert wire.reason(method.caller, f"/{method.name}", sent) == expected
        return
    with pytest.raises(grpc.RpcError) as caught:
        wire.send(method.caller, f"/{method.name}", sent)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def answered(wire: Wire, method: Method, sent: bytes, request: Message) -> None:
    said = wire.answer(method.caller, f"/{method.name}", sent)
    if isinstance(said, Reason):
        assert said in {Reason.NOTE_NOT_CONFIRMED, Reason.AGENCY_NOT_MEMBER}
        return
    reply = method.reply.FromString(said)
    receipt.verify(method.name, request, reply, wire.keys[method.caller])
    assert getattr(reply, "answer", ANSWER_YES) in {ANSWER_YES, ANSWER_NO}


@st.composite
def mutated(draw: DrawFn, method: Method) -> bytes:
    """The good request, spoilt once or a few times."""
    spoilt = method.wire
    for _ in range(draw(st.integers(1, 3))):
        form = MESSAGES[draw(st.sampled_from(sorted(MESSAGES)))]
        spoilt = form(Draft(spoilt, draw(st.integers(0, len(spoilt))), draw(st.binary(max_size=40))))
    return spoilt


@st.composite
def other_digits(draw: DrawFn, method: Method) -> bytes:
    """A request of the right shape, some digits of which are others."""
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
def test_bytes_of_any_kind_are_refused_in_the_tables_words(wire: Wire, method: Method) -> None:
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
    def whatever_is_sent(sent: bytes) -> None:
        judged(wire, method, sent)

    whatever_is_sent()

    assert wire.lives()


@each_method
@pytest.mark.parametrize("kind", [mutated, other_digits])
def test_a_good_request_that_was_spoilt_is_refused_for_what_is_wrong_with_it(
    wire: Wire, method: Method, kind: Callable[[Method], SearchStrategy[bytes]]
) -> None:
    @often
    @given(kind(method))
    def whatever_is_spoilt(sent: bytes) -> None:
        judged(wire, method, sent)

    whatever_is_spoilt()

    assert wire.lives()


@each_method
def test_each_way_of_spoiling_a_request_is_met(wire: Wire, method: Method) -> None:
    for form in MESSAGES.values():
        for at in range(0, len(method.wire) + 1, 7):
            judged(wire, method, form(Draft(method.wire, at, b"12")))
        judged(wire, method, form(Draft(method.wire, 3, b"7" * 5_000)))

    assert wire.lives()


@pytest.mark.parametrize("caller", ["setad", "cbi"])
def test_a_method_of_any_other_name_is_unknown(wire: Wire, caller: str) -> None:
    known = [f"/{method.name}" for method in METHODS.values()]
    near = [
        name for path in known for name in (path.lower(), path[1:], f"{path}/", f"{path}s", f"{path}\0", f"/{path}")
    ]
    other = ["", "/", "*", "/استعلام/چک", "/grpc.health.v1.Health/Nothing", f"/{VERIFY_NOTE}", REFLECTION]

    @often
    @given(st.binary(max_size=200))
    @example(b"/\xff")
    @example(known[0].encode() + b"\xff")
    def any_name_is_unknown(name: bytes) -> None:
        assert wire.reason(caller, name, b"") == Reason.METHOD_UNKNOWN

    assert {name: wire.reason(caller, name, b"") for name in near + other} == dict.fromkeys(
        near + other, Reason.METHOD_UNKNOWN
    )
    any_name_is_unknown()
    assert wire.lives()


def test_a_method_of_the_other_service_is_unknown(wire: Wire) -> None:
    assert wire.reason("setad", f"/{CHECK_BY_NATIONAL_ID}", b"") == Reason.METHOD_UNKNOWN
    assert wire.reason("cbi", f"/{CHECK_NOTE}", b"") == Reason.METHOD_UNKNOWN


@each_method
def test_metadata_of_any_bytes_is_ignored_or_refused(wire: Wire, method: Method) -> None:
    key = st.sampled_from(["x-inquiry-id", "x-case-reference", "x-operator", "x-other"])
    plain = st.tuples(key, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
    binary = st.tuples(key.map("{}-bin".format), st.binary(max_size=80))

    @often
    @given(st.lists(plain | binary, max_size=6))
    def whatever_is_beside_it(metadata: list[tuple[str, str | bytes]]) -> None:
        said = wire.reason(method.caller, f"/{method.name}", method.wire, metadata=metadata)

        assert said in {None, Reason.METADATA_MALFORMED}

    whatever_is_beside_it()

    assert wire.lives()


@each_method
def test_a_small_message_that_unpacks_to_a_huge_one_is_refused(wire: Wire, method: Method) -> None:
    packed = {"compression": grpc.Compression.Gzip}

    assert wire.reason(method.caller, f"/{method.name}", bytes(50_000), **packed) == Reason.REQUEST_TOO_LARGE
    assert wire.reason(method.caller, f"/{method.name}", method.wire, **packed) is None
    with pytest.raises(grpc.RpcError) as caught:
        wire.send(method.caller, f"/{method.name}", bytes(3_000_000), **packed)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert wire.lives()


@each_method
def test_a_call_that_ends_without_a_message_is_no_answer(wire: Wire, method: Method) -> None:
    call: Any = wire.channels[method.caller].stream_unary(f"/{method.name}")

    with pytest.raises(grpc.RpcError):
        call(iter(()), timeout=0.3)
    assert wire.lives()


@pytest.mark.parametrize("timeout", [None, 3600])
def test_a_call_without_a_deadline_or_with_a_long_one_has_the_servers_own(
    loaded: Sandbox, start: Start, timeout: float | None
) -> None:
    free, held = threading.Event(), threading.Event()

    def slow(reading: LookupContext, inquiries: Sequence[Inquiry]) -> Sequence[LookupResult | Refusal]:
        held.set()
        free.wait(30)
        return LOOKUPS[BY_NATIONAL_ID](reading, inquiries)

    own = loaded.judiciary(listen="127.0.0.1:0", request_timeout_seconds=0.3, shutdown_delay_seconds=0)
    service = start(lambda: run_recording_service(own, {**LOOKUPS, BY_NATIONAL_ID: slow}))
    method = METHODS["CheckByNationalId"]
    with plain_channel(service.address, ClientIdentity.named(loaded.pki, "cbi")) as channel:
        wire = Wire({"cbi": channel}, {})
        first = wire.reason("cbi", f"/{method.name}", method.wire, timeout=timeout)
        queued = wire.reason("cbi", f"/{CHECK_BY_TRACKING_ID}", METHODS["CheckByTrackingId"].wire, timeout=timeout)
        free.set()
        freed = until_answered(wire, method)

    assert held.is_set()
    assert (first, queued, freed) == (Reason.ANSWER_LATE, Reason.ANSWER_LATE, None)


def until_answered(wire: Wire, method: Method) -> Reason | None:
    """Ask again for as long as the answer is only late."""
    for _ in range(100):
        said = wire.reason(method.caller, f"/{method.name}", method.wire)
        if said != Reason.ANSWER_LATE:
            break
    return said
