"""Write `testdata/`: identifiers, requests, receipts, checkpoints and error details, with what a program must find.

The output is deterministic: keys, times and persons are invented and fixed. What is expected of a value is stated here,
not computed, except that of errors, which is in the error catalogue.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from development.sandbox import (
    CHECK_BY_NATIONAL_ID,
    CHECK_BY_TRACKING_ID,
    CHECK_NOTE,
    GET_NOTE_PARTIES,
    MINISTRY,
    VERIFY_NOTE,
)
from estelam.core.errors import ERROR_CATALOGUE, QuotaState, Reason, Refusal, Violation
from estelam.core.grpc_status import to_status
from estelam.core.keys import SigningKey
from estelam.core.note_keys import NoteKey
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts.checkpoint import origin_of
from estelam.receipts.receipt import canonical
from estelam.rest import problem_details
from estelam.setad.v1 import note_verification_pb2 as verification
from tools.env.receipt_maker import CALLER, ReceiptMaker
from tools.env.repository import ROOT

FOLDER = ROOT / "testdata"
ANSWERED = datetime(2026, 11, 30, 5, 32, 42, 59578, UTC)
_VALID = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))

IDENTIFIERS: tuple[tuple[str, str, str, str], ...] = (
    # field, value, the rule that it violates, why
    ("serial", "1404000000000017", "", "16 digits"),
    ("serial", "140400000000001", "string.note_serial", "15 digits"),
    ("serial", "14040000000000170", "string.note_serial", "17 digits"),
    ("serial", "۱۴۰۴۰۰۰۰۰۰۰۰۰۰۱۷", "string.note_serial", "Persian digits, which people type and no message holds"),
    ("serial", "1404000000000017\n", "string.note_serial", "a line end after the digits"),
    ("national_id", "9990000018", "", "natural person"),
    ("national_id", "9990000019", "string.person_id.national_number", "natural person, another check digit"),
    ("national_id", "99000554330", "", "legal person"),
    ("national_id", "99000554331", "string.person_id.legal_person", "legal person, another check digit"),
    ("national_id", "999123456789", "", "foreign person, no check digit"),
    ("national_id", "999000001", "string.person_id.form", "9 digits"),
    ("national_id", "9999999999", "string.person_id.national_number", "one digit ten times"),
    ("national_id", "٩٩٩٠٠٠٠٠١٨", "string.person_id.form", "Arabic digits"),
    ("tracking_id", "140000000000000001", "", "digits"),
    ("tracking_id", "", "string.tracking_id", "nothing"),
    ("tracking_id", "1" * 33, "string.tracking_id", "33 digits"),
    ("tracking_id", "14-1", "string.tracking_id", "a hyphen"),
    ("executive_agency_id", "SETAD-0001", "", "letters, digits and hyphens"),
    ("executive_agency_id", "ستاد", "string.agency_id", "other letters"),
)

_NOTE = {
    "serial": "1404000000000017",
    "obligorId": "9990000018",
    "beneficiaryId": "99000554330",
    "amountRials": "2500000000",
}
REQUESTS: tuple[tuple[str, type[Message], str, Mapping[str, str]], ...] = (
    ("note", notes.CheckNoteRequest, CHECK_NOTE, _NOTE),
    ("largest amount", notes.CheckNoteRequest, CHECK_NOTE, _NOTE | {"amountRials": str(2**63 - 1)}),
    (
        "parties",
        notes.GetNotePartiesRequest,
        GET_NOTE_PARTIES,
        {"serial": _NOTE["serial"], "executiveAgencyId": "SETAD-0001"},
    ),
    ("person", cases.CheckByNationalIdRequest, CHECK_BY_NATIONAL_ID, {"nationalId": "9990000050"}),
    ("cheque", cases.CheckByTrackingIdRequest, CHECK_BY_TRACKING_ID, {"trackingId": "140000000000000001"}),
    ("note for a buyer", verification.VerifyNoteRequest, VERIFY_NOTE, _NOTE | {"executiveAgencyId": "SETAD-0001"}),
)


def files() -> dict[str, str]:
    """Return the text of each file by its name."""
    provider = _Provider()
    lists = {
        "identifiers": {"identifiers": list(_identifiers())},
        "requests": {"requests": list(_requests())},
        "receipts": {
            "certificate": provider.certificate.public_bytes(Encoding.PEM).decode("ascii"),
            "public_key": _base64(provider.public),
            "organization": MINISTRY,
            "caller": CALLER,
            "receipts": list(provider.receipts()),
        },
        "checkpoints": {"verifier_key": provider.note_key, "checkpoints": list(provider.checkpoints())},
        "errors": {"errors": list(_errors())},
    }
    return {f"{name}.json": json.dumps(each, ensure_ascii=False, indent=1) + "\n" for name, each in lists.items()}


def _identifiers() -> Iterator[dict[str, str]]:
    for field, value, rule, about in IDENTIFIERS:
        yield {"field": field, "value": value, "rule": rule, "about": about}


def _requests() -> Iterator[dict[str, Any]]:
    for name, kind, method, fields in REQUESTS:
        message = json_format.ParseDict(dict(fields), kind())
        yield {"name": name, "method": method, "json": fields, "bytes": _base64(canonical(message))}


class _Provider:
    """A provider whose key is known to everybody."""

    def __init__(self) -> None:
        self._key, self._other = _key("provider"), _key("other")
        self.certificate = _certificate(self._key)
        self.public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._origin = origin_of("promissory", MINISTRY)
        self.note_key = str(NoteKey(self._origin, self._key.public_key()))

    def receipts(self) -> Iterator[dict[str, Any]]:
        """Yield replies with their receipts, genuine and spoiled, and whether each proves its answer."""
        request = json_format.ParseDict(dict(_NOTE), notes.CheckNoteRequest())
        yes, no = (notes.CheckNoteResponse(answer=answer) for answer in (pb.ANSWER_YES, pb.ANSWER_NO))
        cheque = cases.CheckByTrackingIdRequest(tracking_id="140000000000000001")
        covered = pb.Coverage(since=Date(year=2021, month=3, day=21), as_of=Timestamp(seconds=1_780_000_000))
        without_case = cases.CheckByTrackingIdResponse(answer=pb.ANSWER_NO, coverage=covered)
        asked = notes.GetNotePartiesRequest(serial=request.serial, executive_agency_id="SETAD-0001")
        people = (notes.Party(id=each) for each in (request.obligor_id, request.beneficiary_id))
        parties = notes.GetNotePartiesResponse(obligor=next(people), beneficiary=next(people))
        yield self._proven("yes", CHECK_NOTE, request, yes)
        yield self._proven("no", CHECK_NOTE, request, no)
        yield self._proven("parties", GET_NOTE_PARTIES, asked, parties)
        yield self._proven("cheque without a case", CHECK_BY_TRACKING_ID, cheque, without_case)
        yield self._proven("first entry", CHECK_NOTE, request, yes, index=0)
        yield self._proven("last entry", CHECK_NOTE, request, yes, index=6)
        yield self._proven("only entry", CHECK_NOTE, request, yes, index=0, size=1)
        yield self._proven("large ledger", CHECK_NOTE, request, yes, index=2**40 + 5, size=2**41 + 3)
        for name, change in _SPOILED.items():
            reply = self._reply(CHECK_NOTE, request, yes)
            change(reply)
            yield _vector(name, CHECK_NOTE, request, reply, valid=False)
        other = notes.CheckNoteRequest(serial="1404000000000025", obligor_id=request.obligor_id)
        yield _vector("other request", CHECK_NOTE, other, self._reply(CHECK_NOTE, request, yes), valid=False)
        foreign = self._reply(CHECK_NOTE, request, yes, key=self._other)
        yield _vector("signature of another key", CHECK_NOTE, request, foreign, valid=False)
        for name, origin in (
            ("ledger of another service", origin_of("judiciary", MINISTRY)),
            ("ledger of another organisation", origin_of("promissory", "99001187852")),
            ("ledger of a sandbox", origin_of("promissory", f"{MINISTRY}-sandbox")),
        ):
            reply = self._reply(CHECK_NOTE, request, yes, origin=origin)
            yield _vector(name, CHECK_NOTE, request, reply, valid=False)
        reply = self._reply(CHECK_NOTE, request, yes, edit=lambda entry: setattr(entry, "method", GET_NOTE_PARTIES))
        yield _vector("entry of another method", CHECK_NOTE, request, reply, valid=False)
        reply = self._reply(CHECK_NOTE, request, yes, edit=lambda entry: setattr(entry, "outcome", pb.OUTCOME_NO))
        yield _vector("entry of another answer", CHECK_NOTE, request, reply, valid=False)

    def checkpoints(self) -> Iterator[dict[str, Any]]:
        """Yield signed notes, genuine and spoiled, and whether the key has signed each."""
        request = json_format.ParseDict(dict(_NOTE), notes.CheckNoteRequest())
        note = self._reply(CHECK_NOTE, request, notes.CheckNoteResponse(answer=pb.ANSWER_YES)).receipt.checkpoint
        lines = note.split("\n")
        cosigned = note + lines[4].replace(self._origin, "witness.example") + "\n"
        yield {"name": "genuine", "valid": True, "note": note}
        yield {"name": "with a line of a witness", "valid": True, "note": cosigned}
        for name, number, text in (
            ("origin", 0, origin_of("promissory", "99001187852")),
            ("size", 1, str(int(lines[1]) + 1)),
            ("size with zero before", 1, f"0{lines[1]}"),
            ("root", 2, _base64(bytes(32))),
            ("signature", 4, lines[4][:-4] + "AAA="),
        ):
            changed = [*lines]
            changed[number] = text
            yield {"name": name, "valid": False, "note": "\n".join(changed)}
        yield {"name": "no last line end", "valid": False, "note": note.rstrip("\n")}

    def _proven(self, name: str, method: str, request: Message, reply: Message, **options: Any) -> dict[str, Any]:
        return _vector(name, method, request, self._reply(method, request, reply, **options), valid=True)

    def _reply(
        self,
        method: str,
        request: Message,
        bare: Any,
        *,
        key: Ed25519PrivateKey | None = None,
        origin: str = "",
        **options: Any,
    ) -> Any:
        """Return *bare* with its receipt."""
        reply = type(bare)()
        reply.CopyFrom(bare)
        maker = ReceiptMaker(_signer(key or self._key), origin or origin_of(method.split(".")[1], MINISTRY))
        reply.receipt.CopyFrom(maker.receipt(method, request, bare, at=ANSWERED, **options))
        return reply


def _flip(part: bytes) -> bytes:
    return part[:-1] + bytes([part[-1] ^ 1])


def _change_caller(reply: Any) -> None:
    entry = pb.Entry.FromString(reply.receipt.entry)
    entry.caller = "99000079195"
    reply.receipt.entry = canonical(entry)


def _change_line(number: int, change: Callable[[str], str]) -> Callable[[Any], None]:
    def edit(reply: Any) -> None:
        lines = reply.receipt.checkpoint.split("\n")
        lines[number] = change(lines[number])
        reply.receipt.checkpoint = "\n".join(lines)

    return edit


_SPOILED: Mapping[str, Callable[[Any], object]] = {
    "no receipt": lambda reply: reply.ClearField("receipt"),
    "no answer": lambda reply: reply.ClearField("answer"),
    "other answer": lambda reply: setattr(reply, "answer", pb.ANSWER_NO),
    "salt": lambda reply: setattr(reply.receipt, "salt", _flip(reply.receipt.salt)),
    "request in the receipt": lambda reply: setattr(reply.receipt, "request", _flip(reply.receipt.request)),
    "reply in the receipt": lambda reply: setattr(reply.receipt, "reply", _flip(reply.receipt.reply)),
    "caller in the entry": _change_caller,
    "index": lambda reply: setattr(reply.receipt, "index", reply.receipt.index ^ 1),
    "index beyond the end": lambda reply: setattr(reply.receipt, "index", 7),
    "shorter path": lambda reply: reply.receipt.inclusion_path.pop(),
    "longer path": lambda reply: reply.receipt.inclusion_path.append(bytes(32)),
    "path turned round": lambda reply: reply.receipt.inclusion_path.reverse(),
    "size": _change_line(1, lambda size: str(int(size) + 1)),
    "root": _change_line(2, lambda root: "A" * 4 + root[4:]),
    "signature": _change_line(4, lambda line: line[:-4] + "AAA="),
    "no checkpoint": lambda reply: setattr(reply.receipt, "checkpoint", ""),
}
"""What makes a genuine reply prove nothing, by name."""


def _vector(name: str, method: str, request: Message, reply: Message, *, valid: bool) -> dict[str, Any]:
    found = {"request": _base64(canonical(request)), "reply": _base64(canonical(reply))}
    return {"name": name, "valid": valid, "method": method, **found}


def _errors() -> Iterator[dict[str, Any]]:
    for reason, spec in ERROR_CATALOGUE.items():
        fields = [Violation("serial", "string.note_serial", "must be 16 ASCII digits")] if spec.has_fields else []
        quota = QuotaState("CheckNote", 2000, 0, 30, 0.5) if spec.has_quota else None
        delay = 3600.0 if reason is Reason.OUTAGE_ANNOUNCED else None
        refusal = Refusal(reason, fields, quota=quota, retry_seconds=delay)
        yield {
            "reason": reason,
            "code": spec.status,
            "layer": spec.layer,
            "retry_seconds": refusal.retry_seconds,
            "fields": [each.field for each in fields],
            "status_details": _base64(canonical(to_status(refusal))),
            "problem": problem_details.details(refusal),
        }


def _signer(key: Ed25519PrivateKey) -> SigningKey:
    with TemporaryDirectory() as folder:
        private, certificate = Path(folder) / "key", Path(folder) / "certificate"
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        certificate.write_bytes(_certificate(key).public_bytes(Encoding.PEM))
        return SigningKey.load(private, [certificate])


def _key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"estelam testdata {name}".encode()).digest())


def _certificate(key: Ed25519PrivateKey) -> x509.Certificate:
    """Return a certificate of *key* that it has signed itself: with Ed25519 that gives the same bytes each time."""
    names = ((NameOID.COMMON_NAME, "receipts"), (NameOID.ORGANIZATION_IDENTIFIER, MINISTRY))
    subject = x509.Name([x509.NameAttribute(*name) for name in names])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_VALID[0])
        .not_valid_after(_VALID[1])
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, None)
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
