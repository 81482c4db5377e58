"""`estelam setad`: serve, and verify a note for a buyer."""

from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict

from estelam.cli import output
from estelam.cli.inquire import Options, answer, ask, inquiry, receipt_facts, rials
from estelam.cli.serve import Listen, PortFile, Workers, run
from estelam.core import normalize
from estelam.receipts.archive import ReceiptRecord
from estelam.setad.v1 import note_verification_pb2 as pb
from sataad_adapter import service
from sataad_adapter.methods import VERIFY_NOTE
from sataad_adapter.settings import SetadSettings
from sataad_adapter.verification import ministry_replies

app = typer.Typer(no_args_is_help=True)


@app.command()
def serve(
    listen: Listen = None, port_file: PortFile = None, workers: Workers = 1, as_json: output.AsJson = False
) -> None:
    """Serve until SIGTERM; on SIGHUP restart the workers one by one."""
    run(SetadSettings, service.main, listen=listen, port_file=port_file, workers=workers, as_json=as_json)


@app.command()
@inquiry("setad", "setad")
def verify(
    serial: Annotated[str, typer.Option(help="The note's serial, 16 digits.")],
    obligor: Annotated[str, typer.Option(help="The obligor's id.")],
    beneficiary: Annotated[str, typer.Option(help="The id of the beneficiary, who holds the note.")],
    amount: Annotated[str, typer.Option(help="The face amount in rials.")],
    agency: Annotated[str, typer.Option(help="The buying agency's id in Setad.")],
    options: Options,
) -> None:
    """Verify a note and, if it is genuine, ask for its parties. Exit 0: YES; 10: NO; any other code: no answer."""
    request = pb.VerifyNoteRequest(
        serial=normalize.normalize_digits(serial),
        obligor_id=normalize.normalize_digits(obligor),
        beneficiary_id=normalize.normalize_digits(beneficiary),
        amount_rials=rials(amount, options),
        executive_agency_id=normalize.normalize_identifier(agency),
    )
    reply = ask(VERIFY_NOTE.name, request, options, receipts=_receipts)
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
