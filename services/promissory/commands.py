"""Commands of `estelam promissory`: serve, recall, and inquire about notes."""

from functools import partial
from typing import Any

from google.protobuf.json_format import MessageToDict

from estelam.cli import output
from estelam.cli.inquire import answer, ask, receipt_facts, set_amount
from estelam.cli.inquiry_options import Options
from estelam.cli.recall import recall_answers
from estelam.cli.serve import run
from estelam.core import normalize
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from promissory import service
from promissory.methods import CHECK_NOTE, GET_NOTE_PARTIES
from promissory.recall import NoteRecallSource
from promissory.settings import PromissorySettings

serve = partial(run, PromissorySettings, service.main)
recall = partial(recall_answers, PromissorySettings, NoteRecallSource())


def check(serial: str, obligor: str, beneficiary: str, amount: str, options: Options) -> None:
    """Call CheckNote and print its reply."""
    request = pb.CheckNoteRequest(
        serial=normalize.normalize_digits(serial),
        obligor_id=normalize.normalize_digits(obligor),
        beneficiary_id=normalize.normalize_digits(beneficiary),
    )
    set_amount(request, amount, options)
    reply = ask(CHECK_NOTE.name, request, options)
    answer(reply, receipt_facts(reply.receipt), options)


def parties(serial: str, agency: str, options: Options) -> None:
    """Call GetNoteParties and print its reply."""
    request = pb.GetNotePartiesRequest(
        serial=normalize.normalize_digits(serial), executive_agency_id=normalize.normalize_identifier(agency)
    )
    reply = ask(GET_NOTE_PARTIES.name, request, options)
    facts = {"obligor": _party(reply.obligor), "beneficiary": _party(reply.beneficiary)}
    output.print_record({**facts, **receipt_facts(reply.receipt)}, as_json=options.as_json)


def _party(party: pb.Party) -> dict[str, Any]:
    return MessageToDict(party, preserving_proto_field_name=True)
