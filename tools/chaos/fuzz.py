"""Scenario: fuzzed frames to both services; only catalogued errors come back, and the servers stay up.

A catalogued error has a reason of the catalogue and its text. Calls that are not valid gRPC or HTTP/2 end before any
handler: gRPC itself rejects them with its own statuses, a reset, or by closing the connection. Those are counted
separately; an answer among them, or any other status, is a loss.
"""

import ssl
from base64 import b64decode
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple
from urllib.parse import unquote

from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from hpack import Encoder

from conformance.raw_http2 import grpc_message
from development import sandbox as suite
from development.processes import ServiceProcess
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.client.channel import ClientIdentity
from estelam.core import validation
from estelam.core.errors import DOMAIN, ERROR_CATALOGUE, Reason, Refusal
from estelam.core.keys import VerifyingKey, verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import receipt
from estelam.receipts.problems import InvalidReceipt
from tools.chaos import mutations
from tools.chaos.raw_http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    ConnectionClosed,
    RawConnection,
    Reply,
    frame,
)
from tools.chaos.scenario import Result, Scenario, Task
from tools.env.fork_server import ForkServer
from tools.env.identifiers import legal_id

STREAMS = 32
CONNECTIONS = 64
SILENCE_SECONDS = 0.02
PROVEN_IN = 50
CALLERS = 256
"""Organisations that send in turn, because refusals of one caller are spaced to 100 a second."""
LEVELS = {"message": 55, "frame": 15, "headers": 15, "http2": 15}
# gRPC's own texts for calls that never reach a handler: too late, too large, not gRPC, not HTTP/2.
GRPCS_OWN = {4, 8, 13, 14}
NOTE = notes.CheckNoteRequest(
    serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=2_500_000_000
)


@dataclass(frozen=True, slots=True)
class Target:
    """A method and a request whose answer is YES."""

    service: str
    name: str
    good: Message
    reply: type[Message]


TARGETS = (
    Target("promissory", suite.CHECK_NOTE, NOTE, notes.CheckNoteResponse),
    Target(
        "promissory",
        suite.GET_NOTE_PARTIES,
        notes.GetNotePartiesRequest(serial=NOTE.serial, executive_agency_id="SETAD-0001"),
        notes.GetNotePartiesResponse,
    ),
    Target(
        "judiciary",
        suite.CHECK_BY_NATIONAL_ID,
        cases.CheckByNationalIdRequest(national_id="9990000050"),
        cases.CheckByNationalIdResponse,
    ),
    Target(
        "judiciary",
        suite.CHECK_BY_TRACKING_ID,
        cases.CheckByTrackingIdRequest(tracking_id="140000000000000001"),
        cases.CheckByTrackingIdResponse,
    ),
)


@dataclass(slots=True)
class Service:
    """A service under test."""

    process: ServiceProcess
    checker: "ReplyChecker"


class Sent(NamedTuple):
    """A sent call: header block, data, and the message in it that may be answered, if any."""

    block: bytes
    data: bytes
    first: bytes | None


UNSENT = Sent(b"", b"", None)
"""A stream that was not opened deliberately."""


class ReplyChecker:
    """Checks whether each reply is allowed, and counts replies by kind."""

    def __init__(self, keys: Mapping[str, VerifyingKey], result: Result, seen: Counter[str]) -> None:
        self._keys = keys
        self._result = result
        self._seen = seen

    def check(self, target: Target, sent: Sent, reply: Reply) -> None:
        """Check the reply to *sent*."""
        self._result.checked += 1
        if reply.status is None:
            self._seen["no status"] += 1
            self._must(not reply.body, "a message came without a status")
        elif reply.status == 0:
            self._seen["answered"] += 1
            self._answered(target, sent, reply)
        else:
            self._must(not reply.body, "a message came with a refusal")
            self._refused(reply)

    def _answered(self, target: Target, sent: Sent, reply: Reply) -> None:
        body = reply.body[5:]
        self._must(reply.body[:5] == b"\0" + len(body).to_bytes(4), "an answer is not one message")
        try:
            request = validation.parse_request(type(target.good), sent.first or b"")
            answer: Any = target.reply.FromString(body)
        except (Refusal, DecodeError):
            self._result.losses.append(f"{target.name} answered a request that violates the contract")
            return
        result, same = getattr(answer, "answer", ANSWER_YES), request == target.good
        self._must(result in {ANSWER_YES, ANSWER_NO}, f"{target.name} answered neither YES nor NO")
        self._must((result == ANSWER_YES) >= same, f"{target.name} answered NO to a true fact")
        self._must(same or result == ANSWER_NO or target.name != suite.CHECK_NOTE, "a wrong note was confirmed")
        if same or self._seen["answered"] % PROVEN_IN == 0:
            try:
                receipt.verify(target.name, request, answer, self._keys)
            except InvalidReceipt:
                self._result.losses.append(f"{target.name} answered without a valid receipt")

    def _refused(self, reply: Reply) -> None:
        reason = _reason(reply)
        if reason is None:
            self._seen[f"gRPC's own {reply.status}"] += 1
            self._must(reply.status in GRPCS_OWN, f"status {reply.status} without a known text")
            return
        self._seen["refused"] += 1
        spec = ERROR_CATALOGUE[reason]
        result = unquote(reply.headers.get("grpc-message", b"").decode("ascii"))
        self._must((spec.status, spec.en) == (reply.status, result), f"{reason} with another text than the catalogue's")

    def _must(self, holds: bool, text: str) -> None:  # noqa: FBT001 - as assert takes it
        if not holds:
            self._result.losses.append(text)


def _reason(reply: Reply) -> Reason | None:
    """The reason in *reply* if it is one of ours."""
    packed = reply.headers.get("grpc-status-details-bin")
    if packed is None:
        return None
    info = error_details_pb2.ErrorInfo()
    status = status_pb2.Status.FromString(b64decode(packed + b"=" * (-len(packed) % 4)))
    if not any(detail.Unpack(info) for detail in status.details) or info.domain != DOMAIN:
        return None
    return Reason(info.reason)


class Volley(NamedTuple):
    """One connection, the calls sent over it, and the mutated level: "http2" usually breaks the connection."""

    opened: RawConnection
    target: Target
    level: str
    calls: Mapping[int, Sent]


class Fuzzer:
    """Sends mutated calls to both services and checks the replies."""

    def __init__(
        self,
        services: Mapping[str, Service],
        callers: Sequence[ssl.SSLContext],
        random: Random,
        result: Result,
        seen: Counter[str],
    ) -> None:
        self._services = services
        self._callers = callers
        self._random = random
        self._result = result
        self._seen = seen

    def volley(self) -> None:
        """Send over many connections at once, since gRPC delays its own rejections; then regular calls must succeed."""
        shots = [self._fire() for _ in range(CONNECTIONS)]
        for shot in shots:
            self._collect(shot)
        caller = self._random.choice(self._callers)
        for target in TARGETS:
            self._live(target, caller)

    def _fire(self) -> Volley:
        target = self._random.choice(TARGETS)
        level = self._random.choices(list(LEVELS), list(LEVELS.values()))[0]
        service, encoder = self._services[target.service], Encoder()
        opened = RawConnection(service.process.port, self._random.choice(self._callers))
        if level == "http2":
            calls = {1: _sound(target)}
            frames = mutations.frames(self._random, [_frames(*call) for call in calls.items()])
        else:
            calls = {1 + 2 * n: self._mutated_call(target, level, encoder) for n in range(STREAMS)}
            frames = [_frames(*call) for call in calls.items()]
        self._result.rounds += len(frames)
        with suppress(ConnectionClosed):
            opened.write(b"".join(frames))
        return Volley(opened, target, level, calls)

    def _collect(self, shot: Volley) -> None:
        opened = shot.opened
        try:
            if shot.level == "http2":
                opened.drain(SILENCE_SECONDS)
            else:
                opened.read(list(shot.calls))
        except ConnectionClosed:
            self._seen["hung up"] += 1
        finally:
            opened.close()
        checker = self._services[shot.target.service].checker
        for stream, reply in opened.replies.items():
            checker.check(shot.target, shot.calls.get(stream, UNSENT), reply)

    def _mutated_call(self, target: Target, level: str, encoder: Encoder) -> Sent:
        """A call with a mutation in its message, frame or headers."""
        good = target.good.SerializeToString()
        if level == "headers":
            block = encoder.encode(mutations.headers(self._random, headers_of(target)))
            return Sent(block, grpc_message(good), good)
        if level == "frame":
            # For a truncated message the server waits until the deadline.
            return Sent(encoder.encode(headers_of(target, deadline=b"200m")), *mutations.framed(self._random, good))
        mutated = mutations.message(self._random, good)
        return Sent(encoder.encode(headers_of(target)), grpc_message(mutated), mutated)

    def _live(self, target: Target, caller: ssl.SSLContext) -> None:
        """Check that a regular call is answered."""
        service, sound = self._services[target.service], _sound(target)
        with closing(RawConnection(service.process.port, caller)) as opened, suppress(ConnectionClosed):
            opened.write(_frames(1, sound))
            opened.read([1])
            service.checker.check(target, sound, opened.replies[1])
            if opened.replies[1].status == 0:
                return
        self._result.losses.append(f"a regular call of {target.name} was not answered")


def headers_of(target: Target, *, deadline: bytes = b"10S") -> mutations.Headers:
    """The headers of a valid call."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", f"/{target.name}".encode()),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", deadline),
    ]


def _sound(target: Target) -> Sent:
    good = target.good.SerializeToString()
    return Sent(Encoder().encode(headers_of(target)), grpc_message(good), good)


def _frames(stream: int, sent: Sent) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, sent.block) + frame(DATA, END_STREAM, stream, sent.data)


def run(task: Task) -> Result:
    """Send at least *task.rounds* frames."""
    sandbox = suite.create_sandbox(task.folder)
    callers = _callers(sandbox)
    suite.load_samples(sandbox)
    result, seen = Result(), Counter[str]()
    with ForkServer() as fork_server, ExitStack() as at_last:
        services = {}
        for settings in (sandbox.promissory(), sandbox.judiciary()):
            process = at_last.enter_context(ServiceProcess(settings.SECTION, sandbox, launcher=fork_server.launch))
            checker = ReplyChecker(verifying_keys(settings.signing_certificates), result, seen)
            services[settings.SECTION] = Service(process, checker)
        fuzz = Fuzzer(services, callers, Random(task.seed), result, seen)
        while (before := result.rounds) < task.rounds:
            fuzz.volley()
            task.progress(result.rounds - before)
        result.losses += [f"{name} has ended" for name, it in services.items() if it.process.exit_status is not None]
    result.remarks.append(", ".join(f"{what} {count:,}" for what, count in seen.most_common()))
    return result


def _callers(sandbox: suite.Sandbox) -> list[ssl.SSLContext]:
    """Issue a certificate to each of CALLERS organisations, which are granted every method."""
    authority = DevCertificateAuthority(sandbox.pki)
    organizations = {f"fuzz-{number}": legal_id(9_800_000_000 + number) for number in range(CALLERS)}
    for name, organization_id in organizations.items():
        authority.issue(name, [organization_id])
    methods = sorted({target.name for target in TARGETS})
    grants = [(name, method, "test") for name in organizations for method in methods]
    suite.write_access(sandbox, grants, rate=1e6, burst=10**6, organizations=organizations)
    return [ClientIdentity.named(sandbox.pki, name).ssl_context() for name in organizations]


SCENARIO = Scenario("fuzz", "mutated messages, gRPC frames, headers and HTTP/2 frames", 2_000, 1_000_000, run)
