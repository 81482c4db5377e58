"""Compares the result of a call with what the case expects and yields each mismatch."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from conformance import contract, contract_facts, error_checks, quota_checks
from conformance.case import Expected, Instance, Step
from conformance.client import CallResult
from conformance.error_checks import ExpectedRefusal, ReceivedRefusal
from conformance.mismatch import CATALOGUE, CONTRACT, COVERED, LENGTH, METADATA, PROVEN, RECORDED, Mismatch
from conformance.receipt_checks import ExpectedEntry, ReceiptChecker, receipted_replies
from conformance.run_invariants import AnswerShapes, InquiryIds
from conformance.target import Target
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts.own_call import NONCE

_RUN = re.compile(rb"[0-9A-Za-z-]{8,}")
_LONGEST = 16
HEALTH = "/grpc.health.v1.Health/"
# What HTTP/2 servers and proxies add themselves.
_STACK_KEYS = {
    *("content-type", "date", "server", "trailer"),
    *("grpc-status", "grpc-message", "grpc-encoding", "grpc-accept-encoding", "accept-encoding"),
}


@dataclass(frozen=True, slots=True)
class SentCall:
    """One step as it was sent."""

    step: Step
    instance: Instance
    caller: str
    path: str
    payload: bytes

    @property
    def is_forwarded(self) -> bool:
        """Whether the answer is the ministry's, forwarded by the adapter."""
        return self.instance.service == "setad"

    @property
    def secrets(self) -> frozenset[bytes]:
        """Parts of the request that a refusal must not contain: its values, and longer runs of letters and digits."""
        texts = {value.encode() for value in _leaves(self.step.request) if len(value) >= 6}
        return frozenset(text[:_LONGEST] for text in (*texts, *_RUN.findall(self.payload)))


def _ledger(instance: Instance) -> str:
    """Return the instance in whose ledger the answers of *instance* are."""
    forwards = instance.service == "setad" and instance is not Instance.SETAD_DECEIVED
    return Instance.PROMISSORY.value if forwards else instance.value


def _nonce_hash(step: Step) -> bytes:
    nonce = dict(step.metadata).get(NONCE)
    return hashlib.sha256(nonce.encode()).digest() if nonce else b""


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif value is not None:
        yield str(value)


@dataclass(slots=True)
class CaseReplies:
    """What one case's later replies are compared with."""

    first: dict[str, int] = field(default_factory=dict)
    """The lengths of replies that must be equally long, by label."""
    last_index: int | None = None
    """The ledger's index of the last reply with a receipt in the steps before."""
    indexes: list[int] = field(default_factory=list)
    """Those of the present step's replies."""

    def check_index(self, entries: int | None) -> Iterator[Mismatch]:
        """Yield a mismatch unless the last entry of a step is the one *entries* after that of the step before."""
        if not self.indexes:
            return
        index = max(self.indexes)
        if entries is not None and self.last_index is not None and index - self.last_index != entries:
            wanted = f"entry {self.last_index + entries}, {entries} after that of the answer before"
            yield Mismatch(wanted, f"entry {index}", RECORDED)
        self.last_index = index
        self.indexes.clear()

    def check_length(self, label: str, length: int) -> Iterator[Mismatch]:
        """Yield a mismatch if a reply's length differs from that of earlier replies with the same *label*."""
        if (first := self.first.setdefault(label, length)) != length:
            yield Mismatch(f"a reply of {first} bytes with its trailers, as before", f"{length} bytes", LENGTH)


class Checker:
    """Checks the results of a run; it holds the fixtures and every receipt of the run."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._ids = InquiryIds()
        self._shapes = AnswerShapes()
        self.receipts = ReceiptChecker(target)

    def failures(
        self, call: SentCall, result: CallResult, replies: CaseReplies, *, now: datetime | None = None
    ) -> Iterator[Mismatch]:
        """Yield what differs from the step's expectation.

        Args:
            call: The step as it was sent.
            result: Its result.
            replies: The replies of the case so far.
            now: The target's time, if the kit controls its clock.
        """
        expect = call.step.expect
        if call.step.health is not None:
            yield from _check_health(expect, result)
            return
        if result.status not in expect.status and not (result.closed and "CLOSED" in expect.status):
            # A refusal with another status is still a refusal: no answer was given.
            clause = CATALOGUE if result.is_refusal and set(expect.status) - {"OK"} else ""
            yield Mismatch(describe_expected(expect), self._describe(call, result), clause)
        if call.path.startswith(HEALTH):
            return  # this protocol has neither our details nor our metadata
        yield from error_checks.check_leaks(result, call.secrets)
        if result.status == "OK":
            yield from self._check_answer(call, result, replies, now)
        # A deadline that expires at the caller has no details: the server sent nothing.
        elif result.status in expect.status and (result.trailers or result.status != "DEADLINE_EXCEEDED"):
            yield from error_checks.check_refusal(ReceivedRefusal(result), self._expected_refusal(call))
        if call.step.fault is None:
            yield from self._check_metadata(call, result, now)
        own_id = dict(call.step.metadata).get("x-inquiry-id")
        echoes = expect.echoes or (own_id is not None and error_checks.is_validated(result))
        if echoes and result.trailers_of("x-inquiry-id") != [own_id]:
            yield Mismatch(f"x-inquiry-id: {own_id}", result.seen("x-inquiry-id"), METADATA)
        yield from quota_checks.check_expected(expect, result)
        organization = self._target.organization(call.caller)
        yield from quota_checks.check_grant(result, organization, call.path.removeprefix("/"))

    def _check_metadata(self, call: SentCall, result: CallResult, now: datetime | None) -> Iterator[Mismatch]:
        """Check that a reply or refusal has no metadata but the known, in their forms, and an id of its own."""
        if others := {key for key, _ in result.initial_metadata} - _STACK_KEYS:
            yield Mismatch("no initial metadata", ", ".join(sorted(others)), METADATA)
        forms = contract_facts.trailer_forms(call.path.rpartition("/")[2])
        if "x-inquiry-id" not in dict(call.step.metadata):
            del forms["x-inquiry-id"]
        for key in dict.fromkeys(key for key, _ in result.trailers):
            if key in _STACK_KEYS:
                continue
            values = result.trailers_of(key)
            if key not in forms:
                yield Mismatch("only the trailers of errors.json", f"{key}: {result.seen(key)}", METADATA)
            elif len(values) > 1 or (forms[key] and not re.search(forms[key], str(values[0]), re.ASCII)):
                yield Mismatch(f"{key}: once, {forms[key]}", result.seen(key), METADATA)
        for key in ("ratelimit", "ratelimit-policy"):
            if error_checks.is_authorized(result) and not result.trailers_of(key):
                yield Mismatch(f"{key}: {forms[key]}", "seen none", METADATA)
        if error_checks.is_uuid(inquiry_id := result.text("estelam-inquiry-id")):
            # Without the steering files the target's clock is unknown: no rule about it is tested.
            clocks = [datetime.fromtimestamp(result.ended_at, UTC), now] if now else []
            yield from self._ids.check(inquiry_id, clocks)

    @staticmethod
    def _expected_refusal(call: SentCall) -> ExpectedRefusal:
        expect = call.step.expect
        return ExpectedRefusal(
            method=call.path.rpartition("/")[2],
            reasons=expect.reason,
            field=expect.field,
            request=_parsed(contract.request_type(call.path), call.payload),
            is_forwarded=call.is_forwarded,
            is_ministrys=call.instance is Instance.SETAD_DECEIVED,
        )

    def check_counts(self, call: SentCall, result: list[CallResult]) -> Iterator[Mismatch]:
        """Yield each status or answer that a wrong number of the concurrent calls ended with."""
        outcomes = [word for each in result for word in {each.status, *self._describe(call, each).split()}]
        outcomes += ["REFUSED" for each in result if each.is_refusal]
        for outcome, wanted in call.step.expect.counts.items():
            if outcomes.count(outcome) != wanted:
                yield Mismatch(f"{wanted} of {len(result)} calls end with {outcome}", f"{outcomes.count(outcome)}")

    def _check_answer(
        self, call: SentCall, result: CallResult, replies: CaseReplies, now: datetime | None
    ) -> Iterator[Mismatch]:
        reply = _decoded(call.path, result)
        if reply is None:
            yield Mismatch("a reply of this method", "bytes that are not one")
            return
        expect = call.step.expect
        yield from _check_fields(reply, expect)
        if "coverage" in reply.DESCRIPTOR.fields_by_name:
            yield from self._check_coverage(reply.coverage)  # type: ignore[attr-defined]
        if "check_receipt" in reply.DESCRIPTOR.fields_by_name:
            yield from _check_parties(reply)
        if expect.receipt:
            yield from self._check_receipts(call, reply, now)
        if "receipt" in reply.DESCRIPTOR.fields_by_name and reply.HasField("receipt"):
            replies.indexes.append(reply.receipt.index)  # type: ignore[attr-defined]
        yield from _check_trailers(call, result, reply)
        if "answer" in reply.DESCRIPTOR.fields_by_name and not call.is_forwarded and call.step.fault is None:
            has_nonce = "x-nonce" in dict(call.step.metadata)
            kind = call.instance, self._target.organization(call.caller), call.path, has_nonce
            keys = tuple(sorted({key for key, _ in result.trailers} - _STACK_KEYS - {"x-inquiry-id"}))
            yield from self._shapes.check(kind, self._describe(call, result), keys, _length(reply, result))
        if expect.same_length is not None:
            yield from replies.check_length(expect.same_length, _length(reply, result))

    def _check_receipts(self, call: SentCall, reply: Message, now: datetime | None) -> Iterator[Mismatch]:
        request = _parsed(contract.request_type(call.path), call.payload)
        if request is None:
            yield Mismatch("a refusal of bytes that are not a request", "an answer")
            return
        expected = ExpectedEntry(
            # The adapter has no ledger: the ministry records what it forwards.
            ledger=_ledger(call.instance),
            organization=self._target.organization("setad" if call.is_forwarded else call.caller),
            # The adapter calls the ministry with nonces of its own.
            nonce=None if call.is_forwarded else _nonce_hash(call.step),
            callers_nonce=_nonce_hash(call.step),
            secrets=call.secrets,
            at=now,
        )
        for part in receipted_replies(call.path.removeprefix("/"), request, reply):
            yield from self.receipts.check(part, expected)

    def _check_coverage(self, coverage: pb.Coverage) -> Iterator[Mismatch]:
        manifest = self._target.manifest
        since = (coverage.since.year, coverage.since.month, coverage.since.day)
        if since != (manifest.since.year, manifest.since.month, manifest.since.day):
            yield Mismatch(f"coverage since {manifest.since}", "-".join(map(str, since)), COVERED)
        if coverage.as_of.ToNanoseconds() != int(manifest.as_of.timestamp()) * 10**9:
            wanted = f"coverage as of {manifest.as_of:%Y-%m-%dT%H:%M:%SZ}"
            yield Mismatch(wanted, coverage.as_of.ToJsonString(), COVERED)

    def _describe(self, call: SentCall, result: CallResult) -> str:
        """Describe a result in one line."""
        if result.status != "OK":
            return f"{ReceivedRefusal(result).describe()}{' (connection closed)' if result.closed else ''}"
        reply = _decoded(call.path, result)
        answer = getattr(reply, "answer", None)
        return "OK" if answer is None else f"OK {_answer_name(answer)}"


def describe_expected(expect: Expected) -> str:
    """Describe in one line what a call must end with."""
    field = f"({expect.field})" if expect.field else ""
    return " ".join(filter(None, (" or ".join(expect.status), " or ".join(expect.reason), field, expect.answer)))


def _decoded(path: str, result: CallResult) -> Message | None:
    return None if result.reply is None else _parsed(contract.reply_type(path), result.reply)


def _parsed(kind: type[Message] | None, wire: bytes) -> Message | None:
    """Return the message of *kind* in *wire*, or None if there is none."""
    try:
        return kind.FromString(wire) if kind else None
    except DecodeError:
        return None


def _answer_name(answer: Any) -> str:
    names = {pb.ANSWER_UNSPECIFIED: "UNSPECIFIED", pb.ANSWER_YES: "YES", pb.ANSWER_NO: "NO"}
    return names.get(answer, str(answer))


def _check_fields(reply: Message, expect: Expected) -> Iterator[Mismatch]:
    known = type(reply)()
    known.CopyFrom(reply)
    known.DiscardUnknownFields()
    if known.ByteSize() != reply.ByteSize():
        yield Mismatch("only fields of the contract in the reply", "another field", CONTRACT)
    answer = getattr(reply, "answer", None)
    if answer is not None and answer not in {pb.ANSWER_YES, pb.ANSWER_NO}:
        yield Mismatch("answer YES or NO", _answer_name(answer))
    elif expect.answer is not None and (answer is None or _answer_name(answer) != expect.answer):
        yield Mismatch(f"answer {expect.answer}", "no answer" if answer is None else _answer_name(answer))
    found = MessageToDict(reply, preserving_proto_field_name=True)
    for name, value in expect.reply.items():
        if found.get(name) != value:
            yield Mismatch(f"{name} {value}", str(found.get(name)))


def _check_parties(reply: Any) -> Iterator[Mismatch]:
    """Check that the adapter's reply has both parties and their receipt if it is YES, and none of them if NO."""
    wanted = reply.answer == pb.ANSWER_YES
    for name in ("obligor", "beneficiary", "parties_receipt"):
        if reply.HasField(name) != wanted:
            clause = PROVEN if name == "parties_receipt" else ""
            yield Mismatch(f"{name} {'with' if wanted else 'only with'} YES", "absent" if wanted else "present", clause)


def _check_trailers(call: SentCall, result: CallResult, reply: Any) -> Iterator[Mismatch]:
    inquiry_id = result.text("estelam-inquiry-id")
    if not error_checks.is_uuid(inquiry_id):
        yield Mismatch("estelam-inquiry-id: a UUID", result.seen("estelam-inquiry-id"), METADATA)
    elif not call.is_forwarded and inquiry_id != (own := reply.receipt.inquiry_id or inquiry_id):
        yield Mismatch(f"estelam-inquiry-id: {own}, as in the receipt", result.seen("estelam-inquiry-id"), METADATA)


def _check_health(expect: Expected, result: CallResult) -> Iterator[Mismatch]:
    names = {b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING", b"\x08\x03": "SERVICE_UNKNOWN"}
    found = names.get(result.reply or b"", "UNKNOWN") if result.status == "OK" else result.status
    if found != (expect.health or "SERVING"):
        yield Mismatch(f"health {expect.health or 'SERVING'}", found)


def _length(reply: Message, result: CallResult) -> int:
    """Return the length that could give an answer away: the request, the time and the ledger's state vary."""
    bare = type(reply)()
    bare.CopyFrom(reply)
    for name in ("receipt", "check_receipt", "parties_receipt"):
        if name in bare.DESCRIPTOR.fields_by_name and bare.HasField(name):
            receipt: pb.Receipt = getattr(bare, name)
            for part in ("request", "index", "inclusion_path", "checkpoint", "answered_at"):
                receipt.ClearField(part)
    trailers = sum(len(key) + len(value) for key, value in result.trailers if key.startswith(("estelam-", "ratelimit")))
    return bare.ByteSize() + trailers
