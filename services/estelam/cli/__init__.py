"""The command line: `estelam`, with a group for each service that is installed and the house's own."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

import typer

from estelam.cli import catalogue, change, drm, ledger, migrate, output, pki, receipt


def application() -> typer.Typer:
    """All commands; each service brings its own group, found by its entry point."""
    app = typer.Typer(
        name="estelam",
        help="Official yes/no inquiries: ask, serve, load, verify.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for entry in sorted(entry_points(group="estelam.services"), key=lambda found: found.name):
        _add(app, entry)
    app.add_typer(receipt.app, name="receipt")
    app.add_typer(ledger.app, name="ledger")
    app.add_typer(pki.app, name="pki")
    app.add_typer(catalogue.app, name="catalogue")
    app.add_typer(change.app, name="change")
    app.add_typer(drm.app, name="drm")
    app.command("migrate")(migrate.migrate)
    return app


def _add(app: typer.Typer, entry: EntryPoint) -> None:
    """Add a service's commands; where they need an extra that is not installed, one that says so."""
    try:
        app.add_typer(entry.load(), name=entry.name)
    except ModuleNotFoundError:
        if not entry.extras:
            raise
        words = f"Not installed: it needs the extra {entry.extras[0]}."
        anything = {"ignore_unknown_options": True, "allow_extra_args": True}
        app.command(entry.name, help=words, context_settings=anything)(_missing(entry.extras[0]))


def _missing(extra: str) -> Callable[[], None]:
    def say_so() -> None:
        output.fail(f"this needs more packages: pip install 'estelam[{extra}]'", as_json=False)

    return say_so


def main() -> None:
    """Run one command."""
    application()()
