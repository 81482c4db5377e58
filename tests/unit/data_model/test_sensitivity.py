"""Logs and ledgers hold only values whose sensitivity allows it, checked with a real service."""

import ast
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from structlog.testing import capture_logs

from development import sandbox as suite
from development.files import SAMPLES
from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.data_model.model import load
from estelam.data_model.sensitivity import redacted_fields
from estelam.inquiry.v1 import data_model_pb2 as pb
from estelam.inquiry.v1 import inquiry_pb2
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.telemetry import logs
from promissory.feeds import NOTES
from tests.conftest import Start, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE
from tests.guarantees.test_8_no_identifier_leaks import CALLS, CANARIES
from tests.support.sensitivity import FIELDS, stands_in, values

SERVICES = Path(logs.__file__).parents[2]
MEMBER = "SETAD-0001"
# Not a round amount: one encoding of those is a byte and four zeros, which occur in any file.
AMOUNT = 2_517_463_859
LEDGER_LEVELS = {pb.SENSITIVITY_OPEN, pb.SENSITIVITY_OFFICIAL}


def with_amount(sandbox: Sandbox, folder: Path, amount: int) -> notes.CheckNoteRequest:
    """Load the sample note with another *amount* and return a request that matches it."""
    corrected = folder / "notes.csv"
    text = (SAMPLES / "notes.csv").read_text("utf-8")
    corrected.write_text(text.replace(str(NOTE.amount_rials), str(amount)), "utf-8")
    suite.load_file(sandbox.promissory(), NOTES, corrected)
    return notes.CheckNoteRequest(
        serial=NOTE.serial, obligor_id=NOTE.obligor_id, beneficiary_id=NOTE.beneficiary_id, amount_rials=amount
    )


@pytest.fixture
def traffic(loaded: Sandbox, start: Start, tmp_path: Path) -> tuple[list[Message], bytes, bytes]:
    """Requests and replies of a running service, its ledger's bytes and its log events."""
    note = with_amount(loaded, tmp_path, AMOUNT)
    with capture_logs() as events:
        service = start(promissory_opening(loaded, shutdown_delay_seconds=0))
        with plain_channel(service.address, ClientIdentity.named(loaded.pki, "setad")) as channel:
            stub = PromissoryNoteInquiryServiceStub(channel)
            parties = notes.GetNotePartiesRequest(serial=NOTE.serial, executive_agency_id=MEMBER)
            messages: list[Message] = [note, stub.CheckNote(note), parties, stub.GetNoteParties(parties)]
        service.close()
    ledger = b"".join(path.read_bytes() for path in (loaded.folder / "promissory").glob("ledger.db*"))
    return messages, ledger, json.dumps(events, ensure_ascii=False, default=str).encode()


def test_ledger_holds_only_permitted_values(traffic: tuple[list[Message], bytes, bytes]) -> None:
    """A ledger holds only open and official values in the clear."""
    messages, ledger, _ = traffic
    found = [(field, value) for message in messages for field, value in values(message)]
    stored = {field.doc.full_name for field, value in found if stands_in(value, ledger)}

    assert {pb.SENSITIVITY_PERSONAL, pb.SENSITIVITY_SECRET} <= {field.doc.sensitivity for field, _ in found}
    assert "estelam.promissory.v1.GetNotePartiesRequest.executive_agency_id" in stored
    assert {name for name in stored if FIELDS[name].doc.sensitivity not in LEDGER_LEVELS} == set()


def test_log_holds_only_open_values(traffic: tuple[list[Message], bytes, bytes]) -> None:
    """A log holds only open values."""
    messages, _, events = traffic
    found = [(field, value) for message in messages for field, value in values(message)]
    logged = {field.doc.full_name for field, value in found if stands_in(value, events)}

    assert "estelam.inquiry.v1.Receipt.inquiry_id" in logged
    assert {name for name in logged if FIELDS[name].doc.sensitivity != pb.SENSITIVITY_OPEN} == set()


def test_entry_fields_are_permitted() -> None:
    """No field of a ledger record has a sensitivity above official."""
    records = (inquiry_pb2.Entry.DESCRIPTOR.full_name, inquiry_pb2.SearchKeys.DESCRIPTOR.full_name)
    levels = {field.doc.sensitivity for message, field in load().fields() if message.doc.full_name in records}

    assert levels == LEDGER_LEVELS


def test_leak_search_covers_every_field() -> None:
    """Guarantee 8 searches for a value of every request field that a ledger may not hold in the clear."""
    requests = {method.request for method in load().methods}
    fields = {
        field.doc.full_name
        for message, field in load().fields()
        if message.doc.full_name in requests and field.doc.sensitivity not in LEDGER_LEVELS
    }
    searched = {field.doc.full_name for message in _well_formed() for field, value in values(message) if known(value)}

    assert fields <= searched


def test_log_calls_name_open_fields() -> None:
    """No log call in the services has a field whose sensitivity is above open."""
    logged = {
        keyword.arg
        for path in SERVICES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
        for keyword in node.keywords
    }

    assert {"method", "inquiry_id", "reason"} <= logged
    assert logged & redacted_fields() == set()


def test_log_redacts() -> None:
    """A log redacts the values of fields that are not open, even if a call passes them."""
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        logs.configure_logging()
        structlog.get_logger().info("slip", serial=NOTE.serial, obligor_id=NOTE.obligor_id, method="CheckNote")
    structlog.reset_defaults()
    event = json.loads(out.getvalue())

    assert ("withheld", "withheld", "CheckNote") == (event["serial"], event["obligor_id"], event["method"])


def known(value: object) -> bool:
    return str(value) in CANARIES


def _well_formed() -> Iterator[Message]:
    pool = descriptor_pool.Default()
    requests = {method.doc.full_name: method.request for method in load().methods}
    for call in CALLS:
        if call.method in requests:
            kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(requests[call.method]))
            with contextlib.suppress(DecodeError):
                yield kind.FromString(call.request)
