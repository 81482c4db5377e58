"""`estelam witness`: cosign the checkpoints of ledgers and other transparency logs."""

import typer

from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson, Listen, PortFile

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("estelam.cli.commands.witness")


@app.command()
@implemented
def serve(listen: Listen = None, port_file: PortFile = None, as_json: AsJson = False) -> None:
    """Serve a witness (C2SP tlog-witness) until SIGTERM: cosign what continues the last cosigned checkpoint."""


@app.command()
@implemented
def key(as_json: AsJson = False) -> None:
    """Print the witness's verifier key, by which others verify its cosignatures."""
