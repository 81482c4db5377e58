"""Commands of `estelam setad`: serve, and verify a note for a buyer."""

from functools import partial
from typing import Any

from google.protobuf.json_format import MessageToDict

from estelam.cli.inquire import answer, ask, receipt_facts, set_amount
from estelam.cli.inquiry_options import Options
from estelam.cli.serve import run
from estelam.core import normalize
from estelam.receipts.archive import ReceiptRecord
from estelam.setad.v1 import note_verification_pb2 as pb
from sataad_adapter import service
from sataad_adapter.methods import VERIFY_NOTE
from sataad_adapter.settings import SetadSettings
from sataad_adapter.verification import ministry_replies

serve = partial(run, SetadSettings, service.main)


def verify(serial: str, obligor: str, beneficiary: str, amount: str, agency: str, options: Options) -> None:
    """Call VerifyNote and print its reply."""
    request = pb.VerifyNoteRequest(
        serial=normalize.normalize_digits(serial),
        obligor_id=normalize.normalize_digits(obligor),
        beneficiary_id=normalize.normalize_digits(beneficiary),
        executive_agency_id=normalize.normalize_identifier(agency),
    )
    set_amount(request, amount, options)
    reply = ask(VERIFY_NOTE.name, request, options, provider="promissory", receipts=_receipts)
    answer(reply, _facts(reply), options)


def _receipts(request: Any, reply: Any) -> list[ReceiptRecord]:
    return [ReceiptRecord(*proof) for proof in ministry_replies(request, reply)]


def _facts(reply: pb.VerifyNoteResponse) -> dict[str, Any]:
    parties = {
        side: MessageToDict(getattr(reply, side), preserving_proto_field_name=True)
        for side in ("obligor", "beneficiary")
        if reply.HasField(side)
    }
    return {**parties, **receipt_facts(reply.check_receipt)}
