"""Saved replies, genuine and forged in every way, with the verdict of every verifier.

Some are forged by a caller, who has no key; others by a provider, who signs what it never should.
"""

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from development.sandbox import CHECK_BY_TRACKING_ID, CHECK_NOTE, GET_NOTE_PARTIES
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.keys import SigningKey
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts.checkpoint import origin_of
from estelam.receipts.receipt import canonical
from tests.support.certificates import DAY, certificate_pem, write_retirement
from tools.env.receipt_maker import SALT, ReceiptMaker

ORGANIZATION, ANOTHER, OID = "99001504616", "99001187852", "2.5.4.97"
ANSWERED = datetime.now(UTC).replace(microsecond=250_000)
SECOND = timedelta(seconds=1)
YES = notes.CheckNoteRequest(
    serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=2_500_000_000
)
PARTIES = notes.GetNotePartiesRequest(serial=YES.serial, executive_agency_id="SETAD-0001")
CHEQUE = cases.CheckByTrackingIdRequest(tracking_id="140000000000000001")
VALID, INVALID, MALFORMED, UNCHECKED, UNUSABLE = "VALID", "INVALID", "MALFORMED", "NOT CHECKED", "UNUSABLE"
EXIT_CODES = {VALID: 0, INVALID: 1, MALFORMED: 2, UNCHECKED: 21, UNUSABLE: 2}
"""The exit code of every verifier; UNUSABLE: a certificate or the list of retired keys."""
Change = Callable[[Any], Any]


class Provider:
    """A provider with a signing key, and the files that a verifier of its receipts has, in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pki = folder, folder / "pki"
        authority = DevCertificateAuthority.create(self.pki)
        validity: Any = {"since": ANSWERED - timedelta(minutes=5), "lifetime": timedelta(days=3650)}
        self.certificate = authority.issue_signing("receipts", ORGANIZATION, **validity)
        self.other = authority.issue_signing("other", ORGANIZATION, **validity)
        signer = SigningKey.load(self.certificate.with_suffix(".key"), [self.certificate])
        self.public = signer.key.public_key()
        self._signer = signer

    def receipt(
        self,
        method: str = CHECK_NOTE,
        request: Message = YES,
        reply: Message = notes.CheckNoteResponse(answer=pb.ANSWER_YES),  # noqa: B008 - never changed
        *,
        at: datetime = ANSWERED,
        origin: str = "",
        **options: Any,
    ) -> pb.Receipt:
        """Return a signed receipt, as a `ReceiptMaker` does, by default of the ledger of the method's service."""
        maker = ReceiptMaker(self._signer, origin or origin_of(method.split(".")[1], ORGANIZATION))
        return maker.receipt(method, request, reply, at=at, **options)

    def certificate_of(self, *periods: tuple[datetime, datetime], usage: bool | None = True) -> bytes:
        """Return certificates of the signing key that are valid in *periods*."""
        pems = [certificate_pem(self.pki, self.public, since=a, until=b, digital_signature=usage) for a, b in periods]
        return b"".join(pems)

    def certificate_for(self, *organizations: str) -> bytes:
        """Return a certificate of the signing key that names these organisations; the right one, but as a name only."""
        named = [f"receipts{end}{oid}={ORGANIZATION}" for end in ("\n", ",") for oid in (OID, "organizationIdentifier")]
        return certificate_pem(
            self.pki, self.public, since=PAST, until=FUTURE, organizations=organizations, common_names=named
        )


def line(receipt: pb.Receipt | bytes) -> bytes:
    """Return the line of a saved reply."""
    raw = receipt if isinstance(receipt, bytes) else canonical(receipt)
    fields = {"format": "estelam-receipt/1", "receipt": base64.b64encode(raw).decode("ascii")}
    return (json.dumps(fields) + "\n").encode("ascii")


def varint(value: int, extra: int = 0) -> bytes:
    """Return *value* as a varint, with so many *extra* bytes that it does not need."""
    digits = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)] + [0] * extra
    return bytes(digit | 128 for digit in digits[:-1]) + bytes(digits[-1:])


def flip(part: bytes) -> bytes:
    return part[:-1] + bytes([part[-1] ^ 1])


def edited(change: Callable[[pb.Receipt], object]) -> Change:
    """The genuine receipt as *change* leaves it."""

    def make(provider: Provider) -> bytes:
        receipt = provider.receipt()
        change(receipt)
        return line(receipt)

    return make


def noted(change: Callable[[str], str]) -> Change:
    """The genuine receipt with its checkpoint changed."""
    return edited(lambda receipt: setattr(receipt, "checkpoint", change(receipt.checkpoint)))


def raw(change: Callable[[bytes], bytes]) -> Change:
    """The genuine receipt with its bytes changed."""
    return lambda provider: line(change(canonical(provider.receipt())))


def saved(change: Callable[[bytes], bytes]) -> Change:
    """The genuine line changed."""
    return lambda provider: change(line(provider.receipt()))


def signed(**options: Any) -> Change:
    """A receipt that the provider signed so."""
    return lambda provider: line(provider.receipt(**options))


def entry_with(**fields: Any) -> Change:
    """A receipt whose entry the provider signed with other *fields*."""

    def edit(entry: pb.Entry) -> None:
        for name, value in fields.items():
            setattr(entry, name, value)

    return signed(edit=edit)


def change_caller(receipt: pb.Receipt) -> None:
    entry = pb.Entry.FromString(receipt.entry)
    entry.caller = "99000079195"
    receipt.entry = canonical(entry)


def lines_of(note: str, change: Callable[[str], str], number: int) -> str:
    lines = note.split("\n")
    lines[number] = change(lines[number])
    return "\n".join(lines)


def changed_line(number: int, change: Callable[[str], str]) -> Change:
    return noted(partial(lines_of, change=change, number=number))


def with_signature(change: Callable[[bytes], bytes]) -> Callable[[str], str]:
    """A changed signature line: its name, and *change* of its key hash and signature."""

    def make(text: str) -> str:
        dash, name, content = text.split(" ")
        return f"{dash} {name} {base64.b64encode(change(base64.b64decode(content))).decode()}"

    return make


def appended(text: Callable[[str], str]) -> Change:
    """The genuine receipt whose note has one more line, made of its signature line."""
    return noted(lambda note: note + text(note.splitlines()[-1]) + "\n")


def coverage() -> pb.Coverage:
    return pb.Coverage(since=Date(year=2021, month=3, day=21), as_of=Timestamp(seconds=1_780_000_000))


def cheque(answer: int) -> Change:
    reply = cases.CheckByTrackingIdResponse(answer=answer, coverage=coverage())  # type: ignore[arg-type]
    return signed(method=CHECK_BY_TRACKING_ID, request=CHEQUE, reply=reply)


def parties() -> notes.GetNotePartiesResponse:
    people = notes.Party(id="9990000018", full_name="آرش نمونه‌ای"), notes.Party(id="99000554330", full_name="سپهر")
    return notes.GetNotePartiesResponse(obligor=people[0], beneficiary=people[1])


def unbased(note: str) -> str:
    """A root in another base64 form of the same bytes."""
    root = note.split("\n")[2]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return note.replace(root, root[:-2] + alphabet[alphabet.index(root[-2]) ^ 1] + "=")


REPLIES: dict[str, tuple[str, Change]] = {
    "yes": (VALID, signed()),
    "no": (VALID, signed(reply=notes.CheckNoteResponse(answer=pb.ANSWER_NO))),
    "parties": (VALID, signed(method=GET_NOTE_PARTIES, request=PARTIES, reply=parties())),
    "cheque with a case": (VALID, cheque(pb.ANSWER_YES)),
    "cheque without": (VALID, cheque(pb.ANSWER_NO)),
    "whole second": (VALID, signed(at=ANSWERED.replace(microsecond=0))),
    "first entry": (VALID, signed(index=0)),
    "last entry": (VALID, signed(index=6)),
    "only entry": (VALID, signed(index=0, size=1)),
    "index beyond 32 bits": (VALID, signed(index=2**40 + 5, size=2**41 + 3)),
    "very large ledger": (VALID, signed(index=2**62 - 1, size=2**62)),
    "largest ledger": (VALID, signed(index=2**63 - 2, size=2**63 - 1)),
    "cosignature of a witness": (VALID, appended(lambda text: text.replace(ORGANIZATION, "witness"))),
    "signature of another key": (VALID, appended(with_signature(lambda content: b"\0\0\0\0" + content[4:]))),
    "signature twice": (VALID, appended(str)),
    "right and wrong signature": (INVALID, appended(with_signature(flip))),
    "wrong signature": (INVALID, changed_line(4, with_signature(flip))),
    "short signature": (INVALID, changed_line(4, with_signature(lambda content: content[:40]))),
    "no signature": (MALFORMED, changed_line(4, with_signature(lambda content: content[:4]))),
    "foreign signature": (UNCHECKED, changed_line(4, with_signature(lambda content: b"\0\0\0\0" + content[4:]))),
    "signature of a witness alone": (UNCHECKED, changed_line(4, lambda text: text.replace(ORGANIZATION, "witness"))),
    "reply": (INVALID, edited(lambda receipt: setattr(receipt, "reply", flip(receipt.reply)))),
    "request": (INVALID, edited(lambda receipt: setattr(receipt, "request", flip(receipt.request)))),
    "request cut off": (MALFORMED, edited(lambda receipt: setattr(receipt, "request", receipt.request[:-3]))),
    "salt": (INVALID, edited(lambda receipt: setattr(receipt, "salt", flip(receipt.salt)))),
    "salt cut off": (MALFORMED, edited(lambda receipt: setattr(receipt, "salt", receipt.salt[:-1]))),
    "entry": (INVALID, edited(change_caller)),
    "entry cut off": (MALFORMED, edited(lambda receipt: setattr(receipt, "entry", receipt.entry[:-1]))),
    "index": (INVALID, edited(lambda receipt: setattr(receipt, "index", receipt.index ^ 1))),
    "index beyond the end": (INVALID, edited(lambda receipt: setattr(receipt, "index", 2**64 - 1))),
    "shorter path": (INVALID, edited(lambda receipt: receipt.inclusion_path.pop())),
    "longer path": (INVALID, edited(lambda receipt: receipt.inclusion_path.append(bytes(32)))),
    "path turned round": (INVALID, edited(lambda receipt: receipt.inclusion_path.reverse())),
    "short node": (INVALID, edited(lambda receipt: receipt.inclusion_path.append(receipt.inclusion_path.pop()[1:]))),
    "empty node": (INVALID, edited(lambda receipt: receipt.inclusion_path.append(b""))),
    "root": (INVALID, changed_line(2, lambda root: "A" * 4 + root[4:])),
    "origin": (UNCHECKED, changed_line(0, lambda origin: origin.replace("promissory", "other"))),
    "ledger of another service": (INVALID, signed(origin=origin_of("judiciary", ORGANIZATION))),
    "ledger with the service's name as a part": (INVALID, signed(origin=origin_of("promissory.v1", ORGANIZATION))),
    "ledger with a part of the service's name": (INVALID, signed(origin=origin_of("promissor", ORGANIZATION))),
    "ledger without organisation": (INVALID, signed(origin="estelam/promissory")),
    "ledger without service": (INVALID, signed(origin=origin_of("", ORGANIZATION))),
    "ledger of another organisation": (INVALID, signed(origin=origin_of("promissory", ANOTHER))),
    "ledger of no organisation": (INVALID, signed(origin=origin_of("promissory", ""))),
    "ledger of more than an organisation": (INVALID, signed(origin=origin_of("promissory", f"{ORGANIZATION}/1"))),
    "ledger of a part of an organisation": (INVALID, signed(origin=origin_of("promissory", ORGANIZATION[:-1]))),
    "ledger of another system": (INVALID, signed(origin="log.example/promissory/1")),
    "ledger with a name that is a pattern": (INVALID, signed(origin=origin_of("p.*", ORGANIZATION))),
    "method of another service": (INVALID, entry_with(method=CHECK_BY_TRACKING_ID)),
    "size": (INVALID, changed_line(1, lambda size: f"{int(size) + 1}")),
    "size of nothing": (INVALID, changed_line(1, lambda _size: "0")),
    "size beyond 63 bits": (MALFORMED, changed_line(1, lambda _size: f"{2**63}")),
    "size with zero before": (MALFORMED, changed_line(1, lambda size: f"0{size}")),
    "extension line": (MALFORMED, changed_line(2, lambda root: f"{root}\nmore")),
    "other base64 of the root": (MALFORMED, noted(unbased)),
    "short root": (MALFORMED, changed_line(2, lambda _root: base64.b64encode(bytes(31)).decode())),
    "no last line end": (MALFORMED, noted(str.rstrip)),
    "line ends of Windows in the note": (MALFORMED, noted(lambda note: note.replace("\n", "\r\n"))),
    "control character in the note": (MALFORMED, appended(lambda text: text.replace(ORGANIZATION, "\t"))),
    "long note": (VALID, appended(lambda text: text.replace(ORGANIZATION, "x" * 40_000))),
    "very long line": (MALFORMED, appended(lambda text: text.replace(ORGANIZATION, "x" * 50_000))),
    "no checkpoint": (MALFORMED, noted(lambda _note: "")),
    "inquiry id": (INVALID, edited(lambda receipt: setattr(receipt, "inquiry_id", receipt.inquiry_id[:-1] + "8"))),
    "second": (INVALID, edited(lambda receipt: setattr(receipt.answered_at, "seconds", 1))),
    "nanosecond": (INVALID, edited(lambda receipt: setattr(receipt.answered_at, "nanos", 250_000_001))),
    "negative nanoseconds": (INVALID, edited(lambda receipt: setattr(receipt.answered_at, "nanos", -1))),
    "no time": (INVALID, edited(lambda receipt: receipt.ClearField("answered_at"))),
    "unknown field": (INVALID, raw(lambda content: content + b"\xa2\x06\x01x")),
    "unknown field in the time": (INVALID, edited(lambda receipt: receipt.answered_at.MergeFromString(b"\x1d1234"))),
    "unknown field first": (MALFORMED, raw(lambda content: b"\xa2\x06\x01x" + content)),
    "field twice": (MALFORMED, raw(lambda content: content[:38] + content)),
    "fields in another order": (MALFORMED, raw(lambda content: content[38:] + content[:38])),
    "varint with a byte too many": (MALFORMED, raw(lambda content: content[:1] + varint(36, 1) + content[2:])),
    "number with a byte too many": (MALFORMED, raw(lambda content: varint(10, 1) + content[1:])),
    "varint without end": (MALFORMED, raw(lambda content: content + b"\xff" * 11)),
    "field of number 0": (MALFORMED, raw(lambda content: content + b"\x02\x01x")),
    "length beyond the end": (MALFORMED, raw(lambda content: content + b"\xa2\x06" + varint(2**63))),
    "unknown type": (MALFORMED, raw(lambda content: content + b"\xa7\x06")),
    "other type": (MALFORMED, raw(lambda content: b"\x08\x01" + content[38:])),
    "default value written": (MALFORMED, raw(lambda content: b"\x0a\0" + content[38:])),
    "text that is not UTF-8": (MALFORMED, raw(lambda content: content[:2] + b"\xff" + content[3:])),
    **{f"cut off before byte {at}": (MALFORMED, raw(itemgetter(slice(at)))) for at in (1, 38, 90, 200, -1)},
    "two replies": (VALID, saved(lambda text: text * 2)),
    "blank lines": (VALID, saved(lambda text: b"\n \r\n" + text + b"\n\t" + text + b"\n")),
    "line ends of Windows": (VALID, saved(lambda text: text.replace(b"\n", b"\r\n") * 2)),
    "no line end": (VALID, saved(lambda text: text[:-1])),
    "second reply cut off": (MALFORMED, saved(lambda text: text + text[:-9])),
    "two on a line": (MALFORMED, saved(lambda text: text[:-1] + text)),
    "two with a return between": (MALFORMED, saved(lambda text: text[:-1] + b"\r" + text)),
    "blank in the line": (MALFORMED, saved(lambda text: text.replace(b", ", b",  "))),
    "other format": (MALFORMED, saved(lambda text: text.replace(b"receipt/1", b"receipt/2"))),
    "further key": (MALFORMED, saved(lambda text: text.replace(b"}", b', "more": 1}'))),
    "other text": (MALFORMED, saved(lambda text: b"# " + text)),
    "other base64": (MALFORMED, saved(lambda text: text.replace(b'"receipt": "', b'"receipt": " '))),
    "no receipt": (MALFORMED, saved(lambda _text: line(b""))),
    "blank file": (MALFORMED, saved(lambda _text: b" \n")),
    "empty file": (MALFORMED, saved(lambda _text: b"")),
    "refusal": (INVALID, entry_with(outcome=pb.OUTCOME_REFUSED)),
    "unknown outcome": (INVALID, entry_with(outcome=9)),
    "no outcome": (INVALID, entry_with(outcome=0)),
    "no commitment": (INVALID, entry_with(commitment=b"")),
    "outcome of another answer": (INVALID, entry_with(outcome=pb.OUTCOME_NO)),
    "answer as disclosure": (INVALID, entry_with(outcome=pb.OUTCOME_DISCLOSED)),
    "disclosure as answer": (
        INVALID,
        signed(
            method=GET_NOTE_PARTIES,
            request=PARTIES,
            reply=parties(),
            edit=lambda entry: setattr(entry, "outcome", pb.OUTCOME_YES),
        ),
    ),
    "reply without answer": (INVALID, signed(reply=notes.CheckNoteResponse(), edit=lambda e: setattr(e, "outcome", 1))),
    "short inquiry id": (MALFORMED, entry_with(inquiry_id=bytes(15))),
    "short salt": (MALFORMED, signed(salt=SALT[1:])),
    "time beyond the calendar": (MALFORMED, entry_with(answered_at_micros=2**64 - 1)),
    "entry that states two outcomes": (VALID, signed(encode=lambda entry: b"\x30\x02" + canonical(entry))),
    "entry that ends with a refusal": (INVALID, signed(encode=lambda entry: canonical(entry) + b"\x30\x04")),
    "entry with a byte too many": (VALID, signed(encode=lambda entry: canonical(entry) + b"\x30" + varint(1, 2))),
    "entry with an unknown field": (VALID, signed(encode=lambda entry: canonical(entry) + b"\xa2\x06\x01x")),
}
"""What is in the file, and the verdict on it."""


def pem(change: Callable[[bytes], bytes]) -> Callable[[Provider], bytes]:
    """The genuine file of certificates changed."""
    return lambda provider: change(provider.certificate.read_bytes())


PAST, FUTURE, WHOLE = ANSWERED - 9 * DAY, ANSWERED + 9 * DAY, ANSWERED.replace(microsecond=0)
CERTIFICATES: dict[str, tuple[str, Callable[[Provider], bytes]]] = {
    "valid": (VALID, lambda provider: provider.certificate_of((PAST, FUTURE))),
    "expired": (UNCHECKED, lambda provider: provider.certificate_of((PAST, PAST + DAY))),
    "not yet valid": (UNCHECKED, lambda provider: provider.certificate_of((FUTURE - DAY, FUTURE))),
    "before and after": (
        UNCHECKED,
        lambda provider: provider.certificate_of((PAST, PAST + DAY), (FUTURE - DAY, FUTURE)),
    ),
    "renewed": (VALID, lambda provider: provider.certificate_of((PAST, PAST + DAY), (PAST, FUTURE))),
    "to this second": (VALID, lambda provider: provider.certificate_of((PAST, WHOLE))),
    "to the second before": (UNCHECKED, lambda provider: provider.certificate_of((PAST, WHOLE - SECOND))),
    "from this second on": (VALID, lambda provider: provider.certificate_of((WHOLE, FUTURE))),
    "from the next second on": (UNCHECKED, lambda provider: provider.certificate_of((WHOLE + SECOND, FUTURE))),
    "of another key": (UNCHECKED, lambda provider: provider.other.read_bytes()),
    "of authority and key": (
        VALID,
        lambda provider: (provider.pki / "ca.crt").read_bytes() + provider.certificate_of((PAST, FUTURE)),
    ),
    "without key usage": (VALID, lambda provider: provider.certificate_of((PAST, FUTURE), usage=None)),
    "of another organisation": (INVALID, lambda provider: provider.certificate_for(ANOTHER)),
    "of no organisation": (UNCHECKED, lambda provider: provider.certificate_for()),
    "of two organisations": (UNCHECKED, lambda provider: provider.certificate_for(ORGANIZATION, ANOTHER)),
    "of two organisations, one each": (
        VALID,
        lambda provider: provider.certificate_for(ANOTHER) + provider.certificate_for(ORGANIZATION),
    ),
    "of no organisation and the right one": (
        VALID,
        lambda provider: provider.certificate_for() + provider.certificate_for(ORGANIZATION),
    ),
    "that may not sign": (UNUSABLE, lambda provider: provider.certificate_of((PAST, FUTURE), usage=False)),
    "of an authority alone": (UNUSABLE, lambda provider: (provider.pki / "ca.crt").read_bytes()),
    "of another kind of key": (
        UNUSABLE,
        lambda provider: certificate_pem(provider.pki, generate_private_key(SECP256R1()).public_key()),
    ),
    "after a byte order mark": (UNUSABLE, pem(lambda text: b"\xef\xbb\xbf" + text)),
    "after a byte order mark and a line": (VALID, pem(lambda text: b"\xef\xbb\xbf\n" + text)),
    "two without a line end between": (UNUSABLE, pem(lambda text: text.rstrip() + text)),
    "two with a return alone between": (UNUSABLE, pem(lambda text: text.rstrip() + b"\r" + text)),
    "on indented lines": (UNUSABLE, pem(lambda text: text.replace(b"\n", b"\n  "))),
    "with an indented first line": (UNUSABLE, pem(lambda text: b" " + text)),
    "with blanks at line ends": (VALID, pem(lambda text: text.replace(b"\n", b" \t\n"))),
    "with line ends of Windows": (VALID, pem(lambda text: text.replace(b"\n", b"\r\n"))),
    "without a last line end": (VALID, pem(bytes.rstrip)),
    "with an empty line in it": (UNUSABLE, pem(lambda text: text.replace(b"\n", b"\n\n"))),
    "with a header in it": (UNUSABLE, pem(lambda text: text.replace(b"-\nM", b"-\nName: value\n\nM", 1))),
    "of the label TRUSTED CERTIFICATE": (UNUSABLE, pem(lambda text: text.replace(b"CERT", b"TRUSTED CERT"))),
    "of the label X509 CERTIFICATE": (UNUSABLE, pem(lambda text: text.replace(b"CERT", b"X509 CERT"))),
    "beside one of the label X509 CERTIFICATE": (
        VALID,
        pem(lambda text: text.replace(b"CERT", b"X509 CERT") + text),
    ),
    "cut off after a whole one": (UNUSABLE, pem(lambda text: text + text[:200])),
    "between other text": (VALID, pem(lambda text: b"Subject: receipts\n" + text + b"the end\n")),
    "after its private key": (
        VALID,
        lambda provider: provider.certificate.with_suffix(".key").read_bytes() + provider.certificate.read_bytes(),
    ),
    "that is damaged": (UNUSABLE, lambda provider: provider.certificate.read_bytes().replace(b"MII", b"MIJ")),
    "that is none": (UNUSABLE, lambda _provider: b"receipts.crt\n"),
    "that is empty": (UNUSABLE, lambda _provider: b""),
}
"""The file of certificates, and the verdict on a genuine reply."""


def retirement(at: datetime, reason: str, *, other: bool = False) -> Callable[[Provider], bytes]:
    def make(provider: Provider) -> bytes:
        named = provider.other if other else provider.certificate
        return write_retirement(provider.folder / "list.json", named, at, reason).read_bytes()

    return make


def row(provider: Provider, start: str) -> bytes:
    """A row of another key."""
    rows = json.loads(retirement(PAST, "superseded", other=True)(provider))["retired"]
    return json.dumps(rows[0] | {"key": start + rows[0]["key"][2:]}, indent=1).encode()


def listed(change: Callable[[dict[str, Any]], object], times: int = 1) -> Callable[[Provider], bytes]:
    def make(provider: Provider) -> bytes:
        row = json.loads(retirement(FUTURE, "superseded")(provider))["retired"][0]
        change(row)
        return json.dumps({"retired": [row] * times}).encode()

    return make


def rewritten(change: Callable[[bytes], bytes]) -> Callable[[Provider], bytes]:
    """A list with a row that is right, its text changed."""
    return lambda provider: change(listed(dict.copy)(provider))


RETIRED: dict[str, tuple[str, Callable[[Provider], bytes]]] = {
    "nothing": (VALID, lambda _provider: b'{"retired": []}'),
    "byte order mark": (VALID, lambda _provider: b'\xef\xbb\xbf{"retired": []}'),
    "two keys": (VALID, lambda provider: b'{"retired": [%s, %s]}' % (row(provider, "01"), row(provider, "02"))),
    "no comma": (UNUSABLE, lambda provider: b'{"retired": [%s %s]}' % (row(provider, "01"), row(provider, "02"))),
    "superseded later": (VALID, retirement(FUTURE, "superseded")),
    "superseded earlier": (INVALID, retirement(PAST, "superseded")),
    "superseded at this second": (INVALID, retirement(WHOLE, "superseded")),
    "superseded at the next second": (VALID, retirement(WHOLE + SECOND, "superseded")),
    "compromised later": (UNCHECKED, retirement(FUTURE, "compromised")),
    "compromised earlier": (INVALID, retirement(PAST, "compromised")),
    "another key": (VALID, retirement(PAST, "compromised", other=True)),
    "list named twice": (UNUSABLE, rewritten(lambda text: text[:-1] + b', "retired": []}')),
    "reason named twice": (UNUSABLE, rewritten(lambda text: text.replace(b'"reason"', b'"reason": "lost", "reason"'))),
    "time named twice": (
        UNUSABLE,
        rewritten(lambda text: text.replace(b'"reason": "superseded"', b'"retired_at": ""')),
    ),
    "further key": (UNUSABLE, rewritten(lambda text: text[:-1] + b', "published": ""}')),
    "list in capitals": (UNUSABLE, rewritten(lambda text: text.replace(b'"retired"', b'"Retired"'))),
    "key in capitals": (UNUSABLE, rewritten(lambda text: text.replace(b'"key"', b'"KEY"'))),
    "escape": (UNUSABLE, rewritten(lambda text: text.replace(b"superseded", rb"\u0073uperseded"))),
    "escape in a name": (UNUSABLE, rewritten(lambda text: text.replace(b'"key"', rb'"k\u0065y"'))),
    "form feed": (UNUSABLE, rewritten(lambda text: text + b"\f")),
    "space of another kind": (UNUSABLE, rewritten(lambda text: text + b"\xc2\xa0")),
    "more after it": (UNUSABLE, rewritten(lambda text: text + b"{}")),
    "comma too many": (UNUSABLE, rewritten(lambda text: text.replace(b"}]", b"},]"))),
    "blanks everywhere": (
        VALID,
        rewritten(lambda text: b"\n" + re.sub(rb'([{}:,]|\[|\])(?=["\s\[\]{}]|$)', rb"\t\1\r\n", text)),
    ),
    "null as a row": (UNUSABLE, lambda _provider: b'{"retired": [null]}'),
    "null as the list": (UNUSABLE, lambda _provider: b'{"retired": null}'),
    "number as the reason": (UNUSABLE, listed(lambda row: row.update(reason=1))),
    "part of a second": (UNUSABLE, listed(lambda row: row.update(retired_at="2026-03-21T00:00:00.5Z"))),
    "leap second": (UNUSABLE, listed(lambda row: row.update(retired_at="2026-03-21T23:59:60Z"))),
    "hour 24": (UNUSABLE, listed(lambda row: row.update(retired_at="2026-03-21T24:00:00Z"))),
    "time with a small t": (UNUSABLE, listed(lambda row: row.update(retired_at="2026-03-21t00:00:00Z"))),
    "time with a small z": (UNUSABLE, listed(lambda row: row.update(retired_at="2026-03-21T00:00:00z"))),
    "year in Persian digits": (
        UNUSABLE,
        rewritten(lambda text: re.sub(rb'"[0-9]{4}-', '"\u06f2\u06f0\u06f2\u06f6-'.encode(), text)),
    ),
    "key named twice": (UNUSABLE, listed(dict.copy, 2)),
    "day alone": (UNUSABLE, listed(lambda row: row.update(retired_at="2026-03-21"))),
    "local time": (UNUSABLE, listed(lambda row: row.update(retired_at="2026-03-21T00:00:00+03:30"))),
    "no such day": (UNUSABLE, listed(lambda row: row.update(retired_at="2026-02-30T00:00:00Z"))),
    "Jalali day": (UNUSABLE, listed(lambda row: row.update(retired_at="1405-01-01T00:00:00Z"))),
    "unknown reason": (UNUSABLE, listed(lambda row: row.update(reason="lost"))),
    "short key": (UNUSABLE, listed(lambda row: row.update(key=row["key"][1:]))),
    "further key of a row": (UNUSABLE, listed(lambda row: row.update(note=""))),
    "row without a key": (UNUSABLE, listed(lambda row: row.pop("key"))),
    "no list": (UNUSABLE, lambda _provider: b"{}"),
    "no JSON": (UNUSABLE, lambda _provider: b"retired"),
}
"""The list of retired keys, and the verdict on a genuine reply."""


TABLES = {"reply": REPLIES, "certificate": CERTIFICATES, "retired": RETIRED}
"""Vectors by what they are about."""


def write_vector(provider: Provider, folder: Path, kind: str, name: str) -> tuple[Path, Path, Path, str]:
    """Write a vector's files to *folder*; return saved replies, certificates, list of retired keys, and the verdict."""
    saved_file, certificates, retired = folder / "saved.json", folder / "receipts.crt", folder / "retired.json"
    verdict, make = TABLES[kind][name]
    saved_file.write_bytes(make(provider) if kind == "reply" else line(provider.receipt()))
    certificates.write_bytes(make(provider) if kind == "certificate" else provider.certificate.read_bytes())
    retired.write_bytes(make(provider) if kind == "retired" else b'{"retired": []}')
    return saved_file, certificates, retired, verdict
