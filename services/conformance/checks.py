"""What must be seen of a call, held against what was: each difference is a complaint."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from conformance import contract, error_checks
from conformance.case import Expected, Instance, Step
from conformance.client import Seen
from conformance.error_checks import Refused
from conformance.receipt_checks import Circumstances, Found, Proofs, parts
from conformance.target import Target
from estelam.inquiry.v1 import inquiry_pb2 as pb

_RUN = re.compile(rb"[0-9A-Za-z-]{8,}")
_LONGEST = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """One step, as it was sent."""

    step: Step
    instance: Instance
    caller: str
    path: str
    payload: bytes

    @property
    def relayed(self) -> bool:
        """Whether the answer is the ministry's, passed on."""
        return self.instance.service == "setad"

    @property
    def secrets(self) -> frozenset[bytes]:
        """What of the request must not be seen again: each text of some length, and what looks like one."""
        texts = {value.encode() for value in _leaves(self.step.request) if len(value) >= 6}
        return frozenset(text[:_LONGEST] for text in (*texts, *_RUN.findall(self.payload)))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif value is not None:
        yield str(value)


@dataclass(slots=True)
class Lengths:
    """How long the replies of one case were that must be equally long, by their word."""

    seen: dict[str, int] = field(default_factory=dict)

    def fault(self, word: str, length: int) -> Iterator[Found]:
        """Whether a reply is of another length than those before it."""
        if (first := self.seen.setdefault(word, length)) != length:
            yield f"a reply of {first} bytes with its trailers, as those before", f"{length} bytes"


class Judge:
    """Knows the fixtures, and remembers every receipt of the run."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.proofs = Proofs(target)

    def complaints(self, asked: Asked, seen: Seen, lengths: Lengths, *, now: datetime | None = None) -> Iterator[Found]:
        """What is not as it must be; *now* is the target's time, where it is steered."""
        expect = asked.step.expect
        if asked.step.health is not None:
            yield from _health(expect, seen)
            return
        if seen.status not in expect.status and not (seen.closed and "CLOSED" in expect.status):
            yield described(expect), self._told(asked, seen)
        if seen.status == "OK":
            yield from self._answer(asked, seen, lengths, now)
        else:
            yield from error_checks.leaks(seen, asked.secrets)
            # A deadline that passes on the caller's side comes without words: nobody said anything.
            if seen.status in expect.status and (seen.trailers or seen.status != "DEADLINE_EXCEEDED"):
                refused = Refused(seen)
                wanted = {"reasons": expect.reason, "field": expect.field, "relayed": asked.relayed}
                yield from error_checks.faults(refused, **wanted)  # type: ignore[arg-type]
        if expect.echoes and seen.text("x-inquiry-id") != dict(asked.step.metadata).get("x-inquiry-id"):
            yield "the caller's own x-inquiry-id among the trailers", repr(seen.text("x-inquiry-id")[:80])
        yield from _quota(expect, seen)

    def counted(self, asked: Asked, seen: list[Seen]) -> Iterator[Found]:
        """Whether so many of the calls made at once ended so."""
        found = [words for each in seen for words in {each.status, *self._told(asked, each).split()}]
        for word, wanted in asked.step.expect.counts.items():
            if found.count(word) != wanted:
                yield f"{wanted} of {len(seen)} calls end with {word}", f"{found.count(word)}"

    def _answer(self, asked: Asked, seen: Seen, lengths: Lengths, now: datetime | None) -> Iterator[Found]:
        reply = _decoded(asked.path, seen)
        if reply is None:
            yield "a reply of this method", "bytes that are none"
            return
        expect = asked.step.expect
        yield from _faults_of_fields(reply, expect)
        if "coverage" in reply.DESCRIPTOR.fields_by_name:
            yield from self._coverage(reply.coverage)  # type: ignore[attr-defined]
        if "check_receipt" in reply.DESCRIPTOR.fields_by_name:
            yield from _faults_of_parts(reply)
        if expect.receipt:
            yield from self._receipts(asked, reply, now)
        yield from _faults_of_trailers(asked, seen, reply)
        if expect.same_length is not None:
            yield from lengths.fault(expect.same_length, _length(reply, seen))

    def _receipts(self, asked: Asked, reply: Message, now: datetime | None) -> Iterator[Found]:
        kind = contract.request_type(asked.path)
        if kind is None:
            return
        try:
            request = kind.FromString(asked.payload)
        except DecodeError:
            yield "a refusal of bytes that are no request", "an answer"
            return
        told = Circumstances(
            # The adapter keeps no ledger: what it passes on stands in the ministry's.
            ledger="promissory" if asked.relayed else asked.instance.value,
            organization=self._target.organization("setad" if asked.relayed else asked.caller),
            metadata=dict(asked.step.metadata),
            secrets=asked.secrets,
            at=now,
        )
        for proof in parts(asked.path.removeprefix("/"), request, reply):
            yield from self.proofs.faults(proof, told)

    def _coverage(self, coverage: pb.Coverage) -> Iterator[Found]:
        manifest = self._target.manifest
        since = (coverage.since.year, coverage.since.month, coverage.since.day)
        if since != (manifest.since.year, manifest.since.month, manifest.since.day):
            yield f"coverage since {manifest.since}", "-".join(map(str, since))
        if coverage.as_of.ToNanoseconds() != int(manifest.as_of.timestamp()) * 10**9:
            yield f"coverage as of {manifest.as_of:%Y-%m-%dT%H:%M:%SZ}", coverage.as_of.ToJsonString()

    def _told(self, asked: Asked, seen: Seen) -> str:
        """In one line, what was seen."""
        if seen.status != "OK":
            return f"{Refused(seen).described()}{' (connection closed)' if seen.closed else ''}"
        reply = _decoded(asked.path, seen)
        answer = getattr(reply, "answer", None)
        return "OK" if answer is None else f"OK {_answer_name(answer)}"


def described(expect: Expected) -> str:
    """In one line, what a call must end with."""
    words = [" or ".join(expect.status), " or ".join(expect.reason)]
    return " ".join(word for word in (*words, f"({expect.field})" if expect.field else "", expect.answer or "") if word)


def _decoded(path: str, seen: Seen) -> Message | None:
    kind = contract.reply_type(path)
    if kind is None or seen.reply is None:
        return None
    try:
        return kind.FromString(seen.reply)
    except DecodeError:
        return None


def _answer_name(answer: Any) -> str:
    names = {pb.ANSWER_UNSPECIFIED: "UNSPECIFIED", pb.ANSWER_YES: "YES", pb.ANSWER_NO: "NO"}
    return names.get(answer, str(answer))


def _faults_of_fields(reply: Message, expect: Expected) -> Iterator[Found]:
    known = type(reply)()
    known.CopyFrom(reply)
    known.DiscardUnknownFields()
    if known.ByteSize() != reply.ByteSize():
        yield "only fields of the contract in the reply", "another field"
    answer = getattr(reply, "answer", None)
    if answer is not None and answer not in {pb.ANSWER_YES, pb.ANSWER_NO}:
        yield "answer YES or NO", _answer_name(answer)
    elif expect.answer is not None and (answer is None or _answer_name(answer) != expect.answer):
        yield f"answer {expect.answer}", "no answer" if answer is None else _answer_name(answer)
    found = MessageToDict(reply, preserving_proto_field_name=True)
    for name, value in expect.reply.items():
        if found.get(name) != value:
            yield f"{name} {value}", str(found.get(name))


def _faults_of_parts(reply: Any) -> Iterator[Found]:
    """The adapter's reply holds both parties and their receipt after a yes, and neither after a no."""
    wanted = reply.answer == pb.ANSWER_YES
    for name in ("obligor", "beneficiary", "parties_receipt"):
        if reply.HasField(name) != wanted:
            yield f"{name} {'after' if wanted else 'only after'} a yes", "there" if not wanted else "none"


def _faults_of_trailers(asked: Asked, seen: Seen, reply: Any) -> Iterator[Found]:
    inquiry_id = seen.text("estelam-inquiry-id")
    if not error_checks.is_uuid(inquiry_id):
        yield "trailer estelam-inquiry-id, a UUID", repr(inquiry_id[:64])
    elif not asked.relayed and inquiry_id != reply.receipt.inquiry_id:
        yield "the receipt's inquiry_id in the trailer estelam-inquiry-id", "another"
    name = re.escape(asked.path.rpartition("/")[2])
    for key, form in (("ratelimit", rf'"{name}";r=\d{{9}};t=\d{{9}}'), ("ratelimit-policy", rf'"{name}";q=\d+;w=\d+')):
        if not re.fullmatch(form, seen.text(key), re.ASCII):
            yield f"trailer {key} of the form {form}", repr(seen.text(key)[:64])


def _quota(expect: Expected, seen: Seen) -> Iterator[Found]:
    forms = {"limit": ("ratelimit-policy", r";q=(\d+)"), "remaining": ("ratelimit", r";r=(\d+)")}
    for name, wanted in expect.quota.items():
        key, form = forms[name]
        found = re.search(form, seen.text(key), re.ASCII)
        if found is None or int(found[1]) != wanted:
            yield f"quota {name} {wanted} in trailer {key}", repr(seen.text(key)[:64])


def _health(expect: Expected, seen: Seen) -> Iterator[Found]:
    names = {b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING"}
    found = names.get(seen.reply or b"", "UNKNOWN") if seen.status == "OK" else seen.status
    if found != (expect.health or "SERVING"):
        yield f"health {expect.health or 'SERVING'}", found


def _length(reply: Message, seen: Seen) -> int:
    """The bytes that would tell one answer from another: a time's own length and the Merkle path are left aside."""
    bare = type(reply)()
    bare.CopyFrom(reply)
    for name in ("receipt", "check_receipt", "parties_receipt"):
        if name in bare.DESCRIPTOR.fields_by_name and bare.HasField(name):
            receipt: pb.Receipt = getattr(bare, name)
            receipt.ClearField("merkle_path")
            receipt.ClearField("answered_at")
    trailers = sum(len(key) + len(value) for key, value in seen.trailers if key.startswith(("estelam-", "ratelimit")))
    return bare.ByteSize() + trailers
