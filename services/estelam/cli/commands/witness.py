"""Commands of `estelam witness`: serve a witness, and print its key."""

from functools import partial
from pathlib import Path

import typer

from estelam.cli import output
from estelam.cli.serve import service_errors
from estelam.core.clock import Clock
from estelam.core.settings import load_settings
from estelam.receipts.cosignature import Cosigner
from estelam.server.process import run_until_shutdown
from estelam.web.event_loop import run_in_event_loop
from estelam.witness.app import check_files, run_witness
from estelam.witness.settings import WitnessSettings


def serve(listen: str | None, port_file: Path | None, *, as_json: bool) -> None:
    """Serve a witness until SIGTERM."""
    with service_errors(as_json=as_json):
        run_until_shutdown(
            partial(load_settings, WitnessSettings, listen=listen),
            lambda settings: run_in_event_loop(run_witness(settings, Clock())),
            check=check_files,
            port_file=port_file,
        )


def key(*, as_json: bool) -> None:
    """Print the witness's verifier key."""
    with output.user_errors(as_json=as_json):
        settings = load_settings(WitnessSettings)
        found = Cosigner.load(settings.name, settings.private_key).key
    if as_json:
        output.print_record({"name": found.name, "verifier_key": str(found)}, as_json=True)
    else:
        typer.echo(str(found))
