"""The certificate of saved replies: its texts and facts, made from verified receipts alone."""

import io
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import Message

from estelam.cli.coverage_facts import coverage_facts
from estelam.core.clock import to_datetime
from estelam.core.escape import visible
from estelam.core.exceptions import UsageError
from estelam.data_model.model import load
from estelam.presentation import pdf
from estelam.presentation.formats import Formats
from estelam.presentation.pdf import PaperError
from estelam.presentation.qr import qr_code
from estelam.receipts import archive
from estelam.receipts.archive import ReceiptRecord
from estelam.receipts.checkpoint import service_of
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from estelam.receipts.receipt import VerifiedReceipt

ATTACHMENT: Final = "receipt.jsonl"
MAX_PAGES: Final = 20
LANGUAGES: Final = ("fa", "en")
_NOT_ASKED = {"answer", "coverage", "receipt"}
"""Fields of a reply that the page shows on their own."""

Proven = tuple[ReceiptRecord, VerifiedReceipt]
Row = tuple[str, str, str]
"""Label, value, and how the value is shown: code, strong or nothing."""


class CertificateError(UsageError):
    """There is no certificate of these replies."""


def make(replies: Sequence[Proven], language: str) -> bytes:
    """Return the certificate of *replies*, whose receipts are verified: the same bytes for the same replies.

    Args:
        replies: What was verified, one page each.
        language: fa or en.

    Raises:
        CertificateError: there are more than MAX_PAGES replies, or one is of a method that has no certificate.
        PaperError: a text of a reply can't be printed.
    """
    check_count(len(replies))
    formats, texts = Formats(language), _texts(language)
    pages = [_page(item, proven, formats, texts) for item, proven in replies]
    latest = max(to_datetime(proven.entry.answered_at_micros) for _, proven in replies)
    data = {
        **{name: texts[name] for name in ("title", "author")},
        "language": language,
        "date": list(latest.astimezone(UTC).timetuple()[:6]),
        "footer": texts["footer"].format(version=version("estelam")),
        "numbers": [formats.count(number) for number in range(1, len(texts["steps"]) + 1)],
        "texts": {**texts, "methods": {}, "steps": _steps(replies, texts)},
        "pages": pages,
    }
    template = (files(__package__) / "certificate.typ").read_text("utf-8")
    codes = {f"qr{number}_svg": qr_code(page["qr"], border=0).encode() for number, page in enumerate(pages)}
    saved = b"".join(archive.encode(item) for item, _ in replies)
    return pdf.typeset(template, data, receipt_jsonl=saved, **codes)


def check_count(replies: int) -> None:
    """Check that so many *replies* have pages in one certificate.

    Raises:
        CertificateError: they are more than MAX_PAGES.
    """
    if replies > MAX_PAGES:
        raise CertificateError(f"a certificate has at most {MAX_PAGES} pages, one for each reply; split the file")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as it was read: nothing of it is verified."""

    content: bytes
    replies: Sequence[ReceiptRecord]
    """What is attached."""

    def shows(self, replies: Sequence[Proven]) -> bool:
        """Return whether it is byte for byte what `make` returns for the verified *replies*, in any language."""
        try:
            return any(self.content == make(replies, language) for language in LANGUAGES)
        except (CertificateError, PaperError):
            return False


def read(path: Path) -> Certificate:
    """Return the certificate in the file *path*.

    Raises:
        InvalidReceipt: it is no PDF with saved replies, or they are not as they were saved.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return parse(file.read(pdf.MAX_BYTES + 1))


def parse(content: bytes) -> Certificate:
    """Return the certificate in a file with this *content*.

    Raises:
        InvalidReceipt: it is no PDF with saved replies, or they are not as they were saved.
    """
    try:
        saved = pdf.attachment_of(content, ATTACHMENT)
    except pdf.NotAPaperError:
        raise InvalidReceipt(ReceiptProblem.NOT_A_CERTIFICATE) from None
    replies = list(islice(archive.parse_archive(io.BytesIO(saved)), MAX_PAGES + 1))
    if len(replies) > MAX_PAGES:
        raise InvalidReceipt(ReceiptProblem.NOT_A_CERTIFICATE)
    return Certificate(content, replies)


@cache
def _texts(language: str) -> Mapping[str, Any]:
    found = tomllib.loads((files(__package__) / "texts.toml").read_text("utf-8"))
    methods = found.pop("methods")
    texts: dict[str, Any] = {name: each[language] for name, each in found.items()}
    texts["methods"] = {
        method: {name: each[language] for name, each in of_method.items()} for method, of_method in methods.items()
    }
    return texts


def _steps(replies: Sequence[Proven], texts: Mapping[str, Any]) -> list[tuple[str, str]]:
    services = {service_of(proven.checkpoint.origin) for _, proven in replies}
    names = {
        "service": services.pop() if len(services) == 1 else "SERVICE",
        "witnesses": " --witness-key witnesses.txt" if any(proven.cosignatures for _, proven in replies) else "",
    }
    return [(said, typed.format(**names)) for said, typed in texts["steps"]]


def _page(item: ReceiptRecord, proven: VerifiedReceipt, formats: Formats, texts: Mapping[str, Any]) -> dict[str, Any]:
    try:
        method = texts["methods"][item.method]
        means = method[proven.outcome]
    except KeyError:
        raise CertificateError(f"{item.method}: has no certificate") from None
    coverage = coverage_facts(item.reply)
    return {
        "outcome": proven.outcome,
        "answer": texts[proven.outcome],
        "title": method["title"],
        "provider": method["provider"],
        "clause": method["clause"],
        "means": means,
        "until": " ".join(_limits(proven.outcome, coverage, formats, texts)),
        "question": list(_fields(item.request, formats)),
        "reply": list(_reply_facts(proven, coverage, formats, texts)),
        "parties": [
            {
                "title": _label(item.reply, name, formats).capitalize(),
                "rows": list(_fields(getattr(item.reply, name), formats)),
            }
            for name in _parties(item.reply)
        ],
        "not_proven": [*method["not_proven"], *texts["not_proven_always"]],
        "ledger": list(_ledger_facts(proven, formats, texts)),
        "checkpoint": str(proven.checkpoint),
        "qr": f"{proven.checkpoint.origin} {proven.checkpoint}",
    }


def _limits(outcome: str, coverage: Mapping[str, Any], formats: Formats, texts: Mapping[str, Any]) -> Iterator[str]:
    if as_of := coverage.get("data_as_of"):
        yield texts["until"].format(as_of=formats.instant(as_of))
    if outcome == "NO" and (since := coverage.get("covered_since")):
        yield texts["conclusive"].format(since=formats.day(since))


def _fields(message: Message, formats: Formats) -> Iterator[Row]:
    """Yield each field of *message* that is set, with its name of the contract."""
    for field, value in message.ListFields():
        if field.enum_type is not None:
            doc = next(doc for doc, number in _enum(field.enum_type.full_name) if number == value)
            yield (
                _label(message, field.name, formats),
                doc.fa if formats.persian else _english(doc.name.rpartition("_")[2]),
                "",
            )
        elif isinstance(value, int):
            yield _label(message, field.name, formats), formats.count(value), "strong"
        else:
            shown = visible(str(value))
            yield _label(message, field.name, formats), shown, "code" if shown.isascii() else ""


def _reply_facts(
    proven: VerifiedReceipt, coverage: Mapping[str, Any], formats: Formats, texts: Mapping[str, Any]
) -> Iterator[Row]:
    answered_at: datetime = to_datetime(proven.entry.answered_at_micros)
    yield texts["answered_at"], formats.second(answered_at), "strong"
    yield texts["caller"], visible(proven.entry.caller), "code"
    yield texts["inquiry_id"], str(UUID(bytes=proven.entry.inquiry_id)), "code"
    if since := coverage.get("covered_since"):
        yield texts["covered_since"], formats.day(since), "strong"
    if as_of := coverage.get("data_as_of"):
        yield texts["as_of"], formats.second(as_of), "strong"


def _ledger_facts(proven: VerifiedReceipt, formats: Formats, texts: Mapping[str, Any]) -> Iterator[Row]:
    yield texts["origin"], proven.checkpoint.origin, "code"
    yield texts["entry"], formats.count(proven.index), "strong"
    yield texts["checkpoint"], str(proven.checkpoint), "code"
    yield texts["key"], proven.key_id, "code"
    for each in proven.cosignatures:
        at = formats.second(to_datetime(each.seconds * 1_000_000))
        yield texts["cosigned"], f"{visible(each.witness)}{formats.comma} {at}", ""
    if not proven.cosignatures:
        yield texts["cosigned"], texts["not_cosigned"], ""


def _parties(reply: Message) -> list[str]:
    """Return the fields of *reply* that are messages of its own contract."""
    return [field.name for field, _ in reply.ListFields() if field.message_type and field.name not in _NOT_ASKED]


def _label(message: Message, field: str, formats: Formats) -> str:
    """Return the field's name: the contract's in Persian, the words of its identifier in English."""
    known = load().message(message.DESCRIPTOR.full_name)
    fa = next((each.doc.fa for each in known.fields if each.doc.name == field), "") if known else ""
    return fa if formats.persian and fa else _english(field)


@cache
def _enum(full_name: str) -> Sequence[Any]:
    found = load().enum(full_name)
    return found.values if found else ()


def _english(name: str) -> str:
    return name.lower().replace("_", " ")
