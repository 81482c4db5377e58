"""The command line: `estelam`, with a group for each service that is installed and the house's own."""

from importlib.metadata import EntryPoint, entry_points

import typer

from estelam.cli import ledger, migrate, output, pki, receipt


def application() -> typer.Typer:
    """All commands; each service brings its own group, found by its entry point."""
    app = typer.Typer(
        name="estelam",
        help="Official yes/no inquiries: ask, serve, load, verify.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for entry in sorted(entry_points(group="estelam.services"), key=lambda found: found.name):
        app.add_typer(_group(entry), name=entry.name)
    app.add_typer(receipt.app, name="receipt")
    app.add_typer(ledger.app, name="ledger")
    app.add_typer(pki.app, name="pki")
    app.command("migrate")(migrate.migrate)
    return app


def _group(entry: EntryPoint) -> typer.Typer:
    """A service's commands; where they need an extra that is not installed, one that says so."""
    try:
        group: typer.Typer = entry.load()
    except ModuleNotFoundError:
        if not entry.extras:
            raise
        return _missing(entry.extras[0])
    return group


def _missing(extra: str) -> typer.Typer:
    group = typer.Typer(help=f"Not installed: it needs the extra {extra}.", invoke_without_command=True)

    @group.callback(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def say_so() -> None:
        output.fail(f"this needs more packages: pip install 'estelam[{extra}]'", as_json=False)

    return group


def main() -> None:
    """Run one command."""
    application()()
