"""`estelam receipt`: check a kept reply offline, against the service's signing certificate."""

from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict

from estelam import receipt
from estelam.cli import output
from estelam.cli.saved import SavedReply, read
from estelam.clock import to_datetime
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.keys import verifying_keys
from estelam.settings import ClientSettings, load

app = typer.Typer(help="Check receipts offline.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `verify` a command of its own."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What --save-receipt wrote.")],
    certificate: Annotated[
        list[Path] | None,
        typer.Option(help="A signing certificate (PEM); default: the service's own in the pki folder."),
    ] = None,
    as_json: output.AsJson = False,
) -> None:
    """Verify that a service gave this reply to this request at that time. Exit 0: proven; 1: not."""
    with output.plain_failures(as_json=as_json):
        try:
            proven = [_facts(item, _proven(item, certificate)) for item in read(file)]
        except receipt.InvalidReceipt as error:
            output.fail(f"NOT PROVEN: {error}", as_json=as_json)
    if as_json:
        output.say({"proven": True, "replies": proven}, as_json=True)
    else:
        for facts in proven:
            output.say(facts, as_json=False, title="PROVEN")


def _proven(item: SavedReply, certificates: list[Path] | None) -> receipt.Proven:
    if not certificates:
        # One service's key proves nothing of another's methods: estelam.AREA.v1 is signed by AREA-receipts.crt.
        area = item.method.split(".")[1]
        certificates = [load(ClientSettings).pki / f"{area}-receipts.crt"]
    return receipt.verify(item.method, item.request, item.reply, verifying_keys(certificates))


def _facts(item: SavedReply, proven: receipt.Proven) -> dict[str, Any]:
    entry = proven.entry
    return {
        "method": item.method,
        "caller": entry.caller,
        "answered_at": to_datetime(entry.answered_at_micros).isoformat(),
        "outcome": pb.Outcome.Name(entry.outcome).removeprefix("OUTCOME_"),
        "request": MessageToDict(item.request, preserving_proto_field_name=True),
        "entry": entry.sequence,
        "block": proven.block.number,
        "key_id": proven.block.key_id,
    }
