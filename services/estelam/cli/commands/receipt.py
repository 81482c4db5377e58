"""`estelam receipt`: check a kept reply offline, against the service's signing certificate."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict

from estelam.cli import output
from estelam.core.clock import to_datetime
from estelam.core.keys import verifying_keys
from estelam.core.settings import ClientSettings, load_settings
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts import receipt
from estelam.receipts.archive import ReceiptRecord, read_archive

SHOWN = 100

app = typer.Typer(help="Check receipts offline.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `verify` a command of its own."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What --save-receipt or a bulk check wrote.")],
    certificate: Annotated[
        list[Path] | None,
        typer.Option(help="A signing certificate (PEM); default: the service's own in the pki folder."),
    ] = None,
    as_json: output.AsJson = False,
) -> None:
    """Verify that a service gave each reply to its request at that time. Exit 0: all proven; 1: not.

    Of a file with more than 100 replies only the numbers are told.
    """
    count, outcomes, first = 0, Counter[str](), []
    with output.user_errors(as_json=as_json):
        verifiers = _Verifiers(certificate)
        try:
            for item in read_archive(file):
                proven = verifiers.verify(item)
                count += 1
                outcomes[_outcome(proven)] += 1
                if count <= SHOWN:
                    first.append(_facts(item, proven))
        except receipt.InvalidReceipt as error:
            where = f" (reply {count + 1})" if count else ""
            output.exit_error(f"INVALID: {error}{where}", as_json=as_json)
    numbers = {"count": count, "outcomes": dict(outcomes)}
    if count > SHOWN:
        output.print_record({"valid": True, **numbers}, as_json=as_json, title="VALID")
    elif as_json:
        output.print_record({"valid": True, **numbers, "replies": first}, as_json=True)
    else:
        for facts in first:
            output.print_record(facts, as_json=False, title="VALID")


class _Verifiers:
    """A verifier for each service whose replies are met."""

    def __init__(self, certificates: list[Path] | None) -> None:
        self._certificates = certificates
        self._by_area: dict[str, receipt.Verifier] = {}

    def verify(self, item: ReceiptRecord) -> receipt.VerifiedReceipt:
        """What *item* proves."""
        # One service's key proves nothing of another's methods: estelam.AREA.v1 is signed by AREA-receipts.crt.
        area = item.method.split(".")[1]
        if area not in self._by_area:
            certificates = self._certificates or [load_settings(ClientSettings).pki / f"{area}-receipts.crt"]
            self._by_area[area] = receipt.Verifier(verifying_keys(certificates))
        return self._by_area[area].verify(item.method, item.request, item.reply)


def _facts(item: ReceiptRecord, proven: receipt.VerifiedReceipt) -> dict[str, Any]:
    entry = proven.entry
    return {
        "method": item.method,
        "caller": entry.caller,
        "answered_at": to_datetime(entry.answered_at_micros).isoformat(),
        "outcome": _outcome(proven),
        "request": MessageToDict(item.request, preserving_proto_field_name=True),
        "entry": entry.sequence,
        "block": proven.block.number,
        "key_id": proven.block.key_id,
    }


def _outcome(proven: receipt.VerifiedReceipt) -> str:
    return pb.Outcome.Name(proven.entry.outcome).removeprefix("OUTCOME_")
