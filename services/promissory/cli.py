"""`estelam promissory`: serve, load notes, and inquire about them."""

from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict

from estelam.cli import extras, output
from estelam.cli.inquire import Options, answer, ask, inquiry, receipt_facts, rials
from estelam.cli.load_options import File, Rejects, Replace, Through
from estelam.cli.recall import SETTLE_SECONDS, ChangedSince, Form, Out, Settle, recall_answers
from estelam.cli.recall_export import Format
from estelam.cli.serve import Listen, PortFile, Workers, run
from estelam.core import normalize
from estelam.core.settings import load_settings
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from promissory import service
from promissory.methods import CHECK_NOTE, GET_NOTE_PARTIES
from promissory.recall import NoteRecallSource
from promissory.settings import PromissorySettings

app = typer.Typer(no_args_is_help=True)


@app.command()
def serve(
    listen: Listen = None, port_file: PortFile = None, workers: Workers = 1, as_json: output.AsJson = False
) -> None:
    """Serve until SIGTERM; on SIGHUP restart the workers one by one."""
    run(PromissorySettings, service.main, listen=listen, port_file=port_file, workers=workers, as_json=as_json)


@app.command("load-notes")
def load_notes(
    file: File,
    through: Through = None,
    rejects: Rejects = None,
    replace: Replace = False,
    as_json: output.AsJson = False,
) -> None:
    """Load a file of notes: all of it, or nothing."""
    with extras.required("loading", as_json=as_json):
        from estelam.cli.load import declaration, load_file  # noqa: PLC0415 - needs the extra
        from promissory.feeds import FIRST_DATE, NOTES  # noqa: PLC0415 - needs the extra

    claimed = declaration(None, through, as_json=as_json)
    with output.user_errors(as_json=as_json):
        settings = load_settings(PromissorySettings)
    load_file(
        settings,
        NOTES,
        file,
        claimed=claimed,
        first_date=FIRST_DATE,
        rejects=rejects,
        as_json=as_json,
        replace=replace,
    )


@app.command("load-agencies")
def load_agencies(file: File, rejects: Rejects = None, as_json: output.AsJson = False) -> None:
    """Load the whole list of Setad's member agencies; an agency that the file lacks is removed."""
    with extras.required("loading", as_json=as_json):
        from estelam.cli.load import declaration, load_file  # noqa: PLC0415 - needs the extra
        from promissory.feeds import FIRST_DATE, MEMBERS  # noqa: PLC0415 - needs the extra

    claimed = declaration(None, None, as_json=as_json)
    with output.user_errors(as_json=as_json):
        settings = load_settings(PromissorySettings)
    load_file(settings, MEMBERS, file, claimed=claimed, first_date=FIRST_DATE, rejects=rejects, as_json=as_json)


@app.command("recall")
def recall(
    since: ChangedSince,
    form: Form = Format.TABLE,
    out: Out = None,
    settle: Settle = SETTLE_SECONDS,
    as_json: output.AsJson = False,
) -> None:
    """List the answers already given that late or corrected notes would change."""
    with output.user_errors(as_json=as_json):
        settings = load_settings(PromissorySettings)
    recall_answers(settings, NoteRecallSource(), since=since, form=form, out=out, settle=settle, as_json=as_json)


@app.command()
@inquiry("promissory", "setad")
def check(
    serial: Annotated[str, typer.Option(help="The note's serial, 16 digits.")],
    obligor: Annotated[str, typer.Option(help="The obligor's id.")],
    beneficiary: Annotated[str, typer.Option(help="The id of the beneficiary, who holds the note.")],
    amount: Annotated[str, typer.Option(help="The face amount in rials.")],
    options: Options,
) -> None:
    """Ask whether a note is genuine and live (R2.1). Exit 0: YES; 10: NO; any other code: no answer."""
    request = pb.CheckNoteRequest(
        serial=normalize.normalize_digits(serial),
        obligor_id=normalize.normalize_digits(obligor),
        beneficiary_id=normalize.normalize_digits(beneficiary),
        amount_rials=rials(amount, options),
    )
    reply = ask(CHECK_NOTE.name, request, options)
    answer(reply, receipt_facts(reply.receipt), options)


@app.command()
@inquiry("promissory", "setad")
def parties(
    serial: Annotated[str, typer.Option(help="The note's serial, 16 digits.")],
    agency: Annotated[str, typer.Option(help="The executive agency's id in Setad.")],
    options: Options,
) -> None:
    """Ask for the parties of a note just checked (R2.2). Exit 0: disclosed; any other code: no answer."""
    request = pb.GetNotePartiesRequest(
        serial=normalize.normalize_digits(serial), executive_agency_id=normalize.normalize_identifier(agency)
    )
    reply = ask(GET_NOTE_PARTIES.name, request, options)
    facts = {"obligor": _party(reply.obligor), "beneficiary": _party(reply.beneficiary)}
    output.print_record({**facts, **receipt_facts(reply.receipt)}, as_json=options.as_json)


def _party(party: pb.Party) -> dict[str, Any]:
    return MessageToDict(party, preserving_proto_field_name=True)
