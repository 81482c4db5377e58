"""The command line: `estelam`, with a group for each service that is installed and the house's own."""

from importlib.metadata import entry_points

import typer

from estelam.cli import ledger, migrate, pki, receipt


def application() -> typer.Typer:
    """All commands; each service brings its own group, found by its entry point."""
    app = typer.Typer(
        name="estelam",
        help="Official yes/no inquiries: ask, serve, load, verify.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for entry in sorted(entry_points(group="estelam.services"), key=lambda found: found.name):
        app.add_typer(entry.load(), name=entry.name)
    app.add_typer(receipt.app, name="receipt")
    app.add_typer(ledger.app, name="ledger")
    app.add_typer(pki.app, name="pki")
    app.command("migrate")(migrate.migrate)
    return app


def main() -> None:
    """Run one command."""
    application()()
